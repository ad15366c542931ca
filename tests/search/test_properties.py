"""Rules that hold for any space, data, budget, look-ahead and timing."""

from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mipro.search import Space, create
from mipro.testing.search import cells_of, run

NAMES = ["bayes", "tpe", "random", "halving"]


@st.composite
def problems(draw):
    """A space, the settings of a search, and scores with holes."""
    predictors = draw(st.integers(1, 3))
    sizes = {
        f"{p}.{kind}": draw(st.integers(1, 4)) for p in range(predictors) for kind in ("instruction", "demos")
    }
    examples = draw(st.integers(1, 25))
    options = {
        "num_examples": examples,
        "budget": draw(st.integers(1, 150)),
        "seed": draw(st.integers(0, 5)),
        "lookahead": draw(st.integers(1, 5)),
        "order": draw(st.permutations(range(examples))),
    }
    missing = draw(st.sampled_from([0.0, 0.3, 1.0]))
    scale = draw(st.sampled_from([1.0, -50.0, 1e6]))

    def scorer(candidate, example):
        rng = Random(f"{candidate}{example}")
        return None if rng.random() < missing else scale * (rng.random() < 0.5 + 0.05 * candidate[0])

    return sizes, options, scorer


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(problem=problems(), timing=st.integers(0, 1000))
def test_rules_hold_and_timing_is_irrelevant(name, problem, timing):
    """Budget, no known cell twice, first candidate, and one run for any order of tells."""
    sizes, options, scorer = problem
    runs = []
    for order in (None, Random(timing)):
        search = create(name, Space(sizes), **options)
        decisions = run(search, scorer, lookahead=options["lookahead"], order=order)
        runs.append((decisions, repr(search.recommend())))
    assert runs[0] == runs[1]
    decisions = runs[0][0]
    cells = cells_of(decisions)
    assert decisions[0][0].candidate == (0,) * len(sizes)
    assert len(cells) <= options["budget"]
    known = [cell for cell in cells if scorer(*cell) is not None]
    assert len(known) == len(set(known))
    assert all(cells.count(cell) <= 2 for cell in set(cells))
