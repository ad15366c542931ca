"""Linear algebra while a search decides."""

import threading

from threadpoolctl import threadpool_info

import mipro.search  # noqa: F401 - brings numpy and its BLAS
from mipro.optimize._blas import one_thread


def _threads():
    return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}


def test_blas_has_one_thread_inside_and_as_many_as_before_afterwards():
    """Two optimizations at once must not leave the process with one thread."""
    before = _threads()
    entered, seen = threading.Event(), []

    def other():
        entered.set()
        with one_thread():
            seen.append(_threads())

    thread = threading.Thread(target=other)
    with one_thread():
        thread.start()
        assert entered.wait(10)
        assert _threads() <= {1}
    thread.join()
    assert seen[0] <= {1}
    assert _threads() == before
