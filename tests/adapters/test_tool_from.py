"""Tools of MCP and of LangChain, by stand-ins with the same form."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pydantic
import pytest

from mipro import ReAct, Tool, context
from mipro.adapters._tool_from import convert_input_schema_to_tool_args
from mipro.errors import UserError
from mipro.testing.lms import ScriptedLM

SCHEMA = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "description": "Which."},
        "when": {"$ref": "#/$defs/When"},
    },
    "required": ["city"],
    "$defs": {"When": {"type": "object", "properties": {"day": {"type": "integer"}}}},
}
WEATHER = SimpleNamespace(name="weather", description="Tell the weather.", inputSchema=SCHEMA)


class Session:
    """An MCP session with one tool."""

    def __init__(self, *parts, fails=False, structured=None):
        self.parts = parts
        self.structured = structured
        self.fails = fails
        self.called = []

    async def call_tool(self, name, arguments):
        """Note the call and answer."""
        self.called.append((name, arguments))
        return SimpleNamespace(content=self.parts, isError=self.fails, structuredContent=self.structured)


def text(words):
    """Return a text as MCP sends it."""
    return SimpleNamespace(text=words)


def test_arguments_are_read_from_the_schema():
    """References are resolved, types and required arguments told."""
    args, types, described = convert_input_schema_to_tool_args(SCHEMA)
    assert args["when"] == {"type": "object", "properties": {"day": {"type": "integer"}}}
    assert types == {"city": str, "when": dict}
    assert described == {"city": "Which. (Required)", "when": "No description provided."}
    assert convert_input_schema_to_tool_args({"type": "object"}) == ({}, {}, {})


def test_schemas_of_other_makers_are_read():
    """Several types in one, anything at all, and definitions under their older name."""
    when = {"type": "object", "properties": {"day": {"type": "integer"}}}
    schema = {
        "properties": {"a": {"type": ["string", "null"]}, "b": True, "c": {"$ref": "#/definitions/When"}},
        "definitions": {"When": when},
    }
    args, types, _ = convert_input_schema_to_tool_args(schema)
    assert args == {"a": {"type": ["string", "null"]}, "b": {}, "c": when}
    assert types == {"a": Any, "b": Any, "c": dict}


def test_what_a_schema_has_not_may_be_null():
    """Servers in Go and Rust write it so; such a tool could not be made."""
    schema = {"properties": {"a": {"type": "string", "description": None}}, "required": None, "$defs": None}
    args, types, described = convert_input_schema_to_tool_args(schema)
    assert (args, types) == ({"a": {"type": "string", "description": None}}, {"a": str})
    assert described == {"a": "No description provided."}
    assert convert_input_schema_to_tool_args({"properties": None}) == ({}, {}, {})


def test_a_schema_that_would_grow_without_end_keeps_its_references():
    """Thirty types that refer twice to the next one are a billion parts."""
    refs = [{"$ref": f"#/$defs/T{i}"} for i in range(31)]
    types = {f"T{i}": {"properties": {"x": refs[i + 1], "y": refs[i + 1]}} for i in range(30)}
    schema = {"properties": {"a": refs[0]}, "$defs": {**types, "T30": {"type": "integer"}}}
    assert convert_input_schema_to_tool_args(schema)[0] == {"a": refs[0]}


@pytest.mark.parametrize(("mode", "result"), [("text", "21 degrees"), ("structured", {"degrees": 21})])
def test_the_structured_result_of_a_tool_of_mcp_can_be_had(mode, result):
    """It is returned as it is, where the caller asks for it."""
    session = Session(text("21 degrees"), structured={"degrees": 21})
    tool = Tool.from_mcp_tool(session, WEATHER, result_mode=mode)
    assert asyncio.run(tool.acall(city="Rome")) == result


def test_a_result_without_structure_is_its_text():
    """Also where structure is asked for; a mode that there is not is refused before a call."""
    tool = Tool.from_mcp_tool(Session(text("sun")), WEATHER, result_mode="structured")
    assert asyncio.run(tool.acall(city="Rome")) == "sun"
    with pytest.raises(UserError, match="'text' or 'structured', but got 'json'"):
        Tool.from_mcp_tool(Session(), WEATHER, result_mode="json")


@pytest.mark.parametrize(
    ("parts", "result"), [([text("sun")], "sun"), ([text("sun"), text("rain")], ["sun", "rain"]), ([3], [3])]
)
def test_a_tool_of_mcp_is_called_by_its_session(parts, result):
    """One text comes alone, several as a list, other content as it is."""
    session = Session(*parts)
    tool = Tool.from_mcp_tool(session, WEATHER)
    assert (tool.name, tool.desc, list(tool.args)) == ("weather", "Tell the weather.", ["city", "when"])
    assert asyncio.run(tool.acall(city="Rome")) == result
    assert session.called == [("weather", {"city": "Rome"})]


def test_a_failed_tool_of_mcp_is_an_observation():
    """The agent is told of it."""
    tool = Tool.from_mcp_tool(Session(text("no such city"), fails=True), WEATHER)
    lm = ScriptedLM(
        [
            {"next_thought": "t", "next_tool_name": "weather", "next_tool_args": {"city": "X"}},
            {"next_thought": "t", "next_tool_name": "finish", "next_tool_args": {}},
            {"reasoning": "r", "answer": "a"},
        ]
    )
    with context(lm=lm):
        told = asyncio.run(ReAct("question -> answer", tools=[tool]).acall(question="Q"))
    assert "no such city" in told.trajectory["observation_0"]


def test_a_tool_of_langchain():
    """Arguments are those of its schema, with their types."""

    class Arguments(pydantic.BaseModel):
        x: int
        y: list[int] = pydantic.Field(default=[1], description="More.")

    async def ainvoke(arguments):
        return sum([arguments["x"], *arguments.get("y", [])])

    given = SimpleNamespace(name="add", description="Add.", args_schema=Arguments, ainvoke=ainvoke)
    tool = Tool.from_langchain(given)
    assert tool.arg_types == {"x": int, "y": list[int]}
    assert asyncio.run(tool.acall(x="2", y=["3"])) == 5
