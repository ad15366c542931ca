"""The knowledge gradient: what more scores of a candidate are worth to the final choice."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from mipro.search._book import Floats, Ints

NODES: Floats = np.array(
    (
        -1.731664396122245,
        -1.1503493803760079,
        -0.8122178014999129,
        -0.5485222826980979,
        -0.31863936396437514,
        -0.1046334556140754,
        0.10463345561407526,
        0.31863936396437514,
        0.5485222826980981,
        0.8122178014999129,
        1.1503493803760079,
        1.7316643961222453,
    )
)
"""Equally likely outcomes of a block, in standard deviations of its mean."""
HORIZONS = (1, 4, 16)
"""How many blocks the worth of measuring a candidate is looked at. One block alone is often too little to
change the choice and would seem worth nothing."""


class Outlook:
    """Joint normal beliefs on the expected scores of some candidates, as blocks are planned.

    Args:
        means: Expected scores, `[p]`.
        covariance: Their covariance, `[p, p]`; not modified.
        noise: Variance of one score about its candidate's expected score.
    """

    def __init__(self, means: Floats, covariance: Floats, noise: float) -> None:
        self._covariance = covariance.copy()
        self._noise = noise
        self._leader = int(np.argmax(means))
        self._behind = (means - means[self._leader])[:, None]

    def gradient(self, blocks: Ints, free: Ints) -> Floats:
        """Return what each candidate's next evaluations are worth.

        That is the expected rise of the best posterior mean for each evaluation, with the number of blocks
        at which it is largest.

        Args:
            blocks: Evaluations in the next block of each candidate, 0 where none can be asked, `[p]`.
            free: Evaluations that can still be asked of each, `[p]`.

        Returns:
            Worth `[p]`, in units of the scores; minus infinity where nothing can be asked.

        References:
            Frazier, Powell & Dayanik, 2009, "The Knowledge-Gradient Policy for Correlated Normal Beliefs";
            Frazier & Powell, 2010, "Paradoxes in Learning and the Marginal Value of Information", for
            looking at several blocks.
        """
        worth = np.full(len(blocks), -np.inf)
        able = np.flatnonzero(blocks > 0)
        for horizon in HORIZONS:
            counts = np.minimum(blocks[able] * horizon, free[able])
            steps = self._steps(able, counts)
            steps -= steps[self._leader]
            rise = np.mean([(self._behind + node * steps).max(axis=0) for node in NODES], axis=0)
            worth[able] = np.maximum(worth[able], rise / counts)
        return worth

    def plan(self, chosen: int, count: int) -> None:
        """Take `count` evaluations of a candidate as made: what they tell is no longer unknown."""
        step = self._steps(np.array([chosen]), np.array([count]))[:, 0]
        self._covariance -= np.outer(step, step)

    def _steps(self, candidates: Ints, counts: Ints) -> Floats:
        """How far one standard deviation of a block's mean moves all means, `[p, candidates]`."""
        variances = np.maximum(self._covariance[candidates, candidates], 0.0)
        return np.asarray(self._covariance[:, candidates] / np.sqrt(variances + self._noise / counts))
