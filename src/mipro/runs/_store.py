"""Where a ledger is kept: append-only storage behind one small interface."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, TypeVar

from mipro.runs._records import (
    CallRecord,
    DecisionRecord,
    EvaluationRecord,
    EventRecord,
    FailureRecord,
    Record,
    SentRecord,
    Spent,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

R = TypeVar("R", CallRecord, SentRecord, FailureRecord, EvaluationRecord, DecisionRecord, EventRecord)


class Store(ABC):
    """Append-only storage of one run's records.

    What `append` returned from is kept, whatever happens to the process afterwards.
    All methods may be called from any thread, and raise `StateError` where the storage can't be used.
    """

    @abstractmethod
    def append(self, records: Sequence[Record]) -> None:
        """Keep all `records` or, where it raises, none.

        A second `CallRecord` of the same key is dropped: the first answer stands.

        Raises:
            StateError: The storage can't be written.
        """

    @abstractmethod
    def find_call(self, key: str) -> CallRecord | None:
        """Return the answered call of that key."""

    @abstractmethod
    def find_evaluations(
        self, candidate: str, split: str, examples: Sequence[int]
    ) -> dict[int, EvaluationRecord]:
        """Return the evaluations with a score, by example."""

    @abstractmethod
    def read(self, kind: type[R]) -> Iterator[R]:
        """Yield all records of a kind in the order they were appended."""

    @abstractmethod
    def count(self, kind: type[Record]) -> int:
        """Return the number of records of a kind."""

    @abstractmethod
    def spent(self) -> tuple[Spent, ...]:
        """Return what was paid, by stage and model.

        Requests that failed count as calls; `MADE_OF_CALLS` ones and answers of no attempts
        (`CallRecord.attempts`) do not.
        """

    @abstractmethod
    def lost(self) -> tuple[SentRecord, ...]:
        """Return the requests sent that have neither an answer nor a failure: a kill leaves such."""

    @abstractmethod
    def failures(self) -> dict[str, int]:
        """Return how many requests and evaluations failed, by kind.

        Requests by the class of their error; evaluations under the `failure` of their
        record, and under "missing" those that have no score yet.
        """

    @abstractmethod
    def facts(self) -> dict[str, str]:
        """Return what `state` kept."""

    @abstractmethod
    def state(self, facts: Mapping[str, str]) -> None:
        """Keep facts about the run by name; a name stated before keeps its first value."""

    @abstractmethod
    def close(self) -> None:
        """Release connections and files."""
