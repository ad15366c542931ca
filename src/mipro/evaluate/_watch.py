"""Watching an evaluation: its failures, and how far it is."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections import Counter
from typing import TYPE_CHECKING

from mipro._terminal import drawn, error_console
from mipro.errors import LMAuthError, LMError, LMNotFoundError, NoModelError, ProgramError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from mipro.evaluate._outcome import Outcome
    from mipro.example import Example

logger = logging.getLogger(__name__)


class Guard:
    """Counts failures from all threads and stops the evaluation when there are too many."""

    def __init__(self, max_errors: int, provide_traceback: bool) -> None:
        self._max_errors = max(1, max_errors)
        self._provide_traceback = provide_traceback
        self._lock = threading.Lock()
        self._count = 0

    def count(self, example: Example, outcome: Outcome) -> None:
        """Log a failure; raise where it is one too many, or no later call can do better."""
        detail = (
            f"\n{outcome.traceback}"
            if self._provide_traceback
            else " Set `provide_traceback=True` for traceback."
            if outcome.traceback
            else ""
        )
        logger.warning(
            "%s failed on %r: %s: %s%s",
            outcome.failure,
            example,
            type(outcome.error).__name__,
            outcome.error,
            detail,
        )
        if not outcome.raised and outcome.failure != "lm":  # what a model said: a score, not an error
            return
        with self._lock:
            self._count += 1
            count = self._count
        if isinstance(outcome.error, NoModelError):
            raise outcome.error
        if isinstance(outcome.error, LMError):
            if count >= self._max_errors or isinstance(outcome.error, (LMAuthError, LMNotFoundError)):
                raise outcome.error
        elif count >= self._max_errors:
            raise ProgramError(
                f"the evaluation was stopped: program and metric must raise on fewer than {self._max_errors} "
                f"examples (`max_errors`), but raised on {count}; the last was the {outcome.failure}: "
                f"{type(outcome.error).__name__}: {str(outcome.error).rstrip('.')}. Repair it, or "
                "pass a larger `max_errors`.",
                count=count,
            ) from outcome.error


def counted(failures: Mapping[str, int]) -> str:
    """Return the failures as the end of a sentence, or "" where there are none."""
    if not failures:
        return ""
    return "; failures: " + ", ".join(f"{count} {name}" for name, count in sorted(failures.items()))


@contextlib.contextmanager
def bar(total: int) -> Iterator[Callable[[Outcome], None]]:
    """Draw a bar on stderr; yields a function that is told each outcome."""
    from rich import progress as rich_progress  # noqa: PLC0415 - only where a bar is asked for

    columns = (
        rich_progress.TextColumn("{task.description}"),
        rich_progress.BarColumn(bar_width=20),
        rich_progress.MofNCompleteColumn(),
        rich_progress.TimeRemainingColumn(),
    )
    total_score, num_scores = 0.0, 0
    failures: Counter[str] = Counter()
    with drawn(rich_progress.Progress(*columns, console=error_console())) as bars:
        task = bars.add_task("Average Metric", total=total)

        def advance(outcome: Outcome) -> None:
            nonlocal total_score, num_scores
            if outcome.score is not None:
                total_score += outcome.score
                num_scores += 1
            if outcome.failure:
                failures[outcome.failure] += 1
            percent = 100 * total_score / num_scores if num_scores else 0.0
            bars.update(task, advance=1, description=f"Average Metric: {percent:.1f}%{counted(failures)}")

        yield advance
