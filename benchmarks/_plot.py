"""Pictures written as plain SVG, so that no plotting library has to be installed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from _racers import FRACTIONS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

COLORS = {"bayes": "#0b6e4f", "dspy": "#c0392b", "tpe": "#e08e79", "random": "#8d99ae", "halving": "#2b6cb0"}
STYLE = "<style>text{font:12px sans-serif;fill:#333}.t{font-weight:bold}.s{font-size:10px}</style>"


def svg(width: int, height: int, parts: Sequence[str]) -> str:
    """Wrap drawing elements into a document with a white ground."""
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}">'
    ground = f'<rect width="{width}" height="{height}" fill="white"/>'
    return "\n".join([head, STYLE, ground, *parts, "</svg>"]) + "\n"


def text(x: float, y: float, content: str, *, anchor: str = "middle", kind: str = "") -> str:
    """Place a line of text."""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" class="{kind}">{content}</text>'


def line(points: Sequence[tuple[float, float]], color: str, width: float = 2.0) -> str:
    """Draw a line through points."""
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="{width}"/>'


def plot_shares(shares: Mapping, groups: Mapping[str, list[str]], racers: Sequence[str]) -> str:
    """Draw the share of the best gain against the budget, one panel for each group of settings."""
    parts, panel = [], 300
    for number, (title, names) in enumerate(groups.items()):
        left = 50 + number * panel
        xs = [left + 220 * np.log(f / FRACTIONS[0]) / np.log(FRACTIONS[-1] / FRACTIONS[0]) for f in FRACTIONS]
        parts.append(text(left + 110, 20, title, kind="t"))
        for level in (0, 25, 50, 75, 100):
            y = 240 - 2 * level
            parts += [
                line([(left, y), (left + 220, y)], "#ddd", 1),
                text(left - 6, y + 4, f"{level} %", anchor="end"),
            ]
        parts += [text(x, 258, f"{f:.0%}") for x, f in zip(xs, FRACTIONS, strict=True)]
        for racer in racers:
            values = [np.mean([shares[name, racer, f][0] for name in names]) for f in FRACTIONS]
            points = [(x, 240 - 200 * max(0.0, v)) for x, v in zip(xs, values, strict=True)]
            parts.append(line(points, COLORS[racer]))
    for number, racer in enumerate(racers):
        x = 60 + 90 * number
        parts += [line([(x, 285), (x + 20, 285)], COLORS[racer], 3), text(x + 26, 289, racer, anchor="start")]
    parts.append(
        text(
            560,
            289,
            "gain on unseen examples by evaluations spent (share of DSPy's)",
            anchor="start",
            kind="s",
        )
    )
    return svg(max(900, 60 + panel * len(groups)), 300, parts)


def plot_run(
    sizes: Sequence[int],
    names: Sequence[str],
    effects: Sequence[tuple[np.ndarray, np.ndarray]],
    spent: np.ndarray,
    best: tuple[int, int],
) -> str:
    """Draw one run over two variables: posterior of each choice's effect, cells spent per combination.

    Args:
        sizes: Number of choices of both variables.
        names: Their names.
        effects: Posterior means and standard deviations of the effects, in score units.
        spent: Cells spent on each combination, `sizes`.
        best: The recommended combination.
    """
    parts = []
    reach = max(float((abs(mean) + 2 * spread).max()) for mean, spread in effects)
    for number, (mean, spread) in enumerate(effects):
        left, top = 60, 40 + number * 190
        parts.append(text(left + 130, top - 14, f"effect of {names[number]} (mean, 95 %)", kind="t"))
        parts.append(line([(left, top + 70), (left + 260, top + 70)], "#bbb", 1))
        parts.append(text(left - 6, top + 74, "0", anchor="end", kind="s"))
        parts.append(text(left - 6, top + 4, f"+{reach:.2f}", anchor="end", kind="s"))
        parts.append(text(left - 6, top + 144, f"-{reach:.2f}", anchor="end", kind="s"))
        for choice in range(sizes[number]):
            x = left + 260 * (choice + 0.5) / sizes[number]
            y, half = top + 70 - 70 * mean[choice] / reach, 70 * 1.96 * spread[choice] / reach
            color = "#0b6e4f" if choice == best[number] else "#8d99ae"
            parts += [
                line([(x, y - half), (x, y + half)], color, 3),
                f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{color}"/>',
                text(x, top + 158, str(choice), kind="s"),
            ]
    left, top, side = 400, 40, 30
    parts.append(text(left + side * sizes[1] / 2, top - 14, "evaluations spent per combination", kind="t"))
    for i in range(sizes[0]):
        parts.append(text(left - 8, top + side * (i + 0.65), str(i), anchor="end", kind="s"))
        for d in range(sizes[1]):
            shade = 255 - int(200 * (spent[i, d] / spent.max()) ** 0.5)
            edge = ' stroke="#0b6e4f" stroke-width="3"' if (i, d) == best else ' stroke="#eee"'
            where = f'x="{left + side * d}" y="{top + side * i}" width="{side}" height="{side}"'
            parts.append(f'<rect {where} fill="rgb({shade},{shade},255)"{edge}/>')
            if spent[i, d]:
                parts.append(
                    text(left + side * (d + 0.5), top + side * (i + 0.62), str(int(spent[i, d])), kind="s")
                )
    for d in range(sizes[1]):
        parts.append(text(left + side * (d + 0.5), top + side * sizes[0] + 14, str(d), kind="s"))
    parts.append(
        text(left + side * sizes[1] / 2, top + side * sizes[0] + 34, f"{names[0]} down, {names[1]} across")
    )
    return svg(820, 420, parts)
