"""Servers that speak OpenAI's API: where they are and which variables hold their keys."""

from __future__ import annotations

import os
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Provider:
    """A service, or a kind of server, that speaks OpenAI's API."""

    name: str
    base_url: str = ""
    """Address, or "" where the caller has to say where the server is."""
    key_variables: tuple[str, ...] = ()
    """Environment variables that may hold the key, the first that is set counts."""
    base_variables: tuple[str, ...] = ()
    """Environment variables that may hold another address."""
    tells_cost: bool = False
    """Whether `usage.cost` of an answer is what it cost in US dollars."""

    def base_from_environment(self) -> str:
        """Return the address from the environment, or ""."""
        return next((os.environ[name] for name in self.base_variables if os.environ.get(name)), "")

    def key_from_environment(self) -> str:
        """Return the key from the environment, or ""."""
        return next((os.environ[name] for name in self.key_variables if os.environ.get(name)), "")


# Only those whose chat completions are OpenAI's; all others go through litellm.
PROVIDERS = {
    provider.name: provider
    for provider in (
        Provider(
            "openai",
            "https://api.openai.com/v1",
            ("OPENAI_API_KEY",),
            ("OPENAI_API_BASE", "OPENAI_BASE_URL"),
        ),
        Provider("deepseek", "https://api.deepseek.com/v1", ("DEEPSEEK_API_KEY",), ("DEEPSEEK_API_BASE",)),
        Provider("groq", "https://api.groq.com/openai/v1", ("GROQ_API_KEY",), ("GROQ_API_BASE",)),
        Provider("hosted_vllm", "", ("HOSTED_VLLM_API_KEY",), ("HOSTED_VLLM_API_BASE",)),
        Provider("lm_studio", "http://localhost:1234/v1", ("LM_STUDIO_API_KEY",), ("LM_STUDIO_API_BASE",)),
        Provider(
            "openrouter",
            "https://openrouter.ai/api/v1",
            ("OPENROUTER_API_KEY",),
            ("OPENROUTER_API_BASE",),
            tells_cost=True,
        ),
        Provider("together_ai", "https://api.together.xyz/v1", ("TOGETHERAI_API_KEY", "TOGETHER_API_KEY")),
        Provider("xai", "https://api.x.ai/v1", ("XAI_API_KEY",), ("XAI_API_BASE",)),
    )
}
