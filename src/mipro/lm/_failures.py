"""From what a server answered to the error that says what to do about it."""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from mipro.errors import (
    ContextWindowError,
    LMAuthError,
    LMError,
    LMNotFoundError,
    LMRateLimitError,
    LMRequestError,
    LMServerError,
)
from mipro.lm._secrets import redact

if TYPE_CHECKING:
    from collections.abc import Mapping

# What OpenAI, Anthropic, vLLM, llama.cpp, SGLang and Azure write when a prompt is too long.
_TOO_LONG = re.compile(
    r"context_length_exceeded|exceed_context_size|context (?:length|window|size)|prompt is too long"
    r"|too many (?:input )?tokens|maximum number of tokens|input is too long|longer than the maximum model",
    re.IGNORECASE,
)
_NO_CREDIT = re.compile(r"insufficient_quota|billing_(?:hard_limit|not_active)|credit balance", re.IGNORECASE)
_RETRIABLE = frozenset({408, 409, 425})
_UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND, _TOO_MANY, _SERVER = 401, 403, 404, 429, 500
_SHOWN_CHARS = 500


@dataclass(frozen=True, slots=True)
class Call:
    """Who was asked, for messages; holds what must not be shown in order to hide it."""

    model: str
    """Name of the model as given to `LM`."""
    url: str
    """Address without secrets."""
    key_variable: str = ""
    """Environment variable of the provider's key."""
    secrets: tuple[str, ...] = ()
    """Values that no message may hold."""

    def __repr__(self) -> str:
        return f"Call(model={self.model!r}, url={self.url!r})"


def retry_after_s(headers: Mapping[str, str], *, now_s: float | None = None) -> float | None:
    """Return the seconds that a server asks to wait, or None where it asks for nothing.

    Args:
        headers: Headers of the answer, looked up as the mapping does.
        now_s: Unix time to count an HTTP date from; the clock's by default.
    """
    try:
        if "Retry-After-Ms" in headers:
            return max(0.0, float(headers["Retry-After-Ms"]) / 1000.0)
        value = headers.get("Retry-After")
        return None if value is None else max(0.0, float(value))
    except ValueError:
        pass
    try:
        at_s = parsedate_to_datetime(headers["Retry-After"]).timestamp()
    except (KeyError, TypeError, ValueError):
        return None
    return max(0.0, at_s - (time.time() if now_s is None else now_s))


def error_from_answer(call: Call, status: int, body: str, headers: Mapping[str, str]) -> LMError:
    """Return the error for an answer that is not a success.

    Args:
        call: Who was asked.
        status: HTTP status.
        body: What the server wrote, JSON or not.
        headers: Headers of the answer.
    """
    detail = redact(_detail(body), call.secrets)
    said = f" The server said: {detail}" if detail else ""
    kind, advice = _classify(call, status, body)
    return kind(
        f"The model `{call.model}` at {call.url} answered {status}: {advice}{said}",
        model=call.model,
        status=status,
        retry_after_s=retry_after_s(headers),
    )


def _classify(call: Call, status: int, body: str) -> tuple[type[LMError], str]:
    where_key = (f"set {call.key_variable} or " if call.key_variable else "") + "pass `api_key=`"
    known: dict[int, tuple[type[LMError], str]] = {
        _UNAUTHORIZED: (LMAuthError, f"the API key is missing or wrong; {where_key}."),
        _FORBIDDEN: (LMAuthError, f"the API key may not use this model; {where_key} of an account that may."),
        _NOT_FOUND: (LMNotFoundError, "there is no such model or path; check the name and `api_base=`."),
        _TOO_MANY: (LMRateLimitError, "too many requests; lower `num_threads`, or wait and run again."),
    }
    if status == _TOO_MANY and _NO_CREDIT.search(body):
        return LMAuthError, "the account has no credit left; add credit or use another key."
    if status in known:
        return known[status]
    if status in _RETRIABLE or status >= _SERVER:
        return LMServerError, "the server failed; run again later, or check the server."
    if _TOO_LONG.search(body):
        return ContextWindowError, (
            "the prompt is longer than the model's context window; use fewer or shorter demos, "
            "a smaller `max_tokens`, or a model with a larger window."
        )
    return LMRequestError, "the request is refused; change the parameters named below."


def _detail(body: str) -> str:
    try:
        data: Any = json.loads(body)
    except ValueError:
        data = None
    if isinstance(data, dict):
        error = data.get("error", data.get("detail", data.get("message", data)))
        if isinstance(error, dict):
            error = error.get("message", error)
        body = error if isinstance(error, str) else json.dumps(error)
    text = " ".join(body.split())
    return text if len(text) <= _SHOWN_CHARS else text[:_SHOWN_CHARS] + "..."
