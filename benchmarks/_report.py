"""Tables and pictures of a race."""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import pairwise
from statistics import fmean
from typing import TYPE_CHECKING

import numpy as np

from _racers import FRACTIONS, YARDSTICK, Outcome
from _tables import SETTINGS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path


LEAST_GAIN = 0.02
"""Mean gain that makes a recorded table one on which there is something to gain."""


def print_report(
    outcomes: Sequence[Outcome], names: Sequence[str], racers: Sequence[str], *, plot: Path | None
) -> None:
    """Print the shares of the best gain, the honesty of the intervals, and the early stops."""
    shares = share_table(outcomes)
    gaining = [name for name in names if offers_gain(outcomes, name)]
    for name in names:
        print(f"\n### {name}\n")
        print_shares(shares, [name] if name in gaining else [], racers)
    print_scores(outcomes, racers)
    for title, members in groups(gaining).items():
        print(f"\n### mean of {title}: {', '.join(members)}\n")
        print_shares(shares, members, racers)
    # The truth of a recorded table is a sample itself, which no interval for the mean need hold.
    print_honesty(outcomes, [name for name in names if name in SETTINGS])
    if plot:
        from _plot import plot_shares  # noqa: PLC0415 - only on demand

        plot.write_text(plot_shares(shares, groups(gaining), racers))


def groups(names: Iterable[str]) -> dict[str, list[str]]:
    """Which settings are averaged together."""
    found: dict[str, list[str]] = defaultdict(list)
    for name in names:
        if name.endswith("-flat"):
            continue
        size = name.split("-")[0]
        found[size if size in {"light", "medium", "heavy"} else "recorded"].append(name)
        if size in {"medium", "heavy"}:
            found["medium and heavy"].append(name)
    return {title: members for title, members in found.items() if len(members) > 1}


Share = tuple[float, dict[int, float]]
"""A share of the best possible gain, and by seed what that table adds to its error."""


def share_table(outcomes: Iterable[Outcome]) -> dict[tuple[str, str, float], Share]:
    """Share of the best possible gain, by setting, racer and budget.

    The share is a ratio of means over seeds: single tables may have next to nothing to gain.
    """
    cells: dict[tuple[str, str, float], list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        cells[outcome.setting, outcome.racer, outcome.fraction].append(outcome)
    table = {}
    for key, found in cells.items():
        gains = np.array([o.gain for o in found])
        best = np.array([o.best_gain for o in found])
        if best.mean() < 1e-9:
            continue
        share = float(gains.mean() / best.mean())
        errors = (gains - share * best) / best.sum()
        table[key] = share, dict(zip((o.seed for o in found), errors.tolist(), strict=True))
    return table


def mean_share(found: Sequence[Share]) -> tuple[float, float]:
    """Mean of the shares of several settings, and its standard error.

    Tables of one seed are made of the same draws in all settings and err together: not settings but seeds
    are independent.
    """
    together: Counter[int] = Counter()
    for _, errors in found:
        together.update(errors)
    seeds = len(together)
    error = (sum(error**2 for error in together.values()) * seeds / max(1, seeds - 1)) ** 0.5
    return fmean(share for share, _ in found), error / len(found)


def print_shares(shares: dict, members: Sequence[str], racers: Sequence[str]) -> None:
    """Print one table, the mean of some settings: racers down, budgets across."""
    if not any((name, racers[0], FRACTIONS[0]) in shares for name in members):
        print("nothing to gain")
        return
    print("| search | " + " | ".join(f"{fraction:.0%}" for fraction in FRACTIONS) + " |")
    print("|---|" + "---|" * len(FRACTIONS))
    for racer in [*racers, YARDSTICK]:
        if not all((name, racer, FRACTIONS[0]) in shares for name in members):
            continue
        row = []
        for fraction in FRACTIONS:
            mean, error = mean_share([shares[name, racer, fraction] for name in members])
            row.append(f"{100 * mean:.1f} ± {100 * error:.1f}")
        print(f"| {racer} | " + " | ".join(row) + " |")


def offers_gain(outcomes: Iterable[Outcome], name: str) -> bool:
    """Whether a table's whole first half would lead to a gain; always so on synthetic tables."""
    gains = [o.gain for o in outcomes if o.setting == name and o.racer == YARDSTICK]
    return not gains or float(np.mean(gains)) >= LEAST_GAIN


def print_scores(outcomes: Sequence[Outcome], racers: Sequence[str]) -> None:
    """Print the mean scores on unseen examples of what was recommended, for recorded tables."""
    recorded = dict.fromkeys(o.setting for o in outcomes if o.racer == YARDSTICK)
    if not recorded:
        return
    print("\n### recorded tables: mean score on unseen examples, in percent\n")
    print("| table | search | " + " | ".join(f"{fraction:.0%}" for fraction in FRACTIONS) + " |")
    print("|---|---|" + "---|" * len(FRACTIONS))
    for name in recorded:
        here = [o for o in outcomes if o.setting == name]
        original = np.mean([o.original for o in here])
        best = np.mean([o.original + o.best_gain for o in here])
        label = f"{name}: original {100 * original:.1f}, best {100 * best:.1f}"
        for racer in [*racers, YARDSTICK]:
            found = [[o.truth for o in here if o.racer == racer and o.fraction == f] for f in FRACTIONS]
            row = [f"{100 * np.mean(x):.1f} ± {100 * _error(x):.1f}" for x in found]
            print(f"| {label} | {racer} | " + " | ".join(row) + " |")
            label = ""


def _error(values: Sequence[float]) -> float:
    return float(np.std(values, ddof=1)) / len(values) ** 0.5 if len(values) > 1 else 0.0


def print_honesty(outcomes: Sequence[Outcome], names: Sequence[str]) -> None:
    """Print coverage, calibration and early stops of the Bayesian search."""
    mine = [o for o in outcomes if o.racer == "bayes" and o.setting in names]
    if not mine:
        return
    print("\n### bayes: coverage of the 95 % interval (%), by budget; spent; original kept\n")
    print("| setting | " + " | ".join(f"{f:.0%}" for f in FRACTIONS) + " | spent | original |")
    print("|---|" + "---|" * (len(FRACTIONS) + 2))
    for name in names:
        row = []
        for fraction in FRACTIONS:
            found = [o for o in mine if o.setting == name and o.fraction == fraction]
            row.append(f"{100 * np.mean([o.low <= o.truth <= o.high for o in found]):.0f}")
        spent = np.mean([o.spent for o in found])
        kept = np.mean([o.candidate_is_original for o in found])
        print(f"| {name} | " + " | ".join(row) + f" | {100 * spent:.0f} | {100 * kept:.0f} |")
    everything = np.mean([o.low <= o.truth <= o.high for o in mine])
    print(f"\nall budgets: {100 * everything:.1f} % of {len(mine)}")
    print("\n### bayes: p_better against how often it is so (recommendations that change the program)\n")
    print("| p_better | runs | mean p | truly better |")
    print("|---|---|---|---|")
    changed = [o for o in mine if not o.candidate_is_original]
    bounds = (0.0, 0.8, 0.85, 0.9, 0.95, 0.98, 0.99, 0.999, 1.01)
    for low, high in pairwise(bounds):
        found = [o for o in changed if low <= o.p_better < high]
        if found:
            p = np.mean([o.p_better for o in found])
            true = np.mean([o.truth > o.original for o in found])
            print(f"| {low:g} to {min(high, 1):g} | {len(found)} | {p:.3f} | {true:.3f} |")
