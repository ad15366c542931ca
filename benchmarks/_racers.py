"""The racers: every search of mipro, and DSPy's own loop simulated step by step."""

from __future__ import annotations

import itertools
import random
from collections import defaultdict, deque
from dataclasses import dataclass

import numpy as np

from _tables import Recorded, Synthetic
from mipro.search import Candidate, Job, Recommendation, Search, create, default_lookahead

Table = Synthetic | Recorded

FRACTIONS = (0.10, 0.15, 0.25, 0.50, 1.00)
YARDSTICK = "table"
"""No racer: the best mean of all candidates on all examples, whatever the budget."""


@dataclass
class Outcome:
    """What one racer reached on one table with one budget."""

    setting: str
    racer: str
    fraction: float
    seed: int
    gain: float
    best_gain: float
    spent: float
    """Cells spent, as a share of DSPy's budget."""
    truth: float
    original: float
    candidate_is_original: bool
    low: float = float("nan")
    high: float = float("nan")
    p_better: float = float("nan")


def run_search(table: Table, search: Search, lookahead: int = 1) -> int:
    """Run a search to its end, `lookahead` decisions under way; returns the cells spent."""
    spent = 0
    waiting: deque[list[Job]] = deque()
    while True:
        jobs = search.ask()
        if jobs:
            waiting.append(jobs)
            spent += sum(len(job.examples) for job in jobs)
        if len(waiting) == lookahead or (waiting and not jobs):
            told = waiting.popleft()
            search.tell(told, [scores_of(table, job) for job in told])
        elif not jobs:
            return spent


def scores_of(table: Table, job: Job) -> list[float]:
    """Look a job's scores up."""
    return table.row(job.candidate)[list(job.examples)].tolist()


@dataclass(frozen=True)
class Settings:
    """What is asked of "bayes"."""

    lookahead: int | None = None
    """Decisions under way; by default its own number."""
    patience: float = 1.0
    """Above 1 it stops later."""


DEFAULT = Settings()


def race(name: str, racer: str, seed: int, table: Table, bayes: Settings = DEFAULT) -> list[Outcome]:
    """Run one racer on one table with all budgets."""
    return [_race_once(name, racer, seed, table, fraction, bayes) for fraction in FRACTIONS]


def _race_once(
    name: str, racer: str, seed: int, table: Table, fraction: float, bayes: Settings = DEFAULT
) -> Outcome:
    budget = int(fraction * table.budget)
    if racer == YARDSTICK:
        candidate, spent = whole_table(table)
        return _score(name, racer, fraction, seed, table, candidate, spent)
    if racer == "dspy":
        candidate, spent = dspy_loop(table, seed, fraction)
        return _score(name, racer, fraction, seed, table, candidate, spent)
    options: dict = {}
    examples, order, lookahead = table.num_examples, table.order, 1
    if racer in {"tpe", "random"}:
        examples, trials = shrink(table, fraction)
        order = np.arange(examples)
        options = {"num_trials": trials}
    if racer == "bayes":
        lookahead = bayes.lookahead or default_lookahead(budget, table.space.sizes)
        options = {"lookahead": lookahead, "patience": bayes.patience}
    search = create(
        racer, table.space, num_examples=examples, budget=budget, seed=seed, order=order.tolist(), **options
    )
    spent = run_search(table, search, lookahead)
    return outcome_of(name, racer, fraction, seed, table, search.recommend(), spent)


def whole_table(table: Table) -> tuple[Candidate, int]:
    """See `YARDSTICK`."""
    everyone = list(itertools.product(*map(range, table.space.sizes)))
    best = max(everyone, key=lambda candidate: float(table.row(candidate).mean()))
    return best, len(everyone) * table.num_examples


def shrink(table: Table, fraction: float) -> tuple[int, int]:
    """How a user of DSPy's loop meets a smaller budget: fewer validation examples, then fewer trials."""
    examples = max(4, int(fraction * table.num_examples))
    trials = table.num_trials
    while trials > 1 and _cost(examples, trials) > fraction * table.budget:
        trials -= 1
    return examples, trials


def _cost(examples: int, trials: int) -> int:
    return (1 + trials // 5 + (trials % 5 != 0)) * examples + trials * min(35, examples)


def dspy_loop(table: Table, seed: int, fraction: float = 1.0) -> tuple[Candidate, int]:
    """DSPy 3's `_optimize_prompt_parameters` on a table: same sampler, schedule, averages and choice.

    Cells met again are paid again, as there; a full evaluation of the original that its minibatch average
    earns is made again, as there.
    """
    import optuna  # noqa: PLC0415 - slow, and only this racer needs it

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    examples, trials = shrink(table, fraction)
    rng = random.Random(seed)
    names, sizes = table.space.names, table.space.sizes
    spaces = {
        n: optuna.distributions.CategoricalDistribution(range(s)) for n, s in zip(names, sizes, strict=True)
    }
    study = optuna.create_study(
        direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed, multivariate=True)
    )

    def full(candidate: Candidate) -> float:
        value = float(np.mean(table.row(candidate)[:examples]))
        params = dict(zip(names, candidate, strict=True))
        study.add_trial(optuna.trial.create_trial(params=params, distributions=spaces, value=value))
        return value

    best, best_score = table.space.original, full(table.space.original)
    spent = examples
    averages: dict[Candidate, list[float]] = defaultdict(list)
    done: set[Candidate] = set()
    for number in range(1, trials + 1):
        trial = study.ask()
        candidate = tuple(trial.suggest_categorical(n, range(s)) for n, s in zip(names, sizes, strict=True))
        batch = rng.sample(range(examples), min(35, examples))
        value = float(np.mean(table.row(candidate)[batch]))
        spent += len(batch)
        averages[candidate].append(value)
        if number % 5 == 0 or number == trials:
            waiting = [c for c in averages if c not in done]
            if waiting:
                chosen = max(waiting, key=lambda c: sum(averages[c]) / len(averages[c]))
                done.add(chosen)
                score = full(chosen)
                spent += examples
                if score > best_score:
                    best, best_score = chosen, score
        study.tell(trial, value)
    return best, spent


def outcome_of(
    name: str,
    racer: str,
    fraction: float,
    seed: int,
    table: Table,
    recommendation: Recommendation,
    spent: int,
) -> Outcome:
    """Judge a recommendation by the truth."""
    outcome = _score(name, racer, fraction, seed, table, recommendation.candidate, spent)
    outcome.low, outcome.high = recommendation.interval
    outcome.p_better = recommendation.p_better
    return outcome


def _score(
    name: str, racer: str, fraction: float, seed: int, table: Table, candidate: Candidate, spent: int
) -> Outcome:
    truth = table.truth(candidate)
    return Outcome(
        setting=name,
        racer=racer,
        fraction=fraction,
        seed=seed,
        gain=truth - table.original,
        best_gain=table.best - table.original,
        spent=spent / table.budget,
        truth=truth,
        original=table.original,
        candidate_is_original=candidate == table.space.original,
    )
