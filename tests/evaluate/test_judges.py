"""Metrics that ask a model."""

from __future__ import annotations

import pytest

from mipro import Evaluate, Example, Prediction, context
from mipro.evaluate import CompleteAndGrounded, SemanticF1, auto_evaluation
from mipro.evaluate._judges import harmonic_mean
from mipro.testing.lms import DummyLM

EXAMPLE = Example(question="q", response="truth").with_inputs("question")
PREDICTION = Prediction(response="guess", context="a document")
IDEAS = {"ground_truth_key_ideas": "i", "system_response_key_ideas": "j", "discussion": "d"}


@pytest.mark.parametrize("decompositional", [False, True])
def test_semantic_f1_is_the_f1_of_what_the_model_says(decompositional):
    """Precision and recall of the judge become their harmonic mean."""
    judged = {"reasoning": "r", **IDEAS, "precision": 0.8, "recall": 0.6}
    with context(lm=DummyLM([judged])):
        result = SemanticF1(decompositional=decompositional)(EXAMPLE, PREDICTION)
    assert result.score == pytest.approx(2 * 0.8 * 0.6 / 1.4)


@pytest.mark.parametrize(("threshold", "expected"), [(0.5, True), (0.9, False)])
def test_threshold_decides_under_a_trace(threshold, expected):
    """While demos are bootstrapped the score is whether the threshold is reached."""
    with context(lm=DummyLM([{"reasoning": "r", "precision": 0.8, "recall": 0.6}])):
        assert SemanticF1(threshold=threshold)(EXAMPLE, PREDICTION, []).score is expected


def test_complete_and_grounded_asks_two_questions():
    """Completeness and groundedness are judged apart and combined."""
    answers = [
        {"reasoning": "r", **IDEAS, "completeness": 0.9},
        {"reasoning": "r", "system_response_claims": "c", "discussion": "d", "groundedness": 0.6},
    ]
    with context(lm=DummyLM(answers)):
        result = CompleteAndGrounded()(EXAMPLE, PREDICTION)
    assert result.score == pytest.approx(2 * 0.9 * 0.6 / 1.5)


def test_judge_is_a_metric_of_evaluate():
    """A judge's prediction counts as its score."""
    lm = DummyLM([{"reasoning": "r", "precision": 1.0, "recall": 1.0}] * 2)
    with context(lm=lm):
        result = Evaluate(devset=[EXAMPLE] * 2, metric=SemanticF1())(lambda question: PREDICTION)
    assert result.score == 100.0


def test_judge_that_answers_nonsense_is_a_failure_of_the_metric():
    """The program is not at fault, and the failure is counted as the metric's."""
    with context(lm=DummyLM([{"nonsense": "x"}] * 4)):
        result = Evaluate(devset=[EXAMPLE], metric=SemanticF1())(lambda question: PREDICTION)
    assert result.failures == {"metric": 1}


@pytest.mark.parametrize(("pair", "expected"), [((0, 0), 0.0), ((2.0, 1.0), 1.0), ((-1.0, 1.0), 0.0)])
def test_shares_are_brought_into_range(pair, expected):
    """A judge's numbers outside 0 to 1 are clamped."""
    assert harmonic_mean(*pair) == expected


def test_names_are_where_dspy_users_look():
    """`evaluate.auto_evaluation` has the classes."""
    assert auto_evaluation.SemanticF1 is SemanticF1
