"""The space of candidates."""

import pytest

from mipro.errors import UserError
from mipro.search import Space


def test_counts_and_original():
    """A space knows its names, sizes, number of candidates and the original."""
    space = Space({"0.instruction": 6, "0.demos": 12})
    assert space.names == ("0.instruction", "0.demos")
    assert (space.sizes, space.size, space.original) == ((6, 12), 72, (0, 0))


def test_membership():
    """Only tuples of indices in range are candidates."""
    space = Space({"0.instruction": 2, "0.demos": 3})
    assert (1, 2) in space
    assert (2, 0) not in space
    assert (0,) not in space


def test_growth_returns_the_first_new_index():
    """Added choices come after the old ones."""
    space = Space({"0.instruction": 2})
    assert space.add("0.instruction", 3) == 2
    assert space.sizes == (5,)


@pytest.mark.parametrize("choices", [{}, {"a": 0}, {"a": True}, {"a": 1.5}])
def test_senseless_spaces_are_refused(choices):
    """A variable must have a choice."""
    with pytest.raises(UserError, match="choices"):
        Space(choices)


def test_senseless_growth_is_refused():
    """Only known variables grow, and by one choice at least."""
    space = Space({"a": 1})
    with pytest.raises(UserError, match="name"):
        space.add("b")
    for count in (0, 1.5, "2", True):
        with pytest.raises(UserError, match="count"):
            space.add("a", count)


def test_callers_mapping_is_left_alone():
    """Growth does not change the mapping the space was made from."""
    choices = {"a": 1}
    Space(choices).add("a")
    assert choices == {"a": 1}
