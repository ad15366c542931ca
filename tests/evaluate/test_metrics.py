"""Metrics that compare texts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mipro import Example, Prediction
from mipro.errors import UserError
from mipro.evaluate import (
    EM,
    F1,
    HotPotF1,
    answer_exact_match,
    answer_passage_match,
    em_score,
    f1_score,
    hotpot_f1_score,
    metrics,
    normalize_text,
    precision_score,
    recall_score,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The,  Eiffel  Tower!", "eiffel tower"),
        ("a.an the-theme", "aan thetheme"),
        ("Another ant", "another ant"),
        ("Café", "cafe\u0301"),
        ("«Ja»", "«ja»"),
        ("", ""),
    ],
)
def test_normalization_is_the_fields(text, expected):
    """NFD, lower case, no ASCII punctuation, no articles as words, single spaces."""
    assert normalize_text(text) == expected


@given(st.text())
def test_normalized_text_has_single_spaces_and_no_punctuation(text):
    """Whatever the text, the form is clean."""
    result = normalize_text(text)
    assert result == " ".join(result.split())
    assert not set(result) & set("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~")


@given(st.text("abc the.", max_size=30), st.text("abc the.", max_size=30))
def test_f1_is_the_harmonic_mean_and_symmetric(left, right):
    """F1 lies between precision and recall and does not change when the texts are swapped."""
    precision, recall = precision_score(left, right), recall_score(left, right)
    f1 = f1_score(left, right)
    assert f1 == pytest.approx(f1_score(right, left))
    assert recall == precision_score(right, left)
    assert min(precision, recall) - 1e-9 <= f1 <= max(precision, recall) + 1e-9
    assert 0 <= hotpot_f1_score(left, right) <= f1


def test_word_scores_count_repetitions():
    """A word counts as often as both texts have it."""
    assert precision_score("x x y z", "x y y") == 2 / 4
    assert recall_score("x x y z", "x y y") == 2 / 3


@pytest.mark.parametrize(
    ("prediction", "answer", "expected"),
    [("yes", "no", 0.0), ("Yes it is", "yes", 0.0), ("yes.", "Yes", 1.0), ("red car", "red bus", 0.5)],
)
def test_hotpot_f1_takes_yes_and_no_as_a_whole(prediction, answer, expected):
    """A yes, no or noanswer is right or wrong, never in part."""
    assert hotpot_f1_score(prediction, answer) == expected


def test_best_reference_counts():
    """EM, F1 and HotPotF1 take the best of several references."""
    assert EM("The Eiffel Tower", ["Louvre", "Eiffel Tower"]) is True
    assert EM("paris", ["Paris, France"]) is False
    assert F1("Eiffel Tower is in Paris", ["x", "Paris"]) == pytest.approx(1 / 3)
    assert HotPotF1("yes", ["no", "yes"]) == 1.0
    assert em_score("Paris", "paris") is True


@pytest.mark.parametrize("metric", [EM, F1, HotPotF1])
@pytest.mark.parametrize("answers", ["Paris", [], ("Paris",)])
def test_references_must_be_a_list_with_an_answer(metric, answers):
    """A bare text, a tuple or an empty list is refused."""
    with pytest.raises(UserError, match="answers_list"):
        metric("Paris", answers)


@pytest.mark.parametrize(
    ("answer", "frac", "expected"),
    [
        ("2", 1.0, True),
        (["3", "2"], 1.0, True),
        ("3", 1.0, False),
        (["two 2", "3"], 0.6, True),
        (["two 2", "3"], 0.7, False),
    ],
)
def test_answer_exact_match(answer, frac, expected):
    """One answer or several; a fraction below one asks for that F1 only."""
    assert answer_exact_match(Example(answer=answer), Prediction(answer="2"), frac=frac) is expected


@pytest.mark.parametrize("frac", [1.0, 0.5])
def test_no_answer_is_never_right(frac):
    """An optional answer that the model left out ended runs, as if the metric had failed."""
    assert answer_exact_match(Example(answer="2"), Prediction(answer=None), frac=frac) is False


@pytest.mark.parametrize(("answer", "predicted"), [("2", 2), (["2", 2], "2"), ("2", ["2"])])
def test_values_of_other_types_are_told_what_to_do(answer, predicted):
    """A typed answer needs another comparison."""
    with pytest.raises(
        UserError, match=r"must be a text.*, but got .*; values of other types .* a metric of"
    ):
        answer_exact_match(Example(answer=answer), Prediction(answer=predicted))


@pytest.mark.parametrize("metric", [answer_exact_match, answer_passage_match])
def test_answer_of_another_kind_is_refused(metric):
    """A reference that is neither text nor list is the caller's mistake."""
    with pytest.raises(UserError, match="must be a text or a list of texts, but got 3"):
        metric(Example(answer=3), Prediction(answer="3", context=["3"]))


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("Eiffel Tower", True),
        (["Louvre", "EIFFEL tower"], True),
        ("Eiffel Tow", False),
        ("Tower Eiffel", False),
        ("1889", True),
        ("café", True),
        ("cafe", False),
    ],
)
def test_passage_match_is_word_by_word(answer, expected):
    """The words of an answer must stand in one passage in order, and whole."""
    context = ["Paris has a café.", "The Eiffel-free Eiffel Tower; built 1889€."]
    assert answer_passage_match(Example(answer=answer), Prediction(context=context)) is expected


def test_names_are_where_dspy_users_look():
    """`evaluate.metrics` has the same functions."""
    assert metrics.answer_exact_match is answer_exact_match
