"""OpenAI's wire format, without a wire."""

import json
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mipro.errors import UserError
from mipro.lm import LMRequest, LMResponse, Usage
from mipro.lm._openai import (
    NoCompletionError,
    body,
    cost_from,
    encode,
    is_reasoning_model,
    response_from,
    usage_from,
)
from mipro.lm._outputs import lm_response, openai_response, outputs_of


@pytest.mark.parametrize(
    ("name", "reasons"),
    [
        ("openai/o1", True),
        ("o3-mini", True),
        ("openai/o4-mini-2025-04-16", True),
        ("gpt-5", True),
        ("openai/gpt-5-nano", True),
        ("gpt-5.1-codex", True),
        ("openai/ft:o4-mini-2025-04-16:org::id", True),
        ("openai/ft:gpt-4o-mini-2024-07-18:org::id", False),
        ("gpt-5-chat-latest", False),
        ("gpt-5.1-chat-latest", False),
        ("gpt-4o", False),
        ("gpt-4.1-mini", False),
        ("local/olmo-1b", False),
    ],
)
def test_reasoning_models_by_name(name, reasons):
    """OpenAI's reasoning models are told by their names."""
    assert is_reasoning_model(name) is reasons


def test_extra_body_is_merged():
    """`extra_body` holds parameters of the server that nobody here knows."""
    request = LMRequest("m", ({"role": "user", "content": "x"},), {"extra_body": {"top_k": 3}, "top_p": None})
    assert body(request, "m") == {"model": "m", "messages": list(request.messages), "top_k": 3}


@pytest.mark.parametrize("given", [{"max_tokens": 9}, {"max_tokens": 5, "max_completion_tokens": 9}])
def test_a_reasoning_model_is_limited_under_its_own_name(given):
    """A limit is sent as `max_completion_tokens`, and neither lost nor sent twice."""
    sent = body(LMRequest("m", (), {**given, "temperature": 0.5}), "o3-mini")
    assert sent == {"model": "o3-mini", "messages": [], "max_completion_tokens": 9}


def test_responses_input():
    """Tool calls, their results and images are turned into items of the Responses API."""
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    messages = (
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "u"}}]},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "1", "content": "42"},
        {"role": "tool", "tool_call_id": "2", "content": None},
        {"role": "user", "content": [{"type": "file", "file": {"file_id": "f"}}]},
    )
    tools = [{"type": "function", "function": {"name": "f", "parameters": {}}}]
    params = {"model_type": "responses", "tools": tools, "reasoning_effort": "low"}
    data = body(LMRequest("m", messages, params), "m")
    assert data["input"] == [
        {"role": "user", "content": [{"type": "input_image", "image_url": "u"}]},
        {"type": "function_call", "call_id": "1", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "1", "output": "42"},
        {"type": "function_call_output", "call_id": "2", "output": ""},
        {"role": "user", "content": [{"type": "input_file", "file_id": "f"}]},
    ]
    assert data["tools"] == [{"type": "function", "name": "f", "parameters": {}}]
    assert data["reasoning"]["effort"] == "low"


def test_responses_answer():
    """Text, reasoning and tool calls of a Responses answer are found."""
    data = {
        "model": "m",
        "output": [
            {"type": "reasoning", "summary": [{"type": "summary_text", "text": "think"}]},
            {"type": "web_search_call", "id": "ws", "status": "completed"},
            {"type": "message", "content": [{"type": "output_text", "text": "say"}]},
            {"type": "function_call", "call_id": "1", "name": "f", "arguments": "{}"},
        ],
        "usage": {"input_tokens": 3, "output_tokens": 4, "output_tokens_details": {"reasoning_tokens": 2}},
    }
    response = response_from(data)
    assert (response.completions[0].text, response.completions[0].reasoning) == ("say", "think")
    assert [call["function"]["name"] for call in response.completions[0].tool_calls] == ["f"]
    assert response.usage == Usage(3, 4, 0, 2)


def test_objects_are_read_as_dicts_are():
    """A response may be objects with attributes, as SDKs give."""
    message = SimpleNamespace(content="hi", tool_calls=None)
    choice = SimpleNamespace(message=message, finish_reason="stop", logprobs=None)
    response = response_from(SimpleNamespace(model="m", choices=[choice], usage=None))
    assert outputs_of(response) == ["hi"]


@pytest.mark.parametrize("data", [{}, [], None, 3, {"choices": 3}, {"choices": "x"}])
def test_other_data_is_refused(data):
    """What is no completion raises, instead of giving an empty answer."""
    with pytest.raises(ValueError, match="choices"):
        response_from(data)


def test_missing_counts_are_zero():
    """A server that counts nothing, or only a part, is read all the same."""
    assert usage_from(None) == usage_from({}) == Usage()
    assert usage_from({"prompt_tokens": 5, "prompt_tokens_details": None}) == Usage(5)
    assert usage_from({"prompt_tokens": -500, "completion_tokens": 10**30}) == Usage()


@pytest.mark.parametrize("count", [[1], {"sum": 1}, "many", float("inf"), float("nan"), 10**400])
def test_an_answer_is_not_lost_for_a_count_that_is_none(count):
    """The answer was paid for; it was thrown away, and asked for and paid again without end."""
    data = {"choices": [{"message": {"content": "a"}}], "usage": {"prompt_tokens": count}}
    response = response_from(data)
    assert (response.completions[0].text, response.usage) == ("a", Usage())


def test_counts_may_be_texts():
    """Some proxies write numbers as texts, and whole numbers with a point."""
    assert usage_from({"prompt_tokens": "12", "completion_tokens": "3.0"}) == Usage(12, 3)


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        # xAI
        (
            {
                "prompt_tokens": 32,
                "completion_tokens": 9,
                "total_tokens": 135,
                "completion_tokens_details": {"reasoning_tokens": 94},
            },
            Usage(32, 103, 0, 94),
        ),
        # Gemini
        ({"prompt_tokens": 6, "completion_tokens": 10, "total_tokens": 523}, Usage(6, 517)),
        ({"prompt_tokens": 6, "completion_tokens": None, "total_tokens": 523}, Usage(6, 517)),
        # A total that is none, or less than its parts, is not believed.
        ({"prompt_tokens": 6, "completion_tokens": 10, "total_tokens": 0}, Usage(6, 10)),
        ({"completion_tokens": 10, "total_tokens": 523}, Usage(513, 10)),
        ({"total_tokens": 523}, Usage(523)),
    ],
)
def test_hidden_reasoning_that_only_the_total_counts(usage, expected):
    """It is paid as output; budgets and costs were a tenth of what was spent."""
    assert usage_from(usage) == expected


@pytest.mark.parametrize("name", ["cached_tokens", "prompt_cache_hit_tokens"])
def test_cached_tokens_beside_the_counts(name):
    """Moonshot, Together and DeepSeek have them there; the details go first."""
    assert usage_from({"prompt_tokens": 9, name: 4}) == Usage(9, 0, 4)
    assert usage_from({"prompt_tokens": 9, name: 4, "prompt_tokens_details": {"cached_tokens": 5}}) == Usage(
        9, 0, 5
    )


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"cost": 0.25}, 0.25),
        ({"cost": 0}, 0.0),
        ({"cost": 0.25, "cost_details": {"upstream_inference_cost": 0.25}}, 0.25),
        ({"cost": 0.95, "cost_details": {"upstream_inference_cost": 19}}, 19.95),
        ({"cost": 0.25, "cost_details": {"upstream_inference_cost": None}}, 0.25),
        ({"cost": {"total_cost": 0.25}}, None),
        ({"cost": float("nan")}, None),
        ({"cost": -1}, None),
        ({}, None),
        (None, None),
    ],
)
def test_cost_that_a_server_tells(usage, expected):
    """OpenRouter's; under a provider's key of the user's own it is the fee alone."""
    assert cost_from(usage) == expected


def test_outputs_are_dicts_when_one_holds_more():
    """Either all outputs are texts or all are dicts."""
    choices = [{"message": {"content": "a"}}, {"message": {"content": "b"}, "logprobs": {"content": []}}]
    assert outputs_of(response_from({"choices": choices})) == [
        {"text": "a"},
        {"text": "b", "logprobs": {"content": []}},
    ]


@given(st.text(), st.none() | st.text(min_size=1), st.integers(0, 10**9))
def test_response_survives_json(text, reasoning, tokens):
    """A response written as JSON and read again is the same."""
    message = {"content": text, "reasoning_content": reasoning}
    data = {"model": "m", "choices": [{"message": message}], "usage": {"prompt_tokens": tokens}}
    response = response_from(data, latency_s=0.5, cost_usd=0.25)
    assert LMResponse.from_json(response.to_json()) == response


@given(st.text(), st.none() | st.text(min_size=1))
def test_openai_form_and_back(text, reasoning):
    """The OpenAI-like form holds all that a response does."""
    message = {"content": text, "reasoning_content": reasoning}
    response = response_from({"model": "m", "choices": [{"message": message, "finish_reason": "stop"}]})
    shown = openai_response(response)
    shown.lm_response = None
    assert lm_response(json.loads(json.dumps(shown))) == response


def test_plain_texts_are_responses():
    """A user's `forward` may return the text, or a list of texts."""
    assert outputs_of(lm_response("a")) == ["a"]
    assert outputs_of(lm_response(["a", "b"])) == ["a", "b"]


def test_not_json():
    """A value that is not JSON is named with its parameter and the model."""
    with pytest.raises(UserError, match=r"`m`.*JSON.* in `x`"):
        encode({"messages": [], "x": object()}, "m")


@pytest.mark.parametrize(
    "data",
    [
        {"choices": []},
        {"error": {"code": 502}, "choices": []},
        {"error": {"code": 502}, "choices": None},
        {"error": {"code": 502}, "choices": [{"message": {"content": ""}}]},
        {"choices": [{"error": {"code": 502}, "message": {"content": None}, "finish_reason": "error"}]},
        {"choices": [{"error": {"code": 502}, "message": {"content": "hal"}, "finish_reason": "error"}]},
        {"choices": [{"message": {"content": "hal"}, "finish_reason": "error"}]},
        {"choices": [{"message": {"content": "hal"}, "finish_reason": "insufficient_system_resource"}]},
        {"status": "failed", "error": {"code": "server_error", "message": "down"}, "output": []},
        {"status": "failed", "error": None, "output": [{"type": "message", "content": [{"text": "hal"}]}]},
        {"status": "cancelled", "output": []},
        {"status": "completed", "output": []},
    ],
)
def test_answers_without_a_completion_are_told_apart(data):
    """A failure in the form of an answer is none."""
    with pytest.raises(NoCompletionError):
        response_from(data)


@pytest.mark.parametrize(
    "data",
    [
        {"choices": [{}]},
        {"choices": [3]},
        {"choices": [{"text": 5}]},
        {"choices": [{"message": {"content": 5}}]},
        {"choices": [{"message": {"content": {"text": "a"}}}]},
        {"choices": [{"message": {"content": "a", "tool_calls": 3}}]},
        {"choices": [{"message": {"content": "a", "tool_calls": [3]}}]},
        {"output": 3},
        {"output": "text"},
        {"output": [{"type": "message", "content": 5}]},
    ],
)
def test_wrong_types_are_refused(data):
    """What is not of the type that it must be is no answer, and no crash."""
    with pytest.raises(ValueError, match=r"must|not"):
        response_from(data)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ({"error": {"code": 1}, "choices": [{"message": {"content": "a"}}]}, "a"),
        ({"choices": [{"message": {"content": None}, "finish_reason": "content_filter"}]}, ""),
        ({"choices": [{"message": {"content": ["a", {"text": "b"}]}}]}, "ab"),
        ({"choices": [{"message": {"content": None, "refusal": "I can't."}}]}, "I can't."),
        ({"output": [{"type": "message", "content": [{"type": "refusal", "refusal": "No."}]}]}, "No."),
        ({"status": "incomplete", "output": [{"type": "message", "content": [{"text": "a"}]}]}, "a"),
        ({"status": "incomplete", "output": []}, ""),
    ],
)
def test_answers_that_are_less_than_whole_are_answers(data, text):
    """An answer that was cut off or filtered would be so again: it counts."""
    assert response_from(data).completions[0].text == text
