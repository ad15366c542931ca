"""The last calls, for looking at: entries, and how they are shown."""

from __future__ import annotations

import contextlib
import json
import sys
import uuid
from datetime import datetime
from typing import TYPE_CHECKING, Any, TextIO

from mipro._terminal import encodable, printable
from mipro.context import settings
from mipro.lm._outputs import usage_dict
from mipro.lm._secrets import public

if TYPE_CHECKING:
    from mipro.lm._types import LMRequest, LMResponse

_RED, _GREEN, _BLUE, _PLAIN = "\x1b[31m", "\x1b[32m", "\x1b[34m", "\x1b[0m"

# The last calls of all models; bounded by the setting `max_history_size`.
GLOBAL_HISTORY: list[dict[str, Any]] = []


def entry_of(
    *,
    prompt: str | None,
    messages: list[dict[str, Any]] | None,
    kwargs: dict[str, Any],
    request: LMRequest,
    response: LMResponse,
    shown: Any,
    outputs: list[Any],
) -> dict[str, Any]:
    """Return the history entry of one call, with DSPy's keys.

    Args:
        prompt: As the caller gave it.
        messages: As the caller gave them.
        kwargs: Parameters of this call alone; secrets are left out.
        request: What was asked.
        response: What came back.
        shown: The response as the caller of `forward` sees it.
        outputs: What the call returned.
    """
    return {
        "prompt": prompt,
        "messages": messages,
        "kwargs": public({k: v for k, v in kwargs.items() if not k.startswith("api_")}),
        "response": shown,
        "outputs": outputs,
        "usage": {} if response.cached else usage_dict(response.usage),
        "cost": response.cost_usd,
        "timestamp": datetime.now().astimezone().isoformat(),
        "uuid": str(uuid.uuid4()),
        "model": request.model,
        "response_model": response.model,
        "model_type": request.params.get("model_type", "chat"),
    }


def record(entry: dict[str, Any], *owners: list[dict[str, Any]]) -> None:
    """Append `entry` to the history of all models and to those of `owners`, each bounded.

    The modules that made the call get it too, but not in a run: there they are candidates by the
    hundred, each with calls of its own to remember, and the ledger has them all.
    """
    if settings.disable_history:
        return
    limit = settings.max_history_size
    callers = settings.get("caller_modules") if settings.gate is None else ()
    modules = (module.history for module in callers or ())
    for history in (GLOBAL_HISTORY, *owners, *modules):
        history.append(entry)
        # A slice, since other threads shorten the same list.
        del history[: max(0, len(history) - limit)]


def inspect_history(n: int = 1, file: TextIO | None = None) -> None:
    """Show the last calls of all models.

    Args:
        n: How many calls.
        file: Written to without colours; the terminal, with colours, by default.
    """
    pretty_print_history(GLOBAL_HISTORY, n, file=file)


def pretty_print_history(history: list[dict[str, Any]], n: int = 1, file: TextIO | None = None) -> None:
    """Show the last `n` entries of `history`; see `inspect_history`."""
    colour = file is None
    out = sys.stdout if file is None else file
    for entry in history[-n:] if n > 0 else ():
        out.write(encodable("\n".join(_lines(entry, colour=colour)) + "\n", out))
    out.write("\n\n\n")


def _lines(entry: dict[str, Any], *, colour: bool) -> list[str]:
    def paint(text: str, code: str) -> str:
        shown = printable(text) if colour else text
        return f"{code}{shown}{_PLAIN}" if colour and code else shown

    lines = ["", "", "", "", paint(f"[{entry.get('timestamp', 'Unknown time')}]", _BLUE), ""]
    for message in entry["messages"] or [{"role": "user", "content": entry["prompt"]}]:
        lines.append(paint(f"{message['role'].capitalize()} message:", _RED))
        lines.append("")
        content = message.get("content")
        parts = content if isinstance(content, list) else [{"type": "text", "text": content or ""}]
        for part in parts:
            text = _part(part)
            lines.append(paint(text, "" if part.get("type") == "text" else _BLUE))
        made = _tool_calls(message)
        if made:
            lines += [paint("Tool calls:", _RED), *(paint(text, _GREEN) for text in made)]
        lines += ["", ""]
    outputs = entry["outputs"] or [""]
    first = outputs[0] if isinstance(outputs[0], dict) else {"text": outputs[0]}
    if first.get("text"):
        lines += [paint("Response:", _RED), "", paint(str(first["text"]).strip(), _GREEN)]
    calls = _tool_calls(first)
    if calls:
        lines += [paint("Tool calls:", _RED), *(paint(text, _GREEN) for text in calls)]
    if len(outputs) > 1:
        lines.append(paint(f" \t (and {len(outputs) - 1} other completions)", _RED))
    return lines


def _part(part: dict[str, Any]) -> str:
    kind = part.get("type")
    if kind == "text":
        return str(part["text"]).strip()
    if kind == "image_url":
        head, found, data = str(part["image_url"].get("url", "")).partition("base64,")
        return f"<{head}base64,<IMAGE BASE 64 ENCODED({len(data)})>" if found else f"<image_url: {head}>"
    if kind == "input_audio":
        audio = part["input_audio"]
        return f"<audio format='{audio['format']}' base64-encoded, length={len(audio['data'])}>"
    if kind in ("file", "input_file"):
        given = part.get("file", part.get("input_file", {}))
        name, file_id = given.get("filename", ""), given.get("file_id", "")
        return f"<file: name:{name}, id:{file_id}, data_length:{len(given.get('file_data', ''))}>"
    return f"<{kind}>"


def _tool_calls(message: dict[str, Any]) -> list[str]:
    lines = []
    for call in message.get("tool_calls") or ():
        function = call.get("function") or call
        arguments = function.get("arguments", function.get("args", {}))
        if isinstance(arguments, str):
            with contextlib.suppress(ValueError):
                arguments = json.loads(arguments)
        if not isinstance(arguments, str):
            arguments = json.dumps(arguments, ensure_ascii=False)
        lines.append(f"{function.get('name', '<unknown>')}: {arguments}")
    return lines
