"""Budgets against a real server with many threads, over sessions."""

import time

import pytest

import mipro
from mipro.errors import BudgetExhausted, MiproError, UserError
from mipro.lm import LMRequest, run
from mipro.runs import Budget, EventRecord, FailureRecord, Run, SentRecord
from mipro.testing.lms import ScriptedLM
from mipro.testing.server import OpenAIServer
from mipro.testing.stores import call
from mipro.testing.sums import answer

PRICES = {"input": 2.0, "output": 8.0}


@pytest.mark.parametrize("limit", [1, 7, 60, 130])
def test_no_request_beyond_the_budget(optimize, limit):
    """Failed requests count too; the server sees exactly as many, and the best is returned."""
    with OpenAIServer(answer, error_rate=0.2, retry_after_s=0.01) as server:
        best, _ = optimize(server, threads=32, budget=Budget(lm_calls=limit))
        assert server.count == limit
    assert best.optimization.stop_reason == "budget: lm_calls"
    assert best.optimization.lm_calls == limit


@pytest.mark.parametrize(
    ("resource", "limit"), [("tokens", 3_000), ("tokens", 25_000), ("cost_usd", 0.01), ("cost_usd", 0.06)]
)
def test_tokens_and_cost_are_never_exceeded(optimize, tmp_path, resource, limit):
    """With 32 calls at once the sum of what the server counted stays within the limit."""
    with OpenAIServer(answer, latency_s=0.005) as server:
        best, _ = optimize(
            server, threads=32, budget=Budget(**{resource: limit}), lm={"max_tokens": 50, "prices": PRICES}
        )
        answered = server.answered
    with mipro.runs.open(str(tmp_path / "run")) as recorded:
        calls = list(recorded.calls())
    assert len(calls) == answered
    tokens = sum(c.prompt_tokens + c.completion_tokens for c in calls)
    cost = sum(2e-6 * c.prompt_tokens + 8e-6 * c.completion_tokens for c in calls)
    spent = tokens if resource == "tokens" else cost
    assert 0.5 * limit < spent <= limit
    assert best.optimization.stop_reason == f"budget: {resource}"


class OwnModel(ScriptedLM):
    """A model of the user's own, which says what its answers cost."""

    def price_usd(self, usage):
        """Return a price by the token, as providers have one."""
        return 2e-6 * usage.prompt_tokens + 8e-6 * usage.completion_tokens


def test_model_of_ones_own_counts_against_the_dollars(tmp_path):
    """What a call of it cost is its `price_usd` of the tokens used, in the ledger and for the budget."""
    asked = LMRequest("m", ({"role": "user", "content": "new"},), {"max_tokens": 5})
    again = LMRequest("m", ({"role": "user", "content": "newer"},), {"max_tokens": 5})
    model, live = OwnModel(["hello", "hello"]), open_run(tmp_path, cost_usd=1e-4)
    response = run(live.gate("search").call(model, asked))
    assert live.spent()[0].cost_usd == response.cost_usd == model.price_usd(response.usage)
    live.close()
    live = open_run(tmp_path, cost_usd=1.5 * response.cost_usd)
    with pytest.raises(BudgetExhausted, match="cost_usd"):
        run(live.gate("search").call(model, again))
    live.close()


def uncounted(request):
    """Answer as a server that reports no `usage`."""
    fields = answer(request).items()
    content = "\n\n".join(f"[[ ## {name} ## ]]\n{value}" for name, value in fields)
    return {"choices": [{"message": {"content": content}}]}


@pytest.mark.parametrize(
    ("resource", "limits"), [("tokens", (20_000, 40_000)), ("cost_usd", (0.05, 0.1))], ids=["tokens", "cost"]
)
def test_answers_without_a_count_are_as_dear_as_they_can_be(optimize, resource, limits):
    """They were for nothing, so that no budget ended; now a hard cap holds, over sessions too."""
    lm = {"max_tokens": 50, "prices": PRICES}
    sent = []
    with OpenAIServer(uncounted) as server:
        for limit in (limits[0], limits[0], limits[1]):
            best, _ = optimize(server, threads=4, lm=lm, budget=Budget(**{resource: limit}))
            assert best.optimization.stop_reason == f"budget: {resource}"
            sent.append(server.count)
        asked = [request.body["messages"] for request in server.requests]
    assert 0 < sent[0] == sent[1] < sent[2]
    # As many tokens as bytes, 8 more for each message, and an answer as long as it may be.
    prompts = sum(len(message["content"].encode()) + 8 for messages in asked for message in messages)
    answers = 50 * len(asked)
    dearest = prompts + answers if resource == "tokens" else 2e-6 * prompts + 8e-6 * answers
    assert 0.5 * limits[1] < dearest <= limits[1]
    assert any("without a count of tokens" in warning for warning in best.optimization.warnings)
    assert best.optimization.cost is None
    assert best.optimization.usage.total_tokens == 0


@pytest.mark.parametrize("limits", [{"lm_calls": 500}, {"seconds": 500}])
def test_count_of_tokens_that_nothing_limits(optimize, limits):
    """Nothing is said of it."""
    with OpenAIServer(uncounted) as server:
        best, _ = optimize(server, budget=Budget(**limits))
    assert not any("without a count" in warning for warning in best.optimization.warnings)


def test_resumed_run_counts_what_was_spent_before(optimize):
    """The same budget again buys nothing; a larger one buys the difference."""
    with OpenAIServer(answer, error_rate=0.2, retry_after_s=0.01) as server:
        optimize(server, threads=32, budget=Budget(lm_calls=50))
        optimize(server, threads=32, budget=Budget(lm_calls=50))
        assert server.count == 50
        best, _ = optimize(server, threads=32, budget=Budget(lm_calls=80))
        assert server.count == 80
    assert best.optimization.lm_calls == 80


def test_seconds_end_the_run_within_one_call(optimize):
    """No call is begun after the time is up, waiting for a dead server included."""
    with OpenAIServer(answer, latency_s=0.05) as server:
        began = time.monotonic()
        best, _ = optimize(server, threads=2, budget=Budget(seconds=1.5))
        seconds = time.monotonic() - began
    assert best.optimization.stop_reason == "budget: seconds"
    assert seconds < 1.5 + 5.0  # a call takes 0.05 s; the rest is for a busy machine


def test_seconds_end_a_pause(optimize):
    """A run that waits for a dead server ends when its time is up, long before its patience."""
    server = OpenAIServer(answer).start()
    server.stop()
    best, _ = optimize(server, budget=Budget(seconds=1))
    assert best.optimization.stop_reason == "budget: seconds"
    assert best.optimization.candidate == (0, 0)


def open_run(tmp_path, **limits):
    """Open the same run with a budget."""
    return Run(str(tmp_path / "run"), {}, budget=Budget(**limits), seed=0)


def ask(live):
    """Make a new call through a run."""
    request = LMRequest("m", ({"role": "user", "content": "new"},), {"max_tokens": 5})
    return run(live.gate("search").call(ScriptedLM(["hello"]), request))


@pytest.mark.parametrize(
    "before",
    [
        [call("a")],
        [FailureRecord("a", "search", "m", "LMServerError", "503")],
        [SentRecord("a", 10, 0.0)],
    ],
    ids=["answered", "failed", "in flight at a kill -9"],
)
def test_every_kind_of_request_counts_after_a_resume(tmp_path, before):
    """What was answered, what failed, and what a kill left without an outcome."""
    live = open_run(tmp_path)
    for record in before:
        live.keep(record)
    live.close()
    live = open_run(tmp_path, lm_calls=1)
    with pytest.raises(BudgetExhausted):
        ask(live)
    live.close()
    live = open_run(tmp_path, lm_calls=2)
    assert ask(live).completions[0].text == "hello"
    live.close()


def test_request_that_ended_is_counted_once(tmp_path):
    """The note before a request and its answer are one request."""
    live = open_run(tmp_path, lm_calls=1)
    ask(live)
    live.close()
    live = open_run(tmp_path, lm_calls=2)
    assert live._core._account.spent.lm_calls == 1
    live.close()


def test_seconds_of_a_killed_session_count(tmp_path):
    """A session that left no end counts up to its last sign of life."""
    live = open_run(tmp_path)
    live.keep(EventRecord("alive", "{}", time.time() + 50.0))
    live._release()  # as a kill -9 does
    live = open_run(tmp_path, seconds=40)
    with pytest.raises(BudgetExhausted, match="seconds"):
        ask(live)
    live.close()


@pytest.mark.parametrize("catches", [False, True])
@pytest.mark.parametrize("demos", [0, 4], ids=["judged in the search", "judged in stage 1"])
def test_judge_without_a_price_is_refused(optimize, tmp_path, demos, catches):
    """Under a limit on the cost it is asked nothing, and what the metric makes of that is no score."""
    judge = ScriptedLM(["yes"], "judge", repeat=True)

    def judged(example, prediction, trace=None):
        try:
            return judge(prediction.sum) == ["yes"]
        except MiproError:
            if not catches:
                raise
            return False

    with OpenAIServer(answer) as server, pytest.raises(UserError, match="that of 'judge' is not"):
        optimize(
            server,
            metric=judged,
            budget=Budget(cost_usd=1.0),
            lm={"max_tokens": 50, "prices": PRICES},
            max_bootstrapped_demos=demos,
        )
    assert judge.calls == []
    with mipro.runs.open(str(tmp_path / "run")) as recorded:
        assert "metric" not in recorded.failures()
