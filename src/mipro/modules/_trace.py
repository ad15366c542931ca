"""The trace: which predictor was given and answered what, in the order in which the calls began."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import itertools
import operator
import threading
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import pydantic
from typing_extensions import Self

from mipro.adapters import Type
from mipro.context import context, settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from mipro.example import Prediction

_UNDER_WAY = -1

# Entered again where the collector ends a coroutine that was never finished.
_lock = threading.RLock()
# For each trace with calls under way, by its id: the places taken since the first of these began.
# Beside the trace, which has nothing but entries at any time: programs look into it while they run.
_taken: dict[int, list[Place]] = {}

_numbers = itertools.count(1)
# Whose strand this is (thread and task) and its number. No setting: it is nobody's to set.
_strand: ContextVar[tuple[int, int, int] | None] = ContextVar("mipro_strand", default=None)


class Place:
    """A place in the trace, taken when a call begins and filled when it ends.

    The trace is then in the order in which the calls began, whichever ended first. A call
    that raises leaves nothing.
    """

    __slots__ = ("_num_entries", "_others", "_trace")

    def __init__(self, trace: list[Any]) -> None:
        self._trace = trace
        self._num_entries = _UNDER_WAY
        self._others: list[Place] = []

    def __enter__(self) -> Self:
        with _lock:
            self._others = _taken.setdefault(id(self._trace), self._others)
            self._others.append(self)
        return self

    def __exit__(self, *_: object) -> None:
        with _lock:
            places = self._others
            if self._num_entries == _UNDER_WAY:
                places.remove(self)
            # What was filled before all that is under way is in nobody's way any more.
            while places and places[0]._num_entries != _UNDER_WAY:  # noqa: SLF001 - of this class
                del places[0]
            if not places:
                _taken.pop(id(self._trace), None)

    def fill(self, entries: Sequence[Any]) -> None:
        """Put entries here, once; where there would be too many the oldest go."""
        trace = self._trace
        with _lock:
            later = 0
            for place in reversed(self._others):
                if place is self:
                    break
                later += max(place._num_entries, 0)  # noqa: SLF001 - of this class
            at = max(len(trace) - later, 0)
            trace[at:at] = entries
            del trace[: max(len(trace) - settings.max_trace_size, 0)]
            self._num_entries = len(entries)


def as_they_are(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values that stay as they are now: lists, dicts, sets and models in them are copied.

    A program goes on with what it gave (`context.append(passage)`); a trace, of which demos are
    made, must show what the model saw.
    """
    return {name: _kept(value) for name, value in values.items()}


def as_it_is(prediction: Prediction) -> Prediction:
    """Return a copy of a prediction that stays as it is now, whatever program and metric make of theirs."""
    copied = copy.copy(prediction)
    # With all that is known of the prediction beside its fields.
    copied._store = as_they_are(dict(prediction.items(include_dspy=True)))  # noqa: SLF001
    return copied


def _kept(value: Any) -> Any:
    try:
        return _copied(value)
    except Exception:  # noqa: BLE001 - it holds itself, or is a model of the user that raises
        return value


def _copied(value: Any) -> Any:
    kind = type(value)
    if kind is dict:
        return {key: _copied(part) for key, part in value.items()}
    if kind is list or kind is set:
        return kind(map(_copied, value))
    if kind is tuple:
        parts = tuple(map(_copied, value))
        return value if all(map(operator.is_, parts, value)) else parts
    # The types of adapters, such as `Image`, are values; `History` and models of the user may grow.
    if isinstance(value, pydantic.BaseModel) and not isinstance(value, Type):
        return value.model_copy(update={name: _copied(part) for name, part in vars(value).items()})
    return value


def place_in_trace(*, wanted: bool = True) -> contextlib.AbstractContextManager[Place | None]:
    """Return a block that takes the next place in the caller's trace.

    Args:
        wanted: Whether there is to be an entry.

    Returns:
        A block that gives the place, or None where nothing is traced.
    """
    trace = settings.trace if wanted else None
    return _NOWHERE if trace is None or settings.max_trace_size <= 0 else Place(trace)


_NOWHERE: contextlib.AbstractContextManager[None] = contextlib.nullcontext()


@contextlib.contextmanager
def own_trace() -> Iterator[None]:
    """Give a block a trace of its own, which is put where the block began."""
    with place_in_trace() as place:
        if place is None:
            yield
            return
        entries: list[Any] = []
        try:
            with context(trace=entries):
                yield
        finally:
            place.fill(list(entries))


def strand() -> int:
    """Return the number of the strand of the program that runs here.

    A program that does several things at once has several strands, each a thread or a task.
    What one strand does follows one upon the other, at any timing.
    """
    try:
        task = id(asyncio.current_task())
    except RuntimeError:  # no loop runs in this thread
        task = 0
    thread = threading.get_ident()
    known = _strand.get()
    # A thread or task that is begun here copies the context, and with it what is not its own.
    if known is None or known[:2] != (thread, task):
        known = (thread, task, next(_numbers))
        _strand.set(known)
    return known[2]
