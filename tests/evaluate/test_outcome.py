"""One program on one example, and what metrics may return."""

from __future__ import annotations

import asyncio
import functools
from contextvars import ContextVar
from dataclasses import dataclass

import numpy as np
import pytest

from mipro import Example, Module, Prediction, ScoreWithFeedback
from mipro.errors import (
    AdapterParseError,
    BudgetExhausted,
    ContextWindowError,
    LMServerError,
    UserError,
)
from mipro.evaluate import Metric, run_example, score_of
from mipro.evaluate._score import check_metric

EXAMPLE = Example(question="q", answer="a").with_inputs("question")


def echo(question):
    """Answer with the question."""
    return Prediction(answer=question)


def raising(error):
    """Make a function that raises `error`."""

    def function(*_args, **_kwargs):
        raise error

    return function


@dataclass
class Judged:
    """A result of another library."""

    score: float
    feedback: str = "why"


def test_a_program_that_changes_its_inputs_does_not_change_the_data():
    """What it appends was in the question of the next trial, and of the one after that."""
    example = Example(context=["a"], question="q").with_inputs("context", "question")

    def program(context, question):
        context.append(question)
        return Prediction(answer=len(context))

    outcomes = [run_example(program, example, lambda row, found: found.answer) for _ in range(2)]
    assert [outcome.score for outcome in outcomes] == [2, 2]
    assert example.context == ["a"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (True, (1.0, "")),
        (0, (0.0, "")),
        (0.25, (0.25, "")),
        (np.float32(0.5), (0.5, "")),
        (np.bool_(True), (1.0, "")),
        (ScoreWithFeedback(0.5, "too long"), (0.5, "too long")),
        (Prediction(score=True), (1.0, "")),
        (Prediction(score=0.5, feedback="short"), (0.5, "short")),
        (Judged(2.0), (2.0, "why")),
    ],
)
def test_score_of_takes_what_metrics_return(value, expected):
    """Numbers, truth values, and scores with feedback all become a float and a text."""
    assert score_of(value) == expected
    assert type(score_of(value)[0]) is float


@pytest.mark.parametrize(
    "value", [None, "0.5", float("nan"), float("inf"), [1], Prediction(answer="x"), Prediction(score=None)]
)
def test_score_of_refuses_what_is_no_score(value):
    """What is no finite number is named."""
    with pytest.raises(UserError, match=f"{type(value).__name__}: "):
        score_of(value)


@pytest.mark.parametrize(("value", "has_hint"), [(None, True), ("good", False)])
def test_only_a_metric_that_returns_nothing_is_told_to_return(value, has_hint):
    """One that returns a text does return on every path."""
    with pytest.raises(UserError) as caught:
        score_of(value)
    assert ("every path of the metric returns" in str(caught.value)) == has_hint


def test_score_with_feedback_is_a_number():
    """It converts to float."""
    assert float(ScoreWithFeedback(0.5, "x")) == 0.5


def test_good_run_has_prediction_score_and_value():
    """A metric's value is kept as it came next to the float."""
    outcome = run_example(echo, EXAMPLE, lambda example, pred: pred.answer == "q")
    assert (outcome.score, outcome.value, outcome.failure, outcome.error) == (1.0, True, "", None)
    assert outcome.prediction.answer == "q"


def test_feedback_is_kept():
    """A metric's feedback is part of the outcome."""
    outcome = run_example(echo, EXAMPLE, lambda *_: ScoreWithFeedback(0.5, "say more"))
    assert (outcome.score, outcome.feedback) == (0.5, "say more")


def test_trace_is_given_only_where_there_is_one():
    """A metric of two arguments works; under a trace it gets that very list."""
    seen = []

    def metric(example, prediction, trace=None):
        seen.append(trace)
        return 1

    trace = []
    run_example(echo, EXAMPLE, metric)
    run_example(echo, EXAMPLE, metric, trace=trace)
    assert seen[0] is None
    assert seen[1] is trace


@pytest.mark.parametrize("metric", [lambda example, prediction: 0.5, lambda example, prediction, **_: 0.5])
def test_metric_of_two_arguments_is_called_with_two(metric):
    """It was a TypeError for every example that demos could have been made of."""
    assert run_example(echo, EXAMPLE, metric, trace=[]).score == 0.5


def test_metric_is_what_its_decorator_makes_of_it():
    """A decorator that gives an argument itself takes the usual ones."""

    def with_unit(metric):
        return functools.wraps(metric)(lambda *arguments: metric(*arguments, unit="m"))

    @with_unit
    def metric(example, prediction, trace=None, *, unit):
        return 0.5 if unit == "m" and trace == [1] else 0.0

    check_metric(metric)
    assert run_example(echo, EXAMPLE, metric, trace=[1]).score == 0.5


def test_error_of_a_metric_is_not_taken_for_its_form():
    """A TypeError inside the metric is the metric's own."""
    outcome = run_example(echo, EXAMPLE, lambda example, prediction, trace=None: len(trace) + "", trace=[])
    assert (outcome.failure, type(outcome.error)) == ("metric", TypeError)


def test_unreachable_model_is_no_score():
    """A failure of infrastructure has no score, in the program as in an LM judge."""
    error = LMServerError("down", status=503)
    in_program = run_example(raising(error), EXAMPLE, lambda *_: 1, failure_score=0.3)
    in_metric = run_example(echo, EXAMPLE, raising(error), failure_score=0.3)
    assert (in_program.score, in_program.failure, in_program.error) == (None, "lm", error)
    assert (in_metric.score, in_metric.failure, in_metric.prediction.answer) == (None, "lm", "q")


@pytest.mark.parametrize("place", ["program", "metric"])
def test_refused_request_scores_as_failure(place):
    """A prompt that is too long is refused at every try: a score, and no error of the user's code."""
    error = ContextWindowError("too long", status=400)
    parts = {"program": echo, "metric": lambda *_: 1} | {place: raising(error)}
    outcome = run_example(parts["program"], EXAMPLE, parts["metric"], failure_score=0.3)
    assert (outcome.score, outcome.failure, outcome.error) == (0.3, "request", error)
    assert not outcome.raised


def test_unreadable_answer_scores_as_failure():
    """An answer that can't be parsed is the candidate's own fault."""
    error = AdapterParseError("ChatAdapter", None, "gibberish")
    outcome = run_example(raising(error), EXAMPLE, lambda *_: 1, failure_score=0.3)
    assert (outcome.score, outcome.failure, outcome.error) == (0.3, "parse", error)


def test_unreadable_answer_of_a_judge_is_a_failed_metric_that_did_not_raise():
    """It is the metric's failure, but the user's code is not to blame."""
    error = AdapterParseError("ChatAdapter", None, "gibberish")
    outcome = run_example(echo, EXAMPLE, raising(error), failure_score=0.3)
    assert (outcome.score, outcome.failure, outcome.prediction.answer) == (0.3, "metric", "q")
    assert not outcome.raised
    assert run_example(echo, EXAMPLE, raising(ZeroDivisionError())).raised


@pytest.mark.parametrize("place", ["program", "metric"])
def test_raising_code_of_the_user_is_an_outcome(place):
    """An exception of program or metric scores as failure, with its traceback."""
    broken = raising(ZeroDivisionError("oh"))
    parts = {"program": echo, "metric": lambda *_: 1} | {place: broken}
    outcome = run_example(parts["program"], EXAMPLE, parts["metric"], failure_score=0.3)
    assert (outcome.score, outcome.failure) == (0.3, place)
    assert "ZeroDivisionError: oh" in outcome.traceback
    assert isinstance(outcome.error, ZeroDivisionError)


def test_metric_that_returns_nothing_failed():
    """A metric without a return statement is a failure of the metric."""
    outcome = run_example(echo, EXAMPLE, lambda *_: None)
    assert outcome.failure == "metric"
    assert "NoneType" in str(outcome.error)


@pytest.mark.parametrize("error", [BudgetExhausted("spent", resource="tokens"), KeyboardInterrupt()])
@pytest.mark.parametrize("place", ["program", "metric"])
def test_end_of_the_run_passes_through(error, place):
    """A stopped run and Ctrl-C are raised, not scored."""
    parts = {"program": echo, "metric": lambda *_: 1} | {place: raising(error)}
    with pytest.raises(type(error)):
        run_example(parts["program"], EXAMPLE, parts["metric"])


def test_example_without_inputs_is_refused():
    """The caller must say which fields are inputs."""
    with pytest.raises(UserError, match="with_inputs"):
        run_example(echo, Example(question="q"), lambda *_: 1)


class AsyncOnly(Module):
    """A program that has `aforward` only."""

    async def aforward(self, question):
        """Answer after letting others run."""
        await asyncio.sleep(0)
        return Prediction(answer=question)


class Both(AsyncOnly):
    """A program that can do both."""

    def forward(self, question):
        """Answer at once."""
        return Prediction(answer="sync")


async def async_function(question):
    """Answer as a plain asynchronous function."""
    await asyncio.sleep(0)
    return Prediction(answer=question)


async def async_metric(example, prediction):
    """Score asynchronously."""
    await asyncio.sleep(0)
    return prediction.answer == "q"


@pytest.mark.parametrize(("program", "answer"), [(AsyncOnly(), "q"), (async_function, "q"), (Both(), "sync")])
def test_asynchronous_programs_are_awaited(program, answer):
    """A program that is only asynchronous is awaited; one that is both is called."""
    assert run_example(program, EXAMPLE, lambda *_: 1).prediction.answer == answer


def test_asynchronous_metric_is_awaited():
    """A metric may be asynchronous."""
    assert run_example(echo, EXAMPLE, async_metric).score == 1.0


def test_a_judge_that_is_asynchronous_only_is_awaited():
    """A module without `forward` may be a metric as it may be a program; it scored 0 on every example."""

    class Judge(Module):
        async def aforward(self, example, prediction, trace=None):
            return 0.5 if trace is None else 0.25

    assert run_example(echo, EXAMPLE, Judge()).score == 0.5
    assert run_example(echo, EXAMPLE, Judge(), trace=[]).score == 0.25


def test_asynchronous_program_runs_inside_a_running_loop():
    """In a notebook's loop it works too, under the caller's context variables."""
    variable = ContextVar("variable")

    async def program(question):
        await asyncio.sleep(0)
        return Prediction(answer=variable.get())

    async def cell():
        variable.set("mine")
        return run_example(program, EXAMPLE, lambda *_: 1)

    assert asyncio.run(cell()).prediction.answer == "mine"


def test_exception_of_an_asynchronous_program_is_an_outcome():
    """What it raises inside a running loop is caught as elsewhere."""

    async def program(question):
        raise ZeroDivisionError

    async def cell():
        return run_example(program, EXAMPLE, lambda *_: 1)

    assert asyncio.run(cell()).failure == "program"


def test_functions_are_metrics():
    """The protocol is satisfied by a plain function."""
    assert isinstance(async_metric, Metric)
