"""Splits share nothing, are repeatable, and keep the shares of strata."""

from __future__ import annotations

from collections import Counter
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mipro import Example
from mipro.datasets import Dataset, split
from mipro.errors import UserError


def rows_of(values):
    """Make examples with input x and label y = x mod 3."""
    return [Example(x=x, y=x % 3).with_inputs("x") for x in values]


@given(
    values=st.lists(st.integers(0, 30), max_size=60),
    shares=st.lists(st.sampled_from([0.0, 0.1, 0.25, 0.3]), min_size=1, max_size=3),
    seed=st.integers(0, 5),
    stratify=st.sampled_from([None, "y"]),
)
def test_parts_never_share_inputs(values, shares, seed, stratify):
    """No inputs are in two parts, and no part is larger than asked for."""
    parts = split(rows_of(values), shares, seed=seed, stratify=stratify)
    keys = [{row.x for row in part} for part in parts]
    assert sum(len(key) for key in keys) == len(set().union(*keys))
    assert all(len(part) <= round(share * len(values)) for part, share in zip(parts, shares, strict=True))


@given(values=st.lists(st.integers(), unique=True, max_size=60), seed=st.integers(0, 5))
def test_without_duplicates_every_example_is_used_once(values, seed):
    """Parts have exactly their sizes and together are the data."""
    parts = split(rows_of(values), (0.5, None), seed=seed)
    assert [len(part) for part in parts] == [round(0.5 * len(values)), len(values) - round(0.5 * len(values))]
    assert sorted(row.x for part in parts for row in part) == sorted(values)


def test_every_stratum_keeps_its_share():
    """Each part has each label's share to within one example."""
    rows = [Example(x=i, y="rare" if i % 10 == 0 else "common").with_inputs("x") for i in range(200)]
    for part in split(rows, (50, 70, None), stratify="y"):
        assert abs(Counter(row.y for row in part)["rare"] - len(part) / 10) <= 1


def test_stratify_takes_a_function():
    """A function of an example names its stratum."""
    parts = split(rows_of(range(30)), (15, 15), stratify=lambda row: row.x < 10)
    assert all(4 <= sum(row.x < 10 for row in part) <= 6 for part in parts)


def test_named_sizes_give_named_parts():
    """A mapping of sizes gives a mapping of parts; a generator of the caller's decides as a seed does."""
    rows = rows_of(range(10))
    parts = split(rows, {"train": 6, "test": None}, rng=Random(3))
    assert [parts["train"], parts["test"]] == split(rows, (6, None), seed=3)


def test_same_seed_gives_same_split_and_another_does_not():
    """The seed alone decides; 0 is a seed."""
    rows = rows_of(range(40))
    first = split(rows, (20, 20), seed=0)
    assert first == split(rows, (20, 20), seed=0)
    assert first != split(rows, (20, 20), seed=1)


def test_duplicates_that_fit_nowhere_are_left_out(caplog):
    """A group of duplicates larger than the room left is dropped, and said so."""
    parts = split(rows_of([1, 1, 1]), (2, 1))
    assert parts == [[], []]
    assert "3 examples were left out" in caplog.text


def test_halves_that_round_up_still_fit():
    """Fractions that add up to one never ask for more than there is."""
    assert [len(part) for part in split(rows_of(range(7)), (0.5, 0.5))] == [4, 3]


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ((), "at least one part"),
        (0.5, r"an entry for each part, for example \(0\.5, None\)"),
        ((None, None), "one None"),
        ((8, 3), r"\[8, 3\] = 11 examples of 10"),
        ((1.5,), "at most 1.0"),
        ((-1,), "a whole number"),
        ((True,), "a whole number"),
        (("3",), "a whole number"),
        ((float("nan"),), "a whole number"),
    ],
)
def test_impossible_sizes_are_refused(sizes, message):
    """A size that can't be is a UserError that says what was got."""
    with pytest.raises(UserError, match=message):
        split(rows_of(range(10)), sizes)


def test_rows_that_are_no_examples_are_refused():
    """Rows as they come from a file are named as what they are."""
    with pytest.raises(UserError, match=r"must be a `mipro.Example`, but got dict: .*from_records"):
        split([{"x": 1}], (1,))


def test_unknown_stratum_is_named():
    """A `stratify` that is no field is refused."""
    with pytest.raises(UserError, match="'z' is not in"):
        split(rows_of([1]), (1,), stratify="z")


def test_without_input_keys_all_fields_count():
    """Examples whose inputs were not named are the same only if all fields are."""
    rows = [Example(x=1, y=1), Example(x=1, y=2)]
    assert sorted(len(part) for part in split(rows, (1, 1))) == [1, 1]


def test_examples_that_differ_in_one_number_of_an_array_are_no_duplicates():
    """The text of a long array leaves most numbers out: all were taken for one and left out."""
    rows = [Example(x=np.arange(2000) + 7 * (np.arange(2000) == i)).with_inputs("x") for i in (900, 901)]
    assert [len(part) for part in split(rows, (1, 1))] == [1, 1]
    assert [len(part) for part in split([rows[0], rows[0].copy()], (2, None))] == [2, 0]


def test_values_may_have_keys_of_any_kind():
    """Mixed keys were a TypeError, and `{1: ...}` was the same as `{"1": ...}`."""
    values = [{1: "a", "b": 2}, {("a", "b"): 2}, {1: "a"}, {"1": "a"}]
    rows = [Example(x=value).with_inputs("x") for value in values]
    assert sorted(len(part) for part in split(rows, (1, 1, 1, 1))) == [1, 1, 1, 1]

    class Tables(Dataset):
        _train = tuple({"x": value} for value in (*values, np.arange(2000), np.arange(2000) % 1999))

    names = [[example["dspy_uuid"] for example in Tables().train] for _ in range(2)]
    assert len(set(names[0])) == len(values) + 2
    assert names[0] == names[1]
