"""What each ingredient of a proposal is worth, and whether rounds of learning pay, on small local models.

    python benchmarks/proposals.py [--models qwen2.5-coder-0.5b-instruct ...] [--tasks odd_one_out ...]
                                   [--proposals 1] [--examples 12] [--seeds 4] [--first-seed 0]
                                   [--calls 200] [--threads 1] [--what ingredients runs]
                                   [--out proposals.jsonl] [--show]

For every seed, model and task, instructions are proposed with all that the proposer is shown, then without
one ingredient at a time, with the same tips and draws; each is measured alone, without demos, on the same
examples. A second round of proposals, again with the same tips and draws, is made with history and failures
and without each. Then whole runs of MIPROv2 with and without a round of learning, with the same number of
model calls, are measured on examples that no stage saw. What differs between two proposals is most of the
variance, so many seeds with few examples tell more than few with many; seeds come outermost, so that it may
be stopped anywhere. Results are appended to `--out`, and what is there is not done again; answers of the
models come from mipro's cache on disk. `--show` prints the tables of what is there. Takes hours on one core.
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
from _begun import BegunAdapter
from _gaps import mean_gap
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
VALIDATION = 16
"""Examples that a whole run measures on."""
TEST = 40
PROBED = 6
"""Training examples on which the best instruction is run to see its mistakes."""
SHARED = 2
"""Seeds that share what is found out about data and program."""
TEXT = r'''root ::= [^{"\\\n] [^"\\\n]* "\""'''
"""The rest of a JSON text that does not begin with a brace: the models would copy that of the layout."""
TEMPERATURE = 0.7
"""Of the proposals, as in the demo: such small models lose the thread at 1.0."""


class TaskAdapter(BegunAdapter):
    """Begins the answer of a task, held to `TEXT`; what the proposer asks is as it always is."""

    def begins(self, signature: type[mipro.Signature]) -> bool:
        """Whether it is the signature of a task."""
        return any(set(signature.output_fields) == {name} for name in ("answer", "category", "intent"))


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
    max_tokens: int = 8
    """Enough for the longest right answer."""

    def data(self) -> tuple[list[mipro.Example], list[mipro.Example]]:
        """Return training examples and the others."""
        names = ("utterance" if self.name == "intent_recognition" else "question", self.answer)
        rows = {row[names[0]]: {name: row[name] for name in names} for row in big_bench(self.name)}
        ready = [mipro.Example(**row).with_inputs(names[0]) for row in rows.values()]
        random.Random(0).shuffle(ready)
        return ready[:TRAIN], ready[TRAIN:]

    def metric(self, example: mipro.Example, prediction: Any, trace: object = None) -> bool:
        """Whether the answer is the expected one, case and punctuation aside."""
        del trace
        return normalize_text(str(prediction[self.answer])) == normalize_text(str(example[self.answer]))


TASKS = {
    task.name: task
    for task in (
        Task("intent_recognition", lambda: mipro.Predict("utterance -> intent"), "intent"),
        Task("entailed_polarity", lambda: mipro.Predict("question -> answer"), max_tokens=3),
        Task("odd_one_out", OddOneOut, max_tokens=6),
        Task("sports_understanding", lambda: mipro.Predict("question -> answer"), max_tokens=5),
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
)
ORIGINAL, STATED = "original", "original with labels"


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
        settings: dict[str, Any] = {"threads": args.threads, "parallel": 1, "temperature": 0.0}
        self.prompt_lm = mipro.LM(f"local/{model}", **settings)
        self.lm = mipro.LM(f"local/{model}", **settings, grammar=TEXT, max_tokens=task.max_tokens)
        self.train, rest = task.data()
        self.measured, self.validation, self.test = (
            rest[: args.examples],
            rest[:VALIDATION],
            rest[VALIDATION:],
        )
        self._prepared: tuple[Corpus, Grounding, Any] | None = None

    def arm(self, arm: Arm, before: Sequence[Result]) -> Result:
        """Propose and measure; `before` is what the first round found, for an arm of the second."""
        with mipro.context(lm=self.lm, adapter=TaskAdapter(), num_threads=1):
            proposals, tokens = self._propose(arm, before)
            taken = 1 + sum(len(result.instructions) for result in before)
            texts = _rows(proposals, taken)
            scores = [self._measure(_with(self.task.program(), row), self.measured) for row in texts]
        return self._result(arm.name, scores, texts, dict(proposals.refusals), tokens)

    def given(self) -> Iterator[Result]:
        """Measure the original, and the original with the labels stated where there are some."""
        with mipro.context(lm=self.lm, adapter=TaskAdapter(), num_threads=1):
            program = self.task.program()
            originals = [p.signature.instructions for p in program.predictors()]
            _, grounding, _ = self._ground()
            stated = [f"{text}\n{grounding.label_sentence(p)}".strip() for p, text in enumerate(originals)]
            for name, row in ((ORIGINAL, originals), (STATED, stated)):
                if name == ORIGINAL or row != originals:
                    scores = [self._measure(_with(program, row), self.measured)]
                    yield self._result(name, scores, [row])

    def run(self, rounds: int) -> dict[str, Any]:
        """Optimize with so many rounds of learning and measure on the test examples."""
        with (
            tempfile.TemporaryDirectory() as folder,
            mipro.context(lm=self.lm, adapter=TaskAdapter(), num_threads=1),
        ):
            optimizer = mipro.MIPROv2(
                self.task.metric,
                prompt_model=self.prompt_lm,
                auto="light",
                seed=self.seed,
                init_temperature=TEMPERATURE,
                budget=mipro.Budget(lm_calls=self.args.calls),
                propose_rounds=rounds,
                run_dir=folder,
            )
            best = optimizer.compile(self.task.program(), trainset=self.train, valset=self.validation)
            story = best.optimization
            scores = [self._measure(best, self.test[:TEST])]
            return {
                **asdict(self._result(f"run, {rounds} rounds", scores, [])),
                "calls": story.lm_calls,
                "estimate": story.estimate,
                "candidate": list(story.candidate),
                "rounds": [asdict(held) for held in story.rounds],
                "stop": story.stop_reason,
            }

    def _result(
        self,
        name: str,
        scores: list[list[float]],
        texts: list[list[str]],
        refused: dict[str, int] | None = None,
        tokens: float = 0.0,
    ) -> Result:
        return Result(self.model, self.task.name, self.seed, name, scores, texts, refused or {}, tokens)

    def _measure(self, program: mipro.Module, examples: Sequence[mipro.Example]) -> list[float]:
        return [run_example(program, row, self.task.metric).score or 0.0 for row in examples]

    def _ground(self) -> tuple[Corpus, Grounding, Any]:
        if self._prepared is None:
            program = self.task.program()
            corpus = Corpus(self.train, others=worked_texts())
            asker = Asker(self.prompt_lm, num_threads=1)
            rng = random.Random(f"{self.seed // SHARED}:grounding")
            grounding = ground(program, self.train, corpus, asker, rng=rng, view_size=10)
            found = collect_demos(
                program,
                self.train,
                metric=self.task.metric,
                count=1,
                max_bootstrapped=0,
                max_labeled=0,
                rng=rng,
            )
            rng = random.Random(f"{self.seed}:demos")
            demos = [rng.sample(own, len(own)) for own in found.grounding]
            self._prepared = corpus, grounding, demos
        return self._prepared

    def _propose(self, arm: Arm, before: Sequence[Result]) -> tuple[Proposals, float]:
        corpus, grounding, demos = self._ground()
        grounding = arm.ground(grounding)
        program = self.task.program()
        taken = [[p.signature.instructions] for p in program.predictors()]
        for result in before:
            for row in result.instructions:
                for p, text in enumerate(row):
                    taken[p].append(text)
        # The free proposal, the original with the labels, is measured by itself.
        free = not before and any(grounding.label_sentence(p) for p in range(len(taken)))
        count = len(taken[0]) + self.args.proposals + free
        how = ProposalSettings(count, TEMPERATURE, **arm.how)
        desk = Desk(program, corpus, grounding, how, demos=demos, lessons=self._lessons(arm, before))
        if not arm.guarded:
            desk._guards = [_NoGuard() for _ in taken]  # noqa: SLF001 - what is measured here
        asked = len(self.prompt_lm.history)
        rng = random.Random(f"{self.seed}:proposals")
        proposals = desk.propose(Asker(self.prompt_lm, num_threads=1), taken, rng)
        prompts = [
            sum(token_estimate(str(message["content"])) for message in call["messages"])
            for call in self.prompt_lm.history[asked:]
        ]
        return proposals, statistics.fmean(prompts) if prompts else 0.0

    def _lessons(self, arm: Arm, before: Sequence[Result]) -> Lessons:
        if not before:
            return Lessons()
        tried = [
            (row, statistics.fmean(scores))
            for result in before
            for row, scores in zip(result.instructions, result.scores, strict=True)
        ]
        best, _ = max(tried, key=lambda pair: pair[1])
        history = tuple(
            ScoredInstruction(p, text, score) for row, score in tried for p, text in enumerate(row)
        )
        return Lessons(1, history if arm.history else (), self._mistakes(best) if arm.failures else ())

    def _mistakes(self, row: list[str]) -> tuple[Mistake, ...]:
        program = _with(self.task.program(), row)
        wrong = []
        for example in self.train[:PROBED]:
            outcome = run_example(program, example, self.task.metric)
            if not outcome.score:
                answer = dict(outcome.prediction.items()) if outcome.prediction is not None else None
                wrong.append(Mistake(example, answer, outcome.feedback))
        return tuple(wrong)


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
    if results.get(*key, ORIGINAL) is None:
        for result in bench.given():
            results.add(asdict(result))
    for arm in FIRST:
        if arm.name == "no program" and len(bench.task.program().predictors()) == 1:
            continue  # Nothing is said of a bare predictor.
        if results.get(*key, arm.name) is None:
            results.add(asdict(bench.arm(arm, ())))
    found = [results.get(*key, name) for name in (ORIGINAL, STATED, "all")]
    before = [Result(**row) for row in found if row is not None]
    for arm in SECOND:
        if results.get(*key, arm.name) is None:
            results.add(asdict(bench.arm(arm, before)))


def measure_runs(bench: Bench, results: Results) -> None:
    """Optimize with and without a round of learning at an equal number of calls."""
    for rounds in (0, 1):
        if results.get(bench.model, bench.task.name, bench.seed, f"run, {rounds} rounds") is None:
            results.add(bench.run(rounds))


def show(results: Results) -> None:
    """Print the tables."""
    made = [row for row in results.rows if not row["arm"].startswith("run")]
    runs = [row for row in results.rows if row["arm"].startswith("run")]
    for model in dict.fromkeys(row["model"] for row in made):
        rows = [row for row in made if row["model"] == model]
        tasks = list(dict.fromkeys(row["task"] for row in rows))
        counts = [len({row["seed"] for row in rows if row["task"] == task}) for task in tasks]
        print(f"\n{model}: score of the mean (best) proposal; seeds by task: {counts}\n")
        _head("made with", *tasks, "refused", "prompt tokens")
        for arm in dict.fromkeys(row["arm"] for row in rows):
            print(_line(arm, rows, tasks))
    if made:
        print("\nbeside all parts, in pairs of the same model, task and seed\n")
        _head("made with", "pairs", "better", "equal", "worse", "mean difference")
        for arm in dict.fromkeys(row["arm"] for row in made):
            print(_beside(arm, made))
    if runs:
        print("\nwhole runs, score on test examples\n")
        _head("model", "task", "seed", "run", "test", "expected", "calls", "rounds held")
        for row in sorted(runs, key=lambda row: (row["model"], row["task"], row["seed"], row["arm"])):
            print(_run_line(row))


def _head(*names: str) -> None:
    print(f"| {' | '.join(names)} |\n|{'---|' * len(names)}")


def _run_line(row: dict[str, Any]) -> str:
    test, estimate = statistics.fmean(row["scores"][0]), row["estimate"]
    held = "; ".join(
        f"after {r['evaluations']}: {r['mistakes']} of {r['probed']} wrong, "
        f"{sum(map(len, r['instructions']))} instructions, {sum(map(len, r['demo_sets']))} sets"
        for r in row["rounds"]
    )
    cells = [row["model"], row["task"], row["seed"], row["arm"], f"{test:.2f}", f"{estimate:.2f}"]
    return f"| {' | '.join(map(str, [*cells, row['calls'], held]))} |"


def _line(arm: str, rows: list[dict[str, Any]], tasks: list[str]) -> str:
    mine = [row for row in rows if row["arm"] == arm]
    cells = []
    for task in tasks:
        found = [row for row in mine if row["task"] == task]
        means = [statistics.fmean(s) for row in found for s in row["scores"]]
        cells.append(f"{statistics.fmean(means):.2f} ({max(means):.2f})" if means else "none" * bool(found))
    refused = sum(sum(row["refused"].values()) for row in mine)
    asked = statistics.fmean(row["prompt_tokens"] for row in mine)
    return f"| {' | '.join([arm, *cells, str(refused), f'{asked:.0f}'])} |"


def _beside(arm: str, rows: list[dict[str, Any]]) -> str:
    """Compare an arm with "all"; where nothing could be used the original stands in, as it does in a run."""
    value = {(row["arm"], row["model"], row["task"], row["seed"]): _value(row, rows) for row in rows}
    pairs = [(score, value.get(("all", *key))) for (name, *key), score in value.items() if name == arm]
    gaps = [score - whole for score, whole in pairs if whole is not None]
    counts = [len(gaps), sum(g > 0 for g in gaps), sum(g == 0 for g in gaps), sum(g < 0 for g in gaps)]
    return f"| {' | '.join([arm, *map(str, counts), mean_gap(gaps) if gaps else ''])} |"


def _value(row: dict[str, Any], rows: list[dict[str, Any]]) -> float:
    if not row["scores"]:
        key = (ORIGINAL, row["model"], row["task"], row["seed"])
        row = next(r for r in rows if (r["arm"], r["model"], r["task"], r["seed"]) == key)
    return statistics.fmean(statistics.fmean(scores) for scores in row["scores"])


def main() -> None:
    """Measure what is missing, then show."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=list(TASKS))
    parser.add_argument("--proposals", type=int, default=1, help="of each arm")
    parser.add_argument("--examples", type=int, default=12, help="that a proposal is measured on")
    parser.add_argument("--seeds", type=int, default=4, help="how many")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--calls", type=int, default=200, help="of a whole run")
    parser.add_argument("--threads", type=int, default=1, help="of the model")
    parser.add_argument("--out", type=Path, default=Path("proposals.jsonl"))
    parser.add_argument("--what", nargs="+", default=["ingredients", "runs"], choices=["ingredients", "runs"])
    parser.add_argument("--show", action="store_true")
    args = parser.parse_args()
    results = Results(args.out)
    steps = {"ingredients": measure_ingredients, "runs": measure_runs}
    seeds = range(args.first_seed, args.first_seed + args.seeds)
    plan = itertools.product(seeds, args.models, args.what, args.tasks)
    for seed, model, what, task in () if args.show else plan:
        steps[what](Bench(model, TASKS[task], seed, args), results)
    show(results)


if __name__ == "__main__":
    main()
