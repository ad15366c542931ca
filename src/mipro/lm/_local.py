"""Models in this process, through llama.cpp (`xllamacpp`).

A model file has one engine, shared by all `LM`s that name it. The engine keeps the
state of recent prompts in memory, so that prompts with a common beginning (the
instruction and the demos of a candidate) are evaluated once. Its calls block; they
run in threads, at most `parallel` at once, first come first served.
"""

from __future__ import annotations

import asyncio
import functools
import zlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mipro.errors import (
    LMNotFoundError,
    LMRequestError,
    UserError,
)
from mipro.lm._engine import Engine, cores, import_engine, shared_engine
from mipro.lm._openai import flat_prompt
from mipro.lm._types import LMResponse, Usage

if TYPE_CHECKING:
    from mipro.lm._types import LMRequest

DEFAULT_CONTEXT_SIZE = 4096
# Measured on 2 cores with Qwen2.5-Coder-0.5B Q4_K_M, prompts of 700 tokens whose beginnings
# are in the slots' caches, answers of 9 tokens: 1 slot 609 ms a call, 2 slots 494, 4 slots 434.
DEFAULT_PARALLEL = 4
_PASSED = (
    "temperature", "max_tokens", "top_p", "top_k", "min_p", "stop", "seed", "presence_penalty",
    "frequency_penalty", "repeat_penalty", "logit_bias", "logprobs", "top_logprobs", "grammar",
    "chat_template_kwargs",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class LocalBackend:
    """One model file and how it is run."""

    model: str
    """Name as given to `LM`."""
    name: str
    """Name of a known model, or path of a GGUF file."""
    threads: int | None = None
    """Threads to compute with; as many as there are cores by default."""
    parallel: int = DEFAULT_PARALLEL
    """How many requests are computed together."""
    context_size: int = DEFAULT_CONTEXT_SIZE
    """Tokens that prompt and answer may have together, on average over the requests that
    are computed together; one alone may have more, up to what the model was trained for."""
    timeout_s: float | None = None
    """Limit for computing one answer, waiting for a free slot not counted."""

    def __post_init__(self) -> None:
        for option in ("threads", "parallel", "context_size"):
            value = getattr(self, option)
            if value is not None and (not isinstance(value, int) or value < 1):
                raise UserError(f"`{option}` must be a whole number of at least 1, but got {value!r}.")

    @property
    def endpoint(self) -> str:
        """Nothing: the model is known by its name or path."""
        return ""

    @property
    def supports_response_schema(self) -> bool:
        """Whether answers can be held to a JSON schema: yes."""
        return True

    @property
    def supports_function_calling(self) -> bool:
        """Whether the model can be given tools: too small to be trusted with it."""
        return False

    @property
    def supports_reasoning(self) -> bool:
        """Whether the model reasons by itself before it answers."""
        return False

    def check(self) -> None:
        """Refuse a call without xllamacpp, or without the model file."""
        import_engine()
        self._path()

    def load(self) -> None:
        """Load nothing: a model takes the memory that it takes only when it is asked."""

    def price_usd(self, usage: Usage) -> float | None:
        """Return 0: the machine is paid for."""
        del usage
        return 0.0

    async def send(self, request: LMRequest) -> LMResponse:
        """Compute the answer in a thread; see `Backend.send`."""
        if request.params.get("model_type", "chat") == "responses":
            raise LMRequestError(
                f"`{self.model}` runs in this process, which has no responses API; leave `model_type` out.",
                model=self.model,
            )
        engine = await asyncio.get_running_loop().run_in_executor(None, self._engine)
        count = int(request.params.get("n") or 1)
        responses = await asyncio.gather(
            *(
                engine.answer(_body(request, index), model=self.model, timeout_s=self.timeout_s)
                for index in range(count)
            )
        )
        usage = functools.reduce(Usage.__add__, (response.usage for response in responses))
        return replace(
            responses[0],
            completions=tuple(c for response in responses for c in response.completions),
            usage=usage,
            cost_usd=0.0,
            latency_s=max(response.latency_s for response in responses),
        )

    def _engine(self) -> Engine:
        threads = self.threads or cores()
        return shared_engine(str(self._path()), threads, self.parallel, self.context_size)

    def _path(self) -> Path:
        if self.name.endswith(".gguf"):
            path = Path(self.name).expanduser()
            if not path.is_file():
                raise LMNotFoundError(
                    f"`{self.model}` must name a GGUF file, but there is no {str(path)!r}; check the path.",
                    model=self.model,
                )
            return path.resolve()
        from mipro.fetch import model_path  # noqa: PLC0415 - only for named models

        return Path(model_path(self.name))


def _body(request: LMRequest, index: int) -> dict[str, Any]:
    """Return the engine's body for the `index`-th of the `n` answers to `request`."""
    params = request.params
    body = {name: params[name] for name in _PASSED if params.get(name) is not None}
    if index or params.get("rollout_id") is not None:
        # Answers drawn afresh differ, and each of them can be had again.
        body["seed"] = int(params.get("seed") or 0) + index + 1000 * _number(params.get("rollout_id"))
    else:
        body.setdefault("seed", 0)
    if params.get("response_format") is not None:
        body["response_format"] = params["response_format"]
    body |= {"stream": True, "stream_options": {"include_usage": True}, "cache_prompt": True}
    if params.get("model_type") == "text":
        return {**body, "prompt": flat_prompt(request.messages)}
    return {**body, "messages": list(request.messages)}


def _number(rollout_id: Any) -> int:
    if rollout_id is None:
        return 0
    return rollout_id if isinstance(rollout_id, int) else zlib.crc32(str(rollout_id).encode())
