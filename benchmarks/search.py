"""Race the searches on tables of scores, with no language model.

    python benchmarks/search.py --quick            # under three minutes
    python benchmarks/search.py --seeds 100        # the figures of docs/search.md
    python benchmarks/search.py --settings medium heavy --racers bayes dspy --seeds 20

Synthetic tables have a known truth; recorded ones (`benchmarks/tables/*.npz`) are split in halves, one to
search on and one as the truth; "table" is there what the best mean of the whole first half would gain.
Printed is the gain over the original program on unseen examples as a share of the best possible gain, for
shares of DSPy's evaluation budget.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from _racers import YARDSTICK, Outcome, Settings, race
from _report import print_report
from _scale import draw_run, print_scale
from _tables import SETTINGS, load, recorded_names

RACERS = ("bayes", "dspy", "tpe", "random", "halving")
QUICK = ("light", "medium", "medium-plateau", "medium-flat", "medium-2")


def run_one(task: tuple[str, int, tuple[str, ...], Settings]) -> list[Outcome]:
    """Race all racers on one table."""
    name, seed, racers, bayes = task
    outcomes = []
    if name not in SETTINGS:
        racers = (*racers, YARDSTICK)
    for racer in racers:
        outcomes += race(name, racer, seed, load(name, seed), bayes)
    return outcomes


def main() -> None:
    """Run the race and print its tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few settings and seeds")
    parser.add_argument(
        "--settings", nargs="+", choices=[*SETTINGS, *recorded_names()], help="all by default", metavar="NAME"
    )
    parser.add_argument("--racers", nargs="+", default=list(RACERS), choices=RACERS)
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--out", type=Path, help="write every outcome as a JSON line")
    parser.add_argument("--load", type=Path, nargs="+", help="report on outcomes written before")
    parser.add_argument("--lookahead", type=int, help='decisions of "bayes" under way; by default its own')
    parser.add_argument("--patience", type=float, default=1.0, help='above 1 "bayes" stops later')
    parser.add_argument("--plot", type=Path, help="write a picture (SVG)")
    parser.add_argument("--scale", action="store_true", help="print time per decision and memory only")
    parser.add_argument("--run-plot", type=Path, help="draw one run (SVG) only")
    arguments = parser.parse_args()
    if arguments.scale or arguments.run_plot:
        if arguments.run_plot:
            draw_run(arguments.run_plot)
        if arguments.scale:
            print_scale()
        return
    names = arguments.settings or [*SETTINGS, *recorded_names()]
    seeds = arguments.seeds
    if arguments.quick:
        names, seeds = arguments.settings or list(QUICK), min(seeds, 12)
    bayes = Settings(arguments.lookahead, arguments.patience)
    tasks = [
        (name, seed, tuple(arguments.racers), bayes)
        for seed in range(arguments.first_seed, arguments.first_seed + seeds)
        for name in names
    ]
    if arguments.load:
        lines = [line for path in arguments.load for line in path.read_text().splitlines()]
        outcomes = [Outcome(**json.loads(line)) for line in lines]
        found = dict.fromkeys(o.setting for o in outcomes)
        names = arguments.settings or list(found)
        print_report(outcomes, names, arguments.racers, plot=arguments.plot)
        return
    started = time.perf_counter()
    with ProcessPoolExecutor(arguments.processes) as pool:
        outcomes = [outcome for part in pool.map(run_one, tasks) for outcome in part]
    if arguments.out:
        arguments.out.write_text("".join(json.dumps(asdict(o)) + "\n" for o in outcomes))
    print_report(outcomes, names, arguments.racers, plot=arguments.plot)
    print(f"\n{len(tasks)} tables in {time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
