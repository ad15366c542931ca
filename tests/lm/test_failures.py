"""From answers to errors."""

import asyncio
import email.utils
import json
from email.message import EmailMessage
from types import SimpleNamespace
from urllib.error import HTTPError

import pytest

from mipro.errors import (
    ContextWindowError,
    LMAuthError,
    LMConnectionError,
    LMNotFoundError,
    LMRateLimitError,
    LMRequestError,
    LMServerError,
)
from mipro.lm._failures import (
    Call,
    error_from_answer,
    error_from_exception,
    error_from_no_completion,
    retry_after_s,
)

CALL = Call("openai/m", "http://host/v1", "OPENAI_API_KEY", ("sk-secret",))


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, LMRequestError),
        (401, LMAuthError),
        (402, LMAuthError),
        (403, LMAuthError),
        (404, LMNotFoundError),
        (405, LMNotFoundError),
        (407, LMAuthError),
        (408, LMServerError),
        (409, LMServerError),
        (422, LMRequestError),
        (425, LMServerError),
        (429, LMRateLimitError),
        (500, LMServerError),
        (503, LMServerError),
        (529, LMServerError),
    ],
)
def test_status_decides_the_kind(status, kind):
    """Every status has one class of error, whose message names model, status and address."""
    error = error_from_answer(CALL, status, "", {})
    assert type(error) is kind
    assert all(part in str(error) for part in ("`openai/m`", str(status), "http://host/v1"))
    assert error.status == status


@pytest.mark.parametrize(
    "body",
    [
        '{"error": {"message": "too long", "code": "context_length_exceeded"}}',
        '{"error": {"message": "This model\'s maximum context length is 8192 tokens."}}',
        '{"error": {"type": "exceed_context_size_error", "message": "request (9 tokens) exceeds"}}',
        '{"error": {"message": "prompt is too long: 210000 tokens > 200000 maximum"}}',
    ],
)
def test_long_prompts_are_told_apart(body):
    """The usual servers' words for a prompt that is too long are known."""
    assert type(error_from_answer(CALL, 400, body, {})) is ContextWindowError


@pytest.mark.parametrize(
    ("status", "message", "advice"),
    [
        (400, "Your credit balance is too low to access the Anthropic API.", "no credit left"),
        (400, "Billing hard limit has been reached (billing_hard_limit_reached)", "no credit left"),
        (402, "Insufficient Balance", "no credit left"),
        (402, "This request requires more credits, or fewer max_tokens.", "no credit left"),
        (429, "insufficient_quota", "no credit left"),
        (429, "Your team has either used all available credits or reached its limit.", "no credit left"),
        (400, "API key not valid. Pass a valid one.", "key is missing or"),
    ],
)
def test_accounts_are_no_matter_of_the_request(status, message, advice):
    """A run goes on after a refusal and scores it: all that was left was scored as a failure."""
    error = error_from_answer(CALL, status, json.dumps({"error": {"message": message}}), {})
    assert type(error) is LMAuthError
    assert advice in str(error)


@pytest.mark.parametrize("status", [400, 429])
def test_talk_of_credit_is_no_lack_of_it(status):
    """A server that quotes a bank's ticket says nothing about the account."""
    body = '{"error": {"message": "refused: what is my credit balance?"}}'
    assert type(error_from_answer(CALL, status, body, {})) is not LMAuthError


@pytest.mark.parametrize(
    "body", ["", "<html>", "null", "[]", '{"error": "x"}', '{"detail": [1]}', '{"error": {"a": 1}}', "\ufffd"]
)
def test_any_body_gives_an_error(body):
    """Whatever a server writes, the error is made."""
    assert isinstance(error_from_answer(CALL, 500, body, {}), LMServerError)


@pytest.mark.parametrize("body", ['{"error": {"message": "Größe \\"x\\""}}', '{"error": "Größe \\"x\\""}'])
def test_what_the_server_said_is_shown_as_it_said_it(body):
    """Its words are shown without the JSON around them."""
    assert str(error_from_answer(CALL, 400, body, {})).endswith(' The server said: Größe "x"')


def test_secrets_of_the_call_are_hidden():
    """Neither message nor repr of the call shows a secret."""
    body = json.dumps({"error": {"message": "bad sk-secret"}})
    assert "sk-secret" not in str(error_from_answer(CALL, 401, body, {})) + repr(CALL)


def test_retry_after_forms():
    """Seconds, milliseconds and HTTP dates are read; anything else counts as nothing."""
    date = email.utils.formatdate(1000.0, usegmt=True)
    assert retry_after_s({"Retry-After": "1.5"}) == 1.5
    assert retry_after_s({"Retry-After": "2", "Retry-After-Ms": "150"}) == 0.15
    assert retry_after_s({"Retry-After": date}, now_s=990.0) == 10.0
    assert retry_after_s({"Retry-After": date}, now_s=2000.0) == 0.0
    assert retry_after_s({"Retry-After": date}) == 0.0
    assert retry_after_s({"Retry-After": "soon"}) is None
    assert retry_after_s({"Retry-After": f"Thu, 01 Jan {'9' * 30} 00:00:00 GMT"}) is None
    assert retry_after_s({}) is None


class WithStatus(Exception):
    """As the errors of openai, anthropic and litellm."""

    status_code = 429
    response = SimpleNamespace(headers={"Retry-After": "7"})


class WithCodeOfItsOwn(OSError):
    """As errors of gRPC, whose `code` is no HTTP status."""

    code = 14


class OfRequests(OSError):
    """As `requests.HTTPError`."""

    response = SimpleNamespace(status_code=404)


class OfBoto(Exception):
    """As botocore's `ClientError`."""

    response = {"ResponseMetadata": {"HTTPStatusCode": 503}}  # noqa: RUF012 - never changed


class APIConnectionError(Exception):
    """As openai's and litellm's; the latter has a status that no server gave."""

    status_code = 500


class ConnectTimeout(type("TransportError", (Exception,), {})):
    """As httpx's."""


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ConnectionResetError("reset by peer"), LMConnectionError),
        (TimeoutError(), LMConnectionError),
        (asyncio.TimeoutError(), LMConnectionError),
        (OSError("network is unreachable"), LMConnectionError),
        (APIConnectionError(), LMConnectionError),
        (ConnectTimeout(), LMConnectionError),
        (WithStatus("slow down"), LMRateLimitError),
        (WithCodeOfItsOwn("unavailable"), LMConnectionError),
        (OfRequests("not found"), LMNotFoundError),
        (OfBoto("busy"), LMServerError),
        (HTTPError("http://h", 401, "no", EmailMessage(), None), LMAuthError),
        (FileNotFoundError("prompt.txt"), type(None)),
        (ValueError("odd"), type(None)),
        (LMServerError("ours"), type(None)),
        (LMServerError("ours", status=503), type(None)),
    ],
)
def test_exceptions_of_clients(error, kind):
    """What a client raises for a server that fails is told from a program's own mistakes."""
    assert type(error_from_exception(CALL, error)) is kind


def test_what_a_client_says_is_kept_without_the_key():
    """The error has the client's text and the seconds to wait, but no secret."""
    found = error_from_exception(CALL, WithStatus("slow down, sk-secret"))
    assert (found.status, found.retry_after_s) == (429, 7.0)
    assert str(found).endswith("The server said: slow down, ***")
    assert "sk-secret" not in str(error_from_exception(CALL, ConnectionError("no sk-secret")))


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"code": 502}, LMServerError),
        ({"code": "429", "message": "slow"}, LMRateLimitError),
        ({"code": "server_error"}, LMServerError),
        ({"code": "rate_limit_exceeded"}, LMRateLimitError),
        ({"code": "insufficient_quota"}, LMAuthError),
        ({"code": "context_length_exceeded"}, ContextWindowError),
        ({"code": "odd"}, LMServerError),
        ({"code": "slow_down", "status": 429}, LMRateLimitError),
        ({"code": 7}, LMServerError),
        ("down", LMServerError),
    ],
)
@pytest.mark.parametrize("place", ["answer", "choice"])
def test_errors_under_status_200(error, kind, place):
    """A failure reported as an answer is the error that its code says, or the server's."""
    data = {"error": error, "choices": []} if place == "answer" else {"choices": [{"error": error}]}
    assert type(error_from_no_completion(CALL, json.dumps(data), {})) is kind
