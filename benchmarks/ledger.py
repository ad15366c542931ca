"""What the ledger costs: CPU per evaluation, time to resume, memory, use of a rate limit.

    python benchmarks/ledger.py [--evaluations 100000] [--rate 100]

Printed: seconds until a run with so many evaluations in its ledger is back where it was, the search
included; CPU of one recorded evaluation (gate, two records, threads; the model answers in this process
and the program is one plain call); the growth of memory over the number of calls; and the share of a
rate limit that is used.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import random
import tempfile
import time
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mipro
from _worker import peak_mb
from mipro.lm import BaseLM, Completion, LMRequest, LMResponse, Usage, run
from mipro.optimize._demos import DemoSets
from mipro.optimize._own_search import Limits
from mipro.optimize._search import run_search
from mipro.optimize._space import CandidateSpace
from mipro.propose import Proposals
from mipro.runs import (
    Budget,
    CallRecord,
    DecisionRecord,
    EvaluationRecord,
    Evaluator,
    Measurement,
    Run,
    Store,
)
from mipro.runs._fingerprint import of_candidate
from mipro.search import Job, Recallable, create
from mipro.testing.server import OpenAIServer

if TYPE_CHECKING:
    from collections.abc import Iterator

EXAMPLES = 500
CHOICES = 18
"""Instructions, and demo sets, of the search that is resumed: those of the heavy preset."""
LOOKAHEAD = 4
"""Decisions of the search under way at once."""


class Instant(BaseLM):
    """Answers at once, on the I/O loop."""

    async def send(self, request: LMRequest) -> LMResponse:  # noqa: ARG002 - always the same answer
        """Answer with what was asked."""
        return LMResponse("instant", (Completion("[[ ## sum ## ]]\n3"),), Usage(100, 5), 0.001)


class Plain(mipro.Module):
    """One call of the model without an adapter, so that what is measured is the run."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.ask = mipro.Predict(mipro.Signature("a, b -> sum", f"Add, the {number}th way."))
        self.number = number

    def forward(self, a: str, b: str) -> Any:
        """Ask."""
        [text] = mipro.settings.lm(f"{self.number}: {a} + {b}")
        return mipro.Prediction(sum=text)


def right(example: Any, prediction: Any, trace: Any = None) -> float:  # noqa: ARG001 - the form of a metric
    """Whether the sum is right."""
    return float(example.sum in prediction.sum)


def examples() -> list[mipro.Example]:
    """Return distinct sums."""
    return [
        mipro.Example(a=str(i), b=str(i + 1), sum=str(2 * i + 1)).with_inputs("a", "b")
        for i in range(EXAMPLES)
    ]


def open_run(folder: str) -> Run:
    """Open the run in a folder."""
    return Run(folder, {"benchmark": "ledger"}, budget=Budget(), seed=0)


def overhead(folder: str, evaluations: int, threads: int) -> None:
    """Print the CPU of one evaluation beside that of the program alone, and the memory at the halves."""
    data = examples()
    lm = Instant("instant", cache=False)
    with mipro.context(lm=lm, disable_history=True):
        programs = [Plain(number) for number in range(evaluations // EXAMPLES)]
        alone = time.process_time()
        for i in range(2000):
            example = data[i % EXAMPLES]
            request = lm.request(f"x{i}: {example.a} + {example.b}")
            right(example, mipro.Prediction(sum=run(lm.send(request)).completions[0].text))
        alone = (time.process_time() - alone) / 2000
        live = open_run(folder)
        peaks = []
        with Evaluator(live, data, split="val", metric=right, num_threads=threads, max_errors=1) as evaluator:
            began = time.process_time()
            for number, program in enumerate(programs):
                evaluator.start(program, range(EXAMPLES), stage="search").records()
                if number in {(len(programs) - 1) // 2, len(programs) - 1}:
                    peaks.append(peak_mb())
            cpu = time.process_time() - began
        live.close()
    count = len(programs) * EXAMPLES
    print(f"{threads} threads, {count} evaluations: {1000 * cpu / count:.3f} ms CPU each, of which", end=" ")
    print(
        f"{1000 * alone:.3f} ms are a bare call; memory {peaks[0]:.0f} MB at half, {peaks[1]:.0f} MB at end"
    )


class NoRounds:
    """Stands in for the rounds of learning, of which there are none."""

    is_coming = False

    def is_due(self, *_: Any, **__: Any) -> bool:
        """Whether to hold one."""
        return False


class Past:
    """A search of so many evaluations as a ledger holds it, one program with 18 x 18 candidates.

    Candidates meet the examples in blocks that grow by a quarter, as "bayes" asks for them, by turns.
    """

    def __init__(self, evaluations: int) -> None:
        self.evaluations = evaluations
        self.examples = examples()
        student = Plain(0)
        texts = tuple(f"Add, the {i}th way." for i in range(CHOICES))
        demos = tuple((self.examples[i],) * bool(i) for i in range(CHOICES))
        proposals = dataclasses.replace(Proposals.original(student), instructions=(texts,))
        self.space = CandidateSpace(student, proposals, DemoSets((demos,), ("labelled",) * CHOICES, ((),)))

    def search(self, more: int = 0) -> Recallable:
        """Make the search as it was at its beginning, with some budget more."""
        return create(
            "bayes",
            self.space.space,
            num_examples=EXAMPLES,
            budget=self.evaluations + more,
            lookahead=LOOKAHEAD,
        )

    def decisions(self) -> Iterator[Job]:
        """Yield one job for each decision."""
        met = dict.fromkeys(((i, d) for i in range(CHOICES) for d in range(CHOICES)), 0)
        left = self.evaluations
        while left:
            for candidate, seen in itertools.islice(met.items(), -(-self.evaluations // EXAMPLES)):
                size = min(max(8, seen // 4), EXAMPLES - seen, left)
                if size:
                    yield Job(candidate, tuple(range(seen, seen + size)), "exploring")
                    met[candidate] += size
                    left -= size

    def write(self, store: Store) -> int:
        """Fill a ledger; returns the number of decisions."""
        rng = random.Random(0)
        state = json.dumps([0, {**self.search().state(), "opening": []}])
        number = -1
        for number, job in enumerate(self.decisions()):
            jobs = json.dumps([[job.candidate, job.examples, job.reason]])
            records: list[Any] = [DecisionRecord(number, jobs, state)]
            candidate = of_candidate(self.space.program(job.candidate))
            skill = 0.4 + 0.02 * job.candidate[0]
            for i in job.examples:
                right_or_not = float(rng.random() < skill)
                prediction = '{"sum":"3","reasoning":"' + 100 * "x" + '"}'
                key = f"{number} {i}"
                records.append(EvaluationRecord(candidate, "val", i, right_or_not, prediction=prediction))
                records.append(CallRecord(key, "search", "instant", 400 * "x", 100, 5, 0.001, 0.5, 1))
            store.append(records)
        return number + 1


def resume(folder: str, evaluations: int) -> None:
    """Print the time that a run needs to come back to where a search of so many evaluations was."""
    past = Past(evaluations)
    live = open_run(folder)
    decisions = past.write(live.store)
    live.close()
    size_mb = (Path(folder) / "ledger.sqlite").stat().st_size / 1e6
    before_mb, began = peak_mb(), time.perf_counter()
    live = open_run(folder)
    search, told = past.search(more=100), []
    with Evaluator(live, past.examples, split="val", metric=right, num_threads=8, max_errors=1) as evaluator:
        lm = Instant("instant", cache=False)
        with mipro.context(lm=lm, disable_history=True), live.stage("search"):
            run_search(
                search,
                past.space,
                evaluator,
                live,
                limits=Limits(EXAMPLES, evaluations + 100),
                lookahead=LOOKAHEAD,
                on_trial=lambda _: told.append(time.perf_counter() - began),
                rounds=NoRounds(),  # type: ignore[arg-type] # all that the loop asks it
            )
    search.recommend()
    seconds, memory_mb = time.perf_counter() - began, peak_mb() - before_mb
    back = told[decisions - LOOKAHEAD - 1]
    live.close()
    print(
        f"ledger of {evaluations} evaluations, {decisions} decisions, {size_mb:.0f} MB: resumed in "
        f"{back:.2f} s, {memory_mb:.0f} MB more memory; the next {len(told) - decisions} decisions and the "
        f"recommendation took {seconds - back:.2f} s"
    )


def throttled(folder: str, rate: float, latency_s: float, threads: int) -> None:
    """Print the share of a rate limit that a run uses after its first seconds."""
    data = examples()
    with OpenAIServer("3", process=True, rate_limit_per_s=rate, latency_s=latency_s) as server:
        lm = mipro.LM("openai/x", api_base=server.url, api_key="none", cache=False)
        live = open_run(folder)
        with (
            mipro.context(lm=lm, disable_history=True),
            Evaluator(live, data, split="val", metric=right, num_threads=threads, max_errors=1) as evaluator,
        ):
            number, began, counted = 0, time.perf_counter(), None
            ahead = deque[Measurement]()
            while (now := time.perf_counter()) - began < 20:
                if counted is None and now - began > 8:
                    counted, answered = now, server.answered
                while len(ahead) < LOOKAHEAD:
                    ahead.append(evaluator.start(Plain(number), range(EXAMPLES // 10), stage="search"))
                    number += 1
                ahead.popleft().records()
            share = (server.answered - answered) / (time.perf_counter() - counted) / rate
            refused = 1 - server.answered / server.count
        live.close()
    print(
        f"limit {rate:g}/s, {1000 * latency_s:.0f} ms, {threads} threads: {100 * share:.0f} % used, "
        f"{100 * refused:.0f} % of the requests refused"
    )


def main() -> None:
    """Measure everything."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--evaluations", type=int, default=100_000)
    parser.add_argument("--measured", type=int, default=20_000, help="evaluations; at least 1000")
    parser.add_argument("--rate", type=float, nargs="*", default=[20.0, 100.0])
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        resume(str(Path(place) / "resume"), arguments.evaluations)
        for threads in (1, 32):
            overhead(str(Path(place) / f"overhead{threads}"), arguments.measured, threads)
        for rate in arguments.rate:
            for latency_s in (0.005, 0.2):
                throttled(str(Path(place) / f"rate{rate}-{latency_s}"), rate, latency_s, 32)


if __name__ == "__main__":
    main()
