"""Models made of other models: what is paid for are the calls inside, each once."""

import asyncio
from random import Random

import pytest

from mipro.context import context, settings
from mipro.errors import BudgetExhausted, LMConnectionError, LMServerError, LMUnansweredError, RunStopped
from mipro.lm import BaseLM, LMRequest, _base, submit
from mipro.runs import Budget, CallRecord, Run, SQLStore
from mipro.runs._budget import Account, Amounts
from mipro.runs._gate import GateCore
from mipro.runs._line import Line
from mipro.runs._writer import Writer
from mipro.testing.lms import ScriptedLM


class Vote(BaseLM):
    """Asks other models, one after the other, and joins what they say."""

    def __init__(self, *models, name="vote", said=""):
        super().__init__(name, num_retries=0)
        self.models = models
        self.said = said
        self.asked = 0

    def forward(self, prompt=None, messages=None, **kwargs):
        """Ask them all."""
        self.asked += 1
        messages = [*([{"role": "system", "content": self.said}] if self.said else []), *messages]
        return {
            "choices": [{"message": {"content": " ".join(lm(messages=messages)[0] for lm in self.models)}}],
            "usage": {"prompt_tokens": 1000, "completion_tokens": 1000, "total_tokens": 2000},
        }


class Stubborn(Vote):
    """Has an answer whatever happens to those it asks."""

    def forward(self, prompt=None, messages=None, **kwargs):
        """Ask them, or make something up."""
        try:
            return super().forward(prompt, messages, **kwargs)
        except (RunStopped, LMConnectionError):
            return "made up"


def echo(name="inner"):
    """Return a model that says what it was asked."""
    return ScriptedLM(lambda messages: messages[-1]["content"], name, max_tokens=5, num_retries=0)


@pytest.fixture
def open_run(tmp_path):
    """Return a function that opens one and the same run; the last is closed in the end."""
    opened = []

    def run(**limits):
        for before in opened:
            before.close()
        opened[:] = [Run(str(tmp_path / "run"), {"seed": "0"}, budget=Budget(**limits), seed=0)]
        return opened[0]

    yield run
    for last in opened:
        last.close()


def begin(run, model, text="q", stage="search"):
    """Make a call through a run, as a program does; return its future."""
    gate = run.gate(stage, patient=stage == "demos")
    with context(gate=gate):
        return submit(gate.call(model, model.request(text)))


def ask(run, model, text="q"):
    """Make a call and wait; a test that would wait for ever says so."""
    return begin(run, model, text).result(20).completions[0].text


def calls(run):
    """Return the requests paid for by model."""
    return {spent.model: spent.calls for spent in run.spent()}


@pytest.mark.parametrize("limits", [{}, {"lm_calls": 3}, {"tokens": 5000}], ids=str)
def test_call_inside_is_counted_once(open_run, limits):
    """Under any budget; the usage that the model around it reports is not counted again."""
    run = open_run(**limits)
    assert [ask(run, Vote(echo()), text) for text in "abc"] == ["a", "b", "c"]
    assert calls(run) == {"inner": 3, "vote": 0}
    assert [spent.unpriced_calls for spent in run.spent() if spent.model == "vote"] == [0]
    spent = run._core._account.spent
    assert spent.lm_calls == run.paid_calls == 3
    assert spent.tokens < 500
    assert open_run(**limits)._core._account.spent == spent


def test_calls_inside_do_not_wait_for_the_threads_of_those_around(open_run, monkeypatch):
    """However many calls around take all the threads that there are for them."""
    monkeypatch.setattr(_base, "_BLOCKING_CALLS", 1)
    assert ask(open_run(), Vote(Vote(echo(), name="inner vote"))) == "q"


@pytest.mark.parametrize("limits", [{}, {"lm_calls": 1}], ids=str)
def test_replay_asks_nobody(open_run, limits):
    """Neither the model around nor the one inside, and the answer is the one around it."""
    ask(open_run(**limits), Vote(echo(), said="loud"))
    again = Vote(echo(), said="loud")
    assert ask(open_run(**limits), again) == "q"
    assert (again.asked, again.models[0].calls) == (0, [])


@pytest.mark.parametrize("limits", [{}, {"lm_calls": 2}, {"tokens": 5000}], ids=str)
def test_model_by_the_name_of_the_one_inside(open_run, limits):
    """Both questions are one and the same, and yet each gets its own answer, now and at the replay."""
    twice = Vote(echo("m"), echo("m"), name="m")
    run = open_run(**limits)
    assert ask(run, Vote(twice, name="m")) == "q q"
    assert len({record.key for record in run.store.read(CallRecord)}) == 3
    assert calls(run) == {"m": 1}
    again = Vote(echo("m"), name="m")
    assert ask(open_run(**limits), again) == "q q"
    assert again.asked == 0


def test_no_answer_inside_is_lost(open_run):
    """Where the budget ends between two calls, the run goes on with the second."""
    run = open_run(lm_calls=1)
    with pytest.raises(BudgetExhausted):
        ask(run, Vote(echo("first"), echo("second")))
    assert calls(run) == {"first": 1}
    vote = Vote(echo("first"), echo("second"))
    run = open_run(lm_calls=2)
    assert ask(run, vote) == "q q"
    assert [len(model.calls) for model in vote.models] == [0, 1]
    assert run._core._account.spent.tokens < 200  # nothing of what the vote itself had reserved


def test_request_that_a_fault_in_a_models_code_has_ended_is_not_lost(open_run):
    """The next session takes it for what this one did: one call, and no tokens."""
    run = open_run(tokens=5000)
    with pytest.raises(ZeroDivisionError):
        ask(run, ScriptedLM(lambda _: 1 / 0, "odd"))
    spent = run._core._account.spent
    assert (spent, calls(run)) == (Amounts(lm_calls=1), {"odd": 1})
    assert open_run(tokens=5000)._core._account.spent == spent


def test_many_at_once_under_a_budget(open_run):
    """However many wait for one another, exactly as many calls are made as the budget has."""
    run = open_run(lm_calls=5)
    inner = echo()
    vote = Vote(inner)
    asked = [begin(run, vote, str(i)) for i in range(12)]
    ended = [call.exception(20) for call in asked]
    assert sum(error is None for error in ended) == len(inner.calls) == 5
    assert all(isinstance(error, BudgetExhausted) for error in ended if error is not None)


def test_answer_in_spite_of_the_budget_is_not_kept(open_run):
    """What a model makes up when the run refuses a call inside is no answer of it."""
    run = open_run(lm_calls=1)
    with pytest.raises(BudgetExhausted):
        ask(run, Stubborn(echo("first"), echo("second")))
    assert ask(open_run(lm_calls=2), Stubborn(echo("first"), echo("second"))) == "q q"


def test_answer_in_spite_of_a_failure_is_kept(open_run):
    """A router may turn to something else where a model fails: that is what it is for."""
    failing = ScriptedLM([LMConnectionError("refused")], num_retries=0)
    run = open_run()
    assert ask(run, Stubborn(failing)) == "made up"
    assert ask(open_run(), Stubborn(failing)) == "made up"


def test_failure_inside_is_tried_again_around(open_run):
    """Each request is counted once, in this session and the next."""
    inner = ScriptedLM([LMServerError("down", status=503, retry_after_s=0.0), "yes"], num_retries=0)
    vote = Vote(inner)
    vote.num_retries = 1
    run = open_run(lm_calls=3)
    assert ask(run, vote) == "yes"
    account = run._core._account
    assert (account._in_flight, account.spent.lm_calls) == (0, 2)
    assert run.failures == {"LMServerError": 1}
    assert open_run(lm_calls=3)._core._account.spent == account.spent


def test_call_inside_needs_no_turn_of_its_own(open_run):
    """The one call that finds out whether a model is back may be made of a call to the same model."""
    run = open_run()
    line = run._core._lines["m"] = Line()
    line.pause()
    assert ask(run, Vote(echo("m"), name="m", said="loud")) == "q"
    assert not line.paused


def test_what_a_model_leaves_running_is_a_call_of_its_own(tmp_path):
    """It does not hold what the model around it has reserved, and is kept under its own key."""
    store = SQLStore(f"sqlite:///{tmp_path / 'ledger.sqlite'}")
    writer = Writer(store)
    question = LMRequest("m", ({"role": "user", "content": "q"},), {"max_tokens": 5})
    left = []

    class Hasty(BaseLM):
        async def aforward(self, prompt=None, messages=None, **kwargs):
            gate = settings.gate

            async def later():
                await asyncio.wait(list(core._in_flight.values()))
                return await gate.call(echo("m"), question)

            left.append(asyncio.ensure_future(later()))
            return "done"

    async def scenario():
        await core.answer(Hasty("hasty"), LMRequest("hasty", question.messages), "search")
        return await left[0]

    core = GateCore(store, writer, Account(Budget(), Amounts()), Random(0), "my-run")
    assert asyncio.run(scenario()).completions[0].text == "q"
    assert store.find_call(question.key) is not None
    assert [record.attempts for record in store.read(CallRecord)] == [1, 1]
    writer.close()
    store.close()


def test_call_around_one_that_was_passed_over_is_passed_over(open_run):
    """It is not asked again and again for what will not come."""
    run = open_run()
    vote = Vote(echo())
    run._core._passed_over.add(("demos", vote.models[0].request("q").key))
    with pytest.raises(LMUnansweredError):
        begin(run, vote, stage="demos").result(20)
    assert vote.asked == 1
