"""Tips."""

import random

from mipro.propose import TIPS
from mipro.propose._tips import draw_tips, next_tip


def test_no_tip_comes_twice_before_all_have_come():
    """A round of tips has each tip once."""
    drawn = draw_tips(2 * len(TIPS), random.Random(0))
    assert sorted(drawn[: len(TIPS)]) == sorted(TIPS)
    assert sorted(drawn[len(TIPS) :]) == sorted(TIPS)


def test_the_seed_decides_the_tips():
    """The same seed draws the same tips."""
    assert draw_tips(5, random.Random(3)) == draw_tips(5, random.Random(3))


def test_no_tips_where_none_are_wanted():
    """Without tips every proposal goes without."""
    assert draw_tips(3, random.Random(0), use=False) == ["none"] * 3


def test_the_next_tip_is_another_one():
    """A tip is followed by another that says something."""
    assert all(next_tip(name) not in {name, "none"} for name in TIPS)
