"""Programs with a retriever."""

import numpy as np
import pytest

from mipro import Module, Predict, Prediction, Retrieve, context
from mipro.errors import StateError, UserError
from mipro.testing.lms import ScriptedLM
from mipro.utils import dotdict


class Hop(Module):
    """Looks up, then answers."""

    def __init__(self):
        self.retrieve = Retrieve(k=2)
        self.answer = Predict("passages: list[str], question -> answer")

    def forward(self, question):
        """Look up, then answer."""
        return self.answer(passages=self.retrieve(question).passages, question=question)


@pytest.mark.parametrize(
    "form", [str, lambda text: {"long_text": text}, lambda text: dotdict(long_text=text)]
)
def test_passages_come_from_the_configured_retriever(form):
    """As texts, dicts or objects; `k` is the constructor's or the call's."""

    def search(query, k):
        return [form(f"{query} {number}") for number in range(k)]

    with context(rm=search):
        assert Retrieve(k=2)("q").passages == ["q 0", "q 1"]
        assert Retrieve(k=2)("q", k=1).passages == ["q 0"]


@pytest.mark.parametrize(
    "found",
    [
        lambda texts: (text for text in texts),
        np.array,
        lambda texts: Prediction(passages=texts),
        lambda texts: dict.fromkeys(texts).keys(),
    ],
    ids=["generator", "array", "prediction", "keys"],
)
def test_passages_may_be_any_iterable(found):
    """Else the model was shown the repr of the whole as if it were the one passage."""
    with context(rm=lambda query, k: found([f"{query} {number}" for number in range(k)])):
        assert Retrieve(k=2)("q").passages == ["q 0", "q 1"]


@pytest.mark.parametrize(
    "found",
    [None, [{"text": "P"}], [object()], Prediction(docs=["P"])],
    ids=["None", "dict", "object", "docs"],
)
def test_what_is_no_passage_is_refused(found):
    """The error says what a retriever returns."""
    with context(rm=lambda query, k: found), pytest.raises(UserError, match="long_text"):
        Retrieve()("q")


def test_a_program_with_a_retriever_is_saved_and_loaded(tmp_path):
    """The retriever's `k` is part of the state, and no predictor."""
    program = Hop()
    program.retrieve.k = 5
    program.save(tmp_path / "p.json")
    other = Hop()
    other.load(tmp_path / "p.json")
    assert other.retrieve.k == 5
    assert [name for name, _ in other.named_predictors()] == ["answer"]
    lm = ScriptedLM([{"answer": "A"}])
    with context(lm=lm, rm=lambda query, k: ["P"] * k):
        assert other(question="Q").answer == "A"
    assert "P" in lm.calls[0]["messages"][-1]["content"]


def test_what_is_missing_is_said():
    """No retriever, or the state of something else."""
    with pytest.raises(UserError, match="No RM is loaded"):
        Retrieve()("q")
    with pytest.raises(StateError, match="Retrieve"):
        Retrieve().load_state({"demos": []})
