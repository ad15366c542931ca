"""All searches of the package pass the contract that users' own must pass."""

import pytest

from mipro.search import Job, create
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
