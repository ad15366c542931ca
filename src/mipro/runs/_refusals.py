"""Whether the model refuses everything that it is asked, which no candidate can be blamed for."""

from __future__ import annotations

import itertools
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mipro.runs._records import EvaluationRecord

REFUSALS = 10
"""Refused requests, and nothing else so far, after which it is no program's fault but that of what is asked
of the model: a parameter that its server does not take. As many errors end an evaluation."""


class Refusals:
    """Holds refused requests back until there is anything else: they may be no scores.

    A refusal comes sooner than an answer, so that of many evaluations under way those that are refused are
    the first to end; nothing is said before those have ended that were under way with them.

    Args:
        examples: How many there are; fewer than `REFUSALS` are enough if all of them are refused.
    """

    def __init__(self, examples: int) -> None:
        self._least = min(REFUSALS, examples)
        self._held: list[EvaluationRecord] = []
        self._is_over = False
        self._numbers = itertools.count()
        self._under_way: set[int] = set()
        self._awaited: set[int] | None = None
        """Those that were under way when there were enough refusals."""
        self._lock = threading.Lock()

    def end(self) -> None:
        """Hold nothing back from now on: the model is known to answer."""
        self._is_over = True

    @contextmanager
    def watched(self) -> Iterator[int]:
        """Count what is done in the block as an evaluation under way, of the number that it is given."""
        with self._lock:
            number = next(self._numbers)
            self._under_way.add(number)
        try:
            yield number
        finally:
            with self._lock:
                self._under_way.discard(number)

    def sort(
        self, number: int, record: EvaluationRecord, *, refused: bool
    ) -> tuple[list[EvaluationRecord], bool]:
        """Return what is to be kept now, and whether everything is refused.

        Args:
            number: Of the evaluation that has ended, which is still in its block.
            record: What came of it.
            refused: Whether the model refused a request of it.
        """
        with self._lock:
            if self._is_over or not refused:
                self._is_over = True
                held, self._held = self._held, []
                return [*held, record], False
            self._held.append(record)
            if len(self._held) < self._least:
                return [], False
            if self._awaited is None:
                self._awaited = set(self._under_way)
            return [], not self._awaited & self._under_way - {number}
