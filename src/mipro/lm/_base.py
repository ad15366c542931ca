"""What every language model is: the call forms, the history, and the way through a run's gate."""

from __future__ import annotations

import asyncio
import contextlib
import copy as copying
import functools
import json
import logging
import time
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING, Any

from mipro._strict import make_strict
from mipro._whole import is_whole
from mipro.callback import notified
from mipro.context import DEFAULT_CONFIG, passed_by, settings
from mipro.errors import LMError, LMRequestError, UserError
from mipro.lm._failures import Call, error_from_exception, error_from_no_completion
from mipro.lm._history import GLOBAL_HISTORY, entry_of, pretty_print_history, record
from mipro.lm._loop import run, submit
from mipro.lm._openai import NoCompletionError, plain
from mipro.lm._outputs import lm_response, openai_response, outputs_of, usage_dict
from mipro.lm._own_calls import note_call, watched
from mipro.lm._prices import cost_of_answer
from mipro.lm._retry import delay_s
from mipro.lm._secrets import public
from mipro.lm._several import answers
from mipro.lm._threads import in_thread
from mipro.lm._types import LMRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import TextIO

    from typing_extensions import Self

    from mipro.context import Gate
    from mipro.lm._types import LMResponse, Usage

__all__ = ["GLOBAL_HISTORY", "LM_CLASS_STATE_KEY", "BaseLM"]

_log = logging.getLogger("mipro.lm")
_jitter = Random()  # noqa: S311 - spreads retries in time, decides nothing
_BLOCKING_CALLS = 256
"""Calls of a `forward` under way at once, at each depth of models made of other models."""

LM_CLASS_STATE_KEY = "_lm_class"


class BaseLM:
    """A language model; subclass it to bring your own.

    A subclass implements `forward(prompt=None, messages=None, **kwargs)`, or
    `aforward`, and returns an OpenAI-like response (object or dict) or simply the
    text. Calls pass the run's gate where there is one, so that budget, ledger and
    retries hold for it as for every other model; they hold for no `__call__` of its own that
    answers by itself, which a run tells. What its client raises for a server that
    fails or can't be reached becomes an `LMError`, in a run and without: it is no answer.

    Args:
        model: Name of the model.
        model_type: "chat", "text" or "responses".
        temperature: Default for requests; None leaves it to the model.
        max_tokens: Default limit of output tokens; None leaves it to the model.
        cache: Whether answers may come from the response cache.
        callbacks: Objects with `on_lm_start` and `on_lm_end`.
        num_retries: How often a call that failed for a passing reason is tried again.
        kwargs: More default parameters of requests.

    Attributes:
        kwargs: Default parameters of requests, which may hold secrets; see `public_kwargs`.
        history: The last calls, oldest first; bounded by the setting `max_history_size`.

    Raises:
        UserError: `model` is no name, or `num_retries` no whole number of at least 0.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name in {"__call__", "acall"} & vars(cls).keys():
            setattr(cls, name, watched(vars(cls)[name]))

    def __init__(
        self,
        model: str,
        model_type: str = "chat",
        temperature: float | None = None,
        max_tokens: int | None = None,
        cache: bool = True,
        callbacks: Sequence[Any] | None = None,
        num_retries: int = 3,
        **kwargs: Any,
    ) -> None:
        if not isinstance(model, str) or not model:
            raise UserError(f"`model` must be a non-empty text, but got {model!r}.")
        if isinstance(num_retries, bool) or not isinstance(num_retries, int) or num_retries < 0:
            raise UserError(f"`num_retries` must be a whole number of at least 0, but got {num_retries!r}.")
        self.model = model
        self.model_type = model_type
        self.cache = cache
        self.callbacks: list[Any] = list(callbacks or ())
        self.num_retries = num_retries
        self.kwargs: dict[str, Any] = {"temperature": temperature, "max_tokens": max_tokens, **kwargs}
        if self.kwargs.get("rollout_id", ...) is None:
            del self.kwargs["rollout_id"]
        self.history: list[dict[str, Any]] = []

    @property
    def endpoint(self) -> str:
        """Address of the server without secrets, or ""."""
        return ""

    @property
    def identity(self) -> str:
        """Model and address: what tells this model from others, without a key."""
        return f"{self.model}@{self.endpoint}" if self.endpoint else self.model

    @property
    def public_kwargs(self) -> dict[str, Any]:
        """Default parameters of requests without the secrets among them, as they may be shown and kept."""
        return public(self.kwargs)

    def price_usd(self, usage: Usage) -> float | None:
        """Return the price of a call with these tokens in US dollars, or None where it is not known.

        A subclass whose answers are to count against `Budget(cost_usd=)` says it here.
        """
        del usage
        return None

    def load(self) -> None:
        """Load what the first call would be held up by; nothing by default."""

    def check(self) -> None:
        """Refuse what can't work, before anything is paid; nothing by default."""

    @property
    def supports_function_calling(self) -> bool:
        """Whether the model can be given tools."""
        return False

    @property
    def supports_reasoning(self) -> bool:
        """Whether the model reasons by itself before it answers."""
        return False

    @property
    def supports_response_schema(self) -> bool:
        """Whether answers can be held to a JSON schema."""
        return False

    @property
    def supported_params(self) -> set[str]:
        """Names of parameters known to be supported."""
        return set()

    def __call__(
        self, prompt: str | None = None, messages: list[dict[str, Any]] | None = None, **kwargs: Any
    ) -> list[Any]:
        """Ask the model and wait for the answer.

        Args:
            prompt: A text, sent as one user message.
            messages: Or chat messages in OpenAI's format.
            kwargs: Parameters of this call; they go before the defaults.

        Returns:
            A list of `n` texts, or of dicts with `text` and what else came back
            (`reasoning_content`, `tool_calls`, `logprobs`) where there is more than text, and always
            where `model_type` is "responses".

        Raises:
            LMError: The call failed, and trying again did not help.
            RunStopped: The run that this call belongs to may not make it.
        """
        with notified("lm", self, functools.partial(_told, prompt, messages, kwargs)) as seen:
            lm, kwargs = self._for_call(kwargs)
            request = lm.request(prompt, messages, **kwargs)
            gate = _gate()
            shown: Any = None
            if gate is None and lm._forward_is_custom():  # noqa: SLF001 - this very object, or a copy of it
                with lm._failing_as_ours(request) as read:  # noqa: SLF001
                    shown = lm.forward(prompt=prompt, messages=messages, **kwargs)
                    response = read(shown)
            else:
                response = run(_answered(lm, request, gate))
            return seen(self._finish(prompt, messages, kwargs, request, response, shown))

    async def acall(
        self, prompt: str | None = None, messages: list[dict[str, Any]] | None = None, **kwargs: Any
    ) -> list[Any]:
        """Ask the model; the async form of a plain call, with the same arguments."""
        with notified("lm", self, functools.partial(_told, prompt, messages, kwargs)) as seen:
            lm, kwargs = self._for_call(kwargs)
            request = lm.request(prompt, messages, **kwargs)
            gate = _gate()
            shown: Any = None
            if gate is None and lm._forward_is_custom():  # noqa: SLF001 - this very object, or a copy of it
                with lm._failing_as_ours(request) as read:  # noqa: SLF001
                    shown = await lm.aforward(prompt=prompt, messages=messages, **kwargs)
                    response = read(shown)
            else:
                response = await asyncio.wrap_future(submit(_answered(lm, request, gate)))
            return seen(self._finish(prompt, messages, kwargs, request, response, shown))

    def forward(
        self, prompt: str | None = None, messages: list[dict[str, Any]] | None = None, **kwargs: Any
    ) -> Any:
        """Return an OpenAI-like response; what subclasses implement."""
        if type(self).aforward is BaseLM.aforward:
            raise NotImplementedError(f"{type(self).__name__} must implement `forward` or `aforward`.")
        return run(self.aforward(prompt=prompt, messages=messages, **kwargs))

    async def aforward(
        self, prompt: str | None = None, messages: list[dict[str, Any]] | None = None, **kwargs: Any
    ) -> Any:
        """Return an OpenAI-like response; runs `forward` in a thread unless implemented."""
        call = functools.partial(self.forward, prompt=prompt, messages=messages, **kwargs)
        return await in_thread(call, workers=_BLOCKING_CALLS)

    def request(
        self, prompt: str | None = None, messages: list[dict[str, Any]] | None = None, **kwargs: Any
    ) -> LMRequest:
        """Return the complete request: defaults merged in, forms normalised, nothing secret.

        Raises:
            UserError: Neither `prompt` nor `messages` was given, `messages` is a text or empty, or `n` is no
                whole number of at least 1.
        """
        if messages is None:
            if prompt is None:
                raise UserError("A call to a model must have `prompt` or `messages`, but got neither.")
            messages = [{"role": "user", "content": prompt}]
        if isinstance(messages, str) or not messages:
            raise UserError(
                '`messages` must be a list of messages such as {"role": "user", "content": "Hello"}, but got '
                f"{messages!r}; pass a text as `prompt`."
            )
        params = {k: v for k, v in {**self.kwargs, **kwargs}.items() if v is not None}
        if not is_whole(params.get("n", 1), 1):
            raise UserError(f"`n` must be a whole number of answers, 1 or more, but got {params['n']!r}.")
        form = params.get("response_format")
        if isinstance(form, type):
            params["response_format"] = _schema_format(form)
        if self.model_type != "chat":
            params["model_type"] = self.model_type
        return LMRequest(self.model, tuple(messages), params, self.endpoint)

    async def send(self, request: LMRequest) -> LMResponse:
        """Answer `request` in one attempt, on the I/O loop.

        Runs the subclass's `forward` in a thread, or its `aforward` right here.

        Raises:
            LMError: The call failed. What clients raise for a server that failed or that can't be
                reached (`ConnectionError`, `TimeoutError`, whatever has a `status_code`) becomes one.
        """
        messages, params = list(request.messages), request.sent_params
        with self._failing_as_ours(request) as read:
            if type(self).forward is BaseLM.forward:
                return read(await self.aforward(messages=messages, **params))
            call = functools.partial(self.forward, messages=messages, **params)
            return read(await in_thread(call, workers=_BLOCKING_CALLS))

    @contextlib.contextmanager
    def _failing_as_ours(self, request: LMRequest) -> Iterator[Callable[[Any], LMResponse]]:
        """Turn what a user's `forward` raises and returns into an `LMError` and an `LMResponse`."""
        call = Call(self.model, self.endpoint or "its server", secrets=request.secrets.texts())
        start_s = time.perf_counter()

        def read(value: Any) -> LMResponse:
            try:
                response = lm_response(value, time.perf_counter() - start_s)
            except NoCompletionError as error:
                text = json.dumps(plain(value), default=str)
                raise error_from_no_completion(call, text, {}) from error
            except ValueError as error:
                kind = type(self).__name__
                raise LMRequestError(
                    f"`{kind}.forward` must return a text or an OpenAI-like response: {error}.",
                    model=self.model,
                ) from error
            if response.cost_usd is not None:
                return response
            return replace(response, cost_usd=cost_of_answer(self.price_usd, response.usage))

        try:
            yield read
        except Exception as error:
            found = error_from_exception(call, error)
            if found is None:
                raise
            raise found from error

    async def answer(self, request: LMRequest) -> LMResponse:
        """Answer `request` without a gate: with retries.

        Raises:
            LMError: The last attempt failed.
        """
        return await self._retried(self.send, request)

    async def _retried(self, send: Callable[[LMRequest], Any], request: LMRequest) -> LMResponse:
        attempt = 0
        while True:
            attempt += 1
            try:
                response: LMResponse = await send(request)
            except LMError as error:
                wait_s = delay_s(error, attempt, _jitter) if attempt <= self.num_retries else None
                if wait_s is None:
                    if attempt > 1:
                        _note(error, f"Gave up after {attempt} attempts.")
                    raise
                _log.info("attempt %d at %s failed, next in %.1f s: %s", attempt, self.model, wait_s, error)
                await asyncio.sleep(wait_s)
            else:
                return response

    def copy(self, **changes: Any) -> Self:
        """Return a copy with its own history and defaults, changed as given.

        Args:
            changes: Attributes or default parameters; None removes a parameter.
        """
        other = copying.copy(self)
        other.history = []
        other.callbacks = list(self.callbacks)
        other.kwargs = dict(self.kwargs)
        for name, value in changes.items():
            is_attribute = name in other.__dict__
            if is_attribute:
                setattr(other, name, value)
            if name in other.kwargs or not is_attribute:
                if value is None:
                    other.kwargs.pop(name, None)
                else:
                    other.kwargs[name] = value
        return other

    def dump_state(self) -> dict[str, Any]:
        """Return what rebuilds this model with `load_state`; never a key or another secret."""
        return {
            "model": self.model,
            "model_type": self.model_type,
            "cache": self.cache,
            "num_retries": self.num_retries,
            **self.public_kwargs,
            # Last, so that no parameter of that name takes its place.
            LM_CLASS_STATE_KEY: f"{type(self).__module__}.{type(self).__qualname__}",
        }

    @classmethod
    def load_state(cls, state: dict[str, Any], *, allow_custom_lm_class: bool = False) -> BaseLM:
        """Rebuild a model from what `dump_state` returned.

        Args:
            state: What `dump_state` returned; not modified.
            allow_custom_lm_class: Whether a class named in the state may be imported.
                Only for files you trust: importing runs code.

        Raises:
            UserError: The state names a class of another package and that is not allowed.
        """
        from mipro.lm._state import rebuild  # noqa: PLC0415 - knows LM, which knows this class

        return rebuild(cls, state, allow_custom=allow_custom_lm_class)

    def inspect_history(self, n: int = 1, file: TextIO | None = None) -> None:
        """Show the last `n` calls of this model; see `mipro.inspect_history`."""
        pretty_print_history(self.history, n, file=file)

    def update_history(self, entry: dict[str, Any]) -> None:
        """Append `entry` to the histories, unless the setting `disable_history` is on."""
        record(entry, self.history)

    def __repr__(self) -> str:
        shown = {k: v for k, v in self.public_kwargs.items() if v is not None}
        parts = [repr(self.model), *(f"{k}={v!r}" for k, v in shown.items())]
        return f"{type(self).__name__}({', '.join(parts)})"

    def _forward_is_custom(self) -> bool:
        """Whether the answer comes from a user's `forward` or `aforward`."""
        return True

    def _for_call(self, kwargs: dict[str, Any]) -> tuple[Self, dict[str, Any]]:
        """Split what configures the model from the parameters of one call."""
        own = {k: kwargs[k] for k in ("cache", "num_retries") if k in kwargs}
        if not own or type(self).forward is not BaseLM.forward:
            return self, kwargs
        return self.copy(**own), {k: v for k, v in kwargs.items() if k not in own}

    def _finish(
        self,
        prompt: str | None,
        messages: list[dict[str, Any]] | None,
        kwargs: dict[str, Any],
        request: LMRequest,
        response: LMResponse,
        shown: Any,
    ) -> list[Any]:
        outputs = outputs_of(response, self.model_type)
        tracker = settings.usage_tracker
        if tracker is not None and not response.cached:
            tracker.add_usage(self.model, usage_dict(response.usage))
        if not settings.disable_history:
            entry = entry_of(
                prompt=prompt,
                messages=messages,
                kwargs=kwargs,
                request=request,
                response=response,
                shown=openai_response(response) if shown is None else shown,
                outputs=outputs,
            )
            self.update_history(entry)
        return outputs


def misnamed_model() -> str:
    """Return what to say where no model is configured, but another setting than `lm` is one; else ""."""
    for name, value in settings.copy().items():
        if name not in DEFAULT_CONFIG and isinstance(value, BaseLM):
            return f" `{name}` is set to a model, but the setting is called `lm`."
    return ""


def _gate() -> Gate | None:
    """Return the gate that a call passes; where there is none, runs under way are told."""
    note_call()
    gate: Gate | None = settings.gate
    if gate is None:
        passed_by()
    return gate


async def _answered(lm: BaseLM, request: LMRequest, gate: Gate | None) -> LMResponse:
    ask = lm.answer if gate is None else functools.partial(gate.call, lm)
    # How many answers a user's own model gives is the user's to say.
    return await (ask(request) if lm._forward_is_custom() else answers(request, ask))  # noqa: SLF001


def _told(
    prompt: str | None, messages: list[dict[str, Any]] | None, kwargs: dict[str, Any]
) -> dict[str, Any]:
    """Return what callbacks are told of a call, which they may show and keep."""
    return {"prompt": prompt, "messages": messages, "kwargs": public(kwargs)}


def _note(error: LMError, text: str) -> None:
    error.args = (f"{error.args[0] if error.args else ''} {text}".strip(), *error.args[1:])


def _schema_format(model: type) -> dict[str, Any]:
    """Return OpenAI's `response_format` for a pydantic model class."""
    schema = getattr(model, "model_json_schema", None)
    if not callable(schema):
        raise UserError(f"`response_format` must be a dict or a pydantic model, but got {model!r}.")
    strict = schema()
    is_strict = make_strict(strict)
    named = {"name": model.__name__, "strict": is_strict, "schema": strict if is_strict else schema()}
    return {"type": "json_schema", "json_schema": named}
