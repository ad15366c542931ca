"""What a run found, as frozen records, and how it is attached to the best program."""

from __future__ import annotations

import math
from collections import UserDict, UserList
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from typing_extensions import Self

from mipro.errors import UserError
from mipro.lm import Usage
from mipro.runs import versions

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mipro.modules import Module
    from mipro.optimize._estimate import Estimate
    from mipro.optimize._job import Job
    from mipro.optimize._rounds import RoundRecord
    from mipro.optimize._space import CandidateSpace
    from mipro.optimize._stages import Found
    from mipro.propose import Origin
    from mipro.runs import Run, Spent

    Build = Callable[[tuple[int, ...]], Module]

_Program = TypeVar("_Program")

ATTACHED = (
    "score",
    "trial_logs",
    "candidate_programs",
    "mb_candidate_programs",
    "total_calls",
    "prompt_model_total_calls",
)
"""Attributes that dspy.MIPROv2's users read, beside `optimization`; the first without `track_stats` too."""


RAISED = (
    "program or metric raised on {} evaluations, which count as failures; `mipro.runs.open(run_dir)` has "
    "what was raised on each."
)
SURE = 0.9
"""Probability of being better below which a gain may be luck; as docs/guide.md tells."""
UNTESTED = "the budget ended before the testset was measured, so that `test` is None."


class _Shared:
    """What copies of a program have in common: it tells of a run that is over.

    A program that is optimized again is copied for every candidate, and would be with all the programs of
    its last run, each of which has those of the run before.
    """

    __slots__ = ()

    def __deepcopy__(self, _memo: dict[int, Any]) -> Self:
        return self


# Not dict and list, whose programs a module counts among its own parts.
class _TrialLogs(_Shared, UserDict[int, "dict[str, Any]"]):
    """The trials by number."""


class Programs(_Shared, UserList["dict[str, Any]"]):
    """Programs with their scores, the best first."""


@dataclass(frozen=True, slots=True)
class TrialRecord:
    """One candidate measured on some examples, as the search asked for it."""

    number: int
    """Number of the trial, from 1."""
    candidate: tuple[int, ...]
    """Chosen indices: instruction and demo set of the first predictor, of the second, ..."""
    examples: tuple[int, ...]
    """Indices into the valset."""
    scores: tuple[float | None, ...]
    """What the metric returned for each example; None is missing."""
    reason: str
    """Why the search asked for it."""
    evaluations_so_far: int
    """Evaluations (candidate x example) asked for, this trial included."""
    round: int = 0
    """Rounds of learning held before the search asked for it."""

    @property
    def score(self) -> float | None:
        """Mean of the scores that are known."""
        known = [score for score in self.scores if score is not None]
        return sum(known) / len(known) if known else None


@dataclass(frozen=True, slots=True)
class TestScores:
    """The program as it came and the best one on the testset that no stage saw."""

    __test__ = False  # not a test class, whatever pytest thinks of its name

    before: float
    """Mean score of the program as it came."""
    after: float
    """Mean score of the best program."""
    examples: int


@dataclass(frozen=True, slots=True)
class OptimizationResult(_Shared):
    """The whole story of one `MIPROv2.compile`."""

    candidate: tuple[int, ...]
    """Chosen indices, as in `TrialRecord.candidate`; all zero is the program as it came."""
    estimate: float | None
    """Expected score of the best program on unseen data, in the metric's unit."""
    interval: tuple[float, float]
    """95 % interval of `estimate`."""
    p_better: float
    """Probability that the best program is better than the one that came."""
    stop_reason: str
    """Why the search ended: "complete", "budget: lm_calls", ...; "budget: evaluations" where a search of the
    user's own would have gone beyond its budget."""
    warnings: tuple[str, ...]
    """What the user should know: fallbacks taken, duplicates found, proposals refused."""
    trials: tuple[TrialRecord, ...] = field(repr=False)
    instructions: tuple[tuple[str, ...], ...]
    """Instructions the search chose from, by predictor; the original first."""
    instruction_origins: tuple[tuple[Origin, ...], ...]
    """How each came about: its tip, and the round of proposals it is of."""
    rounds: tuple[RoundRecord, ...]
    """Rounds of learning held during the search."""
    demo_sources: tuple[str, ...]
    """Kind of each demo set the search chose from; the original first."""
    spent: tuple[Spent, ...]
    """Calls, tokens and cost over all sessions of the run, by stage and model."""
    failures: Mapping[str, int]
    """Failed requests (by class of error) and evaluations ("parse", "request", "program", "metric",
    "missing") over all sessions of the run."""
    seconds: Mapping[str, float]
    """Seconds by stage, over all sessions of the run; nothing that `save` writes depends on them."""
    replayed_calls: int
    """Calls answered by the ledger in this session, for nothing."""
    estimated: Estimate
    """What the run was expected to spend, before it began."""
    run_dir: str
    seed: int
    versions: Mapping[str, str]
    test: TestScores | None = None
    """None where no testset was given, or the budget ended before it was measured."""

    @property
    def lm_calls(self) -> int:
        """Requests sent to all models over all sessions of the run."""
        return sum(spent.calls for spent in self.spent)

    @property
    def usage(self) -> Usage:
        """Tokens over all stages and models."""
        return sum((spent.usage for spent in self.spent), Usage())

    @property
    def cost(self) -> float | None:
        """US dollars over all stages and models; None where a price is not known."""
        if any(spent.unpriced_calls for spent in self.spent):
            return None
        return sum(spent.cost_usd for spent in self.spent)

    def __str__(self) -> str:
        """Return what was found and spent, and what the user should know, a few lines long."""
        usage, cost = self.usage, self.cost
        tokens = f"{usage.prompt_tokens:,} prompt and {usage.completion_tokens:,} completion tokens"
        price = "price not known" if cost is None else f"{cost:.4f} USD"
        cells = self.trials[-1].evaluations_so_far if self.trials else 0
        test = self.test
        lines = {
            "expected": self._expected(),
            "testset": test and f"{test.before:.3g} before, {test.after:.3g} after, {test.examples} examples",
            "ended": f"{self.stop_reason}, after {len(self.trials)} trials with {cells} evaluations",
            "spent": f"{self.lm_calls:,} calls, {tokens}, {price}",
            "failures": ", ".join(f"{count} {kind}" for kind, count in sorted(self.failures.items())),
            "run": self.run_dir,
        }
        told = [*lines.items(), *(("warning", text) for text in self.warnings)]
        return "\n".join(f"{name:<10}{text}" for name, text in told if text)

    def _expected(self) -> str:
        if self.estimate is None:
            return "not known, since nothing was measured"
        low, high = self.interval
        score = f"{self.estimate:.3g} (95 % interval {low:.3g} to {high:.3g})"
        if not any(self.candidate):
            return f"{score}, of the program as it came"
        luck = "; it may be luck" if self.p_better < SURE else ""
        return f"{score}, better than before with a probability of {self.p_better:.2f}{luck}"


def tell_story(
    job: Job,
    run: Run,
    found: Found,
    *,
    space: CandidateSpace,
    test: TestScores | None,
    expected: Estimate,
) -> OptimizationResult:
    """Put together what the stages found and what the run spent."""
    proposals, demo_sets = space.proposals, space.demo_sets
    best = found.recommendation
    untested = (UNTESTED,) if job.plan.testset and test is None else ()
    raised = sum(run.failures.get(kind, 0) for kind in ("program", "metric"))
    broken = (RAISED.format(raised),) if raised else ()
    return OptimizationResult(
        candidate=best.candidate,
        estimate=best.mean if math.isfinite(best.mean) else None,
        interval=best.interval,
        p_better=best.p_better,
        stop_reason=found.stop_reason,
        warnings=(*job.warnings, *demo_sets.notes, *proposals.notes, *broken, *untested, *run.notes),
        trials=found.trials,
        instructions=proposals.instructions,
        instruction_origins=proposals.origins,
        rounds=found.rounds,
        demo_sources=demo_sets.source,
        spent=run.spent(),
        failures=run.failures,
        seconds=dict(run.seconds_by_stage),
        replayed_calls=run.replayed_calls,
        estimated=expected,
        run_dir=run.where,
        seed=job.plan.seed,
        versions=versions(),
        test=test,
    )


def check_attached(program: Module, *, track_stats: bool) -> tuple[str, ...]:
    """Say which attributes can't be attached to the best program, since it has its own of that name.

    Raises:
        UserError: It has an `optimization` of its own.
    """
    taken = _taken(program)
    if "optimization" in taken:
        raise UserError(
            "the program's own `optimization` must have another name, since what a run has found is attached "
            f"under it, but {type(program).__name__} has one; rename it."
        )
    kept = [name for name in (ATTACHED if track_stats else ATTACHED[:1]) if name in taken]
    return tuple(
        f"`{name}` stays the program's own and does not tell of the run; see `optimization`." for name in kept
    )


def _taken(program: Module) -> set[str]:
    """Names that a program uses itself, not for what a run before has attached."""
    own = {name for name in ("optimization", *ATTACHED) if hasattr(program, name)}
    return own - attached_names(program)


def attached_names(program: object) -> frozenset[str]:
    """Return the names of the attributes that an earlier run has attached to a program, and of their list."""
    noted: frozenset[str] = getattr(program, "_attached", frozenset())
    return noted and noted | {"_attached"}


def detached(copied: _Program) -> _Program:
    """Return a copy of a program without what an earlier run has attached, which tells of that program.

    Args:
        copied: The copy; changed in place.
    """
    for name in attached_names(copied):
        vars(copied).pop(name, None)
    return copied


def attach(best: Any, result: OptimizationResult, *, track_stats: bool, build: Build) -> Any:
    """Attach the result, and with `track_stats` the attributes that dspy.MIPROv2's users read.

    Args:
        best: The best program; changed in place, since it is the run's own copy. What it has of its own
            under these names stays.
        result: What to attach as `best.optimization`.
        track_stats: Whether to attach `trial_logs`, `candidate_programs` and the rest.
        build: Function from a candidate to its program.
    """
    values: dict[str, Any] = {
        "optimization": result,
        "score": None if result.estimate is None else round(100 * result.estimate, 2),
    }
    if track_stats:
        full, partial = _scored_programs(result, build)
        values |= {
            "trial_logs": _TrialLogs(trial_logs(result, build)),
            "candidate_programs": Programs(full),
            "mb_candidate_programs": Programs(partial),
            "total_calls": result.lm_calls,
            "prompt_model_total_calls": sum(
                s.calls for s in result.spent if s.stage in {"instructions", "rounds"}
            ),
        }
    taken = _taken(best)
    attached = {name: value for name, value in values.items() if name not in taken}
    for name, value in attached.items():
        setattr(best, name, value)
    best._attached = frozenset(attached)  # noqa: SLF001 - so that a next run may attach its own
    return best


def trial_logs(result: OptimizationResult, build: Build) -> dict[int, dict[str, Any]]:
    """Return the trials under the keys that dspy.MIPROv2's users know; scores in percent."""
    most = max((len(trial.examples) for trial in result.trials), default=0)
    logs = {}
    for trial in result.trials:
        kind = "full_eval" if len(trial.examples) == most else "mb"
        log: dict[str, Any] = {
            f"{kind}_score": None if trial.score is None else round(100 * trial.score, 2),
            f"{kind}_program": build(trial.candidate),
            "total_eval_calls_so_far": trial.evaluations_so_far,
            "reason": trial.reason,
            "round": trial.round,
        }
        for p in range(len(trial.candidate) // 2):
            log[f"{p}_predictor_instruction"] = trial.candidate[2 * p]
            log[f"{p}_predictor_demos"] = trial.candidate[2 * p + 1]
        logs[trial.number] = log
    return logs


def _scored_programs(
    result: OptimizationResult, build: Build
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    cells: dict[tuple[int, ...], dict[int, float]] = {}
    for trial in result.trials:
        known = ((e, s) for e, s in zip(trial.examples, trial.scores, strict=True) if s is not None)
        cells.setdefault(trial.candidate, {}).update(known)
    most = max((len(scores) for scores in cells.values()), default=0)
    entries: list[dict[str, Any]] = [
        {
            "score": round(100 * sum(scores.values()) / len(scores), 2),
            "program": build(candidate),
            "full_eval": len(scores) == most,
        }
        for candidate, scores in cells.items()
        if scores
    ]
    entries.sort(key=lambda entry: -entry["score"])
    return [e for e in entries if e["full_eval"]], [e for e in entries if not e["full_eval"]]
