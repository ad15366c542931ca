"""MIPROv2: demos, then instructions, then a search over their combinations."""

from __future__ import annotations

import logging
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from mipro._terminal import is_watched
from mipro.context import context, settings, watching
from mipro.errors import BudgetExhausted
from mipro.evaluate._score import check_metric
from mipro.optimize._ahead import begun_ahead, load_ahead
from mipro.optimize._checks import (
    check_is_given,
    check_not_negative,
    check_positive,
    check_program,
    check_settings,
    check_temperature,
    check_threshold,
    check_whole,
    listed,
    num_predictors,
)
from mipro.optimize._data import check_inputs, check_missing, check_own_demos
from mipro.optimize._estimate import Estimate, estimate
from mipro.optimize._job import Job, facts
from mipro.optimize._progress import Bars, Progress, Reporter, permitted
from mipro.optimize._result import attach, check_attached, detached, tell_story
from mipro.optimize._settings import (
    AutoMode,
    Sizes,
    check_auto,
    check_kept,
    check_names,
    check_run,
    check_search,
    default_rounds,
    lookahead_of,
    make_plan,
    places_of,
    resolve_models,
)
from mipro.optimize._space import CandidateSpace
from mipro.optimize._stages import collect, measure_on_testset, nothing_found, propose, search
from mipro.optimize._teleprompter import Program, Teleprompter
from mipro.optimize._traces import check_same_structure
from mipro.runs import Budget, Run, choose_run_dir, interruptible

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping, Sequence

    from mipro.evaluate import Metric
    from mipro.example import Example
    from mipro.lm import BaseLM
    from mipro.modules import Module
    from mipro.search import Search

logger = logging.getLogger("mipro")


class MIPROv2(Teleprompter):
    """Optimizes the instructions and the few-shot demos of a program, jointly.

    Three stages: demos are collected by running the program on the trainset and keeping
    what the metric accepts; instructions are proposed by a language model that is shown the
    data, the program and the demos; a search measures combinations of both on the valset.

    Args:
        metric: `metric(example, prediction, trace=None)`, higher is better; returns a bool, a
            number, `ScoreWithFeedback` or a `Prediction` with a `score`.
        prompt_model: Writes the instructions; the configured LM where left out.
        task_model: Runs the program; the configured LM where left out.
        teacher_settings: Settings for the teacher, for example `{"lm": strong_model}`.
        max_bootstrapped_demos: Demos per predictor made by running the program, at most.
        max_labeled_demos: Demos per predictor taken from the trainset as they are, at most.
        auto: Size of the run: "light", "medium" or "heavy" (6, 12, 18 candidates; 100, 300, 1000
            validation examples). "light" where neither `num_candidates` nor `num_trials` is given.
        num_candidates: Instructions and demo sets per predictor, in place of `auto`.
        num_threads: Evaluations under way at once, the setting `num_threads` (8) where left out; changes
            no result. With one, program and metric are run by the caller's thread alone.
        max_errors: On so many examples program or metric may raise before the run stops; an example that
            raises for many candidates counts once.
        seed: Seeds everything that is drawn; 0 is a seed.
        init_temperature: Temperature of the proposals.
        verbose: Whether to show progress also where nobody seems to look on, neither at a terminal
            nor in a notebook.
        track_stats: Whether the best program gets `trial_logs`, `candidate_programs` and the rest.
        log_dir: Name of `run_dir` in DSPy.
        metric_threshold: Score from which a bootstrapped demo is kept; any but 0 where left out.
        search: "bayes", "tpe", "random", "halving", or a function that makes a `mipro.search.Search`
            of your own and is called as `mipro.search.create` is, without the name.
        budget: What may be spent at most.
        run_dir: Folder of the run's ledger, or the SQLAlchemy URL of a database of its own; given
            again, the run resumes. A new folder in the user's data folder where left out.
        resume: True to go on with the run in `run_dir`, "fresh" to start another in a new folder
            beside it ("my-run-2").
        patience_s: Seconds to wait for a model that answers nothing before the run stops; 60 at
            most where its server was not reached yet.
        callbacks: Called with every `Progress`, in place of the progress bars, from several threads. What
            one raises is logged and ends nothing, `RunStopped` aside.
        keep: Parts of the program's instructions that must stay in every proposal, word for word.
        max_instruction_tokens: Tokens of a proposed instruction at most, estimated.
        max_demo_tokens: Tokens of one predictor's demos at most, estimated.
        max_rounds: Runs of the teacher for each training example at most, each a fresh draw.
        propose_rounds: Times that more is proposed during the search, from what it has learned; by
            default as many as the budget of the search is worth.
        lookahead: Decisions of the search under way at once, each made without the results of the others;
            2 to 20 by the budget where left out, 1 for a search other than "bayes". More keep more threads
            at work, and know less.
        frozen: Names of predictors, as in `named_predictors()`, that are left as they are.

    Raises:
        UserError: An argument makes no sense.

    References:
        Opsahl-Ong et al., 2024, arXiv:2406.11695.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - DSPy's call form
        self,
        metric: Metric,
        prompt_model: BaseLM | None = None,
        task_model: BaseLM | None = None,
        teacher_settings: dict[str, Any] | None = None,
        max_bootstrapped_demos: int = 4,
        max_labeled_demos: int = 4,
        auto: AutoMode | None = None,
        num_candidates: int | None = None,
        num_threads: int | None = None,
        max_errors: int | None = None,
        seed: int = 9,
        init_temperature: float = 1.0,
        verbose: bool = False,
        track_stats: bool = True,
        log_dir: str | os.PathLike[str] | None = None,
        metric_threshold: float | None = None,
        *,
        search: Literal["bayes", "tpe", "random", "halving"] | str | Callable[..., Search] = "bayes",
        budget: Budget | None = None,
        run_dir: str | os.PathLike[str] | None = None,
        resume: Literal[True, "fresh"] = True,
        patience_s: int = 300,
        callbacks: Sequence[Callable[[Progress], None]] = (),
        keep: Sequence[str] = (),
        max_instruction_tokens: int | None = None,
        max_demo_tokens: int | None = None,
        max_rounds: int = 1,
        propose_rounds: int | None = None,
        lookahead: int | None = None,
        frozen: Sequence[str] = (),
    ) -> None:
        check_metric(metric)
        check_settings(teacher_settings)
        check_run(budget, callbacks)
        check_temperature(init_temperature)
        check_threshold(metric_threshold=metric_threshold)
        check_search(search)
        check_auto(auto, num_candidates=num_candidates)
        check_positive(num_candidates=num_candidates, num_threads=num_threads)
        check_whole(0, max_bootstrapped_demos=max_bootstrapped_demos, max_labeled_demos=max_labeled_demos)
        check_whole(1, patience_s=patience_s, max_rounds=max_rounds)
        check_positive(
            max_instruction_tokens=max_instruction_tokens,
            max_demo_tokens=max_demo_tokens,
            lookahead=lookahead,
        )
        check_not_negative(max_errors=max_errors, propose_rounds=propose_rounds, seed=seed)
        check_names(keep=keep, frozen=frozen)
        self.metric = metric
        self.prompt_model = prompt_model
        self.task_model = task_model
        self.teacher_settings: dict[str, Any] = dict(teacher_settings or {})
        self.max_bootstrapped_demos = max_bootstrapped_demos
        self.max_labeled_demos = max_labeled_demos
        self.auto = auto
        self.num_candidates = num_candidates
        self.num_threads = num_threads
        self.max_errors = max_errors
        self.seed = seed
        self.init_temperature = init_temperature
        self.verbose = verbose
        self.track_stats = track_stats
        self.log_dir = log_dir
        self.metric_threshold = metric_threshold
        self.search = search
        self.budget: Budget = budget or Budget()
        self.run_dir: str | os.PathLike[str] | None = run_dir or log_dir
        self.resume = resume
        self.patience_s = patience_s
        self.callbacks: tuple[Callable[[Progress], None], ...] = tuple(callbacks)
        self.keep: tuple[str, ...] = tuple(keep)
        self.max_instruction_tokens = max_instruction_tokens
        self.max_demo_tokens = max_demo_tokens
        self.max_rounds = max_rounds
        self.propose_rounds = propose_rounds
        self.lookahead = lookahead
        self.frozen: tuple[str, ...] = tuple(frozen)

    def compile(  # type: ignore[override] # noqa: PLR0913 - DSPy's call form, narrower than the base's
        self,
        student: Program,
        *,
        trainset: Sequence[Example],
        teacher: Module | None = None,
        valset: Sequence[Example] | None = None,
        testset: Sequence[Example] | None = None,
        num_trials: int | None = None,
        max_bootstrapped_demos: int | None = None,
        max_labeled_demos: int | None = None,
        seed: int | None = None,
        minibatch: bool = True,
        minibatch_size: int | None = None,
        minibatch_full_eval_steps: int = 5,
        program_aware_proposer: bool = True,
        data_aware_proposer: bool = True,
        view_data_batch_size: int = 10,
        tip_aware_proposer: bool = True,
        fewshot_aware_proposer: bool = True,
        requires_permission_to_run: bool | None = None,
        provide_traceback: bool | None = None,
    ) -> Program:
        """Return an improved copy of `student`.

        Args:
            student: The program to improve; not modified.
            trainset: Examples to learn from: demos and grounding of the instructions.
            teacher: Program that makes the bootstrapped demos; the student where left out.
            valset: Examples to measure on; four fifths of the trainset are set aside where left out.
            testset: Examples that no stage sees; the best program and the original are measured on
                them at the end.
            num_trials: Trials of the search, where no `auto` is given.
            max_bootstrapped_demos: In place of the constructor's.
            max_labeled_demos: In place of the constructor's.
            seed: In place of the constructor's.
            minibatch: Whether "tpe" and "random" measure trials on minibatches.
            minibatch_size: Examples of a minibatch, 35 where left out.
            minibatch_full_eval_steps: Trials between two full evaluations.
            program_aware_proposer: Whether proposals are shown a description of the program.
            data_aware_proposer: Whether proposals are shown a summary of the trainset.
            view_data_batch_size: Examples the proposer looks at in one call.
            tip_aware_proposer: Whether proposals are given a tip each.
            fewshot_aware_proposer: Whether proposals are shown bootstrapped demos.
            requires_permission_to_run: Whether to show the estimate and ask before anything is spent;
                on a no, a copy of the student comes back as it is.
            provide_traceback: Kept for DSPy's call form; an error always carries its traceback.

        Returns:
            The best program, with `optimization` (an `OptimizationResult`) and `score` (expected
            score on unseen data, in percent) attached.

        Raises:
            UserError: Arguments or data make no sense; nothing was spent.
            LMError: A model refused for good (key, name).
            ProgramError: The program or the metric raised on too many examples.
            RunStopped: The run had to stop; what was paid for is kept in `run_dir`.
        """
        del provide_traceback
        job = self._job(
            student,
            teacher=teacher,
            data=(trainset, valset, testset),
            sizes=self._sizes(
                num_trials=num_trials,
                max_bootstrapped_demos=max_bootstrapped_demos,
                max_labeled_demos=max_labeled_demos,
                minibatch=minibatch,
                minibatch_size=minibatch_size,
                minibatch_full_eval_steps=minibatch_full_eval_steps,
                seed=seed,
            ),
            proposer={
                "program_aware": program_aware_proposer,
                "data_aware": data_aware_proposer,
                "tip_aware": tip_aware_proposer,
                "fewshot_aware": fewshot_aware_proposer,
                "view_data_batch_size": view_data_batch_size,
            },
        )
        expected = estimate(job)  # now, so that what it can't count is told before anything is spent
        if requires_permission_to_run and not permitted(expected):
            return student.deepcopy()
        best: Program = self._run(job, expected, was_split=valset is None)
        return best

    def estimate(  # noqa: PLR0913 - the arguments of `compile` that the numbers depend on
        self,
        program: Module,
        *,
        trainset: Sequence[Example],
        teacher: Module | None = None,
        valset: Sequence[Example] | None = None,
        testset: Sequence[Example] | None = None,
        num_trials: int | None = None,
        max_bootstrapped_demos: int | None = None,
        max_labeled_demos: int | None = None,
        seed: int | None = None,
        minibatch: bool = True,
        minibatch_size: int | None = None,
        minibatch_full_eval_steps: int = 5,
        fewshot_aware_proposer: bool = True,
    ) -> Estimate:
        """Return what `compile` with the same arguments will cost, by stage, as ranges.

        Nothing is spent: the program's prompts are written, not sent.

        Args:
            program: The program to improve.
            trainset: As for `compile`, like all that follow.
            teacher: Program that makes the bootstrapped demos.
            valset: Examples to measure on.
            testset: Examples that no stage sees.
            num_trials: Trials of the search.
            max_bootstrapped_demos: In place of the constructor's.
            max_labeled_demos: In place of the constructor's.
            seed: In place of the constructor's.
            minibatch: Whether trials are measured on minibatches.
            minibatch_size: Examples of a minibatch.
            minibatch_full_eval_steps: Trials between two full evaluations.
            fewshot_aware_proposer: Whether proposals are shown bootstrapped demos.

        Raises:
            UserError: Arguments or data make no sense.
            LMAuthError: A model's key is missing.
        """
        job = self._job(
            program,
            teacher=teacher,
            data=(trainset, valset, testset),
            sizes=self._sizes(
                num_trials=num_trials,
                max_bootstrapped_demos=max_bootstrapped_demos,
                max_labeled_demos=max_labeled_demos,
                minibatch=minibatch,
                minibatch_size=minibatch_size,
                minibatch_full_eval_steps=minibatch_full_eval_steps,
                seed=seed,
            ),
            proposer={"fewshot_aware": fewshot_aware_proposer},
        )
        return estimate(job)

    def _sizes(
        self,
        *,
        max_bootstrapped_demos: int | None,
        max_labeled_demos: int | None,
        seed: int | None,
        **given: Any,
    ) -> Sizes:
        """Return the arguments that set the size of a run, those of the constructor where left out."""
        check_not_negative(seed=seed)
        return Sizes(
            auto=self.auto,
            num_candidates=self.num_candidates,
            max_bootstrapped_demos=_first(max_bootstrapped_demos, self.max_bootstrapped_demos),
            max_labeled_demos=_first(max_labeled_demos, self.max_labeled_demos),
            seed=_first(seed, self.seed),
            propose_rounds=self.propose_rounds or 0,
            **given,
        )

    def _job(
        self,
        student: Module,
        *,
        data: tuple[Sequence[Example], Sequence[Example] | None, Sequence[Example] | None],
        sizes: Sizes,
        teacher: Module | None,
        proposer: Mapping[str, Any],
    ) -> Job:
        check_program("student", student)
        predictors = num_predictors(student)
        if teacher is not None:
            check_program("teacher", teacher)
            check_same_structure(student, teacher)
        trainset, valset, testset = data
        frozen = places_of(student, self.frozen)
        check_kept(student, self.keep)
        plan = make_plan(
            sizes,
            predictors - len(frozen),
            trainset=listed("trainset", trainset),
            valset=None if valset is None else listed("valset", valset),
            testset=None if testset is None else listed("testset", testset),
        )
        check_is_given(student, trainset=plan.trainset, valset=plan.valset, testset=plan.testset)
        if self.propose_rounds is None:
            plan = replace(plan, propose_rounds=default_rounds(self.search, plan))
        lookahead = self.lookahead or lookahead_of(self.search, plan, self.budget, predictors)
        plan = replace(plan, lookahead=lookahead)
        check_positive(view_data_batch_size=proposer.get("view_data_batch_size"))
        prompt_lm, task_lm = resolve_models(
            student,
            self.prompt_model,
            self.task_model,
            self.budget,
            teacher=teacher,
            teacher_settings=self.teacher_settings,
        )
        return Job(
            student=detached(student.deepcopy()),
            teacher=teacher,
            plan=plan,
            metric=self.metric,
            metric_threshold=self.metric_threshold,
            prompt_lm=prompt_lm,
            task_lm=task_lm,
            teacher_settings=self.teacher_settings,
            search=self.search,
            init_temperature=self.init_temperature,
            proposer={
                **proposer,
                "keep": self.keep,
                "max_instruction_tokens": self.max_instruction_tokens,
            },
            max_rounds=self.max_rounds,
            max_demo_tokens=self.max_demo_tokens,
            frozen=frozen,
            max_errors=_first(self.max_errors, settings.max_errors),
            num_threads=_first(self.num_threads, settings.num_threads),
            warnings=(
                *check_inputs(trainset=plan.trainset, valset=plan.valset, testset=plan.testset),
                *check_missing(student, trainset=plan.trainset, valset=plan.valset, testset=plan.testset),
                *check_own_demos(student, valset=plan.valset, testset=plan.testset),
                *check_attached(student, track_stats=self.track_stats),
            ),
        )

    def _run(self, job: Job, expected: Estimate, *, was_split: bool) -> Any:
        run_dir = choose_run_dir(self.run_dir, name=type(job.student).__name__, resume=self.resume)
        with ExitStack() as stack:
            run = Run(
                run_dir,
                facts(job),
                # Chosen for the budget that the run began with, which may be another now.
                settled=() if self.lookahead else ("lookahead",),
                budget=self.budget,
                seed=job.plan.seed,
                patience_s=self.patience_s,
            )
            stack.callback(run.close)
            job = replace(job, plan=replace(job.plan, lookahead=int(run.facts["lookahead"])))
            stack.enter_context(interruptible(run))
            # Not before: a Ctrl-C that raises while two threads import at once may leave Python's own lock of
            # imports locked for good, so that the first call, or the next cell of a notebook, never ends.
            load_ahead(job)
            stack.enter_context(watching(run.note_passed_by))
            logger.info("%s run in %s", "resuming the" if run.resumed else "new", run.where)
            if self.run_dir is None or self.resume == "fresh":
                # A warning, since those are shown by default: who is killed has no other way to know.
                logger.warning("everything is kept in %s; run_dir=%r goes on with it.", run.where, run.where)
            for warning in job.warnings:  # before anything is spent on data that are wrong
                logger.warning("%s", warning)
            listeners = list(self.callbacks)
            bars = None
            if not listeners and (self.verbose or is_watched()):
                bars = stack.enter_context(Bars())
                bars.begin(job.plan, was_split=was_split)
                listeners.append(bars)
            if job.task_lm is not None:
                stack.enter_context(context(lm=job.task_lm))
            best = self._stages(job, run, Reporter(listeners), expected)
            if bars is not None:
                bars.outcome = str(replace(best.optimization, warnings=()))  # those are logged
            return best

    def _stages(self, job: Job, run: Run, report: Reporter, expected: Estimate) -> Any:
        """Trainset, valset -> demos -> instructions -> search -> result."""
        try:
            with begun_ahead(job, run) as ahead:
                demo_sets = collect(job, run, report, ahead)
                proposals = propose(job, run, report, demo_sets, ahead)
            space = CandidateSpace(job.student, proposals, demo_sets)
            found = search(job, run, report, space)
        except BudgetExhausted as error:
            demo_sets, proposals, found = nothing_found(job, f"budget: {error.resource}")
            space = CandidateSpace(job.student, proposals, demo_sets)
        best = space.build(found.recommendation.candidate)
        test = measure_on_testset(job, run, report, best)
        story = tell_story(job, run, found, space=space, test=test, expected=expected)
        for warning in story.warnings:
            if warning not in {*job.warnings, *run.notes}:  # told when they were met
                logger.warning("%s", warning)
        logger.info("the run has ended:\n%s", replace(story, warnings=()))
        return attach(best, story, track_stats=self.track_stats, build=space.program)


def _first(given: Any, default: Any) -> Any:
    """Return `given` unless it was left out; 0 is a value."""
    return default if given is None else given
