"""Record tables of scores, candidate by example, from a model in this process.

    python benchmarks/record.py --task sports_understanding --model smollm2-135m-instruct
    python benchmarks/record.py --all                    # every task and model below
    python benchmarks/record.py --task intent_recognition --model qwen2.5-coder-0.5b-instruct --arms 6

A candidate is an instruction and a demo set of `_tasks.py`; its scores are 1 where the answer is the label.
Each block of answers goes to the work folder as one line once it is there, and a recording that was stopped
goes on behind the last line. Candidates come in the order that completes the small squares of the table
first; all examples of a candidate come together, so that the model evaluates instruction and demos once.

The table is written to `benchmarks/tables/TASK-MODEL.npz` (`_tables.py` reads it):

- `scores` `[instructions, demo sets, examples]`, uint8, 255 where missing;
- `answers`, int8 of that shape: which label was answered, -1 if none of them;
- `labels` `[examples]`: which label is right;
- `meta`: all that is needed to record it again, as JSON.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections import Counter
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import mipro
from _begun import BegunAdapter
from _tables import MISSING, TABLES
from _tasks import SEED, TASKS, Plan, Task, plan
from mipro.evaluate import Evaluate, normalize_text
from mipro.fetch import MODELS, cache_dir

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mipro.lm import BaseLM

RECORDED_MODELS = ("smollm2-135m-instruct", "qwen2.5-coder-0.5b-instruct")
ARMS = 8
EXAMPLES = 120
BLOCK = 25
"""Examples that a kill may lose."""
CONSTANT = 0.95
"""A candidate that gives one answer to more than this share of the examples counts as constant."""


class LabelAdapter(BegunAdapter):
    """JSON of which the model only writes what is not known beforehand, in less than half of the time.

    The answer begins where the label begins, and ends as soon as it is clear which label it is. Compared
    with a whole answer by schema (SmolLM2 135M, three tasks with labels, 15 examples each): the same
    label 45 times of 45.
    """

    def __init__(self, task: Task) -> None:
        super().__init__()
        self._task = task

    def parse(self, signature: type[mipro.Signature], completion: str) -> dict[str, Any]:
        """Return the label that begins as the answer, or what was answered instead."""
        text = super().parse(signature, completion)[self._task.output]
        labels = [label for label in self._task.labels if text and label.startswith(text)]
        return {self._task.output: labels[0] if len(labels) == 1 else text}


def model_of(task: Task, model: str, threads: int) -> mipro.LM:
    """Return the model, held to the labels of the task."""
    choices = " | ".join(json.dumps(label) for label in task.labels)
    held = {"grammar": f"root ::= {choices}"} if choices else {"stop": ['"']}
    return mipro.LM(
        f"local/{model}",
        threads=threads,
        parallel=1,
        max_tokens=task.max_tokens,
        temperature=0.0,
        cache=False,
        **held,
    )


@dataclass(frozen=True)
class Row:
    """What one candidate answered to consecutive examples."""

    instruction: int
    demos: int
    first: int
    """Number of the first example."""
    answers: tuple[str | None, ...]
    """None where the answer could not be read."""


class Journal:
    """The rows measured so far, one JSON line each, under a first line that says of what."""

    def __init__(self, path: Path, plan: Plan, model: str) -> None:
        self._path = path
        self._head = json.dumps(
            {
                "task": plan.task.name,
                "signature": plan.task.signature,
                "max_tokens": plan.task.max_tokens,
                "model": model,
                "instructions": plan.instructions,
                "demo_sets": plan.demo_sets,
                "train": [dict(example) for example in plan.train],
                "examples": [dict(example) for example in plan.examples],
            }
        )
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(self._head + "\n", encoding="utf-8")

    def rows(self) -> list[Row]:
        """Return the whole lines; what a kill left of a line is cut off."""
        text = self._path.read_text(encoding="utf-8")
        whole = text[: text.rfind("\n") + 1]
        if whole != text:
            self._path.write_text(whole, encoding="utf-8")
        head, *lines = whole.splitlines()
        if head != self._head:
            raise SystemExit(
                f"{self._path} must hold a recording of this task as `_tasks.py` has it now, but its first "
                "line differs; delete it to record anew, or pass another --work folder."
            )
        found = [json.loads(line) for line in lines]
        return [Row(**{**row, "answers": tuple(row["answers"])}) for row in found]

    def append(self, row: Row) -> None:
        """Write a row."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(vars(row)) + "\n")


def candidates(instructions: int, demos: int) -> Iterator[tuple[int, int]]:
    """Yield the candidates so that every square from the original on is whole before the next is begun."""
    pairs = [(i, d) for i in range(instructions) for d in range(demos)]
    yield from sorted(pairs, key=lambda pair: (max(pair), pair))


def measure(plan: Plan, lm: BaseLM, instruction: int, demos: int, first: int, stop: int) -> Row:
    """Ask one candidate about the examples `first` to `stop`."""
    signature = mipro.Signature(plan.task.signature, plan.instructions[instruction])
    program = mipro.Predict(signature)
    program.demos = [plan.train[index] for index in plan.demo_sets[demos]]
    evaluate = Evaluate(
        devset=list(plan.examples[first:stop]), metric=lambda *_: 0.0, num_threads=1, max_errors=stop + 1
    )
    with mipro.context(lm=lm, adapter=LabelAdapter(plan.task)):
        results = evaluate(program).results
    if any(score is None for _, _, score in results):
        raise SystemExit("the model could not be asked; nothing of this candidate was recorded.")
    given = (prediction.toDict().get(plan.task.output) for _, prediction, _ in results)
    answers = tuple(None if answer is None else str(answer) for answer in given)
    return Row(instruction, demos, first, answers)


def record(plan: Plan, lm: BaseLM, journal: Journal, arms: tuple[int, int], examples: int) -> None:
    """Measure all that the journal does not have yet."""
    done: Counter[tuple[int, int]] = Counter()
    for row in journal.rows():
        done[row.instruction, row.demos] = row.first + len(row.answers)
    todo = [pair for pair in candidates(*arms) if done[pair] < examples]
    started, cells = time.perf_counter(), 0
    labels = {normalize_text(str(example[plan.task.output])) for example in plan.examples}
    for number, pair in enumerate(todo, 1):
        known = 0
        for first in range(done[pair], examples, BLOCK):
            row = measure(plan, lm, *pair, first, min(first + BLOCK, examples))
            journal.append(row)
            cells += len(row.answers)
            known += sum(normalize_text(answer or "") in labels for answer in row.answers)
        rate = (time.perf_counter() - started) / cells
        done_so_far = f"{plan.task.name} {pair} {number}/{len(todo)}"
        print(f"{done_so_far}: {known} labels, {rate:.3f} s a cell", flush=True)


def arrays(plan: Plan, rows: list[Row], arms: tuple[int, int], examples: int) -> dict[str, np.ndarray]:
    """Return scores, answers and labels of the candidates and examples asked for."""
    right = [normalize_text(str(example[plan.task.output])) for example in plan.examples[:examples]]
    number = {label: index for index, label in enumerate(sorted(set(right)))}
    labels = np.array([number[label] for label in right], dtype=np.int8)
    scores = np.full((*arms, examples), MISSING, dtype=np.uint8)
    answers = np.full(scores.shape, -1, dtype=np.int8)
    for row in rows:
        if row.instruction >= arms[0] or row.demos >= arms[1]:
            continue
        given = [-1 if answer is None else number.get(normalize_text(answer), -1) for answer in row.answers]
        stop = min(row.first + len(given), examples)
        cells = np.array(given[: stop - row.first], dtype=np.int8)
        answers[row.instruction, row.demos, row.first : stop] = cells
        scores[row.instruction, row.demos, row.first : stop] = cells == labels[row.first : stop]
    return {"scores": scores, "answers": answers, "labels": labels}


def write(path: Path, data: dict[str, np.ndarray], meta: dict[str, Any]) -> None:
    """Write the table as one compressed file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part.npz")
    np.savez_compressed(part, **data, meta=np.array(json.dumps(meta)))
    part.replace(path)


def describe(plan: Plan, model: str, arms: tuple[int, int]) -> dict[str, Any]:
    """Return what is needed to record the table again."""
    known = MODELS.get(model)
    return {
        "task": plan.task.name,
        "model": model,
        "model_sha256": known.sha256 if known else None,
        "signature": plan.task.signature,
        "instructions": plan.instructions[: arms[0]],
        "demo_sets": plan.demo_sets[: arms[1]],
        "train": [[str(value) for value in example.toDict().values()] for example in plan.train],
        "labels": sorted({str(example[plan.task.output]) for example in plan.examples}),
        "adapter": "LabelAdapter of record.py: JSONAdapter without the reminder, the answer begun",
        "temperature": 0,
        "max_tokens": plan.task.max_tokens,
        "metric": "normalize_text(answer) == normalize_text(label)",
        "seed": SEED,
        "versions": {
            "mipro": mipro.__version__,
            "xllamacpp": metadata.version("xllamacpp"),
            "python": platform.python_version(),
        },
    }


def summary(path: Path) -> str:
    """Return a line of the table in `tables/README.md`."""
    with np.load(path, allow_pickle=False) as data:
        scores, answers = data["scores"], data["answers"]
        meta = json.loads(str(data["meta"]))
    means = np.where(scores == MISSING, np.nan, scores.astype(float))
    means = np.nanmean(means, axis=2)
    shares = [np.mean(answers == label, axis=2) for label in range(len(meta["labels"]))]
    constant = np.mean(np.max(shares, axis=0) > CONSTANT)
    shape = " x ".join(map(str, scores.shape))
    best = " + ".join(map(str, np.unravel_index(np.argmax(means), means.shape)))
    return (
        f"| {meta['task']} | {meta['model']} | {shape} | {means[0, 0]:.2f} | {np.median(means):.2f} "
        f"| {means.max():.2f} ({best}) | {100 * constant:.0f} % | {np.sum(scores == MISSING)} |"
    )


def main() -> None:
    """Record what is asked for, one model after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--task", nargs="+", choices=list(TASKS), default=[])
    parser.add_argument("--model", nargs="+", default=[RECORDED_MODELS[0]], help="models in this process")
    parser.add_argument("--all", action="store_true", help="every task with every model")
    parser.add_argument("--arms", type=int, nargs="+", default=[ARMS], help="instructions and demo sets")
    parser.add_argument("--examples", type=int, default=EXAMPLES)
    parser.add_argument("--threads", type=int, default=1, help="threads of the model")
    parser.add_argument("--work", type=Path, default=None, help="folder of recordings under way")
    parser.add_argument("--out", type=Path, default=TABLES)
    parser.add_argument("--summary", action="store_true", help="print what the tables hold, record nothing")
    given = parser.parse_args()
    if given.summary:
        for path in sorted(given.out.glob("*.npz")):
            print(summary(path))
        return
    work = given.work or cache_dir() / "recordings"
    tasks = list(TASKS) if given.all else given.task
    if not tasks:
        parser.error("something must be asked for; pass --task, --all or --summary.")
    for model in RECORDED_MODELS if given.all else given.model:
        for name in tasks:
            found = plan(TASKS[name])
            examples = min(given.examples, len(found.examples))
            arms = (given.arms[0], given.arms[-1])
            file = f"{found.task.slug}-{model}"
            lm = model_of(found.task, model, given.threads)
            lm.check()  # or every answer of a model that there is not would be recorded as a wrong one
            journal = Journal(work / f"{file}.jsonl", found, model)
            record(found, lm, journal, arms, examples)
            path = given.out / f"{file}.npz"
            write(path, arrays(found, journal.rows(), arms, examples), describe(found, model, arms))
            print(summary(path), flush=True)


if __name__ == "__main__":
    main()
