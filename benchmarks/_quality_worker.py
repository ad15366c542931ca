"""One optimization on a real model in a process of its own: reads its orders from argv, prints one JSON line.

Program, data, metric and model are the same for both libraries; only the import differs.
"""

from __future__ import annotations

import importlib
import random
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from _worker import work
from mipro.datasets import big_bench, split
from mipro.evaluate import normalize_text

TASKS = {
    "intent_recognition": ("utterance", "intent"),
    "entailed_polarity": ("question", "answer"),
    "sports_understanding": ("question", "answer"),
    "metaphor_boolean": ("question", "answer"),
    "presuppositions_as_nli": ("question", "answer"),
    "tense": ("question", "answer"),
}
"""Names of the input and of the output."""


Metric = Callable[..., bool]


@dataclass(frozen=True, slots=True)
class Orders:
    """What is to be done."""

    run: str
    """What it is called in the results."""
    lib: str
    budget: int | None
    """Calls to the model: for mipro the most, for DSPy's other optimizers what their settings aim at."""
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
    labeled_demos: int
    """Most labelled demos in a prompt, MIPROv2 only."""


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
    counted = _count_calls(lib) if orders.lib == "dspy" else None
    compiled = OPTIMIZERS.get(orders.run, _miprov2)
    began = time.perf_counter()
    best = compiled(lib, orders, program, right, parts["train"], parts["val"])
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


def _miprov2(lib: Any, orders: Orders, program: Any, metric: Metric, train: list[Any], val: list[Any]) -> Any:
    limits = {} if orders.budget is None else {"budget": lib.Budget(lm_calls=orders.budget)}
    optimizer = lib.MIPROv2(
        metric=metric,
        auto=orders.auto,
        max_labeled_demos=orders.labeled_demos,
        init_temperature=orders.temperature,
        num_threads=orders.threads,
        seed=orders.seed,
        **limits,
    )
    return optimizer.compile(program, trainset=train, valset=val)


def _random_search(
    dspy: Any, orders: Orders, program: Any, metric: Metric, train: list[Any], val: list[Any]
) -> Any:
    # Three programs are measured besides the candidates; what it bootstraps comes on top of the budget.
    candidates = max(1, (orders.budget or 0) // len(val) - 3)
    optimizer = dspy.BootstrapFewShotWithRandomSearch(
        metric=metric, num_candidate_programs=candidates, num_threads=orders.threads
    )
    return optimizer.compile(program, trainset=train, valset=val)


def _gepa(dspy: Any, orders: Orders, program: Any, metric: Metric, train: list[Any], val: list[Any]) -> Any:
    wanted = TASKS[orders.task][1]

    def told(gold: Any, pred: Any, trace: Any, pred_name: Any, pred_trace: Any) -> Any:
        del trace, pred_name, pred_trace
        right = metric(gold, pred)
        said = "Right." if right else f"Wrong: the {wanted} is {gold[wanted]}."
        return dspy.Prediction(score=float(right), feedback=said)

    optimizer = dspy.GEPA(
        metric=told,
        max_metric_calls=orders.budget,
        reflection_lm=dspy.settings.lm.copy(temperature=orders.temperature),
        num_threads=orders.threads,
        seed=orders.seed,
    )
    return optimizer.compile(program, trainset=train, valset=val)


def _simba(dspy: Any, orders: Orders, program: Any, metric: Metric, train: list[Any], val: list[Any]) -> Any:
    # Measures on what it learns from, so it has both parts. A step takes up to size * (2 * candidates + 1)
    # calls, and in the end all examples meet a program of each step and the original one.
    size, candidates = 16, 4
    both = [*train, *val]
    steps = max(3, round(((orders.budget or 0) - len(both)) / (size * (2 * candidates + 1) + len(both))))
    optimizer = dspy.SIMBA(
        metric=metric, bsize=size, num_candidates=candidates, max_steps=steps, num_threads=orders.threads
    )
    return optimizer.compile(program, trainset=both, seed=orders.seed)


OPTIMIZERS = {"dspy-random-search": _random_search, "dspy-gepa": _gepa, "dspy-simba": _simba}
"""By run; MIPROv2 for all others."""


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
