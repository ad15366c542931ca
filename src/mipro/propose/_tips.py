"""Tips: one hint on how to word an instruction, so that proposals differ."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random

# The kinds are those of MIPROv2 (Opsahl-Ong et al. 2024, appendix on the tips of the
# grounded proposer), plus "steps" and "format", which pay on small models.
TIPS: dict[str, str] = {
    "none": "",
    "simple": "Be short and clear: one sentence.",
    "description": "Be detailed: say what is given, what to look for and what the answer must be.",
    "persona": "Begin with a fitting role, as in: You are a ...",
    "high_stakes": "Name a serious situation in which a wrong answer would do harm.",
    "creative": "Be creative: word it in a way nobody else would.",
    "steps": "Give the steps to follow, from the input to the answer.",
    "format": "Say exactly in which form the answer must be given, and what to leave out.",
}
"""What is said to the model, by the name of the tip."""


def draw_tips(count: int, rng: random.Random, *, use: bool = True) -> list[str]:
    """Return the names of `count` tips; none comes again before all have been drawn.

    Args:
        count: Number of tips.
        rng: Source of the order; advanced in place.
        use: Whether to give tips at all; else all are "none".
    """
    if not use:
        return ["none"] * count
    drawn: list[str] = []
    while len(drawn) < count:
        names = sorted(TIPS)
        rng.shuffle(names)
        drawn.extend(names)
    return drawn[:count]


def next_tip(name: str) -> str:
    """Return the tip to try where the one called `name` gave nothing usable."""
    names = [known for known in TIPS if known != "none"]
    return names[(names.index(name) + 1) % len(names)] if name in names else names[0]
