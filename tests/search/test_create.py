"""Making searches, and what the book refuses."""

import pytest

from mipro.errors import StateError, UserError
from mipro.search import Job, Space, create, default_budget, default_lookahead, default_num_trials, replay
from mipro.testing.search import noisy_scorer, run


def make(name="random", **settings):
    """Make a small search."""
    settings = {"num_examples": 10, "budget": 100, **settings}
    return create(name, Space({"0.instruction": 3, "0.demos": 3}), **settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "grid"}, "must be one of"),
        ({"num_examples": 0}, "num_examples"),
        ({"budget": 0}, "budget"),
        ({"budget": True}, "budget"),
        ({"lookahead": 0}, "lookahead"),
        ({"order": [0, 1]}, "permutation"),
        ({"order": 5}, "permutation"),
        ({"order": iter(range(10))}, "permutation"),
        ({"seed": -1}, "seed"),
        ({"seed": None}, "seed"),
        ({"num_trials": 0}, "num_trials"),
        ({"min_block": 3}, "min_block"),
        ({"name": []}, "must be one of"),
        ({"name": "bayes", "patience": 0.0}, "patience"),
        ({"name": "bayes", "patience": "long"}, "patience"),
        ({"name": "bayes", "block_size": 0}, "block_size"),
    ],
)
def test_senseless_settings_are_refused(settings, message):
    """Each setting is checked when the search is made."""
    with pytest.raises(UserError, match=message):
        make(**settings)


def test_default_number_of_trials_is_the_papers():
    """18 trials for the medium preset with one predictor, 10 for light, 27 for heavy."""
    shapes = [(3, 6), (6, 12), (9, 18)]
    found = [default_num_trials(Space({"0.instruction": i, "0.demos": d})) for i, d in shapes]
    assert found == [10, 18, 27]


@pytest.mark.parametrize(
    ("num_examples", "settings", "evaluations"),
    [
        (100, {"num_trials": 10}, 650),
        (300, {"num_trials": 18}, 2130),
        (1000, {"num_trials": 27}, 7945),
        (20, {"num_trials": 10}, 260),
        (100, {"num_trials": 3, "minibatch_size": 2}, 206),
        (100, {"num_trials": 4, "minibatch_size": 2, "minibatch_full_eval_steps": 1}, 508),
        (50, {"num_trials": 10, "minibatch": False}, 550),
    ],
)
def test_default_budget_is_what_dspys_loop_evaluates(num_examples, settings, evaluations):
    """The first three are of light, medium and heavy with one predictor; a full evaluation ends the loop."""
    assert default_budget(num_examples, **settings) == evaluations


def test_asking_too_early_is_refused():
    """With look-ahead L, call L + 1 before the first tell is an error that says so."""
    search = make(lookahead=2)
    search.ask()
    search.ask()
    with pytest.raises(UserError, match="lookahead"):
        search.ask()


@pytest.mark.parametrize(
    ("jobs", "scores", "message"),
    [
        ([Job((2, 2), (0,))], [[1.0]], "returned"),
        (None, [[1.0]], "10 values"),
        (None, [], "one list for each job"),
        (None, [[float("nan")] * 10], "finite"),
        (None, [["good"] * 10], "finite"),
        (None, [1.0], "lists of finite"),
    ],
)
def test_wrong_tells_are_refused(jobs, scores, message):
    """Unknown jobs, wrong shapes and numbers that are none change nothing."""
    search = make()
    asked = search.ask()
    with pytest.raises(UserError, match=message):
        search.tell(jobs or asked, scores)
    search.tell(asked, [[1.0] * 10])


def test_a_job_is_known_by_candidate_and_examples():
    """The reason of a job is for the log only."""
    search = make()
    (job,) = search.ask()
    assert job.reason == "original"
    search.tell([Job(candidate=job.candidate, examples=job.examples)], [[0.0] * 10])


def test_a_job_twice_in_one_tell_changes_nothing():
    """Which of the two scores would count?"""
    search = make()
    (job,) = search.ask()
    with pytest.raises(UserError, match="each job once"):
        search.tell([job, job], [[1.0] * 10, [0.0] * 10])
    search.tell([job], [[1.0] * 10])


def test_a_plain_dict_is_no_space():
    """It could not grow."""
    with pytest.raises(UserError, match=r"must be a `mipro.search.Space`"):
        create("random", {"0.instruction": 3}, num_examples=10, budget=100)


def test_telling_twice_is_refused():
    """Scores are told once."""
    search = make()
    asked = search.ask()
    search.tell(asked, [[1.0] * 10])
    with pytest.raises(UserError, match="not told yet"):
        search.tell(asked, [[1.0] * 10])


@pytest.mark.parametrize("name", ["bayes", "tpe", "random", "halving"])
def test_replay_rebuilds_a_search(name):
    """A search fed its own record goes on like the one recorded."""
    scorer = noisy_scorer()
    settings = {"num_examples": 20, "budget": 200, "seed": 3}
    space = Space({"0.instruction": 3, "0.demos": 4})
    decisions = run(create(name, space, **settings), scorer)
    record = [(jobs, [[scorer(j.candidate, e) for e in j.examples] for j in jobs]) for jobs in decisions]
    half = len(record) // 2
    again = create(name, space, **settings)
    replay(again, record[:half])
    assert run(again, scorer) == decisions[half:]


def test_replay_refuses_another_seed():
    """A record of other settings is found out at the first difference."""
    scorer = noisy_scorer()
    decisions = run(make(seed=1), scorer)
    record = [(jobs, [[scorer(j.candidate, e) for e in j.examples] for j in jobs]) for jobs in decisions]
    with pytest.raises(StateError, match="as recorded"):
        replay(make(seed=2), record)


@pytest.mark.parametrize(
    ("budget", "sizes", "expected"),
    [(1, (3, 6), 2), (165, (3, 6), 2), (500, (3, 6), 13), (500, (3, 12), 7), (10**6, (3, 12), 20)],
)
def test_small_budgets_have_few_decisions_under_way(budget, sizes, expected):
    """Opening and first blocks of all under way hold a third of the budget; never more than twenty."""
    assert default_lookahead(budget, sizes) == expected


@pytest.mark.parametrize("name", ["bayes", "tpe", "random", "halving"])
def test_scores_from_0_to_1_are_expected_to_stay_there(name):
    """An interval beyond what the metric can give reads as a mistake; other scales know no such bound."""

    def found(most):
        search = create(name, Space({"0.instruction": 3}), num_examples=20, budget=60, seed=0)
        run(search, lambda _candidate, example: most * (example != 7))
        return search.recommend()

    assert found(1.0).interval[1] == 1.0
    assert found(3.0).interval[1] > 3.0


@pytest.mark.parametrize("name", ["tpe", "random", "halving"])
def test_few_equal_scores_are_no_certainty(name):
    """Two examples that all go right, or go wrong with the original alone, prove nothing of unseen ones."""

    def found(scorer):
        search = create(name, Space({"0.instruction": 3}), num_examples=2, budget=20, seed=0)
        run(search, scorer)
        return search.recommend()

    perfect = found(lambda _candidate, _example: 1.0)
    assert perfect.interval[0] < 0.5 < perfect.mean == perfect.interval[1]
    better = found(lambda candidate, _example: float(candidate != (0,)))
    assert 0.5 < better.p_better < 0.95
    assert better.interval[0] < 0.5


def test_rounding_is_no_difference():
    """Sums of the same numbers in another order, 0.3 and 0.30000000000000004, speak for no candidate."""
    search = create("bayes", Space({"0.instruction": 3, "0.demos": 4}), num_examples=40, budget=400, seed=0)
    run(search, lambda candidate, _example: 0.1 + 0.2 if candidate[0] == 1 else 0.3)
    found = search.recommend()
    assert found.candidate == (0, 0)
    assert found.interval[0] < 0.29
    assert found.interval[1] > 0.31


@pytest.mark.parametrize("name", ["bayes", "tpe", "random", "halving"])
def test_nothing_is_said_of_an_original_without_a_score(name):
    """Where all scores of the original are missing the change is neither better nor worse than it."""
    scorer = noisy_scorer()
    search = create(name, Space({"0.instruction": 3, "0.demos": 4}), num_examples=40, budget=400, seed=0)
    run(search, lambda candidate, example: scorer(candidate, example) if any(candidate) else None)
    found = search.recommend()
    assert any(found.candidate)
    assert found.p_better == 0.5
