"""What the Bayesian search does with its budget."""

import itertools
import json

import numpy as np
import pytest

from mipro.search import Job, Space, create
from mipro.search._book import Book
from mipro.search._design import design_of
from mipro.search._evidence import evidence_of
from mipro.testing.search import cells_of, noisy_scorer, run


def make(**settings):
    """Make a search over 24 candidates."""
    settings = {"num_examples": 200, "budget": 1200, "seed": 0, **settings}
    return create("bayes", Space({"0.instruction": 4, "0.demos": 6}), **settings)


def test_finds_a_clearly_better_candidate():
    """Where one instruction is far better, it is recommended, surely, with a sensible estimate."""

    def scorer(candidate, example):
        return float(
            np.random.default_rng([example, *candidate]).random() < (0.8 if candidate[0] == 2 else 0.4)
        )

    search = make()
    run(search, scorer)
    found = search.recommend()
    assert found.candidate[0] == 2
    assert found.p_better > 0.99
    assert found.interval[0] < 0.8 < found.interval[1]


def test_hopeless_candidates_cost_one_block():
    """Most of the budget goes to few candidates."""
    decisions = run(make(), noisy_scorer(spread=0.2))
    cells = cells_of(decisions)
    spent = sorted(
        (sum(c == candidate for c, _ in cells) for candidate in {c for c, _ in cells}), reverse=True
    )
    assert sum(spent[:6]) > 0.5 * sum(spent)


def test_stops_when_all_is_known():
    """Without noise the best is soon known, and the search ends by itself."""
    cells = cells_of(run(make(), lambda candidate, _example: float(sum(candidate))))
    assert len(cells) < 600


def test_examples_are_met_in_the_given_order():
    """All candidates meet the same examples first, those of `order`."""
    order = list(range(199, -1, -1))
    decisions = run(make(order=order, budget=300), noisy_scorer())
    met = {}
    for jobs in decisions:
        for job in jobs:
            met.setdefault(job.candidate, []).extend(job.examples)
    assert all(examples == order[: len(examples)] for examples in met.values())


def test_new_choices_are_tried():
    """A choice added on the way is met."""
    space = Space({"0.instruction": 2})
    search = create("bayes", space, num_examples=50, budget=400)
    scorer = noisy_scorer()
    met = set()
    for number in range(1000):
        if number == 3:
            space.add("0.instruction", 2)
        jobs = search.ask()
        if not jobs:
            break
        met |= {job.candidate for job in jobs}
        search.tell(jobs, [[scorer(j.candidate, e) for e in j.examples] for j in jobs])
    assert met == {(0,), (1,), (2,), (3,)}


def run_growing(seed, *, num_examples, better):
    """Run a search to which a good instruction, 3, and other choices come late; all others are alike."""
    space = Space({"0.instruction": 3, "0.demos": 6})
    difficulty = np.random.default_rng(seed).random(num_examples)
    evaluations = itertools.count()

    def score(candidate, example):
        if next(evaluations) == 150:
            space.add("0.instruction", 2)
            space.add("0.demos", 2)
        return float(difficulty[example] < (0.35 + better if candidate[0] == 3 else 0.35))

    search = create("bayes", space, num_examples=num_examples, budget=650, seed=seed, lookahead=16)
    return run(search, score, lookahead=16), search.recommend()


def test_a_better_choice_that_comes_late_is_found():
    """What was found before it came, or before its scores are known, is no reason to stop."""
    found = [run_growing(seed, num_examples=100, better=0.3)[1].candidate[0] for seed in range(8)]
    assert found.count(3) >= 7


@pytest.mark.parametrize(("num_examples", "least"), [(100, 24), (20, 20)])
def test_a_choice_that_comes_late_is_given_a_chance(num_examples, least):
    """It is met on 24 examples, or on all, though nothing seems to matter."""
    cells = cells_of(run_growing(0, num_examples=num_examples, better=0.0)[0])
    assert len({example for candidate, example in cells if candidate[0] == 3}) >= least


def test_block_size_sets_the_first_look():
    """A candidate's first block has `block_size` examples."""
    assert all(len(job.examples) == 5 for job in make(block_size=5).ask())


def test_large_tables_are_cut_to_what_matters():
    """Of many candidates the original and the most measured stay."""
    search = make()
    run(search, noisy_scorer())
    table = search._book.table
    data = evidence_of(table, design_of(Space({"0.instruction": 4, "0.demos": 6})), limit=8)
    counts = (~np.isnan(table.values)).sum(axis=1)
    deepest = list(table.rows)[int(np.argmax(counts))]
    kept = [tuple(row) for row in data.candidates.tolist()]
    assert len(kept) <= 8
    assert (0, 0) in kept
    assert deepest in kept


def test_what_is_cut_from_a_large_table_does_not_depend_on_the_scores():
    """Where the lucky ones stay, what they share seems good."""
    space = Space({"0.instruction": 5, "0.demos": 10})
    kept = []
    for seed in range(2):
        book = Book(num_examples=8, budget=1000, lookahead=1, order=None)
        scores = np.random.default_rng(seed).random(50)
        for place in range(50):
            job = Job((place // 10, place % 10), tuple(range(1 + place % 7)))
            book.tell(book.record([job]), [[float(scores[place])] * len(job.examples)])
        kept.append(evidence_of(book.everything(), design_of(space), limit=12).candidates.tolist())
    assert kept[0] == kept[1]
    assert len(kept[0]) <= 12


def test_keeps_the_original_when_nothing_matters():
    """On candidates that are all alike the search spends half of its budget at most and changes nothing."""
    spent, kept = 0, 0
    for seed in range(12):
        search = make(seed=seed, budget=2000)
        spent += len(cells_of(run(search, noisy_scorer(seed, spread=0.0))))
        kept += search.recommend().candidate == (0, 0)
    assert spent <= 12 * 1000
    assert kept >= 11


def test_patience_of_four_never_takes_all_for_alike():
    """Where nothing matters all of the budget is spent."""

    def spent(patience):
        return len(cells_of(run(make(budget=2000, patience=patience), noisy_scorer(spread=0.0))))

    assert spent(1.0) < 1000
    assert spent(4.0) == 2000


def test_recommends_what_is_likely_enough_to_be_better():
    """Once enough was measured, the original is kept otherwise; before, the best guess is taken."""
    unlikely = {}
    for budget in (120, 480):
        found = []
        for seed in range(8):
            search = make(seed=seed, budget=budget)
            run(search, noisy_scorer(seed, spread=0.0))
            found.append(search.recommend())
        unlikely[budget] = [best for best in found if best.candidate != (0, 0) and best.p_better < 0.35]
    assert unlikely[120]
    assert not unlikely[480]


def test_finds_that_all_changes_are_better():
    """Where the original instruction is the odd one out, and all others are alike, it is replaced."""

    def score(candidate, example):
        return float((example * 7) % 10 >= (1 if candidate[0] else 4))

    search = make(num_examples=100, budget=900)
    run(search, score)
    found = search.recommend()
    assert found.candidate[0] > 0
    assert found.p_better > 0.95


def test_says_why():
    """Each job carries its reason for the trial log."""
    reasons = {job.reason for jobs in run(make(), noisy_scorer()) for job in jobs}
    assert {"original", "exploring", "challenging the leader", "confirming the leader"} <= reasons


def test_the_opening_is_one_decision():
    """The original and candidates with every choice are asked for at once: nothing need be known for them."""
    jobs = make().ask()
    assert jobs[0].candidate == (0, 0)
    assert [{job.candidate[v] for job in jobs} for v in range(2)] == [set(range(4)), set(range(6))]


def test_a_decision_grows_with_what_was_spent():
    """So that a run of any size has about as many decisions."""
    sizes = [sum(len(job.examples) for job in jobs) for jobs in run(make(budget=4000), noisy_scorer())]
    assert sizes[1] == 8
    assert max(sizes) >= 0.03 * 2000
    assert len(sizes) < 150


@pytest.mark.parametrize("seed", range(4))
def test_what_is_under_way_is_taken_as_made(seed):
    """Decisions that wait for their scores together hardly ever ask for the same candidate."""
    search, scorer = make(lookahead=8, seed=seed), noisy_scorer(spread=0.4)

    def tell(jobs):
        search.tell(jobs, [[scorer(job.candidate, example) for example in job.examples] for job in jobs])

    waiting = [search.ask() for _ in range(8)]
    for _ in range(20):
        tell(waiting.pop(0))
        waiting.append(search.ask())
    for jobs in waiting:
        tell(jobs)
    assert len({job.candidate for _ in range(8) for job in search.ask()}) >= 7


def test_an_exception_among_many_alike_is_found():
    """One good combination among many that are all alike is found, though their parts say nothing of it."""

    def score(candidate, example):
        rng = np.random.default_rng([example, *candidate])
        return float(rng.random() < (0.85 if candidate == (3, 5) else 0.5))

    found = [
        (run(search := make(seed=seed, budget=2400), score), search.recommend().candidate)[1]
        for seed in range(4)
    ]
    assert found.count((3, 5)) >= 3


@pytest.mark.parametrize("lookahead", [1, 4])
def test_recalled_decisions_lead_to_the_same_next_one(lookahead):
    """A search that takes over recorded decisions goes on as the one that made them."""
    scorer = noisy_scorer()
    first, second = make(lookahead=lookahead), make(lookahead=lookahead)
    waiting = []
    for _ in range(16):
        if len(waiting) == lookahead:
            jobs = waiting.pop(0)
            scores = [[scorer(job.candidate, e) for e in job.examples] for job in jobs]
            first.tell(jobs, scores)
            second.tell(jobs, scores)
        waiting.append(first.ask())
        second.recall(waiting[-1], json.loads(json.dumps(first.state())))
    told = waiting.pop(0)
    for search in (first, second):
        search.tell(told, [[scorer(job.candidate, e) for e in job.examples] for job in told])
    assert first.ask() == second.ask()
    assert first.recommend() == second.recommend()
