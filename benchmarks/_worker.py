"""A benchmark's work in a process of its own, and what it has taken of memory."""

from __future__ import annotations

import json
import logging
import os
import resource
import sys
import tempfile
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def peak_mb() -> float:
    """Return the most memory that this process has taken so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1024 if sys.platform == "linux" else peak / 1024**2  # KB there, bytes on macOS


def work(run: Callable[[dict[str, Any]], dict[str, Any]], homes: tuple[str, ...]) -> None:
    """Do as ordered in a folder of this process's own, so that no cache helps, and print what was measured.

    The orders are read from argv; what is printed is one JSON line.

    Args:
        run: Does the work; what it prints is not the result and goes to the error output.
        homes: Environment variables that name a folder, which is that one.
    """
    with tempfile.TemporaryDirectory() as home:
        for name in homes:
            os.environ[name] = home
        os.chdir(home)
        out = os.dup(1)
        os.dup2(2, 1)
        logging.disable(logging.CRITICAL)
        measured = run(json.loads(sys.argv[1]))
        os.write(out, (json.dumps(measured) + "\n").encode())
