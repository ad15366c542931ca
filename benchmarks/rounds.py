"""What a round of learning costs and when it pays, on synthetic tables, at an equal number of calls.

    python benchmarks/rounds.py [--settings light medium] [--shifts 0 0.3 0.6] [--seeds 40]

Three ways to spend the same calls: all on the first choices; on more choices from the start; or on a round
of learning at half of the evaluations, which adds as many and pays for its proposals and for the leader's
run on training examples. Choices that are added are drawn as the first ones are, and better by `shift`
logits (0.6 is one standard deviation of the effects of choices): with 0 nothing is learned. Printed: the
expected score on unseen examples of the candidate that the search recommends, and the paired difference from
the first way, with standard errors over seeds.
"""

from __future__ import annotations

import argparse
import statistics
from dataclasses import replace

from _gaps import mean_gap
from _tables import SETTINGS, Setting, Synthetic
from mipro.optimize._settings import PROBED, new_choices
from mipro.search import Space, create, default_lookahead

TRIES = 1.5
"""Calls for one proposal, the refused ones included."""


class Grown:
    """A table whose last choices are better by a shift."""

    def __init__(self, setting: Setting, seed: int, shift: float) -> None:
        self.first = {"0.instruction": setting.instructions, "0.demos": setting.demos}
        self.new = {name: new_choices(count) for name, count in self.first.items()}
        self.budget = Synthetic(setting, seed).budget
        whole = replace(
            setting,
            instructions=setting.instructions + self.new["0.instruction"],
            demos=setting.demos + self.new["0.demos"],
        )
        self.table = Synthetic(whole, seed)
        for mains, count in zip(self.table._mains, self.first.values(), strict=True):  # noqa: SLF001 - a sister module
            mains[count:] += shift
        self.seed = seed

    def score(self, *, at_start: bool, in_round: bool) -> float:
        """Search and return the truth about what is recommended."""
        sizes = {name: count + self.new[name] * at_start for name, count in self.first.items()}
        space = Space(sizes)
        paid = (at_start or in_round) * TRIES * self.new["0.instruction"] + in_round * PROBED
        search = create(
            "bayes",
            space,
            num_examples=self.table.num_examples,
            budget=(budget := int(self.budget - paid)),
            seed=self.seed,
            lookahead=(lookahead := default_lookahead(budget, space.sizes)),
            order=[int(e) for e in self.table.order],
        )
        self._run(search, space, lookahead, self.budget / 2 if in_round else float("inf"))
        return self.table.truth(search.recommend().candidate)

    def _run(self, search, space, lookahead: int, due: float) -> None:  # noqa: ANN001 - as `create` makes them
        waiting, told = [], 0
        while True:
            while len(waiting) < lookahead and (jobs := search.ask()):
                waiting.append(jobs)
            if waiting:
                jobs = waiting.pop(0)
                search.tell(jobs, [self.table.row(j.candidate)[list(j.examples)].tolist() for j in jobs])
                told += sum(len(job.examples) for job in jobs)
            if told >= due or (not waiting and due < float("inf")):
                due = float("inf")
                for name, count in self.new.items():
                    space.add(name, count)
            elif not waiting:
                return


WAYS = {
    "first choices only": {"at_start": False, "in_round": False},
    "more at the start": {"at_start": True, "in_round": False},
    "a round": {"at_start": False, "in_round": True},
}


def main() -> None:
    """Print a table for each setting."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--settings", nargs="+", default=["light", "medium"], choices=list(SETTINGS))
    parser.add_argument("--shifts", nargs="+", type=float, default=[0.0, 0.3, 0.6])
    parser.add_argument("--seeds", type=int, default=40)
    args = parser.parse_args()
    for name in args.settings:
        print(f"\n{name}, {args.seeds} seeds: score of the recommended, difference from the first way\n")
        print(f"| shift | {' | '.join(WAYS)} |\n|{'---|' * (1 + len(WAYS))}")
        for shift in args.shifts:
            tables = [Grown(SETTINGS[name], seed, shift) for seed in range(args.seeds)]
            found = [[table.score(**way) for way in WAYS.values()] for table in tables]
            cells = [_cell([row[k] for row in found], [row[0] for row in found]) for k in range(len(WAYS))]
            print(f"| {shift:.1f} | {' | '.join(cells)} |", flush=True)


def _cell(scores: list[float], first: list[float]) -> str:
    gaps = [a - b for a, b in zip(scores, first, strict=True)]
    mean = f"{statistics.fmean(scores):.3f}"
    return f"{mean} ({mean_gap(gaps)})" if any(gaps) else mean


if __name__ == "__main__":
    main()
