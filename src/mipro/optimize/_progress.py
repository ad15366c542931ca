"""What a run says while it is under way."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from typing_extensions import Self

from mipro._terminal import drawn, error_console
from mipro.errors import RunStopped, UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType

    from rich.console import Console
    from rich.progress import TaskID

    from mipro.optimize._estimate import Estimate
    from mipro.optimize._settings import Plan

logger = logging.getLogger("mipro")

TITLES = {
    "demos": "1/3 demos",
    "instructions": "2/3 instructions",
    "search": "3/3 search",
    "test": "test",
}


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a stage has come."""

    stage: str
    """"demos", "instructions", "search" or "test"; "bootstrap" of `BootstrapFewShot`."""
    done: int
    """Units of work done: examples, calls or evaluations."""
    total: int
    """Units of work at most; a stage may end before."""
    message: str = ""
    """What to show beside the bar."""


class Bars:
    """Shows progress as one bar for each stage, on standard error.

    Attributes:
        outcome: Shown below the bars when they end.
    """

    outcome = ""

    def __init__(self, console: Console | None = None) -> None:
        from rich import progress  # noqa: PLC0415 - heavy, and only for who looks on

        self._bars = progress.Progress(
            progress.TextColumn("{task.description:<18}"),
            progress.BarColumn(),
            progress.MofNCompleteColumn(),
            progress.TimeElapsedColumn(),
            progress.TextColumn("{task.fields[message]}"),
            console=console or error_console(),
        )
        self._tasks: dict[str, TaskID] = {}
        self._lock = threading.Lock()
        """Two evaluations that are the first of their stage to end would make a bar each."""

    def __enter__(self) -> Self:
        self._drawn = drawn(self._bars)
        self._drawn.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._drawn.__exit__(kind, error, trace)
        if self.outcome:
            self._say(self.outcome)

    def begin(self, plan: Plan, *, was_split: bool) -> None:
        """Say how many examples are used for what."""
        learned, measured = len(plan.trainset), len(plan.valset)
        split = "; pass a `valset` to split the trainset otherwise" if was_split else ""
        self._say(f"{learned} examples to learn from, {measured} to measure on{split}.")

    def _say(self, text: str) -> None:
        # Plain: names of models and folders are no markup.
        self._bars.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def __call__(self, progress: Progress) -> None:
        """Show `progress`, from any thread.

        A stage seen for the first time gets its bar, the one before it ends.
        """
        with self._lock:
            if progress.stage not in self._tasks:
                for task in self._tasks.values():
                    self._bars.stop_task(task)
                title = TITLES.get(progress.stage, progress.stage)
                self._tasks[progress.stage] = self._bars.add_task(title, total=progress.total, message="")
        self._bars.update(
            self._tasks[progress.stage],
            completed=progress.done,
            total=progress.total,
            message=progress.message,
        )


class Reporter:
    """Hands progress on to every listener, for one stage at a time.

    What one raises is logged, the first time, and ends nothing: the run is paid for, and a window that
    was closed or a connection that broke is no fault of it. Only a `RunStopped` ends the run.
    """

    def __init__(self, listeners: Iterable[Callable[[Progress], None]]) -> None:
        self._listeners = tuple(listeners)
        self._failed: set[int] = set()

    def __call__(self, stage: str, done: int, total: int, message: str = "") -> None:
        """Tell every listener."""
        progress = Progress(stage, done, total, message)
        for place, listener in enumerate(self._listeners):
            try:
                listener(progress)
            except RunStopped:  # noqa: PERF203 - the loop is about what may fail
                raise
            except Exception as error:  # noqa: BLE001 - the user's own code may raise anything
                if place not in self._failed:
                    self._failed.add(place)
                    logger.warning("the callback %r failed: %s: %s", listener, type(error).__name__, error)

    def of(self, stage: str) -> Callable[[int, int], None]:
        """Return the function that one stage calls with (done, total)."""
        return lambda done, total: self(stage, done, total)


def permitted(cost: Estimate) -> bool:
    """Show what a run will cost, on standard error, and ask whether to go on.

    Raises:
        UserError: Nobody is there to answer.
    """
    from rich.prompt import Confirm  # noqa: PLC0415 - heavy, and only for who is asked

    console = error_console()
    console.print(str(cost), markup=False)  # names of models are none
    try:
        return Confirm.ask("Run it?", console=console)
    except EOFError as error:
        raise UserError(
            "`requires_permission_to_run=True` must be given where somebody can answer, but standard input "
            "has ended; leave it out, and set a `budget=` to be safe."
        ) from error
