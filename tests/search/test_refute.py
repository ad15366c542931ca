"""What speaks against it that nothing matters."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mipro.search import Job, Space
from mipro.search._book import Book
from mipro.search._refute import OPPOSITE, OPPOSITE_AMONG, OPPOSITE_LEAST, has_opposites, is_refuted

SPACE = Space({"0.instruction": 4, "0.demos": 5})
ORIGINAL = (0, 0)


def book_of(scores, *, num_examples=200):
    """Return a book that was told so many scores, given by candidate."""
    book = Book(num_examples=num_examples, budget=10_000, lookahead=1, order=None)
    jobs = [Job(candidate, tuple(range(len(told)))) for candidate, told in scores.items()]
    book.record(jobs)
    book.tell(jobs, list(scores.values()))
    book.advance()
    return book


def coins(share, count):
    """Return `count` scores of which a share is 1, evenly spread."""
    return [float(int((i + 1) * share) - int(i * share)) for i in range(count)]


def alike(count):
    """Return scores of all candidates, alike."""
    return {c: coins(0.5, count) for c in np.ndindex(*SPACE.sizes)}


@pytest.mark.parametrize(
    ("told", "refuted"),
    [
        ({}, False),
        ({(2, 3): coins(0.8, 64)}, True),
        ({(2, 3): coins(0.8, 16)}, False),
        ({ORIGINAL: coins(0.2, 64)}, True),
        ({ORIGINAL: coins(0.8, 64)}, False),
    ],
    ids=["all alike", "a good change", "few scores", "a poor original", "a good original"],
)
def test_what_stands_out_refutes_that_nothing_matters(told, refuted):
    """A change far above all, or an original far below, well measured; a good original is no reason."""
    assert is_refuted(book_of(alike(64) | told).table, ORIGINAL) is refuted


def test_nothing_is_refuted_by_nothing():
    """Of no scores, and of scores that are all the same, nothing stands out."""
    assert not is_refuted(Book(num_examples=9, budget=9, lookahead=1, order=None).table, ORIGINAL)
    assert not is_refuted(book_of({c: [1.0] * 64 for c in np.ndindex(*SPACE.sizes)}).table, ORIGINAL)


@pytest.mark.parametrize(
    ("first", "second", "refuted"),
    [
        (16, 16, True),
        (16, 15, False),
        (40, 16, True),
    ],
)
def test_opposites_refute_that_nothing_matters(first, second, refuted):
    """Two candidates, one right where the other is wrong, on enough examples that both have met."""
    rng = np.random.default_rng(3)
    told = {c: (rng.random(20) < 0.5).astype(float).tolist() for c in np.ndindex(*SPACE.sizes)}
    right = (rng.random(40) < 0.5).astype(float)
    assert not is_refuted(book_of(told).table, ORIGINAL)
    told |= {(2, 3): right[:first].tolist(), (1, 1): (1.0 - right[:second]).tolist()}
    assert is_refuted(book_of(told).table, ORIGINAL) is refuted


@given(
    st.lists(
        st.lists(st.sampled_from([0.0, 0.5, 1.0, None]), min_size=40, max_size=40), min_size=2, max_size=4
    )
)
def test_opposites_are_those_of_a_plain_correlation(rows):
    """With scores missing here and there, pair by pair as numpy has it."""
    book = book_of(dict(zip(np.ndindex(*SPACE.sizes), rows, strict=False)))
    table = book.table
    expected = False
    for first, second in itertools.combinations(table.values, 2):
        both = ~np.isnan(first) & ~np.isnan(second)
        if both.sum() >= OPPOSITE_LEAST and first[both].std() > 0.0 and second[both].std() > 0.0:
            expected |= bool(np.corrcoef(first[both], second[both])[0, 1] < OPPOSITE)
    assert has_opposites(table) is expected


def test_opposites_are_looked_for_among_the_most_measured():
    """However many candidates there are, so many are compared."""
    space = list(np.ndindex(15, 15))
    rng = np.random.default_rng(0)
    told = {c: (rng.random(17) < 0.5).astype(float).tolist() for c in space[: OPPOSITE_AMONG + 4]}
    right = (rng.random(16) < 0.5).astype(float)
    told |= {space[-1]: right.tolist(), space[-2]: (1.0 - right).tolist()}
    assert not has_opposites(book_of(told).table)
    few = dict(list(told.items())[-2:] + list(told.items())[:10])
    assert has_opposites(book_of(few).table)


@pytest.mark.parametrize("unit", [2.0**-20, 1.0, 2.0**20])
def test_opposites_are_the_same_in_any_unit(unit):
    """Scores of a millionth or of a million, as they come, are as opposite as those of 0 and 1."""
    right = np.arange(16) % 2 * unit
    assert has_opposites(book_of({(2, 3): right.tolist(), (1, 1): (unit - right).tolist()}).table)
    levels = {(0, choice): [choice * unit / 7] * 16 for choice in range(5)}
    assert not has_opposites(book_of(levels).table)
