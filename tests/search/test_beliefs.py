"""What a search believes of single choices."""

import numpy as np
import pytest

from mipro.search import Believes, Space, beliefs, create

SIZES = {"0.instruction": 4, "0.demos": 3}


def told_after(name, budget=160):
    """Run a search on a table where choice 2 of the first and 1 of the second variable are best."""
    space = Space(SIZES)
    search = create(name, space, num_examples=40, budget=budget, seed=0)
    rng = np.random.default_rng(0)
    told = []
    while jobs := search.ask():
        scores = []
        for job in jobs:
            mean = 0.2 + 0.4 * (job.candidate[0] == 2) + 0.2 * (job.candidate[1] == 1)
            scores.append([float(rng.random() < mean) for _ in job.examples])
            told.append((job.candidate, scores[-1]))
        search.tell(jobs, scores)
    return search, space, told


@pytest.mark.parametrize("name", ["bayes", "random"])
def test_the_best_choices_are_believed_in(name):
    """A model and plain means give an order of the choices."""
    search, space, told = told_after(name, budget=480)
    found = beliefs(search, space, told)
    assert [len(row) for row in found] == [4, 3]
    assert np.argmax(found[0]) == 2
    assert np.argmax(found[1]) == 1
    assert all(-0.2 < belief < 1.2 for row in found for belief in row)


def test_only_a_search_with_a_model_is_asked():
    """The structured search has beliefs of its own; the others have means."""
    assert [isinstance(told_after(n)[0], Believes) for n in ("bayes", "tpe")] == [True, False]


def test_few_scores_are_shrunk():
    """One lucky score is no belief; a choice without scores is believed to be as all are."""
    search, space, _ = told_after("random")
    told = [((0, 0), [0.0] * 40), ((1, 0), [1.0])]
    found = beliefs(search, space, told)
    assert found[0][0] < found[0][1] < 0.2
    assert found[0][3] == pytest.approx(1 / 41)


def test_nothing_is_believed_without_a_score():
    """Missing scores say nothing."""
    for name in ("bayes", "random"):
        search = create(name, Space(SIZES), num_examples=10, budget=20)
        assert beliefs(search, Space(SIZES), [((0, 0), [None, None])]) is None


def test_beliefs_reach_choices_that_were_added():
    """After the space has grown the new choices are believed in too, and the search tries them."""
    space = Space(SIZES)
    search = create("bayes", space, num_examples=40, budget=200, seed=0)
    seen = set()
    for number in range(12):
        if number == 6:
            space.add("0.instruction", 2)
        jobs = search.ask()
        seen.update(job.candidate[0] for job in jobs)
        search.tell(jobs, [[0.5 * (job.candidate[0] > 3) for _ in job.examples] for job in jobs])
    assert [len(row) for row in search.beliefs()] == [6, 3]
    assert seen & {4, 5}
