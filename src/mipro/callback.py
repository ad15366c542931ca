"""Callbacks: objects of the user's that are told when something starts and ends."""

from __future__ import annotations

import contextlib
import functools
import inspect
import logging
import uuid
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from mipro.context import settings
from mipro.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_log = logging.getLogger("mipro")
T = TypeVar("T")

ACTIVE_CALL_ID: ContextVar[str | None] = ContextVar("mipro_active_call_id", default=None)
"""While a callback is told of a call: the id of the call around it, or None."""

Kind = Literal["module", "lm", "adapter_format", "adapter_parse", "tool", "evaluate", "compile"]


class BaseCallback:
    """Base of callbacks, which override those methods that they want to be told by.

    For each kind of call, `module`, `lm`, `adapter_format`, `adapter_parse`, `tool`,
    `evaluate` and `compile`: `on_KIND_start(call_id, instance, inputs)` and
    `on_KIND_end(call_id, outputs, exception)`. They are given by `configure(callbacks=[...])`
    or to one module or model. What they raise is logged and ends nothing.

    Example:
        >>> class Counter(BaseCallback):
        ...     calls = 0
        ...
        ...     def on_lm_start(self, call_id, instance, inputs):
        ...         self.calls += 1
    """

    def on_module_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        """A module is called."""

    def on_module_end(self, call_id: str, outputs: Any, exception: Any = None) -> None:
        """A module has returned, or raised `exception`."""

    def on_lm_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        """A model is called."""

    def on_lm_end(self, call_id: str, outputs: Any, exception: Any = None) -> None:
        """A model has answered, or the call raised `exception`."""

    def on_adapter_format_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        """An adapter writes a prompt."""

    def on_adapter_format_end(self, call_id: str, outputs: Any, exception: Any = None) -> None:
        """A prompt is written, or its adapter raised `exception`."""

    def on_adapter_parse_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        """An adapter reads an answer."""

    def on_adapter_parse_end(self, call_id: str, outputs: Any, exception: Any = None) -> None:
        """An answer is read, or its adapter raised `exception`."""

    def on_tool_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        """A tool is called."""

    def on_tool_end(self, call_id: str, outputs: Any, exception: Any = None) -> None:
        """A tool has returned, or raised `exception`."""

    def on_evaluate_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        """An evaluation begins."""

    def on_evaluate_end(self, call_id: str, outputs: Any, exception: Any = None) -> None:
        """An evaluation has ended, or raised `exception`."""

    def on_compile_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        """An optimizer begins."""

    def on_compile_end(self, call_id: str, outputs: Any, exception: Any = None) -> None:
        """An optimizer has ended, or raised `exception`."""


def notified(
    kind: Kind, instance: Any, inputs: Mapping[str, Any] | Callable[[], Mapping[str, Any]]
) -> contextlib.AbstractContextManager[Callable[[T], T]]:
    """Tell all callbacks before a block that a call starts, and after it that it has ended.

    Args:
        kind: What kind of call.
        instance: What is called; its own `callbacks` are told too.
        inputs: Arguments of the call, or a function that returns them, for what is only to be made where
            somebody is told.

    Returns:
        A block that gives a function that notes what the call returns, and returns it.
    """
    callbacks = callbacks_of(instance)
    if not callbacks:
        return _UNTOLD
    return _told(callbacks, kind, instance, inputs() if callable(inputs) else inputs)


def callbacks_of(instance: Any) -> tuple[Any, ...]:
    """Return the callbacks that are told of calls of `instance`: those configured and its own.

    Raises:
        UserError: They are no list.
    """
    given = (settings.callbacks or (), getattr(instance, "callbacks", None) or ())
    for callbacks in given:
        if not isinstance(callbacks, (list, tuple)):
            raise UserError(
                f"`callbacks` must be a list of objects, as in [MyCallback()], but got {callbacks!r}."
            )
    return (*given[0], *given[1])


@contextlib.contextmanager
def _told(
    callbacks: tuple[Any, ...], kind: Kind, instance: Any, inputs: Mapping[str, Any]
) -> Iterator[Callable[[T], T]]:
    call_id = uuid.uuid4().hex
    noted: list[Any] = []

    def note(outputs: T) -> T:
        noted.append(outputs)
        return outputs

    failure: BaseException | None = None
    _tell(callbacks, f"on_{kind}_start", call_id=call_id, instance=instance, inputs=dict(inputs))
    token = ACTIVE_CALL_ID.set(call_id)
    try:
        yield note
    except BaseException as error:
        failure = error
        raise
    finally:
        ACTIVE_CALL_ID.reset(token)
        outputs = noted[-1] if noted and failure is None else None
        _tell(callbacks, f"on_{kind}_end", call_id=call_id, outputs=outputs, exception=failure)


def with_callbacks(method: Callable[..., Any], kind: Kind = "module") -> Callable[..., Any]:
    """Have callbacks told of a method of one's own, as of a call of its module.

    Args:
        method: The method, sync or async.
        kind: What kind of call it is told as.
    """

    def told(instance: Any, args: Any, kwargs: Any) -> Any:
        def inputs() -> dict[str, Any]:
            given = inspect.signature(method).bind(instance, *args, **kwargs)
            given.apply_defaults()
            return dict(list(given.arguments.items())[1:])

        return notified(kind, instance, inputs)

    if inspect.iscoroutinefunction(method):

        @functools.wraps(method)
        async def awaited(self: Any, *args: Any, **kwargs: Any) -> Any:
            with told(self, args, kwargs) as seen:
                return seen(await method(self, *args, **kwargs))

        return awaited

    @functools.wraps(method)
    def called(self: Any, *args: Any, **kwargs: Any) -> Any:
        with told(self, args, kwargs) as seen:
            return seen(method(self, *args, **kwargs))

    return called


def as_it_is(outputs: T) -> T:
    """Return `outputs`: what notes the end of a call that nobody is told of."""
    return outputs


# One for all: there is nothing to remember, and a call passes six of them.
_UNTOLD = contextlib.nullcontext(as_it_is)


def _tell(callbacks: tuple[Any, ...], event: str, **details: Any) -> None:
    for callback in callbacks:
        told = getattr(callback, event, None)
        if told is None:
            continue
        try:
            told(**details)
        except Exception as error:  # noqa: BLE001 - the user's own code may raise anything
            _log.warning("The callback %r failed in %s: %s: %s", callback, event, type(error).__name__, error)
