"""Counting tokens."""

from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context

from mipro.lm import Usage, UsageTracker, track_usage
from mipro.testing.lms import ScriptedLM


def test_nested_entries_are_added():
    """Counts below counts are added too; flags stay."""
    tracker = UsageTracker()
    tracker.add_usage("m", {"a": 1, "details": {"b": 2, "c": None}, "flag": True})
    tracker.add_usage("m", {"a": 2, "details": {"b": 3, "c": 4}, "flag": True})
    tracker.add_usage("m", {"a": 3, "details": None})
    assert tracker.get_total_tokens() == {"m": {"a": 6, "details": {"b": 5, "c": 4}, "flag": True}}


def test_a_sum_has_tokens_of_every_kind():
    """Those from a cache and those of thoughts, which have prices of their own, too."""
    assert Usage(1, 2, 3, 4) + Usage(10, 20, 30, 40) == Usage(11, 22, 33, 44)


def test_empty_entries_add_nothing():
    """A cached answer leaves no entry."""
    tracker = UsageTracker()
    tracker.add_usage("m", {})
    assert tracker.get_total_tokens() == {}


def test_blocks_nest():
    """What an inner block counted is counted by the outer one as well."""
    lm = ScriptedLM(lambda _: "x" * 40)
    with track_usage() as outer:
        lm("a")
        with track_usage() as inner:
            lm("b")
    assert inner.get_total_tokens()["scripted"]["completion_tokens"] == 10
    assert outer.get_total_tokens()["scripted"]["completion_tokens"] == 20


def test_threads_count_in_the_block_they_copied():
    """Threads that copy the caller's context count in its block."""
    lm = ScriptedLM(lambda _: "x" * 40)
    with track_usage() as tracker, ThreadPoolExecutor(8) as threads:
        for future in [threads.submit(copy_context().run, lm, str(i)) for i in range(50)]:
            future.result()
    assert tracker.get_total_tokens()["scripted"]["completion_tokens"] == 500
