"""The gate: ledger, one call for each question, budget, retries, stops."""

import asyncio
from functools import partial
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mipro.errors import (
    BudgetExhausted,
    LMAuthError,
    LMConnectionError,
    LMServerError,
    RunInterrupted,
)
from mipro.lm import Completion, LMRequest, LMResponse, Usage
from mipro.runs import Budget, CallRecord, SQLStore
from mipro.runs._budget import Account, Amounts
from mipro.runs._gate import PATIENCE, GateCore
from mipro.runs._writer import Writer


class CountingModel:
    """Echoes the question; fails as often as told before it answers."""

    num_retries = 3
    identity = "echo"

    def __init__(self, *failures):
        self.failures = list(failures)
        self.sent = []

    def price_usd(self, usage):
        """Cost nothing."""
        return 0.0

    async def send(self, request):
        """Answer after a turn of the loop, so that calls overlap."""
        self.sent.append(request.key)
        await asyncio.sleep(0)
        if self.failures:
            raise self.failures.pop(0)
        return LMResponse("echo", (Completion(request.messages[0]["content"]),), Usage(3, 2), 0.25)


def question(text):
    """Return a request that asks `text`."""
    return LMRequest("echo", ({"role": "user", "content": text},), {"max_tokens": 5})


def unavailable():
    """Return a failure that may pass, and asks to try again at once."""
    return LMServerError("down", model="echo", status=503, retry_after_s=0.0)


def run_gate(folder, scenario, budget=None):
    """Run `scenario(core)` on a gate over the ledger in a folder."""
    store = SQLStore(f"sqlite:///{folder / 'ledger.sqlite'}")
    writer = Writer(store)

    async def inside():
        core = GateCore(store, writer, Account(budget or Budget(), Amounts()), Random(0), "my-run")
        return await scenario(core)

    try:
        return asyncio.run(inside())
    finally:
        writer.close()
        store.close()


@pytest.fixture
def with_gate(tmp_path):
    """Return a function that runs scenarios on a gate over one and the same ledger."""
    return partial(run_gate, tmp_path)


def test_answer_is_kept_before_it_is_returned(with_gate):
    """When the caller has the answer, the ledger has it too."""

    async def scenario(core):
        await core.answer(CountingModel(), question("a"), "search")
        return [record.stage for record in core._store.read(CallRecord)]

    assert with_gate(scenario) == ["search"]


def test_recorded_answer_costs_nothing(with_gate):
    """A second session answers from the ledger, word for word, and sends nothing."""

    async def ask(core):
        model = CountingModel()
        response = await core.answer(model, question("a"), "search")
        return response, len(model.sent)

    first, paid = with_gate(ask)
    again, paid_again = with_gate(ask)
    assert (paid, paid_again) == (1, 0)
    assert again.completions == first.completions
    assert again.cached
    assert not first.cached


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=30))
def test_each_question_is_paid_once(texts):
    """However often and in whatever order the same questions are asked at once, each is sent once."""
    model = CountingModel()

    async def scenario(core):
        answers = await asyncio.gather(*(core.answer(model, question(t), "search") for t in texts))
        return [answer.completions[0].text for answer in answers]

    with TemporaryDirectory() as folder:
        assert run_gate(Path(folder), scenario) == texts
    assert len(model.sent) == len(set(texts))


def test_waiting_caller_pays_where_the_first_fails(with_gate):
    """When the call in flight fails for good, the next who asked the same tries itself."""

    async def scenario(core):
        model = CountingModel(*(unavailable() for _ in range(4)))
        answers = await asyncio.gather(
            *(core.answer(model, question("a"), "search") for _ in range(2)), return_exceptions=True
        )
        return [type(answer).__name__ for answer in answers]

    assert with_gate(scenario) == ["LMServerError", "LMResponse"]


def test_passing_failure_is_tried_again(with_gate):
    """A failure that passes is retried; the record says how many requests were sent."""

    async def scenario(core):
        await core.answer(CountingModel(unavailable(), unavailable()), question("a"), "search")
        return next(core._store.read(CallRecord)).attempts, core.failures

    assert with_gate(scenario) == (3, {"LMServerError": 2})


def test_budget_counts_every_request_sent(with_gate):
    """Retries count: with 2 calls left, a call that fails twice ends the budget unsent a third time."""

    async def scenario(core):
        model = CountingModel(unavailable(), unavailable())
        with pytest.raises(BudgetExhausted):
            await core.answer(model, question("a"), "search")
        return len(model.sent)

    assert with_gate(scenario, Budget(lm_calls=2)) == 2


@given(limit=st.integers(1, 8), asked=st.integers(1, 12))
@settings(max_examples=20, deadline=None)
def test_no_call_beyond_the_budget(limit, asked):
    """Of many calls at once exactly as many are sent as the budget has."""
    model = CountingModel()

    async def scenario(core):
        calls = (core.answer(model, question(str(i)), "search") for i in range(asked))
        return await asyncio.gather(*calls, return_exceptions=True)

    with TemporaryDirectory() as folder:
        answers = run_gate(Path(folder), scenario, Budget(lm_calls=limit))
    assert len(model.sent) == min(limit, asked)
    assert sum(isinstance(answer, BudgetExhausted) for answer in answers) == max(0, asked - limit)


def test_refused_key_stops_every_further_call(with_gate):
    """After a 401 nothing more is sent."""

    async def scenario(core):
        model = CountingModel(LMAuthError("wrong key", model="echo", status=401))
        for text in "ab":
            with pytest.raises(LMAuthError):
                await core.answer(model, question(text), "search")
        return len(model.sent)

    assert with_gate(scenario) == 1


def test_dead_server_interrupts_the_run(with_gate):
    """After many calls in a row without any answer the run says how to resume, and sends no more."""

    async def scenario(core):
        class Dead(CountingModel):
            num_retries = 0

        model = Dead(*(LMConnectionError("refused", model="echo") for _ in range(PATIENCE)))
        for i in range(PATIENCE):
            with pytest.raises(LMConnectionError):
                await core.answer(model, question(str(i)), "search")
        with pytest.raises(RunInterrupted, match="run_dir='my-run'"):
            await core.answer(model, question("one more"), "search")
        return len(model.sent)

    assert with_gate(scenario) == PATIENCE


def test_answer_on_its_way_is_kept_when_its_caller_is_gone(with_gate):
    """A cancelled caller's call is finished and recorded: it was paid for."""

    async def scenario(core):
        caller = asyncio.ensure_future(core.answer(CountingModel(), question("a"), "search"))
        await asyncio.sleep(0)
        caller.cancel()
        await asyncio.wait(list(core._in_flight.values()))
        return core._store.count(CallRecord)

    assert with_gate(scenario) == 1
