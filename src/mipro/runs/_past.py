"""What the sessions before this one left in the ledger that the next one has to know."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mipro.errors import StateError
from mipro.runs._budget import Amounts
from mipro.runs._records import (
    PASSED_OVER,
    SESSION_BEGAN,
    STAGE_BEGAN,
    STAGE_ENDED,
    UNCOUNTED,
    UNKNOWN,
    EventRecord,
    damaged,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mipro.runs._store import Store


@dataclass(frozen=True, slots=True)
class Past:
    """The earlier sessions of a run."""

    seconds: float
    """Seconds of running; a session counts from its first event to its last, which a kill -9 does not
    hide."""
    seconds_by_stage: Mapping[str, float]
    unknown: dict[int, set[tuple[int, int]]]
    """For each decision with scores that the search was not told: job and example of each."""
    passed_over: frozenset[tuple[str, str]]
    """Stage and key of the calls that a stage went on without."""
    spent: Amounts
    """A request without an outcome, or without a count of tokens, is as dear as it can have been."""


def read_past(store: Store) -> Past:
    """Read the events through; there are few of them, unless a budget meets a model that counts no tokens.

    Raises:
        StateError: One of them is not as it was written.
    """
    try:
        return _read_past(store)
    except StateError:  # the file can't be read at all
        raise
    except (KeyError, TypeError, ValueError) as error:
        raise damaged("events", error) from error


def _read_past(store: Store) -> Past:
    clock = _Clock()
    unknown = {}
    passed_over = set()
    spent = _spent(store)
    for event in store.read(EventRecord):
        clock.note(event)
        if event.kind == UNKNOWN:
            data = json.loads(event.data)
            unknown[int(data["decision"])] = {(job, example) for job, example in data["cells"]}
        elif event.kind == PASSED_OVER:
            data = json.loads(event.data)
            passed_over.add((data["stage"], data["key"]))
        elif event.kind == UNCOUNTED:
            data = json.loads(event.data)
            spent.tokens += data["tokens"]
            spent.cost_usd += data["cost_usd"]
    clock.end_session()
    return Past(clock.total, dict(clock.by_stage), unknown, frozenset(passed_over), spent)


class _Clock:
    """Adds up sessions and their stages, those included that a kill left without an end."""

    def __init__(self) -> None:
        self.total = 0.0
        self.by_stage: defaultdict[str, float] = defaultdict(float)
        self._began: float | None = None
        self._last = 0.0
        self._open: dict[str, float] = {}

    def note(self, event: EventRecord) -> None:
        """Take the next event in."""
        if event.kind == SESSION_BEGAN:
            self.end_session()
            self._began = event.at
        elif event.kind == STAGE_BEGAN:
            self._open[json.loads(event.data)["stage"]] = event.at
        elif event.kind == STAGE_ENDED:
            data = json.loads(event.data)
            self._open.pop(data["stage"], None)
            self.by_stage[data["stage"]] += data["seconds"]
        self._last = event.at

    def end_session(self) -> None:
        """Close what is open at the last event."""
        for stage, began in self._open.items():
            self.by_stage[stage] += max(0.0, self._last - began)
        self._open.clear()
        if self._began is not None:
            self.total += max(0.0, self._last - self._began)
        self._began = None


def _spent(store: Store) -> Amounts:
    spent = store.spent()
    amounts = Amounts(
        sum(s.calls for s in spent), sum(s.usage.total_tokens for s in spent), sum(s.cost_usd for s in spent)
    )
    for lost in store.lost():
        amounts.lm_calls += 1
        amounts.tokens += lost.tokens
        amounts.cost_usd += lost.cost_usd
    return amounts
