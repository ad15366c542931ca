"""Earlier turns of a conversation as messages, tool calls and their results included."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from mipro.adapters._tool_calls import ToolCallResults, ToolCalls
from mipro.adapters._values import as_plain
from mipro.signature import InputField, make_signature

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mipro.adapters._base import Adapter
    from mipro.signature import Signature

Message = dict[str, Any]
_RESULTS = "tool_call_results"


def turn_messages(adapter: Adapter, signature: type[Signature], turn: Mapping[str, Any]) -> Iterator[Message]:
    """Yield the messages of one turn: what was asked, what was answered, what came of tools.

    Args:
        adapter: Writes the fields.
        signature: The signature without its history.
        turn: Values of input and output fields.
    """
    asked = adapter.format_user_message_content(signature, turn)
    if asked:
        yield {"role": "user", "content": asked}
    name, calls = _tool_calls(turn)
    results = None
    if calls is not None and calls.tool_call_results is not None:
        results = ToolCallResults.model_validate(calls.tool_call_results)
    if calls is not None and adapter.use_native_function_calling:
        yield from _native(adapter, signature, turn, calls, results)
        return
    if calls is not None and name is not None:
        turn = {**turn, name: calls.model_copy(update={_RESULTS: None})}
    answered = adapter.format_assistant_message_content(signature, turn)
    if answered:
        yield {"role": "assistant", "content": answered}
    if results is not None:
        shown = make_signature({_RESULTS: (ToolCallResults, InputField())}, "")
        yield {"role": "user", "content": adapter.format_user_message_content(shown, {_RESULTS: results})}


def _native(
    adapter: Adapter,
    signature: type[Signature],
    turn: Mapping[str, Any],
    calls: ToolCalls,
    results: ToolCallResults | None,
) -> Iterator[Message]:
    """Yield calls and results in the server's own form; results that belong to no call are left out."""
    for name, field in signature.output_fields.items():
        if field.annotation is ToolCalls or turn.get(name) is None:
            signature = signature.delete(name)
    content = adapter.format_assistant_message_content(signature, turn) if signature.output_fields else ""
    ids = [call.id for call in calls.tool_calls]
    if results is not None and (not all(ids) or ids != [r.call_id for r in results.tool_call_results]):
        results = None
    if not content and results is None:
        return
    message: Message = {"role": "assistant", "content": content or None}
    if results is None:
        yield message
        return
    yield {**message, "tool_calls": [_call(call) for call in calls.tool_calls]}
    for result in results.tool_call_results:
        value = result.value if isinstance(result.value, str) else _json(result.value)
        yield {"role": "tool", "tool_call_id": result.call_id, "name": result.name, "content": value}


def _tool_calls(turn: Mapping[str, Any]) -> tuple[str | None, ToolCalls | None]:
    for name, value in turn.items():
        if isinstance(value, ToolCalls) or (isinstance(value, dict) and "tool_calls" in value):
            return name, ToolCalls.model_validate(value)
    return None, None


def _call(call: ToolCalls.ToolCall) -> dict[str, Any]:
    return {
        "id": call.id,
        "type": "function",
        "function": {"name": call.name, "arguments": _json(call.args)},
    }


def _json(value: Any) -> str:
    return json.dumps(as_plain(value), ensure_ascii=False)
