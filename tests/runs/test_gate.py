"""The gate: ledger, one call for each question, budget, retries, stops."""

import asyncio
import time
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
    LMRateLimitError,
    LMServerError,
    RunInterrupted,
    StateError,
)
from mipro.lm import Completion, LMRequest, LMResponse, Usage
from mipro.runs import Budget, CallRecord, FailureRecord, SQLStore
from mipro.runs._budget import Account, Amounts
from mipro.runs._gate import GateCore
from mipro.runs._stage_gate import StageGate
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


def run_gate(folder, scenario, budget=None, **options):
    """Run `scenario(core)` on a gate over the ledger in a folder."""
    store = SQLStore(f"sqlite:///{folder / 'ledger.sqlite'}")
    writer = Writer(store)

    async def inside():
        core = GateCore(store, writer, Account(budget or Budget(), Amounts()), Random(0), "my-run", **options)
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
        throttled = LMRateLimitError("slow", model="echo", status=429, retry_after_s=0.0)
        await core.answer(CountingModel(unavailable(), throttled, unavailable()), question("a"), "search")
        return next(core._store.read(CallRecord)).attempts, core.failures

    assert with_gate(scenario) == (4, {"LMServerError": 2, "LMRateLimitError": 1})


def test_budget_counts_every_request_sent(with_gate):
    """Retries count: with 2 calls left, a call that fails twice ends the budget unsent a third time."""

    async def scenario(core):
        model = CountingModel(unavailable(), unavailable())
        with pytest.raises(BudgetExhausted):
            await core.answer(model, question("a"), "search")
        return len(model.sent)

    assert with_gate(scenario, Budget(lm_calls=2)) == 2


def test_a_call_that_the_budget_has_no_room_for_is_the_last(with_gate):
    """The run has ended: what is left is not spent on smaller calls, whose answers nobody waits for."""

    async def scenario(core):
        model = CountingModel()
        for text in ("long " * 100, "a"):
            with pytest.raises(BudgetExhausted):
                await core.answer(model, question(text), "search")
        return model.sent

    assert with_gate(scenario, Budget(tokens=50)) == []


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


class DeadModel(CountingModel):
    """Answers nothing until it is revived."""

    num_retries = 0
    alive = False

    async def send(self, request):
        """Refuse the connection."""
        if not self.alive:
            self.sent.append(request.key)
            raise LMConnectionError("refused", model="echo", retry_after_s=0.0)
        return await super().send(request)


def test_dead_server_interrupts_the_run(with_gate):
    """A server that answers nothing for longer than the patience ends the run, which says how to resume."""

    async def scenario(core):
        calls = (core.answer(DeadModel(), question(str(i)), "search") for i in range(40))
        answers = await asyncio.gather(*calls, return_exceptions=True)
        return [error for error in answers if isinstance(error, RunInterrupted)]

    errors = with_gate(scenario, patience_s=0.3)
    assert len(errors) >= 40 - 2
    assert "run_dir='my-run'" in str(errors[0])
    assert errors[0].run_dir == "my-run"


def test_run_goes_on_when_the_server_comes_back(with_gate):
    """While a server is down the calls wait and few are sent; when it is back all are answered."""

    async def scenario(core):
        model = DeadModel()
        calls = [
            asyncio.ensure_future(core.answer(model, question(str(i)), "demos", patient=True))
            for i in range(40)
        ]
        await asyncio.sleep(0.5)
        sent = len(model.sent)
        model.alive = True
        answers = await asyncio.gather(*calls)
        return sent, len(answers)

    sent, answered = with_gate(scenario)
    assert answered == 40
    assert sent <= 40 + 2


def test_one_call_that_always_fails_is_given_up(with_gate):
    """A question that the server stumbles over does not count as a dead server, others are answered."""

    async def scenario(core):
        class Picky(CountingModel):
            num_retries = 1

            async def send(self, request):
                if "poison" in request.messages[0]["content"]:
                    raise unavailable()
                return await super().send(request)

        model = Picky()
        with pytest.raises(LMServerError):
            await core.answer(model, question("poison"), "search")
        return (await core.answer(model, question("a"), "search")).completions[0].text

    assert with_gate(scenario) == "a"


def test_retry_after_holds_the_whole_model(with_gate):
    """After a 429 with a Retry-After it is not sent too early, nor is any other call, but for a second."""

    async def scenario(core):
        class Throttled(CountingModel):
            def __init__(self):
                super().__init__(LMRateLimitError("slow down", model="echo", status=429, retry_after_s=1.2))
                self.sent_at = []

            async def send(self, request):
                self.sent_at.append(time.monotonic())
                return await super().send(request)

        model = Throttled()
        first = asyncio.ensure_future(core.answer(model, question("a"), "search"))
        await asyncio.sleep(0.05)
        await asyncio.gather(first, core.answer(model, question("b"), "search"))
        return model.sent_at

    refused_at, *later = with_gate(scenario)
    assert len(later) == 2
    assert min(later) - refused_at >= 0.2
    assert max(later) - refused_at >= 1.2


def test_refusals_are_no_attempts(with_gate):
    """However often a server throttles a call, it is not given up while the server lives."""

    async def scenario(core):
        throttled = (LMRateLimitError("slow", model="echo", status=429, retry_after_s=0.0) for _ in range(20))
        return (await core.answer(CountingModel(*throttled), question("a"), "search")).completions[0].text

    assert with_gate(scenario) == "a"


def test_wait_that_the_server_asks_for_is_too_long(with_gate):
    """A Retry-After beyond the patience ends the run at once instead of sleeping."""

    async def scenario(core):
        model = CountingModel(LMRateLimitError("quota", model="echo", status=429, retry_after_s=3600.0))
        with pytest.raises(RunInterrupted, match="3600 s"):
            await core.answer(model, question("a"), "search")

    with_gate(scenario)


def test_abort_ends_the_wait_for_calls_in_flight(with_gate):
    """After the second Ctrl-C who waits for a call is told why the run stopped."""

    async def scenario(core):
        class Slow(CountingModel):
            async def send(self, request):
                await asyncio.sleep(60)

        caller = asyncio.ensure_future(core.answer(Slow(), question("a"), "search"))
        await asyncio.sleep(0)
        core.stop(RunInterrupted("Ctrl-C"))
        core.abort()
        with pytest.raises(RunInterrupted):
            await caller

    with_gate(scenario)


def test_each_who_is_told_of_the_end_raises_an_error_of_their_own(with_gate):
    """In threads of their own: the traceback of one for all was as long as those of all together."""

    async def scenario(core):
        core.stop(RunInterrupted("Ctrl-C", run_dir="there"))
        gates = [StageGate(core, "search", subject="", patient=False) for _ in range(2)]
        told = await asyncio.gather(
            *(gate.call(CountingModel(), question("a")) for gate in gates), return_exceptions=True
        )
        assert [(type(error), str(error), error.run_dir) for error in told] == [
            (RunInterrupted, "Ctrl-C", "there")
        ] * 2
        return len({id(error) for error in (*told, core.stopped)})

    assert with_gate(scenario) == 3


@pytest.mark.parametrize(
    "error",
    [
        LMRateLimitError("slow down", model="echo", status=429, retry_after_s=0.3),
        LMServerError("down", model="echo", status=503, retry_after_s=0.3),
    ],
    ids=["429", "503"],
)
def test_server_that_said_anything_gets_the_full_patience(with_gate, monkeypatch, error):
    """A first answer that asks to wait, be it a refusal, shows that the address is right."""
    monkeypatch.setattr("mipro.runs._gate.FIRST_PATIENCE_S", 0.1)

    async def scenario(core):
        return (await core.answer(CountingModel(error), question("a"), "search")).completions[0].text

    assert with_gate(scenario) == "a"


def test_silent_server_gets_the_first_patience(with_gate, monkeypatch):
    """Where nothing was ever heard the address may be wrong, and the run ends sooner."""
    monkeypatch.setattr("mipro.runs._gate.FIRST_PATIENCE_S", 0.1)

    async def scenario(core):
        model = CountingModel(LMConnectionError("refused", model="echo", retry_after_s=0.3))
        with pytest.raises(RunInterrupted):
            await core.answer(model, question("a"), "search")

    with_gate(scenario)


def test_seconds_end_a_wait_that_the_server_asks_for(with_gate):
    """A call that may not be sent before the time is up ends the run when it is."""

    async def scenario(core):
        model = CountingModel(LMRateLimitError("slow", model="echo", status=429, retry_after_s=60.0))
        with pytest.raises(BudgetExhausted) as caught:
            await asyncio.wait_for(core.answer(model, question("a"), "search"), 20)
        return caught.value.resource, core.stopped is caught.value

    assert with_gate(scenario, Budget(seconds=0.2)) == ("seconds", True)


class HeldModel(CountingModel):
    """Answers once it is let go."""

    def __init__(self):
        super().__init__()
        self.asked, self.let_go = asyncio.Event(), asyncio.Event()

    async def send(self, request):
        """Wait."""
        response = await super().send(request)
        self.asked.set()
        await self.let_go.wait()
        return response


class LosesOne(CountingModel):
    """Never answers the first request that asks for something, as where the connection has died."""

    def __init__(self, lost):
        super().__init__()
        self.lost = lost

    async def send(self, request):
        """Wait for ever, or answer."""
        response = await super().send(request)
        if self.lost == request.key and self.sent.count(request.key) == 1:
            await asyncio.Event().wait()
        return response


@pytest.fixture
def soon_late(monkeypatch):
    """Take a request for late at once."""
    monkeypatch.setattr("mipro.runs._line.LATE_S", 0.01)
    monkeypatch.setattr("mipro.runs._line.LATE_FACTOR", 0.0)


async def ask_many(core, model, *, first=0, count=20):
    """Ask for so many things, some at a time, and return the answers."""
    asked = [core.answer(model, question(str(i)), "search") for i in range(first, first + count)]
    return [response.completions[0].text for response in await asyncio.wait_for(asyncio.gather(*asked), 30)]


@pytest.mark.usefixtures("soon_late")
def test_a_request_that_gets_lost_is_sent_once_more(with_gate):
    """Once the model is known to answer others; both requests are counted."""
    model = LosesOne(question("25").key)

    async def scenario(core):
        await ask_many(core, model)
        late = asyncio.ensure_future(core.answer(model, question("25"), "search"))
        while question("25").key not in model.sent:  # noqa: ASYNC110 - until it is under way
            await asyncio.sleep(0)
        await ask_many(core, model, first=30)
        assert (await asyncio.wait_for(late, 30)).completions[0].text == "25"
        core._writer.flush()
        [failure] = core._store.read(FailureRecord)
        return failure.kind, core._store.spent()[0].calls, len(model.sent)

    assert with_gate(scenario) == ("LMTimeoutError", 42, 42)


@pytest.mark.parametrize(("budget", "expected"), [(None, [False]), (Budget(lm_calls=100), [])])
def test_a_request_is_not_sent_again_for_nothing(with_gate, monkeypatch, budget, expected):
    """Where the model has answered nothing else meanwhile, or a budget would have to pay for both."""
    model, told = CountingModel(), []

    async def late_at_once(send, late_s, send_again):
        told.append(send_again())
        return await send()

    async def scenario(core):
        await ask_many(core, model)
        monkeypatch.setattr("mipro.runs._gate.first_answer", late_at_once)
        await core.answer(model, question("25"), "search")
        return told

    assert with_gate(scenario, budget) == expected


def test_what_waits_for_the_budget_is_not_sent_after_the_stop(with_gate):
    """It ends at once, while the call in flight is finished and kept."""

    async def scenario(core):
        model = HeldModel()
        first, *waiting = (
            asyncio.ensure_future(core.answer(model, question(str(i)), "search")) for i in range(6)
        )
        await model.asked.wait()
        core.stop(RunInterrupted("Ctrl-C"))
        ended = await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), 10)
        model.let_go.set()
        await first
        return [type(error) for error in ended], len(model.sent), core._store.count(CallRecord)

    assert with_gate(scenario, Budget(tokens=20)) == ([RunInterrupted] * 5, 1, 1)


def test_stop_while_a_call_is_reserved_keeps_it_from_being_sent(with_gate):
    """A reservation that succeeds after the stop is given back."""

    async def scenario(core):
        model = HeldModel()
        calls = [asyncio.ensure_future(core.answer(model, question(str(i)), "search")) for i in range(2)]
        await model.asked.wait()
        core._stop = RunInterrupted("Ctrl-C")  # as between the stop and its word on the loop
        model.let_go.set()
        await calls[0]
        with pytest.raises(RunInterrupted):
            await asyncio.wait_for(calls[1], 10)
        return len(model.sent), core._account._in_flight, core._account.spent.lm_calls

    assert with_gate(scenario, Budget(tokens=20)) == (1, 0, 1)


def fill_disk(core):
    """Let nothing be written any more."""

    def full(records):
        raise StateError("no room")

    core._store.append = full


def test_full_disk_under_a_budget_ends_everybody(with_gate):
    """Nothing is sent that can't be noted before, nobody waits for it, and the run is stopped."""

    async def scenario(core):
        fill_disk(core)
        model = CountingModel()
        calls = (core.answer(model, question(str(i)), "search") for i in range(5))
        ended = await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), 10)
        return [type(error) for error in ended], model.sent, str(core.stopped), core._account.spent.lm_calls

    assert with_gate(scenario, Budget(lm_calls=1)) == ([StateError] * 5, [], "no room", 0)


def test_answer_that_cannot_be_kept_stops_the_run(with_gate):
    """After it no further call is paid for that would be lost as well."""

    async def scenario(core):
        fill_disk(core)
        model = CountingModel()
        for text in "ab":
            with pytest.raises(StateError):
                await core.answer(model, question(text), "search")
        return len(model.sent)

    assert with_gate(scenario) == 1


def test_every_failed_request_is_kept(with_gate):
    """Requests without an answer are in the ledger, so that they count after a resume."""

    async def scenario(core):
        with pytest.raises(LMServerError):
            await core.answer(CountingModel(*(unavailable() for _ in range(4))), question("a"), "search")
        core._writer.flush()
        return [record.kind for record in core._store.read(FailureRecord)], core._store.spent()[0].calls

    assert with_gate(scenario) == (["LMServerError"] * 4, 4)


def test_answer_on_its_way_is_kept_when_its_caller_is_gone(with_gate):
    """A cancelled caller's call is finished and recorded: it was paid for."""

    async def scenario(core):
        caller = asyncio.ensure_future(core.answer(CountingModel(), question("a"), "search"))
        await asyncio.sleep(0)
        caller.cancel()
        await asyncio.wait(list(core._in_flight.values()))
        return core._store.count(CallRecord)

    assert with_gate(scenario) == 1
