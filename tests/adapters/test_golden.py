"""Every kind of prompt, pinned: `UPDATE_GOLDEN=1 pytest tests/adapters/test_golden.py` writes them anew."""

import enum
import json
import os
import pathlib
from typing import Literal

import pydantic
import pytest

from mipro.adapters import ChatAdapter, History, Image, JSONAdapter, Tool, ToolCalls, XMLAdapter
from mipro.modules import ChainOfThought, ReAct
from mipro.signature import InputField, OutputField, Signature

GOLDEN = pathlib.Path(__file__).parent / "golden"
ADAPTERS = {"chat": ChatAdapter(), "json": JSONAdapter(), "xml": XMLAdapter()}


class Colour(enum.Enum):
    """Colours."""

    RED = "red"
    BLUE = "dark blue"


class Person(pydantic.BaseModel):
    """A person."""

    name: str
    age: int | None = None


class Typed(Signature):
    """Read the text.

    Answer for one person only.
    """

    context: list[str] = InputField(desc="passages")
    text: str = InputField(max_length=100)
    person: Person = OutputField(desc="who it is about")
    colour: Colour = OutputField()
    mood: Literal["good", "it's bad"] = OutputField()
    score: float = OutputField(ge=0, le=1)
    sure: bool = OutputField()
    note: str | None = OutputField()


class Talk(Signature):
    """Go on with the talk."""

    history: History = InputField()
    question: str = InputField()
    answer: str = OutputField()


class Look(Signature):
    """Say what is in the picture."""

    picture: Image = InputField()
    others: list[Image] = InputField()
    caption: str = OutputField()


class Act(Signature):
    """Choose the tools."""

    question: str = InputField()
    tools: list[Tool] = InputField()
    calls: ToolCalls = OutputField()


def search(query: str, k: int = 3) -> list[str]:
    """Search the archive."""
    return [query] * k


TYPED_DEMO = {
    "context": ["one", "two"],
    "text": "Ada is 36.",
    "person": Person(name="Ada", age=36),
    "colour": Colour.BLUE,
    "mood": "it's bad",
    "score": 0.5,
    "sure": True,
    "note": "none",
}
PICTURE = Image("https://example.org/cat.png")
CASES = {
    "smallest": (Signature("question -> answer"), [], {"question": "1 + 1?"}),
    "typed": (Typed, [TYPED_DEMO], {"context": [], "text": "Bob."}),
    "partial_demos": (
        Signature("question, hint -> reasoning, answer", "Answer in one word."),
        [
            {"question": "Q1", "hint": "H1", "reasoning": "R1", "answer": "A1"},
            {"question": "Q2", "answer": "A2"},
            {"answer": "without any input, so left out"},
        ],
        {"question": "Q3", "hint": "line 1\nline 2"},
    ),
    "passages": (
        Signature("context, question -> answer"),
        [],
        {"context": ["p1", "p2\n«x»"], "question": "Q"},
    ),
    "missing_input": (Signature("question, hint -> answer"), [], {"question": "Q"}),
    "history": (
        Talk,
        [],
        {"history": History(messages=[{"question": "Hi?", "answer": "Hello."}]), "question": "And?"},
    ),
    "image": (
        Look,
        [{"picture": PICTURE, "others": [], "caption": "A cat."}],
        {"picture": PICTURE, "others": [PICTURE]},
    ),
    "tools": (Act, [], {"question": "Q", "tools": [Tool(search)]}),
    "chain_of_thought": (
        ChainOfThought("question -> answer").predict.signature,
        [],
        {"question": "Why?"},
    ),
    "react": (
        ReAct("question -> answer", tools=[search]).react.signature,
        [],
        {"question": "Q", "trajectory": ""},
    ),
    "react_without_tools": (
        ReAct("question -> answer").react.signature,
        [],
        {"question": "Q", "trajectory": ""},
    ),
    "react_extract": (
        ReAct("question -> answer", tools=[search]).extract.predict.signature,
        [],
        {"question": "Q", "trajectory": "[[ ## thought_0 ## ]]\nt"},
    ),
}


def as_text(messages):
    """Return a prompt as it can be read and compared."""
    parts = []
    for message in messages:
        content = message["content"]
        shown = content if isinstance(content, str) else json.dumps(content, indent=2, ensure_ascii=False)
        parts.append(f"----- {message['role']}\n{shown}\n")
    return "".join(parts)


@pytest.mark.parametrize("adapter", ADAPTERS)
@pytest.mark.parametrize("case", CASES)
def test_the_prompt_is_as_pinned(case, adapter):
    """The messages are byte for byte those in the golden file."""
    signature, demos, inputs = CASES[case]
    prompt = as_text(ADAPTERS[adapter].format(signature, demos, inputs))
    path = GOLDEN / f"{case}.{adapter}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_bytes(prompt.encode())
    assert path.read_bytes().decode() == prompt


def test_every_golden_file_belongs_to_a_prompt():
    """No file is left over from a prompt that is gone."""
    assert {path.name for path in GOLDEN.iterdir()} == {f"{c}.{a}.txt" for c in CASES for a in ADAPTERS}


def test_the_reminder_names_the_fields_in_order():
    """The last message ends with the output fields, in the order of the signature."""
    content = ChatAdapter().format(Signature("q -> first, second: int"), [], {"q": "?"})[-1]["content"]
    assert (
        content.index("[[ ## first ## ]]") < content.index("[[ ## second ## ]]") < content.index("completed")
    )
