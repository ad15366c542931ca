"""Text that is the same for equal values."""

import json

import numpy as np
import pytest

import mipro
from mipro.runs import canonical, of_examples


def test_order_of_keys_and_items_does_not_matter():
    """Dicts and sets have none; what is in them counts."""
    one = {"a": 1, "b": {2, frozenset({3, 4})}}
    assert canonical(one) == canonical({"b": {frozenset({4, 3}), 2}, "a": 1})
    assert canonical(one) != canonical({"a": 1, "b": {"2", frozenset({3, 4})}})


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({1: "a", "b": 2}, {"1": "a", "b": 2}),
        ({("a", "b"): 2}, {("a", "c"): 2}),
        ({("a", "b"): 2}, {'["a","b"]': 2}),
        ({1: "a"}, {"(int)1": "a"}),
        ({None: 1, "a": 2}, {"null": 1, "a": 2}),
    ],
)
def test_any_key_will_do(one, other):
    """Mixed keys and tuples are no trouble, and other keys give another text."""
    assert canonical(one) == canonical(dict(reversed(one.items())))
    assert canonical(one) != canonical(other)
    assert json.loads(canonical(one))


def test_both_of_two_keys_with_one_text_stay():
    """`{1: ..., "1": ...}` has two items."""
    assert len(json.loads(canonical({1: "a", "1": "b"}))) == 2


def test_arrays_differ_in_any_number():
    """Also where the text of an array leaves it out."""
    one, other = np.arange(2000), np.arange(2000)
    other[1000] = 7
    assert str(one) == str(other)
    assert canonical({"a": one}) == canonical({"a": one.copy()})
    assert len({canonical(array) for array in (one, other, one.reshape(2, 1000), one.astype(float))}) == 4


def test_arrays_of_objects_and_single_numbers():
    """Objects count by what they are, not by where they are."""
    one, other = (np.array([text, None], dtype=object) for text in ("a", "b"))
    assert canonical(one) == canonical(np.array(["a", None], dtype=object)) != canonical(other)
    assert canonical(np.float32(0.5)) != canonical(np.float32(0.25))


def test_tables_are_read_as_arrays():
    """What numpy can read counts whole, with its text; what it can't counts by its text."""

    class Table:
        def __init__(self, middle, readable=True):
            self.middle, self.readable = middle, readable

        def __array__(self, dtype=None, copy=None):
            if not self.readable:
                raise TypeError("on another device")
            return np.array([0, self.middle, 0])

        def __str__(self):
            return "0 ... 0"

    assert canonical(Table(1)) == canonical(Table(1)) != canonical(Table(2))
    assert canonical(Table(1, readable=False)) == '"' + Table.__qualname__ + ':0 ... 0"'


def test_examples_with_arrays_are_told_apart():
    """Two data sets that differ in one number are two."""
    rows = [mipro.Example(x=np.arange(2000) + (i == 5), y=1).with_inputs("x") for i in range(6)]
    assert of_examples(rows[:1]) == of_examples(rows[1:2]) != of_examples(rows[5:])
