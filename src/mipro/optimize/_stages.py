"""The stages of MIPROv2, each one call into a room of its own."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from mipro.errors import BudgetExhausted
from mipro.optimize._demo_sets import DemoSets
from mipro.optimize._demos import collect_demos
from mipro.optimize._own_search import Limits, checked_recommendation, checked_search
from mipro.optimize._result import TestScores, TrialRecord
from mipro.optimize._rounds import RoundRecord, Rounds
from mipro.optimize._search import Scoreboard, run_search
from mipro.optimize._space import CandidateSpace, stratified_order
from mipro.propose import Proposals, propose_instructions
from mipro.runs import Evaluator, Run
from mipro.search import Recommendation, Search, create

if TYPE_CHECKING:
    from mipro.modules import Module
    from mipro.optimize._ahead import Ahead
    from mipro.optimize._job import Job
    from mipro.optimize._progress import Reporter


@dataclass(frozen=True, slots=True)
class Found:
    """What the search found."""

    recommendation: Recommendation
    trials: tuple[TrialRecord, ...]
    stop_reason: str
    rounds: tuple[RoundRecord, ...] = ()
    """Rounds of learning held on the way."""


def collect(job: Job, run: Run, report: Reporter, ahead: Ahead) -> DemoSets:
    """Stage 1: demo sets from the trainset."""
    plan = job.plan
    with run.stage("demos"):
        return collect_demos(
            job.student,
            plan.demo_pool,
            metric=job.metric,
            count=plan.num_demo_sets,
            max_bootstrapped=plan.max_bootstrapped_demos,
            max_labeled=plan.max_labeled_demos,
            metric_threshold=job.metric_threshold,
            teacher=job.teacher,
            teacher_settings=job.teacher_settings,
            max_rounds=job.max_rounds,
            max_demo_tokens=job.max_demo_tokens,
            frozen=job.frozen,
            grounds=job.shows_demos,
            max_errors=job.max_errors,
            num_threads=job.num_threads - ahead.threads,
            rng=plan.stream("demos"),
            gate_of=lambda index: run.gate("demos", subject=f"train {index}", patient=True),
            on_progress=report.of("demos"),
        )


def propose(job: Job, run: Run, report: Reporter, demo_sets: DemoSets, ahead: Ahead) -> Proposals:
    """Stage 2: instructions, grounded in data, program and demos."""
    with run.stage("instructions"):
        return propose_instructions(
            job.student,
            job.plan.trainset,
            demo_sets,
            prompt_lm=job.prompt_lm,
            count=job.plan.num_instructions,
            rng=ahead.rng,
            init_temperature=job.init_temperature,
            num_threads=job.num_threads,
            frozen=job.frozen,
            groundwork=ahead.groundwork(),
            on_progress=report.of("instructions"),
            **job.proposer,
        )


def search(job: Job, run: Run, report: Reporter, space: CandidateSpace) -> Found:
    """Stage 3: the best combination on the valset."""
    strategy = _strategy(job, space)
    board = Scoreboard(job.plan.evaluations, partial(report, "search"))
    with (
        run.stage("search"),
        _evaluator(job, run, "val", board) as evaluator,
        Rounds(job, run, space, strategy, evaluator) as rounds,
    ):
        trials, stop_reason = run_search(
            strategy,
            space,
            evaluator,
            run,
            limits=Limits(len(job.plan.valset), job.plan.evaluations),
            lookahead=job.plan.lookahead,
            on_trial=board.tried,
            rounds=rounds,
        )
    return Found(
        checked_recommendation(strategy.recommend(), space.space), trials, stop_reason, tuple(rounds.held)
    )


def measure_on_testset(job: Job, run: Run, report: Reporter, best: Module) -> TestScores | None:
    """Measure the program as it came and the best one on examples that no stage saw."""
    testset = job.plan.testset
    if not testset or run.stopped is not None:
        return None
    means = []
    board = Scoreboard(2 * len(testset), partial(report, "test"))
    with run.stage("test"), _evaluator(job, run, "test", board) as evaluator:
        for program in (job.student, best):
            try:
                records = evaluator.start(program, range(len(testset)), stage="test").records()
            except BudgetExhausted:
                return None
            known = [record.score for record in records if record.score is not None]
            means.append(sum(known) / len(known) if known else float("nan"))
    return TestScores(before=means[0], after=means[1], examples=len(testset))


def nothing_found(job: Job, stop_reason: str) -> tuple[DemoSets, Proposals, Found]:
    """Return the program as it came, for a run that ended before the search began."""
    nan = float("nan")
    original = Recommendation((0,) * (2 * len(job.student.predictors())), nan, (nan, nan), 0.0)
    return DemoSets.original(job.student), Proposals.original(job.student), Found(original, (), stop_reason)


def _strategy(job: Job, space: CandidateSpace) -> Search:
    plan = job.plan
    make = partial(create, job.search) if isinstance(job.search, str) else job.search
    options: dict[str, Any] = {}
    if isinstance(job.search, str) and job.search in {"tpe", "random"}:
        options = {
            "num_trials": plan.num_trials,
            "minibatch": plan.minibatch,
            "minibatch_size": plan.minibatch_size,
            "minibatch_full_eval_steps": plan.minibatch_full_eval_steps,
        }
    made = make(
        space.space,
        num_examples=len(plan.valset),
        budget=plan.evaluations,
        seed=plan.stream("search").getrandbits(31),
        lookahead=plan.lookahead,
        order=stratified_order(plan.valset, plan.stream("order")),
        **options,
    )
    return checked_search(made)


def _evaluator(job: Job, run: Run, split: str, board: Scoreboard) -> Evaluator:
    return Evaluator(
        run,
        job.plan.valset if split == "val" else job.plan.testset,
        split=split,
        metric=job.metric,
        num_threads=job.num_threads,
        max_errors=job.max_errors,
        on_done=board.evaluated,
    )
