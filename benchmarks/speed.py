"""MIPROv2 of DSPy and of mipro on the same work, one after the other, against latency servers.

    python benchmarks/speed.py --quick
    python benchmarks/speed.py [--threads 8 32 100 256] [--stages 1 3] [--sizes light medium]
                               [--racers dspy tpe bayes] [--repeat 3] [--latency 0.2] [--sigma 0.5]
                               [--error-rate 0] [--rate-limit 0] [--lost-rate 0] [--servers 2]
                               [--lookahead 20]

Each run is a fresh process against servers in processes of their own, on loopback. "tpe" is mipro with
the search that DSPy has, so that both make about the same number of calls; "bayes" is mipro's default.
Printed, as the median of the repetitions with their range: seconds, calls, the ideal (the sum of the
latencies of all calls over the threads), seconds over ideal, CPU of the client for a call, peak memory
of the client, most requests at once, seconds of the three stages; then DSPy's seconds over mipro's, as
they are and for the same number of calls. `--capacity` shows what servers and wire can do, `--steady` what an
evaluation costs when nothing else happens: prompts with demos, wire, parsing, metric, threads and ledger,
and what DSPy's `Evaluate` takes for the same.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from _latency import LatencyServers, Plan

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

WORKER = Path(__file__).with_name("_speed_worker.py")
EXAMPLES = {"light": (100, 100), "medium": (100, 300)}
"""Training and validation examples; the latter as many as `auto` uses at most."""
RACERS = {
    "dspy": ("dspy", {}),
    "tpe": ("mipro", {"search": "tpe"}),
    "bayes": ("mipro", {"search": "bayes"}),
}
STAGES = ("demos", "instructions", "search")
CHARS = 200
"""Characters of an example's question."""


def race(
    servers: LatencyServers,
    racer: str,
    *,
    size: str,
    stages: int,
    threads: int,
    chars: int,
    lookahead: int | None,
) -> dict[str, Any]:
    """Run one optimization and return what it and the servers have measured."""
    lib, options = RACERS[racer]
    if racer == "bayes" and lookahead:
        options = {**options, "lookahead": lookahead}
    train, val = EXAMPLES[size]
    servers.read()
    orders = {
        "lib": lib,
        "url": servers.url,
        "options": {"auto": size, **options},
        "threads": threads,
        "stages": stages,
        "train": train,
        "val": val,
        "chars": chars,
    }
    measured = work(orders)
    load = servers.read()
    ideal_s = load.latency_s / threads
    return {
        **measured,
        "calls": load.calls,
        "ideal_s": ideal_s,
        "ratio": measured["wall_s"] / ideal_s,
        "cpu_ms": 1000 * measured["cpu_s"] / load.calls,
        "peak": load.peak,
    }


def work(orders: dict[str, Any]) -> dict[str, Any]:
    """Have a fresh process carry out the orders."""
    done = subprocess.run(
        [sys.executable, str(WORKER), json.dumps(orders)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(done.stderr[-3000:])
    return json.loads(done.stdout)


def spread(values: Sequence[float], form: str = ".1f") -> str:
    """Return the median and, of several values, their range."""
    middle = format(statistics.median(values), form)
    return middle if len(values) == 1 else f"{middle} ({min(values):{form}}-{max(values):{form}})"


COLUMNS: tuple[tuple[str, Callable[[dict[str, Any]], float], str], ...] = (
    ("seconds", lambda run: run["wall_s"], ".1f"),
    ("calls", lambda run: run["calls"], ".0f"),
    ("ideal s", lambda run: run["ideal_s"], ".1f"),
    ("x ideal", lambda run: run["ratio"], ".2f"),
    ("CPU ms/call", lambda run: run["cpu_ms"], ".2f"),
    ("MB", lambda run: run["memory_mb"], ".0f"),
    ("peak", lambda run: run["peak"], ".0f"),
    *((stage, lambda run, stage=stage: run["seconds"].get(stage, 0.0), ".1f") for stage in STAGES),
)
WIDTHS = (19, 16, 16, 17, 19, 14, 14, 15, 15, 17)


def compare(servers: LatencyServers, racers: Sequence[str], repeat: int, chars: int, **where: Any) -> None:
    """Race all on one setting, taking turns, and print the medians."""
    runs: dict[str, list[dict[str, Any]]] = {racer: [] for racer in racers}
    for _ in range(repeat):
        for racer in racers:
            runs[racer].append(race(servers, racer, chars=chars, **where))
    for racer, measured in runs.items():
        cells = [spread([value(run) for run in measured], form) for _, value, form in COLUMNS]
        name = f"{where['size']:7} {where['stages']}-stage {where['threads']:4} {racer:6}"
        print(name + "".join(f"{cell:>{width}}" for cell, width in zip(cells, WIDTHS, strict=True)))
    for racer in racers:
        if racer == "dspy" or "dspy" not in racers:
            continue
        pairs = list(zip(runs["dspy"], runs[racer], strict=True))
        plain = [theirs["wall_s"] / ours["wall_s"] for theirs, ours in pairs]
        each = [
            (theirs["wall_s"] / theirs["calls"]) / (ours["wall_s"] / ours["calls"]) for theirs, ours in pairs
        ]
        cpu = [theirs["cpu_ms"] / ours["cpu_ms"] for theirs, ours in pairs]
        print(
            f"    dspy / {racer}: seconds {spread(plain)}, seconds at an equal number of calls "
            f"{spread(each)}, CPU of a call {spread(cpu)}"
        )
    sys.stdout.flush()


def capacity(servers: LatencyServers, threads: int, calls: int) -> None:
    """Print how many calls a second servers and wire take together, and what they cost."""
    from mipro.lm import LM  # noqa: PLC0415 - only here, the parent needs no library

    lm = LM("openai/latency", api_base=servers.url, cache=False)
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda i: lm(f"warm {i}"), range(threads)))
        servers.read()
        cpu, began = time.process_time(), time.perf_counter()
        list(pool.map(lambda i: lm(f"What is {i} plus {i}?"), range(calls)))
        wall = time.perf_counter() - began
        cpu = time.process_time() - cpu
    load = servers.read()
    print(
        f"{calls / wall:.0f} calls/s with {threads} threads, the ideal "
        f"{threads * calls / load.latency_s:.0f}; "
        f"CPU of the client {1000 * cpu / calls:.2f} ms a call; most at once {load.peak}"
    )


def steady(servers: LatencyServers, threads: int, calls: int) -> None:
    """Print how many evaluations a second one process makes, and their CPU by thread."""
    import mipro  # noqa: PLC0415 - only here, the parent needs no library
    from _speed_worker import examples, right, with_demos  # noqa: PLC0415 - as above
    from mipro.runs import Budget, Evaluator, Run  # noqa: PLC0415 - as above

    data = examples(mipro, 500, 1, CHARS)
    lm = mipro.LM("openai/latency", api_base=servers.url, api_key="none")
    with tempfile.TemporaryDirectory() as folder, mipro.context(lm=lm):
        run = Run(f"{folder}/run", {"benchmark": "speed"}, budget=Budget(), seed=0)
        evaluator = Evaluator(run, data, split="val", metric=right, num_threads=threads, max_errors=1)
        with evaluator, run.stage("search"):
            evaluator.start(with_demos(mipro, -1, data), range(threads), stage="search").records()
            servers.read()
            before, began, cpu = _cpu_by_thread(), time.perf_counter(), time.process_time()
            begun = [
                evaluator.start(with_demos(mipro, number, data), range(500), stage="search")
                for number in range(calls // 500)
            ]
            for measurement in begun:
                measurement.records()
            wall, cpu = time.perf_counter() - began, time.process_time() - cpu
            after = _cpu_by_thread()
        run.close()
    load = servers.read()
    shares = {name: 1000 * (after[name] - before[name]) / load.calls for name in after}
    ours_ms = 1000 * cpu / load.calls
    told = ", ".join(f"{name} {share:.2f}" for name, share in sorted(shares.items()) if share > 0.005)
    print(
        f"{load.calls / wall:.0f} evaluations/s with {threads} threads, the ideal "
        f"{threads * load.calls / load.latency_s:.0f}; CPU {ours_ms:.2f} ms each ({told})"
    )
    orders = {"lib": "dspy", "url": servers.url, "threads": threads, "chars": CHARS, "evaluations": calls}
    theirs = work(orders)
    theirs_ms = 1000 * theirs["cpu_s"] / calls
    print(
        f"DSPy: {calls / theirs['wall_s']:.0f} evaluations/s with {threads} threads; "
        f"CPU {theirs_ms:.2f} ms each, {theirs_ms / ours_ms:.1f} times as much"
    )


def _cpu_by_thread() -> Counter[str]:
    """Return the CPU seconds of this process' threads by the first part of their names; Linux only."""
    seconds: Counter[str] = Counter()
    for thread in threading.enumerate():
        stat = Path(f"/proc/self/task/{thread.native_id}/stat")
        if stat.exists():
            fields = stat.read_text(encoding="ascii").rsplit(")", 1)[1].split()
            seconds[thread.name.split("_")[0]] += (int(fields[11]) + int(fields[12])) / os.sysconf(
                "SC_CLK_TCK"
            )
    return seconds


def main() -> None:
    """Race as asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="32 threads, one stage, light, once")
    parser.add_argument("--threads", type=int, nargs="+", default=[8, 32, 100, 256])
    parser.add_argument("--stages", type=int, nargs="+", choices=(1, 3), default=[1, 3])
    parser.add_argument("--sizes", nargs="+", choices=EXAMPLES, default=["light", "medium"])
    parser.add_argument("--racers", nargs="+", choices=RACERS, default=list(RACERS))
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--latency", type=float, default=0.2, help="median, seconds")
    parser.add_argument("--sigma", type=float, default=0.5, help="of the log-normal latency")
    parser.add_argument("--error-rate", type=float, default=0.0)
    parser.add_argument("--rate-limit", type=float, default=0.0, help="requests a second; 0 for none")
    parser.add_argument("--lost-rate", type=float, default=0.0, help="part of the requests never answered")
    parser.add_argument("--servers", type=int, default=2, help="server processes")
    parser.add_argument("--chars", type=int, default=CHARS, help="characters of an example's question")
    parser.add_argument("--lookahead", type=int, help='decisions of "bayes" under way; by default its own')
    parser.add_argument("--capacity", action="store_true")
    parser.add_argument("--steady", action="store_true")
    options = parser.parse_args()
    if options.quick:
        options.threads, options.stages, options.sizes, options.repeat = [32], [1], ["light"], 1
    plan = Plan(options.latency, options.sigma, options.error_rate, options.rate_limit, options.lost_rate)
    with LatencyServers(plan, processes=options.servers) as servers:
        if options.capacity or options.steady:
            for threads in options.threads:
                if options.capacity:
                    capacity(servers, threads, 40 * threads)
                else:
                    steady(servers, threads, 4000)
            return
        titles = [title for title, _, _ in COLUMNS]
        print(f"{'':27}" + "".join(f"{t:>{w}}" for t, w in zip(titles, WIDTHS, strict=True)))
        for size in options.sizes:
            for stages in options.stages:
                for threads in options.threads:
                    compare(
                        servers,
                        options.racers,
                        options.repeat,
                        options.chars,
                        size=size,
                        stages=stages,
                        threads=threads,
                        lookahead=options.lookahead,
                    )


if __name__ == "__main__":
    main()
