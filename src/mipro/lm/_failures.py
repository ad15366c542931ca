"""From what a server answered, or a client raised, to the error that says what to do about it."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from mipro.errors import (
    ContextWindowError,
    LMAuthError,
    LMBillingError,
    LMConnectionError,
    LMError,
    LMNotFoundError,
    LMRateLimitError,
    LMRequestError,
    LMServerError,
    LMTimeoutError,
    LMTransientError,
    MiproError,
)
from mipro.lm._openai import INTERRUPTED
from mipro.lm._secrets import redact

if TYPE_CHECKING:
    from mipro.lm._secrets import Secret

# What OpenAI, Anthropic, xAI, Gemini, vLLM, llama.cpp, SGLang, TGI and Azure write when a prompt is too long.
_TOO_LONG = re.compile(
    r"context_length_exceeded|exceed_context_size|context (?:length|window|size|limit)|prompt is too long"
    r"|too many (?:input )?tokens|maximum number of tokens|input is too long|longer than the maximum model"
    r"|maximum prompt length|`inputs`[^.]{0,60}must (?:have less than|be <=)",
    re.IGNORECASE,
)
# Of OpenAI under 429 (its code is that of any rate limit) and of Groq under 413, for one request that alone
# has more tokens than the account may send in a minute: no waiting helps.
_TOO_LARGE = re.compile(r"request too large|tokens must be reduced", re.IGNORECASE)
# What OpenAI, Anthropic, DeepSeek, xAI, Moonshot and a LiteLLM proxy write, under 400 or 429, when an account
# is empty.
_NO_CREDIT = re.compile(
    r"insufficient_quota|exceeded_current_quota|billing_(?:hard_limit|not_active)|credit balance is too low"
    r"|insufficient (?:balance|credit)|used all available credits|specified (?:api|workspace) usage limits"
    r"|budget_exceeded|budget has been exceeded|exceeded ?budget",
    re.IGNORECASE,
)
# Of DeepSeek, OpenRouter, Mistral, Groq, OpenAI and a LiteLLM proxy under 400.
_NO_MODEL = re.compile(
    r"model_not_found|model_decommissioned|invalid_model\b|invalid model(?: name| id|:)|model not exist"
    r"|not a valid model",
    re.IGNORECASE,
)
# Of Azure and OpenAI under 400, of OpenRouter and xAI under 403.
_FILTERED = re.compile(
    r"content_(?:filter|policy_violation)|flagged_input|input was flagged|violates? usage guidelines",
    re.IGNORECASE,
)
_FILTERED_ADVICE = "a content filter refuses the prompt; change its text, or use another model."
_TOO_LARGE_ADVICE = (
    "the prompt alone has more tokens than the account may send; use fewer or shorter demos, "
    "a smaller `max_tokens`, or an account with a higher limit."
)
# Google's wait, which stands in the body alone.
_RETRY_DELAY = re.compile(r'"retryDelay":\s*"(\d{1,9}(?:\.\d{1,9})?)s"')
# Of Google under 400.
_BAD_KEY = re.compile(r"API_KEY_INVALID|API key (?:not valid|expired)", re.IGNORECASE)
_RETRIABLE = frozenset({408, 409, 425, 498, 499})  # 498: Groq's flex tier is full; 499: of gateways
_BAD_REQUEST, _UNAUTHORIZED, _PAYMENT, _FORBIDDEN, _NOT_FOUND = 400, 401, 402, 403, 404
_NOT_ALLOWED, _PROXY, _GONE, _LARGE, _TOO_MANY, _SERVER = 405, 407, 410, 413, 429, 500
_SHOWN_CHARS = 500
_STATUSES = range(400, 600)
_MOVED = range(300, 400)
# What servers write instead of a status in an error that comes under status 200.
_STATUS_OF_CODE = {
    "rate_limit_exceeded": 429,
    "insufficient_quota": 429,
    "server_error": 500,
    "invalid_api_key": 401,
    "model_not_found": 404,
    "context_length_exceeded": 400,
    "invalid_prompt": 400,
    "invalid_request_error": 400,
    "authentication_error": 401,
    "permission_error": 403,
    "not_found_error": 404,
    "rate_limit_error": 429,
}
# Base classes that mean that no answer came, by name, so that no client need be installed: of openai,
# anthropic and litellm; litellm; httpx; aiohttp; botocore; urllib3 (three); http.client (two).
_NO_ANSWER = frozenset(
    {
        "APIConnectionError",
        "Timeout",
        "TransportError",
        "ClientConnectionError",
        "ConnectionError",
        "HTTPClientError",
        "PoolError",
        "ProtocolError",
        "TimeoutError",
        "IncompleteRead",
        "BadStatusLine",
    }
)
# The program's own mistakes, which no waiting mends.
_OF_FILES = (FileExistsError, FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError)


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
    except (KeyError, TypeError, ValueError, OverflowError):
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
    if status in _MOVED and headers.get("Location"):
        body = f"go to {headers.get('Location')}"
    detail = _detail(body, call.secrets)
    said = f" The server said: {detail}" if detail else ""
    kind, advice = _classify(call, status, body)
    return kind(
        f"The model `{call.model}` at {call.url} answered {status}: {advice}{said}",
        model=call.model,
        status=status,
        retry_after_s=_wait_s(body, headers),
    )


def error_from_no_completion(call: Call, body: str, headers: Mapping[str, str]) -> LMError:
    """Return the error for an answer under status 200 that holds no completion.

    Some proxies report a failure of the model behind them so, and the Responses API always does.

    Args:
        call: Who was asked.
        body: What the server wrote, JSON or not.
        headers: Headers of the answer.
    """
    error = _error_in(_parsed(body))
    if not error:
        shown = redact(body, call.secrets)[:200]
        return LMServerError(
            f"The model `{call.model}` at {call.url} answered 200, but not with a completion: {shown!r}; "
            "check that `api_base=` is the address of an OpenAI-compatible API, usually ending in /v1.",
            model=call.model,
            status=200,
        )
    body = json.dumps({"error": error})
    status = _status_in(error)
    if status is not None:
        return error_from_answer(call, status, body, headers)
    return LMServerError(
        f"The model `{call.model}` at {call.url} answered 200, but with an error; "
        f"run again later, or check the server. The server said: {_detail(body, call.secrets)}",
        model=call.model,
        status=200,
        retry_after_s=_wait_s(body, headers),
    )


def error_from_exception(call: Call, error: Exception) -> LMError | None:
    """Return the error for what somebody else's client raised.

    Args:
        call: Who was asked.
        error: Of the standard library, or of openai, anthropic, litellm, httpx, aiohttp, requests, boto.

    Returns:
        None where it is no failure of a server or of the way to it, or is ours already.
    """
    if isinstance(error, MiproError):
        return None
    names = {kind.__name__ for kind in type(error).__mro__}
    status = None if names & _NO_ANSWER else _status_of(error)
    if status is not None:
        return error_from_answer(call, status, str(error), _headers_of(error))
    passing = isinstance(error, OSError) and not isinstance(error, _OF_FILES)
    if not passing and not names & _NO_ANSWER:
        return None
    said = _detail(f"{type(error).__name__}: {error}", call.secrets)
    kind = LMTimeoutError if any("Timeout" in name for name in names) else LMConnectionError
    return kind(f"The model `{call.model}` at {call.url} gave no answer: {said}", model=call.model)


async def key_from(secret: Secret, model: str) -> str:
    """Return the value of a secret; a function of the user's is called for it.

    Raises:
        LMTransientError: The function could not reach what it fetches the value from.
        LMAuthError: The function failed for another reason.
        UserError: The function returned something else than a text.
    """
    try:
        return await secret.fetch()
    except MiproError:
        raise
    except Exception as error:
        found = error_from_exception(Call(model, "the source of its key"), error)
        if isinstance(found, LMTransientError):
            raise found from error
        raise LMAuthError(
            f"The function that fetches the key of `{model}` must return it, but it raised "
            f"{type(error).__name__}: {redact(str(error), ())}",
            model=model,
        ) from error


def _wait_s(body: str, headers: Mapping[str, str]) -> float | None:
    asked_s = retry_after_s(headers)
    found = _RETRY_DELAY.search(body) if asked_s is None else None
    return float(found[1]) if found else asked_s


def _parsed(body: str) -> Any:
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        return None
    # Google's OpenAI-compatible address puts an error into a list.
    return data[0] if isinstance(data, list) and len(data) == 1 else data


def _error_in(data: Any) -> Any:
    """Return what `data` has under `error`, itself or in a choice, or why a choice was interrupted."""
    if not isinstance(data, dict):
        return None
    choices = data.get("choices")
    choices = [part for part in choices if isinstance(part, dict)] if isinstance(choices, list) else []
    reasons = (part.get("finish_reason") for part in choices)
    told = (part["error"] for part in (data, *choices) if part.get("error"))
    interrupted = (f"finish_reason: {reason}" for reason in reasons if reason in INTERRUPTED)
    return next(told, None) or next(interrupted, None)


def _status_in(error: Any) -> int | None:
    if not isinstance(error, dict):
        return None
    for code in (error.get("code"), error.get("status"), error.get("type")):
        if isinstance(code, str) and code in _STATUS_OF_CODE:
            return _STATUS_OF_CODE[code]
        try:
            status = int(code)  # type: ignore[arg-type]  # whatever it is
        except (TypeError, ValueError, OverflowError):
            continue
        if status in _STATUSES:
            return status
    return None


def _status_of(error: Exception) -> int | None:
    """Return the HTTP status that an exception holds, under the names that clients use."""
    response = getattr(error, "response", None)
    of_boto = response.get("ResponseMetadata") if isinstance(response, dict) else None
    found = (
        getattr(error, "status_code", None),
        getattr(response, "status_code", None),
        getattr(error, "status", None),
        getattr(error, "code", None),
        of_boto.get("HTTPStatusCode") if isinstance(of_boto, dict) else None,
    )
    return next((int(value) for value in found if isinstance(value, int) and value in _STATUSES), None)


def _headers_of(error: Exception) -> Mapping[str, str]:
    found = getattr(getattr(error, "response", None), "headers", None) or getattr(error, "headers", None)
    return found if isinstance(found, Mapping) else {}


def _classify(call: Call, status: int, body: str) -> tuple[type[LMError], str]:
    where_key = (f"set {call.key_variable} or " if call.key_variable else "") + "pass `api_key=`"
    no_credit = (LMBillingError, "the account has no credit left; add credit or use another key.")
    moved = (LMNotFoundError, "the server has moved; pass its new address as `api_base=`.")
    known: dict[int, tuple[type[LMError], str]] = {
        **dict.fromkeys(_MOVED, moved),
        _PAYMENT: no_credit,
        _UNAUTHORIZED: (LMAuthError, f"the API key is missing or wrong; {where_key}."),
        _FORBIDDEN: (LMAuthError, f"the API key may not use this model; {where_key} of an account that may."),
        _NOT_FOUND: (LMNotFoundError, "there is no such model or path; check the name and `api_base=`."),
        _GONE: (LMNotFoundError, "the model is no longer offered; choose another one."),
        _NOT_ALLOWED: (LMNotFoundError, "nothing answers requests there; check `api_base=`."),
        _PROXY: (LMAuthError, "the proxy asks for a user and a password; put them in its address."),
        _TOO_MANY: (LMRateLimitError, "too many requests; lower `num_threads`, or wait and run again."),
    }
    told: tuple[tuple[set[int], re.Pattern[str], tuple[type[LMError], str]], ...] = (
        ({_BAD_REQUEST, _TOO_MANY}, _NO_CREDIT, no_credit),
        ({_BAD_REQUEST}, _BAD_KEY, known[_UNAUTHORIZED]),
        ({_BAD_REQUEST}, _NO_MODEL, known[_NOT_FOUND]),
        ({_BAD_REQUEST, _FORBIDDEN}, _FILTERED, (LMRequestError, _FILTERED_ADVICE)),
        ({_LARGE, _TOO_MANY}, _TOO_LARGE, (ContextWindowError, _TOO_LARGE_ADVICE)),
    )
    by_words = (found for statuses, words, found in told if status in statuses and words.search(body))
    found = next(by_words, known.get(status))
    if found is not None:
        return found
    if status in _RETRIABLE or status >= _SERVER:
        return LMServerError, "the server failed; run again later, or check the server."
    if _TOO_LONG.search(body):
        return ContextWindowError, (
            "the prompt is longer than the model's context window; use fewer or shorter demos, "
            "a smaller `max_tokens`, or a model with a larger window."
        )
    return LMRequestError, "the request is refused; change the parameters named below."


def _detail(body: str, secrets: tuple[str, ...]) -> str:
    data = _parsed(body)
    if isinstance(data, dict):
        error = data.get("error", data.get("detail", data.get("message", data)))
        if isinstance(error, dict):
            metadata = error.get("metadata")
            raw = metadata.get("raw") if isinstance(metadata, dict) else None
            error = error.get("message", error)
            if raw:  # OpenRouter says "Provider returned error", and there what the provider said
                error = f"{error}: {raw}"
        body = error if isinstance(error, str) else json.dumps(error)
    # Before the cut, which might leave the half of a secret that nothing finds.
    text = " ".join(redact(body, secrets).split())
    return text if len(text) <= _SHOWN_CHARS else text[:_SHOWN_CHARS] + "..."
