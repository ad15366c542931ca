"""Killing a run and starting it again: what must hold for every script that gives a `run_dir`."""

from __future__ import annotations

import mmap
import signal
import struct
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

POLL_S = 0.002
_COUNTS = struct.Struct("=QQ")


class Tally:
    """How many calls a process sent and how many of them ended for their caller, in a mapped file.

    What is written there outlives a SIGKILL of the writer. A call is in flight from just before it
    is sent until its caller has the answer, so the difference is exact, whatever the timing.

    Args:
        path: The file, 16 bytes; made, with both counts at zero, where it is missing.
    """

    def __init__(self, path: str | Path) -> None:
        if not Path(path).exists():
            Path(path).write_bytes(_COUNTS.pack(0, 0))
        with Path(path).open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), _COUNTS.size)
        self._lock = threading.Lock()

    def note_sent(self) -> None:
        """Count a call, before it is sent."""
        self._add(1, 0)

    def note_ended(self) -> None:
        """Count the end of a call: its caller has the answer, or the failure."""
        self._add(0, 1)

    def _add(self, sent: int, ended: int) -> None:
        with self._lock:
            before = _COUNTS.unpack(self._map[:])
            self._map[:] = _COUNTS.pack(before[0] + sent, before[1] + ended)

    @property
    def in_flight(self) -> int:
        """Calls that were sent and have not ended."""
        sent, ended = _COUNTS.unpack(self._map[:])
        return int(sent - ended)

    def close(self) -> None:
        """Let go of the file."""
        self._map.close()


@dataclass(frozen=True, slots=True)
class Ending:
    """How a run that was killed, and started again until it ended, came out."""

    output: bytes
    """The file that the script wrote."""
    requests: int
    """Requests that the server received over all starts."""
    starts: int


def run_with_kills(
    command: Sequence[str],
    output: Path,
    count: Callable[[], int],
    kill_at: Sequence[int],
    *,
    timeout_s: float = 120.0,
) -> Ending:
    """Run a script, killing it with SIGKILL, and start it again until it ends by itself.

    Args:
        command: Arguments for this Python interpreter.
        output: File the script writes when it is done.
        count: Requests the server has received so far.
        kill_at: At which counts to kill, ascending, one for each start but the last.
        timeout_s: Seconds that one start may take.

    Raises:
        RuntimeError: A start failed or took too long.
    """
    before = count()
    starts = 0
    for limit in [*kill_at, None]:
        starts += 1
        with subprocess.Popen([sys.executable, *command], stderr=subprocess.PIPE) as process:  # noqa: S603 - the caller's own script
            deadline = time.monotonic() + timeout_s
            while process.poll() is None and (limit is None or count() - before < limit):
                if time.monotonic() > deadline:
                    process.kill()
                    raise RuntimeError(
                        f"a start must end within {timeout_s:g} s, but start {starts} did not."
                    )
                time.sleep(POLL_S)
            process.send_signal(signal.SIGKILL) if process.poll() is None else None
            _, errors = process.communicate()
        if process.returncode not in (0, -signal.SIGKILL):
            raise RuntimeError(f"start {starts} failed:\n{errors.decode(errors='replace')}")
        if process.returncode == 0:
            break
    return Ending(output.read_bytes(), count() - before, starts)
