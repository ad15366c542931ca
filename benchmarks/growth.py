"""How time and memory of a run grow with examples, candidates, predictors, threads and evaluations.

    python benchmarks/growth.py [--of examples candidates predictors threads evaluations]
                                [--calls 1500] [--plot docs/images/growth.svg]

Every point is a `MIPROv2.compile` in a fresh process against latency servers that answer within a few
milliseconds, so that what is seen is the work of the library. Except for "evaluations" a budget ends each
run after the same number of calls: what grows is what the library does beside them. "evaluations" makes
runs of up to 100,000 evaluations of prompts of 1 KB and shows the memory at each quarter of the time.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from _growth_plot import plot
from _latency import LatencyServers, Plan
from speed import work

LATENCY_S = 0.005
SIZES = {
    "examples": (100, 1000, 10_000, 100_000),
    "candidates": (6, 12, 24, 48, 96),
    "predictors": (1, 2, 4, 8, 16),
    "threads": (1, 8, 32, 100, 256),
    "evaluations": (1000, 10_000, 100_000),
}


def orders_for(dimension: str, size: int, calls: int) -> dict[str, Any]:
    """Return what the worker has to do for one point."""
    orders: dict[str, Any] = {
        "lib": "mipro",
        "options": {"search": "bayes", "num_candidates": 6},
        "compile": {"num_trials": 20},
        "threads": 32,
        "stages": 1,
        "train": 100,
        "val": 300,
        "chars": 200,
        "lm_calls": calls,
    }
    if dimension == "examples":
        orders |= {"train": size, "val": size}
    elif dimension == "candidates":
        orders["options"]["num_candidates"] = size
    elif dimension == "predictors":
        orders["stages"] = size
    elif dimension == "threads":
        orders["threads"] = size
    else:
        # No cell twice and none on a minibatch: so many trials of all examples each.
        val = min(1000, size // 10)
        orders["options"] = {"search": "random", "num_candidates": 24}
        orders["compile"] = {"num_trials": size // val, "minibatch": False}
        orders |= {"val": val, "threads": 64, "chars": 500}
        del orders["lm_calls"]
    return orders


def measure(servers: LatencyServers, dimension: str, size: int, calls: int) -> dict[str, Any]:
    """Run one point."""
    servers.read()
    found = work({**orders_for(dimension, size, calls), "url": servers.url})
    load = servers.read()
    return {"dimension": dimension, "size": size, "calls": load.calls, **found}


def main() -> None:
    """Measure the dimensions asked for, print a table, draw a picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--of", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--calls", type=int, default=1500)
    parser.add_argument("--most", type=int, default=100_000, help="largest size to measure")
    parser.add_argument("--out", type=Path, help="add each point as a JSON line")
    parser.add_argument("--load", type=Path, help="draw points written before, measure nothing")
    parser.add_argument("--plot", type=Path, help="write a picture (SVG)")
    options = parser.parse_args()
    points = []
    if options.load:
        points = [json.loads(line) for line in options.load.read_text(encoding="utf-8").splitlines()]
    else:
        titles = f"{'':12}{'size':>8}{'calls':>8}{'seconds':>9}{'CPU s':>8}{'CPU ms/call':>13}{'MB':>6}"
        print(f"{titles}  MB by quarter")
        with LatencyServers(Plan(LATENCY_S), processes=2) as servers:
            for dimension in options.of:
                for size in SIZES[dimension]:
                    if size > options.most:
                        continue
                    point = measure(servers, dimension, size, options.calls)
                    points.append(point)
                    show(point)
                    if options.out:
                        with options.out.open("a", encoding="utf-8") as lines:
                            lines.write(json.dumps(point) + "\n")
    if options.plot:
        options.plot.write_text(plot(points), encoding="utf-8")


def show(point: dict[str, Any]) -> None:
    """Print one point."""
    quarters = " ".join(f"{mb:.0f}" for mb in point["quarters_mb"])
    print(
        f"{point['dimension']:12}{point['size']:8}{point['calls']:8}{point['wall_s']:9.1f}{point['cpu_s']:8.1f}"
        f"{1000 * point['cpu_s'] / point['calls']:13.2f}{point['memory_mb']:6.0f}  {quarters}",
        flush=True,
    )


if __name__ == "__main__":
    main()
