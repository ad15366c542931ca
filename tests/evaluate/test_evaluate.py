"""`Evaluate`: scores, failures counted apart, tables and files."""

from __future__ import annotations

import builtins
import contextlib
import csv
import importlib.machinery
import io
import json
import logging
import math
import sys
import types

import numpy as np
import pydantic
import pytest

from mipro import Evaluate, Example, Module, Predict, Prediction, ScoreWithFeedback, context
from mipro.errors import (
    AdapterParseError,
    BudgetExhausted,
    ContextWindowError,
    LMAuthError,
    LMServerError,
    NoModelError,
    ProgramError,
    UserError,
)
from mipro.evaluate import EvaluationResult, answer_exact_match
from mipro.evaluate import evaluate as dspy_place
from mipro.testing.lms import DummyLM

ANSWERS = {"What is 1+1?": {"answer": "2"}, "What is 2+2?": {"answer": "4"}}
DEVSET = [
    Example(question="What is 1+1?", answer="2").with_inputs("question"),
    Example(question="What is 2+2?", answer="5").with_inputs("question"),
]


def numbers(count):
    """Make examples 0, 1, ... with input x."""
    return [Example(x=i, y=i).with_inputs("x") for i in range(count)]


def same(x):
    """Answer rightly."""
    return Prediction(y=x)


def right(example, prediction):
    """Compare y."""
    return example.y == prediction.y


def failing(errors):
    """Make a program that raises `errors[x]` where there is one."""

    def program(x):
        if x in errors:
            raise errors[x]
        return same(x)

    return program


@pytest.mark.parametrize("num_threads", [None, 1, 2])
def test_program_is_scored_in_per_cent(num_threads):
    """The score is the mean in per cent; results are in order with the metric's own value."""
    with context(lm=DummyLM(ANSWERS)):
        result = Evaluate(devset=DEVSET, metric=answer_exact_match, num_threads=num_threads)(
            Predict("question -> answer")
        )
    assert result.score == 50.0
    assert [(e.answer, p.answer, s) for e, p, s in result.results] == [("2", "2", True), ("5", "4", False)]
    assert result.failures == {}
    assert repr(result) == "EvaluationResult(score=50.0, results=<list of 2 results>)"


def test_score_is_rounded_to_two_places():
    """One in three is 33.33."""
    assert Evaluate(devset=numbers(3), metric=lambda e, p: e.x == 0)(same).score == 33.33


def test_call_overrides_construction():
    """Metric, devset and the others may be given at the call."""
    evaluate = Evaluate(devset=numbers(3), metric=right)
    result = evaluate(same, metric=lambda e, p: 0, devset=numbers(2))
    assert (result.score, len(result.results)) == (0.0, 2)
    assert len(evaluate(same).results) == 3


def test_feedback_stays_in_the_results():
    """What the metric returned is in the result as it came."""
    value = ScoreWithFeedback(0.5, "say more")
    result = Evaluate(devset=numbers(2), metric=lambda e, p: value)(same)
    assert result.score == 50.0
    assert result.results[0][2] is value


def test_failures_are_counted_apart():
    """Parse failures and exceptions score as failure; an unreachable model has no score at all."""
    errors = {
        0: AdapterParseError("ChatAdapter", None, "gibberish"),
        1: LMServerError("down", status=503),
        2: ZeroDivisionError("oh"),
    }
    result = Evaluate(devset=numbers(5), metric=right, failure_score=0.5)(failing(errors))
    assert result.failures == {"parse": 1, "lm": 1, "program": 1}
    assert [score for *_, score in result.results] == [0.5, None, 0.5, True, True]
    assert result.score == 75.0
    assert result.results[0][1] == Prediction()


def test_failures_are_logged_with_traceback_on_request(caplog):
    """The log names the failure; the traceback is there only when asked for."""
    program = failing({0: ZeroDivisionError("oh")})
    with caplog.at_level(logging.INFO, "mipro.evaluate"):
        Evaluate(devset=numbers(2), metric=right)(program)
        assert "program failed on Example({'x': 0" in caplog.text
        assert "Traceback" not in caplog.text
        assert "Average Metric: 1 / 2 (50.0%); failures: 1 program" in caplog.text
        Evaluate(devset=numbers(2), metric=right, provide_traceback=True)(program)
        assert "Traceback" in caplog.text


@pytest.mark.parametrize("num_threads", [1, 4])
def test_too_many_exceptions_stop_the_evaluation(num_threads):
    """`max_errors` exceptions raise ProgramError with the last as its cause."""
    errors = {i: ZeroDivisionError("oh") for i in range(100)}
    with pytest.raises(ProgramError, match=r"fewer than 3 examples .*ZeroDivisionError: oh") as caught:
        Evaluate(devset=numbers(100), metric=right, max_errors=3, num_threads=num_threads)(failing(errors))
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert caught.value.count >= 3


def test_setting_gives_the_number_of_errors():
    """Without the argument `settings.max_errors` counts."""
    program = failing({0: ZeroDivisionError("oh"), 1: ZeroDivisionError("oh")})
    with context(max_errors=2), pytest.raises(ProgramError):
        Evaluate(devset=numbers(9), metric=right)(program)
    with context(max_errors=3):
        assert Evaluate(devset=numbers(9), metric=right)(program).failures == {"program": 2}


def test_parse_failures_never_stop_the_evaluation():
    """A program whose every answer is unreadable has a score."""
    errors = {i: AdapterParseError("ChatAdapter", None, "gibberish") for i in range(30)}
    result = Evaluate(devset=numbers(30), metric=right, max_errors=2)(failing(errors))
    assert (result.score, result.failures) == (0.0, {"parse": 30})


def test_refused_requests_count_in_the_mean():
    """A program whose prompts are too long for the model scores as in a run, and is not stopped."""
    errors = {i: ContextWindowError("too long", status=400) for i in range(0, 30, 2)}
    result = Evaluate(devset=numbers(30), metric=right, max_errors=2)(failing(errors))
    assert (result.score, result.failures) == (50.0, {"request": 15})


def test_judge_that_is_unreadable_never_stops_the_evaluation():
    """A judge in the metric is a model: what can't be read of it is a failure, not an error of the code."""

    def judged(example, prediction):
        if example.x % 5 == 0:
            raise AdapterParseError("ChatAdapter", None, "gibberish")
        return True

    result = Evaluate(devset=numbers(30), metric=judged, max_errors=2)(same)
    assert (result.score, result.failures) == (80.0, {"metric": 6})


@pytest.mark.parametrize(
    ("error", "max_errors"), [(LMServerError("down"), 2), (LMAuthError("bad key", status=401), 100)]
)
def test_dead_model_stops_the_evaluation(error, max_errors):
    """Too many failures of the model, or one that never passes, raise that error."""
    with pytest.raises(type(error)):
        Evaluate(devset=numbers(50), metric=right, max_errors=max_errors)(
            failing(dict.fromkeys(range(50), error))
        )


def test_nothing_measured_is_an_error():
    """Where the model was never reached there is no score to report."""
    error = LMServerError("down")
    with pytest.raises(LMServerError):
        Evaluate(devset=numbers(2), metric=right)(failing({0: error, 1: error}))


def test_stopped_run_passes_through():
    """The end of a run is raised, not counted."""
    with pytest.raises(BudgetExhausted):
        Evaluate(devset=numbers(5), metric=right)(failing({0: BudgetExhausted("spent", resource="tokens")}))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"devset": []}, "at least one example"),
        ({"devset": numbers(1), "metric": None}, "`metric` must be a function"),
        ({"devset": [Example(x=1)]}, "with_inputs"),
        ({"devset": numbers(2), "num_threads": 0}, "at least 1"),
        ({"devset": numbers(2), "num_threads": "2"}, "`num_threads` must be a whole number"),
        ({"failure_score": "0"}, "`failure_score` must be a finite number"),
        # Was told when all was paid, and with it the results were lost.
        ({"failure_score": math.nan}, "`failure_score` must be a finite number"),
        ({"display_table": "all"}, "`display_table` must be True, False or a number of rows"),
        ({"display_table": -1}, "`display_table` must be True, False or a number of rows"),
        ({"max_errors": "5"}, "`max_errors` must be a whole number"),
        ({"max_errors": -1}, "`max_errors` must be a whole number"),
        ({"devset": iter(numbers(2))}, "`devset` must be a list of examples"),
        (
            {"devset": [*numbers(1), {"x": 1}]},
            r"must be a `mipro.Example`, but example 1 is none: \{'x': 1\}",
        ),
        ({"devset": {"q": ["1", "2"]}}, "example 0 is none: 'q'; .*of a table .*to_dict"),
        ({"metric": lambda example: 1}, r"trace=None\), but <lambda> takes \(example\)"),
        ({"metric": lambda example, prediction, trace: 1}, "can't be called with two arguments"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments, message):
    """Arguments are checked before the program runs."""
    with pytest.raises(UserError, match=message):
        Evaluate(**{"metric": right, "devset": numbers(1), **arguments})(
            failing({0: AssertionError("it ran")})
        )


def test_numbers_may_be_those_of_numpy(capsys):
    """As those that a notebook reads from a table."""
    two = np.int64(2)
    Evaluate(devset=numbers(3), metric=right, num_threads=two, max_errors=two, display_table=two)(same)
    assert "1 more rows" in capsys.readouterr().out


def test_a_set_that_has_no_truth_is_a_set():
    """Arrays and tables are neither true nor false, which was raised in place of any word on the examples."""

    class Rows(list):
        def __bool__(self):
            raise ValueError("ambiguous")

    assert Evaluate(devset=Rows(numbers(2)), metric=right)(same).score == 100


@pytest.mark.parametrize("program", [None, "question -> answer", Predict])
def test_what_is_no_program_is_refused(program):
    """A class that still has to be made one is named; it was called for each example."""
    with pytest.raises(UserError, match="`program` must be a program, such as"):
        Evaluate(devset=numbers(1), metric=right)(program)


@pytest.mark.parametrize("lm", [None, "openai/gpt-4o-mini"])
def test_no_model_is_no_score(lm):
    """What no example can be answered without is raised at once; a few examples had scored 0."""
    with context(lm=lm), pytest.raises(NoModelError):
        Evaluate(devset=numbers(2), metric=right)(Predict("x -> y"))


def test_a_metric_that_is_still_a_class_is_refused():
    """It can be called with two arguments, but what comes back is no score."""

    class Judge:
        def __call__(self, example, prediction):
            return 1.0

    with pytest.raises(UserError, match=r"got the class Judge, .* for example Judge\(\)"):
        Evaluate(devset=numbers(1), metric=Judge)(failing({0: AssertionError("it ran")}))


def test_a_misspelt_argument_is_refused(caplog):
    """It would be without effect; one that is no misspelling is told."""
    with pytest.raises(UserError, match="no argument `num_thread`; did you mean `num_threads`"):
        Evaluate(devset=numbers(1), num_thread=2)
    Evaluate(devset=numbers(1), return_all_scores=True)
    assert "no argument `return_all_scores`; it is ignored" in caplog.text


def test_return_outputs_is_refused():
    """The argument that DSPy dropped is named."""
    with pytest.raises(UserError, match="return_outputs"):
        Evaluate(devset=numbers(1), return_outputs=True)


def test_asynchronous_program_is_evaluated():
    """A module that has only `aforward` runs in the same threads."""

    class Echo(Module):
        async def aforward(self, x):
            return same(x)

    assert Evaluate(devset=numbers(10), metric=right, num_threads=4)(Echo()).score == 100.0


def test_progress_bar_goes_to_stderr(capsys):
    """The bar shows mean and failures, and leaves stdout alone."""
    program = failing({0: ZeroDivisionError("oh")})
    Evaluate(devset=numbers(4), metric=right, display_progress=True)(program)
    out, err = capsys.readouterr()
    assert out == ""
    assert "Average Metric: 75.0%; failures: 1 program" in err
    assert "4/4" in err


@pytest.mark.parametrize(("display_table", "rows"), [(True, 4), (2, 2), (False, 0), (0, 0), (9, 4)])
def test_table_shows_as_many_rows_as_asked_for(capsys, display_table, rows):
    """True shows all rows; a number so many, and says how many are left."""
    Evaluate(devset=numbers(4), metric=right, display_table=display_table)(same)
    out = capsys.readouterr().out
    assert out.count("✔️ [True]") == rows
    assert ("more rows not displayed" in out) == (0 < rows < 4)


def test_table_marks_no_example_that_failed(capsys):
    """A score of nothing has no tick beside it."""
    Evaluate(devset=numbers(1), metric=lambda e, p: 0.0, display_table=True)(same)
    Evaluate(devset=numbers(1), metric=lambda e, p: False, display_table=True)(same)
    out = capsys.readouterr().out
    assert "[0.000]" in out
    assert "[False]" in out
    assert "✔" not in out


def test_table_shows_markup_as_it_is(capsys):
    """Square brackets in data are no commands to the terminal; long cells are cut."""
    devset = [Example(x="[red]x[/red] " + "word " * 40).with_inputs("x")]
    Evaluate(devset=devset, metric=lambda e, p: 0.5, display_table=True)(lambda x: "plain")
    out = capsys.readouterr().out
    assert "[red]x[/red]" in out
    assert "..." in out
    assert "✔️ [0.500]" in out


def test_table_cuts_a_cell_that_is_one_long_word(capsys):
    """The bound was one of words: six answers of 5 MB without blanks took minutes to show."""
    devset = [Example(x="x" * 2_000_000).with_inputs("x")]
    Evaluate(devset=devset, metric=lambda e, p: 0.5, display_table=True)(lambda x: "plain")
    assert capsys.readouterr().out.count("x") < 2_000


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252", "ascii"])
def test_table_shows_any_answer_on_any_output(monkeypatch, encoding):
    """A letter that the output has not ended a paid evaluation, a control character went to the terminal."""
    output = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", output)
    devset = [Example({"[/x]": 1}).with_inputs("[/x]")]
    Evaluate(devset=devset, metric=lambda e, p: 1, display_table=True)(lambda **_: "\ud83d \x1b[31mé")
    output.seek(0)
    text = output.read()
    assert "\\ud83d \\x1b[31m" in text
    assert "[/x]" in text


def test_files_are_written_before_the_table(monkeypatch, tmp_path):
    """Where nobody reads the table any more, as behind `| head`, the files are there."""
    output = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    output.close()
    monkeypatch.setattr(sys, "stdout", output)
    file = tmp_path / "rows.json"
    with pytest.raises(ValueError, match="closed"):
        Evaluate(devset=numbers(1), metric=right, display_table=True, save_as_json=file)(same)
    assert json.loads(file.read_text(encoding="utf-8"))[0]["right"] is True


def test_bar_in_a_notebook_without_widgets(monkeypatch, capsys):
    """Where nothing is installed to draw a bar with, there was a warning in its place."""
    kernel = type("ZMQInteractiveShell", (), {})
    monkeypatch.setattr(builtins, "get_ipython", kernel, raising=False)
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    Evaluate(devset=numbers(2), metric=right, display_progress=True)(same)
    assert "Average Metric: 100.0%" in capsys.readouterr().err


def test_bar_in_a_notebook_shows_the_end(monkeypatch):
    """Rich draws a bar in a notebook ten times a second and not when it ends: one stayed at 24/30."""
    shown = []
    output = type(
        "Output",
        (contextlib.nullcontext,),
        {"clear_output": lambda *_, **__: None, "close": lambda _: None},
    )
    widgets = types.ModuleType("ipywidgets")
    widgets.Output = output
    widgets.__spec__ = importlib.machinery.ModuleSpec("ipywidgets", None)
    display = types.ModuleType("IPython.display")
    display.display = shown.append
    monkeypatch.setattr(builtins, "get_ipython", type("ZMQInteractiveShell", (), {}), raising=False)
    monkeypatch.setitem(sys.modules, "ipywidgets", widgets)
    monkeypatch.setitem(sys.modules, "IPython", types.ModuleType("IPython"))
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    Evaluate(devset=numbers(2), metric=right, display_progress=True)(same)
    drawn = [str(one._repr_mimebundle_([], [])) for one in shown if hasattr(one, "_repr_mimebundle_")]
    assert "2/2" in [text for text in drawn if "Average Metric" in text][-1]


def test_notebook_gets_html(monkeypatch):
    """In a notebook's kernel the table is HTML, with all content escaped."""
    shown = []
    kernel = types.ModuleType("IPython")
    kernel.get_ipython = lambda: types.SimpleNamespace(config={"IPKernelApp": {}})
    display = types.ModuleType("IPython.display")
    display.HTML, display.display = str, shown.append
    monkeypatch.setitem(sys.modules, "IPython", kernel)
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    devset = [Example(x="<script>").with_inputs("x")] * 2
    Evaluate(devset=devset, metric=lambda e, p: 1, display_table=1)(lambda x: Prediction(y="a & b"))
    [page] = shown
    assert "&lt;script&gt;" in page
    assert "a &amp; b" in page
    assert "1 more rows not displayed" in page
    assert "<script>" not in page


class Turn(pydantic.BaseModel):
    """A typed value of a program."""

    text: str


def test_files_hold_all_results(tmp_path):
    """CSV and JSON have every row, all columns, and plain values."""
    devset = [Example(x=0, y="é", tags={"b", "a"}).with_inputs("x"), Example(x=1, y=1).with_inputs("x")]

    def program(x):
        if x == 0:
            return Prediction(y="é", turn=Turn(text="t"))
        raise ZeroDivisionError

    Evaluate(
        devset=devset,
        metric=lambda e, p: ScoreWithFeedback(0.5, "why"),
        save_as_csv=str(tmp_path / "r.csv"),
        save_as_json=str(tmp_path / "r.json"),
    )(program)
    first, second = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))
    assert first == {
        "x": 0,
        "example_y": "é",
        "pred_y": "é",
        "tags": ["a", "b"],
        "turn": {"text": "t"},
        "feedback": "why",
        "<lambda>": 0.5,
    }
    assert second == {"x": 1, "y": 1, "<lambda>": 0.0}
    with (tmp_path / "r.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["<lambda>"] for row in rows] == ["0.5", "0.0"]
    assert rows[0]["turn"] == "{'text': 't'}"
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["r.csv", "r.json"]


@pytest.mark.parametrize("argument", ["save_as_csv", "save_as_json"])
@pytest.mark.parametrize("place", ["gone/r.txt", "folder"])
def test_file_that_cannot_be_written_is_refused_before_any_call(tmp_path, argument, place):
    """What is paid for must have a place to go to."""
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match=f"`{argument}` must be a file that can be written.*folder"):
        Evaluate(devset=numbers(2), metric=right, **{argument: tmp_path / place})(
            failing({0: AssertionError("it ran")})
        )
    assert not (tmp_path / "gone").exists()


def test_folder_that_cannot_be_written_is_refused(tmp_path, monkeypatch):
    """A folder of somebody else's is found out before the work, too."""
    monkeypatch.setattr("os.access", lambda *_: False)
    with pytest.raises(UserError, match="can't be written; choose another one"):
        Evaluate(devset=numbers(2), metric=right, save_as_csv=tmp_path / "r.csv")(same)


class Stubborn:
    """A value that nothing can be had of."""

    def __repr__(self):
        raise ZeroDivisionError

    def toDict(self):  # noqa: N802 - the name that records have
        """Give nothing."""
        raise ZeroDivisionError


def test_files_hold_whatever_a_program_returns(tmp_path, capsys, monkeypatch):
    """What JSON does not hold is written as text: the work is paid."""
    monkeypatch.setenv("COLUMNS", "200")  # no cell of the table is broken into lines
    itself = [1]
    itself.append(itself)
    values = {
        "votes": {("a", "b"): 1, 1: "one", "1": "text", None: 0, "blue": 2},
        "stubborn": Stubborn(),
        "turns": [Turn(text="t"), (Stubborn(), float("nan"))],
        "kind": Turn,
        "itself": itself,
    }
    Evaluate(
        devset=numbers(1),
        metric=lambda e, p: 1.0,
        display_table=True,
        save_as_csv=tmp_path / "r.csv",
        save_as_json=tmp_path / "r.json",
    )(lambda x: Prediction(values))
    assert "<Stubborn>" in capsys.readouterr().out
    [row] = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))
    assert row == {
        "x": 0,
        "y": 0,
        "votes": {"('a', 'b')": 1, "1": "one", "'1'": "text", "null": 0, "blue": 2},
        "stubborn": "<Stubborn>",
        "turns": [{"text": "t"}, ["<Stubborn>", "nan"]],
        "kind": str(Turn),
        "itself": [1, "[1, [...]]"],
        "<lambda>": 1.0,
    }
    with (tmp_path / "r.csv").open(encoding="utf-8", newline="") as file:
        [row] = csv.DictReader(file)
    assert row["votes"] == str(values["votes"])
    assert row["stubborn"] == "<Stubborn>"


def test_half_a_character_leaves_the_files_readable(tmp_path):
    """One answer that was cut in an emoji made both files no UTF-8, with all the other answers."""
    files = {"save_as_csv": tmp_path / "r.csv", "save_as_json": tmp_path / "r.json"}
    Evaluate(devset=numbers(1), metric=lambda e, p: 1.0, **files)(lambda x: Prediction(answer="é \ud83d"))
    assert json.loads(files["save_as_json"].read_text("utf-8"))[0]["answer"] == "é \ud83d"
    assert "é \\ud83d" in files["save_as_csv"].read_text("utf-8")


def test_dict_of_any_keys_is_columns(tmp_path, capsys):
    """A program may return a dict; its keys become names, and what lies too deep is text."""
    deep = []
    for _ in range(300):
        deep = [deep]
    evaluate = Evaluate(
        devset=numbers(1), metric=lambda e, p: 1, display_table=True, save_as_json=tmp_path / "r.json"
    )
    evaluate(lambda x: {("a", 1): 2, 3: deep})
    assert "('a', 1)" in capsys.readouterr().out
    [row] = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))
    assert row["('a', 1)"] == 2
    assert "[[[" in str(row["3"])


def test_callbacks_are_told():
    """Start and end of an evaluation reach the callbacks, with the result or the exception."""

    class Callback:
        def __init__(self):
            self.events = []

        def on_evaluate_start(self, call_id, instance, inputs):
            self.events.append((call_id, inputs["program"]))

        def on_evaluate_end(self, call_id, outputs, exception=None):
            self.events.append((call_id, outputs, exception))

    callback = Callback()
    with context(callbacks=[callback]):
        result = Evaluate(devset=numbers(2), metric=right)(same)
        with pytest.raises(ProgramError) as caught:
            Evaluate(devset=numbers(2), metric=right, max_errors=1)(failing({0: ZeroDivisionError()}))
    (start_id, program), (end_id, outputs, exception), _, (_, _, error) = callback.events
    assert start_id == end_id
    assert program is same
    assert outputs is result
    assert exception is None
    assert error is caught.value


def test_names_are_where_dspy_users_look():
    """`evaluate.evaluate` has the classes."""
    assert dspy_place.Evaluate is Evaluate
    assert dspy_place.EvaluationResult is EvaluationResult
