"""Differences in pairs: of the same task and seed, or of the same table."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def mean_gap(gaps: Sequence[float]) -> str:
    """Return the mean of the differences, with its standard error where there are several."""
    error = f" +- {statistics.stdev(gaps) / len(gaps) ** 0.5:.3f}" if len(gaps) > 1 else ""
    return f"{statistics.fmean(gaps):+.3f}{error}"
