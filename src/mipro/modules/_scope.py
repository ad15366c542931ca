"""What holds while a module is being called: whose call it is, and its usage."""

from __future__ import annotations

import contextlib
import logging
import uuid
from typing import TYPE_CHECKING, Any

from mipro.context import context, settings
from mipro.example import Prediction

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_log = logging.getLogger("mipro.modules")


@contextlib.contextmanager
def call_scope(module: Any, inputs: dict[str, Any]) -> Iterator[Callable[[Any], Any]]:
    """Make `module` the innermost caller for a block.

    The calls to models made in the block go into its `history`. With `track_usage`
    the outermost module counts their tokens, and the prediction carries the counts.

    Args:
        module: The module that is called.
        inputs: Its arguments, for callbacks.

    Yields:
        A function that notes what the module returned, and returns it.
    """
    callers = settings.get("caller_modules") or ()
    with contextlib.ExitStack() as stack:
        stack.enter_context(context(caller_modules=(*callers, module)))
        tracker = None
        if settings.track_usage and settings.usage_tracker is None:
            from mipro.lm import track_usage  # noqa: PLC0415 - only where it is asked for

            tracker = stack.enter_context(track_usage())
        callbacks = (*settings.callbacks, *getattr(module, "callbacks", ()))
        noted = stack.enter_context(_told(callbacks, module, inputs)) if callbacks else None

        def done(output: Any) -> Any:
            if tracker is not None:
                _set_usage(output, tracker.get_total_tokens())
            if noted is not None:
                noted.append(output)
            return output

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


@contextlib.contextmanager
def _told(callbacks: tuple[Any, ...], module: Any, inputs: dict[str, Any]) -> Iterator[list[Any]]:
    """Call `on_module_start` and `on_module_end` on the callbacks that have them."""
    call_id = uuid.uuid4().hex
    noted: list[Any] = []
    failure: BaseException | None = None
    _tell(callbacks, "on_module_start", call_id=call_id, instance=module, inputs=inputs)
    try:
        yield noted
    except BaseException as error:
        failure = error
        raise
    finally:
        outputs = noted[-1] if noted else None
        _tell(callbacks, "on_module_end", call_id=call_id, outputs=outputs, exception=failure)


def _tell(callbacks: tuple[Any, ...], event: str, **arguments: Any) -> None:
    for callback in callbacks:
        told = getattr(callback, event, None)
        if told is not None:
            told(**arguments)
