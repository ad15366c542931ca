"""Linear algebra while a search decides."""

import threading

from threadpoolctl import threadpool_info

from mipro.search import Space, create
from mipro.search._bayes import BayesSearch
from mipro.search._blas import one_thread
from mipro.testing.search import noisy_scorer, run


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


def test_a_search_decides_with_one_thread(monkeypatch):
    """Whoever drives a search gets it; small matrices gain nothing by more."""
    seen = []
    decide = BayesSearch._decide

    def watched(self, *args):
        seen.append(_threads())
        return decide(self, *args)

    monkeypatch.setattr(BayesSearch, "_decide", watched)
    run(create("bayes", Space({"0.demos": 4}), num_examples=20, budget=60), noisy_scorer())
    assert seen
    assert all(threads <= {1} for threads in seen)
