"""What a local model has to read when candidates share the beginnings of their prompts.

    python benchmarks/prefix.py [--candidates 6] [--examples 5] [--threads 1]

Candidates of 4 demos each on BIG-bench intent_recognition are measured on the same examples. Their calls
arrive mixed, as those of a search with several decisions under way do. Printed for both orders, with the
engine new each time: prompt tokens that had to be evaluated for a call (the others came from the model's
cache of beginnings), of how many, and seconds. "arrival" hands the calls on as they come; "by prefix" is
what `mipro.LM` does. Weights and task must have been fetched (`make demo`).
"""

from __future__ import annotations

import argparse
import time
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from random import Random
from typing import TYPE_CHECKING, Any

import mipro
from mipro.adapters import JSONAdapter
from mipro.datasets import big_bench
from mipro.lm._engine import close_engines
from mipro.lm._slots import Slots

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

MODEL = "local/qwen2.5-coder-0.5b-instruct"
DEMOS = 4


class Counted(mipro.LM):
    """Keeps the usage of every call."""

    usages: list[Any]

    async def _send(self, request: Any) -> Any:
        response = await super()._send(request)
        self.usages.append(response.usage)
        return response


def measure(lm: Counted, programs: list[Any], examples: list[Any], in_flight: int) -> None:
    """Run all programs on all examples, mixed, and print what was evaluated."""
    lm.usages = []
    close_engines()
    with mipro.context(lm=lm, adapter=JSONAdapter(), disable_history=True):
        cells = [(program, example) for example in examples for program in programs]
        began = time.perf_counter()
        with ThreadPoolExecutor(in_flight) as pool:
            tasks = [pool.submit(copy_context().run, lambda p=p, e=e: p(**e.inputs())) for p, e in cells]
            for task in tasks:
                task.result()
    seconds = time.perf_counter() - began
    calls = len(lm.usages)
    prompt = sum(usage.prompt_tokens for usage in lm.usages) / calls
    fresh = sum(usage.prompt_tokens - usage.cached_tokens for usage in lm.usages) / calls
    print(f"{fresh:6.0f} of {prompt:.0f} prompt tokens evaluated a call, {calls} calls, {seconds:.0f} s")


def without_order(hold: Any) -> Any:
    """Return `Slots.hold` that takes every prompt for one that shares nothing."""

    def held(self: Slots, prefix: str, prefix_tokens: int, tokens: int) -> AbstractAsyncContextManager[None]:
        del prefix, prefix_tokens
        return hold(self, "", 0, tokens)

    return held


def main() -> None:
    """Measure both orders."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--candidates", type=int, default=6)
    parser.add_argument("--examples", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1, help="threads of the engine")
    parser.add_argument("--in-flight", type=int, default=32)
    options = parser.parse_args()
    data = big_bench("intent_recognition")
    rng = Random(0)
    programs = []
    for _ in range(options.candidates):
        program = mipro.Predict("utterance -> intent")
        program.demos = rng.sample(data, DEMOS)
        programs.append(program)
    examples = rng.sample(data, options.examples)
    lm = Counted(MODEL, threads=options.threads, cache=False, max_tokens=16)
    hold = Slots.hold
    for name, order in (("arrival", without_order(hold)), ("by prefix", hold)):
        Slots.hold = order
        print(f"{name:10}", end=" ", flush=True)
        measure(lm, programs, examples, options.in_flight)


if __name__ == "__main__":
    main()
