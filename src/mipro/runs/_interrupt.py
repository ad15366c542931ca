"""Ctrl-C during a run, or a system that ends it: once to end it in order, twice to end it now."""

from __future__ import annotations

import logging
import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from mipro.errors import RunInterrupted

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

    from mipro.runs._run import Run

logger = logging.getLogger("mipro")

_ENDS = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
"""Sent by a system that shuts down, a scheduler that takes the machine back, a terminal that is closed."""


@contextmanager
def interruptible(run: Run) -> Iterator[None]:
    """Turn the first Ctrl-C, SIGTERM or SIGHUP inside the block into an orderly end of the run.

    Calls in flight are finished and kept, no new one is made, and what waits for one
    raises `RunInterrupted`. The second Ctrl-C raises `KeyboardInterrupt` at once. After SIGTERM and
    SIGHUP the run is closed and the process ends by the signal, as it would have without a run; the
    second one ends it at once. Where the program has a handler of its own for them, that is called.

    Outside the main thread, where Python delivers no signals, the block changes nothing; nor does it in a
    program of another language that has Python inside and a handler of its own, which Python could
    not put back.
    """
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGINT) is None:
        yield
        return
    pressed = False
    ended_by: list[signal.Signals] = []

    def handle(_number: int, _frame: FrameType | None) -> None:
        nonlocal pressed
        if pressed:
            run.abort()
            raise KeyboardInterrupt
        pressed = True
        run.stop(_interrupted(run))
        # After the stop, since the second Ctrl-C may come while this is written.
        logger.warning("stopping: calls in flight are finished and kept; press Ctrl-C again to stop now.")

    def end(number: int, _frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        ended_by.append(signal.Signals(number))
        run.stop(_interrupted(run))
        logger.warning("stopping after %s: calls in flight are finished and kept.", ended_by[0].name)

    before = signal.signal(signal.SIGINT, handle)
    taken = [number for number in _ENDS if signal.getsignal(number) is signal.SIG_DFL]
    for number in taken:
        signal.signal(number, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        for number in taken:
            signal.signal(number, signal.SIG_DFL)
        if ended_by:
            run.close()
            logger.warning("%s", _interrupted(run))
            signal.raise_signal(ended_by[0])


def _interrupted(run: Run) -> RunInterrupted:
    return RunInterrupted(
        f"the run was interrupted; everything is kept in {run.where}. Start the same script again "
        f"with run_dir={run.where!r} and it goes on where it stopped.",
        run_dir=run.where,
    )
