"""The checks that every ledger store must pass; run them on a store of your own.

Example:
    class TestMyStore(StoreContract):
        @pytest.fixture
        def make_store(self, tmp_path):
            return lambda: MyStore(tmp_path)
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from mipro.lm import Usage
from mipro.runs import (
    MADE_OF_CALLS,
    CallRecord,
    DecisionRecord,
    EvaluationRecord,
    EventRecord,
    FailureRecord,
    SentRecord,
    Spent,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mipro.runs import Record, Store


def call(key: str, *, stage: str = "search", model: str = "m", attempts: int = 1) -> CallRecord:
    """Return a call of 10 prompt and 2 completion tokens at 0.5 dollars."""
    return CallRecord(key, stage, model, f'"answer to {key}"', 10, 2, 0.5, 0.1, attempts)


RECORDS: tuple[Record, ...] = (
    call("k"),
    EvaluationRecord("c", "val", 3, 0.5, prediction='{"a": "ü\\n\\u0000"}', feedback="so"),
    EvaluationRecord("c", "val", 3, None, "lm", "no answer"),
    DecisionRecord(0, "[]"),
    FailureRecord("k", "search", "m", "LMServerError", "503"),
    SentRecord("k", 15, 0.5),
    EventRecord("stage began", "{}", 1.5),
)
"""One or two of each kind."""


class StoreContract:
    """Subclass it and give it a fixture `make_store` that opens the same storage at each call."""

    @pytest.fixture
    def make_store(self) -> Callable[[], Store]:
        """Return a function that opens the storage; overridden by the subclass."""
        raise NotImplementedError

    @pytest.fixture
    def store(self, make_store: Callable[[], Store]) -> Iterator[Store]:
        """Open the storage and close it afterwards."""
        opened = make_store()
        yield opened
        opened.close()

    @pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
    def test_record_comes_back_equal(self, store: Store, record: Record) -> None:
        """A record that was appended is read back as it was."""
        store.append([record])
        kind: Any = type(record)
        assert list(store.read(kind)) == [record]

    def test_records_keep_their_order(self, store: Store) -> None:
        """Records are read in the order they were appended, over several appends."""
        store.append([DecisionRecord(0, "a"), DecisionRecord(1, "b")])
        store.append([DecisionRecord(2, "c")])
        assert [decision.jobs for decision in store.read(DecisionRecord)] == ["a", "b", "c"]

    def test_what_was_kept_is_there_in_another_process(self, make_store: Callable[[], Store]) -> None:
        """Once `append` or `state` has returned, though the storage was not closed: a kill closes nothing."""
        first = make_store()
        first.append(RECORDS)
        first.state({"seed": "1"})
        second = make_store()
        kinds: list[Any] = list(dict.fromkeys(type(record) for record in RECORDS))
        kept = [record for kind in kinds for record in second.read(kind)]
        assert kept == list(RECORDS)
        assert second.find_call("k") == RECORDS[0]
        second.state({"seed": "2"})
        assert second.facts()["seed"] == "1"
        second.close()
        first.close()

    def test_all_or_nothing_is_kept(self, store: Store) -> None:
        """Where one of several records can't be kept and `append` raises, none is."""
        broken: Any = object()
        try:
            store.append([DecisionRecord(0, "[]"), broken])
        except Exception:  # noqa: BLE001 - whatever it raises
            assert store.count(DecisionRecord) == 0

    def test_any_thread_may_append_and_read(self, store: Store) -> None:
        """Eight at once, none of which opened the storage, lose nothing."""
        barrier = threading.Barrier(8)

        def work(number: int) -> int:
            barrier.wait(60)
            for step in range(20):
                store.append([DecisionRecord(20 * number + step, "[]")])
            return store.count(DecisionRecord)

        with ThreadPoolExecutor(8) as threads:
            assert max(threads.map(work, range(8))) == 160
        assert sorted(decision.number for decision in store.read(DecisionRecord)) == list(range(160))

    def test_reading_does_not_keep_from_appending(self, store: Store) -> None:
        """A run reads the decisions of an earlier session while it makes new ones."""
        store.append([DecisionRecord(number, "[]") for number in range(3)])
        reading = store.read(DecisionRecord)
        assert next(reading).number == 0
        store.append([DecisionRecord(3, "[]")])
        assert [decision.number for decision in reading][:2] == [1, 2]
        assert store.count(DecisionRecord) == 4

    def test_unknown_call_is_none(self, store: Store) -> None:
        """A key that was never appended is not found."""
        assert store.find_call("k") is None

    def test_first_answer_stands(self, store: Store) -> None:
        """A second call of the same key is dropped."""
        store.append([call("k", stage="demos")])
        store.append([call("k", stage="search"), call("l", stage="demos"), call("l", stage="search")])
        assert store.find_call("k") == call("k", stage="demos")
        assert store.find_call("l") == call("l", stage="demos")
        assert store.count(CallRecord) == 2

    def test_missing_scores_are_not_found(self, store: Store) -> None:
        """A missing evaluation is kept but never found as a score; one that comes later is."""
        store.append([EvaluationRecord("c", "val", 1, None, "lm"), EvaluationRecord("c", "val", 2, 0.0)])
        assert list(store.find_evaluations("c", "val", [1, 2])) == [2]
        assert store.count(EvaluationRecord) == 2
        store.append([EvaluationRecord("c", "val", 1, 0.5)])
        assert store.find_evaluations("c", "val", [1, 2])[1].score == 0.5

    def test_evaluations_are_found_by_cell(self, store: Store) -> None:
        """Another candidate's, another data set's and unasked examples' scores stay out."""
        mine = EvaluationRecord("c", "val", 1, 1.0)
        store.append(
            [
                mine,
                EvaluationRecord("d", "val", 1, 0.0),
                EvaluationRecord("c", "test", 1, 0.0),
                EvaluationRecord("c", "val", 7, 0.0),
            ]
        )
        assert store.find_evaluations("c", "val", [1, 2]) == {1: mine}

    def test_many_cells_are_found_at_once(self, store: Store) -> None:
        """However many are asked for; of two scores of a cell the first stands."""
        cells = [EvaluationRecord("c", "val", example, 0.5) for example in range(1200)]
        store.append([*cells, EvaluationRecord("c", "val", 7, 1.0)])
        assert store.find_evaluations("c", "val", range(5, 1300)) == {c.example: c for c in cells[5:]}
        assert store.find_evaluations("c", "val", []) == {}

    def test_spending_adds_up_by_stage_and_model(self, store: Store) -> None:
        """Requests, tokens and dollars are summed; a call without a price is counted apart."""
        unpriced = CallRecord("u", "search", "m", "", 1, 1, None, 0.0, 1)
        lost = FailureRecord("a", "search", "m", "LMServerError", "503")
        gone = FailureRecord("z", "demos", "o", "LMConnectionError", "refused")
        store.append([lost, lost, call("a", attempts=3), call("b"), unpriced, gone])
        store.append([call("c", stage="demos", model="n")])
        assert store.spent() == (
            Spent("demos", "n", 1, Usage(10, 2), 0.5, 0),
            Spent("demos", "o", 1, Usage(), 0.0, 0),
            Spent("search", "m", 5, Usage(21, 5), 1.0, 1),
        )

    def test_answer_without_a_request_of_its_own_counts_none(self, store: Store) -> None:
        """A model that asked others for it paid nothing itself, whether it has answered or not."""
        answer = CallRecord("a", "search", "router", "", 0, 0, 0.0, 0.1, 0)
        free = [FailureRecord(key, "search", "router", MADE_OF_CALLS, "") for key in "ac"]
        store.append([*(SentRecord(key, 15, 0.5) for key in "abc"), *free, answer, call("b")])
        assert store.spent() == (
            Spent("search", "m", 1, Usage(10, 2), 0.5, 0),
            Spent("search", "router", 0, Usage(), 0.0, 0),
        )
        assert store.lost() == ()
        assert store.failures() == {}

    def test_request_without_an_outcome_is_lost(self, store: Store) -> None:
        """Each one sent that was neither answered nor failed; the same call may be sent several times."""
        failed = FailureRecord("b", "search", "m", "LMServerError", "503")
        store.append([SentRecord(key, 15, 0.5) for key in "abbbcc"])
        store.append([call("a"), failed, failed, FailureRecord("d", "search", "m", "LMServerError", "503")])
        assert sorted(sent.key for sent in store.lost()) == ["b", "c", "c"]
        assert store.lost()[0] == SentRecord(store.lost()[0].key, 15, 0.5)

    def test_failures_are_counted_by_kind(self, store: Store) -> None:
        """Requests count by their error, evaluations by their failure; a cell scored later is not missing."""
        store.append(
            [
                FailureRecord("a", "search", "m", "LMServerError", "503"),
                FailureRecord("a", "search", "m", "LMServerError", "503"),
                EvaluationRecord("c", "val", 1, None, "lm"),
                EvaluationRecord("c", "val", 1, None, "lm"),
                EvaluationRecord("c", "val", 2, None, "lm"),
                EvaluationRecord("c", "val", 2, 1.0),
                EvaluationRecord("c", "val", 3, 0.0, "parse"),
            ]
        )
        assert store.failures() == {"LMServerError": 2, "missing": 1, "parse": 1}

    def test_long_tables_are_read_whole(self, store: Store) -> None:
        """Reading goes on over more records than are read at once, in order."""
        store.append([DecisionRecord(number, "[]") for number in range(2500)])
        assert [decision.number for decision in store.read(DecisionRecord)] == list(range(2500))

    def test_strange_characters_are_kept_in_writing(self, store: Store) -> None:
        """NUL and lone surrogates, which databases refuse, don't cost the record."""
        store.append([EvaluationRecord("c", "val", 1, 0.5, feedback="a\x00b\ud800")])
        assert store.find_evaluations("c", "val", [1])[1].feedback == "a\\x00b\\ud800"

    def test_facts_keep_their_first_value(self, store: Store) -> None:
        """A fact stated again with another value keeps the first."""
        store.state({"seed": "1"})
        store.state({"seed": "2", "search": "bayes"})
        facts = store.facts()
        assert (facts["seed"], facts["search"]) == ("1", "bayes")
