"""Ctrl-C during a run: once to end it in order, twice to end it now."""

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


@contextmanager
def interruptible(run: Run) -> Iterator[None]:
    """Turn the first Ctrl-C inside the block into an orderly end of the run.

    Calls in flight are finished and kept, no new one is made, and what waits for one
    raises `RunInterrupted`. The second Ctrl-C raises `KeyboardInterrupt` at once. Outside
    the main thread, where Python delivers no signals, the block changes nothing; nor does it in a
    program of another language that has Python inside and a handler of its own, which Python could
    not put back.
    """
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGINT) is None:
        yield
        return
    pressed = False

    def handle(_number: int, _frame: FrameType | None) -> None:
        nonlocal pressed
        if pressed:
            run.abort()
            raise KeyboardInterrupt
        pressed = True
        run.stop(
            RunInterrupted(
                f"the run was interrupted; everything is kept in {run.where}. Start the same script again "
                f"with run_dir={run.where!r} and it goes on where it stopped.",
                run_dir=run.where,
            )
        )
        # After the stop, since the second Ctrl-C may come while this is written.
        logger.warning("stopping: calls in flight are finished and kept; press Ctrl-C again to stop now.")

    before = signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
