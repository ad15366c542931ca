"""Reading a run, finished or live, without the program's code."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa
from typing_extensions import Self

from mipro.errors import StateError
from mipro.runs._place import LEDGER, as_text, is_url, shown
from mipro.runs._records import (
    CallRecord,
    DecisionRecord,
    EvaluationRecord,
    EventRecord,
    FailureRecord,
    Spent,
)
from mipro.runs._sql import SQLStore, parsed

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator


class RecordedRun:
    """What a run's ledger holds.

    It is released by `close`, at the end of a `with` block, or when nothing uses it any more.

    Example:
        >>> with open("runs/my-run") as run:  # doctest: +SKIP
        ...     print(sum(spent.calls for spent in run.spent()))
        795
    """

    def __init__(self, run_dir: str | os.PathLike[str]) -> None:
        run_dir = as_text(run_dir)
        self.run_dir: str = shown(run_dir)
        self._store = SQLStore(_place_of(run_dir), read_only=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the ledger."""
        self._store.close()

    def facts(self) -> dict[str, str]:
        """Return what identifies the run: data, metric and program digests, settings, versions."""
        return self._store.facts()

    def calls(self) -> Iterator[CallRecord]:
        """Yield the answered calls in order."""
        return self._store.read(CallRecord)

    def failed_calls(self) -> Iterator[FailureRecord]:
        """Yield the requests that got no answer in order."""
        return self._store.read(FailureRecord)

    def evaluations(self) -> Iterator[EvaluationRecord]:
        """Yield the evaluations in order, missing ones included."""
        return self._store.read(EvaluationRecord)

    def decisions(self) -> Iterator[DecisionRecord]:
        """Yield the decisions of the search in order."""
        return self._store.read(DecisionRecord)

    def events(self) -> Iterator[EventRecord]:
        """Yield what happened, in order."""
        return self._store.read(EventRecord)

    def spent(self) -> tuple[Spent, ...]:
        """Return what was paid, by stage and model."""
        return self._store.spent()

    def failures(self) -> dict[str, int]:
        """Return how many requests and evaluations failed, by kind; see `Store.failures`."""
        return self._store.failures()


def _place_of(run_dir: str) -> str | sa.URL:
    """Return where the ledger is, in a form in which SQLite makes no file to read one."""
    if not is_url(run_dir):
        ledger = Path(run_dir).absolute() / LEDGER
        if not ledger.is_file():
            raise StateError(
                f"`run_dir` must be the folder of a run, but {run_dir!r} holds no {LEDGER}; "
                "give the folder that the run named in its output."
            )
        return _url_of(ledger)
    url = parsed(run_dir)
    if url.get_backend_name() != "sqlite" or not url.database or url.query:
        return url
    ledger = Path(url.database).absolute()
    if not ledger.is_file():
        raise StateError(f"`run_dir` must be the URL of a run, but there is no file {str(ledger)!r}.")
    return _url_of(ledger)


def _url_of(ledger: Path) -> sa.URL:
    # Without a log beside it the file is complete, and SQLite must not make one to read it.
    live = ledger.with_name(f"{ledger.name}-wal").exists()
    how = {"mode": "ro"} if live else {"immutable": "1"}
    return sa.URL.create("sqlite", database=ledger.as_uri(), query={**how, "uri": "true"})


def open(run_dir: str | os.PathLike[str]) -> RecordedRun:  # noqa: A001 - `mipro.runs.open`, as `mipro.runs.Run` writes
    """Open a run for reading; see `RecordedRun`.

    Raises:
        StateError: There is no run in that folder.
        UserError: `run_dir` is neither a folder nor a URL.
    """
    return RecordedRun(run_dir)
