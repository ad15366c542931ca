"""Other providers, through a stand-in for the package `litellm`."""

import importlib
import sys

import pytest

from mipro.errors import (
    LMAuthError,
    LMConnectionError,
    LMNotFoundError,
    LMRateLimitError,
    LMServerError,
    LMTimeoutError,
    MissingExtraError,
)
from mipro.lm import LM

STAND_IN = """
class RateLimitError(Exception):
    status_code = 429
class AuthenticationError(Exception):
    status_code = 401
class Timeout(Exception):
    status_code = 408


class APIConnectionError(Exception):
    status_code = 500
class Odd(Exception):
    pass
calls = []
async def acompletion(**kwargs):
    calls.append(kwargs)
    text = kwargs["messages"][-1]["content"]
    if text == "unknown provider":
        raise RateLimitError("LLM Provider NOT provided.")
    if text == "no choices":
        return {"error": {"code": 502}, "choices": []}
    if text in globals():
        raise globals()[text]("bad key " + kwargs.get("api_key", ""))
    if text == "no usage":
        return {"model": "m", "choices": [{"message": {"content": text}}]}
    return {"model": "m", "choices": [{"message": {"content": text}}], "usage": {"prompt_tokens": 1}}
async def atext_completion(**kwargs):
    calls.append(kwargs)
    return {"model": "m", "choices": [{"text": "a text"}]}
async def aresponses(**kwargs):
    calls.append(kwargs)
    return {"output": [{"type": "message", "content": [{"type": "output_text", "text": "an answer"}]}]}
def supports_response_schema(model):
    return "schema" in model
def supports_function_calling(model):
    return False
"""


@pytest.fixture
def litellm(tmp_path, monkeypatch):
    """Put a stand-in for litellm where it is imported from."""
    (tmp_path / "litellm.py").write_text(STAND_IN)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "litellm", raising=False)
    yield importlib.import_module("litellm")
    sys.modules.pop("litellm", None)


def test_absent_package_is_named(monkeypatch):
    """Without litellm the error says how to install it."""
    monkeypatch.setitem(sys.modules, "litellm", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'mipro\[litellm\]'"):
        LM("anthropic/claude", cache=False)("hi")


def test_nothing_is_imported_before_the_call(monkeypatch):
    """Making a model of another provider imports nothing."""
    monkeypatch.delitem(sys.modules, "litellm", raising=False)
    LM("anthropic/claude")
    assert "litellm" not in sys.modules


def test_call(litellm):
    """Name, messages, parameters and key are passed on; `rollout_id` is not."""
    lm = LM("anthropic/claude", api_key="sk-1234", max_tokens=5, cache=False, temperature=1.0)
    assert lm("hi", rollout_id=1) == ["hi"]
    call = litellm.calls[-1]
    assert (call["model"], call["max_tokens"], call["api_key"]) == ("anthropic/claude", 5, "sk-1234")
    assert "rollout_id" not in call


def test_model_type_chooses_the_function(litellm):
    """What Azure offers through the Responses API alone was asked for as chat, as were texts to complete."""
    assert LM("azure/base", model_type="text", cache=False)("hi") == ["a text"]
    assert litellm.calls[-1]["prompt"].startswith("hi")
    lm = LM("azure/pro", model_type="responses", max_tokens=5, reasoning_effort=None, cache=False)
    assert lm("hi") == [{"text": "an answer"}]
    call = litellm.calls[-1]
    assert (call["input"], call["max_output_tokens"]) == ([{"role": "user", "content": "hi"}], 5)
    assert not call.keys() & {"messages", "max_tokens", "reasoning"}


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("RateLimitError", LMRateLimitError),
        ("AuthenticationError", LMAuthError),
        ("APIConnectionError", LMConnectionError),
        ("Timeout", LMTimeoutError),
        ("Odd", LMServerError),
    ],
)
def test_errors(litellm, text, kind):
    """Litellm's errors become ours, and the key is hidden in them."""
    with pytest.raises(kind) as caught:
        LM("anthropic/claude", api_key="sk-1234", cache=False, num_retries=0)(text)
    assert "sk-1234" not in repr(caught.value)


def test_an_unknown_provider_is_named(litellm):
    """The error says what a model's name must look like, and is not tried again."""
    with pytest.raises(LMNotFoundError, match=r"'nosuch/m'.*openai/NAME"):
        LM("nosuch/m", cache=False)("unknown provider")
    assert len(litellm.calls) == 1


def test_abilities_are_litellms(litellm):
    """Whether a schema is supported is looked up there."""
    assert LM("x/schema").supports_response_schema
    assert not LM("x/other").supports_response_schema


def test_secrets_and_functions(litellm):
    """A key that a function fetches and one in `extra_body` are passed on; a header's function is called."""
    options = {"extra_body": {"token": "t-1234"}, "headers": {"X-Key": lambda: "h-1234"}}
    lm = LM("anthropic/claude", api_key=lambda: "sk-1234", cache=False, num_retries=0, **options)
    lm("hi")
    call = litellm.calls[-1]
    assert (call["api_key"], call["extra_body"], call["extra_headers"]) == (
        "sk-1234",
        {"token": "t-1234"},
        {"X-Key": "h-1234"},
    )
    with pytest.raises(LMAuthError) as caught:
        lm("AuthenticationError")
    assert "sk-1234" not in repr(caught.value)


def test_functions_for_a_providers_own_credentials_are_passed_on(litellm):
    """A token provider is litellm's to call."""
    LM("azure/m", azure_ad_token_provider=len, cache=False)("hi")
    assert litellm.calls[-1]["azure_ad_token_provider"] is len


def test_no_completion(litellm):
    """A failure in the form of an answer is one of ours, that passes."""
    with pytest.raises(LMServerError, match="502"):
        LM("anthropic/claude", cache=False, num_retries=0)("no choices")


def test_answer_without_a_count_of_tokens_is_not_free(litellm):
    """Its price is not known, unless the model's is nothing."""

    def cost(text, price):
        lm = LM("anthropic/claude", cache=False, prices={"input": price, "output": price})
        lm(text)
        return lm.history[-1]["cost"]

    assert (cost("no usage", 1.0), cost("no usage", 0.0), cost("hi", 1.0)) == (None, 0.0, 1e-6)
