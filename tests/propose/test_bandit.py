"""Which tip comes next."""

import random
from collections import Counter

from mipro.propose import COMPONENTS, TIPS, Origin, Proposals, ScoredInstruction
from mipro.propose._bandit import draw_recipes, what_paid


def drawn(paid, *, times=300, count=1, **how):
    """Return many first draws."""
    return [draw_recipes(count, paid, random.Random(seed), **how)[0] for seed in range(times)]


def test_what_paid_is_given_more_often():
    """A tip that made better instructions comes up more often than any other, not always."""
    paid = [(Origin("steps"), 1.5)] * 3 + [(Origin("creative"), -1.5)] * 3
    counts = Counter(recipe.tip for recipe in drawn(paid))
    assert counts.most_common(1)[0][0] == "steps"
    assert counts["steps"] > 3 * max(1, counts["creative"])
    assert len(counts) > 3


def test_no_tip_twice_before_all_were_given():
    """Even the best tip is given once in a round."""
    paid = [(Origin("steps"), 3.0)] * 9
    tips = [recipe.tip for recipe in draw_recipes(len(TIPS), paid, random.Random(0))]
    assert sorted(tips) == sorted(TIPS)


def test_a_component_that_harms_is_left_out():
    """What was better without is shown less; where nothing is known it mostly is shown."""
    harmful = [(Origin("none"), -1.5)] * 6 + [(Origin("none", left_out=("summary",)), 1.5)] * 6
    without = sum("summary" in recipe.left_out for recipe in drawn(harmful))
    unknown = sum("summary" in recipe.left_out for recipe in drawn([(Origin("none"), 0.0)] * 6))
    assert without > 250
    assert unknown < 100
    assert all(set(recipe.left_out) <= set(COMPONENTS) for recipe in drawn(harmful))


def test_labels_are_stated_where_that_paid():
    """Instructions with the labels stated that did better lead to more of them, and the other way round."""
    better = [(Origin("none", labels=True), 1.5)] * 4 + [(Origin("none"), -1.5)] * 4
    worse = [(origin, -worth) for origin, worth in better]
    assert sum(recipe.labels for recipe in drawn(better)) > 270
    assert sum(recipe.labels for recipe in drawn(worse)) < 30
    assert drawn([])[0].labels is None


def test_without_experience_all_is_shown():
    """The first round is as if there were no bandit, and without tips there are none."""
    assert all(recipe.left_out == () for recipe in drawn([], count=3))
    assert {recipe.tip for recipe in drawn([], use_tips=False)} == {"none"}
    assert {recipe.tip for recipe in drawn([(Origin("steps"), 1.0)], use_tips=False)} == {"none"}


def test_worth_is_beside_the_others_of_the_predictor():
    """Scores count as standard deviations from the mean of the predictor's proposals."""
    before = Proposals(
        (("o", "a", "b"), ("o", "c")),
        ((Origin("original"), Origin("steps"), Origin("none")), (Origin("original"), Origin("none"))),
    )
    history = [
        ScoredInstruction(0, "o", 9.0),
        ScoredInstruction(0, "a", 0.75),
        ScoredInstruction(0, "b", 0.25),
        ScoredInstruction(1, "c", 0.5),
    ]
    assert what_paid(before, history) == ((Origin("steps"), 1.0), (Origin("none"), -1.0))
