"""Failures of infrastructure, from end to end: never a score, never a loss."""

import json
import signal
import subprocess
import sys
import time

import pytest

import mipro
from mipro.errors import (
    LMAuthError,
    LMNotFoundError,
    LMRequestError,
    LMTransientError,
    ProgramError,
    RunInterrupted,
    StateError,
)
from mipro.optimize import TestScores
from mipro.runs import CallRecord, SQLStore
from mipro.runs import _evaluation as evaluation
from mipro.testing.server import Fault, OpenAIServer
from mipro.testing.sums import answer, right, sums


@pytest.mark.parametrize("threads", [pytest.param(1, marks=pytest.mark.slow), 32])
def test_failing_server_gives_the_same_program(optimize, threads):
    """With 30 % of the calls failing, the best program is the healthy server's, and no failure a score."""
    with OpenAIServer(answer) as server:
        healthy, expected = optimize(server, "healthy")
    with OpenAIServer(answer, error_rate=0.3, retry_after_s=0.01) as server:
        best, saved = optimize(server, "failing", lm={"num_retries": 1}, threads=threads)
        statuses = server.stats["statuses"]
    assert sum(n for status, n in statuses.items() if status != 200) > 40
    assert saved == expected
    assert [t.scores for t in best.optimization.trials] == [t.scores for t in healthy.optimization.trials]
    assert "missing" not in best.optimization.failures


def test_example_that_always_fails_is_unknown(optimize):
    """The search is told that it is missing, the run ends, and so does its replay, the same way."""
    state = {"poisoned": True}

    def picky(request):
        asked = str(request["messages"][-1]["content"])
        if state["poisoned"] and "a ## ]]\n7" in asked and "b ## ]]\n6" in asked:
            return Fault(500, retry_after=0.0)
        return answer(request)

    with OpenAIServer(picky) as server:
        best, saved = optimize(server, lm={"num_retries": 0})
        trials = best.optimization.trials
        missing = {e for t in trials for e, s in zip(t.examples, t.scores, strict=True) if s is None}
        assert missing == {7 * 8 + 6 - 24}
        assert best.optimization.failures["missing"] >= 1
        state["poisoned"] = False
        server.reset()
        replayed, again = optimize(server, lm={"num_retries": 0})
        assert server.count <= best.optimization.failures["missing"]
    assert again == saved
    assert replayed.optimization.candidate == best.optimization.candidate
    assert "missing" not in replayed.optimization.failures


def unanswered(state, poison):
    """Return an answer function that fails whenever `poison` says so, until `state["on"]` is False."""

    def picky(request):
        return Fault(500, retry_after=0.0) if state["on"] and poison(request) else answer(request)

    return picky


def about_the_second(request):
    """Whether a request is about the second training example."""
    asked = str(request["messages"][-1]["content"])
    return "a ## ]]\n0" in asked and "b ## ]]\n1" in asked


def first_proposal():
    """Return a function that knows the first proposal asked for, and the same question again."""
    first = []

    def is_it(request):
        if "proposed_instruction" not in str(request["messages"]):
            return False
        first.append(str(request))
        return str(request) == first[0]

    return is_it


@pytest.mark.parametrize("threads", [1, 8])
@pytest.mark.parametrize(
    ("poison", "told"),
    [(about_the_second, "1 training examples were passed over"), (first_proposal(), "1 unanswered")],
    ids=["demos", "instructions"],
)
def test_call_that_is_never_answered_is_passed_over(optimize, monkeypatch, poison, told, threads):
    """Stage 1 and 2 go on without it, say so, and do so at every replay though it were answered by then."""
    monkeypatch.setattr("mipro.runs._gate.ALONE_S", 0.1)
    state = {"on": True}
    with OpenAIServer(unanswered(state, poison)) as server:
        best, saved = optimize(server, threads=threads, lm={"num_retries": 1})
        assert any(told in warning for warning in best.optimization.warnings)
        assert best.optimization.stop_reason == "complete"
        state["on"] = False
        server.reset()
        _, again = optimize(server, threads=threads, lm={"num_retries": 1})
        assert server.count == 0
    assert again == saved


def test_program_that_catches_a_call_passed_over_makes_no_demo(optimize, monkeypatch):
    """What the teacher answers in spite of it is no success, whatever the metric says."""
    monkeypatch.setattr("mipro.runs._gate.ALONE_S", 0.1)

    class Brave(mipro.Module):
        def __init__(self):
            super().__init__()
            self.add = mipro.Predict("a, b -> sum")

        def forward(self, a, b):
            try:
                return self.add(a=a, b=b)
            except LMTransientError:
                return mipro.Prediction(sum="1")

    with OpenAIServer(unanswered({"on": True}, about_the_second)) as server:
        best, _ = optimize(server, program=Brave(), lm={"num_retries": 0})
    assert any("1 training examples were passed over" in w for w in best.optimization.warnings)


def test_dead_server_interrupts_and_the_run_goes_on(optimize):
    """A server that dies ends the run with the way to resume; nothing is paid twice afterwards."""
    server = OpenAIServer(answer, latency_s=0.002)
    with server:
        _, expected = optimize(server, "whole")
        whole = server.answered
    dying = OpenAIServer(lambda request: Fault(503, retry_after=0.0) if dying.dead else answer(request))
    dying.dead = False

    def kill_after(progress):
        dying.dead = dying.dead or (progress.stage == "search" and progress.done > 30)

    with dying:
        with pytest.raises(RunInterrupted, match="run_dir="):
            optimize(dying, patience_s=1, callbacks=[kill_after])
        dying.dead = False
        best, saved = optimize(dying)
        assert dying.answered <= whole
    assert saved == expected
    assert best.optimization.failures["LMServerError"] >= 1


@pytest.mark.parametrize("stage", ["demos", "instructions"])
def test_outage_in_the_first_stages_changes_nothing(optimize, stage):
    """A server that is down for a while during stage 1 or 2 pauses the run, and the result is the same."""
    with OpenAIServer(answer) as server:
        _, expected = optimize(server, "whole")
    state = {"failures": 3}

    def flaky(request):
        proposing = "proposed_instruction" in str(request["messages"])
        if state["failures"] and proposing == (stage == "instructions"):
            state["failures"] -= 1
            return Fault(503, retry_after=0.0)
        return answer(request)

    with OpenAIServer(flaky) as server:
        _, saved = optimize(server, "outage", lm={"num_retries": 0}, patience_s=30)
    assert not state["failures"]
    assert saved == expected


@pytest.mark.parametrize(
    ("said", "behaviour", "error"),
    [
        (answer, {"api_key": "right"}, LMAuthError),
        (lambda _: Fault(403), {}, LMAuthError),
        (answer, {"models": ["other"]}, LMNotFoundError),
    ],
    ids=["401", "403", "404"],
)
def test_refused_for_good_stops_at_once(optimize, said, behaviour, error):
    """401, 403 and 404 end the run with no more than the calls in flight."""
    with OpenAIServer(said, **behaviour) as server:
        with pytest.raises(error):
            optimize(server, threads=4)
        assert server.count <= 4


def test_account_that_runs_dry_stops_the_run(optimize):
    """What was not answered for want of credit is no score: with new credit the same program comes out."""
    with OpenAIServer(answer) as server:
        _, expected = optimize(server, "rich")
        total = server.count
    left = [total - 40]

    def dear(request):
        left[0] -= 1
        return answer(request) if left[0] >= 0 else Fault(402, "Insufficient Balance")

    with OpenAIServer(dear) as server:
        with pytest.raises(LMAuthError, match="no credit left"):
            optimize(server, threads=4)
        left[0] = total
        best, saved = optimize(server, threads=4)
        assert server.answered == total
    assert saved == expected
    assert "request" not in best.optimization.failures


def test_program_that_catches_the_failure_is_not_scored(optimize):
    """What a program answers in spite of a failed call is no measurement."""

    class Brave(mipro.Module):
        def __init__(self):
            super().__init__()
            self.add = mipro.Predict("a, b -> sum")

        def forward(self, a, b):
            try:
                return self.add(a=a, b=b)
            except LMTransientError:
                return mipro.Prediction(sum="no idea")

    with OpenAIServer(answer) as server:
        _, expected = optimize(server, "healthy", program=Brave())
    with OpenAIServer(answer, error_rate=0.3, retry_after_s=0.01, errors=(503,)) as server:
        _, saved = optimize(server, "failing", program=Brave(), lm={"num_retries": 0})
    assert saved == expected


def test_ledger_that_fails_is_no_score(optimize, monkeypatch):
    """What can't be kept ends the run, even where the program catches it, and is no fault of the program."""

    class Stubborn(mipro.Module):
        def __init__(self):
            super().__init__()
            self.add = mipro.Predict("a, b -> sum")

        def forward(self, **inputs):
            try:
                return self.add(**inputs)
            except StateError:
                return mipro.Prediction(sum="0")

    append, calls = SQLStore.append, []

    def full(store, records):
        calls.extend(record for record in records if isinstance(record, CallRecord))
        if len(calls) > 60:
            raise StateError("no room")
        append(store, records)

    monkeypatch.setattr(SQLStore, "append", full)
    with OpenAIServer(answer) as server, pytest.raises(StateError, match="no room"):
        optimize(server, program=Stubborn())


def test_parse_failure_scores_and_is_counted(optimize):
    """An answer that can't be read scores 0 and is reported, by kind."""

    def mute(request):
        said = answer(request)
        return "?" if said.get("sum") in {"8", "9"} else said

    with OpenAIServer(mute) as server:
        best, _ = optimize(server)
    assert best.optimization.failures["parse"] > 0
    assert best.optimization.failures.get("missing") is None


def test_judge_that_is_unreadable_never_stops_the_run(optimize):
    """Its failures are counted as the metric's, score as such, and are no errors of the user's code."""

    def judging(request):
        if "verdict" not in str(request["messages"]):
            return answer(request)
        asked = str(request["messages"][-1]["content"])
        return "no idea" if "sum ## ]]\n7" in asked else {"verdict": "True"}

    def judged(example, prediction, trace=None):
        if trace is not None:
            return right(example, prediction)
        return mipro.Predict("a, b, sum -> verdict: bool")(a="1", b="2", sum=prediction.sum).verdict

    with OpenAIServer(judging) as server:
        best, _ = optimize(server, metric=judged, max_errors=2)
    assert best.optimization.failures["metric"] > 2
    assert best.optimization.stop_reason == "complete"
    scores = {score for trial in best.optimization.trials for score in trial.scores}
    assert scores == {0.0, 1.0}


def test_refused_request_scores_and_is_counted(optimize):
    """A prompt that the model does not take scores 0, and is no error of the user's code."""

    def strict(request):
        asked = str(request["messages"][-1]["content"])
        return Fault(400, "too long") if "a ## ]]\n7" in asked else answer(request)

    with OpenAIServer(strict) as server:
        best, _ = optimize(server, max_errors=2)
    assert best.optimization.failures["request"] > 2
    assert best.optimization.failures.get("missing") is None
    assert all(score is not None for trial in best.optimization.trials for score in trial.scores)


def test_model_that_refuses_everything_ends_the_run(optimize):
    """Every program was scored 0, and the run complete; once mended, it goes on as if nothing had been."""
    state = {"mended": False}

    def strict(request):
        is_task = "a ## ]]" in str(request["messages"][-1]["content"])
        if is_task and not state["mended"]:
            return Fault(400, "Unsupported parameter: 'max_tokens'")
        return answer(request)

    with OpenAIServer(answer) as server:
        _, expected = optimize(server, "healthy")
    with OpenAIServer(strict) as server:
        with pytest.raises(LMRequestError, match="Unsupported parameter"):
            optimize(server, threads=2)
        state["mended"] = True
        best, saved = optimize(server, threads=2)
    assert saved == expected
    assert "request" not in best.optimization.failures


def test_testset_whose_requests_are_all_refused_costs_no_result(optimize):
    """Three documents that were too long, and what the whole run had found was lost."""

    def strict(request):
        too_long = "a ## ]]\nlong" in str(request["messages"][-1]["content"])
        return Fault(400, "prompt is too long") if too_long else answer(request)

    testset = [mipro.Example(a=f"long {i}", b="1", sum="1").with_inputs("a", "b") for i in range(3)]
    with OpenAIServer(strict) as server:
        best, _ = optimize(server, testset=testset)
    assert best.optimization.test == TestScores(before=0.0, after=0.0, examples=3)
    assert best.optimization.stop_reason == "complete"


class Voting(mipro.Module):
    """A program that answers with more than JSON holds."""

    def __init__(self):
        super().__init__()
        self.add = mipro.Predict("a, b -> sum")

    def forward(self, **inputs):
        """Add the votes to the answer."""
        answered = self.add(**inputs)
        return mipro.Prediction(sum=answered.sum, votes={(answered.sum, "1"): 1, None: 0}, note=Stubborn())


class Stubborn:
    """A value that nothing can be had of."""

    def __repr__(self):
        raise ZeroDivisionError


def test_prediction_that_json_does_not_hold_stops_nothing(optimize, tmp_path):
    """It is scored as any other, and the fields that can be kept are."""
    with OpenAIServer(answer) as server:
        best, _ = optimize(server, program=Voting())
    assert best.optimization.stop_reason == "complete"
    with mipro.runs.open(str(tmp_path / "run")) as run:
        kept = [json.loads(record.prediction) for record in run.evaluations()]
    assert all(fields["sum"].isdigit() for fields in kept)
    assert all(isinstance(fields["note"], str) for fields in kept)


def test_field_that_is_kept_as_text_is_said_once(optimize, tmp_path, monkeypatch, caplog):
    """Whatever it is that can't be kept: the log names the field, and the others stay as they are."""
    canonical = evaluation.canonical

    def strict(value):
        if "Stubborn" in {type(part).__name__ for part in (value, *getattr(value, "values", tuple)())}:
            raise TypeError("not of JSON")
        return canonical(value)

    class Noting(Voting):
        def forward(self, **inputs):
            return mipro.Prediction(sum=self.add(**inputs).sum, numbers=[1], note=Stubborn())

    monkeypatch.setattr(evaluation, "canonical", strict)
    with OpenAIServer(answer) as server:
        optimize(server, program=Noting())
    assert caplog.text.count("the field 'note' of a prediction is kept as text") == 1
    with mipro.runs.open(str(tmp_path / "run")) as run:
        kept = [json.loads(record.prediction) for record in run.evaluations()]
    assert all((fields["numbers"], fields["note"]) == ([1], "<Stubborn>") for fields in kept)


@pytest.mark.parametrize("returned", [{("a", 1): 2}, Stubborn(), "text"])
def test_what_is_no_prediction_is_kept_too(monkeypatch, returned):
    """A program may return anything; what is kept is JSON."""

    def nothing(value):
        raise TypeError("not of JSON")

    monkeypatch.setattr(evaluation, "canonical", nothing)
    text, unkept = evaluation._kept(returned)
    assert json.loads(text) in ({"('a', 1)": "2"}, "<Stubborn>", "text")
    assert unkept


def test_metric_that_raises_is_reported_and_everything_kept(optimize, tmp_path):
    """The error names the example, the count and the line; what was measured stays in the ledger."""

    def broken(example, prediction, trace=None):
        if trace is None and example.a in {"3", "5", "7"}:
            raise KeyError("no such thing")
        return right(example, prediction)

    with OpenAIServer(answer) as server, pytest.raises(ProgramError, match="no such thing") as caught:
        optimize(server, metric=broken, max_errors=3)
    assert caught.value.count >= 3  # others were under way
    assert any(f"'a': '{a}'" in str(caught.value) for a in (3, 5, 7))
    assert "It raised KeyError: 'no such thing'." in str(caught.value).splitlines()[0]
    with mipro.runs.open(str(tmp_path / "run")) as run:
        assert run.failures()["metric"] >= 3
        assert next(run.evaluations())


def test_metric_that_raises_too_seldom_to_stop_a_run_is_told(optimize, caplog):
    """At its first fault and in the warnings: an example counts once, however many candidates meet it."""

    def broken(example, prediction, trace=None):
        if trace is None and (example.a, example.b) == ("5", "1"):
            raise KeyError("no such thing")
        return right(example, prediction)

    with OpenAIServer(answer) as server:
        best, _ = optimize(server, metric=broken, max_errors=2)
    story = best.optimization
    assert story.failures["metric"] > 2
    told = [text for text in caplog.messages if "It raised KeyError: 'no such thing'" in text]
    assert len(told) == 1
    assert f"program or metric raised on {story.failures['metric']} evaluations" in " ".join(story.warnings)


def test_metric_that_raises_in_stage_1_is_reported(optimize):
    """So is a metric that can't judge the teacher's runs: example, count and line."""

    def broken(example, prediction, trace=None):
        raise KeyError("no such thing")

    with OpenAIServer(answer) as server, pytest.raises(ProgramError, match="no such thing") as caught:
        optimize(server, metric=broken, max_errors=3)
    assert caught.value.count == 3
    named = [f"on example {i} of the trainset: {dict(example)!r}." for i, example in enumerate(sums()[:24])]
    assert any(text in str(caught.value) for text in named)
    assert 'raise KeyError("no such thing")' in str(caught.value)


@pytest.fixture
def start(script, tmp_path):
    """Return a function that starts the script; every process is gone afterwards."""
    started = []

    def run(server, name="run", threads=8):
        command = [sys.executable, script, server.url, str(tmp_path / name), str(tmp_path / f"{name}.json")]
        process = subprocess.Popen(
            [*command, str(threads), "random"], stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()


def wait_until(condition):
    """Wait for a condition, at most 60 s."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


POSIX = pytest.mark.skipif(sys.platform == "win32", reason="a process can't be sent a signal")


@pytest.mark.usefixtures("heeds_hangups")
@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("SIGINT", 1),
        # Whoever sent these sees them obeyed.
        pytest.param("SIGTERM", -15, marks=POSIX),
        pytest.param("SIGHUP", -1, marks=POSIX),
    ],
)
def test_what_ends_the_run_waits_for_what_is_in_flight(start, tmp_path, name, status):
    """The calls in flight are answered and kept, the message says how to resume, nothing is paid twice."""
    with OpenAIServer(answer, latency_s=0.02) as server:
        assert start(server, "whole").wait(100) == 0
        whole = server.count
        server.reset()
        process = start(server)
        wait_until(lambda: server.count >= whole // 2)
        process.send_signal(signal.Signals[name])
        _, errors = process.communicate(timeout=60)
        assert process.returncode == status
        assert f"run_dir={str(tmp_path / 'run')!r}" in errors.splitlines()[-1]
        assert start(server).wait(100) == 0
        assert server.count == whole
    assert (tmp_path / "run.json").read_bytes() == (tmp_path / "whole.json").read_bytes()


@POSIX
def test_second_sigterm_ends_the_process_now(start):
    """Calls that a server leaves hanging are not waited for."""
    with OpenAIServer(answer, latency_s=0.02) as server:
        process = start(server)
        wait_until(lambda: server.answered >= 100)
        server.pause()
        wait_until(lambda: server.count >= server.answered + 4)
        process.send_signal(signal.SIGTERM)
        assert any("stopping after SIGTERM" in line for line in process.stderr)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)
        assert process.returncode == -signal.SIGTERM
        server.resume()


def test_ctrl_c_twice_stops_now(start, tmp_path):
    """Calls that a server leaves hanging are not waited for; what was answered before is kept."""
    with OpenAIServer(answer, latency_s=0.02) as server:
        process = start(server)
        wait_until(lambda: server.answered >= 100)
        server.pause()
        wait_until(lambda: server.count >= server.answered + 4)
        process.send_signal(signal.SIGINT)
        stopping = next(line for line in process.stderr if "press Ctrl-C again" in line)
        assert stopping
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)
        assert process.returncode != 0
        kept = server.answered
        server.resume()
    with mipro.runs.open(str(tmp_path / "run")) as run:
        assert len(list(run.calls())) >= kept - 8
