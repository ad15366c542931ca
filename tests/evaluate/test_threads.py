"""Mapping in threads."""

from __future__ import annotations

import os
import signal
import threading
from contextvars import ContextVar

import pytest

from mipro import context, settings
from mipro.errors import BudgetExhausted, UserError
from mipro.evaluate import parallel_map
from mipro.evaluate._threads import parallel_grow

THREADS = [1, 2, 8]


@pytest.mark.parametrize("num_threads", THREADS)
@pytest.mark.parametrize("count", [0, 1, 5, 300])
def test_results_are_in_order(num_threads, count):
    """Whatever the timing, results are in the order of the items."""
    assert parallel_map(str, range(count), num_threads=num_threads) == [str(i) for i in range(count)]


def test_items_run_at_the_same_time():
    """As many items are under way at once as there are threads."""
    barrier = threading.Barrier(4)
    places = parallel_map(lambda _: barrier.wait(10), range(4), num_threads=4)
    assert sorted(places) == [0, 1, 2, 3]


def test_one_thread_is_the_callers():
    """With one thread nothing else runs."""
    assert set(parallel_map(lambda _: threading.current_thread(), range(3), num_threads=1)) == {
        threading.current_thread()
    }


@pytest.mark.parametrize("num_threads", THREADS)
def test_each_item_has_the_callers_context_of_its_own(num_threads):
    """An item sees the caller's settings, and no other item's."""
    variable = ContextVar("variable", default="default")

    def item(number):
        before = variable.get()
        variable.set(number)
        return before, settings.get("mark")

    variable.set("callers")
    with context(mark="inside"):
        assert parallel_map(item, range(40), num_threads=num_threads) == [("callers", "inside")] * 40
    assert variable.get() == "callers"


@pytest.mark.parametrize("num_threads", THREADS)
@pytest.mark.parametrize(
    "error", [BudgetExhausted("spent", resource="tokens"), KeyboardInterrupt(), ValueError("x"), SystemExit()]
)
def test_first_exception_stops_the_handing_out(num_threads, error):
    """No item is begun after one raised; its exception is raised."""
    begun = []
    raised = threading.Event()

    def item(number):
        begun.append(number)
        if number == 0:
            raised.set()
            raise error
        raised.wait(10)

    with pytest.raises(type(error)) as caught:
        parallel_map(item, range(1000), num_threads=num_threads)
    assert caught.value is error
    assert len(begun) < 1000


def test_items_under_way_are_waited_for():
    """When the exception arrives at the caller no item is still running."""
    started, finished = threading.Event(), []

    def item(number):
        if number == 0:
            started.wait(10)
            raise ValueError
        started.set()
        threading.Event().wait(0.05)
        finished.append(number)

    with pytest.raises(ValueError, match=r"^$"):
        parallel_map(item, range(2), num_threads=2)
    assert finished == [1]


@pytest.mark.usefixtures("heeds_interrupts")
def test_ctrl_c_in_the_caller_does_not_wait():
    """An interrupt of the waiting thread is raised while an item hangs, and no other begins."""
    release, begun = threading.Event(), []

    def item(number):
        begun.append(number)
        if len(begun) == 2:
            os.kill(os.getpid(), signal.SIGINT)
        release.wait(20)

    with pytest.raises(KeyboardInterrupt):
        parallel_map(item, range(100), num_threads=2)
    assert not release.is_set()
    release.set()
    assert len(begun) == 2


@pytest.mark.parametrize("num_threads", THREADS)
def test_progress_is_told_in_the_callers_thread(num_threads):
    """Each result is reported once, with its index, in the calling thread."""
    told = {}

    def on_done(index, result):
        assert threading.current_thread() is threading.main_thread()
        told[index] = result

    results = parallel_map(lambda x: x * x, range(50), num_threads=num_threads, on_done=on_done)
    assert [told[i] for i in range(50)] == results


def test_exception_of_the_callback_is_raised():
    """A callback that raises stops the work."""

    def on_done(index, result):
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        parallel_map(str, range(50), num_threads=4, on_done=on_done)


def test_calls_may_be_nested():
    """An item may map again, at the same number of threads, without a deadlock."""

    def row(i):
        return parallel_map(lambda j: i * j, range(5), num_threads=3)

    assert parallel_map(row, range(6), num_threads=3) == [[i * j for j in range(5)] for i in range(6)]


def test_threads_are_used_again():
    """Later calls find the threads of earlier ones, but for those that are not quite free yet."""
    barrier = threading.Barrier(3)

    def item(_):
        barrier.wait(10)
        return threading.get_ident()

    used = {ident for _ in range(20) for ident in parallel_map(item, range(3), num_threads=3)}
    assert len(used) <= 9


def test_setting_decides_where_no_number_is_given():
    """`None` means `settings.num_threads`."""
    with context(num_threads=1):
        assert parallel_map(lambda _: threading.current_thread(), [0], num_threads=None) == [
            threading.current_thread()
        ]


def test_number_of_threads_must_be_positive():
    """Zero threads are refused."""
    with pytest.raises(UserError, match="at least 1, but got 0"):
        parallel_map(str, [1], num_threads=0)


@pytest.mark.parametrize("num_threads", THREADS)
def test_work_may_grow(num_threads):
    """What a result asks for is done too, once."""
    done = []

    def halves(item, result):
        done.append((item, result))
        return [item // 2] if item > 1 else []

    parallel_grow(str, [8, 5], num_threads=num_threads, on_done=halves)
    assert sorted(done) == [(n, str(n)) for n in (1, 1, 2, 2, 4, 5, 8)]


def test_growing_work_does_not_wait_for_the_slowest():
    """An item that takes long holds up nothing that does not need it."""
    chain_is_through = threading.Event()

    def item(number):
        if number < 0:
            assert chain_is_through.wait(10)
        return number

    def next_of(number, _):
        if number == 5:
            chain_is_through.set()
        return [number + 1] if 0 <= number < 5 else []

    parallel_grow(item, [-1, 0], num_threads=2, on_done=next_of)


@pytest.mark.parametrize("num_threads", THREADS)
def test_growing_work_stops_at_an_exception(num_threads):
    """What raises, be it the item or its taker, ends the growth."""

    def taker(number, _):
        if number == 3:
            raise ValueError("enough")
        return [number + 1]

    with pytest.raises(ValueError, match="enough"):
        parallel_grow(str, [0], num_threads=num_threads, on_done=taker)
    with pytest.raises(ZeroDivisionError):
        parallel_grow(lambda n: 1 // (2 - n), [0], num_threads=num_threads, on_done=lambda n, _: [n + 1])
