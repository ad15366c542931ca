"""Telling the caller's callbacks that a call to a model starts and ends."""

from __future__ import annotations

import contextlib
import uuid
from typing import TYPE_CHECKING, Any

from mipro.context import settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mipro.lm._base import BaseLM


@contextlib.contextmanager
def notified(
    lm: BaseLM, prompt: str | None, messages: list[dict[str, Any]] | None, kwargs: dict[str, Any]
) -> Iterator[Callable[[list[Any]], list[Any]]]:
    """Call `on_lm_start` before a block and `on_lm_end` after it, on all callbacks.

    A callback has the methods it wants to have; as DSPy's `BaseCallback`:
    `on_lm_start(call_id, instance, inputs)`, `on_lm_end(call_id, outputs, exception)`.

    Yields:
        A function that notes the outputs and returns them.
    """
    callbacks = (*settings.callbacks, *lm.callbacks)
    if not callbacks:
        yield lambda outputs: outputs
        return
    call_id = uuid.uuid4().hex
    noted: list[list[Any]] = []

    def note(outputs: list[Any]) -> list[Any]:
        noted.append(outputs)
        return outputs

    failure: BaseException | None = None
    _tell(callbacks, "on_lm_start", call_id, lm, {"prompt": prompt, "messages": messages, **kwargs})
    try:
        yield note
    except BaseException as error:
        failure = error
        raise
    finally:
        _tell(callbacks, "on_lm_end", call_id, noted[-1] if noted else None, failure)


def _tell(callbacks: tuple[Any, ...], event: str, *arguments: Any) -> None:
    for callback in callbacks:
        told = getattr(callback, event, None)
        if told is not None:
            told(*arguments)
