"""From answers to errors."""

import email.utils
import json

import pytest

from mipro.errors import (
    ContextWindowError,
    LMAuthError,
    LMNotFoundError,
    LMRateLimitError,
    LMRequestError,
    LMServerError,
)
from mipro.lm._failures import Call, error_from_answer, retry_after_s

CALL = Call("openai/m", "http://host/v1", "OPENAI_API_KEY", ("sk-secret",))


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, LMRequestError),
        (401, LMAuthError),
        (403, LMAuthError),
        (404, LMNotFoundError),
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
    "body", ["", "<html>", "null", "[]", '{"error": "x"}', '{"detail": [1]}', '{"error": {"a": 1}}', "\ufffd"]
)
def test_any_body_gives_an_error(body):
    """Whatever a server writes, the error is made."""
    assert isinstance(error_from_answer(CALL, 500, body, {}), LMServerError)


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
    assert retry_after_s({"Retry-After": "soon"}) is None
    assert retry_after_s({}) is None
