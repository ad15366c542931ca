"""The knowledge gradient: what more scores of a candidate are worth to the final choice."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from mipro.search._book import Floats, Ints

NODES: Floats = np.array(
    (
        0.10463345561407526,
        0.31863936396437514,
        0.5485222826980981,
        0.8122178014999129,
        1.1503493803760079,
        1.7316643961222453,
    )
)
"""Equally likely outcomes of a block, up or down, in standard deviations of its mean."""
HORIZONS = (1, 4, 16)
"""How many blocks the worth of measuring a candidate is looked at. One block alone is often too little to
change the choice and would seem worth nothing."""


class Outlook:
    """Joint normal beliefs on the expected scores of some candidates, as blocks are planned.

    There are several, one for each of `k` settings of the variances that are thought possible: under some of
    them nothing is worth measuring, which says nothing about where to measure under the others.

    Args:
        means: Expected scores, `[k, p]`.
        covariance: Their covariances, `[k, p, p]`; changed in place.
        noise: Variance of one score about its candidate's expected score, `[k]`.
    """

    def __init__(self, means: Floats, covariance: Floats, noise: Floats) -> None:
        self._covariance = covariance
        self._noise = noise[:, None]
        self._rows = np.arange(len(means))
        self._leaders = means.argmax(axis=1)
        self._behind = (means - means.max(axis=1, keepdims=True))[:, :, None]

    def gradient(self, blocks: Ints, free: Ints) -> Floats:
        """Return what each candidate's next evaluations are worth.

        That is the expected rise of the best posterior mean for each evaluation, with the number of blocks
        at which it is largest, averaged over the settings of the variances.

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
        able = np.flatnonzero(blocks > 0)
        counts = np.minimum(np.outer(HORIZONS, blocks[able]), free[able]).ravel()
        rises = self._rise(np.tile(able, len(HORIZONS)), counts) / counts
        best = rises.reshape(len(rises), len(HORIZONS), len(able)).max(axis=1)
        worth = np.full(len(blocks), -np.inf)
        worth[able] = best.mean(axis=0)
        return worth

    def plan(self, chosen: int, count: int) -> None:
        """Take `count` evaluations of a candidate as made: what they tell is no longer unknown."""
        step = self._steps(np.array([chosen]), np.array([count]))
        self._covariance -= step * step.transpose(0, 2, 1)

    def _rise(self, candidates: Ints, counts: Ints) -> Floats:
        """Expected rise of the best mean after so many evaluations of a candidate, `[k, candidates]`."""
        steps = self._steps(candidates, counts)
        steps -= steps[self._rows, self._leaders][:, None]
        total = np.zeros((len(steps), len(candidates)))
        moved, after = np.empty_like(steps), np.empty_like(steps)
        for node in NODES:
            np.multiply(steps, node, out=moved)
            total += np.add(self._behind, moved, out=after).max(axis=1)
            total += np.subtract(self._behind, moved, out=after).max(axis=1)
        return total / (2 * len(NODES))

    def _steps(self, candidates: Ints, counts: Ints) -> Floats:
        """How far one standard deviation of a block's mean moves all means, `[k, p, candidates]`."""
        variances = np.maximum(self._covariance[:, candidates, candidates], 0.0) + self._noise / counts
        return np.asarray(self._covariance[:, :, candidates] / np.sqrt(variances)[:, None])
