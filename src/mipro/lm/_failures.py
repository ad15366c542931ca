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
    LMConnectionError,
    LMError,
    LMNotFoundError,
    LMRateLimitError,
    LMRequestError,
    LMServerError,
    LMTransientError,
    MiproError,
)
from mipro.lm._secrets import redact

if TYPE_CHECKING:
    from mipro.lm._secrets import Secret

# What OpenAI, Anthropic, vLLM, llama.cpp, SGLang and Azure write when a prompt is too long.
_TOO_LONG = re.compile(
    r"context_length_exceeded|exceed_context_size|context (?:length|window|size)|prompt is too long"
    r"|too many (?:input )?tokens|maximum number of tokens|input is too long|longer than the maximum model",
    re.IGNORECASE,
)
# What OpenAI, Anthropic, DeepSeek and xAI write, under 400 or 429, when an account is empty.
_NO_CREDIT = re.compile(
    r"insufficient_quota|billing_(?:hard_limit|not_active)|credit balance is too low"
    r"|insufficient (?:balance|credit)|used all available credits",
    re.IGNORECASE,
)
# Of Google under 400.
_BAD_KEY = re.compile(r"API_KEY_INVALID|API key (?:not valid|expired)", re.IGNORECASE)
_RETRIABLE = frozenset({408, 409, 425})
_BAD_REQUEST, _UNAUTHORIZED, _PAYMENT, _FORBIDDEN, _NOT_FOUND = 400, 401, 402, 403, 404
_NOT_ALLOWED, _PROXY, _TOO_MANY, _SERVER = 405, 407, 429, 500
_SHOWN_CHARS = 500
_STATUSES = range(400, 600)
# What servers write instead of a status in an error that comes under status 200.
_STATUS_OF_CODE = {
    "rate_limit_exceeded": 429,
    "insufficient_quota": 429,
    "server_error": 500,
    "invalid_api_key": 401,
    "model_not_found": 404,
    "context_length_exceeded": 400,
    "invalid_prompt": 400,
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
    detail = _detail(body, call.secrets)
    said = f" The server said: {detail}" if detail else ""
    kind, advice = _classify(call, status, body)
    return kind(
        f"The model `{call.model}` at {call.url} answered {status}: {advice}{said}",
        model=call.model,
        status=status,
        retry_after_s=retry_after_s(headers),
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
        retry_after_s=retry_after_s(headers),
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
    return LMConnectionError(
        f"The model `{call.model}` at {call.url} gave no answer: {said}", model=call.model
    )


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


def _parsed(body: str) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _error_in(data: Any) -> Any:
    """Return what `data` has under `error`, itself or in a choice."""
    if not isinstance(data, dict):
        return None
    choices = data.get("choices")
    parts = [data, *(choices if isinstance(choices, list) else ())]
    return next((part["error"] for part in parts if isinstance(part, dict) and part.get("error")), None)


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
    no_credit = (LMAuthError, "the account has no credit left; add credit or use another key.")
    known: dict[int, tuple[type[LMError], str]] = {
        _PAYMENT: no_credit,
        _UNAUTHORIZED: (LMAuthError, f"the API key is missing or wrong; {where_key}."),
        _FORBIDDEN: (LMAuthError, f"the API key may not use this model; {where_key} of an account that may."),
        _NOT_FOUND: (LMNotFoundError, "there is no such model or path; check the name and `api_base=`."),
        _NOT_ALLOWED: (LMNotFoundError, "nothing answers requests there; check `api_base=`."),
        _PROXY: (LMAuthError, "the proxy asks for a user and a password; put them in its address."),
        _TOO_MANY: (LMRateLimitError, "too many requests; lower `num_threads`, or wait and run again."),
    }
    if status in {_BAD_REQUEST, _TOO_MANY} and _NO_CREDIT.search(body):
        return no_credit
    if status == _BAD_REQUEST and _BAD_KEY.search(body):
        return known[_UNAUTHORIZED]
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


def _detail(body: str, secrets: tuple[str, ...]) -> str:
    data = _parsed(body)
    if isinstance(data, dict):
        error = data.get("error", data.get("detail", data.get("message", data)))
        if isinstance(error, dict):
            error = error.get("message", error)
        body = error if isinstance(error, str) else json.dumps(error)
    # Before the cut, which might leave the half of a secret that nothing finds.
    text = " ".join(redact(body, secrets).split())
    return text if len(text) <= _SHOWN_CHARS else text[:_SHOWN_CHARS] + "..."
