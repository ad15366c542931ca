"""One `compile` with everything it was given, checked, and what identifies it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mipro.adapters import Adapter
from mipro.context import settings
from mipro.optimize._result import attached_names
from mipro.runs import (
    canonical,
    digest,
    of_examples,
    of_function,
    of_metric,
    of_model,
    of_predictors,
    of_program,
    state_of,
    versions,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mipro.evaluate import Metric
    from mipro.lm import BaseLM
    from mipro.modules import Module
    from mipro.optimize._settings import Plan
    from mipro.search import Search


@dataclass(frozen=True, slots=True)
class Job:
    """What one `compile` has to do."""

    student: Module
    """The program as it came; a copy, and never modified."""
    teacher: Module | None
    """Program that makes the bootstrapped demos; None for the student."""
    plan: Plan
    metric: Metric
    metric_threshold: float | None
    prompt_lm: BaseLM
    """Writes the instructions."""
    task_lm: BaseLM | None
    """Runs the program; None where every predictor brings its own model."""
    teacher_settings: Mapping[str, Any]
    search: str | Callable[..., Search]
    init_temperature: float
    proposer: Mapping[str, Any]
    """What proposals are shown and must be: arguments of `propose_instructions` by name."""
    max_rounds: int
    """Runs of the teacher for each training example at most."""
    max_demo_tokens: int | None
    """Bound on the tokens of one predictor's demos."""
    frozen: frozenset[int]
    """Places of the predictors that are left as they are."""
    max_errors: int
    num_threads: int
    warnings: tuple[str, ...]
    """What is known to be wrong with the data."""

    @property
    def shows_demos(self) -> bool:
        """Whether the proposer is shown demos."""
        return self.plan.num_instructions > 1 and bool(self.proposer.get("fewshot_aware", True))


_SIZES = (
    "num_instructions",
    "num_demo_sets",
    "num_trials",
    "minibatch",
    "minibatch_size",
    "minibatch_full_eval_steps",
    "max_bootstrapped_demos",
    "max_labeled_demos",
    "propose_rounds",
    "lookahead",
    "seed",
)


_NAME_CHARS = 200
"""Characters of a fact's name at most in a ledger."""


def facts(job: Job) -> dict[str, str]:
    """Return what identifies the run: all that can change its result, and nothing else.

    Threads, budgets and error limits are no part of it, so a run can be resumed with others.
    """
    plan = job.plan
    identity = {
        **of_function("metric", job.metric),
        "metric_threshold": str(job.metric_threshold),
        "trainset": of_examples(plan.trainset),
        "valset": of_examples(plan.valset),
        "testset": of_examples(plan.testset),
        "prompt model": of_model(job.prompt_lm),
        "task model": "each predictor's own" if job.task_lm is None else of_model(job.task_lm),
        "teacher settings": canonical(_settings_of(job.teacher_settings)),
        "search": job.search if isinstance(job.search, str) else of_metric(job.search),
        "init_temperature": str(job.init_temperature),
        "proposer": canonical(job.proposer),
        "max_rounds": str(job.max_rounds),
        "max_demo_tokens": str(job.max_demo_tokens),
        "frozen": canonical(sorted(job.frozen)),
        "mipro": versions()["mipro"],
        **{name: str(getattr(plan, name)) for name in _SIZES},
        **_program(job.student),
        "adapter": "default" if settings.adapter is None else _adapter(settings.adapter),
    }
    if job.teacher is not None:
        identity |= {f"teacher {name}": value for name, value in _program(job.teacher).items()}
    return {_short(name): value for name, value in identity.items()}


def _short(name: str) -> str:
    """Return a name that a ledger has room for, still another one for every other name."""
    return name if len(name) <= _NAME_CHARS else f"{name[: _NAME_CHARS - 68]}... {digest(name)}"


def _program(program: Module) -> dict[str, str]:
    """Return what identifies a program, with the modules that were optimized before and stay as they are."""
    parts = of_program(program, apart=attached_names)
    for name, module in program.named_sub_modules():
        if module is not program and module._compiled:  # noqa: SLF001 - DSPy's mark of an optimised program
            parts |= {f"{name}: {part}": value for part, value in of_predictors(module).items()}
    return parts


def _settings_of(given: Mapping[str, Any]) -> Any:
    """Return settings in which adapters are told by what they are set to."""
    return state_of(
        {n: _adapter(value) if isinstance(value, Adapter) else value for n, value in given.items()}
    )


def _adapter(adapter: Adapter) -> str:
    plain = {name: value for name, value in vars(adapter).items() if isinstance(value, (str, int, float))}
    made = state_of(type(adapter))  # of a class of the user's its source too
    source = "" if isinstance(made, str) else f" {digest(made)}"
    return f"{type(adapter).__qualname__} {canonical(state_of(plain))}{source}"
