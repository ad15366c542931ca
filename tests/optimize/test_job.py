"""How large a run is, what identifies it, and what its ledger must not hold."""

import pytest

import mipro
from mipro.optimize._settings import Sizes, make_plan
from mipro.testing.lms import ScriptedLM

KEY = "sk-test-7d1f9c"


def test_key_of_a_users_model_is_in_no_ledger_and_no_part_of_the_run(tmp_path, fruit, same_colour):
    """A model made with `api_key=` leaves it nowhere, and a run is resumed with another key for nothing."""

    def compile_with(key, run_dir):
        lm = ScriptedLM(lambda messages: {"colour": "red", "proposed_instruction": "Say it."}, api_key=key)
        optimizer = mipro.MIPROv2(same_colour, run_dir=str(run_dir), search="random", seed=0)
        with mipro.context(lm=lm):
            optimizer.compile(mipro.Predict("fruit -> colour"), trainset=fruit[:5], valset=fruit[5:15])
        return lm.calls

    calls = compile_with(KEY, tmp_path / "run")
    assert {call["kwargs"]["api_key"] for call in calls} == {KEY}
    assert compile_with("sk-another", tmp_path / "run") == []
    files = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert files
    assert [data for data in files if KEY.encode() in data] == []


def planned(train=2000, val=None, *, demos=4, predictors=1, **sizes):
    """Return the plan for so many examples."""
    examples = [mipro.Example(q=str(i)).with_inputs("q") for i in range(train + (val or 0))]
    given = Sizes(
        **{
            "auto": None,
            "num_candidates": None,
            "num_trials": None,
            "max_bootstrapped_demos": demos,
            "max_labeled_demos": demos,
            "seed": 0,
            **sizes,
        }
    )
    valset = None if val is None else examples[train:]
    return make_plan(given, predictors, trainset=examples[:train], valset=valset, testset=None)


@pytest.mark.parametrize(
    ("auto", "demos", "predictors", "sizes"),
    [
        (None, 4, 1, (3, 6, 10, 100)),
        ("light", 4, 1, (3, 6, 10, 100)),
        ("medium", 4, 1, (6, 12, 18, 300)),
        ("heavy", 4, 1, (9, 18, 27, 1000)),
        ("light", 4, 3, (3, 6, 31, 100)),
        ("light", 0, 1, (6, 1, 9, 100)),
        ("medium", 0, 3, (12, 1, 21, 300)),
    ],
)
def test_a_preset_has_the_size_that_dspys_has(auto, demos, predictors, sizes):
    """Instructions, demo sets, trials and validation examples; without demos all are instructions."""
    plan = planned(auto=auto, demos=demos, predictors=predictors)
    assert (plan.num_instructions, plan.num_demo_sets, plan.num_trials, len(plan.valset)) == sizes


@pytest.mark.parametrize(
    ("given", "sizes"),
    [
        ({"num_candidates": 7, "num_trials": 3}, (7, 7, 3, 1200)),
        ({"num_candidates": 7}, (7, 7, 11, 1200)),
        ({"num_trials": 3}, (6, 6, 3, 1200)),
        ({"num_trials": 3, "minibatch_size": 1200}, (6, 6, 3, 1200)),
    ],
)
def test_what_the_user_says_is_the_size(given, sizes):
    """No instruction, demo set or validation example is saved then."""
    plan = planned(10, 1200, **given)
    assert (plan.num_instructions, plan.num_demo_sets, plan.num_trials, len(plan.valset)) == sizes


@pytest.mark.parametrize(
    ("val", "given", "size"),
    [
        (50, {}, None),
        (51, {}, 35),
        (51, {"minibatch_size": 51}, None),
        (51, {"minibatch_size": 50}, 50),
        (51, {"minibatch": False}, None),
        (50, {"num_trials": 3}, 35),
        (35, {"num_trials": 3}, None),
        (9, {"num_trials": 3}, None),
    ],
)
def test_minibatches_are_for_valsets_that_are_larger(val, given, size):
    """A preset measures up to 50 examples whole, and nobody measures a minibatch of all."""
    plan = planned(10, val, **given)
    assert (plan.minibatch_size if plan.minibatch else None) == size


@pytest.mark.parametrize(("train", "val"), [(2, 1), (3, 2), (10, 8), (1250, 1000), (1300, 1000)])
def test_four_fifths_become_the_valset(train, val):
    """At most 1,000 examples, drawn at random; each is in one part, and one is left to learn from."""
    plan = planned(train, num_trials=3, minibatch=False)
    places = [int(example.q) for example in (*plan.trainset, *plan.valset)]
    assert (len(plan.valset), sorted(places)) == (val, list(range(train)))
    assert train < 10 or places != sorted(places)
