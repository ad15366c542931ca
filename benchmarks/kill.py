"""Kill a run at random instants and start it again: is the program the same, what is paid twice?

    python benchmarks/kill.py [--kills 50] [--threads 1 32] [--search bayes]

A run is killed (SIGKILL) at random counts of requests and at random times, over all stages, by turns.
Printed: how many endings were byte-identical to the uninterrupted run's, and how many calls were
paid twice against the calls in flight at the kills, both as the server counted them.
"""

from __future__ import annotations

import argparse
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import deque
from pathlib import Path

from mipro.testing.server import OpenAIServer
from mipro.testing.sums import answer

SCRIPT = Path(__file__).parent.parent / "tests" / "runs" / "scripts" / "optimize_sums.py"
LATENCY_S = 0.01
POLL_S = 0.002
LOOKS_BACK = 5


class Trial:
    """One run in a folder of its own, killed again and again."""

    def __init__(self, server: OpenAIServer, folder: Path, threads: int, search: str) -> None:
        self.server = server
        self.output = folder / "program.json"
        self.command = [sys.executable, str(SCRIPT), server.url, str(folder / "run"), str(self.output)]
        self.command += [str(threads), search]
        self.in_flight = 0

    def start(self, *, after_requests: int | None = None, after_s: float | None = None) -> bool:
        """Start the script and kill it after so many requests or seconds; tell whether it ended first."""
        began_s, before = time.monotonic(), self.server.count
        with subprocess.Popen(self.command, stderr=subprocess.PIPE) as process:
            looks = deque([self.server.answered], maxlen=LOOKS_BACK)
            while process.poll() is None:
                late = after_s is not None and time.monotonic() - began_s >= after_s
                if late or (after_requests is not None and self.server.count - before >= after_requests):
                    process.send_signal(signal.SIGKILL)
                    break
                looks.append(self.server.answered)
                time.sleep(POLL_S)
            _, errors = process.communicate()
        if process.returncode == 0:
            return True
        if process.returncode != -signal.SIGKILL:
            raise RuntimeError(errors.decode(errors="replace"))
        # What has no answer yet, and what was answered within the last poll or so and not yet kept.
        # From the client's side a call is in flight until its answer is in the ledger, which takes
        # some milliseconds on a busy machine: so those without an answer shortly before the kill.
        self.in_flight += self.server.count - looks[0]
        time.sleep(2 * LATENCY_S)
        return False


def measure(threads: int, kills: int, search: str, rng: random.Random) -> None:
    """Print the figures for one number of threads."""
    with tempfile.TemporaryDirectory() as place, OpenAIServer(answer, latency_s=LATENCY_S) as server:
        whole = Trial(server, _folder(place, "whole"), threads, search)
        began_s = time.monotonic()
        whole.start()
        seconds, requests = time.monotonic() - began_s, server.count
        expected = whole.output.read_bytes()
        print(f"threads {threads}: uninterrupted, {requests} requests in {seconds:.1f} s", flush=True)
        done = identical = runs = twice = in_flight = 0
        while done < kills:
            runs += 1
            server.reset()
            trial = Trial(server, _folder(place, f"run{runs}"), threads, search)
            # About five kills in a run; by request and by time in turn.
            step = requests // 5
            while done < kills:
                if done % 2:
                    ended = trial.start(after_requests=rng.randint(1, 2 * step))
                else:
                    ended = trial.start(after_s=rng.uniform(0.1, 0.6) * seconds)
                if ended:
                    break
                done += 1
            trial.output.exists() or trial.start()
            identical += trial.output.read_bytes() == expected
            twice += server.count - requests
            in_flight += trial.in_flight
            print(
                f"  {done} kills, {runs} runs, {identical} identical, {twice}/{in_flight} twice", flush=True
            )
        print(
            f"threads {threads}: {done} kills in {runs} runs, {identical} of {runs} endings byte-identical; "
            f"{twice} calls paid twice, {in_flight} in flight at the kills",
            flush=True,
        )


def _folder(place: str, name: str) -> Path:
    folder = Path(place) / name
    folder.mkdir()
    return folder


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 32])
    parser.add_argument("--search", default="bayes")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    for threads in arguments.threads:
        measure(threads, arguments.kills, arguments.search, rng)


if __name__ == "__main__":
    main()
