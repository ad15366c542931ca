"""One optimization on a real model in a process of its own: reads its orders from argv, prints one JSON line.

Program, data, metric and model are the same for both libraries; only the import differs.
"""

from __future__ import annotations

import importlib
import random
import time
from dataclasses import asdict, dataclass
from typing import Any

from _worker import work
from mipro.datasets import big_bench, split
from mipro.evaluate import normalize_text

TASKS = {
    "intent_recognition": ("utterance", "intent"),
    "entailed_polarity": ("question", "answer"),
    "sports_understanding": ("question", "answer"),
}
"""Names of the input and of the output."""


@dataclass(frozen=True, slots=True)
class Orders:
    """What is to be done."""

    run: str
    """What it is called in the results."""
    lib: str
    budget: int | None
    """Most calls to the model, mipro only."""
    url: str
    task: str
    seed: int
    sizes: dict[str, int]
    """Examples to train on, to validate on and to test on."""
    auto: str
    threads: int
    temperature: float
    """Of the proposals."""
    max_tokens: int


def run(orders: Orders) -> dict[str, Any]:
    """Optimize as ordered and return what was measured."""
    given, wanted = TASKS[orders.task]

    def right(example: Any, prediction: Any, trace: Any = None) -> bool:
        del trace
        return normalize_text(str(prediction[wanted])) == normalize_text(str(example[wanted]))

    lib = importlib.import_module(orders.lib)
    data = split(big_bench(orders.task), orders.sizes, rng=random.Random(orders.seed), stratify=wanted)
    parts = {
        part: [lib.Example(**{given: row[given], wanted: row[wanted]}).with_inputs(given) for row in rows]
        for part, rows in data.items()
    }
    lm = lib.LM(
        "openai/local",
        api_base=orders.url,
        api_key="none",
        cache=False,
        temperature=0.0,
        max_tokens=orders.max_tokens,
        timeout=600,
    )
    lib.configure(lm=lm, adapter=lib.JSONAdapter())
    program = lib.Predict(f"{given} -> {wanted}")
    limits = {} if orders.budget is None else {"budget": lib.Budget(lm_calls=orders.budget)}
    optimizer = lib.MIPROv2(
        metric=right,
        auto=orders.auto,
        init_temperature=orders.temperature,
        num_threads=orders.threads,
        seed=orders.seed,
        **limits,
    )
    counted = _count_calls(lib) if orders.lib == "dspy" else None
    began = time.perf_counter()
    best = optimizer.compile(program, trainset=parts["train"], valset=parts["val"])
    seconds = time.perf_counter() - began
    calls = counted[0] if counted is not None else best.optimization.lm_calls
    evaluate = lib.Evaluate(devset=parts["test"], metric=right, num_threads=orders.threads)
    return {
        **asdict(orders),
        "before": evaluate(program).score / 100,
        "after": evaluate(best).score / 100,
        "calls": calls,
        "seconds": seconds,
        "instruction": best.predictors()[0].signature.instructions,
        "demos": len(best.predictors()[0].demos),
    }


def _count_calls(dspy: Any) -> list[int]:
    """Return a list whose only entry counts DSPy's calls from now on, those of copies of the model too."""
    counted = [0]

    class Counter(dspy.utils.callback.BaseCallback):
        """Told of every call."""

        def on_lm_start(self, call_id: str, instance: Any, inputs: Any) -> None:
            del call_id, instance, inputs
            counted[0] += 1

    dspy.configure(callbacks=[Counter()])
    return counted


if __name__ == "__main__":
    # Not the cache's home: the data are where they were fetched to.
    work(lambda orders: run(Orders(**orders)), ("DSPY_CACHEDIR", "XDG_DATA_HOME"))
