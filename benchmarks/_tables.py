"""Tables to race searches on: synthetic ones with a known truth, and recorded ones from disk."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mipro.search import Candidate, Space, default_budget, default_num_trials

TABLES = Path(__file__).parent / "tables"
NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(40)
WEIGHTS = WEIGHTS / WEIGHTS.sum()
MISSING = 255
"""A score that is missing, in tables that are stored as uint8."""


@dataclass(frozen=True)
class Setting:
    """One kind of synthetic table."""

    name: str
    instructions: int
    demos: int
    examples: int
    predictors: int = 1
    kind: str = "binary"
    """binary, graded (a score between 0 and 1), plateau (constant-answer candidates), flat (no effect)."""
    main: float = 0.6
    """Standard deviation of the effects of choices, in logits."""
    joint: float = 0.4
    """Standard deviation of the interaction of a predictor's choices, in logits."""
    difficulty: float = 1.5
    """Standard deviation of the examples' difficulty, in logits."""
    paired: float = 0.5
    """Standard deviation of the effects of choices on single examples, in logits."""
    stratified: bool = True
    """Whether the order handed to the searches is stratified by label."""

    @property
    def space(self) -> Space:
        """The space of the table."""
        choices = {}
        for predictor in range(self.predictors):
            choices[f"{predictor}.instruction"] = self.instructions
            choices[f"{predictor}.demos"] = self.demos
        return Space(choices)


LIGHT = Setting("light", 3, 6, 100)
MEDIUM = Setting("medium", 6, 12, 300)
HEAVY = Setting("heavy", 9, 18, 1000)


def _variants(base: Setting) -> list[Setting]:
    weak = {"main": 0.3, "joint": 0.2}
    return [
        base,
        replace(base, name=f"{base.name}-weak", **weak),
        replace(base, name=f"{base.name}-graded", kind="graded"),
        replace(base, name=f"{base.name}-plateau", kind="plateau"),
        replace(base, name=f"{base.name}-flat", kind="flat", main=0.0, joint=0.0),
    ]


SETTINGS = {
    setting.name: setting
    for setting in [
        *_variants(LIGHT),
        *_variants(MEDIUM),
        replace(MEDIUM, name="medium-plateau-unsorted", kind="plateau", stratified=False),
        replace(MEDIUM, name="medium-2", predictors=2),
        replace(MEDIUM, name="medium-2-weak", predictors=2, main=0.3, joint=0.2),
        replace(MEDIUM, name="medium-3", predictors=3),
        replace(MEDIUM, name="medium-4", predictors=4),
        *_variants(HEAVY),
        replace(HEAVY, name="heavy-2", predictors=2),
        replace(HEAVY, name="heavy-4", predictors=4),
    ]
}


class Synthetic:
    """A table of logistic item-response truth, drawn cell by cell as it is asked for.

    The logit of a cell is a base level, the effects of the candidate's choices and of each predictor's
    joint choice, the example's difficulty, and an effect of each choice on the single example.
    """

    def __init__(self, setting: Setting, seed: int) -> None:
        self.setting = setting
        self.space = setting.space
        self.num_examples = setting.examples
        self.num_trials = default_num_trials(self.space)
        self.budget = default_budget(self.num_examples, self.num_trials)
        self._seed = seed
        rng = np.random.default_rng([seed, 7])
        n = setting.examples
        self._base = rng.normal(0.0, 0.5)
        self._mains = [rng.normal(0, setting.main, size) for size in self.space.sizes]
        pairs = (setting.instructions, setting.demos)
        self._joints = [rng.normal(0, setting.joint, pairs) for _ in range(setting.predictors)]
        self._difficulty = rng.normal(0, setting.difficulty, n)
        self._paired = [rng.normal(0, setting.paired, (size, n)) for size in self.space.sizes]
        self._spread = float(np.hypot(setting.difficulty, setting.paired * len(self.space) ** 0.5))
        self._share = rng.uniform(0.35, 0.65)
        self.labels = (rng.random(n) < self._share).astype(int)
        self._constant = self._constants(rng)
        self._cells: dict[Candidate, np.ndarray] = {}
        self.order = stratified_order(self.labels, rng) if setting.stratified else rng.permutation(n)
        self.original = self.truth(self.space.original)
        self.best = self._best()

    def _constants(self, rng: np.random.Generator) -> np.ndarray | None:
        """Which answer a combination always gives: 0, 1, or -1 for a real one."""
        if self.setting.kind != "plateau":
            return None
        shape = (self.setting.instructions, self.setting.demos)
        constant = np.full(shape, -1)
        for axis, share in ((0, 0.3), (1, 0.3)):
            for index in np.flatnonzero(rng.random(shape[axis]) < share):
                where = (index, slice(None)) if axis == 0 else (slice(None), index)
                constant[where] = rng.integers(2)
        single = rng.random(shape) < 0.15
        constant[single] = rng.integers(0, 2, single.sum())
        return constant

    def _logit(self, candidate: Candidate) -> float:
        total = self._base + sum(m[c] for m, c in zip(self._mains, candidate, strict=True))
        for predictor, joint in enumerate(self._joints):
            total += joint[candidate[2 * predictor], candidate[2 * predictor + 1]]
        return float(total)

    def truth(self, candidate: Candidate) -> float:
        """Expected score on an unseen example."""
        if self._constant is not None and self._constant[candidate] >= 0:
            share = self._share if self._constant[candidate] else 1 - self._share
            return 0.98 * share + 0.02 * (1 - share)
        logits = self._logit(candidate) + self._spread * NODES
        return float(WEIGHTS @ (1 / (1 + np.exp(-logits))))

    def _best(self) -> float:
        if self.setting.predictors == 1:
            i, d = self.setting.instructions, self.setting.demos
            return max(self.truth((a, b)) for a in range(i) for b in range(d))
        winner: list[int] = []
        for predictor, joint in enumerate(self._joints):
            mains = self._mains[2 * predictor][:, None] + self._mains[2 * predictor + 1][None, :]
            i, d = np.unravel_index(np.argmax(mains + joint), joint.shape)
            winner += [int(i), int(d)]
        return self.truth(tuple(winner))

    def row(self, candidate: Candidate) -> np.ndarray:
        """Scores of a candidate on all validation examples."""
        if candidate not in self._cells:
            self._cells[candidate] = self._draw(candidate)
        return self._cells[candidate]

    def _draw(self, candidate: Candidate) -> np.ndarray:
        rng = np.random.default_rng([self._seed, 11, *candidate])
        if self._constant is not None and self._constant[candidate] >= 0:
            right = self.labels == self._constant[candidate]
            return (right ^ (rng.random(self.num_examples) < 0.02)).astype(float)
        logits = self._logit(candidate) + self._difficulty
        for effects, choice in zip(self._paired, candidate, strict=True):
            logits = logits + effects[choice]
        p = 1 / (1 + np.exp(-logits))
        if self.setting.kind == "graded":
            return rng.beta(4 * p + 1e-3, 4 * (1 - p) + 1e-3)
        return (rng.random(self.num_examples) < p).astype(float)


class Recorded:
    """A table recorded from a real model: half of the examples to search on, half as the unseen truth.

    The file is an npz of `scores` `[instructions, demos, examples]` (float, NaN where missing, or uint8,
    `MISSING` where missing), `labels` `[examples]` (int class of each example, -1 if it has none) and
    `meta` (a JSON string).
    """

    def __init__(self, path: Path, seed: int) -> None:
        with np.load(path, allow_pickle=False) as data:
            stored = data["scores"]
            labels = data["labels"]
            self.meta = json.loads(str(data["meta"]))
        scores = stored.astype(float)
        if stored.dtype == np.uint8:
            scores[stored == MISSING] = np.nan
        rng = np.random.default_rng([seed, 13])
        i, d, n = scores.shape
        shuffled = rng.permutation(n)
        inside, outside = shuffled[: n // 2], shuffled[n // 2 :]
        # The original stays in place; all other choices are shuffled so that seeds differ.
        instructions = np.concatenate([[0], 1 + rng.permutation(i - 1)])
        demos = np.concatenate([[0], 1 + rng.permutation(d - 1)])
        scores = scores[np.ix_(instructions, demos)]
        self.space = Space({"0.instruction": i, "0.demos": d})
        self.num_examples = len(inside)
        self.labels = labels[inside]
        self.order = stratified_order(self.labels, rng)
        self.num_trials = default_num_trials(self.space)
        self.budget = default_budget(self.num_examples, self.num_trials)
        self._scores = np.nan_to_num(scores[:, :, inside])
        self._truth = np.nanmean(scores[:, :, outside], axis=2)
        self.original = self.truth(self.space.original)
        self.best = float(self._truth.max())

    def truth(self, candidate: Candidate) -> float:
        """Mean score on the held-out half."""
        return float(self._truth[candidate])

    def row(self, candidate: Candidate) -> np.ndarray:
        """Scores of a candidate on all validation examples."""
        return self._scores[candidate]


def stratified_order(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Shuffle examples so that every prefix has nearly the class shares of the whole."""
    n = len(labels)
    position = np.zeros(n)
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        position[members] = (np.arange(len(members)) + rng.random()) / len(members)
    return np.argsort(position, kind="stable")


def load(name: str, seed: int) -> Synthetic | Recorded:
    """Make the table of a setting; names that are no setting are files in `tables/`."""
    if name in SETTINGS:
        return Synthetic(SETTINGS[name], seed)
    return Recorded(TABLES / f"{name}.npz", seed)


def recorded_names() -> list[str]:
    """Names of the recorded tables on disk."""
    return sorted(path.stem for path in TABLES.glob("*.npz"))
