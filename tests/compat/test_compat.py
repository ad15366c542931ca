"""The same programs on DSPy and on mipro, under the same answers over HTTP."""

import importlib.util
import json
import pathlib
import subprocess
import sys

import pytest

import mipro

HERE = pathlib.Path(__file__).parent
SPEC = importlib.util.spec_from_file_location("compat_worker", HERE / "_worker.py")
WORKER = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(WORKER)
PROGRAMS = WORKER.load_programs()

pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("dspy") is None, reason="DSPy is not installed"),
    pytest.mark.timeout(300),
]


def filled():
    """Return a program that has learned something."""
    program = PROGRAMS.hops(mipro)
    program.answer.demos = [mipro.Example(question="Q", found=["F"], answer="A", augmented=True)]
    program.answer.signature = program.answer.signature.with_instructions("From here.")
    return program


def with_model():
    """Return a program with a model of its own."""
    program = mipro.Predict("question -> answer")
    program.lm = mipro.LM("openai/any", temperature=0.3, max_tokens=7, api_key="none")
    return program


@pytest.fixture(scope="session")
def dspy_results(tmp_path_factory):
    """Return what DSPy makes of the programs, in a process of its own."""
    folder = tmp_path_factory.mktemp("dspy")
    filled().save(folder / "mipro.json")
    with_model().save(folder / "with_model.json")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(HERE / "_worker.py"), str(folder)],
        capture_output=True, text=True, check=False, timeout=280,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return {**json.loads((folder / "results.json").read_text()), "folder": folder}


@pytest.mark.parametrize("name", PROGRAMS.PROGRAMS)
def test_a_program_does_the_same(name, dspy_results):
    """Results, requests and errors."""
    assert WORKER.run(mipro, name) == dspy_results[name]


def test_files_go_both_ways(dspy_results):
    """What one saves, the other loads."""
    assert dspy_results["files"] == filled().dump_state()
    program = PROGRAMS.hops(mipro)
    program.load(dspy_results["folder"] / "dspy.json")
    assert program.answer.signature.instructions == "From there."
    assert program.answer.demos == [{"question": "Q", "found": ["F"], "answer": "A", "augmented": True}]


def test_a_model_goes_there_with_its_parameters_only(dspy_results):
    """What DSPy does not know of it would be sent to the server."""
    assert dspy_results["parameters"] == {"temperature": 0.3, "max_tokens": 7}


def test_there_are_enough_programs():
    """At least 40, of every kind."""
    assert len(PROGRAMS.PROGRAMS) >= 40
