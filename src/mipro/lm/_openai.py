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

# o1, o3, o4-mini, gpt-5, gpt-5.1-codex, ft:o4-mini-..., ...; the gpt-5 "-chat" models sample as others do.
_REASONING = re.compile(r"(?:ft:)?(?:o[1-9](?:-.*)?|gpt-[5-9](?:\.\d+)*(?:-(?!chat).*)?)", re.IGNORECASE)

_MOST_TOKENS = 2**53
INTERRUPTED = ("error", "network_error", "insufficient_system_resource")
"""Reasons to finish of OpenRouter, Z.ai and DeepSeek where their servers failed in the middle of an answer:
what there is of it is none."""


class NoCompletionError(ValueError):
    """A response of OpenAI's form that holds no completion: an error, or nothing."""


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
    sent = request.sent_params
    params = {k: v for k, v in sent.items() if k not in _OURS and v is not None}
    params.update(sent.get("extra_body") or {})
    if is_reasoning_model(name):
        limit = params.pop("max_tokens", None)
        if limit is not None:
            params.setdefault("max_completion_tokens", limit)
        if params.get("temperature") != 1:
            params.pop("temperature", None)
    return {"model": name, **asked(request, params)}


def asked(request: LMRequest, params: dict[str, Any]) -> dict[str, Any]:
    """Return the messages of `request` and `params` as the API that it is meant for has them."""
    model_type = request.params.get("model_type", "chat")
    if model_type == "text":
        return {"prompt": flat_prompt(request.messages), **params}
    if model_type == "responses":
        return {**_responses_params(params), "input": _responses_input(request.messages)}
    return {"messages": list(request.messages), **params}


def encode(data: Mapping[str, Any], model: str) -> bytes:
    """Return `data` as JSON bytes.

    Raises:
        UserError: Something in it is not JSON.
    """
    try:
        return json.dumps(data, separators=(",", ":")).encode("ascii")
    except (TypeError, ValueError) as error:
        wrong = next((name for name, value in data.items() if not _is_json(value)), "keys")
        raise UserError(
            f"The request to `{model}` must hold JSON values only, but in `{wrong}` {error}; "
            "make it a text first."
        ) from error


def _is_json(value: Any) -> bool:
    try:
        json.dumps(value)
    except (TypeError, ValueError):
        return False
    return True


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
        NoCompletionError: `data` tells of an error, or holds no answer at all.
        ValueError: `data` is no such response, or something in it is not of the type that it must be.
            The text holds nothing of `data`, which may repeat a key.
    """
    try:
        completions = _completions(data)
        return LMResponse(
            model=str(get(data, "model", "")),
            completions=completions,
            usage=usage_from(get(data, "usage")),
            cost_usd=cost_usd,
            latency_s=latency_s,
        )
    except (TypeError, AttributeError, OverflowError) as error:
        raise ValueError(str(error)) from error


def _completions(data: Any) -> tuple[Completion, ...]:
    choices = get(data, "choices")
    if choices is None and get(data, "output") is not None:
        return (_responses_completion(data),)
    error = get(data, "error")
    if choices is None and error:
        raise NoCompletionError("an error instead of `choices` in the answer")
    if not isinstance(choices, (list, tuple)):
        raise TypeError(f"neither `choices` nor `output` in the answer, but got {type(data).__name__}")
    completions = tuple(_completion(choice) for choice in choices)
    if not completions:
        raise NoCompletionError("no entry in `choices` of the answer")
    if any(
        get(choice, "error") or completion.finish_reason in INTERRUPTED
        for choice, completion in zip(choices, completions, strict=True)
    ):
        raise NoCompletionError("an error in `choices` of the answer")
    if error and not any(completion.text or completion.tool_calls for completion in completions):
        raise NoCompletionError("an error, and nothing in `choices` of the answer")
    return completions


def usage_from(usage: Any) -> Usage:
    """Read OpenAI's `usage`, of either API; what is not there, or can't be a count, is 0: not known."""
    if usage is None:
        return Usage()
    output = _count(get(usage, "completion_tokens", get(usage, "output_tokens")))
    total = _count(get(usage, "total_tokens"))
    prompt = _count(get(usage, "prompt_tokens", get(usage, "input_tokens"))) or max(0, total - output)
    prompt_details = get(usage, "prompt_tokens_details", get(usage, "input_tokens_details"))
    output_details = get(usage, "completion_tokens_details", get(usage, "output_tokens_details"))
    # Moonshot, Together and DeepSeek have, or had, no details.
    cached = get(usage, "cached_tokens", get(usage, "prompt_cache_hit_tokens"))
    return Usage(
        prompt,
        # xAI and Gemini count hidden reasoning, which is paid as output, in the total only.
        max(output, total - prompt),
        _count(get(prompt_details, "cached_tokens", cached)),
        _count(get(output_details, "reasoning_tokens")),
    )


def cost_from(usage: Any) -> float | None:
    """Return what OpenRouter's `usage` says that the call cost, in US dollars; None where it does not."""
    cost, upstream = get(usage, "cost"), get(get(usage, "cost_details"), "upstream_inference_cost", 0.0)
    if not all(isinstance(usd, (int, float)) and 0 <= usd < float("inf") for usd in (cost, upstream)):
        return None
    # Where the provider is paid under a key of the user's own, `cost` is the fee alone.
    return float(cost + upstream if upstream > cost else cost)


def _count(value: Any) -> int:
    # An answer that is paid for is not thrown away, and asked for again, for what stands beside it.
    try:
        count = int(float(value or 0))
    except (TypeError, ValueError, OverflowError):
        return 0
    # Beyond, databases and floats hold no whole number; below 0, a budget would grow with every call.
    return count if 0 <= count <= _MOST_TOKENS else 0


def get(value: Any, name: str, default: Any = None) -> Any:
    """Return `value[name]` of a dict or `value.name` of an object; `default` for none or None."""
    found = value.get(name) if isinstance(value, dict) else getattr(value, name, None)
    return default if found is None else found


def _completion(choice: Any) -> Completion:
    message = get(choice, "message")
    if message is None:  # a text completion
        return Completion(
            text=_checked("text", get(choice, "text"), str),
            logprobs=plain(get(choice, "logprobs")),
            finish_reason=get(choice, "finish_reason"),
        )
    content = _checked("content", get(message, "content", ""), (str, list, tuple))
    refusal = get(message, "refusal")
    reasoning = get(message, "reasoning_content", get(message, "reasoning"))
    calls = _checked("tool_calls", plain(get(message, "tool_calls", ())), list)
    return Completion(
        text=_text(content) or (refusal if isinstance(refusal, str) else ""),
        reasoning=reasoning if isinstance(reasoning, str) and reasoning else None,
        tool_calls=tuple(_checked("tool_calls", call, dict) for call in calls),
        logprobs=plain(get(choice, "logprobs")),
        finish_reason=get(choice, "finish_reason"),
    )


def _checked(name: str, value: Any, kind: type | tuple[type, ...]) -> Any:
    if not isinstance(value, kind):
        raise TypeError(f"`{name}` must not be {type(value).__name__}")
    return value


def _text(content: Any) -> str:
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    parts = (
        part if isinstance(part, str) else get(part, "text", get(part, "refusal", "")) for part in content
    )
    return "".join(map(str, parts))


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
            content = [_responses_part(part, message.get("role", "user")) for part in content]
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


def _responses_part(part: dict[str, Any], role: str) -> dict[str, Any]:
    if part.get("type") == "text":
        kind = "output_text" if role == "assistant" else "input_text"
        return {"type": kind, "text": part.get("text", "")}
    if part.get("type") == "image_url":
        image = part["image_url"]
        details = {k: v for k, v in image.items() if k != "url"} if isinstance(image, dict) else {}
        return {"type": "input_image", "image_url": get(image, "url", image), **details}
    if part.get("type") == "file":
        return {"type": "input_file", **part["file"]}
    return part


def _responses_params(params: dict[str, Any]) -> dict[str, Any]:
    # It refuses what it does not know.
    params = {name: value for name, value in params.items() if name != "n"}
    for name in ("max_tokens", "max_completion_tokens"):
        if name in params:
            params["max_output_tokens"] = params.pop(name)
    if "reasoning_effort" in params:
        effort = params.pop("reasoning_effort")
        params.setdefault("reasoning", {"effort": effort, "summary": "auto"})
    form = params.pop("response_format", None)
    if form is not None:
        schema = form.get("json_schema")
        shown = {"type": form["type"], **schema} if schema else form
        params["text"] = {**params.get("text", {}), "format": shown}
    choice = params.get("tool_choice")
    if isinstance(choice, dict) and "function" in choice:
        params["tool_choice"] = {"type": "function", **choice["function"]}
    if "tools" in params:
        params["tools"] = [
            {"type": "function", **t["function"]} if "function" in t else t for t in params["tools"]
        ]
    return params


def _responses_completion(data: Any) -> Completion:
    texts: list[str] = []
    reasoning: list[str] = []
    calls: list[dict[str, Any]] = []
    status, items = get(data, "status"), _checked("output", get(data, "output"), (list, tuple))
    if status in {"failed", "cancelled"}:
        raise NoCompletionError(f"the answer has the status {status!r}")
    # One that was cut off in its reasoning has no items, and the same call would be cut off again.
    if not items and status != "incomplete":
        raise NoCompletionError("no item in `output` of the answer")
    for item in items:
        kind = get(item, "type")
        if kind == "message":
            texts.append(_text(_checked("content", get(item, "content", ""), (str, list, tuple))))
        elif kind == "reasoning":
            parts = get(item, "content") or get(item, "summary", ())
            reasoning += [str(get(part, "text", "")) for part in parts]
        elif kind == "function_call":
            function = {"name": get(item, "name"), "arguments": get(item, "arguments")}
            calls.append({"id": get(item, "call_id"), "type": "function", "function": function})
    reason = get(get(data, "incomplete_details"), "reason", "stop")
    return Completion(
        text="".join(texts),
        reasoning="".join(reasoning) or None,
        tool_calls=tuple(calls),
        finish_reason="length" if reason == "max_output_tokens" else reason,
    )
