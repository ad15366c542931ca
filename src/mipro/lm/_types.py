"""What is asked of a language model and what comes back, as plain values."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any

from mipro.lm._secrets import Sealed, split_secrets


@dataclass(frozen=True)
class LMRequest:
    """One request to a language model, complete and comparable.

    Two requests with the same `key` are the same question: a run pays for it once.
    """

    model: str
    """Name of the model as given to `LM`, for example "openai/gpt-4o-mini"."""
    messages: tuple[dict[str, Any], ...]
    """Chat messages in OpenAI's format."""
    params: dict[str, Any] = field(default_factory=dict)
    """Sampling parameters (temperature, max_tokens, n, stop, seed, response_format,
    tools, rollout_id, ...); never a key or another secret: such are moved to `secrets`."""
    endpoint: str = ""
    """Base address of the server, or "" for the provider's own."""
    secrets: Sealed = field(default_factory=Sealed, repr=False, compare=False)
    """What `params` may not hold; no part of `key`, so that another key asks the same question."""

    def __post_init__(self) -> None:
        params, found = split_secrets(self.params)
        if found:
            object.__setattr__(self, "params", params)
            object.__setattr__(self, "secrets", self.secrets | found)

    @property
    def sent_params(self) -> dict[str, Any]:
        """Parameters as they are sent, with the secrets; not to be shown or kept."""
        return self.secrets.put_back(self.params) if self.secrets else self.params

    @cached_property
    def key(self) -> str:
        """SHA-256 over the whole request, hex."""
        text = json.dumps(
            [self.model, self.endpoint, self.messages, self.params],
            sort_keys=True,
            separators=(",", ":"),
            default=str,
        )
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one or more calls, as the server counted them."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    """Part of `prompt_tokens` that the server took from its prefix cache."""
    reasoning_tokens: int = 0
    """Part of `completion_tokens` spent on hidden reasoning."""

    @property
    def total_tokens(self) -> int:
        """Prompt and completion tokens together."""
        return self.prompt_tokens + self.completion_tokens

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.cached_tokens + other.cached_tokens,
            self.reasoning_tokens + other.reasoning_tokens,
        )


@dataclass(frozen=True, slots=True)
class Completion:
    """One of the `n` answers to a request."""

    text: str
    reasoning: str | None = None
    """Native reasoning content, where the model returns it."""
    tool_calls: tuple[dict[str, Any], ...] = ()
    """Tool calls in OpenAI's format."""
    logprobs: Any = None
    finish_reason: str | None = None


@dataclass(frozen=True, slots=True)
class LMResponse:
    """The answer to one request."""

    model: str
    """Name of the model as the server gave it."""
    completions: tuple[Completion, ...]
    usage: Usage = Usage()
    cost_usd: float | None = None
    """Price of the call in US dollars, or None where the price is not known."""
    latency_s: float = 0.0
    """Seconds from sending to the whole answer; 0.0 for an answer from a cache."""
    cached: bool = False
    """Whether the answer came from a cache or a ledger and cost nothing."""

    def to_json(self) -> str:
        """Return the response as one JSON text, for a cache or a ledger."""
        # Not `asdict`: it copies everything and costs more than all else about keeping a call.
        completions = [{name: getattr(c, name) for name in _OF_COMPLETION} for c in self.completions]
        usage = {name: getattr(self.usage, name) for name in _OF_USAGE}
        values = {name: getattr(self, name) for name in _OF_RESPONSE}
        values |= {"completions": completions, "usage": usage}
        return json.dumps(values, separators=(",", ":"), default=str)

    @classmethod
    def from_json(cls, text: str) -> LMResponse:
        """Read what `to_json` wrote.

        Raises:
            ValueError: `text` is not such a response.
        """
        try:
            data = json.loads(text)
            return cls(
                model=data["model"],
                completions=tuple(
                    Completion(**{**c, "tool_calls": tuple(c["tool_calls"])}) for c in data["completions"]
                ),
                usage=Usage(**data["usage"]),
                cost_usd=data["cost_usd"],
                latency_s=data["latency_s"],
                cached=data["cached"],
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a recorded response: {text[:80]!r}") from error


_OF_COMPLETION, _OF_RESPONSE, _OF_USAGE = (
    tuple(one.name for one in fields(kind)) for kind in (Completion, LMResponse, Usage)
)
