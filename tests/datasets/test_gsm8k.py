"""GSM8K from a small copy in the authors' schema."""

import json
from random import Random

import pytest

import mipro
from mipro.datasets import GSM8K, gsm8k_metric
from mipro.errors import UserError


def write(folder, split, count):
    """Write questions whose answers are 1,000, 2,000, ..."""
    rows = [{"question": f"Q{i}", "answer": f"One.\nTwo.\n#### {i * 1000:,}"} for i in range(1, count + 1)]
    (folder / f"{split}.jsonl").write_text("\n".join(json.dumps(row) for row in rows))


def test_the_splits_are_dspys(tmp_path):
    """200 and 300 of the shuffled training questions, and all test questions."""
    write(tmp_path, "train", 510)
    write(tmp_path, "test", 7)
    data = GSM8K(path=tmp_path)
    drawn = [f"Q{i}" for i in range(1, 511)]
    Random(0).shuffle(drawn)
    assert [example.question for example in data.train + data.dev] == drawn[:500]
    assert (len(data.train), len(data.dev), len(data.test)) == (200, 300, 7)


def test_an_example_has_question_reasoning_and_number(tmp_path):
    """The number is a text without commas, the question the only input."""
    write(tmp_path, "train", 1)
    write(tmp_path, "test", 1)
    [example] = GSM8K(path=tmp_path).train
    assert example.toDict() == {"question": "Q1", "gold_reasoning": "One. Two.", "answer": "1000"}
    assert example.inputs().keys() == ["question"]


@pytest.mark.parametrize("row", [{"question": "Q"}, {"question": "Q", "answer": "no number"}])
def test_another_schema_is_refused(tmp_path, row):
    """The error shows the row."""
    (tmp_path / "train.jsonl").write_text(json.dumps(row))
    with pytest.raises(UserError, match="#### NUMBER"):
        GSM8K(path=tmp_path)


@pytest.mark.parametrize(
    ("answer", "right"),
    [("1000", True), ("$1,000.00 in all", True), ("10 for 1000\nor 7", True), ("999", False), ("", False)],
)
def test_the_last_number_of_the_first_line_counts(answer, right):
    """Units, commas and decimals are none of it."""
    assert gsm8k_metric(mipro.Example(answer="1000"), mipro.Prediction(answer=answer)) is right
