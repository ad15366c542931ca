"""The picture of benchmarks/growth.py."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from _plot import line, svg, text

if TYPE_CHECKING:
    from collections.abc import Sequence

PANEL, WIDTH, HEIGHT, LEFT = 270, 200, 150, 46
TIME, MEMORY = "#0b6e4f", "#2b6cb0"


def plot(points: Sequence[dict[str, Any]]) -> str:
    """Draw CPU seconds (above) and peak memory (below) against each size, all axes of sizes logarithmic."""
    dimensions = list(dict.fromkeys(point["dimension"] for point in points))
    parts: list[str] = []
    for column, dimension in enumerate(dimensions):
        chosen = [point for point in points if point["dimension"] == dimension]
        left = LEFT + column * PANEL
        parts.append(text(left + WIDTH / 2, 18, dimension, kind="t"))
        parts += _panel(left, 30, chosen, "cpu_s", TIME, "s")
        parts += _panel(left, 60 + HEIGHT, chosen, "memory_mb", MEMORY, "MB")
    parts.append(
        text(LEFT - 30, 2 * HEIGHT + 110, "above: CPU seconds of a run; below: peak memory", anchor="start")
    )
    return svg(LEFT + PANEL * len(dimensions), 2 * HEIGHT + 125, parts)


def _panel(
    left: float, top: float, points: Sequence[dict[str, Any]], field: str, color: str, unit: str
) -> list[str]:
    sizes = [math.log(point["size"]) for point in points]
    width = max(sizes[-1] - sizes[0], 1e-9)
    most = 1.15 * max(point[field] for point in points)
    places = [
        (left + WIDTH * (size - sizes[0]) / width, top + HEIGHT - HEIGHT * point[field] / most)
        for size, point in zip(sizes, points, strict=True)
    ]
    bottom = top + HEIGHT
    parts = [line([(left, top), (left, bottom), (left + WIDTH, bottom)], "#999", 1), line(places, color)]
    for (x, y), point in zip(places, points, strict=True):
        parts.append(text(x, bottom + 14, f"{point['size']:,}", kind="s"))
        parts.append(text(x, y - 6, f"{point[field]:.3g} {unit}", kind="s"))
    return parts
