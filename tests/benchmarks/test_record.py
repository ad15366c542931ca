"""Recorded tables: their files, and how a recording goes on after a kill."""

import json

import numpy as np
import pytest

import _racers
import _tables
import _tasks
import mipro
import record
from mipro import Example
from mipro.errors import UserError
from mipro.testing.lms import ScriptedLM

EXAMPLES = 6
ARMS = (2, 3)


@pytest.fixture
def plan():
    """A plan for a tiny task: is the number even?"""
    task = _tasks.Task("parity", "number -> parity", "parity", 10, ("Even or odd?",))
    data = [
        Example(number=str(n), parity="odd" if n % 2 else "even").with_inputs("number")
        for n in range(_tasks.TRAIN + EXAMPLES)
    ]
    return _tasks.plan(task, data=data)


def knows_when_told(messages, **_):
    """Answer "even", and rightly where the instruction says what to look for."""
    number = int(messages[-2]["content"].split()[-1])
    told = "Even or odd?" in messages[0]["content"]
    return 'odd"}' if told and number % 2 else 'Even."}'


def recorded(plan, lm, path):
    """Record into the journal at `path` and return the arrays."""
    journal = record.Journal(path, plan, "scripted")
    record.record(plan, lm, journal, ARMS, EXAMPLES)
    return record.arrays(plan, journal.rows(), ARMS, EXAMPLES)


def test_a_cell_is_one_where_the_answer_is_the_label(plan, tmp_path):
    """Scores compare the answer of a candidate with the label of the example, case and points aside."""
    data = recorded(plan, ScriptedLM(knows_when_told), tmp_path / "journal.jsonl")
    assert data["scores"].shape == (*ARMS, EXAMPLES)
    assert data["scores"][1].all()
    assert (data["scores"][0] == (data["labels"] == 0)).all()
    assert (data["answers"][0] == 0).all()


def test_an_answer_may_end_once_the_label_is_clear():
    """The beginning of one label stands for it; what may be several labels, or none, is left as it is."""
    adapter = record.LabelAdapter(
        _tasks.Task("t", "a -> b", "b", 1, (), ("plausible", "implausible", "pluvial"))
    )
    signature = mipro.Signature("a -> b")
    read = [adapter.parse(signature, text)["b"] for text in ("pla", "im", "pl", "", 'implausible"}', "no")]
    assert read == ["plausible", "implausible", "pl", "", "implausible", "no"]


def test_the_answer_is_begun(plan):
    """The model goes on where the label begins."""
    messages = record.LabelAdapter(plan.task).format(
        mipro.Signature(plan.task.signature), [], {"number": "3"}
    )
    assert messages[-1] == {"role": "assistant", "content": '{"parity": "'}


def test_what_is_begun_is_asked_without_a_schema(plan):
    """The rest of an object fulfils no schema of one: a model held to it begins the object again."""
    asked = []

    class SchemaLM(ScriptedLM):
        supports_response_schema = True

    def answer(messages, **params):
        asked.append(params)
        return 'even"}'

    record.measure(plan, SchemaLM(answer), 0, 0, 0, 1)
    assert len(asked) == 1
    assert "response_format" not in asked[0]


def test_demos_come_from_examples_that_are_not_measured(plan):
    """No measured example can be a demo, and the original has none."""
    assert not {e.number for e in plan.train} & {e.number for e in plan.examples}
    assert plan.demo_sets[0] == ()
    assert all(index < len(plan.train) for demos in plan.demo_sets for index in demos)


@pytest.mark.parametrize("torn", ["", '{"instruction": 1, "dem'])
def test_a_killed_recording_goes_on(plan, tmp_path, torn, monkeypatch):
    """Only what has no whole line is asked again, and the table is that of one go."""
    monkeypatch.setattr(record, "BLOCK", 4)
    whole = recorded(plan, ScriptedLM(knows_when_told), tmp_path / "whole.jsonl")
    lines = (tmp_path / "whole.jsonl").read_text().splitlines(keepends=True)
    killed = tmp_path / "killed.jsonl"
    killed.write_text("".join(lines[:4]) + torn)  # one candidate, and the first block of the next
    lm = ScriptedLM(knows_when_told)
    resumed = recorded(plan, lm, killed)
    assert len(lm.calls) == ARMS[0] * ARMS[1] * EXAMPLES - EXAMPLES - 4
    assert all((resumed[name] == whole[name]).all() for name in whole)


def test_more_examples_are_added_to_a_recording(plan, tmp_path):
    """Asking for more examples measures the new ones only."""
    path = tmp_path / "journal.jsonl"
    journal = record.Journal(path, plan, "scripted")
    record.record(plan, ScriptedLM(knows_when_told), journal, ARMS, EXAMPLES - 2)
    lm = ScriptedLM(knows_when_told)
    data = recorded(plan, lm, path)
    assert len(lm.calls) == ARMS[0] * ARMS[1] * 2
    assert (data["scores"] != _tables.MISSING).all()


def test_a_recording_of_something_else_is_refused(plan, tmp_path):
    """A journal of other instructions is not mixed with the new ones."""
    path = tmp_path / "journal.jsonl"
    recorded(plan, ScriptedLM(knows_when_told), path)
    head, rest = path.read_text().split("\n", 1)
    path.write_text(head.replace("Even or odd?", "Odd or even?") + "\n" + rest)
    with pytest.raises(SystemExit, match="must hold a recording of this task"):
        record.Journal(path, plan, "scripted").rows()


def test_small_squares_are_recorded_first():
    """A recording that is stopped early still has a whole table, only with fewer choices."""
    order = list(record.candidates(3, 4))
    assert set(order[:4]) == {(i, d) for i in range(2) for d in range(2)}
    assert set(order[:9]) == {(i, d) for i in range(3) for d in range(3)}
    assert len(order) == 12


def test_missing_cells_are_left_out_of_the_truth(plan, tmp_path):
    """A written table is read back, and a candidate that was not measured counts nowhere."""
    data = recorded(plan, ScriptedLM(knows_when_told), tmp_path / "journal.jsonl")
    data["scores"][1, 2, 0] = _tables.MISSING
    path = tmp_path / "parity-scripted.npz"
    record.write(path, data, record.describe(plan, "scripted", ARMS))
    table = _tables.Recorded(path, seed=0)
    assert table.space.sizes == ARMS
    assert table.num_examples == EXAMPLES // 2
    assert {table.truth((1, d)) for d in range(3)} == {1.0}
    assert "parity" in record.summary(path)
    assert _racers.whole_table(table)[0][0] == 1


@pytest.mark.parametrize("name", _tables.recorded_names())
def test_recorded_tables_are_whole(name):
    """Each table on disk has the promised shape and no missing cells, and is small."""
    path = _tables.TABLES / f"{name}.npz"
    assert path.stat().st_size < 200_000
    with np.load(path, allow_pickle=False) as data:
        scores, labels = data["scores"], data["labels"]
        meta = json.loads(str(data["meta"]))
    instructions, demos, examples = scores.shape
    assert instructions >= 6
    assert demos >= 6
    assert examples >= 100
    assert set(np.unique(scores)) <= {0, 1}
    assert labels.shape == (examples,)
    assert len(meta["instructions"]) == instructions
    assert len(meta["demo_sets"]) == demos
    assert meta["demo_sets"][0] == []
    assert len(meta["model_sha256"]) == 64
    table = _tables.Recorded(path, seed=1)
    assert table.best >= table.original
    assert table.num_examples == examples // 2


@pytest.mark.parametrize(
    ("arguments", "error"),
    [(["--task", "intent_recognition", "--model", "bar"], UserError), ([], SystemExit)],
)
def test_what_can_not_be_recorded_is_refused(arguments, error, monkeypatch, tmp_path, plan):
    """A model that there is not would have a table of wrong answers; without a task nothing would happen."""
    monkeypatch.setattr(record, "plan", lambda _task: plan)
    folders = ["--out", str(tmp_path), "--work", str(tmp_path)]
    monkeypatch.setattr("sys.argv", ["record.py", *arguments, *folders])
    with pytest.raises(error):
        record.main()
    assert not list(tmp_path.iterdir())
