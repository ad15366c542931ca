"""BIG-bench tasks as examples."""

from __future__ import annotations

import hashlib
import json

import pytest

from mipro import fetch
from mipro.datasets import big_bench
from mipro.errors import UserError
from mipro.fetch import _catalog
from mipro.fetch._store import Item


@pytest.fixture
def write(tmp_path):
    """Return a function that writes a task.json."""

    def write_examples(*rows):
        (tmp_path / "task.json").write_text(json.dumps({"name": "t", "examples": rows}))
        return tmp_path / "task.json"

    return write_examples


def test_intents_have_natural_names(write):
    """Utterance and intent, without the prefix that repeats the name; labels are fixed, so no choices."""
    scores = {"get_weather": 1, "play_music": 0}
    path = write({"input": "Utterance: Will it snow?", "target_scores": scores})
    (row,) = big_bench("intent_recognition", path=path)
    assert row.toDict() == {"utterance": "Will it snow?", "intent": "get_weather"}
    assert row.inputs().keys() == ["utterance"]


def test_choices_that_differ_are_an_input(write):
    """Where each example has its own choices, they are given to the program."""
    path = write(
        {"input": "a?", "target_scores": {"x": 0, "y": 1}}, {"input": "b?", "target_scores": {"z": 1, "y": 0}}
    )
    rows = big_bench("other", path=path)
    assert rows[0].toDict() == {"question": "a?", "choices": ["x", "y"], "answer": "y"}
    assert set(rows[1].inputs().keys()) == {"question", "choices"}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"target": "7"}, {"answer": "7"}),
        ({"target": 7}, {"answer": "7"}),
        ({"target": ["seven", "7"]}, {"answer": "seven", "answers": ["seven", "7"]}),
        ({"target_scores": {"x": 1, "y": 1, "z": 0}}, {"answer": "x", "answers": ["x", "y"]}),
        ({"target": "Yes, since ...", "target_scores": {"Yes": 1, "No": 0}}, {"answer": "Yes"}),
    ],
)
def test_targets_become_answers(write, fields, expected):
    """A target, several, or the best of the scored choices is the answer."""
    (row,) = big_bench("other", path=write({"input": "q", **fields}))
    assert row.labels().toDict() == expected


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        "[" * 100_000,
        '{"examples": []}',
        '{"examples": [1]}',
        '{"examples": [{"input": "q"}]}',
        '{"examples": [{"input": "q", "target": []}]}',
        '{"examples": [{"input": "q", "target_scores": 1}]}',
    ],
)
def test_file_of_another_kind_is_refused(tmp_path, text):
    """A file that is no task is a UserError."""
    (tmp_path / "task.json").write_text(text)
    with pytest.raises(UserError, match="BIG-bench"):
        big_bench("other", path=tmp_path / "task.json")


def test_file_is_read_as_other_files_are(tmp_path, monkeypatch):
    """A byte order mark does no harm, `~` is the home folder, another encoding is named with its place."""
    monkeypatch.setenv("HOME", str(tmp_path))
    text = '{"examples": [{"input": "caf\xe9", "target": "a"}]}'
    (tmp_path / "task.json").write_text("\ufeff" + text, encoding="utf-8")
    assert big_bench("other", path="~/task.json")[0].question == "caf\xe9"
    (tmp_path / "task.json").write_text(text, encoding="latin-1")
    with pytest.raises(UserError, match="must be text in UTF-8, but line 1 holds the byte 0xe9"):
        big_bench("other", path="~/task.json")


def test_unknown_task_is_refused():
    """A task that is not in the catalogue is refused with the known ones."""
    with pytest.raises(UserError, match="intent_recognition"):
        big_bench("nope")


def test_cached_task_is_read_without_any_source(tmp_path, monkeypatch):
    """What was fetched before is read from the cache folder."""
    content = b'{"examples": [{"input": "q", "target": "a"}]}'
    monkeypatch.setenv("MIPRO_CACHE_DIR", str(tmp_path))
    item = Item("mine", "big-bench/mine.json", hashlib.sha256(content).hexdigest(), len(content))
    monkeypatch.setitem(_catalog.TASKS, "mine", item)
    (tmp_path / "big-bench").mkdir()
    (tmp_path / "big-bench" / "mine.json").write_bytes(content)
    assert fetch.is_cached("mine")
    assert big_bench("mine")[0].answer == "a"
