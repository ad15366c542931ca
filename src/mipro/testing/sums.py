"""A model that adds, better with a good prompt: for tests and benchmarks that need a server."""

from __future__ import annotations

import json
import re
import zlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mipro.example import Example

DESCRIPTIONS = ("module_description", "program_description", "summary", "observations")


def sums() -> list[Example]:
    """Return all sums of two numbers below 8, as texts."""
    from mipro.example import Example  # noqa: PLC0415 - a server process needs none

    return [
        Example(a=str(a), b=str(b), sum=str(a + b)).with_inputs("a", "b") for a in range(8) for b in range(8)
    ]


def right(example: Any, prediction: Any, trace: Any = None) -> bool:
    """Whether the sum is right; the metric."""
    del trace
    return bool(example.sum == prediction.sum)


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Answer one request, the same request always in the same way.

    Right answers grow more frequent with an instruction that says to add, and with demos.

    Args:
        request: Body of a chat completion request.
    """
    messages = request["messages"]
    prompt = json.dumps(messages)
    last = str(messages[-1]["content"])
    if "proposed_instruction" in prompt:
        return {"proposed_instruction": f"Add the two numbers, please, {zlib.crc32(prompt.encode()) % 997}."}
    for field in DESCRIPTIONS:
        if field in last:
            return {field: "Two small numbers and their sum."}
    a, b = map(
        int, re.findall(r"\d+", last.split("## b ## ]]", maxsplit=1)[0] + last.split("## b ## ]]")[1])[:2]
    )
    skill = 2 + 4 * ("Add the two" in str(messages[0]["content"])) + min(3, len(messages) // 2)
    luck = zlib.crc32(f"{a}+{b}".encode()) % 10
    return {"reasoning": "They are added.", "sum": str(a + b + (luck >= skill))}
