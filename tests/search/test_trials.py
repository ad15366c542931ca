"""The published loop: minibatch trials and full evaluations."""

import logging

import pytest

from mipro.search import Space, create
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
