"""Telling the caller how far a download is: a bar, a callback, or nothing."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TypeAlias

from mipro._terminal import drawn, error_console

Progress: TypeAlias = bool | Callable[[int, int], None]
"""True draws a bar on stderr; a function is called with (bytes done, bytes in all)."""


class Meter:
    """Counts the bytes of one download after the other; silent unless shown."""

    def __init__(self, show: Callable[[int, int, str], None] | None = None) -> None:
        self._show = show
        self._text = ""
        self._done = 0
        self._total = 0

    def start(self, text: str, total: int) -> None:
        """Begin a download of `total` bytes (0: not known), described by `text`."""
        self._text, self._done, self._total = text, 0, total
        self._tell()

    def note(self, text: str) -> None:
        """Say what is going on now, for example which part is coming."""
        self._text = text
        self._tell()

    def advance(self, count: int) -> None:
        """Count `count` more bytes."""
        self._done += count
        self._tell()

    def _tell(self) -> None:
        if self._show is not None:
            self._show(self._done, self._total, self._text)


@contextlib.contextmanager
def metered(progress: Progress) -> Iterator[Meter]:
    """Open a `Meter` that shows itself as `progress` asks."""
    if progress is False:
        yield Meter()
    elif progress is True:
        with _bar() as show:
            yield Meter(show)
    else:
        yield Meter(lambda done, total, _text: progress(done, total))


@contextlib.contextmanager
def _bar() -> Iterator[Callable[[int, int, str], None]]:
    from rich import progress as rich_progress  # noqa: PLC0415 - only where a bar is asked for

    columns = (
        rich_progress.TextColumn("{task.description}"),
        rich_progress.BarColumn(bar_width=12),  # all columns fit into 80 characters
        rich_progress.DownloadColumn(),
        rich_progress.TransferSpeedColumn(),
        rich_progress.TimeRemainingColumn(),
    )
    with drawn(rich_progress.Progress(*columns, console=error_console())) as bars:
        task = bars.add_task("", total=None)
        yield lambda done, total, text: bars.update(
            task, completed=done, total=total or None, description=text
        )
