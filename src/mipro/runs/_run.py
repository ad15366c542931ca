"""A run: one directory, one ledger, one gate, for the time of a `compile`."""

from __future__ import annotations

import itertools
import json
import logging
import random
import sys
import time
from collections import defaultdict
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from mipro._version import __version__
from mipro.context import context
from mipro.errors import RunMismatchError
from mipro.runs._budget import Account, Budget
from mipro.runs._fingerprint import differences
from mipro.runs._gate import NOT_COUNTED, PATIENCE_S, GateCore
from mipro.runs._past import read_past
from mipro.runs._place import as_text, open_place, shown
from mipro.runs._records import (
    SESSION_BEGAN,
    STAGE_BEGAN,
    STAGE_ENDED,
    UNKNOWN,
    DecisionRecord,
    EventRecord,
)
from mipro.runs._stage_gate import StageGate
from mipro.runs._writer import Writer

if TYPE_CHECKING:
    import os
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from mipro.errors import RunStopped
    from mipro.runs._gate import Reason
    from mipro.runs._records import Record, Spent
    from mipro.runs._store import Store

logger = logging.getLogger("mipro")

PASSED_BY = (
    "%d calls to models did not pass the run, so that no budget counts them and no ledger keeps them. If "
    "they are the program's own, its threads must copy the context of the one that starts them: use "
    "`mipro.Parallel`, or `contextvars.copy_context().run`; and a model of your own must implement `forward` "
    "rather than `__call__`."
)


class Run:
    """The live side of a run; `mipro.runs.open` reads the recorded side.

    Args:
        run_dir: Folder of the run, created where it is missing, or a SQLAlchemy URL.
        facts: What identifies the run (program, data, metric, settings, versions), by name.
            Given again with other facts, the run is refused.
        settled: Names of facts that stay as they were when the run began, whatever is given.
        budget: What may be spent, over all sessions of the run together.
        seed: Seeds the jitter of retries; results do not depend on it.
        patience_s: Seconds without any answer of a model after which the run stops.

    Attributes:
        where: `run_dir` as it may be shown: without a password.
        facts: What identifies the run, as it is kept.
        store: The ledger.
        seconds_by_stage: Seconds of each stage, over all sessions of the run.
        resumed: Whether the ledger held this run already.
        limited: Whether calls, tokens or cost are limited.
        passed_by: Calls to models that were made beside this session without passing its gate.

    Raises:
        RunMismatchError: The folder holds a run of other facts.
        StateError: The folder can't be used, or another process uses it.
        UserError: `run_dir` is neither a folder nor a URL.
    """

    store: Store
    facts: Mapping[str, str]
    resumed: bool

    def __init__(
        self,
        run_dir: str | os.PathLike[str],
        facts: Mapping[str, str],
        *,
        settled: Collection[str] = (),
        budget: Budget,
        seed: int,
        patience_s: float = PATIENCE_S,
    ) -> None:
        run_dir = as_text(run_dir)
        self.store, self._release = open_place(run_dir)
        self.where: str = shown(run_dir)
        self.passed_by: int = 0
        self._writer = Writer(self.store)
        try:
            self.facts, self.resumed = self._identify(facts, settled)
            past = read_past(self.store)
            self._decisions = self.store.count(DecisionRecord)
        except BaseException:
            self._close_ledger()
            raise
        self._unknown = past.unknown
        self.seconds_by_stage: dict[str, float] = defaultdict(float, past.seconds_by_stage)
        account = Account(budget, past.spent, seconds_before=past.seconds)
        jitter = random.Random(seed)  # noqa: S311 - spreads retries, no secret
        self.limited: bool = account.is_limited
        self._core = GateCore(
            self.store,
            self._writer,
            account,
            jitter,
            self.where,
            patience_s=patience_s,
            passed_over=past.passed_over,
            is_new=not self.resumed,
        )
        self.event(SESSION_BEGAN, **versions())

    def _identify(self, facts: Mapping[str, str], settled: Collection[str]) -> tuple[Mapping[str, str], bool]:
        kept = {name: value for name, value in self.store.facts().items() if name != "format"}
        if not kept:
            self.store.state(facts)
            return facts, False
        found = differences(kept, {**facts, **{name: kept[name] for name in settled if name in kept}})
        if found:
            listed = "\n  ".join(found)
            raise RunMismatchError(
                f"{self.where} holds a run of something else, so it can't be resumed with this:\n  {listed}\n"
                "Give another run_dir, or put back what changed.",
                differences=found,
            )
        return kept, True

    def gate(self, stage: str, *, subject: str = "", patient: bool = False) -> StageGate:
        """Return a gate for `context(gate=...)`, as one stage sees it.

        Args:
            stage: Stage that pays.
            subject: What the calls are about, such as an example.
            patient: Give up a call only if it is the call that the model stumbles over, and then in
                this stage for good: what a stage without scores builds on has to stay as it was.
        """
        return StageGate(self._core, stage, subject=subject, patient=patient)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Let every call to a model inside the block pass the gate, in the name of a stage."""
        began = time.monotonic()
        self.event(STAGE_BEGAN, stage=name)
        try:
            with context(gate=self.gate(name, patient=True)):
                yield
            self._core.confirm()
        finally:
            seconds = time.monotonic() - began
            self.seconds_by_stage[name] += seconds
            self.event(STAGE_ENDED, stage=name, seconds=round(seconds, 3))

    def keep(self, record: Record) -> None:
        """Return once `record` is kept."""
        self._writer.kept(record).result()

    def put(self, record: Record) -> None:
        """Hand `record` over to be kept; does not wait, see `flush`."""
        self._writer.put(record)

    def flush(self) -> None:
        """Return once all that was handed over is kept.

        Raises:
            StateError: It can't be kept.
        """
        self._writer.flush()

    def event(self, kind: str, **data: Any) -> None:
        """Note that something happened; does not wait."""
        self._writer.put(EventRecord(kind, json.dumps(data, default=str), self._core.now()))

    def decisions(self) -> Iterator[DecisionRecord]:
        """Yield the decisions that earlier sessions kept, in order."""
        return itertools.islice(self.store.read(DecisionRecord), self._decisions)

    def decide(self, decision: DecisionRecord) -> None:
        """Hand over a decision of the search before it is acted on; one kept before is not kept twice.

        Not waited for: it is kept before any answer that it leads to, and without such an answer it
        would be made again.

        Raises:
            StateError: The ledger can't be written any more.
        """
        self._writer.check()
        self._core.confirm()
        if decision.number >= self._decisions:
            self._writer.put(decision)

    def unknown(self, decision: int, missing: Sequence[tuple[int, int]]) -> set[tuple[int, int]]:
        """Keep which scores of a decision the search is not told, before it is told the others.

        Told once that a score is missing, a search must be told so by every replay, though the
        ledger may have the score by then.

        Args:
            decision: Number of the decision.
            missing: Job and example of each missing score.

        Returns:
            What was kept the first time.
        """
        if decision not in self._unknown:
            self._unknown[decision] = set(missing)
            if missing:
                data = json.dumps({"decision": decision, "cells": sorted(missing)})
                self.keep(EventRecord(UNKNOWN, data, self._core.now()))
        return self._unknown[decision]

    def note_passed_by(self) -> None:
        """Count a call to a model that does not pass the gate; the first one is told at once."""
        self.passed_by += 1
        if self.passed_by == 1:
            logger.warning(PASSED_BY, 1)

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know of this session."""
        counts = {PASSED_BY: self.passed_by, NOT_COUNTED: self._core.uncounted}
        return tuple(note % count for note, count in counts.items() if count)

    def stop(self, error: RunStopped) -> None:
        """Refuse further calls; those in flight are finished and kept."""
        self._core.stop(error)

    def abort(self) -> None:
        """Leave the calls in flight, after `stop`."""
        self._core.abort()

    @property
    def stopped(self) -> Reason | None:
        """Why no further call is made, or None."""
        return self._core.stopped

    @property
    def failures(self) -> dict[str, int]:
        """Failed requests and evaluations over all sessions, by kind; see `Store.failures`."""
        self._writer.flush()
        return self.store.failures()

    @property
    def paid_calls(self) -> int:
        """Calls answered by a model in this session."""
        return self._core.paid_calls

    @property
    def replayed_calls(self) -> int:
        """Calls answered by the ledger in this session, for nothing."""
        return self._core.replayed_calls

    def spent(self) -> tuple[Spent, ...]:
        """Return what was paid over all sessions, by stage and model."""
        self._writer.flush()
        return self.store.spent()

    def close(self) -> None:
        """Wait for the calls in flight, write what is left and release the folder.

        A program may have left calls behind, in threads of its own: they are paid for. Calls that
        take longer than the patience, or than the user's who presses Ctrl-C, are left. Whoever
        makes a call later on is told that the run is closed.
        """
        try:
            self._core.close()
        finally:
            self._close_ledger()

    def _close_ledger(self) -> None:
        self._writer.close()
        self.store.close()
        self._release()


def versions() -> dict[str, str]:
    """Return the versions a run was made with."""
    return {"mipro": __version__, "python": ".".join(map(str, sys.version_info[:3]))}
