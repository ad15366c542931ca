"""The JSON format, and the strictest way of asking for it that a server takes."""

from typing import Any

import pydantic
import pytest

from mipro.adapters import JSONAdapter, Reasoning, Tool, ToolCalls
from mipro.errors import AdapterParseError, LMRequestError
from mipro.signature import InputField, OutputField, Signature
from mipro.testing.lms import ScriptedLM


class SchemaLM(ScriptedLM):
    """A model that can be held to a schema."""

    supports_response_schema = True


class ObjectLM(ScriptedLM):
    """A model that can be held to JSON, but not to a schema."""

    supported_params = frozenset({"response_format"})


SIGNATURE = Signature("question -> answer: int")


def ask(lm, signature=SIGNATURE, adapter=None, **params):
    """Call an adapter as a predictor does."""
    return (adapter or JSONAdapter())(
        lm, lm_kwargs=params, signature=signature, demos=[], inputs={"question": "Q"}
    )


def formats(lm):
    """Return the kinds of response format that a model was offered."""
    return [call["kwargs"].get("response_format", {}).get("type") for call in lm.calls]


@pytest.mark.parametrize(
    "text",
    [
        '{"answer": 5}',
        '{"answer": "5", "other": 1}',
        'Here you are:\n```json\n{"answer": 5,}\n```',
        "{'answer': 5}",
        '{"answer": 5',
        'Sure! {"answer": 5} Anything else?',
    ],
)
def test_json_that_is_almost_right_is_repaired(text):
    """Fences, words around it, wrong quotes, a missing end."""
    assert JSONAdapter().parse(SIGNATURE, text) == {"answer": 5}


@pytest.mark.parametrize(
    "text",
    [
        '{"answer": 5}\n\nWhere {x} is left "open".',
        '{"answer": 5, "other": "{x} y"} and {z}',
        'The sets {1, 2} and {3}: {"answer": 5}',
        '<think>{"question": "Q"}</think>{"answer": 5}',
        '{"outputs": {"answer": 5}}',
        "{'answer': 5}\nWhere {x} is left open.",
        'As [1, 2] shows:\n{"steps": {"a": 1}, "answer": 5',
    ],
)
def test_an_object_is_found_among_other_braces(text):
    """One that has an output field goes before all others and before a repair of the whole."""
    assert JSONAdapter().parse(SIGNATURE, text) == {"answer": 5}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('Note {x}:\n{"tags": ["", "a"], "answer": 5}', {"tags": ["", "a"], "answer": 5}),
        ("Here {x}:\n```json\n{'tags': ['a'], 'answer': 5}\n```", {"tags": ["a"], "answer": 5}),
        ('{"answer": 4}\n{"answer": 5, "tags": []}\n{"answer": 6}', {"tags": [], "answer": 5}),
        ('{"answer": 4, "tags": []}\nNo:\n{"answer": 5, "tags": []}', {"tags": [], "answer": 5}),
    ],
)
def test_the_object_with_the_most_fields_is_taken_as_it_stands(text, expected):
    """A repair of the whole drops empty texts and fields after other braces; the last of equals counts."""
    signature = Signature("question -> tags: list[str] | None, answer: int")
    assert JSONAdapter().parse(signature, text) == expected


@pytest.mark.parametrize(
    "text", ['{"a": {"a": 1}', '{"a": {"a": 1}, }', '\n{\n---\n"a": {"a": 1}\n}', '{a: {"a": 1}} !']
)
def test_an_object_in_a_broken_one_is_a_part_of_it(text):
    """A value may be an object with a key of the field's name; it is not the answer."""
    assert JSONAdapter().parse(Signature("question -> a: dict[str, int]"), text) == {"a": {"a": 1}}


@pytest.mark.parametrize(
    "text", ["", "no", "[1, 2]", '{"other": 5}', '{"answer": "five"}', '{"answer": null}']
)
def test_what_can_not_be_read_is_a_parse_error(text):
    """With the answer as it came."""
    with pytest.raises(AdapterParseError) as caught:
        JSONAdapter().parse(SIGNATURE, text)
    assert caught.value.lm_response == text


def test_a_model_with_schemas_gets_a_strict_one():
    """All objects closed, all properties required, no defaults."""

    class Inner(pydantic.BaseModel):
        x: int = 3
        more: list["Inner"] = []

    lm = SchemaLM(['{"answer": 1, "inner": {"x": 1, "more": []}}'])
    ask(lm, Signature("question -> answer: int, inner: Inner | None"))
    sent = lm.calls[0]["kwargs"]["response_format"]["json_schema"]
    schema = sent["schema"]
    assert sent["strict"] is True
    assert schema["required"] == ["answer", "inner"]
    assert schema["additionalProperties"] is False
    assert schema["$defs"]["Inner"]["required"] == ["x", "more"]
    assert schema["$defs"]["Inner"]["additionalProperties"] is False
    assert "default" not in str(schema)


@pytest.mark.parametrize("annotation", ["dict[str, int]", "Any", "list[dict[str, Any]]"])
def test_what_a_strict_schema_can_not_say_is_asked_for_as_any_json(annotation):
    """Keys that are not known in advance, values of any type."""
    lm = SchemaLM(['{"answer": []}' if annotation.startswith("list") else '{"answer": {}}'])
    ask(lm, Signature(f"question -> answer: {annotation}", custom_types={"Any": Any}))
    assert formats(lm) == ["json_object"]


def test_models_get_the_strictest_format_they_take():
    """A schema, a JSON object, or plain text."""
    for kind, expected in ((SchemaLM, "json_schema"), (ObjectLM, "json_object"), (ScriptedLM, None)):
        lm = kind(['{"answer": 5}'])
        assert ask(lm) == [{"answer": 5}]
        assert formats(lm) == [expected]


def test_a_format_that_the_server_refuses_is_not_offered_again():
    """It steps down, and remembers."""
    refusal = LMRequestError("response_format is not supported", status=400)
    lm = SchemaLM([refusal, refusal, '{"answer": 5}', '{"answer": 6}'])
    adapter = JSONAdapter()
    assert ask(lm, adapter=adapter) == [{"answer": 5}]
    assert ask(lm, adapter=adapter) == [{"answer": 6}]
    assert formats(lm) == ["json_schema", "json_object", None, None]


def test_other_refusals_are_raised():
    """A request that is wrong in itself is not sent three times."""
    lm = SchemaLM([LMRequestError("max_tokens is too large", status=400)])
    with pytest.raises(LMRequestError, match="max_tokens"):
        ask(lm)
    assert len(lm.calls) == 1


def test_an_answer_that_does_not_fit_is_no_refusal_of_the_format():
    """Groq's words for it speak of the schema: all later calls went without, whichever was the first."""
    said = "Generated JSON does not match the expected schema. See 'failed_generation' for more details."
    lm = SchemaLM([LMRequestError(said, status=400), '{"answer": 5}'])
    adapter = JSONAdapter()
    with pytest.raises(LMRequestError, match="failed_generation"):
        ask(lm, adapter=adapter)
    assert ask(lm, adapter=adapter) == [{"answer": 5}]
    assert formats(lm) == ["json_schema", "json_schema"]


def test_what_goes_past_the_prompt_is_not_in_the_schema():
    """Native reasoning need not be written; calls alone need no format at all."""

    class Native(SchemaLM):
        supports_reasoning = True
        supports_function_calling = True

    lm = Native(['{"answer": "A"}'])
    ask(lm, Signature({"question": InputField(), "why": (Reasoning, OutputField()), "answer": OutputField()}))
    assert lm.calls[0]["kwargs"]["response_format"]["json_schema"]["schema"]["required"] == ["answer"]

    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    lm = Native([{"choices": [{"index": 0, "message": message}]}])
    signature = Signature({"tools": (list[Tool], InputField()), "calls": (ToolCalls, OutputField())})
    JSONAdapter()(
        lm, lm_kwargs={}, signature=signature, demos=[], inputs={"tools": [Tool(print, name="f", args={})]}
    )
    assert formats(lm) == [None]


def test_a_response_format_of_the_caller_is_kept():
    """It goes before ours."""
    lm = SchemaLM(['{"answer": 5}'])
    ask(lm, response_format={"type": "json_object"})
    assert formats(lm) == ["json_object"]


def test_an_answer_without_an_object_lacks_every_field():
    """The error names them all as missing."""
    with pytest.raises(AdapterParseError) as caught:
        JSONAdapter().parse(Signature("q -> a, b: int"), "no object here")
    assert caught.value.missing == ("a", "b")
