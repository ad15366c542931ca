"""Group commit."""

import asyncio
import threading

import pytest

from mipro.errors import StateError
from mipro.runs._records import EventRecord
from mipro.runs._writer import Writer


class Paper:
    """A store that notes what is written together, and may be held up."""

    def __init__(self):
        self.batches = []
        self.may_write = threading.Event()
        self.may_write.set()
        self.is_asked = threading.Event()
        self.failure = None

    def append(self, records):
        """Note a batch."""
        self.is_asked.set()
        assert self.may_write.wait(10)
        if self.failure:
            raise self.failure
        self.batches.append([record.kind for record in records])


@pytest.fixture
def paper():
    """Return the store."""
    return Paper()


@pytest.fixture
def writer(paper):
    """Return the writer, closed in the end."""
    writer = Writer(paper)
    yield writer
    writer.close()


def event(kind):
    """Return a record."""
    return EventRecord(kind, "{}", 0.0)


def test_what_nobody_waits_for_is_kept_soon(writer, paper):
    """A record alone is written without anything coming after it."""
    writer.put(event("alone"))
    for _ in range(1000):
        if paper.batches:
            break
        threading.Event().wait(0.01)
    assert paper.batches == [["alone"]]


def test_what_was_handed_over_before_is_never_written_after(writer, paper):
    """A record that is waited for takes along all that nobody waits for."""
    for number in range(5):
        writer.put(event(f"free {number}"))
    writer.kept(event("waited for")).result(10)
    written = [kind for batch in paper.batches for kind in batch]
    assert written == [*(f"free {number}" for number in range(5)), "waited for"]


def test_records_gather_while_one_is_written(writer, paper):
    """What comes during a transaction goes into the next one, all together."""
    paper.may_write.clear()
    first = writer.kept(event("first"))
    assert paper.is_asked.wait(10)
    rest = [writer.kept(event("rest")) for _ in range(50)]
    paper.may_write.set()
    for future in [first, *rest]:
        future.result(10)
    assert paper.batches == [["first"], ["rest"] * 50]


def test_coroutines_are_woken_too(writer, paper):
    """A coroutine goes on once its record is kept."""

    async def many():
        await asyncio.gather(*(writer.keep(event("x")) for _ in range(20)))
        return sum(map(len, paper.batches))

    assert asyncio.run(many()) == 20


def test_flush_and_close_leave_nothing(writer, paper):
    """After `flush` all is kept, and `close` keeps the rest."""
    writer.put(event("one"))
    writer.flush()
    assert paper.batches == [["one"]]
    writer.put(event("two"))
    writer.close()
    assert paper.batches == [["one"], ["two"]]


def test_after_a_failure_nothing_is_written(writer, paper):
    """Everybody who waits is told, now and later: what follows would stand on a gap."""
    paper.failure = StateError("disk full")
    with pytest.raises(StateError, match="disk full"):
        writer.kept(event("lost")).result(10)
    paper.failure = None
    writer.put(event("later"))
    with pytest.raises(StateError, match="disk full"):
        writer.check()
    with pytest.raises(StateError, match="disk full"):
        writer.flush()
    with pytest.raises(StateError, match="disk full"):
        asyncio.run(writer.keep(event("later")))
    assert paper.batches == []


@pytest.mark.parametrize("late", ["kept", "keep", "flush"])
def test_who_comes_after_the_end_is_told(writer, late):
    """Nobody waits for a thread that is gone."""
    writer.close()
    ways = {
        "kept": lambda: writer.kept(event("late")).result(10),
        "keep": lambda: asyncio.run(asyncio.wait_for(writer.keep(event("late")), 10)),
        "flush": lambda: writer._flushed().result(10),
    }
    with pytest.raises(StateError, match="the run it belongs to is closed"):
        ways[late]()


def test_who_comes_while_it_ends_is_told(writer, paper):
    """What was handed over behind the end is not kept, and not waited for either."""
    paper.may_write.clear()
    first = writer.kept(event("first"))
    while writer._queue.qsize():
        threading.Event().wait(0.001)
    closing = threading.Thread(target=writer.close)
    closing.start()
    while not writer._queue.qsize():
        threading.Event().wait(0.001)
    late = writer.kept(event("late"))
    paper.may_write.set()
    closing.join(10)
    first.result(10)
    with pytest.raises(StateError, match="closed"):
        late.result(10)
    assert paper.batches == [["first"]]
