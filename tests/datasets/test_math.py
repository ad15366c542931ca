"""MATH from a small copy in the hub's schema."""

import json
import sys
import types
from random import Random

import pytest
from mipro.datasets.math import extract_answer

import mipro
from mipro.datasets import MATH
from mipro.errors import UserError


@pytest.fixture
def copy(tmp_path):
    """Write ten problems."""
    rows = [{"problem": f"P{i}", "solution": rf"It is $\boxed{{{i}}}$."} for i in range(10)]
    path = tmp_path / "algebra.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return path


def test_the_splits_are_dspys(copy):
    """A third each of the shuffled problems, and all others for the test."""
    data = MATH("algebra", path=copy)
    drawn = list(range(10))
    Random(0).shuffle(drawn)
    parts = [[int(example.answer) for example in part] for part in (data.train, data.dev, data.test)]
    assert parts == [drawn[:3], drawn[3:6], drawn[6:]]
    assert data.train[0].inputs().keys() == ["question"]


@pytest.mark.parametrize(
    ("solution", "answer"),
    [
        (r"\boxed{\frac{1}{2}} or \boxed{2}", r"\frac{1}{2}"),
        (r"\boxed{3\!4 \text{ cm}}", "34"),
        (r"\boxed{a{b}c", "a{b}c"),
        ("no box", None),
    ],
)
def test_the_answer_is_in_the_first_box(solution, answer):
    """With its braces, without words and blanks."""
    assert extract_answer(solution) == answer


def test_another_schema_is_refused(tmp_path):
    """The error names the fields."""
    path = tmp_path / "rows.json"
    path.write_text('[{"question": "Q"}]')
    with pytest.raises(UserError, match=r"`problem` and `solution`.*question"):
        MATH("algebra", path=path)


def test_the_metric_needs_the_authors_module(copy, monkeypatch):
    """It says so where the metric is handed over, not on the first answer."""
    data = MATH("algebra", path=copy)
    with pytest.raises(UserError, match="math_equivalence"):
        _ = data.metric
    module = types.ModuleType("math_equivalence")
    module.__spec__ = types.SimpleNamespace()
    module.is_equiv = lambda one, other: one == other
    monkeypatch.setitem(sys.modules, "math_equivalence", module)
    assert data.metric(data.train[0], mipro.Prediction(answer=data.train[0].answer))
