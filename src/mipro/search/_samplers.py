"""Where the trials of `TrialSearch` come from: uniform draws, or Optuna's TPE."""

from __future__ import annotations

import logging
import threading
from abc import ABC, abstractmethod
from contextlib import contextmanager
from random import Random
from typing import TYPE_CHECKING

from mipro.search._draw import draw

if TYPE_CHECKING:
    from collections.abc import Iterator

    import optuna

    from mipro.search._space import Candidate, Space


class Sampler(ABC):
    """Proposes one candidate a trial and learns from the trials' values."""

    @abstractmethod
    def suggest(self, trial: int) -> Candidate:
        """Propose the candidate of a trial; the trial runs until `finish`."""

    @abstractmethod
    def recall(self, trial: int, candidate: Candidate) -> None:
        """Take over what `suggest` once proposed for a trial, without thinking."""

    @abstractmethod
    def finish(self, trial: int, value: float | None) -> None:
        """Take the value of a trial, None if all its scores are missing."""

    @abstractmethod
    def add(self, candidate: Candidate, value: float) -> None:
        """Take a full evaluation in as a finished trial of its own."""


class UniformSampler(Sampler):
    """Every candidate is as likely as any other, whatever was seen."""

    def __init__(self, space: Space, seed: int) -> None:
        self._space = space
        self._rng = Random(seed)  # noqa: S311 - no cryptography

    def suggest(self, trial: int) -> Candidate:
        """See `Sampler.suggest`."""
        del trial
        return draw(self._space, self._rng)

    def recall(self, trial: int, candidate: Candidate) -> None:
        """See `Sampler.recall`; a draw costs nothing."""
        del candidate
        self.suggest(trial)

    def finish(self, trial: int, value: float | None) -> None:
        """See `Sampler.finish`."""

    def add(self, candidate: Candidate, value: float) -> None:
        """See `Sampler.add`."""


class TpeSampler(Sampler):
    """Optuna's multivariate tree-structured Parzen estimator over category indices.

    Each trial has a seed of its own, so that what one draws does not depend on how many were drawn here
    and how many recalled.

    When the space grows, a new study is made of all trials so far: Optuna lets no categorical variable
    change within one.

    References:
        Bergstra et al., 2011, "Algorithms for Hyper-Parameter Optimization"; used in this way by
        Opsahl-Ong et al., 2024, arXiv:2406.11695.
    """

    def __init__(self, space: Space, seed: int, *, constant_liar: bool) -> None:
        import optuna  # noqa: PLC0415 - heavy, loaded only for this search

        self._optuna = optuna
        self._space = space
        self._seed = seed
        self._constant_liar = constant_liar
        self._sizes: tuple[int, ...] = ()
        self._finished: list[tuple[Candidate, float]] = []
        self._running: dict[int, Candidate] = {}
        self._numbers: dict[int, int] = {}
        self._study = self._rebuild()

    def suggest(self, trial: int) -> Candidate:
        """See `Sampler.suggest`."""
        if self._space.sizes != self._sizes:
            self._study = self._rebuild()
        rng = Random(f"{self._seed}/{trial}")  # noqa: S311 - no cryptography
        self._study.sampler = self._optuna.samplers.TPESampler(
            seed=rng.getrandbits(32), multivariate=True, constant_liar=self._constant_liar
        )
        asked = self._study.ask(self._distributions())
        candidate = tuple(int(asked.params[name]) for name in self._space.names)
        self._numbers[trial] = asked.number
        self._running[trial] = candidate
        return candidate

    def recall(self, trial: int, candidate: Candidate) -> None:
        """See `Sampler.recall`."""
        if self._space.sizes != self._sizes:
            self._study = self._rebuild()
        self._run(self._study, trial, candidate)
        self._running[trial] = candidate

    def finish(self, trial: int, value: float | None) -> None:
        """See `Sampler.finish`."""
        candidate = self._running.pop(trial)
        number = self._numbers.pop(trial)
        if value is None:
            self._study.tell(number, state=self._optuna.trial.TrialState.FAIL)
            return
        self._study.tell(number, value)
        self._finished.append((candidate, value))

    def add(self, candidate: Candidate, value: float) -> None:
        """See `Sampler.add`."""
        self._finished.append((candidate, value))
        self._study.add_trial(self._complete(candidate, value))

    def _complete(self, candidate: Candidate, value: float) -> optuna.trial.FrozenTrial:
        return self._optuna.trial.create_trial(
            params=dict(zip(self._space.names, candidate, strict=True)),
            distributions=dict(self._distributions()),
            value=value,
        )

    def _distributions(self) -> dict[str, optuna.distributions.BaseDistribution]:
        categorical = self._optuna.distributions.CategoricalDistribution
        sizes = zip(self._space.names, self._space.sizes, strict=True)
        return {name: categorical(tuple(range(size))) for name, size in sizes}

    def _rebuild(self) -> optuna.Study:
        self._sizes = self._space.sizes
        with _quiet("optuna.storages._in_memory"):
            study = self._optuna.create_study(direction="maximize")
        for candidate, value in self._finished:
            study.add_trial(self._complete(candidate, value))
        for trial, candidate in self._running.items():
            self._run(study, trial, candidate)
        return study

    def _run(self, study: optuna.Study, trial: int, candidate: Candidate) -> None:
        """Have a study run a trial with a candidate of ours."""
        study.enqueue_trial(dict(zip(self._space.names, candidate, strict=True)))
        self._numbers[trial] = study.ask(self._distributions()).number


@contextmanager
def _quiet(name: str) -> Iterator[None]:
    """Keep one logger silent for this thread, for a moment; verbosity settings stay as they are."""
    mine = threading.get_ident()

    def others(record: logging.LogRecord) -> bool:
        return record.thread != mine

    logger = logging.getLogger(name)
    logger.addFilter(others)
    try:
        yield
    finally:
        logger.removeFilter(others)
