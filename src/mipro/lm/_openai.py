"""OpenAI's wire format: requests to bodies, bodies to responses. Pure functions."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from mipro.errors import UserError
from mipro.lm._types import Completion, LMResponse, Usage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mipro.lm._types import LMRequest

# Parameters that are ours and mean nothing to a server.
_OURS = frozenset({"rollout_id", "model_type", "extra_body"})
PATHS = {"chat": "/chat/completions", "text": "/completions", "responses": "/responses"}

# o1, o3, o4-mini, gpt-5, gpt-5.1-codex, ...; the gpt-5 "-chat" models sample as others do.
_REASONING = re.compile(r"o[1-9](?:-.*)?|gpt-[5-9](?:\.\d+)*(?:-(?!chat).*)?", re.IGNORECASE)


def is_reasoning_model(model: str) -> bool:
    """Return whether this is one of OpenAI's reasoning models.

    They sample at temperature 1 only and count their hidden reasoning as output.

    Args:
        model: With or without the provider, for example "openai/o3-mini".
    """
    return _REASONING.fullmatch(model.rpartition("/")[2]) is not None


def body(request: LMRequest, name: str) -> dict[str, Any]:
    """Return the JSON object to post for `request`.

    Args:
        request: What is asked; `rollout_id` is not sent.
        name: Name of the model as the server knows it.
    """
    params = {k: v for k, v in request.params.items() if k not in _OURS and v is not None}
    params.update(request.params.get("extra_body") or {})
    if is_reasoning_model(name):
        limit = params.pop("max_tokens", None)
        if limit is not None:
            params.setdefault("max_completion_tokens", limit)
        if params.get("temperature") != 1:
            params.pop("temperature", None)
    model_type = request.params.get("model_type", "chat")
    if model_type == "text":
        return {"model": name, "prompt": flat_prompt(request.messages), **params}
    if model_type == "responses":
        return {"model": name, **_responses_params(params), "input": _responses_input(request.messages)}
    return {"model": name, "messages": request.messages, **params}


def encode(data: Mapping[str, Any], model: str) -> bytes:
    """Return `data` as JSON bytes.

    Raises:
        UserError: Something in it is not JSON.
    """
    try:
        return json.dumps(data, separators=(",", ":")).encode("ascii")
    except (TypeError, ValueError) as error:
        raise UserError(
            f"The request to `{model}` must hold JSON values only, but {error}; make it a text first."
        ) from error


def flat_prompt(messages: tuple[dict[str, Any], ...]) -> str:
    """Return chat messages as one text, for a model that only completes texts."""
    return "\n\n".join([*(_text(message.get("content")) for message in messages), "BEGIN RESPONSE:"])


def response_from(data: Any, *, latency_s: float = 0.0, cost_usd: float | None = None) -> LMResponse:
    """Read an OpenAI-like response: a chat completion, a text completion or a Responses answer.

    Args:
        data: A dict, or an object with the same attributes (the SDK's, litellm's, ...).
        latency_s: Seconds the call took.
        cost_usd: Its price, if known.

    Raises:
        ValueError: `data` is no such response.
    """
    choices = get(data, "choices")
    completions: tuple[Completion, ...]
    if choices is None and get(data, "output") is not None:
        completions = (_responses_completion(data),)
    elif isinstance(choices, (list, tuple)):
        completions = tuple(_completion(choice) for choice in choices)
    else:
        raise ValueError(f"neither `choices` nor `output` in the answer: {str(data)[:200]}")
    return LMResponse(
        model=get(data, "model") or "",
        completions=completions,
        usage=usage_from(get(data, "usage")),
        cost_usd=cost_usd,
        latency_s=latency_s,
    )


def usage_from(usage: Any) -> Usage:
    """Read OpenAI's `usage`, of either API; what is not there counts as 0."""
    if usage is None:
        return Usage()
    prompt = get(usage, "prompt_tokens", get(usage, "input_tokens"))
    output = get(usage, "completion_tokens", get(usage, "output_tokens"))
    prompt_details = get(usage, "prompt_tokens_details", get(usage, "input_tokens_details"))
    output_details = get(usage, "completion_tokens_details", get(usage, "output_tokens_details"))
    return Usage(
        int(prompt or 0),
        int(output or 0),
        int(get(prompt_details, "cached_tokens") or 0),
        int(get(output_details, "reasoning_tokens") or 0),
    )


def get(value: Any, name: str, default: Any = None) -> Any:
    """Return `value[name]` of a dict or `value.name` of an object; `default` for none or None."""
    found = value.get(name) if isinstance(value, dict) else getattr(value, name, None)
    return default if found is None else found


def _completion(choice: Any) -> Completion:
    message = get(choice, "message")
    if message is None:  # a text completion
        return Completion(
            text=str(get(choice, "text", "")),
            logprobs=plain(get(choice, "logprobs")),
            finish_reason=get(choice, "finish_reason"),
        )
    reasoning = get(message, "reasoning_content", get(message, "reasoning"))
    return Completion(
        text=_text(get(message, "content")),
        reasoning=reasoning if isinstance(reasoning, str) and reasoning else None,
        tool_calls=tuple(plain(call) for call in get(message, "tool_calls", ())),
        logprobs=plain(get(choice, "logprobs")),
        finish_reason=get(choice, "finish_reason"),
    )


def _text(content: Any) -> str:
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    return "".join(str(get(part, "text", "")) for part in content)


def plain(value: Any) -> Any:
    """Return `value` as dicts, lists and scalars; pydantic models are dumped."""
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    dump = getattr(value, "model_dump", None)
    return dump(exclude_none=True) if callable(dump) else value


def _responses_input(messages: tuple[dict[str, Any], ...]) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    for message in messages:
        if message.get("role") == "tool":
            items.append(
                {
                    "type": "function_call_output",
                    "call_id": message.get("tool_call_id"),
                    "output": _text(message.get("content")),
                }
            )
            continue
        content = message.get("content")
        if not isinstance(content, str) and content is not None:
            content = [_responses_part(part) for part in content]
        if content:
            items.append({"role": message.get("role", "user"), "content": content})
        items += [
            {
                "type": "function_call",
                "call_id": call.get("id"),
                "name": call["function"]["name"],
                "arguments": call["function"]["arguments"],
            }
            for call in message.get("tool_calls") or ()
        ]
    return items


def _responses_part(part: dict[str, Any]) -> dict[str, Any]:
    if part.get("type") == "text":
        return {"type": "input_text", "text": part.get("text", "")}
    if part.get("type") == "image_url":
        return {"type": "input_image", "image_url": part["image_url"]["url"]}
    if part.get("type") == "file":
        return {"type": "input_file", **part["file"]}
    return part


def _responses_params(params: dict[str, Any]) -> dict[str, Any]:
    params = dict(params)
    for name in ("max_tokens", "max_completion_tokens"):
        if name in params:
            params["max_output_tokens"] = params.pop(name)
    if "reasoning_effort" in params:
        params["reasoning"] = {"effort": params.pop("reasoning_effort"), "summary": "auto"}
    form = params.pop("response_format", None)
    if form is not None:
        schema = form.get("json_schema")
        params["text"] = {"format": {"type": form["type"], **schema} if schema else form}
    if "tools" in params:
        params["tools"] = [
            {"type": "function", **t["function"]} if "function" in t else t for t in params["tools"]
        ]
    return params


def _responses_completion(data: Any) -> Completion:
    texts: list[str] = []
    reasoning: list[str] = []
    calls: list[dict[str, Any]] = []
    for item in get(data, "output"):
        kind = get(item, "type")
        if kind == "message":
            texts += [str(get(part, "text", "")) for part in get(item, "content", ())]
        elif kind == "reasoning":
            parts = get(item, "content") or get(item, "summary", ())
            reasoning += [str(get(part, "text", "")) for part in parts]
        elif kind == "function_call":
            function = {"name": get(item, "name"), "arguments": get(item, "arguments")}
            calls.append({"id": get(item, "call_id"), "type": "function", "function": function})
    incomplete = get(get(data, "incomplete_details"), "reason") == "max_output_tokens"
    return Completion(
        text="".join(texts),
        reasoning="".join(reasoning) or None,
        tool_calls=tuple(calls),
        finish_reason="length" if incomplete else "stop",
    )
