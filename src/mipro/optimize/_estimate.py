"""What a run will cost, before anything is spent."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mipro.adapters import ChatAdapter
from mipro.context import settings
from mipro.lm import Usage
from mipro.optimize._data import without_shared
from mipro.optimize._settings import PROBED, ROUNDS, new_choices
from mipro.propose import content_tokens, value_tokens

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mipro.example import Example
    from mipro.lm import BaseLM
    from mipro.optimize._job import Job

SAMPLED = 20
"""Training examples whose prompts are written to see how long they are."""
UNKNOWN_INPUT_TOKENS = (5, 300)
"""Tokens of an input that another predictor makes, such as retrieved passages, least and most."""
FIELD_TOKENS = (1, 400)
"""Tokens of one output field, least and most; an output that the examples have is measured instead."""
TOKENS_OFF = (0.6, 1.7)
"""How far a count from the number of characters may be off: code and other scripts than Latin
have more tokens a character than the four of English."""
LOOPS = 5
"""Calls that one predictor may make for one example where the program loops, an agent's steps
for example; one where it does not."""
VIEWS = 3
"""Views of the trainset that the proposer summarizes, at most."""
PROPOSAL_TRIES = 4
"""Answers of the prompt model for one instruction, refused ones included, at most."""
PROPOSAL_TOKENS = (60, 4000)
"""Prompt tokens of one call of the proposer."""
PROPOSAL_ANSWER_TOKENS = (5, 800)
"""Completion tokens of one call of the proposer."""
LEAST_SHARE = 0.05
"""Part of the search's ceiling after which it may stop already, where one candidate is far ahead."""


@dataclass(frozen=True, slots=True)
class Range:
    """The least and the most to expect."""

    low: float
    high: float

    def __add__(self, other: Range) -> Range:
        return Range(self.low + other.low, self.high + other.high)

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high


@dataclass(frozen=True, slots=True)
class StageEstimate:
    """One stage of a run."""

    stage: str
    """"demos", "instructions", "search", "rounds" (of learning, during the search) or "test"."""
    model: str
    calls: Range
    """Calls to the model, repeated ones after a failure not counted."""
    tokens: Range
    """Prompt and completion tokens."""
    cost_usd: Range | None
    """US dollars, or None where the price is not known."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A whole run."""

    stages: tuple[StageEstimate, ...]

    @property
    def calls(self) -> Range:
        """Calls to all models."""
        return sum((stage.calls for stage in self.stages), Range(0, 0))

    @property
    def tokens(self) -> Range:
        """Prompt and completion tokens of all models."""
        return sum((stage.tokens for stage in self.stages), Range(0, 0))

    @property
    def cost_usd(self) -> Range | None:
        """US dollars for all models, or None where a price is not known."""
        total = Range(0, 0)
        for stage in self.stages:
            if stage.cost_usd is None:
                return None
            total += stage.cost_usd
        return total

    def __str__(self) -> str:
        lines = [
            f"{stage.stage:<12} {stage.model:<28} {_line(stage.calls, stage.tokens, stage.cost_usd)}"
            for stage in self.stages
        ]
        return "\n".join([*lines, f"{'in all':<41} {_line(self.calls, self.tokens, self.cost_usd)}"])


def estimate(job: Job) -> Estimate:
    """Estimate a run from its plan and from the prompts that the program would send.

    No call is made. The range is wide on purpose: how often the program fails, loops and
    rambles, and how early the search stops, is not known before.
    """
    plan = job.plan
    task = job.task_lm or job.student.predictors()[0].lm
    run = _program_run(job)
    bootstraps = plan.zero_shot or plan.max_bootstrapped_demos > 0
    train = len(plan.demo_pool) * job.max_rounds
    stages = [
        _task_stage("demos", task, Range(min(1, train), train) if bootstraps else Range(0, 0), run),
        _proposals(job),
        _task_stage("search", task, Range(math.ceil(LEAST_SHARE * plan.evaluations), plan.evaluations), run),
    ]
    stages += _rounds(job, task, run)
    if plan.testset:
        # Where nothing better is found the original is measured once and its scores are known; answers to
        # inputs that an earlier stage has met may be known too.
        least = len(without_shared(plan.testset, plan.trainset, plan.valset))
        stages.append(_task_stage("test", task, Range(least, 2 * len(plan.testset)), run))
    return Estimate(tuple(stages))


@dataclass(frozen=True, slots=True)
class _ProgramRun:
    """One run of the program on one example."""

    calls: Range
    prompt_tokens: Range
    completion_tokens: Range


def _program_run(job: Job) -> _ProgramRun:
    predictors = job.student.predictors()
    examples = job.plan.trainset[:SAMPLED]
    loops = 1 if len(predictors) == 1 and job.student is predictors[0] else LOOPS
    prompt, completion = Range(0, 0), Range(0, 0)
    demos = max(job.plan.max_bootstrapped_demos, job.plan.max_labeled_demos)
    for predictor in predictors:
        shown = [_prompt_tokens(predictor, example) for example in examples]
        demo = max(_field_tokens(example, list(example.keys())).high for example in examples)
        low = TOKENS_OFF[0] * min(shown)[0]
        high = TOKENS_OFF[1] * (max(high for _, high in shown) + demos * demo)
        prompt += Range(low, loops * high)
        outputs = [_field_tokens(example, predictor.signature.output_fields) for example in examples]
        least, most = min(o.low for o in outputs), max(o.high for o in outputs)
        completion += Range(least, loops * TOKENS_OFF[1] * most)
    return _ProgramRun(Range(min(1, len(predictors)), loops * len(predictors)), prompt, completion)


def _prompt_tokens(predictor: Any, example: Example) -> tuple[float, float]:
    signature = predictor.signature
    known = {name: example[name] for name in signature.input_fields if name in example}
    unknown = len(signature.input_fields) - len(known)
    adapter = settings.adapter or ChatAdapter()
    blanks = {name: known.get(name, "") for name in signature.input_fields}
    messages = adapter.format(signature, demos=[], inputs=blanks)
    tokens = float(sum(content_tokens(message["content"]) for message in messages))
    return tokens + unknown * UNKNOWN_INPUT_TOKENS[0], tokens + unknown * UNKNOWN_INPUT_TOKENS[1]


def _field_tokens(example: Example, names: Iterable[str]) -> Range:
    total = Range(0, 0)
    for name in names:
        if name in example:
            tokens = value_tokens(example[name])
            total += Range(0.5 * tokens, 2 * tokens + 20)
        else:
            total += Range(*FIELD_TOKENS)
    return total


def _task_stage(stage: str, lm: BaseLM, runs: Range, run: _ProgramRun) -> StageEstimate:
    low = Usage(int(runs.low * run.prompt_tokens.low), int(runs.low * run.completion_tokens.low))
    high = Usage(int(runs.high * run.prompt_tokens.high), int(runs.high * run.completion_tokens.high))
    calls = Range(runs.low * run.calls.low, runs.high * run.calls.high)
    return _stage(stage, lm, calls, low, high)


def _proposals(job: Job) -> StageEstimate:
    predictors = len(job.student.predictors()) - len(job.frozen)
    wanted = predictors * (job.plan.num_instructions - 1)
    if not wanted:
        return _stage("instructions", job.prompt_lm, Range(0, 0), Usage(), Usage())
    # Views and their merger, the program's description, each predictor's role.
    grounding = VIEWS + 1 + 1 + predictors
    calls = Range(wanted, PROPOSAL_TRIES * wanted + 2 * grounding)
    low = Usage(int(calls.low * PROPOSAL_TOKENS[0]), int(calls.low * PROPOSAL_ANSWER_TOKENS[0]))
    high = Usage(int(calls.high * PROPOSAL_TOKENS[1]), int(calls.high * PROPOSAL_ANSWER_TOKENS[1]))
    return _stage("instructions", job.prompt_lm, calls, low, high)


def _rounds(job: Job, task: BaseLM, run: _ProgramRun) -> list[StageEstimate]:
    """What the rounds of learning cost: none is held if the search ends before."""
    rounds, predictors = job.plan.propose_rounds, len(job.student.predictors()) - len(job.frozen)
    if not rounds:
        return []
    calls = Range(0, rounds * predictors * new_choices(job.plan.num_instructions) * PROPOSAL_TRIES)
    high = Usage(int(calls.high * PROPOSAL_TOKENS[1]), int(calls.high * PROPOSAL_ANSWER_TOKENS[1]))
    proposals = _stage(ROUNDS, job.prompt_lm, calls, Usage(), high)
    probes = _task_stage(ROUNDS, task, Range(0, rounds * PROBED), run)
    if job.prompt_lm.model != task.model:
        return [proposals, probes]
    costs = proposals.cost_usd, probes.cost_usd
    cost = None if costs[0] is None or costs[1] is None else costs[0] + costs[1]
    both = proposals.calls + probes.calls, proposals.tokens + probes.tokens
    return [StageEstimate(ROUNDS, task.model, *both, cost)]


def _stage(stage: str, lm: BaseLM, calls: Range, low: Usage, high: Usage) -> StageEstimate:
    prices = lm.price_usd(low), lm.price_usd(high)
    cost = None if prices[0] is None or prices[1] is None else Range(prices[0], prices[1])
    return StageEstimate(stage, lm.model, calls, Range(low.total_tokens, high.total_tokens), cost)


def _span(value: Range) -> str:
    return f"{value.low:,.0f} to {value.high:,.0f}"


def _line(calls: Range, tokens: Range, cost: Range | None) -> str:
    price = "price not known" if cost is None else f"{cost.low:.4f} to {cost.high:.4f} USD"
    return f"{_span(calls)} calls, {_span(tokens)} tokens, {price}"
