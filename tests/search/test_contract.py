"""All searches of the package pass the contract that users' own must pass."""

import contextlib
from dataclasses import replace

import pytest

from mipro.errors import UserError
from mipro.search import Job, Search, create
from mipro.testing.search import SearchContractTests


class TestBayes(SearchContractTests):
    """The Bayesian search."""

    def make(self, space, **settings):
        """Make it."""
        return create("bayes", space, **settings)


class TestTpe(SearchContractTests):
    """TPE, as published."""

    def make(self, space, **settings):
        """Make it."""
        return create("tpe", space, minibatch_size=10, **settings)


class TestTpeWithoutMinibatches(SearchContractTests):
    """TPE on full evaluations."""

    def make(self, space, **settings):
        """Make it."""
        return create("tpe", space, minibatch=False, **settings)


class TestRandom(SearchContractTests):
    """Random search."""

    def make(self, space, **settings):
        """Make it."""
        return create("random", space, minibatch_size=10, **settings)


class TestHalving(SearchContractTests):
    """Successive halving."""

    def make(self, space, **settings):
        """Make it."""
        return create("halving", space, **settings)


def test_contract_catches_a_search_that_repeats_itself():
    """A search that asks a cell twice does not pass."""

    class Repeating(SearchContractTests):
        def make(self, space, *, num_examples, budget, **settings):
            real = create("random", space, num_examples=num_examples, budget=budget, num_trials=3)

            class Twice:
                def __init__(self):
                    self.count = 0

                def ask(self):
                    self.count += 1
                    return real.ask() if self.count == 1 else self.again()

                def again(self):
                    return [Job((0, 0), (0,))] if self.count < 4 else []

                def tell(self, jobs, scores):
                    pass

                def recommend(self):
                    return real.recommend()

            return Twice()

    with pytest.raises(AssertionError, match="asked twice"):
        Repeating().test_no_cell_twice_and_within_budget()


class _Wrapped(Search):
    """A search that keeps all rules; each subclass breaks one."""

    def __init__(self, space, **settings):
        self.space = space
        self.real = create("halving", space, **settings)

    def ask(self):
        """Ask."""
        return self.real.ask()

    def tell(self, jobs, scores):
        """Tell."""
        self.real.tell(jobs, scores)

    def recommend(self):
        """Recommend."""
        return self.real.recommend()


class _IgnoresOrder(_Wrapped):
    def __init__(self, space, *, order=None, **settings):
        del order
        super().__init__(space, **settings)


class _GrowsTheSpace(_Wrapped):
    def ask(self):
        self.space.add("0.demos")
        return super().ask()


class _TakesMissingForZero(_Wrapped):
    def tell(self, jobs, scores):
        super().tell(jobs, [[0.0 if score is None else score for score in known] for known in scores])


class _WaitsForScores(_Wrapped):
    waiting = False

    def ask(self):
        if self.waiting:
            return []
        self.waiting = True
        return super().ask()

    def tell(self, jobs, scores):
        super().tell(jobs, scores)
        self.waiting = False


class _AsksAheadForEver(_Wrapped):
    def ask(self):
        with contextlib.suppress(UserError):
            return super().ask()
        return []


class _TakesWhatItIsTold(_Wrapped):
    def tell(self, jobs, scores):
        with contextlib.suppress(UserError):
            super().tell(jobs, scores)


class _EmptiesWhatItIsTold(_Wrapped):
    def tell(self, jobs, scores):
        super().tell(jobs, scores)
        for known in scores:
            known.clear()


class _GivesPercent(_Wrapped):
    def recommend(self):
        found = super().recommend()
        low, high = found.interval
        return replace(found, mean=100 * found.mean, interval=(100 * low, 100 * high))


class _ClaimsForTheOriginal(_Wrapped):
    def recommend(self):
        return replace(super().recommend(), p_better=1.0)


class _KeepsTheOriginal(_Wrapped):
    def recommend(self):
        return replace(super().recommend(), candidate=self.space.original, p_better=0.0)


@pytest.mark.parametrize(
    ("broken", "rule"),
    [
        (_IgnoresOrder, "examples_are_met_in_the_order_given"),
        (_GrowsTheSpace, "jobs_are_valid"),
        (_TakesMissingForZero, "missing_scores_are_unknown"),
        (_TakesMissingForZero, "all_scores_missing"),
        (_WaitsForScores, "asks_ahead_as_far_as_allowed"),
        (_AsksAheadForEver, "asks_ahead_as_far_as_allowed"),
        (_TakesWhatItIsTold, "tell_refuses_what_does_not_fit"),
        (_EmptiesWhatItIsTold, "tell_refuses_what_does_not_fit"),
        (_GivesPercent, "any_scale_of_scores"),
        (_ClaimsForTheOriginal, "plain_differences_are_seen"),
        (_KeepsTheOriginal, "plain_differences_are_seen"),
    ],
)
def test_contract_catches_a_search_that_breaks_one_rule(broken, rule):
    """It fails the check of that rule, which the search that it wraps passes."""

    class Mine(SearchContractTests):
        kind = _Wrapped

        def make(self, space, **settings):
            return self.kind(space, **settings)

    getattr(Mine(), f"test_{rule}")()
    Mine.kind = broken
    with pytest.raises(AssertionError):
        getattr(Mine(), f"test_{rule}")()
