"""The command `mipro`."""

import io
import json
import runpy
import sys

import pytest
from rich.console import Console
from typer.testing import CliRunner

import mipro
from mipro.cli import _demo, app, main
from mipro.fetch import is_cached
from mipro.testing.lms import ScriptedLM

SMALL = "smollm2-135m-instruct"


@pytest.fixture
def run():
    """Return a function that runs the command and returns what it printed."""

    def run_command(*arguments, code=0):
        result = CliRunner().invoke(app, arguments, catch_exceptions=False)
        assert result.exit_code == code, result.output
        return result.output

    return run_command


def test_help_names_every_command(run):
    """The commands are listed with what they do."""
    text = run("--help")
    assert "pull" in text
    assert "demo" in text


def test_version(run):
    """The version is the package's."""
    assert run("--version").strip() == f"mipro {mipro.__version__}"


def test_module_is_the_command(monkeypatch, capsys):
    """`python -m mipro` is `mipro`."""
    monkeypatch.setattr(sys, "argv", ["mipro", "--version"])
    with pytest.raises(SystemExit, match="0"):
        runpy.run_module("mipro", run_name="__main__")
    assert capsys.readouterr().out.strip() == f"mipro {mipro.__version__}"


def test_error_is_one_message_without_a_traceback(monkeypatch, capsys):
    """An unknown model is one line that names the known ones, and exit code 1."""
    monkeypatch.setattr(sys, "argv", ["mipro", "pull", "gpt-17"])
    with pytest.raises(SystemExit) as caught:
        main()
    shown = capsys.readouterr().err
    assert caught.value.code == 1
    assert shown.startswith("error: ")
    assert SMALL in shown
    assert "Traceback" not in shown


@pytest.mark.parametrize("option", ["--out", "--picture"])
def test_demo_refuses_a_file_that_cannot_be_written_first(monkeypatch, capsys, tmp_path, option):
    """Not after five minutes, with a traceback and the program lost; a folder that is not there is made."""
    (tmp_path / "file").touch()
    for place in (tmp_path, tmp_path / "file" / "below"):
        arguments = ["mipro", "demo", "--out", str(tmp_path / "new" / "best.json"), option, str(place)]
        monkeypatch.setattr(sys, "argv", arguments)
        with pytest.raises(SystemExit, match="1"):
            main()
        shown = capsys.readouterr()
        assert shown.err.startswith(f"error: `{option}` must be a file that can be written")
        assert "BIG-bench" not in shown.out


@pytest.mark.local_lm
@pytest.mark.skipif(not is_cached(SMALL), reason=f"run `mipro pull {SMALL}` first")
@pytest.mark.timeout(900)
def test_demo_on_the_smallest_model(run, monkeypatch, tmp_path):
    """All three stages run on a real model, and the saved program answers as the one it was."""
    monkeypatch.setattr(_demo, "SIZES", {"train": 8, "val": 4, "test": 3})
    monkeypatch.setattr(_demo, "CHECKED", 3)
    monkeypatch.setattr(_demo, "OPTIMIZE_S", 900)  # on a busy machine, all stages too
    out, picture = tmp_path / "best.json", tmp_path / "demo.svg"
    arguments = ("--run-dir", str(tmp_path / "run"), "--out", str(out), "--picture", str(picture))
    text = run("demo", "--model", SMALL, "--search", "random", *arguments)
    assert "test accuracy after" in text
    assert "same answer on 3 of 3" in text
    assert json.loads(out.read_text())
    assert picture.read_text().startswith("<svg")
    with mipro.runs.open(str(tmp_path / "run")) as recorded:
        assert {spent.stage for spent in recorded.spent()} == {"demos", "instructions", "search"}


def test_demo_shows_a_run_that_ended_before_anything_was_measured(tmp_path):
    """As on a machine that is too slow for the time there is; the program is saved after that."""
    rows = [mipro.Example(utterance=f"say {n}", intent="speak").with_inputs("utterance") for n in range(10)]
    optimizer = mipro.MIPROv2(_demo.same_intent, budget=mipro.Budget(lm_calls=1), run_dir=str(tmp_path))
    with mipro.context(lm=ScriptedLM(lambda _: {"intent": "speak"})):
        best = optimizer.compile(mipro.Predict("utterance -> intent"), trainset=rows)
    shown = Console(file=io.StringIO(), width=200)
    shown.print(_demo._table(best, 0.0, 0.0, 300.0))
    assert "not known" in shown.file.getvalue()


def test_demo_tells_a_warning_once(tmp_path, caplog):
    """The log has it already."""
    rows = [mipro.Example(utterance=f"say {n}", intent="speak").with_inputs("utterance") for n in range(10)]
    optimizer = mipro.MIPROv2(_demo.same_intent, budget=mipro.Budget(lm_calls=1), run_dir=str(tmp_path))
    with mipro.context(lm=ScriptedLM(lambda _: {"intent": "speak"})):
        best = optimizer.compile(mipro.Predict("utterance -> intent"), trainset=rows, valset=rows)
    shown = Console(file=io.StringIO(), width=200)
    shown.print(_demo._table(best, 0.0, 0.0, 300.0))
    assert (caplog.text + shown.file.getvalue()).count("inputs are in both") == 1
