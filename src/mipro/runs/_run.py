"""A run: one directory, one ledger, one gate, for the time of a `compile`."""

from __future__ import annotations

import json
import os
import random
import sys
import time
from collections import defaultdict
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import filelock
import platformdirs

from mipro._version import __version__
from mipro.context import context
from mipro.errors import RunMismatchError, StateError
from mipro.runs._budget import Account, Amounts, Budget
from mipro.runs._fingerprint import differences
from mipro.runs._gate import GateCore, StageGate
from mipro.runs._records import DecisionRecord, EventRecord
from mipro.runs._store import SQLStore
from mipro.runs._writer import Writer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mipro.errors import LMError, RunStopped
    from mipro.runs._records import Record, Spent
    from mipro.runs._store import Store

LEDGER = "ledger.sqlite"
LOCK = "run.lock"
STAGE_ENDED = "stage ended"


class Run:
    """The live side of a run; `mipro.runs.open` reads the recorded side.

    Args:
        run_dir: Folder of the run, created where it is missing, or a SQLAlchemy URL.
        facts: What identifies the run (program, data, metric, settings, versions), by name.
            Given again with other facts, the run is refused.
        budget: What may be spent, over all sessions of the run together.
        seed: Seeds the jitter of retries; results do not depend on it.

    Raises:
        RunMismatchError: The folder holds a run of other facts.
        StateError: The folder can't be used, or another process uses it.
    """

    def __init__(self, run_dir: str, facts: Mapping[str, str], *, budget: Budget, seed: int) -> None:
        self.where = run_dir
        self.store, self._lock = _open_store(run_dir)
        self._writer = Writer(self.store)
        self._began = time.monotonic()
        self.seconds_by_stage: defaultdict[str, float] = defaultdict(float)
        try:
            self.resumed = self._identify(facts)
        except RunMismatchError:
            self.close()
            raise
        spent = self.store.spent()
        account = Account(
            budget,
            Amounts(
                sum(s.calls for s in spent),
                sum(s.usage.total_tokens for s in spent),
                sum(s.cost_usd for s in spent),
            ),
            seconds_before=self._seconds_before(),
        )
        jitter = random.Random(seed)  # noqa: S311 - spreads retries, no secret
        self._core = GateCore(self.store, self._writer, account, jitter, run_dir)

    def _identify(self, facts: Mapping[str, str]) -> bool:
        kept = {name: value for name, value in self.store.facts().items() if name != "format"}
        if not kept:
            self.store.state(facts)
            return False
        found = differences(kept, facts)
        if found:
            listed = "\n  ".join(found)
            raise RunMismatchError(
                f"{self.where} holds a run of something else, so it can't be resumed with this:\n  {listed}\n"
                "Give another run_dir, or put back what changed.",
                differences=found,
            )
        return True

    def _seconds_before(self) -> float:
        return sum(
            float(json.loads(event.data)["seconds"])
            for event in self.store.read(EventRecord)
            if event.kind == STAGE_ENDED
        )

    def gate(self, stage: str) -> StageGate:
        """Return the gate for `context(gate=...)`, as one stage sees it."""
        return StageGate(self._core, stage)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Let every call to a model inside the block pass the gate, in the name of a stage."""
        began = time.monotonic()
        self.event("stage began", stage=name)
        try:
            with context(gate=self.gate(name)):
                yield
        finally:
            seconds = time.monotonic() - began
            self.seconds_by_stage[name] += seconds
            self.event(STAGE_ENDED, stage=name, seconds=round(seconds, 3))

    def keep(self, record: Record) -> None:
        """Return once `record` is kept."""
        self._writer.put(record).result()

    def event(self, kind: str, **data: Any) -> None:
        """Note that something happened; does not wait."""
        self._writer.put(EventRecord(kind, json.dumps(data, default=str), time.time()))

    def decide(self, decision: DecisionRecord) -> None:
        """Keep a decision of the search before it is acted on; one kept before is not kept twice."""
        if decision.number >= self._decisions_kept():
            self.keep(decision)

    def _decisions_kept(self) -> int:
        if not hasattr(self, "_decisions"):
            self._decisions = self.store.count(DecisionRecord)
        return self._decisions

    def stop(self, error: RunStopped) -> None:
        """Refuse further calls; those in flight are finished and kept."""
        self._core.stop(error)

    @property
    def stopped(self) -> RunStopped | LMError | None:
        """Why no further call is made, or None."""
        return self._core.stopped

    @property
    def failures(self) -> dict[str, int]:
        """Failed attempts at calls in this session, by kind."""
        return dict(self._core.failures)

    @property
    def paid_calls(self) -> int:
        """Calls answered by a model in this session."""
        return self._core.paid_calls

    @property
    def replayed_calls(self) -> int:
        """Calls answered by the ledger in this session, for nothing."""
        return self._core.replayed_calls

    @property
    def seconds(self) -> float:
        """Seconds since this session began."""
        return time.monotonic() - self._began

    def spent(self) -> tuple[Spent, ...]:
        """Return what was paid over all sessions, by stage and model."""
        return self.store.spent()

    def close(self) -> None:
        """Write what is left and release the folder."""
        self._writer.close()
        self.store.close()
        self._lock.release()


def _open_store(run_dir: str) -> tuple[Store, filelock.BaseFileLock]:
    folder = Path(run_dir)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(folder / LOCK)
        lock.acquire(timeout=0)
    except filelock.Timeout as error:
        raise StateError(
            f"the run in {run_dir} must be used by one process at a time, but another one is using it now; "
            "wait for it to end, or give another run_dir."
        ) from error
    except OSError as error:
        raise StateError(
            f"`run_dir` must be a folder that can be written, but {run_dir!r} is not: {error}. "
            "Give another run_dir."
        ) from error
    try:
        return SQLStore(f"sqlite:///{folder / LEDGER}"), lock
    except StateError:
        lock.release()
        raise


def default_run_dir(name: str) -> str:
    """Return a new folder for a run in `MIPRO_DATA_DIR`, else in the user's data folder."""
    data = os.environ.get("MIPRO_DATA_DIR") or platformdirs.user_data_dir("mipro", appauthor=False)
    runs = Path(data) / "runs"
    stamp = time.strftime("%Y%m%d-%H%M%S")
    candidate = runs / f"{stamp}-{name}"
    number = 1
    while candidate.exists():
        number += 1
        candidate = runs / f"{stamp}-{name}-{number}"
    return str(candidate)


def versions() -> dict[str, str]:
    """Return the versions a run was made with."""
    return {"mipro": __version__, "python": ".".join(map(str, sys.version_info[:3]))}
