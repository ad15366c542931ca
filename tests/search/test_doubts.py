"""What is measured, and what counts, before nothing may seem to matter."""

import numpy as np
import pytest

from mipro.search import Job, Space
from mipro.search._book import Book
from mipro.search._doubts import RUNGS, SURPRISE_MOST, doubts, is_refuted

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


def ask_all(book, share):
    """Ask for all doubts, rung after rung, each candidate answering with its share; returns the cells."""
    cells = 0
    while jobs := doubts(book, SPACE, 8, everyone=True):
        book.record(jobs)
        rng = np.random.default_rng(cells)
        book.tell(jobs, [(rng.random(len(j.examples)) < share(j.candidate)).astype(float) for j in jobs])
        book.advance()
        cells += sum(len(job.examples) for job in jobs)
    return cells


def test_every_candidate_is_met_first():
    """What was not met could be the one that is better."""
    book = book_of({ORIGINAL: coins(0.5, 40), (1, 1): coins(0.5, 8)})
    jobs = doubts(book, SPACE, 8, everyone=True)
    assert {job.candidate for job in jobs} == set(np.ndindex(*SPACE.sizes)) - {ORIGINAL, (1, 1)}
    assert {len(job.examples) for job in jobs} == {8}
    assert {job.reason for job in jobs} == {"confirming a surprise"}


def test_of_a_large_space_only_what_was_met_takes_part():
    """Where the budget does not allow a look at everyone."""
    book = book_of({ORIGINAL: coins(0.5, 40), (1, 1): coins(0.5, 8)})
    assert {job.candidate for job in doubts(book, SPACE, 8, everyone=False)} <= {ORIGINAL, (1, 1)}


def test_the_best_so_far_go_on():
    """The second rung asks for the candidates with the best means, up to its number of examples at once."""
    scores = alike(8) | {(2, 3): coins(0.9, 8), (3, 3): coins(0.8, 8), (1, 4): coins(0.7, 8)}
    share, examples = RUNGS[1]
    jobs = doubts(book_of(scores), SPACE, 8, everyone=True)
    assert {job.candidate for job in jobs} == {(2, 3), (3, 3), (1, 4)}
    assert len(jobs) == share * SPACE.size
    assert {len(job.examples) for job in jobs} == {examples - 8}


@pytest.mark.parametrize("seed", range(4))
def test_the_tournament_ends(seed):
    """Where all are alike, doubts are soon asked, though other candidates lead after every rung."""
    rng = np.random.default_rng(seed)
    book = book_of({c: (rng.random(8) < 0.5).astype(float).tolist() for c in np.ndindex(*SPACE.sizes)})
    assert ask_all(book, lambda _candidate: 0.5) <= SPACE.size * 40


def test_a_surprise_is_followed_until_it_is_none_or_enough():
    """What is far above all others is measured on twice as many examples, but not on all."""
    book = book_of(alike(64) | {(2, 3): coins(0.8, 64)}, num_examples=1000)
    [job] = doubts(book, SPACE, 8, everyone=True)
    assert job.candidate == (2, 3)
    assert len(job.examples) == 64
    ask_all(book, lambda candidate: 0.8 if candidate == (2, 3) else 0.5)
    assert book.met((2, 3)) == SURPRISE_MOST


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
