"""What MIPROv2 of DSPy and of mipro make of the same program on the same real model, and for how many calls.

    python benchmarks/quality.py [--tasks intent_recognition ...] [--seeds 1] [--out quality.jsonl]

Both work on BIG-bench examples with a local model behind llama.cpp's OpenAI-compatible server, one after the
other, each in a process of its own, with its default settings but for the temperature of the proposals (such
small models lose the thread at 1.0); mipro once more with a budget of half the calls that DSPy made. DSPy's
other optimizers can be asked for with `--runs`: their settings aim at as many calls as its MIPROv2 made, and
GEPA is told the right answer wherever one was wrong. Printed for each: the score on test examples that no
stage saw, before and after, calls to the model (that of the task writes the proposals as well) and seconds;
in the end differences and ratios. What is in the file already is not run again. The weights must have been
fetched (`make demo`); the three that run by default take half an hour on two cores.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import xllamacpp

from _gaps import mean_gap
from _quality_worker import TASKS
from mipro.fetch import model_path

RUNS = ("dspy", "mipro", "mipro-half")
PEERS = ("dspy-random-search", "dspy-gepa", "dspy-simba")
BUDGETS = {"mipro-half": 0.5, **dict.fromkeys(PEERS, 1.0)}
"""As a share of the calls that DSPy's MIPROv2 made, which runs first for that; no budget for others."""
WORKER = Path(__file__).with_name("_quality_worker.py")


def serve(model: str, threads: int, parallel: int) -> xllamacpp.Server:
    """Return a server of a local model, which answers as long as it is held."""
    params = xllamacpp.CommonParams()
    params.model.path = str(model_path(model))
    params.n_parallel = parallel
    params.kv_unified = True
    params.n_ctx = 4096 * parallel
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
    params.warmup = False
    params.verbosity = 0
    return xllamacpp.Server(params)


def measure(orders: dict[str, Any]) -> dict[str, Any]:
    """Have one library optimize in a process of its own."""
    done = subprocess.run(
        [sys.executable, str(WORKER), json.dumps(orders)], stdout=subprocess.PIPE, text=True, check=True
    )
    return dict(json.loads(done.stdout.splitlines()[-1]))


def show(rows: list[dict[str, Any]]) -> None:
    """Print each run, then how the two compare over all pairs."""
    print("| task | seed | run | before | after | calls | seconds | demos |\n|" + "---|" * 8)
    for row in rows:
        print(
            f"| {row['task']} | {row['seed']} | {row['run']} | {row['before']:.2f} | {row['after']:.2f} "
            f"| {row['calls']} | {row['seconds']:.0f} | {row['demos']} |"
        )
    found = {(row["task"], row["seed"], row["run"]): row for row in rows}
    for run in dict.fromkeys(row["run"] for row in rows if row["run"] != "dspy"):
        pairs = [
            (row, found.get((task, seed, "dspy"))) for (task, seed, name), row in found.items() if name == run
        ]
        compare(run, [(ours, theirs) for ours, theirs in pairs if theirs is not None])


def compare(run: str, pairs: list[tuple[dict[str, Any], dict[str, Any]]]) -> None:
    """Print the mean difference and ratios of a run's rows and of DSPy's."""
    if not pairs:
        return
    gaps = [ours["after"] - theirs["after"] for ours, theirs in pairs]
    calls, seconds = (
        statistics.fmean(ours[name] / theirs[name] for ours, theirs in pairs) for name in ("calls", "seconds")
    )
    print(
        f"\n{run} beside DSPy's MIPROv2, {len(pairs)} times: score {mean_gap(gaps)}, "
        f"{calls:.2f} times the calls, {seconds:.2f} times the seconds"
    )


def main() -> None:
    """Run what is missing, then show."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="qwen2.5-coder-0.5b-instruct")
    parser.add_argument("--tasks", nargs="+", default=["intent_recognition"], choices=list(TASKS))
    parser.add_argument("--runs", nargs="*", default=RUNS, choices=(*RUNS, *PEERS), help="besides dspy")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=1, help="how many, each with a split of its own")
    parser.add_argument("--auto", default="light", choices=["light", "medium", "heavy"])
    parser.add_argument("--train", type=int, default=60)
    parser.add_argument("--val", type=int, default=100)
    parser.add_argument("--test", type=int, default=120)
    parser.add_argument("--threads", type=int, default=2, help="threads of the model")
    parser.add_argument("--parallel", type=int, default=4, help="calls in flight")
    parser.add_argument("--max-tokens", type=int, default=300)
    parser.add_argument("--temperature", type=float, default=0.7, help="of the proposals")
    parser.add_argument(
        "--labeled-demos", type=int, default=4, help="most in a prompt, MIPROv2 only; DSPy's is 4"
    )
    parser.add_argument("--out", type=Path, default=Path("quality.jsonl"))
    args = parser.parse_args()
    rows = [json.loads(line) for line in args.out.read_text().splitlines()] if args.out.exists() else []
    seeds = range(args.first_seed, args.first_seed + args.seeds)
    server = serve(args.model, args.threads, args.parallel)
    runs = dict.fromkeys(("dspy", *args.runs))
    for task, seed, run in itertools.product(args.tasks, seeds, runs):
        done = {row["run"]: row for row in rows if (row["task"], row["seed"]) == (task, seed)}
        if run in done:
            continue
        orders = {
            "run": run,
            "lib": run.partition("-")[0],
            "budget": int(BUDGETS[run] * done["dspy"]["calls"]) if run in BUDGETS else None,
            "url": f"{server.listening_address}/v1",
            "task": task,
            "seed": seed,
            "sizes": {"train": args.train, "val": args.val, "test": args.test},
            "auto": args.auto,
            "threads": args.parallel,
            "temperature": args.temperature,
            "max_tokens": args.max_tokens,
            "labeled_demos": args.labeled_demos,
        }
        rows.append(measure(orders))
        with args.out.open("a") as file:
            file.write(json.dumps(rows[-1]) + "\n")
    show(rows)


if __name__ == "__main__":
    main()
