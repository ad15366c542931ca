"""One optimization, or evaluations alone, in a process of its own: orders from argv, one JSON line out.

The program, the data and the metric are the same for both libraries; only the import differs.
"""

from __future__ import annotations

import importlib
import resource
import sys
import threading
import time
from functools import wraps
from pathlib import Path
from typing import Any

from _worker import peak_mb, work

STAGES = {
    "_bootstrap_fewshot_examples": "demos",
    "_propose_instructions": "instructions",
    "_optimize_prompt_parameters": "search",
}
"""DSPy's methods for the three stages."""


def build(lib: Any, stages: int) -> Any:
    """Return the program: one predictor, or several in a row."""

    class One(lib.Module):
        """One call."""

        def __init__(self) -> None:
            super().__init__()
            self.solve = lib.ChainOfThought("question -> answer")

        def forward(self, question: str) -> Any:
            """Answer."""
            return self.solve(question=question)

    class Three(lib.Module):
        """Three calls, each with the answer of the one before."""

        def __init__(self) -> None:
            super().__init__()
            self.plan = lib.ChainOfThought("question -> plan")
            self.notes = lib.ChainOfThought("question, plan -> notes")
            self.solve = lib.ChainOfThought("question, notes -> answer")

        def forward(self, question: str) -> Any:
            """Plan, take notes, answer."""
            plan = self.plan(question=question).plan
            notes = self.notes(question=question, plan=plan).notes
            return self.solve(question=question, notes=notes)

    class Chain(lib.Module):
        """Any number of calls, the last with the answer of the one before."""

        def __init__(self) -> None:
            super().__init__()
            self.steps = [lib.ChainOfThought("question -> notes") for _ in range(stages - 1)]
            self.solve = lib.ChainOfThought("question, notes -> answer")

        def forward(self, question: str) -> Any:
            """Take notes again and again, then answer."""
            for step in self.steps:
                notes = step(question=question).notes
            return self.solve(question=question, notes=notes)

    return {1: One, 3: Three}.get(stages, Chain)()


def examples(lib: Any, count: int, first: int, chars: int) -> list[Any]:
    """Return sums, each question `chars` characters long at least."""
    made = []
    for i in range(first, first + count):
        asked = f"What is {i} plus {3 * i + 7}?"
        story = ("A clerk keeps the books of a small shop and is asked at noon. " * (chars // 60 + 1))[
            : max(0, chars - len(asked) - 1)
        ]
        made.append(
            lib.Example(question=f"{story} {asked}".strip(), answer=str(4 * i + 7)).with_inputs("question")
        )
    return made


def right(example: Any, prediction: Any, trace: Any = None) -> bool:  # noqa: ARG001 - the form of a metric
    """Whether the sum is right."""
    return example.answer == prediction.answer


def run(orders: dict[str, Any]) -> dict[str, Any]:
    """Optimize as ordered and return what was measured."""
    began = time.perf_counter()
    lib = importlib.import_module(orders["lib"])
    for name in ("LM", "MIPROv2", "ChainOfThought", "Example"):
        getattr(lib, name)  # loaded on first use by one library, at once by the other
    import_s = time.perf_counter() - began
    ours = orders["lib"] == "mipro"
    lm = lib.LM("openai/latency", api_base=orders["url"], api_key="none", num_retries=8)
    lib.configure(lm=lm)
    data = examples(lib, orders["train"] + orders["val"], 1, orders["chars"])
    if "lm_calls" in orders:
        orders["options"]["budget"] = lib.Budget(lm_calls=orders["lm_calls"])
    options: dict[str, Any] = {
        "metric": right,
        "num_threads": orders["threads"],
        "seed": 9,
        **orders["options"],
    }
    seconds: dict[str, float] = {}
    optimizer = lib.MIPROv2(**options)
    if not ours:
        for method, stage in STAGES.items():
            setattr(optimizer, method, _timed(getattr(optimizer, method), stage, seconds))
    watch = _Watch()
    cpu, wall = time.process_time(), time.perf_counter()
    best = optimizer.compile(
        build(lib, orders["stages"]),
        trainset=data[: orders["train"]],
        valset=data[orders["train"] :],
        **orders.get("compile", {}),
    )
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    found: dict[str, Any] = {}
    if ours:
        result = best.optimization
        seconds = dict(result.seconds)
        found = {
            "candidate": list(result.candidate),
            "evaluations": sum(len(t.examples) for t in result.trials),
        }
    return {
        "import_s": import_s,
        "wall_s": wall,
        "cpu_s": cpu,
        "seconds": seconds,
        "memory_mb": peak_mb(),
        **watch.stop(),
        **found,
    }


def evaluate(orders: dict[str, Any]) -> dict[str, Any]:
    """Evaluate programs with demos, 500 examples each, by DSPy's `Evaluate`, as its search does."""
    lib = importlib.import_module(orders["lib"])
    lib.configure(lm=lib.LM("openai/latency", api_base=orders["url"], api_key="none"))
    data = examples(lib, 500, 1, orders["chars"])
    evaluator = lib.Evaluate(devset=data, metric=right, num_threads=orders["threads"], display_progress=False)
    evaluator(with_demos(lib, -1, data), devset=data[: orders["threads"]])
    cpu, wall = time.process_time(), time.perf_counter()
    for number in range(orders["evaluations"] // len(data)):
        evaluator(with_demos(lib, number, data))
    return {"wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu}


def with_demos(lib: Any, number: int, data: list[Any]) -> Any:
    """Return a program with four demos and an instruction of its own, as a candidate has them."""
    program = build(lib, 1)
    predictor = program.predictors()[0]
    predictor.demos = [lib.Example(reasoning="One adds the numbers.", **dict(row)) for row in data[:4]]
    predictor.signature = predictor.signature.with_instructions(f"Add up, the {number}th way.")
    return program


def _timed(method: Any, stage: str, seconds: dict[str, float]) -> Any:
    @wraps(method)
    def timed(*args: Any, **kwargs: Any) -> Any:
        began = time.perf_counter()
        try:
            return method(*args, **kwargs)
        finally:
            seconds[stage] = time.perf_counter() - began

    return timed


class _Watch:
    """Looks now and then how many threads there are and how much memory they take."""

    def __init__(self) -> None:
        self._most = 0
        self._resident_mb: list[float] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def _look(self) -> None:
        while not self._ended.wait(0.25):
            self._most = max(self._most, threading.active_count())
            if sys.platform == "linux":
                pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
                self._resident_mb.append(pages * resource.getpagesize() / 2**20)

    def stop(self) -> dict[str, Any]:
        """Return the most threads seen, and the memory at each quarter of the time."""
        self._ended.set()
        self._thread.join()
        last = len(self._resident_mb) - 1
        quarters = [self._resident_mb[last * part // 4] for part in range(5)] if last >= 0 else []
        return {"threads": self._most, "quarters_mb": quarters}


def _obey(orders: dict[str, Any]) -> dict[str, Any]:
    return evaluate(orders) if "evaluations" in orders else run(orders)


if __name__ == "__main__":
    work(_obey, ("DSPY_CACHEDIR", "MIPRO_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME"))
