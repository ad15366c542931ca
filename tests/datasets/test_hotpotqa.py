"""HotPotQA from a small copy of the same schema."""

from __future__ import annotations

import json
import subprocess
import sys
import types

import pytest

from mipro.datasets import Dataset, HotPotQA
from mipro.errors import MissingExtraError, UserError


def question(number, level="hard"):
    """Make a question in the schema of the hub."""
    return {
        "id": f"id{number}",
        "question": f"Question {number}?",
        "answer": f"answer {number}",
        "type": "bridge",
        "level": level,
        "supporting_facts": {"title": [f"Page {number}", "Other"], "sent_id": [0, 2]},
        "context": {"title": [f"Page {number}"], "sentences": [["A sentence."]]},
    }


@pytest.fixture
def copy(tmp_path):
    """Write a local copy: 40 hard and 5 easy training questions, 8 validation ones."""
    train = [question(i) for i in range(40)] + [question(i, "easy") for i in range(40, 45)]
    (tmp_path / "train.jsonl").write_text("\n".join(json.dumps(row) for row in train))
    (tmp_path / "validation.json").write_text(json.dumps([question(i) for i in range(100, 108)]))
    return tmp_path


def test_three_quarters_of_the_hard_questions_train(copy):
    """Hard training questions are cut 75 to 25; validation is the test split; nothing is shared."""
    data = HotPotQA(path=copy)
    assert (len(data.train), len(data.dev), len(data.test)) == (30, 10, 8)
    questions = [{row.question for row in part} for part in (data.train, data.dev, data.test)]
    assert len(set().union(*questions)) == 48


def test_seeds_and_sizes_draw_the_same_examples_again(copy):
    """The same seeds give equal examples in order; another seed another order."""
    arguments = {"train_seed": 2024, "train_size": 5, "eval_seed": 2023, "dev_size": 4, "test_size": 0}
    data = HotPotQA(**arguments, path=copy)
    assert [len(part) for part in (data.train, data.dev, data.test)] == [5, 4, 0]
    assert data.train == HotPotQA(**arguments, path=copy).train
    assert data.train != HotPotQA(**{**arguments, "train_seed": 1}, path=copy).train


def test_draw_is_the_same_as_dspys(copy):
    """The order is that of two shuffles, seed 0 and then the split's own seed."""
    code = (
        "from random import Random; rows = list(range(40)); Random(0).shuffle(rows); rows = rows[:30];"
        "Random(2024).shuffle(rows); print(rows[:5])"
    )
    expected = json.loads(subprocess.check_output([sys.executable, "-c", code]))
    data = HotPotQA(train_seed=2024, train_size=5, path=copy)
    assert [row.answer for row in data.train] == [f"answer {number}" for number in expected]


def test_details_are_kept_as_asked_for(copy):
    """Titles stay out of train by default; True keeps everything; False only the pair."""
    default, full, bare = (HotPotQA(path=copy, keep_details=kept) for kept in ("dev_titles", True, False))
    assert default.train[0].keys() == ["question", "answer"]
    assert "Other" in default.dev[0].gold_titles
    assert set(full.train[0].keys()) == {"id", "question", "answer", "type", "context", "gold_titles"}
    assert bare.dev[0].keys() == ["question", "answer"]
    assert set(bare.test[0].keys()) == {"id", "question", "answer", "type", "gold_titles"}


def test_examples_are_equal_in_every_process(copy):
    """Sets of titles and hidden fields do not depend on the hash seed."""
    code = f"from mipro.datasets import HotPotQA; print(HotPotQA(path={str(copy)!r}).dev[0].dspy_uuid)"
    seen = {
        subprocess.check_output([sys.executable, "-c", code], env={"PYTHONPATH": p, "PYTHONHASHSEED": seed})
        for p in [":".join(sys.path)]
        for seed in ("1", "2")
    }
    assert len(seen) == 1


def test_authors_file_is_read_too(tmp_path):
    """A single file in the authors' own form trains, and has no test split."""
    row = question(1) | {"_id": "x", "supporting_facts": [["Page 1", 0], ["Other", 2]]}
    del row["id"]
    (tmp_path / "hotpot.json").write_text(json.dumps([row] * 4))
    data = HotPotQA(path=tmp_path / "hotpot.json", keep_details=True)
    assert data.dev[0].gold_titles == {"Page 1", "Other"}
    assert data.dev[0].id == "x"
    assert data.test == []


def test_inputs_are_set_when_named(copy):
    """`input_keys` marks the inputs of every example."""
    assert HotPotQA(path=copy, input_keys=["question"]).train[0].inputs().keys() == ["question"]


def test_without_unofficial_dev_there_is_none(copy):
    """`dev` then says that there is no such split."""
    with pytest.raises(UserError, match="no 'dev' split"):
        _ = HotPotQA(path=copy, unofficial_dev=False).dev


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"only_hard_examples": False}, "must be True"), ({"path": "/nonexistent"}, "whose name says 'train'")],
)
def test_what_makes_no_sense_is_refused(arguments, message):
    """Wrong arguments are refused before anything is loaded."""
    with pytest.raises(UserError, match=message):
        HotPotQA(**arguments)


def test_question_of_another_schema_is_refused(tmp_path):
    """A file of other data is named by its fields."""
    (tmp_path / "train.json").write_text('[{"text": "x"}]')
    with pytest.raises(UserError, match=r"must have the fields .*'question'.*but got \['text'\]"):
        HotPotQA(path=tmp_path)


def test_hub_needs_the_extra(monkeypatch):
    """Without a path and without the `hf` extra the message says what to install."""
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingExtraError, match=r"mipro\[hf\]"):
        HotPotQA(train_seed=1, train_size=2)


def test_hub_is_asked_for_the_fullwiki_setting(monkeypatch):
    """The real loader asks for train and validation of "fullwiki"."""
    module, calls = types.ModuleType("datasets"), []

    def load_dataset(*args, split):
        calls.append((*args, split))
        return [question(i) for i in range(8)]

    module.load_dataset = load_dataset
    monkeypatch.setitem(sys.modules, "datasets", module)
    assert len(HotPotQA().train) == 6
    assert calls == [("hotpot_qa", "fullwiki", "train"), ("hotpot_qa", "fullwiki", "validation")]


@pytest.mark.parametrize("facts", [None, {}, [3]])
def test_supporting_facts_of_another_form_are_refused(tmp_path, facts):
    """The question's facts are shown beside what they must be."""
    (tmp_path / "train.json").write_text(json.dumps([{**question(0), "supporting_facts": facts}]))
    with pytest.raises(UserError, match="supporting facts of a question of HotPotQA must be"):
        HotPotQA(path=tmp_path)


def test_unknown_details_are_refused(copy):
    """They were taken for False."""
    with pytest.raises(UserError, match=r"`keep_details` must be .* but got 'titles'"):
        HotPotQA(path=copy, keep_details="titles")


@pytest.mark.parametrize("size", [-1, "5", 2.5, True])
def test_sizes_are_whole_numbers(size, copy):
    """-1 gave all but the last question, and a text a TypeError where the split was read."""
    with pytest.raises(UserError, match="`train_size` must be a whole number of at least 0, or None"):
        HotPotQA(path=copy, train_size=size)
    with pytest.raises(UserError, match="`dev_size` must be"):
        Dataset().reset_seeds(dev_size=size)


def test_reset_seeds_takes_zero_and_keeps_the_rest():
    """0 is a seed and a size; what is not given stays."""
    data = Dataset(train_seed=5, train_size=10, eval_seed=7, dev_size=20, test_size=30)
    data.reset_seeds(train_seed=0, dev_size=0)
    assert (data.train_seed, data.train_size, data.dev_seed, data.dev_size, data.test_size) == (
        0,
        10,
        7,
        0,
        30,
    )


def test_reset_seeds_draws_anew():
    """A split that was read before is drawn again."""
    data = Dataset(train_seed=0)
    data._train = [{"x": i} for i in range(20)]
    before = data.train
    data.reset_seeds(train_seed=1, train_size=3)
    assert data.train == data.train
    assert len(data.train) == 3
    assert data.train != before[:3]
