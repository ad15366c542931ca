"""Budgets and reservations."""

import asyncio
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mipro.errors import BudgetExhausted, RunInterrupted, UserError
from mipro.lm import LMRequest
from mipro.propose import MEDIA_TOKENS
from mipro.runs import Budget
from mipro.runs._budget import Account, Amounts, most_of


@pytest.mark.parametrize("limit", [0, -1, True, "10", float("nan"), float("inf")])
def test_limit_must_be_positive(limit):
    """A limit that can't be one is refused by name."""
    with pytest.raises(UserError, match=r"Budget\.lm_calls"):
        Budget(lm_calls=limit)


@given(
    limit=st.integers(1, 30),
    calls=st.lists(st.tuples(st.integers(1, 5), st.integers(0, 5)), max_size=40),
)
def test_spending_never_exceeds_the_limit(limit, calls):
    """Whatever calls reserve and use, in parallel, the sum spent stays within the limit."""

    async def one(account, reserved, used):
        wanted = Amounts(1, reserved)
        try:
            await account.reserve(wanted)
        except BudgetExhausted:
            return
        await asyncio.sleep(0)
        assert account.spent.tokens + account._reserved.tokens <= limit
        account.settle(wanted, Amounts(1, min(used, reserved)))

    async def all_calls():
        account = Account(Budget(tokens=limit), Amounts())
        await asyncio.gather(*(one(account, *call) for call in calls))
        return account.spent.tokens

    assert asyncio.run(all_calls()) <= limit


def test_reservation_waits_for_cheaper_calls():
    """A call that does not fit now goes ahead once one in flight turns out cheaper."""

    async def scenario():
        account = Account(Budget(tokens=10), Amounts())
        await account.reserve(Amounts(1, 8))
        second = asyncio.ensure_future(account.reserve(Amounts(1, 8)))
        await asyncio.sleep(0)
        waited = not second.done()
        account.settle(Amounts(1, 8), Amounts(1, 2))
        await second
        return waited

    assert asyncio.run(scenario())


def test_nobody_waits_after_the_end():
    """Who waits for a reservation when the run stops is told why, and so is who would have to wait then."""

    async def scenario():
        account = Account(Budget(tokens=10), Amounts())
        await account.reserve(Amounts(1, 8))
        waiting = asyncio.ensure_future(account.reserve(Amounts(1, 8)))
        await asyncio.sleep(0)
        account.end(RunInterrupted("Ctrl-C"))
        for late in (waiting, account.reserve(Amounts(1, 8))):
            with pytest.raises(RunInterrupted, match="Ctrl-C"):
                await asyncio.wait_for(late, 10)

    asyncio.run(scenario())


def test_exhausted_budget_names_the_resource():
    """The error says which limit was reached."""

    async def scenario():
        account = Account(Budget(lm_calls=1), Amounts(lm_calls=1))
        await account.reserve(Amounts(1))

    with pytest.raises(BudgetExhausted, match="1 lm_calls") as caught:
        asyncio.run(scenario())
    assert caught.value.resource == "lm_calls"


def test_seconds_count_earlier_sessions():
    """Seconds spent before a resume count against the limit."""

    async def scenario():
        clock = iter([100.0, 101.0, 106.0, 106.0, 106.0])
        account = Account(Budget(seconds=10), Amounts(), seconds_before=5.0, clock=lambda: next(clock))
        await account.reserve(Amounts(1))
        await account.reserve(Amounts(1))

    with pytest.raises(BudgetExhausted, match="seconds"):
        asyncio.run(scenario())


@given(st.text(), st.integers(1, 100), st.integers(1, 3))
def test_reservation_is_an_upper_bound(text, max_tokens, n):
    """At least one token a byte is reserved for the prompt, and all the completion may use."""
    request = LMRequest("m", ({"role": "user", "content": text},), {"max_tokens": max_tokens, "n": n})
    most = most_of(request, lambda usage: None)
    assert most.tokens >= len(text.encode("utf-8", "surrogatepass")) + max_tokens * n


def most_tokens(*messages, **params):
    """Return the tokens reserved for the prompt of a request."""
    request = LMRequest("m", messages, {"max_tokens": 1, **params})
    return most_of(request, lambda usage: None).tokens - 1


@pytest.mark.parametrize(
    "params",
    [
        {"max_tokens": None, "max_output_tokens": 9000},
        {"max_tokens": 50, "max_completion_tokens": 9000},
        {"extra_body": {"max_tokens": 9000}},
        {"max_tokens": 3000, "best_of": 3},
        {"max_tokens": 3000, "extra_body": {"n": 3}},
    ],
    ids=" ".join,
)
def test_limit_of_an_answer_under_its_other_names(params):
    """It was taken for 4096 tokens, less than what the server is told, so that a hard cap could be passed."""
    assert 9000 <= most_tokens({"role": "user", "content": "q"}, **params) < 9000 + 50


@pytest.mark.parametrize("name", ["tools", "response_format"])
def test_what_a_server_writes_into_the_prompt_is_reserved(name):
    """Tools and the form of the answer are tokens of the prompt, too."""
    form = {"type": "function", "function": {"name": "f", "description": "ü" * 500}}
    question = {"role": "user", "content": "q"}
    size = len(json.dumps(form, ensure_ascii=False).encode())
    assert most_tokens(question, **{name: form}) >= most_tokens(question) + size


def test_calls_of_tools_in_the_messages_are_reserved():
    """An assistant's message may be nothing but these."""
    calls = [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "x" * 500}}]
    assert most_tokens({"role": "assistant", "content": None, "tool_calls": calls}) >= 500


@pytest.mark.parametrize(
    "block",
    [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 500_000}},
        {"type": "input_audio", "input_audio": {"data": "A" * 500_000, "format": "wav"}},
        {"type": "file", "file": {"file_data": "A" * 500_000}},
    ],
    ids=lambda block: block["type"],
)
def test_media_are_not_reserved_by_their_bytes(block):
    """They count as they do everywhere, and the text beside them by its bytes."""
    text = {"type": "text", "text": "x" * 300}
    tokens = most_tokens({"role": "user", "content": [text, block]})
    assert MEDIA_TOKENS + 300 <= tokens < MEDIA_TOKENS + 400


def test_document_of_plain_text_is_text():
    """It is reserved by its bytes, whatever its block is called."""
    block = {"type": "document", "source": {"type": "text", "data": "x" * 5000}}
    assert most_tokens({"role": "user", "content": [block]}) >= 5000
