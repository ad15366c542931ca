"""Kill a run at random instants and start it again: is the program the same, what is paid twice?

    python benchmarks/kill.py [--kills 50] [--threads 1 32] [--search bayes tpe] [--rounds 0 1]

A run is killed (SIGKILL) up to five times and then left to end. Kills fall by turns on a stage drawn
at random, within it on any of its requests, and on an instant drawn over the whole time of a start:
loading, replay and search. The server answers after a random time, so in any order. Printed: how many
endings were byte-identical to the uninterrupted run's; kills by stage; and calls paid twice, as the
server counted them, against the calls in flight at the kills, as the killed process itself had noted
them in a mapped file (sent, and no answer in the caller's hands yet).
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mipro
from mipro.errors import StateError
from mipro.runs import STAGE_BEGAN
from mipro.testing.kills import Tally
from mipro.testing.server import OpenAIServer
from mipro.testing.sums import answer

if TYPE_CHECKING:
    from collections.abc import Callable

SCRIPT = Path(__file__).parent.parent / "tests" / "runs" / "scripts" / "optimize_sums.py"
LATENCY_S, LATENCY_SIGMA = 0.02, 1.0
"""Median and spread of the time to answer: the slowest of 200 takes 15 times as long as the median."""
POLL_S = 0.001
MAX_KILLS_OF_A_RUN = 5
STAGES = ("demos", "instructions", "search")


class Bill:
    """Answers, and counts how often each request was paid."""

    def __init__(self) -> None:
        self.paid: Counter[str] = Counter()

    def answer(self, request: dict[str, Any]) -> Any:
        """Answer one request."""
        self.paid[json.dumps(request, sort_keys=True)] += 1
        return answer(request)


class Trial:
    """One run in a folder of its own, killed again and again; `how`: threads, search, rounds of learning."""

    def __init__(self, url: str, folder: Path, how: tuple[int, str, int]) -> None:
        self.folder = folder
        self.output = folder / "program.json"
        self.tally = folder / "tally"
        self.command = [sys.executable, str(SCRIPT), url, str(folder / "run"), str(self.output)]
        self.command += [*map(str, how), str(self.tally)]
        self.in_flight = 0

    def start(self, is_time: Callable[[float], bool] = lambda _: False) -> bool:
        """Start the script and kill it when it is time; tell whether it ended before."""
        self.tally.unlink(missing_ok=True)
        began_s = time.monotonic()
        with subprocess.Popen(self.command, stderr=subprocess.PIPE) as process:
            while process.poll() is None:
                if is_time(time.monotonic() - began_s):
                    process.send_signal(signal.SIGKILL)
                    break
                time.sleep(POLL_S)
            _, errors = process.communicate()
        if process.returncode == 0:
            return True
        if process.returncode != -signal.SIGKILL:
            raise RuntimeError(errors.decode(errors="replace"))
        tally = Tally(self.tally)
        self.in_flight += tally.in_flight
        tally.close()
        return False

    def stage(self) -> str:
        """Return the stage that the run was in."""
        try:
            with mipro.runs.open(str(self.folder / "run")) as run:
                began = [
                    json.loads(event.data)["stage"] for event in run.events() if event.kind == STAGE_BEGAN
                ]
        except StateError:
            return "start"
        return began[-1] if began else "start"


def measure(how: tuple[int, str, int], kills: int, rng: random.Random) -> None:
    """Print the figures for one number of threads, search and number of rounds."""
    bill = Bill()
    server = OpenAIServer(bill.answer, latency_s=LATENCY_S, latency_sigma=LATENCY_SIGMA)
    name = "{1}, {0} threads, {2} rounds".format(*how)
    with tempfile.TemporaryDirectory() as place, server:
        whole = Trial(server.url, _folder(place, "whole"), how)
        began_s = time.monotonic()
        whole.start()
        seconds = time.monotonic() - began_s
        expected, requests = whole.output.read_bytes(), dict(bill.paid)
        stages = _stages(whole.folder / "run")
        print(f"{name}: uninterrupted, {stages} requests in {seconds:.1f} s", flush=True)
        done = runs = identical = foreign = twice = in_flight = exceeded = 0
        by_stage: Counter[str] = Counter()
        while done < kills:
            runs += 1
            bill.paid.clear()
            trial = Trial(server.url, _folder(place, f"run{runs}"), how)
            for instant in _instants(rng, min(rng.randint(1, MAX_KILLS_OF_A_RUN), kills - done), stages):
                late = rng.uniform(0.0, seconds) if rng.random() < 0.4 else None
                if trial.start(_condition(bill, late, instant, rng.uniform(0.0, 2 * LATENCY_S))):
                    break
                done += 1
                by_stage[trial.stage()] += 1
            trial.output.exists() or trial.start()
            identical += trial.output.read_bytes() == expected
            foreign += len(bill.paid.keys() ^ requests.keys())
            paid_twice = sum(bill.paid.values()) - len(bill.paid)
            twice += paid_twice
            in_flight += trial.in_flight
            exceeded += paid_twice > trial.in_flight
        print(
            f"{name}: {done} kills {dict(by_stage)} in {runs} runs; {identical} of {runs} endings "
            f"byte-identical; {foreign} calls that the uninterrupted run did not make, or did not miss; "
            f"{twice} calls paid twice, {in_flight} in flight at the kills; more twice than in flight "
            f"in {exceeded} runs; {time.monotonic() - began_s:.0f} s",
            flush=True,
        )


def _instants(rng: random.Random, count: int, stages: dict[str, int]) -> list[int]:
    """Draw counts of distinct requests, ascending: a stage, then any of its requests."""
    first = dict(zip(stages, [0, *_running(stages.values())], strict=False))
    drawn = [rng.choice(list(stages)) for _ in range(count)]
    return sorted(first[stage] + rng.randint(1, stages[stage]) for stage in drawn)


def _running(counts: Any) -> list[int]:
    total, sums = 0, []
    for count in counts:
        total += count
        sums.append(total)
    return sums


def _condition(bill: Bill, late_s: float | None, requests: int, delay_s: float) -> Callable[[float], bool]:
    """Return when to kill: after so many seconds, or a moment after so many distinct requests."""
    reached: list[float] = []

    def is_time(elapsed_s: float) -> bool:
        if late_s is not None:
            return elapsed_s >= late_s
        if not reached and len(bill.paid) >= requests:
            reached.append(elapsed_s)
        return bool(reached) and elapsed_s >= reached[0] + delay_s

    return is_time


def _stages(run_dir: Path) -> dict[str, int]:
    with mipro.runs.open(str(run_dir)) as run:
        calls = {spent.stage: spent.calls for spent in run.spent()}
    # Rounds of learning are held while the search runs.
    return {**{stage: calls[stage] for stage in STAGES}, "search": calls["search"] + calls.get("rounds", 0)}


def _folder(place: str, name: str) -> Path:
    folder = Path(place) / name
    folder.mkdir()
    return folder


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 32])
    parser.add_argument("--search", nargs="+", default=["bayes", "tpe"])
    parser.add_argument("--rounds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    for search, rounds, threads in itertools.product(arguments.search, arguments.rounds, arguments.threads):
        measure((threads, search, rounds), arguments.kills, random.Random(arguments.seed))


if __name__ == "__main__":
    main()
