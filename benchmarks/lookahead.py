"""How fast the third stage can be at all, with look-ahead and no work but the model's.

    python benchmarks/lookahead.py [--lookahead 8 12 16] [--threads 32 100] [--latency 0.2] [--sigma 0.5]

Decision t of the search waits for all results of decisions up to t - L, so that a run is the same whatever
the timing; what it asks for is then evaluated by the next free threads. Simulated, without any processor
time, with the sizes of decisions of `mipro.search` and the evaluations of `auto`: seconds of the third
stage, as the mean of the repetitions, over the ideal (the latencies over the threads). With a hedge a call
that is not answered by then is made once more, and the first answer counts; printed with the calls it adds.
"""

from __future__ import annotations

import argparse
import heapq
import math
import statistics
from random import Random

from mipro.search import default_budget
from mipro.search._bayes import IN_FLIGHT, PACE
from mipro.search._create import BLOCK, MOST_AHEAD

SIZES = {"light": (default_budget(100, 10), 6), "medium": (default_budget(300, 18), 12)}
"""Of the runs in docs/speed.md: evaluations, and choices of the variable with most."""


def third_stage(
    total: int,
    choices: int,
    *,
    lookahead: int,
    threads: int,
    latency_s: float,
    sigma: float,
    hedge_s: float,
    rng: Random,
) -> tuple[float, int]:
    """Return the seconds until all is evaluated, and the calls that hedging has added."""
    added = 0

    def draw() -> float:
        return latency_s * math.exp(sigma * rng.gauss(0.0, 1.0))

    free = [0.0] * threads
    ends: list[float] = []
    now, asked = 0.0, 0
    while asked < total:
        pace = min(PACE, IN_FLIGHT / lookahead)
        # The first decision is the original, and every choice of the variable with most.
        size = max(BLOCK, int(pace * asked)) if ends else BLOCK * (1 + choices)
        if len(ends) >= lookahead:
            now = max(now, ends[-lookahead])
        end = ends[-1] if ends else 0.0
        for _ in range(min(size, total - asked)):
            took = draw()
            if took > hedge_s:
                added += 1
                took = min(took, hedge_s + draw())
            done = max(now, heapq.heappop(free)) + took
            heapq.heappush(free, done)
            end = max(end, done)
        ends.append(end)
        asked += min(size, total - asked)
    return ends[-1], added


def main() -> None:
    """Simulate and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lookahead", type=int, nargs="+", default=[8, 12, MOST_AHEAD])
    parser.add_argument("--threads", type=int, nargs="+", default=[32, 100])
    parser.add_argument("--hedge", type=float, nargs="+", default=[math.inf, 0.4], help="seconds")
    parser.add_argument("--latency", type=float, default=0.2, help="median, seconds")
    parser.add_argument("--sigma", type=float, default=0.5, help="of the log-normal latency")
    parser.add_argument("--repeat", type=int, default=200)
    options = parser.parse_args()
    for size, (total, choices) in SIZES.items():
        for threads in options.threads:
            ideal = total * options.latency * math.exp(options.sigma**2 / 2) / threads
            for lookahead in options.lookahead:
                for hedge_s in options.hedge:
                    found = [
                        third_stage(
                            total,
                            choices,
                            lookahead=lookahead,
                            threads=threads,
                            latency_s=options.latency,
                            sigma=options.sigma,
                            hedge_s=hedge_s,
                            rng=Random(seed),
                        )
                        for seed in range(options.repeat)
                    ]
                    seconds = statistics.fmean(s for s, _ in found)
                    added = statistics.fmean(n for _, n in found) / total
                    print(
                        f"{size:6} {threads:4} threads, look-ahead {lookahead:2}, hedge at {hedge_s:g} s: "
                        f"{seconds:5.2f} s, {seconds / ideal:.2f} x ideal, {added:.1%} more calls"
                    )


if __name__ == "__main__":
    main()
