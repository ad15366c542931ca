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
    LMBillingError,
    LMConnectionError,
    LMNotFoundError,
    LMRateLimitError,
    LMRequestError,
    LMServerError,
    LMTimeoutError,
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
        (402, LMBillingError),
        (403, LMAuthError),
        (404, LMNotFoundError),
        (405, LMNotFoundError),
        (407, LMAuthError),
        (408, LMServerError),
        (409, LMServerError),
        (302, LMNotFoundError),
        (410, LMNotFoundError),
        (413, LMRequestError),
        (422, LMRequestError),
        (425, LMServerError),
        (498, LMServerError),
        (499, LMServerError),
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
        '{"error": {"message": "input length and `max_tokens` exceed context limit: 19900 + 8192 > 20000"}}',
        '{"error": "This model\'s maximum prompt length is 131072 but the request contains 500000 tokens."}',
        '[{"error": {"message": "The input token count exceeds the maximum number of tokens allowed."}}]',
        '{"error": "`inputs` tokens + `max_new_tokens` must be <= 4096. Given: 5000 `inputs` tokens"}',
        '{"error": "`inputs` must have less than 1024 tokens. Given: 5000"}',
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
        (400, "Budget has been exceeded! Current cost: 26.1, Max budget: 0.25", "no credit left"),
        (429, "ExceededBudget: End User=x over budget. Spend=0.8, Budget=0.1", "no credit left"),
        (400, "You have reached your specified API usage limits.", "no credit left"),
        (429, "exceeded_current_quota_error", "no credit left"),
        (400, "API key not valid. Pass a valid one.", "key is missing or"),
    ],
)
def test_accounts_are_no_matter_of_the_request(status, message, advice):
    """A run goes on after a refusal and scores it: all that was left was scored as a failure."""
    error = error_from_answer(CALL, status, json.dumps({"error": {"message": message}}), {})
    assert type(error) is (LMBillingError if "credit" in advice else LMAuthError)
    assert advice in str(error)


@pytest.mark.parametrize(
    "message",
    [
        "Model Not Exist",
        "deepseek/deepseek-coder is not a valid model ID",
        "/chat/completions: Invalid model name passed in model=gpt-4. Call `/v1/models` to view",
        "Invalid model: mistral-tiny-9",
        "invalid model ID",
    ],
)
def test_a_model_that_there_is_not_is_no_matter_of_the_request(message):
    """A run scored every program 0 and reported success, for a name that was mistyped."""
    error = error_from_answer(CALL, 400, json.dumps({"error": {"message": message}}), {})
    assert type(error) is LMNotFoundError
    assert message in str(error)


@pytest.mark.parametrize("status", [413, 429])
def test_a_request_that_no_waiting_lets_through(status):
    """OpenAI gives it the status and code of a rate limit; a run waited for ever, in each session anew."""
    message = "Request too large for gpt-4o on tokens per min (TPM): Limit 30000, Requested 30872."
    body = json.dumps({"error": {"message": message, "type": "tokens", "code": "rate_limit_exceeded"}})
    error = error_from_answer(CALL, status, body, {"Retry-After": "1"})
    assert type(error) is ContextWindowError
    assert "Limit 30000" in str(error)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, {"error": {"code": "content_filter", "message": "The response was filtered"}}),
        (403, {"error": {"code": 403, "message": "x", "metadata": {"flagged_input": "..."}}}),
        (403, {"code": "permission-denied", "error": "Content violates usage guidelines. Team: x"}),
    ],
)
def test_a_filtered_prompt_is_no_matter_of_the_key(status, body):
    """Of OpenRouter and xAI it has the status of a key without leave: one example ended every run."""
    error = error_from_answer(CALL, status, json.dumps(body), {})
    assert type(error) is LMRequestError
    assert "content filter" in str(error)


def test_what_google_says():
    """Its OpenAI-compatible address lists errors, and has no header for the seconds to wait."""
    details = [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34.5s"}]
    error = {"code": 429, "message": "quota", "status": "RESOURCE_EXHAUSTED", "details": details}
    found = error_from_answer(CALL, 429, json.dumps([{"error": error}]), {})
    assert type(found) is LMRateLimitError
    assert found.retry_after_s == 34.5
    assert str(found).endswith(" The server said: quota")
    assert (
        error_from_answer(CALL, 429, json.dumps([{"error": error}]), {"Retry-After": "2"}).retry_after_s == 2
    )


def test_what_the_provider_behind_a_gateway_said():
    """OpenRouter hides it behind "Provider returned error", which says nothing."""
    metadata = {"raw": "glm is temporarily rate-limited upstream", "provider_name": "x"}
    error = {"message": "Provider returned error", "code": 429, "metadata": metadata}
    said = " The server said: Provider returned error: glm is temporarily rate-limited upstream"
    assert str(error_from_answer(CALL, 429, json.dumps({"error": error}), {})).endswith(said)
    assert str(error_from_no_completion(CALL, json.dumps({"error": error}), {})).endswith(said)


def test_an_answer_that_was_interrupted():
    """It is a failure of the server, with the reason, and no matter of the address."""
    body = json.dumps({"choices": [{"message": {"content": "hal"}, "finish_reason": "network_error"}]})
    error = error_from_no_completion(CALL, body, {})
    assert type(error) is LMServerError
    assert str(error).endswith("The server said: finish_reason: network_error")


def test_a_server_that_has_moved():
    """The address to pass is told."""
    error = error_from_answer(CALL, 301, "<html>moved</html>", {"Location": "https://new/v1"})
    assert type(error) is LMNotFoundError
    assert str(error).endswith("pass its new address as `api_base=`. The server said: go to https://new/v1")


@pytest.mark.parametrize("status", [400, 429])
def test_talk_of_credit_is_no_lack_of_it(status):
    """A server that quotes a bank's ticket says nothing about the account."""
    body = '{"error": {"message": "refused: what is my credit balance?"}}'
    assert not isinstance(error_from_answer(CALL, status, body, {}), LMAuthError)


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
        (TimeoutError(), LMTimeoutError),
        (asyncio.TimeoutError(), LMTimeoutError),
        (OSError("network is unreachable"), LMConnectionError),
        (APIConnectionError(), LMConnectionError),
        (ConnectTimeout(), LMTimeoutError),
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
        ({"code": "insufficient_quota"}, LMBillingError),
        ({"code": "context_length_exceeded"}, ContextWindowError),
        ({"code": "odd"}, LMServerError),
        ({"code": None, "type": "invalid_request_error"}, LMRequestError),
        ({"code": "odd", "type": "authentication_error"}, LMAuthError),
        ({"type": "overloaded_error"}, LMServerError),
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
