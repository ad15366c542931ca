"""Earlier turns with tool calls: in the server's own form, or as text."""

import pytest

from mipro.adapters import ChatAdapter, History, Tool, ToolCallResults, ToolCalls
from mipro.errors import UserError
from mipro.signature import InputField, OutputField, Signature

AGENT = Signature(
    {
        "question": InputField(),
        "history": (History, InputField()),
        "tools": (list[Tool], InputField()),
        "thought": OutputField(),
        "calls": (ToolCalls, OutputField()),
    }
)
CALLS = ToolCalls.from_dict_list([{"id": "c1", "name": "search", "args": {"q": "cats"}}])


def turn(results, **fields):
    """Return a turn with a tool call and what came of it."""
    return {"calls": CALLS.model_copy(update={"tool_call_results": results}), **fields}


def prompt(adapter, *turns):
    """Return the messages between the system message and the question."""
    inputs = {"question": "Q", "tools": [], "history": History(messages=list(turns))}
    return adapter.format(AGENT, [], inputs)[1:-1]


RESULTS = ToolCallResults.from_tool_calls_and_values(CALLS, [["a", "b"]])
NATIVE = ChatAdapter(use_native_function_calling=True)


def test_calls_and_results_are_messages_of_their_own_where_the_server_has_them():
    """In OpenAI's form, tied by the id."""
    user, assistant, tool = prompt(NATIVE, turn(RESULTS, question="Q0", thought="T"))
    assert user["content"] == "[[ ## question ## ]]\nQ0"
    assert assistant["content"].startswith("[[ ## thought ## ]]\nT")
    assert assistant["tool_calls"] == [
        {"id": "c1", "type": "function", "function": {"name": "search", "arguments": '{"q": "cats"}'}}
    ]
    assert tool == {"role": "tool", "tool_call_id": "c1", "name": "search", "content": '["a", "b"]'}


def test_a_result_that_is_a_text_is_told_as_it_is():
    """Without quotes, which are no part of it."""
    told = ToolCallResults.from_tool_calls_and_values(CALLS, ['say "a"'])
    assert prompt(NATIVE, turn(told))[-1]["content"] == 'say "a"'


def test_a_turn_of_calls_alone_has_no_other_content():
    """Neither a question nor a thought is made up."""
    assistant, tool = prompt(NATIVE, turn(RESULTS))
    assert (assistant["role"], assistant["content"], tool["role"]) == ("assistant", None, "tool")


@pytest.mark.parametrize("call_id", [None, "other"])
def test_results_that_belong_to_no_call_are_left_out(call_id):
    """A server would refuse them."""
    results = [{"call_id": call_id, "name": "search", "value": "a"}]
    (assistant,) = prompt(NATIVE, turn(results, thought="T"))
    assert "tool_calls" not in assistant


def test_calls_and_results_are_text_elsewhere():
    """Calls in the answer, results in a message of the user."""
    assistant, user = prompt(ChatAdapter(), turn(RESULTS, thought="T"))
    assert '{"tool_calls": [{"name": "search", "args": {"q": "cats"}}]}' in assistant["content"]
    assert user["role"] == "user"
    assert user["content"].startswith("[[ ## tool_call_results ## ]]\n")
    assert '"value": ["a", "b"]' in user["content"]


def test_a_history_survives_being_saved():
    """Calls and results come back from plain values."""
    saved = turn(RESULTS, thought="T")["calls"].model_dump()
    assert saved["tool_call_results"]["tool_call_results"][0]["call_id"] == "c1"
    assert prompt(ChatAdapter(), {"calls": saved, "thought": "T"}) == prompt(
        ChatAdapter(), turn(RESULTS, thought="T")
    )


def test_results_are_as_many_as_calls():
    """Otherwise nobody knows which is which."""
    with pytest.raises(UserError, match="must have the same length, but got 1, 2 and 1"):
        ToolCallResults.from_tool_calls_and_values(CALLS.tool_calls, [1, 2], [True])
