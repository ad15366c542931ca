"""`LabeledFewShot`."""

import pytest

import mipro
from mipro.errors import UserError
from mipro.optimize import LabeledFewShot

TRAIN = [mipro.Example(question=f"q{i}", answer=f"a{i}").with_inputs("question") for i in range(20)]


def test_demos_are_drawn_from_the_training_data():
    """Every predictor gets k different training examples."""
    compiled = LabeledFewShot(k=5).compile(mipro.Predict("question -> answer"), trainset=TRAIN)
    assert len(set(compiled.demos)) == 5
    assert set(compiled.demos) <= set(TRAIN)


def test_the_same_data_give_the_same_demos():
    """The draw is fixed."""
    program = mipro.Predict("question -> answer")
    first, second = (LabeledFewShot(k=5).compile(program, trainset=TRAIN).demos for _ in range(2))
    assert first == second


def test_without_sampling_the_first_are_taken():
    """`sample=False` takes the examples in order."""
    compiled = LabeledFewShot(k=3).compile(mipro.Predict("question -> answer"), trainset=TRAIN, sample=False)
    assert compiled.demos == TRAIN[:3]


def test_the_student_stays_as_it_is():
    """The demos go to a copy."""
    program = mipro.Predict("question -> answer")
    LabeledFewShot(k=3).compile(program, trainset=TRAIN)
    assert program.demos == []


def test_few_or_no_examples_are_no_trouble():
    """There are never more demos than examples."""
    program = mipro.Predict("question -> answer")
    assert len(LabeledFewShot(k=16).compile(program, trainset=TRAIN[:2]).demos) == 2
    assert LabeledFewShot().compile(program, trainset=[]).demos == []


def test_params_are_the_arguments():
    """`get_params` gives what the optimizer was made with."""
    assert LabeledFewShot(k=3).get_params() == {"k": 3}


def test_what_is_no_program_and_no_data_is_refused():
    """The argument is named."""
    with pytest.raises(UserError, match="`student` must be a program"):
        LabeledFewShot().compile("question -> answer", trainset=TRAIN)
    with pytest.raises(UserError, match="`trainset` must be a list"):
        LabeledFewShot().compile(mipro.Predict("question -> answer"), trainset=None)
    with pytest.raises(UserError, match=r"must be a `mipro\.Example`, but got 'q'"):
        LabeledFewShot().compile(mipro.Predict("question -> answer"), trainset=["q", "r"])


@pytest.mark.parametrize("k", [-1, 2.0, None, True])
def test_a_number_of_demos_that_is_none_is_refused(k):
    """It was met when the demos were drawn, as an error about a sample."""
    with pytest.raises(UserError, match="`k` must be a whole number of at least 0, but got"):
        LabeledFewShot(k=k)
