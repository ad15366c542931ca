"""When refused requests say that the model refuses everything."""

from contextlib import ExitStack

import pytest

from mipro.runs._records import EvaluationRecord
from mipro.runs._refusals import REFUSALS, Refusals


def record(example):
    """Return an evaluation."""
    return EvaluationRecord(candidate="c", split="val", example=example, score=0.0)


def refuse(refusals, example):
    """Have a request of an evaluation refused; return what is to be kept, and whether all is refused."""
    with refusals.watched() as number:
        return refusals.sort(number, record(example), refused=True)


@pytest.mark.parametrize(("examples", "needed"), [(100, REFUSALS), (3, 3)])
def test_nothing_but_refusals(examples, needed):
    """They are held back, and enough of them mean that everything is refused."""
    refusals = Refusals(examples)
    for example in range(needed - 1):
        assert refuse(refusals, example) == ([], False)
    assert refuse(refusals, needed - 1) == ([], True)


def test_answer_that_takes_longer_is_waited_for():
    """Refusals come first of many evaluations under way: a few prompts that were too long ended a run."""
    refusals = Refusals(100)
    with refusals.watched() as slow:
        for example in range(2 * REFUSALS):
            assert refuse(refusals, example) == ([], False)
        kept, is_hopeless = refusals.sort(slow, record(99), refused=False)
    assert [one.example for one in kept] == [*range(2 * REFUSALS), 99]
    assert not is_hopeless
    assert refuse(refusals, 5) == ([record(5)], False)


def test_evaluations_that_begin_later_are_not_waited_for():
    """Else some would always be under way."""
    refusals = Refusals(100)
    with ExitStack() as earlier, ExitStack() as later:
        earlier.enter_context(refusals.watched())
        for example in range(REFUSALS):
            refuse(refusals, example)
        later.enter_context(refusals.watched())
        assert refuse(refusals, 50) == ([], False)
        earlier.close()
        assert refuse(refusals, 51) == ([], True)


def test_nothing_is_held_back_where_an_earlier_session_was_past_that():
    """Its scores are known, so not everything is refused."""
    refusals = Refusals(100)
    refusals.end()
    for example in range(2 * REFUSALS):
        assert refuse(refusals, example) == ([record(example)], False)
