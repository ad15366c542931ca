"""What a local model has to read when candidates share the beginnings of their prompts.

    python benchmarks/prefix.py [--candidates 6] [--examples 12] [--cache-mib 0 1024] [--threads 1]

Candidates of 4 demos each on BIG-bench intent_recognition are measured on the same examples. Their calls
arrive mixed, as those of a search with several decisions under way do. Printed for both orders, with the
engine new each time and with and without memory for prompts that lost their slot: prompt tokens that had to
be evaluated for a call (the others came from the model's caches of beginnings), for a candidate's first call
and for a later one, of how many, and seconds. "arrival" hands the calls on as they come; "by prefix" is what
`mipro.LM` does; "no cache" is the prompt itself. "rest" is what comes after the demos and is different in
every call: no order can save it. Weights and task must have been fetched (`make demo`).
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from random import Random
from typing import TYPE_CHECKING, Any

import mipro
from mipro.adapters import JSONAdapter
from mipro.datasets import big_bench
from mipro.lm import _engine
from mipro.lm._engine import close_engines
from mipro.lm._slots import Slots

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

MODEL = "local/qwen2.5-coder-0.5b-instruct"
DEMOS = 4


class Counted(mipro.LM):
    """Keeps the usage of every call, by the beginning of its prompt, in the order of the answers."""

    usages: defaultdict[str, list[Any]]

    async def _send(self, request: Any) -> Any:
        response = await super()._send(request)
        self.usages[str(request.messages[:-1])].append(response.usage)
        return response


def measure(lm: Counted, programs: list[Any], examples: list[Any], in_flight: int) -> str:
    """Run all programs on all examples, mixed, and return what was evaluated."""
    lm.usages = defaultdict(list)
    close_engines()
    with mipro.context(lm=lm, adapter=JSONAdapter(), disable_history=True):
        cells = [(program, example) for example in examples for program in programs]
        began = time.perf_counter()
        with ThreadPoolExecutor(in_flight) as pool:
            tasks = [pool.submit(copy_context().run, lambda p=p, e=e: p(**e.inputs())) for p, e in cells]
            for task in tasks:
                task.result()
    seconds = time.perf_counter() - began
    first = [_fresh(usages[0]) for usages in lm.usages.values()]
    later = [_fresh(usage) for usages in lm.usages.values() for usage in usages[1:]]
    prompt = statistics.fmean(usage.prompt_tokens for usages in lm.usages.values() for usage in usages)
    return (
        f"{statistics.fmean(first + later):6.0f} of {prompt:.0f} prompt tokens evaluated a call: "
        f"{statistics.fmean(first):.0f} for a candidate's first, {statistics.fmean(later):.0f} for a later "
        f"one ({min(later)} to {max(later)}); {len(cells)} calls, {seconds:.0f} s"
    )


def _fresh(usage: Any) -> int:
    return int(usage.prompt_tokens - usage.cached_tokens)


def without_order(hold: Any) -> Callable[..., AbstractAsyncContextManager[None]]:
    """Return `Slots.hold` that takes every prompt for one that shares nothing."""

    def held(self: Slots, prefix: str, prefix_tokens: int, tokens: int) -> AbstractAsyncContextManager[None]:
        del prefix, prefix_tokens
        return hold(self, "", 0, tokens)

    return held


def make_programs(count: int, data: list[Any], rng: Random) -> list[Any]:
    """Return candidates that differ in instruction and demos, as those of a search do."""
    programs = []
    for number in range(count):
        program = mipro.Predict("utterance -> intent")
        wording = f"Say what is wanted, in the {number + 1}th of {count} wordings, as the examples do."
        program.signature = program.signature.with_instructions(wording)
        program.demos = rng.sample(data, DEMOS)
        programs.append(program)
    return programs


def main() -> None:
    """Measure both orders with each size of the cache."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--candidates", type=int, default=6)
    parser.add_argument("--examples", type=int, default=12)
    parser.add_argument("--cache-mib", type=int, nargs="+", default=[0, _engine.PROMPT_CACHE_MIB])
    parser.add_argument("--orders", nargs="+", default=["arrival", "by prefix"])
    parser.add_argument("--threads", type=int, default=1, help="threads of the engine")
    parser.add_argument("--in-flight", type=int, default=32)
    options = parser.parse_args()
    data = big_bench("intent_recognition")
    rng = Random(0)
    programs = make_programs(options.candidates, data, rng)
    examples = rng.sample(data, options.examples)
    lm = Counted(MODEL, threads=options.threads, cache=False, max_tokens=16)
    hold = Slots.hold
    for cache_mib in options.cache_mib:
        _engine.PROMPT_CACHE_MIB = cache_mib
        for name in options.orders:
            Slots.hold = without_order(hold) if name == "arrival" else hold
            print(
                f"{cache_mib:5} MiB, {name:10}",
                measure(lm, programs, examples, options.in_flight),
                flush=True,
            )


if __name__ == "__main__":
    main()
