"""The published loop: minibatch trials and full evaluations."""

import logging
from collections import Counter

import pytest

from mipro.errors import StateError
from mipro.search import Space, create
from mipro.search._book import Book
from mipro.search._samplers import Sampler
from mipro.search._trials import TrialSearch, TrialSettings
from mipro.testing.search import noisy_scorer, run


def make(name="tpe", **settings):
    """Make a search of the size of the medium preset."""
    settings = {"num_examples": 60, "budget": 5000, "num_trials": 12, "minibatch_size": 10, **settings}
    return create(name, Space({"0.instruction": 6, "0.demos": 12}), **settings)


@pytest.mark.parametrize("name", ["tpe", "random"])
def test_schedule(name):
    """A full evaluation comes first, after every fifth trial, and after the last one."""
    reasons = [job.reason for jobs in run(make(name, seed=2), noisy_scorer()) for job in jobs]
    assert reasons[0] == "original"
    full = [index for index, reason in enumerate(reasons) if reason.startswith("full")]
    assert len(full) == 3
    assert full[-1] == len(reasons) - 1


def test_minibatches_are_fresh():
    """Each trial draws its own examples."""
    batches = [job.examples for jobs in run(make(), noisy_scorer()) for job in jobs if "mini" in job.reason]
    assert len(set(batches)) == len(batches)


def test_without_minibatches_every_trial_is_full():
    """`minibatch=False` evaluates new candidates on everything."""
    decisions = run(make(minibatch=False), noisy_scorer())
    assert all(len(job.examples) == 60 for jobs in decisions for job in jobs)


def test_recommends_the_best_full_evaluation():
    """Minibatch luck does not count; the best mean over all examples wins."""
    search = make()
    decisions = run(search, noisy_scorer())
    cells = {}
    for jobs in decisions:
        for job in jobs:
            cells.setdefault(job.candidate, set()).update(job.examples)
    full = [candidate for candidate, examples in cells.items() if len(examples) == 60]
    means = {c: sum(noisy_scorer()(c, e) for e in range(60)) / 60 for c in full}
    assert search.recommend().candidate == max(means, key=means.get)
    assert search.recommend().mean == pytest.approx(max(means.values()))


@pytest.mark.parametrize("name", ["tpe", "random"])
def test_luck_on_part_of_a_full_evaluation_does_not_count(name):
    """One that is under way, or that the budget has cut to three examples, is no match for whole ones."""
    search = make(name, budget=63, minibatch=False)
    first = search.ask()
    search.tell(first, [[float(example % 2) for example in first[0].examples]])
    (cut,) = search.ask()
    assert len(cut.examples) == 3
    search.tell([cut], [[1.0, 1.0, 1.0]])
    assert search.recommend().candidate == (0, 0)
    search = make(name, num_trials=1)
    for _ in range(2):
        jobs = search.ask()
        search.tell(jobs, [[float(any(job.candidate))] * len(job.examples) for job in jobs])
    (full,) = search.ask()
    assert search.recommend().candidate == (0, 0)  # of the other one ten examples are known
    search.tell([full], [[1.0] * len(full.examples)])
    assert search.recommend().candidate == full.candidate


def test_a_trial_whose_scores_are_all_under_way_waits_for_them():
    """Its value is what an earlier decision will have measured; it has not failed."""
    finished = {}

    class Scripted(Sampler):
        def suggest(self, trial):
            return (0,) if trial == 1 else (1,)

        def recall(self, trial, candidate):
            """Nothing is recalled."""

        def finish(self, trial, value):
            finished[trial] = value

        def add(self, candidate, value):
            """Only trials are looked at."""

    book = Book(num_examples=4, budget=100, lookahead=2, order=None)
    settings = TrialSettings(num_trials=3, minibatch=False)
    search = TrialSearch(Space({"0.instruction": 2}), book, Scripted(), settings, seed=0)
    original = search.ask()
    assert search.ask()[0].candidate == (1,)  # trial 1 asks for nothing that the original does not
    assert not finished
    search.tell(original, [[1.0, 0.0, 1.0, 1.0]])
    search.ask()
    assert finished == {1: 0.75}


def test_tpe_learns():
    """TPE meets better candidates than random draws do, on average over seeds."""

    def later_mean(name, seed):
        decisions = run(make(name, seed=seed, num_trials=60), noisy_scorer(spread=0.1))
        late = [job for jobs in decisions[40:] for job in jobs]
        return sum(sum(job.candidate) for job in late) / len(late)

    tpe = sum(later_mean("tpe", seed) for seed in range(12))
    uniform = sum(later_mean("random", seed) for seed in range(12))
    assert tpe > uniform


def test_optuna_stays_quiet_and_keeps_its_verbosity(capfd):
    """Nothing is logged, and the user's own setting is untouched."""
    import optuna  # noqa: PLC0415 - only this test needs it

    before = logging.getLogger("optuna").level
    run(make(), noisy_scorer())
    assert "study" not in capfd.readouterr().err
    assert logging.getLogger("optuna").level == before
    assert optuna.logging.get_verbosity() == before


def test_decisions_of_another_search_are_refused():
    """A search that would go on from another's decisions would not be the one that was recorded."""
    made, other = make(), make(minibatch_size=20)
    first = made.ask()
    other.recall(first, made.state())  # the original, which is the same in both
    for search in (made, other):
        search.tell(first, [[0.5] * len(job.examples) for job in first])
    with pytest.raises(StateError, match="must be one of this search, but"):
        other.recall(made.ask(), made.state())


def test_halving_races_new_choices_against_the_leader_alone():
    """When the space has grown it meets what is new and what was best, and nothing that has lost."""
    space = Space({"0.instruction": 2, "0.demos": 2})
    search = create("halving", space, num_examples=400, budget=2000)
    for _ in range(6):  # the first race ends
        jobs = search.ask()
        search.tell(jobs, [[noisy_scorer()(job.candidate, e) for e in job.examples] for job in jobs])
    space.add("0.instruction", 2)
    leader = search.recommend().candidate
    met = {job.candidate for jobs in run(search, noisy_scorer()) for job in jobs}
    assert {candidate for candidate in met if candidate[0] < 2} <= {leader}
    assert len(met - {leader}) == 4


def test_halving_races_new_choices_by_what_it_may_know():
    """Scores that come early, of a decision within the look-ahead, change none of the next decisions."""

    def third(*, early):
        space = Space({"0.instruction": 1, "0.demos": 2})
        search = create("halving", space, num_examples=3, budget=7, lookahead=2)
        first = search.ask()
        space.add("0.instruction")
        second = search.ask()
        search.tell(first, [[0.0, 0.0, 0.0]])
        if early:
            search.tell(second, [[1.0, 1.0, 1.0]])
        return search.ask()

    assert third(early=True) == third(early=False)


def test_halving_goes_on_with_the_better_half():
    """Each round meets more examples with half as many candidates, until one is left."""
    search = create("halving", Space({"0.instruction": 4, "0.demos": 2}), num_examples=400, budget=2400)
    met = Counter()
    for jobs in run(search, noisy_scorer(spread=0.3)):
        for job in jobs:
            met[job.candidate] += len(job.examples)
    depths = sorted(met.values(), reverse=True)
    assert depths[0] == depths[1] > depths[2] == depths[3] > depths[4] == depths[7]
    assert met[search.recommend().candidate] == depths[0]
    assert search.recommend().candidate[0] == 3


@pytest.mark.parametrize(("num_examples", "budget", "fewest"), [(1, 40, 8), (3, 72, 8), (100, 65, 4)])
def test_halving_starts_as_many_candidates_as_the_budget_has_room_for(num_examples, budget, fewest):
    """Few examples need no block of eight, and of a small budget little is left over."""
    search = create(
        "halving", Space({"0.instruction": 4, "0.demos": 6}), num_examples=num_examples, budget=budget
    )
    decisions = run(search, noisy_scorer())
    assert len({job.candidate for jobs in decisions for job in jobs}) >= fewest
