"""`LM`: a model by name, wherever it runs."""

from __future__ import annotations

import asyncio
import logging
import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from mipro.errors import UserError
from mipro.lm import _backends
from mipro.lm._base import LM_CLASS_STATE_KEY, BaseLM
from mipro.lm._loop import run, submit
from mipro.lm._openai import PATHS, is_reasoning_model
from mipro.lm._outputs import openai_response

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from typing_extensions import Self

    from mipro.lm._backend import Backend
    from mipro.lm._prices import Prices
    from mipro.lm._types import LMRequest, LMResponse, Usage

_log = logging.getLogger("mipro.lm")


class LM(BaseLM):
    """A language model by name, for example `LM("openai/gpt-4o-mini")`.

    - `"openai/NAME"` with `api_base=...`: any server that speaks OpenAI's API.
    - `"local/smollm2-135m-instruct"`, `"local//path/to/model.gguf"`: in this process.
    - Any other provider, as `"anthropic/NAME"`: through the extra `litellm`.

    Args:
        model: Provider and name.
        model_type: "chat", "text" (completes a text) or "responses" (OpenAI's newer API).
        temperature: Default for requests; None leaves it to the model, a local one takes 0.
        max_tokens: Default limit of output tokens; None leaves it to the model, a local
            one takes 512.
        cache: Whether answers may come from the response cache.
        callbacks: Objects with `on_lm_start` and `on_lm_end`.
        num_retries: How often a call that failed for a passing reason is tried again.
        prices: `Prices`, or a dict with `input` and `output` in US dollars for a million
            tokens; the public list by default.
        kwargs: `api_base`, `api_key`, `timeout` (seconds), `headers`; for a local model
            `threads`, `parallel`, `context_size`; everything else is a default parameter
            of requests. A key is kept apart and never shown or saved; without one the
            provider's environment variable counts. `api_key` and the values of `headers` may
            be functions that return a text; they are called anew for every request.

    Raises:
        UserError: An argument is not what it must be.

    Example:
        >>> LM("openai/gpt-4o-mini", temperature=0.7, max_tokens=1000, cache=False)
        LM('openai/gpt-4o-mini', temperature=0.7, max_tokens=1000)
    """

    def __init__(
        self,
        model: str,
        model_type: Literal["chat", "text", "responses"] = "chat",
        temperature: float | None = None,
        max_tokens: int | None = None,
        cache: bool = True,
        callbacks: Sequence[Any] | None = None,
        num_retries: int = 3,
        prices: Prices | Mapping[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        if model_type not in PATHS:
            raise UserError(f"`model_type` must be one of {sorted(PATHS)}, but got {model_type!r}.")
        self._warned: frozenset[str] = frozenset()
        options, params = _backends.split_options(str(model), kwargs, self._warn_once)
        super().__init__(
            model,
            model_type,
            temperature,
            max_tokens,
            cache,
            callbacks,
            num_retries,
            **params,
        )
        if is_reasoning_model(model):
            limit = self.kwargs.pop("max_tokens")
            self.kwargs["max_completion_tokens"] = self.kwargs.get("max_completion_tokens") or limit
            if temperature not in (None, 1):
                _log.warning(
                    "%s samples at temperature 1 only; temperature=%s is not sent.", model, temperature
                )
        for name, value in _backends.default_params(model).items():
            if self.kwargs.get(name) is None:
                self.kwargs[name] = value
        self._options = {**options, "prices": prices}
        self._backend: Backend = _backends.create(model, self._options)
        self._warn_of_vain_rollout(self.kwargs)

    @property
    def endpoint(self) -> str:
        """Address of the server without secrets, or "" for the provider's own."""
        return self._backend.endpoint

    @property
    def supports_response_schema(self) -> bool:
        """Whether answers can be held to a JSON schema."""
        return self.model_type != "text" and self._backend.supports_response_schema

    @property
    def supports_function_calling(self) -> bool:
        """Whether the model can be given tools."""
        return self.model_type != "text" and self._backend.supports_function_calling

    @property
    def supports_reasoning(self) -> bool:
        """Whether the model reasons by itself before it answers."""
        return self._backend.supports_reasoning

    @property
    def supported_params(self) -> set[str]:
        """Names of parameters known to be supported."""
        names = {"temperature", "max_tokens", "n", "stop", "seed", "top_p", "logprobs", "response_format"}
        return names | ({"tools", "tool_choice"} if self.supports_function_calling else set())

    @property
    def use_developer_role(self) -> bool:
        """Whether the Responses API gets "developer" messages instead of "system" ones."""
        return bool(self._options.get("use_developer_role"))

    def price_usd(self, usage: Usage) -> float | None:
        """Return the price of a call with these tokens in US dollars, or None where it is not known."""
        return self._backend.price_usd(usage)

    def load(self) -> None:
        """Load what the first call would be held up by; may take a while, from any thread."""
        self._backend.load()

    def check(self) -> None:
        """Refuse what can't work, before anything is paid: a missing key, extra or address.

        A subclass that answers by itself is not refused for what it may not need.

        Raises:
            LMAuthError: The provider needs a key and there is none.
            MissingExtraError: An optional package is needed and absent.
            UserError: The server's address is missing or is none.
        """
        kind = type(self)
        if not (self._forward_is_custom() or kind.__call__ is not LM.__call__ or kind.acall is not LM.acall):
            self._backend.check()

    def request(
        self, prompt: str | None = None, messages: list[dict[str, Any]] | None = None, **kwargs: Any
    ) -> LMRequest:
        """Return the complete request; see `BaseLM.request`."""
        kwargs = _with_limit_renamed(self.model, kwargs)
        if "rollout_id" in kwargs:
            self._warn_of_vain_rollout({**self.kwargs, **kwargs})
        request = super().request(prompt, messages, **kwargs)
        if not self.use_developer_role or self.model_type != "responses":
            return request
        roles = {"system": "developer"}
        renamed = ({**m, "role": roles.get(m["role"], m["role"])} for m in request.messages)
        return replace(request, messages=tuple(renamed))

    async def send(self, request: LMRequest) -> LMResponse:
        """Answer `request` in one attempt, on the I/O loop.

        Raises:
            LMError: The call failed.
        """
        if self._forward_is_custom():
            return await super().send(request)
        return await self._send(request)

    async def answer(self, request: LMRequest) -> LMResponse:
        """Answer `request` without a gate: from the response cache, or with retries.

        Raises:
            LMError: The last attempt failed.
        """
        if not self.cache:
            return await self._retried(self._send, request)
        from mipro.lm._cache import response_cache  # noqa: PLC0415 - needs SQLite

        cache = response_cache()
        known = cache.get(request.key)
        if known is not None:
            return replace(known, cached=True, latency_s=0.0)
        response = await self._retried(self._send, request)
        cache.put(request.key, response)
        return response

    def forward(
        self, prompt: str | None = None, messages: list[dict[str, Any]] | None = None, **kwargs: Any
    ) -> Any:
        """Return the answer as an OpenAI-like response; subclasses may build on it."""
        lm, kwargs = self._split_call(kwargs)
        return openai_response(run(lm.answer(lm.request(prompt, messages, **kwargs))))

    async def aforward(
        self, prompt: str | None = None, messages: list[dict[str, Any]] | None = None, **kwargs: Any
    ) -> Any:
        """Return the answer as an OpenAI-like response; the async form of `forward`."""
        if type(self).forward is not LM.forward:
            return await super().aforward(prompt, messages, **kwargs)
        lm, kwargs = self._split_call(kwargs)
        future = submit(lm.answer(lm.request(prompt, messages, **kwargs)))
        return openai_response(await asyncio.wrap_future(future))

    def copy(self, **changes: Any) -> Self:
        """Return a copy with its own history and defaults, changed as given.

        Args:
            changes: Attributes, arguments of the constructor, or default parameters;
                None removes a parameter.
        """
        prices = {"prices": changes.pop("prices")} if "prices" in changes else {}
        options, rest = _backends.split_options(changes.get("model", self.model), changes, self._warn_once)
        rest = _with_limit_renamed(rest.get("model", self.model), rest)
        other = super().copy(**rest)
        set_later, params = _backends.split_options(other.model, other.kwargs, self._warn_once)
        other.kwargs = _with_limit_renamed(other.model, params)
        options = {**set_later, **options}
        other._warned = frozenset()  # noqa: SLF001 - of this class
        if options or prices or "model" in rest:
            other._options = {**self._options, **options, **prices}  # noqa: SLF001 - of this class
            other._backend = _backends.create(other.model, other._options)  # noqa: SLF001 - of this class
        return other

    def dump_state(self) -> dict[str, Any]:
        """Return what rebuilds this model with `load_state`; never a key or another secret."""
        lm, _ = self._split_call({})
        if lm is not self:
            return lm.dump_state()
        state = super().dump_state()
        if type(self) is LM:
            # What names no class is an LM. DSPy, which reads the file too, would send the name to the server.
            del state[LM_CLASS_STATE_KEY]
        if is_reasoning_model(self.model):
            # Under the name that the constructor takes.
            state["max_tokens"] = state.pop("max_completion_tokens", state.get("max_tokens"))
        return {**state, **_backends.public_options(self._options)}

    async def _send(self, request: LMRequest) -> LMResponse:
        response = await self._backend.send(request)
        if any(completion.finish_reason == "length" for completion in response.completions):
            self._warn_once(
                "truncated",
                "An answer of %s was cut off at max_tokens=%s; pass a larger `max_tokens`, "
                "or look at it with `inspect_history()`.",
                self.model,
                request.params.get("max_tokens", request.params.get("max_completion_tokens")),
            )
        return response

    def _forward_is_custom(self) -> bool:
        kind = type(self)
        return kind.forward is not LM.forward or kind.aforward is not LM.aforward

    def _for_call(self, kwargs: dict[str, Any]) -> tuple[Self, dict[str, Any]]:
        return (self, kwargs) if self._forward_is_custom() else self._split_call(kwargs)

    def _split_call(self, kwargs: dict[str, Any]) -> tuple[Self, dict[str, Any]]:
        """Split what configures the model, such as a key, from the parameters of one call.

        Programs set it in `lm.kwargs`, too, to change a key or a time-out of a model that they have.
        """
        set_later, _ = _backends.split_options(self.model, self.kwargs, self._warn_once)
        options, params = _backends.split_options(self.model, kwargs, self._warn_once)
        for name in ("cache", "num_retries", "prices"):
            if name in params:
                options[name] = params.pop(name)
        return (self.copy(**options), params) if options or set_later else (self, params)

    def _warn_of_vain_rollout(self, params: dict[str, Any]) -> None:
        if params.get("rollout_id") is None or params.get("temperature") != 0 or "rollout" in self._warned:
            return
        self._warned |= {"rollout"}
        warnings.warn(
            f"rollout_id has no effect when temperature=0, as with {self.model}; set temperature>0 "
            "to draw a fresh answer.",
            stacklevel=4,
        )

    def _warn_once(self, topic: str, message: str, *arguments: Any) -> None:
        if topic not in self._warned:
            self._warned |= {topic}
            _log.warning(message, *arguments)


def _with_limit_renamed(model: str, params: dict[str, Any]) -> dict[str, Any]:
    """Return `params` with the output limit under the name that a reasoning model takes.

    Under two names the default of the model and the value of a call would both be sent, or the
    wrong one.
    """
    if "max_tokens" not in params or not is_reasoning_model(model):
        return params
    rest = {name: value for name, value in params.items() if name != "max_tokens"}
    return {"max_completion_tokens": params["max_tokens"], **rest}
