"""Metrics that compare texts: exact match, token F1, precision, recall, passage match."""

from __future__ import annotations

import unicodedata
from collections import Counter
from typing import TYPE_CHECKING, Any

from mipro._normal import normalize_text
from mipro.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable

# HotPotQA's answers that are right or wrong as a whole.
_WHOLE_ANSWERS = frozenset({"yes", "no", "noanswer"})
_OF_VALUES = (
    "values of other types are compared by a metric of your own, such as "
    "`lambda example, pred, trace=None: example.answer == pred.answer`"
)


def em_score(prediction: str, ground_truth: str) -> bool:
    """Tell whether two texts are the same once normalized."""
    return normalize_text(prediction) == normalize_text(ground_truth)


def precision_score(prediction: str, ground_truth: str) -> float:
    """Return the share of the prediction's words that the reference has, 0.0 to 1.0."""
    return _overlap(prediction, ground_truth)[0]


def recall_score(prediction: str, ground_truth: str) -> float:
    """Return the share of the reference's words that the prediction has, 0.0 to 1.0."""
    return _overlap(prediction, ground_truth)[1]


def f1_score(prediction: str, ground_truth: str) -> float:
    """Return the harmonic mean of word precision and recall, 0.0 to 1.0.

    Two empty texts score 0.0, other than in SQuAD 2.0.

    Example:
        >>> f1_score("the Eiffel Tower in Paris", "Eiffel Tower")
        0.6666666666666666
    """
    precision, recall = _overlap(prediction, ground_truth)
    return 2 * precision * recall / (precision + recall) if precision else 0.0


def hotpot_f1_score(prediction: str, ground_truth: str) -> float:
    """Return `f1_score`, but 0.0 where one text is "yes", "no" or "noanswer" and they differ."""
    pair = {normalize_text(prediction), normalize_text(ground_truth)}
    if len(pair) == 2 and pair & _WHOLE_ANSWERS:  # noqa: PLR2004 - the two texts differ
        return 0.0
    return f1_score(prediction, ground_truth)


def EM(prediction: str, answers_list: list[str]) -> bool:  # noqa: N802 - the field's name
    """Tell whether the prediction is the same as one of the references, once normalized.

    Raises:
        UserError: `answers_list` is not a list with an answer in it.
    """
    return bool(_best(em_score, prediction, answers_list))


def F1(prediction: str, answers_list: list[str]) -> float:  # noqa: N802 - the field's name
    """Return the highest `f1_score` over the references.

    Raises:
        UserError: `answers_list` is not a list with an answer in it.
    """
    return _best(f1_score, prediction, answers_list)


def HotPotF1(prediction: str, answers_list: list[str]) -> float:  # noqa: N802 - the field's name
    """Return the highest `hotpot_f1_score` over the references.

    Raises:
        UserError: `answers_list` is not a list with an answer in it.
    """
    return _best(hotpot_f1_score, prediction, answers_list)


def answer_exact_match(example: Any, pred: Any, trace: Any = None, frac: float = 1.0) -> bool:
    """Metric: `pred.answer` is `example.answer`, or one of them where that is a list.

    Args:
        example: Has `answer`, a text or a list of texts.
        pred: Has `answer`, a text, or None where the model gave no answer, which is never right.
        trace: Not used; metrics are called with it.
        frac: Below 1.0, a word F1 of at least this much is enough.

    Raises:
        UserError: `example.answer` is neither text nor list of texts, or `pred.answer` no text.
    """
    del trace
    answers = _answers(example)
    if pred.answer is None:
        return False
    if not isinstance(pred.answer, str):
        raise UserError(f"`pred.answer` must be a text, but got {pred.answer!r}; {_OF_VALUES}.")
    return EM(pred.answer, answers) if frac >= 1 else F1(pred.answer, answers) >= frac


def answer_passage_match(example: Any, pred: Any, trace: Any = None) -> bool:
    """Metric: one of the passages `pred.context` holds `example.answer` word by word.

    Args:
        example: Has `answer`, a text or a list of texts.
        pred: Has `context`, a list of passages.
        trace: Not used; metrics are called with it.

    Raises:
        UserError: `example.answer` is neither text nor list of texts.
    """
    del trace
    answers = [_words(normalize_text(answer)) for answer in _answers(example)]
    passages = (_words(normalize_text(passage)) for passage in pred.context)
    return any(_holds(passage, answer) for passage in passages for answer in answers)


def _overlap(prediction: str, ground_truth: str) -> tuple[float, float]:
    """Return word precision and recall."""
    predicted, expected = normalize_text(prediction).split(), normalize_text(ground_truth).split()
    common = (Counter(predicted) & Counter(expected)).total()
    return (common / len(predicted), common / len(expected)) if common else (0.0, 0.0)


def _best(score: Callable[[str, str], float], prediction: str, answers: list[str]) -> float:
    if not isinstance(answers, list) or not answers:
        raise UserError(f"`answers_list` must be a list with at least one answer, but got {answers!r}.")
    return max(score(prediction, answer) for answer in answers)


def _answers(example: Any) -> list[str]:
    answer = example.answer
    if isinstance(answer, str):
        return [answer]
    if isinstance(answer, list) and all(isinstance(one, str) for one in answer):
        return answer
    raise UserError(f"`example.answer` must be a text or a list of texts, but got {answer!r}; {_OF_VALUES}.")


def _words(text: str) -> list[str]:
    """Split into runs of letters, digits and marks, and single other signs."""
    words: list[str] = []
    inside = False
    for sign in text:
        kind = unicodedata.category(sign)[0]
        if kind in "LNM":
            if inside:
                words[-1] += sign
            else:
                words.append(sign)
        elif kind not in "ZC":  # neither space nor control
            words.append(sign)
        inside = kind in "LNM"
    return words


def _holds(passage: list[str], answer: list[str]) -> bool:
    return any(passage[i : i + len(answer)] == answer for i in range(len(passage) - len(answer) + 1))
