"""What each ingredient of a proposal is worth, and whether rounds of learning pay, on small local models.

    python benchmarks/proposals.py [--models qwen2.5-coder-0.5b-instruct ...] [--tasks tense ...]
                                   [--proposals 4] [--examples 40] [--seeds 2] [--calls 250]
                                   [--threads 1] [--what ingredients runs] [--out proposals.jsonl] [--show]

For every model, task and seed, instructions are proposed with all that the proposer is shown, then without
one ingredient at a time, with the same tips and draws; each is measured alone, without demos, on the same
examples. A second round of proposals is made with and without history and failures. Then whole runs of
MIPROv2 with and without rounds of learning, with the same number of model calls, are measured on examples
that no stage saw. Results are appended to `--out`, and what is there is not done again; answers of the models
come from mipro's cache on disk. `--show` prints the tables of what is there. Takes hours on one core.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import statistics
import tempfile
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mipro
from mipro.datasets import big_bench
from mipro.evaluate import normalize_text, run_example
from mipro.optimize._demos import collect_demos
from mipro.propose import (
    Corpus,
    Lessons,
    Mistake,
    ProposalSettings,
    ScoredInstruction,
    Verdict,
    token_estimate,
)
from mipro.propose._ask import Asker
from mipro.propose._desk import Desk
from mipro.propose._grounding import ground
from mipro.propose._guards import clean
from mipro.propose._signatures import worked_texts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from mipro.propose import Grounding, Proposals

MODELS = ("qwen2.5-coder-0.5b-instruct", "smollm2-135m-instruct")
TRAIN = 30
TEST = 80
PROBED = 12
"""Training examples on which the best instruction is run to see its mistakes."""
TEMPERATURE = 0.7
"""Of the proposals, as in the demo: such small models lose the thread at 1.0."""


class OddOneOut(mipro.Module):
    """Says what most of the words have in common, then picks the word that does not belong."""

    def __init__(self) -> None:
        super().__init__()
        self.group = mipro.Predict("question -> category")
        self.pick = mipro.Predict("question, category -> answer")

    def forward(self, question: str) -> Any:
        """Answer in two steps."""
        return self.pick(question=question, category=self.group(question=question).category)


@dataclass(frozen=True)
class Task:
    """A BIG-bench task and the program for it."""

    name: str
    program: Callable[[], mipro.Module]
    answer: str = "answer"

    def data(self, examples: int) -> tuple[list[mipro.Example], list[mipro.Example], list[mipro.Example]]:
        """Return training, measured and test examples, without a common one."""
        names = ("utterance" if self.name == "intent_recognition" else "question", self.answer)
        rows = {row[names[0]]: {name: row[name] for name in names} for row in big_bench(self.name)}
        ready = [mipro.Example(**row).with_inputs(names[0]) for row in rows.values()]
        random.Random(0).shuffle(ready)
        cut = TRAIN + examples
        return ready[:TRAIN], ready[TRAIN:cut], ready[cut : cut + TEST]

    def metric(self, example: mipro.Example, prediction: Any, trace: object = None) -> bool:
        """Whether the answer is the expected one, case and punctuation aside."""
        del trace
        return normalize_text(str(prediction[self.answer])) == normalize_text(str(example[self.answer]))


TASKS = {
    task.name: task
    for task in (
        Task("intent_recognition", lambda: mipro.Predict("utterance -> intent"), "intent"),
        Task("tense", lambda: mipro.Predict("question -> answer")),
        Task("odd_one_out", OddOneOut),
    )
}


@dataclass(frozen=True)
class Arm:
    """One way to propose."""

    name: str
    ground: Callable[[Grounding], Grounding] = lambda grounding: grounding
    how: dict[str, Any] = field(default_factory=dict)
    guarded: bool = True
    history: bool = False
    failures: bool = False


def _without_program(grounding: Grounding) -> Grounding:
    blank = ("",) * len(grounding.modules)
    return replace(grounding, program_description="", modules=blank, roles=blank)


def _without_labels(grounding: Grounding) -> Grounding:
    return replace(grounding, facts=((),) * len(grounding.modules))


FIRST = (
    Arm("all"),
    Arm("no summary", lambda g: replace(g, summary="")),
    Arm("no program", _without_program),
    Arm("no traces", how={"fewshot_aware": False}),
    Arm("no tips", how={"tip_aware": False}),
    Arm("no facts", _without_labels),
    Arm("no guards", guarded=False),
    Arm(
        "nothing",
        lambda g: _without_labels(_without_program(replace(g, summary=""))),
        how={"fewshot_aware": False, "tip_aware": False},
    ),
)
SECOND = (
    Arm("round 2", history=True, failures=True),
    Arm("round 2, no history", failures=True),
    Arm("round 2, no failures", history=True),
    Arm("round 2, neither"),
)


@dataclass(frozen=True)
class Result:
    """How the proposals of one arm did."""

    model: str
    task: str
    seed: int
    arm: str
    scores: list[list[float]]
    """One row for each proposal, one score for each example."""
    instructions: list[list[str]]
    """Texts by proposal and predictor."""
    refused: dict[str, int]
    prompt_tokens: float
    """Of one question to the proposer, estimated."""


class _NoGuard:
    """Takes everything."""

    def judge(self, text: str, taken: object) -> Verdict:
        """Return the text, cleaned."""
        del taken
        return Verdict(clean(text))


class Bench:
    """One model, task and seed.

    Args:
        model: Name of a local model.
        task: What it has to do.
        seed: Seed of tips, views and draws.
        args: Sizes.
    """

    def __init__(self, model: str, task: Task, seed: int, args: argparse.Namespace) -> None:
        self.model, self.task, self.seed, self.args = model, task, seed, args
        self.lm = mipro.LM(f"local/{model}", threads=args.threads, parallel=2, temperature=0.0, max_tokens=40)
        self.train, self.measured, self.test = task.data(args.examples)
        self._prepared: tuple[Corpus, Grounding, Any] | None = None

    def arm(self, arm: Arm, before: Result | None) -> Result:
        """Propose and measure; `before` is the first round for an arm of the second."""
        with mipro.context(lm=self.lm, adapter=mipro.JSONAdapter(), num_threads=1):
            proposals, tokens = self._propose(arm, before)
            program = self.task.program()
            first = 1 if before is None else 1 + len(before.instructions)
            texts = _rows(proposals, first)
            scores = [self._measure(_with(program, row), self.measured) for row in texts]
        return Result(
            self.model, self.task.name, self.seed, arm.name, scores, texts, dict(proposals.refusals), tokens
        )

    def given(self) -> Iterator[Result]:
        """Measure the original, and the original with the labels stated where there are some."""
        with mipro.context(lm=self.lm, adapter=mipro.JSONAdapter(), num_threads=1):
            program = self.task.program()
            originals = [p.signature.instructions for p in program.predictors()]
            _, grounding, _ = self._ground()
            stated = [f"{text}\n{grounding.label_sentence(p)}".strip() for p, text in enumerate(originals)]
            for name, row in (("original", originals), ("original with labels", stated)):
                if name == "original" or row != originals:
                    scores = [self._measure(_with(program, row), self.measured)]
                    yield Result(self.model, self.task.name, self.seed, name, scores, [row], {}, 0.0)

    def run(self, rounds: int) -> dict[str, Any]:
        """Optimize with so many rounds of learning and measure on the test examples."""
        with (
            tempfile.TemporaryDirectory() as folder,
            mipro.context(lm=self.lm, adapter=mipro.JSONAdapter(), num_threads=1),
        ):
            optimizer = mipro.MIPROv2(
                self.task.metric,
                auto="light",
                seed=self.seed,
                init_temperature=TEMPERATURE,
                budget=mipro.Budget(lm_calls=self.args.calls),
                propose_rounds=rounds,
                run_dir=folder,
            )
            best = optimizer.compile(self.task.program(), trainset=self.train, valset=self.measured)
            story = best.optimization
            return {
                "model": self.model,
                "task": self.task.name,
                "seed": self.seed,
                "arm": f"run, {rounds} rounds",
                "scores": [self._measure(best, self.test)],
                "calls": story.lm_calls,
                "estimate": story.estimate,
                "candidate": list(story.candidate),
                "rounds": [asdict(held) for held in story.rounds],
                "stop": story.stop_reason,
            }

    def _measure(self, program: mipro.Module, examples: Sequence[mipro.Example]) -> list[float]:
        return [run_example(program, row, self.task.metric).score or 0.0 for row in examples]

    def _ground(self) -> tuple[Corpus, Grounding, Any]:
        if self._prepared is None:
            program = self.task.program()
            corpus = Corpus(self.train, others=worked_texts())
            asker = Asker(self.lm, num_threads=1)
            rng = random.Random(f"{self.seed}:grounding")
            grounding = ground(program, self.train, corpus, asker, rng=rng, view_size=10)
            demos = collect_demos(
                program,
                self.train,
                metric=self.task.metric,
                count=1,
                max_bootstrapped=0,
                max_labeled=0,
                rng=rng,
            )
            self._prepared = corpus, grounding, demos.grounding
        return self._prepared

    def _propose(self, arm: Arm, before: Result | None) -> tuple[Proposals, float]:
        corpus, grounding, demos = self._ground()
        grounding = arm.ground(grounding)
        program = self.task.program()
        taken = [[p.signature.instructions] for p in program.predictors()]
        for row in before.instructions if before is not None else ():
            for p, text in enumerate(row):
                taken[p].append(text)
        # The free proposal, the original with the labels, is measured by itself.
        free = before is None and any(grounding.label_sentence(p) for p in range(len(taken)))
        count = len(taken[0]) + self.args.proposals + free
        how = ProposalSettings(count, TEMPERATURE, **arm.how)
        lessons = self._lessons(arm, before)
        desk = Desk(program, corpus, grounding, how, demos=demos, lessons=lessons)
        if not arm.guarded:
            desk._guards = [_NoGuard() for _ in taken]  # noqa: SLF001 - what is measured here
        asked = len(self.lm.history)
        rng = random.Random(f"{self.seed}:{'first' if before is None else 'second'}")
        proposals = desk.propose(Asker(self.lm, num_threads=1), taken, rng)
        prompts = [
            sum(token_estimate(str(message["content"])) for message in call["messages"])
            for call in self.lm.history[asked:]
        ]
        return proposals, statistics.fmean(prompts) if prompts else 0.0

    def _lessons(self, arm: Arm, before: Result | None) -> Lessons:
        if before is None:
            return Lessons()
        best = max(range(len(before.scores)), key=lambda i: sum(before.scores[i]))
        return Lessons(
            1,
            _history(before) if arm.history else (),
            self._mistakes(before.instructions[best]) if arm.failures else (),
        )

    def _mistakes(self, row: list[str]) -> tuple[Mistake, ...]:
        program = _with(self.task.program(), row)
        wrong = []
        for example in self.train[:PROBED]:
            outcome = run_example(program, example, self.task.metric)
            if not outcome.score:
                answer = dict(outcome.prediction.items()) if outcome.prediction is not None else None
                wrong.append(Mistake(example, answer, outcome.feedback))
        return tuple(wrong)


def _history(before: Result) -> tuple[ScoredInstruction, ...]:
    return tuple(
        ScoredInstruction(p, text, statistics.fmean(scores))
        for row, scores in zip(before.instructions, before.scores, strict=True)
        for p, text in enumerate(row)
    )


def _rows(proposals: Proposals, first: int) -> list[list[str]]:
    """The i-th new proposals of all predictors together; the original where one has fewer."""
    columns = []
    for texts, tips in zip(proposals.instructions, proposals.tips, strict=True):
        new = list(zip(texts[first:], tips[-len(texts[first:]) :], strict=True)) if texts[first:] else []
        columns.append([texts[0], *(text for text, tip in new if not tip.startswith("original"))])
    longest = max(len(column) for column in columns)
    return [[column[i] if i < len(column) else column[0] for column in columns] for i in range(1, longest)]


def _with(program: mipro.Module, row: Sequence[str]) -> mipro.Module:
    changed = program.deepcopy()
    for predictor, text in zip(changed.predictors(), row, strict=True):
        predictor.signature = predictor.signature.with_instructions(text)
    return changed


class Results:
    """The file of results."""

    def __init__(self, path: Path) -> None:
        self.path = path
        lines = path.read_text().splitlines() if path.exists() else []
        self.rows: list[dict[str, Any]] = [json.loads(line) for line in lines]

    def get(self, model: str, task: str, seed: int, arm: str) -> dict[str, Any] | None:
        """Return one result, or None."""
        key = (model, task, seed, arm)
        return next((r for r in self.rows if (r["model"], r["task"], r["seed"], r["arm"]) == key), None)

    def add(self, row: dict[str, Any]) -> None:
        """Keep one more."""
        self.rows.append(row)
        with self.path.open("a") as file:
            file.write(json.dumps(row) + "\n")
        means = [round(statistics.fmean(scores), 2) for scores in row["scores"]]
        print(f"{row['model'][:8]} {row['task']} {row['seed']} {row['arm']}: {means}", flush=True)


def measure_ingredients(bench: Bench, results: Results) -> None:
    """Measure all arms that are not measured yet."""
    key = (bench.model, bench.task.name, bench.seed)
    if results.get(*key, "original") is None:
        for result in bench.given():
            results.add(asdict(result))
    for arm in FIRST:
        if results.get(*key, arm.name) is None:
            results.add(asdict(bench.arm(arm, None)))
    found = results.get(*key, "all")
    if found is None or not found["instructions"]:
        return
    for arm in SECOND:
        if results.get(*key, arm.name) is None:
            results.add(asdict(bench.arm(arm, Result(**found))))


def measure_runs(bench: Bench, results: Results) -> None:
    """Optimize with and without rounds at an equal number of calls."""
    for rounds in (0, 1, 2):
        if results.get(bench.model, bench.task.name, bench.seed, f"run, {rounds} rounds") is None:
            results.add(bench.run(rounds))


def show(results: Results) -> None:
    """Print the tables."""
    for model in dict.fromkeys(row["model"] for row in results.rows):
        rows = [row for row in results.rows if row["model"] == model]
        tasks = list(dict.fromkeys(row["task"] for row in rows))
        heads = ["arm", *tasks, "mean - all", "+-", "refused", "prompt tokens"]
        print(f"\n{model}: score of the mean and of the best proposal\n")
        print(f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}")
        for arm in dict.fromkeys(row["arm"] for row in rows):
            print(_line(arm, rows, tasks))


def _line(arm: str, rows: list[dict[str, Any]], tasks: list[str]) -> str:
    mine = [row for row in rows if row["arm"] == arm and row["scores"]]
    cells = []
    for task in tasks:
        found = [row for row in mine if row["task"] == task]
        means = [statistics.fmean(s) for row in found for s in row["scores"]]
        best = [max(statistics.fmean(s) for s in row["scores"]) for row in found]
        cells.append(f"{statistics.fmean(means):.2f}  {statistics.fmean(best):.2f}" if means else "")
    gap, error = _gap(mine, rows)
    cells += ["", ""] if gap is None else [f"{gap:+.3f}", f"{error:.3f}"]
    refused = sum(sum(row.get("refused", {}).values()) for row in mine)
    asked = statistics.fmean(row.get("prompt_tokens") or 0 for row in mine) if mine else 0
    return f"| {' | '.join([arm, *cells, str(refused), f'{asked:.0f}'])} |"


def _gap(mine: list[dict[str, Any]], rows: list[dict[str, Any]]) -> tuple[float | None, float]:
    """Mean difference of the mean proposal from "all", and its standard error over proposals."""
    gaps, variances = [], []
    for row in mine:
        key = (row["task"], row["seed"])
        whole = [r for r in rows if r["arm"] == "all" and (r["task"], r["seed"]) == key and r["scores"]]
        if row["arm"] == "all" or row["arm"].startswith("run") or not whole:
            continue
        ours, theirs = ([statistics.fmean(s) for s in r["scores"]] for r in (row, whole[0]))
        gaps.append(statistics.fmean(ours) - statistics.fmean(theirs))
        variances.append(sum(statistics.variance(x) / len(x) for x in (ours, theirs) if len(x) > 1))
    if not gaps:
        return None, 0.0
    return statistics.fmean(gaps), sum(variances) ** 0.5 / len(gaps)


def main() -> None:
    """Measure what is missing, then show."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=list(TASKS))
    parser.add_argument("--proposals", type=int, default=4)
    parser.add_argument("--examples", type=int, default=40)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--calls", type=int, default=250)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("proposals.jsonl"))
    parser.add_argument("--what", nargs="+", default=["ingredients", "runs"], choices=["ingredients", "runs"])
    parser.add_argument("--show", action="store_true")
    args = parser.parse_args()
    results = Results(args.out)
    steps = {"ingredients": measure_ingredients, "runs": measure_runs}
    plan = itertools.product(range(args.seeds), args.models, args.what, args.tasks)
    for seed, model, what, task in () if args.show else plan:
        steps[what](Bench(model, TASKS[task], seed, args), results)
    show(results)


if __name__ == "__main__":
    main()
