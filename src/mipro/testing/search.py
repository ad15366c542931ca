"""The checks that every search must pass; run them on a search of your own.

Example:
    class TestMine(SearchContractTests):
        def make(self, space, **settings):
            return MySearch(space, **settings)
"""

from __future__ import annotations

import json
import math
from abc import ABC, abstractmethod
from random import Random
from typing import TYPE_CHECKING, Any

from mipro.errors import UserError
from mipro.search import Job, Recallable, Recommendation, Search, Space

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mipro.search import Scores

    Scorer = Callable[[tuple[int, ...], int], "float | None"]

MAX_DECISIONS = 5000
"""No search on the small tables of these checks should need more."""


def check(holds: bool, message: str) -> None:
    """Raise an `AssertionError` with a message unless the rule holds."""
    if not holds:
        raise AssertionError(message)


def noisy_scorer(seed: int = 0, *, spread: float = 0.2) -> Scorer:
    """Make a scorer of 0/1 scores in which higher choices are better.

    Args:
        seed: Seed of the noise.
        spread: How much better each further choice is.

    Returns:
        A pure function of candidate and example.
    """

    def score(candidate: tuple[int, ...], example: int) -> float:
        level = 0.3 + spread * sum(candidate) / len(candidate)
        draw = Random(f"{seed}/{candidate}/{example}").random()
        return float(draw < level)

    return score


def run(
    search: Search,
    scorer: Scorer,
    *,
    lookahead: int = 1,
    order: Random | None = None,
    before_ask: Callable[[int], object] = lambda _number: None,
) -> list[list[Job]]:
    """Run a search to its end.

    Args:
        search: A search in its initial state.
        scorer: Score of a candidate on an example; None for a missing one.
        lookahead: How many decisions to keep open.
        order: If given, open decisions are told, job by job, in an order drawn from it.
        before_ask: Called with the number of each decision before it is asked for.

    Returns:
        The jobs of each decision.
    """
    decisions: list[list[Job]] = []
    waiting: list[tuple[int, Job]] = []
    for _ in range(MAX_DECISIONS):
        while waiting and min(number for number, _ in waiting) <= len(decisions) - lookahead:
            index = 0 if order is None else order.randrange(len(waiting))
            _, job = waiting.pop(index)
            search.tell([job], [[scorer(job.candidate, example) for example in job.examples]])
        before_ask(len(decisions))
        jobs = search.ask()
        if not jobs:
            break
        waiting += [(len(decisions), job) for job in jobs]
        decisions.append(jobs)
    else:
        raise AssertionError(f"The search must end, but made {MAX_DECISIONS} decisions.")
    for _, job in waiting:
        search.tell([job], [[scorer(job.candidate, example) for example in job.examples]])
    return decisions


def cells_of(decisions: Sequence[Sequence[Job]]) -> list[tuple[tuple[int, ...], int]]:
    """List all cells asked for, in order."""
    return [(job.candidate, example) for jobs in decisions for job in jobs for example in job.examples]


class SearchContractTests(ABC):
    """Contract of `Search` as a pytest class; subclass it and say how a search is made."""

    @abstractmethod
    def make(self, space: Space, *, num_examples: int, budget: int, **settings: Any) -> Search:
        """Make a search in its initial state; settings may hold `seed`, `lookahead` and `order`."""

    def _small(self, **settings: Any) -> Search:
        settings = {"num_examples": 40, "budget": 400, **settings}
        return self.make(Space({"0.instruction": 3, "0.demos": 4}), **settings)

    def test_first_candidate_is_the_original(self) -> None:
        """The program as it came is asked for first."""
        jobs = self._small().ask()
        check(jobs[0].candidate == (0, 0), f"The first candidate must be (0, 0), but got {jobs}.")

    def test_examples_are_met_in_the_order_given(self) -> None:
        """The program as it came meets the first examples of `order` first."""
        order = list(reversed(range(40)))
        asked = self._small(order=order).ask()[0].examples
        check(asked == tuple(order[: len(asked)]), f"`order` is {order}, but {asked} are asked for first.")

    def test_jobs_are_valid(self) -> None:
        """Candidates lie in the space, which stays as it is, examples in range, and no job is empty."""
        space = Space({"0.instruction": 3, "0.demos": 4})
        search = self.make(space, num_examples=40, budget=400)
        for jobs in run(search, noisy_scorer()):
            for job in jobs:
                check(job.candidate in space, f"{job.candidate} must be in {space}.")
                check(len(job.examples) > 0, "A job must hold an example.")
                check(all(0 <= e < 40 for e in job.examples), f"Examples out of range: {job}.")
        check(space.sizes == (3, 4), f"The space is the caller's, but was changed to {space}.")

    def test_no_cell_twice_and_within_budget(self) -> None:
        """No cell is asked twice, and no more than the budget, whatever the budget."""
        for budget in (1, 7, 40, 41, 400, 100_000):
            cells = cells_of(run(self._small(budget=budget), noisy_scorer()))
            check(len(cells) == len(set(cells)), f"A cell was asked twice with budget {budget}.")
            check(len(cells) <= budget, f"{len(cells)} cells exceed the budget {budget}.")

    def test_tiny_spaces_end(self) -> None:
        """A space of one candidate, and a set of one example, end without a crash."""
        for sizes, examples in (((1, 1), 40), ((1, 2), 1), ((2, 2), 3)):
            space = Space({"0.instruction": sizes[0], "0.demos": sizes[1]})
            search = self.make(space, num_examples=examples, budget=1000)
            run(search, noisy_scorer())
            check(search.recommend().candidate in space, "The recommendation must be in the space.")

    def test_recommends_before_anything_is_told(self) -> None:
        """Without a score the original is recommended, with no claim."""
        found = self._small().recommend()
        check(found.candidate == (0, 0), f"Nothing is known, yet {found.candidate} is recommended.")
        check(math.isnan(found.mean), f"Nothing is known, yet the mean is {found.mean}.")

    def test_recommendation_is_sound(self) -> None:
        """The interval holds the mean, the probability is one, and the candidate was met."""
        search = self._small()
        met = {job.candidate for jobs in run(search, noisy_scorer()) for job in jobs}
        found = search.recommend()
        check(found.candidate in met, f"{found.candidate} was never evaluated.")
        check(found.interval[0] <= found.mean <= found.interval[1], f"{found} is outside its interval.")
        check(0.0 <= found.p_better <= 1.0, f"{found.p_better} is no probability.")

    def test_plain_differences_are_seen(self) -> None:
        """A change that is always right is recommended, and the original, without a claim, where that is."""
        search = self._small()
        run(search, lambda candidate, _example: float(candidate[0] > 0))
        found = search.recommend()
        check(found.candidate[0] > 0 and found.p_better >= 0.5, f"{found} misses what is plainly better.")
        search = self._small()
        run(search, lambda candidate, _example: float(candidate == (0, 0)))
        found = search.recommend()
        check(found.candidate == (0, 0), f"The original is plainly better than {found.candidate}.")
        check(found.p_better == 0.0, f"The original is no better than itself, but p_better={found.p_better}.")

    def test_recommend_changes_nothing(self) -> None:
        """Recommending in between leaves all decisions as they are."""
        plain = run(self._small(), noisy_scorer())
        search = self._small()
        decisions: list[list[Job]] = []
        while jobs := search.ask():
            often = len(decisions) % 7 == 0
            if often:
                search.recommend()
            search.tell(jobs, [[noisy_scorer()(j.candidate, e) for e in j.examples] for j in jobs])
            if often:
                check(search.recommend() == search.recommend(), "Two recommendations in a row differ.")
            decisions.append(jobs)
        check(decisions == plain, "`recommend` changed the decisions.")

    def test_same_seed_same_run(self) -> None:
        """Two runs with one seed are the same; seed 0 is a seed."""
        for seed in (0, 5):
            one = run(self._small(seed=seed), noisy_scorer())
            two = run(self._small(seed=seed), noisy_scorer())
            check(one == two, f"Two runs with seed {seed} differ.")

    def test_timing_changes_nothing(self) -> None:
        """With look-ahead, any order of tells gives the same decisions and recommendation."""
        runs: list[tuple[list[list[Job]], Recommendation]] = []
        for shuffle in (None, Random(1), Random(2)):
            search = self._small(lookahead=4)
            decisions = run(search, noisy_scorer(), lookahead=4, order=shuffle)
            runs.append((decisions, search.recommend()))
        check(runs[0] == runs[1] == runs[2], "The order of the tells changed the run.")

    def test_timing_changes_nothing_when_the_space_grows(self) -> None:
        """Nor does a decision that follows the growth of the space see more than another."""
        for grown_at in (1, 5, 9):
            runs = [self._grown(grown_at, shuffle) for shuffle in (None, Random(1), Random(2))]
            check(runs[0] == runs[1] == runs[2], f"The order of the tells changed a run grown at {grown_at}.")

    def _grown(self, grown_at: int, shuffle: Random | None) -> list[list[Job]]:
        space = Space({"0.instruction": 2, "0.demos": 3})
        search = self.make(space, num_examples=30, budget=200, lookahead=8)

        def grow(number: int) -> None:
            if number == grown_at:
                space.add("0.instruction", 2)

        return run(search, noisy_scorer(), lookahead=8, order=shuffle, before_ask=grow)

    def test_asks_ahead_as_far_as_allowed(self) -> None:
        """With a look-ahead of 4 four decisions are made before the first tell, and a fifth is refused."""
        search = self._small(lookahead=4)
        cells = cells_of([search.ask() for _ in range(4)])
        check(len({candidate for candidate, _ in cells}) > 1, "Look-ahead must ask beyond the original.")
        check(len(cells) == len(set(cells)), "A cell was asked twice.")
        try:
            search.ask()
        except UserError:
            return
        raise AssertionError("A decision beyond the look-ahead must be a UserError.")

    def test_tell_refuses_what_does_not_fit(self) -> None:
        """What was not asked for or is told already, a wrong shape, no number: refused, without a trace."""
        search = self._small()
        jobs = search.ask()
        scores: list[list[float | None]] = [[0.5] * len(job.examples) for job in jobs]
        unknown = Job((2, 3), (39,))
        wrong: list[tuple[list[Job], Scores]] = [
            ([unknown], [[0.5]]),
            (jobs, []),
            (jobs, [[*known, 0.5] for known in scores]),
            (jobs, [[math.nan] * len(known) for known in scores]),
            (jobs, [[math.inf] * len(known) for known in scores]),
        ]
        for told, given in wrong:
            self._must_refuse(search, told, given)
        check(math.isnan(search.recommend().mean), "What was refused must not count.")
        before = [list(known) for known in scores]
        search.tell(jobs, scores)
        check(scores == before, "`tell` must leave the scores as they are.")
        self._must_refuse(search, jobs, scores)

    @staticmethod
    def _must_refuse(search: Search, jobs: list[Job], scores: Scores) -> None:
        try:
            search.tell(jobs, scores)
        except UserError:
            return
        raise AssertionError(f"`tell` must refuse {scores} for {jobs} with a UserError.")

    def test_missing_scores_are_unknown(self) -> None:
        """Missing scores end the run as any, count against the budget, and are asked once more at most."""
        missing = noisy_scorer()

        def scorer(candidate: tuple[int, ...], example: int) -> float | None:
            return None if example % 3 == 0 else missing(candidate, example)

        search = self._small()
        cells = cells_of(run(search, scorer))
        counts = {cell: cells.count(cell) for cell in set(cells)}
        check(len(cells) <= 400, f"{len(cells)} cells exceed the budget 400.")
        check(all(c == 1 for (_, e), c in counts.items() if e % 3), "A known cell was asked twice.")
        check(max(counts.values()) <= 2, "A missing cell was asked more than twice.")
        search = self._small()
        run(search, lambda _candidate, example: None if example % 3 == 0 else 1.0)
        mean = search.recommend().mean
        check(mean > 0.9, f"All known scores are 1, but the mean is {mean}: missing ones count as less.")

    def test_all_scores_missing(self) -> None:
        """A run without any score ends and recommends the original."""
        search = self._small()
        run(search, lambda _candidate, _example: None)
        found = search.recommend()
        check(found.candidate == (0, 0), "Nothing is known, yet the program is changed.")
        check(math.isnan(found.mean), f"Nothing is known, yet the mean is {found.mean}.")

    def test_any_scale_of_scores(self) -> None:
        """Negative, huge and constant scores are no trouble; the mean is in their unit."""

        def scaled(low: float, high: float) -> Scorer:
            base = noisy_scorer()
            return lambda candidate, example: low + (high - low) * (base(candidate, example) or 0.0)

        for low, high in ((-1000.0, -500.0), (0.0, 1e9), (0.0, 0.0), (1.0, 1.0)):
            search = self._small()
            run(search, scaled(low, high))
            mean, slack = search.recommend().mean, 0.1 * max(high - low, 1.0)
            check(low - slack <= mean <= high + slack, f"Scores of {low} to {high}, but a mean of {mean}.")

    def test_space_may_grow(self) -> None:
        """Choices added on the way leave the rules intact and candidates in the space."""
        space = Space({"0.instruction": 2, "0.demos": 3})
        search = self.make(space, num_examples=40, budget=600)
        decisions = []
        for number in range(MAX_DECISIONS):
            if number == 5:
                space.add("0.instruction", 2)
            jobs = search.ask()
            if not jobs:
                break
            check(all(job.candidate in space for job in jobs), "A candidate is not in the space.")
            search.tell(jobs, [[noisy_scorer()(j.candidate, e) for e in j.examples] for j in jobs])
            decisions.append(jobs)
        cells = cells_of(decisions)
        check(len(cells) == len(set(cells)), "A cell was asked twice.")
        check(len(cells) <= 600, f"{len(cells)} cells exceed the budget 600.")

    def test_recalled_decisions_leave_the_same_search(self) -> None:
        """A `Recallable` that recalls any number of decisions goes on as if it had made them itself."""
        whole, found = self._recalling([], 0)
        if whole is None:
            return
        for count in range(0, len(whole), 3):
            again, recommended = self._recalling(whole, count)
            check(again == whole, f"After {count} recalled decisions others follow.")
            check(recommended == found, f"After {count} recalled decisions the recommendation differs.")

    def _recalling(
        self, record: list[tuple[list[Job], str]], count: int
    ) -> tuple[list[tuple[list[Job], str]] | None, Recommendation]:
        """Run a search, missing scores and growth included, that recalls its first decisions."""
        space = Space({"0.instruction": 2, "0.demos": 3})
        search = self.make(space, num_examples=30, budget=300, lookahead=3)
        made: list[tuple[list[Job], str]] = []
        if not isinstance(search, Recallable):
            return None, search.recommend()
        waiting: list[list[Job]] = []
        while True:
            if len(made) == 5:
                space.add("0.instruction", 2)
            if len(waiting) == 3:
                self._tell(search, waiting.pop(0))
            if len(made) < count:
                jobs, state = record[len(made)]
                search.recall(jobs, json.loads(state))
            elif not (jobs := search.ask()):
                break
            made.append((jobs, json.dumps(search.state())))
            waiting.append(jobs)
        for jobs in waiting:
            self._tell(search, jobs)
        return made, search.recommend()

    @staticmethod
    def _tell(search: Search, jobs: list[Job]) -> None:
        scorer = noisy_scorer()
        search.tell(jobs, [[scorer(j.candidate, e) if e % 7 else None for e in j.examples] for j in jobs])

    def test_huge_spaces_work(self) -> None:
        """A space of 10^9 candidates is no trouble."""
        space = Space({f"{p}.{kind}": 14 for p in range(4) for kind in ("instruction", "demos")})
        search = self.make(space, num_examples=20, budget=300)
        cells = cells_of(run(search, noisy_scorer()))
        check(0 < len(cells) <= 300, f"{len(cells)} cells were asked with budget 300.")
