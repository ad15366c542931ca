"""What holds while a module is being called: whose call it is, and its usage."""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING, Any

from mipro.callback import as_it_is, callbacks_of, notified
from mipro.context import context, settings
from mipro.example import Prediction

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_log = logging.getLogger("mipro.modules")


def call_scope(
    module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> contextlib.AbstractContextManager[Callable[[Any], Any]]:
    """Make `module` the innermost caller for a block.

    The calls to models made in the block go into its `history`. With `track_usage`
    the outermost module counts their tokens, and the prediction carries the counts.

    Args:
        module: The module that is called.
        args: Its positional arguments, for callbacks.
        kwargs: Its arguments by name, for callbacks.

    Returns:
        A block that gives a function that notes what the module returned, and returns it.
    """
    if callbacks_of(module) or (settings.track_usage and settings.usage_tracker is None):
        return _watched(module, args, kwargs)
    return _Caller(module)


class _Caller:
    """The scope of a call that nobody is told of."""

    __slots__ = ("_module", "_override")

    def __init__(self, module: Any) -> None:
        self._module = module

    def __enter__(self) -> Callable[[Any], Any]:
        callers = settings.get("caller_modules") or ()
        self._override = context(caller_modules=(*callers, self._module))
        self._override.__enter__()
        return as_it_is

    def __exit__(self, *_: object) -> None:
        self._override.__exit__()


@contextlib.contextmanager
def _watched(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterator[Callable[[Any], Any]]:
    with contextlib.ExitStack() as stack:
        stack.enter_context(_Caller(module))
        tracker = None
        if settings.track_usage and settings.usage_tracker is None:
            from mipro.lm import track_usage  # noqa: PLC0415 - only where it is asked for

            tracker = stack.enter_context(track_usage())
        seen = stack.enter_context(notified("module", module, {"args": args, "kwargs": kwargs}))

        def done(output: Any) -> Any:
            if tracker is not None:
                _set_usage(output, tracker.get_total_tokens())
            return seen(output)

        yield done


def _set_usage(output: Any, usage: dict[str, Any]) -> None:
    prediction = output[0] if isinstance(output, tuple) and output else output
    if isinstance(prediction, Prediction):
        prediction.set_lm_usage(usage)
    else:
        _log.warning(
            "Failed to set LM usage: a module must return a Prediction for it, but returned %s.",
            type(output).__name__,
        )
