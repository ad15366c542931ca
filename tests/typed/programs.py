"""The common forms, as a user writes them under `mypy --strict`; checked by `make lint`, never run."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from typing_extensions import assert_type

import mipro
from mipro.datasets import DataLoader, from_csv, split
from mipro.evaluate import SemanticF1, answer_exact_match

mipro.configure(lm=mipro.LM("openai/gpt-4o-mini"), num_threads=4)
rows: list[dict[str, str]] = [{"ticket": "It is late", "queue": "support"}]
examples = [mipro.Example(**row).with_inputs("ticket") for row in rows]
examples += [mipro.Example({"base": "metre"}), mipro.Example(base=examples[0], queue="billing")]
examples += from_csv("a.csv", input_keys=["ticket"]) + DataLoader().from_csv(
    Path("a.csv"), fields=("ticket",)
)
trainset, valset = split(examples, (0.5, None), stratify="queue")


def look(query: str) -> str:
    """Look something up."""
    return query


class Sort(mipro.Signature):
    """Sort the ticket."""

    ticket: str = mipro.InputField()
    hint: str | None = mipro.InputField(desc="may help", default=None)
    queue: Literal["billing", "support"] = mipro.OutputField()


class Plain(mipro.Module):
    """One predictor whose answer is the program's."""

    def __init__(self) -> None:
        super().__init__()
        self.sort = mipro.Predict(Sort, temperature=0.7)

    def forward(self, ticket: str) -> mipro.Prediction:
        """Return the answer as it is."""
        return self.sort(ticket=ticket)

    async def aforward(self, ticket: str) -> mipro.Prediction:
        """Return the answer as it is."""
        return await self.sort.acall(ticket=ticket)


def rate(inputs: dict[str, Any], prediction: mipro.Prediction) -> float:
    """Rate an answer."""
    return float(len(prediction.queue))


refined: mipro.Prediction = mipro.Refine(Plain(), N=3, reward_fn=rate, threshold=1.0)(ticket="It is late")
mipro.BestOfN(module=Plain(), N=3, reward_fn=rate, threshold=1.0, fail_count=1)


class Pipeline(mipro.Module):
    """Predictors of several kinds."""

    def __init__(self, tool: mipro.Tool) -> None:
        super().__init__()
        self.summarize = mipro.ChainOfThought("ticket -> summary")
        self.agent = mipro.ReAct("ticket -> queue", tools=[look, tool], max_iters=3)
        self.compare = mipro.MultiChainComparison("ticket -> queue", M=2)

    def forward(self, ticket: str) -> mipro.Prediction:
        """Return what the agent says."""
        summary: str = self.summarize(ticket=ticket).summary
        return self.agent(ticket=summary)

    async def aforward(self, ticket: str) -> mipro.Prediction:
        """Return what the comparison says."""
        attempts = [await self.summarize.acall(ticket=ticket), await self.agent.acall(ticket=ticket)]
        return self.compare(attempts, ticket=ticket)


def with_trace(example: mipro.Example, prediction: mipro.Prediction, trace: Any = None) -> bool:
    """Compare."""
    return bool(example.queue == prediction.queue)


def with_feedback(gold: mipro.Example, pred: mipro.Prediction) -> mipro.ScoreWithFeedback:
    """Compare, and say why; other names and no trace will do."""
    return mipro.ScoreWithFeedback(float(gold.queue == pred.queue), "why")


for metric in (with_trace, with_feedback, answer_exact_match, SemanticF1(threshold=0.5)):
    mipro.Evaluate(devset=valset, metric=metric, save_as_csv=Path("a.csv"))(mipro.Predict("ticket -> queue"))
mipro.MIPROv2(with_feedback, auto="light", log_dir="runs/a")
mipro.MIPROv2(answer_exact_match)
seen: list[str] = []
mipro.MIPROv2(metric=SemanticF1(), search="tpe", callbacks=[lambda progress: seen.append(progress.stage)])
optimizer = mipro.MIPROv2(with_trace, run_dir=Path("runs/a"), budget=mipro.Budget(lm_calls=500), keep=["x"])
best = optimizer.compile(Plain(), trainset=trainset, valset=valset, requires_permission_to_run=False)
best.save("best.json")
assert_type(best, Plain)
assert_type(best.sort.signature.instructions, str)
assert_type(best.optimization.interval, tuple[float, float])
assert_type(mipro.LabeledFewShot(k=2).compile(Plain(), trainset=trainset), Plain)
assert_type(mipro.BootstrapFewShot(metric=with_trace).compile(Plain(), trainset=trainset), Plain)
assert_type(mipro.BootstrapRS(metric=with_trace).compile(Plain(), trainset=trainset), Plain)
assert best.score < best.optimization.interval[1] * 100
assert optimizer.estimate(Plain(), trainset=trainset).calls.low > 0
with mipro.runs.open(Path("runs/a")) as run:
    assert run.facts()["seed"] not in [evaluation.feedback for evaluation in run.evaluations()]
with mipro.context(lm=mipro.LM("local/smollm2-135m-instruct"), adapter=mipro.JSONAdapter()):
    answer = mipro.Predict("ticket -> queue", n=3)(ticket="It is late")
    assert (answer.queue, answer["queue"]) != mipro.majority(answer)
short = mipro.Signature("ticket -> queue", "Name the queue.")
assert (
    short.instructions != mipro.Predict(short.append("why", mipro.OutputField(), str)).signature.instructions
)
assert list(short.output_fields) == list(mipro.ChainOfThought(short).predictors[0].signature.output_fields)
assert_type(Plain().predictors()[0].demos, list[Any])
found = mipro.Evaluate(devset=valset, metric=with_trace)(best)
assert_type(found.score, float)
for example, _, _ in found.results:
    assert_type(example, mipro.Example)
try:
    mipro.propose.value_tokens(mipro.cache)
except mipro.LMRateLimitError as error:
    assert_type(error.retry_after_s, float | None)

# Mistakes are told: an `ignore` that nothing needs is an error itself.
mipro.Predct("ticket -> queue")  # type: ignore[attr-defined]
mipro.Predict(short, 3).restart()  # type: ignore[arg-type, attr-defined]
best.optimisation.cost()  # type: ignore[attr-defined]
mipro.MIPROv2(with_trace, num_thread=2)  # type: ignore[call-arg]
mipro.Evaluate(devset=valset, metric=lambda example: True)  # type: ignore[arg-type]
optimizer.compile(Plain, trainset=trainset)  # type: ignore[type-var]
optimizer.compile(Plain(), trainset=["It is late"])  # type: ignore[list-item]
