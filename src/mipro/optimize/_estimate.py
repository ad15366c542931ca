"""What a run will cost, before anything is spent."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mipro.adapters import ChatAdapter
from mipro.context import settings
from mipro.lm import Usage
from mipro.modules import ReAct
from mipro.optimize._data import num_inputs, without_shared
from mipro.optimize._settings import PROBED, ROUNDS, new_choices
from mipro.propose import content_tokens, token_estimate, value_tokens

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mipro.example import Example
    from mipro.lm import BaseLM
    from mipro.modules import Module
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
ASKED_AGAIN = 2
"""Calls that a predictor which is the whole program may make for one example: an answer that can't be
read is asked for again as JSON, and of a weak model that may be all of them."""
LOOPS = 5
"""Calls that one predictor may make for one example where the program loops or asks again. An agent says
itself how many steps it may take."""
VIEWS = 3
"""Views of the trainset that the proposer summarizes, at most."""
PROPOSAL_TRIES = 6
"""Answers of the prompt model for one instruction at most: three, each asked for again as JSON."""
PROPOSAL_TOKENS = (60, 4000)
"""Prompt tokens of one call of the proposer, beside an instruction that it is shown."""
PROPOSAL_ANSWER_TOKENS = (5, 800)
"""Completion tokens of one call of the proposer, beside those of an instruction as long as the one shown."""
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
    """Calls to the model; repeated ones after a failure, and those of a metric that asks one, not counted."""
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
    run = _program_run(job, job.student, job.task_lm)
    teacher_lm = job.teacher_settings.get("lm") or job.task_lm
    # Not by its truth, which a program may have of its own, as one with a length has.
    teacher = job.student if job.teacher is None else job.teacher
    is_student = teacher is job.student and teacher_lm is job.task_lm
    teaching = run if is_student else _program_run(job, teacher, teacher_lm)
    bootstraps = job.shows_demos if plan.zero_shot else plan.max_bootstrapped_demos > 0
    train = len(plan.demo_pool) * job.max_rounds
    # Candidates that differ in nothing that the program calls ask the same, which is paid once, as
    # is what is asked about equal inputs.
    least_searched = min(math.ceil(LEAST_SHARE * plan.evaluations), num_inputs(plan.valset))
    stages = [
        *_task_stages("demos", Range(min(1, train), train) if bootstraps else Range(0, 0), teaching),
        _proposals(job),
        *_task_stages("search", Range(least_searched, plan.evaluations), run),
    ]
    stages += _rounds(job, run)
    if plan.testset:
        # Where nothing better is found the original is measured once and its scores are known; answers to
        # inputs that an earlier stage has met may be known too.
        least = num_inputs(without_shared(plan.testset, plan.trainset, plan.valset))
        stages += _task_stages("test", Range(least, 2 * len(plan.testset)), run)
    return Estimate(tuple(stages))


@dataclass(frozen=True, slots=True)
class _ProgramRun:
    """What one run of the program on one example asks of one model."""

    lm: BaseLM
    calls: Range
    prompt_tokens: Range
    completion_tokens: Range


def _program_run(job: Job, program: Module, default: BaseLM | None) -> list[_ProgramRun]:
    """Return the parts of one run, one for each model.

    Args:
        job: Whose examples and demos are in the prompts.
        program: The student, or its teacher.
        default: The model of the predictors that have none of their own.
    """
    most = _most_calls(program)
    by_model: dict[str, tuple[BaseLM, list[tuple[Range, ...]]]] = {}
    for predictor in program.predictors():
        lm = predictor.lm or default
        if lm is not None:
            loops = most[id(predictor)]
            tokens = _one_call(job, predictor)
            asked = (Range(1, loops), *(Range(each.low, loops * each.high) for each in tokens))
            by_model.setdefault(lm.model, (lm, []))[1].append(asked)
    # A program may leave predictors out, but asks one at least.
    least = 1 if len(by_model) == 1 else 0
    return [
        _ProgramRun(
            lm,
            *(
                Range(least * min(each.low for each in parts), sum(each.high for each in parts))
                for parts in zip(*asked_of, strict=True)
            ),
        )
        for lm, asked_of in by_model.values()
    ]


def _most_calls(program: Module) -> dict[int, int]:
    """Return how often each predictor, by its id, may be called for one example."""
    predictors = program.predictors()
    most = LOOPS
    if predictors == [program]:
        adapter = _adapter()
        falls_back = isinstance(adapter, ChatAdapter) and adapter.use_json_adapter_fallback
        most = ASKED_AGAIN if falls_back else 1
    steps = {id(agent.react): max(most, agent.max_iters) for _, agent in program.named_sub_modules(ReAct)}
    return {id(predictor): steps.get(id(predictor), most) for predictor in predictors}


def _one_call(job: Job, predictor: Any) -> tuple[Range, Range]:
    """Return the tokens of prompt and completion of one call of a predictor."""
    examples = job.plan.trainset[:SAMPLED]
    demos = max(job.plan.max_bootstrapped_demos, job.plan.max_labeled_demos)
    shown = [_prompt_tokens(predictor, example) for example in examples]
    demo = max(_field_tokens(example, list(example.keys())).high for example in examples)
    outputs = [_field_tokens(example, predictor.signature.output_fields) for example in examples]
    longest = TOKENS_OFF[1] * (max(high for _, high in shown) + demos * demo)
    return (
        Range(TOKENS_OFF[0] * min(shown)[0], longest),
        Range(min(o.low for o in outputs), TOKENS_OFF[1] * max(o.high for o in outputs)),
    )


def _prompt_tokens(predictor: Any, example: Example) -> tuple[float, float]:
    signature = predictor.signature
    known = {name: example[name] for name in signature.input_fields if name in example}
    unknown = len(signature.input_fields) - len(known)
    # None is of any type, as a text is not: of a history, say.
    blanks = {name: known.get(name) for name in signature.input_fields}
    messages = _adapter().format(signature, demos=[], inputs=blanks)
    tokens = float(sum(content_tokens(message["content"]) for message in messages))
    return tokens + unknown * UNKNOWN_INPUT_TOKENS[0], tokens + unknown * UNKNOWN_INPUT_TOKENS[1]


def _adapter() -> Any:
    return settings.adapter or ChatAdapter()


def _field_tokens(example: Example, names: Iterable[str]) -> Range:
    total = Range(0, 0)
    for name in names:
        if name in example:
            tokens = value_tokens(example[name])
            total += Range(0.5 * tokens, 2 * tokens + 20)
        else:
            total += Range(*FIELD_TOKENS)
    return total


def _task_stages(stage: str, runs: Range, program_run: list[_ProgramRun]) -> list[StageEstimate]:
    """Return the parts of a stage that runs the program so many times, one for each model."""
    made = []
    for run in program_run:
        low = Usage(int(runs.low * run.prompt_tokens.low), int(runs.low * run.completion_tokens.low))
        high = Usage(int(runs.high * run.prompt_tokens.high), int(runs.high * run.completion_tokens.high))
        calls = Range(runs.low * run.calls.low, runs.high * run.calls.high)
        made.append(_stage(stage, run.lm, calls, low, high))
    return made


def _proposals(job: Job) -> StageEstimate:
    predictors = len(job.student.predictors()) - len(job.frozen)
    wanted = predictors * (job.plan.num_instructions - 1)
    if not wanted:
        return _stage("instructions", job.prompt_lm, Range(0, 0), Usage(), Usage())
    # Views and their merger, the program's description, each predictor's role.
    grounding = VIEWS + 1 + 1 + predictors
    calls = Range(wanted, PROPOSAL_TRIES * wanted + 2 * grounding)
    low = Usage(int(calls.low * PROPOSAL_TOKENS[0]), int(calls.low * PROPOSAL_ANSWER_TOKENS[0]))
    return _stage("instructions", job.prompt_lm, calls, low, _most_proposed(job, calls.high))


def _most_proposed(job: Job, calls: float) -> Usage:
    """Return the tokens of so many calls of the proposer at most."""
    texts = [predictor.signature.instructions for predictor in job.student.predictors()]
    longest = TOKENS_OFF[1] * max(map(token_estimate, texts))
    asked, answered = (most + longest for most in (PROPOSAL_TOKENS[1], PROPOSAL_ANSWER_TOKENS[1]))
    return Usage(int(calls * asked), int(calls * answered))


def _rounds(job: Job, run: list[_ProgramRun]) -> list[StageEstimate]:
    """Return what the rounds of learning cost: none is held if the search ends before."""
    rounds, predictors = job.plan.propose_rounds, len(job.student.predictors()) - len(job.frozen)
    if not rounds:
        return []
    calls = Range(0, rounds * predictors * new_choices(job.plan.num_instructions) * PROPOSAL_TRIES)
    proposals = _stage(ROUNDS, job.prompt_lm, calls, Usage(), _most_proposed(job, calls.high))
    probes = _task_stages(ROUNDS, Range(0, rounds * PROBED), run)
    others = [probe for probe in probes if probe.model != proposals.model]
    for probe in probes:
        if probe not in others:
            proposals = _both(proposals, probe)
    return [proposals, *others]


def _both(one: StageEstimate, other: StageEstimate) -> StageEstimate:
    """Return what two parts of a stage with one model cost together."""
    cost = None if one.cost_usd is None or other.cost_usd is None else one.cost_usd + other.cost_usd
    return StageEstimate(one.stage, one.model, one.calls + other.calls, one.tokens + other.tokens, cost)


def _stage(stage: str, lm: BaseLM, calls: Range, low: Usage, high: Usage) -> StageEstimate:
    prices = lm.price_usd(low), lm.price_usd(high)
    cost = None if prices[0] is None or prices[1] is None else Range(prices[0], prices[1])
    return StageEstimate(stage, lm.model, calls, Range(low.total_tokens, high.total_tokens), cost)


def _span(value: Range) -> str:
    return f"{value.low:,.0f} to {value.high:,.0f}"


def _line(calls: Range, tokens: Range, cost: Range | None) -> str:
    price = "price not known" if cost is None else f"{cost.low:.4f} to {cost.high:.4f} USD"
    return f"{_span(calls)} calls, {_span(tokens)} tokens, {price}"
