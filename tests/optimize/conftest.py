"""A small task whose best prompt is known: the colour of fruit."""

import json
import re
import zlib

import pytest

import mipro
from mipro.testing.lms import ScriptedLM

FRUIT = [f"{kind} {number}" for number in range(20) for kind in ("banana", "cherry", "lime", "plum")]
COLOURS = {"banana": "yellow", "cherry": "red", "lime": "green", "plum": "purple"}


def colour_of(fruit):
    """Return the right answer."""
    return COLOURS[fruit.split()[0]]


def fruit_in(messages):
    """Return the fruit that is asked about."""
    return re.findall(r"(?:banana|cherry|lime|plum) \d+", str(messages[-1]["content"]))[-1]


def answer(messages):
    """Answer as a model that knows colours only when it is told to, or shown how."""
    prompt = json.dumps(messages)
    if "proposed_instruction" in prompt:
        number = zlib.crc32(prompt.encode()) % 997
        return {"proposed_instruction": f"Name the colour of the fruit, please, {number}."}
    for field in ("module_description", "program_description", "summary", "observations"):
        if f"[[ ## {field} ## ]]" in prompt:
            return {field: "Fruit come in, colours come out."}
    fruit = fruit_in(messages)
    told = "Name the colour" in str(messages[0]["content"])
    shown = len(messages) > 4
    luck = zlib.crc32(fruit.encode()) % 10
    right = luck < 1 + 4 * told + 4 * shown
    return {"colour": colour_of(fruit) if right else "no idea"}


@pytest.fixture
def fruit():
    """Return the examples, in a fixed order."""
    return [mipro.Example(fruit=name, colour=colour_of(name)).with_inputs("fruit") for name in FRUIT]


@pytest.fixture
def fruit_lm():
    """Return the model, configured for the time of a test."""
    lm = ScriptedLM(answer)
    with mipro.context(lm=lm):
        yield lm


@pytest.fixture
def advised_lm():
    """Return the model of fruit, which gives advice too, and needs no luck if it is told and has a hint."""

    def advised(messages):
        asked = str(messages[-1]["content"])
        if "discussion" in asked:
            return {"discussion": "d", "advice": {"self": "It is always plain what is meant."}}
        if "[[ ## hint_ ## ]]" in asked and "Name the colour" in str(messages[0]["content"]):
            return {"colour": colour_of(fruit_in(messages))}
        return answer(messages)

    lm = ScriptedLM(advised)
    with mipro.context(lm=lm):
        yield lm


@pytest.fixture
def same_colour():
    """Return the metric."""

    def metric(example, prediction, trace=None):
        return example.colour == prediction.colour

    return metric
