"""Facts seen in the training data without a model."""

import pytest

from mipro.example import Example
from mipro.propose import observe
from mipro.propose._facts import closed_labels


def _rows(values, **fields):
    return [
        Example(text=f"input {i}", answer=value, **fields).with_inputs("text")
        for i, value in enumerate(values)
    ]


def test_few_repeated_labels_are_a_closed_set():
    """Labels that come again and again are named, most frequent first."""
    facts = observe(_rows(["PlayMusic"] * 5 + ["BookRestaurant"] * 3), "answer")
    assert facts.labels == ("PlayMusic", "BookRestaurant")


def test_the_sentence_names_all_labels():
    """The sentence for an instruction lists the labels."""
    facts = observe(_rows(["yes", "no", "yes", "no", "yes"]), "answer")
    assert facts.sentence == "The answer must be exactly one of: yes, no."


@pytest.mark.parametrize(
    ("labels", "listed"),
    [
        (["Rome, GA", "Rome"], "Rome; Rome, GA."),
        (["a, b", "c; d"], "a, b | c; d."),
        (["a, b", "c; d", "e | f"], "a, b, c; d, e | f."),
    ],
)
def test_the_sentence_shows_where_a_label_ends(labels, listed):
    """Labels with a comma in them are not told apart by commas."""
    assert observe(_rows(labels * 3), "answer").sentence == f"The answer must be exactly one of: {listed}"


def test_none_is_a_label_where_it_is_an_answer():
    """Where None is an answer, the sentence that leaves it out forbids it."""
    rows = _rows(["red", None, "blue"] * 3)
    assert observe(rows, "answer", takes_none=True).labels == ("blue", "None", "red")
    assert observe(rows, "answer").labels == ("blue", "red")


def test_spellings_of_a_label_count_as_one():
    """The most frequent spelling stands for a label."""
    assert closed_labels(["Yes", "Yes", "yes", "No", "No", "no"]) == ("No", "Yes")


def test_open_answers_are_no_label_set():
    """Answers that are mostly new are not closed."""
    assert observe(_rows([f"name {i}" for i in range(20)]), "answer").labels == ()


@pytest.mark.parametrize(
    "values",
    [
        ["yes", "no", "yes"],
        ["yes"] * 10,
        [" ".join(["long"] * 8)] * 5 + ["other"] * 5,
        [0.5, 0.5, 0.5, 0.7, 0.7, 0.7],
        [["a"], ["a"], ["a"], ["b"], ["b"]],
        [],
        list(range(25)) * 3,
        ["n/a", *map(str, range(30))] * 3,
        [f"a label as long as others {i:03}" for i in range(150)] * 3,
    ],
    ids=["too few", "a single one", "too long", "floats", "lists", "none", "numbers", "with numbers", "many"],
)
def test_what_is_no_label_set(values):
    """Few values, a constant, sentences, fractions, lists, many numbers, too much text: no label sets."""
    assert closed_labels(values) == ()


def test_a_hundred_intents_are_a_closed_set():
    """Labels of a voice assistant or of a help desk come by the hundred, and a model must be told all."""
    intents = [f"card_payment_{i}" for i in range(100)]
    assert sorted(observe(_rows(intents * 3), "answer").labels) == sorted(intents)


def test_repeated_examples_do_not_close_a_set():
    """Two copies of a question do not show that its answer will come again."""
    assert (
        observe([row for row in _rows([f"name {i}" for i in range(20)]) for _ in "ab"], "answer").labels == ()
    )


def test_one_label_in_seven_seen_once_is_still_closed():
    """A rare label does not open the set: the chance of a new one stays small."""
    assert len(closed_labels(["a"] * 6 + ["b"] * 6 + ["c"])) == 3


def test_numbers_are_noted():
    """Whole numbers are recognised, as text too."""
    facts = observe(_rows([str(i * 7) for i in range(12)]), "answer")
    assert facts.notes == ("The answer is a whole number, without any other words.",)


def test_short_answers_copied_from_the_input_are_noted():
    """Length, copying and case of free answers are noted."""
    data = [
        Example(text=f"the word is term{i} here", answer=f"term{i}").with_inputs("text") for i in range(12)
    ]
    assert observe(data, "answer").notes == (
        "The answer is short: 1 word, never a full sentence.",
        "The answer is copied word for word from the input.",
        "The answer is written in lower case.",
    )


def test_long_answers_are_noted():
    """The usual length of long answers is noted."""
    facts = observe(_rows([f"This is Answer {i} with some more words in it" for i in range(12)]), "answer")
    assert facts.notes == ("The answer usually has about 10 words.",)


def test_answers_without_blanks_are_as_long_as_they_are():
    """A page of Chinese was noted as one word, "never a full sentence"."""
    cities = observe(_rows([f"第{i}市" for i in range(12)]), "answer")
    assert cities.notes == ("The answer is short: 2 characters, never a full sentence.",)
    reasons = observe(_rows([f"因为在第{i}个例子中作者明确说明了这一点" for i in range(12)]), "answer")
    assert reasons.notes == ("The answer usually has about 18 characters.",)
    mixed = observe(
        _rows([f"Number {i} of all these cities is called 北京 by those who live there" for i in range(12)]),
        "answer",
    )
    assert mixed.notes == ("The answer usually has about 14 words.",)


def test_a_field_without_values_has_no_facts():
    """Nothing is said of a field the data don't have."""
    facts = observe(_rows(["a"] * 6), "reasoning")
    assert (facts.labels, facts.notes, facts.sentence) == ((), (), "")


def test_infinite_and_odd_numbers_are_no_trouble():
    """What only looks like a number does not break the search for facts."""
    assert observe(_rows(["nan", "inf", "1e999", "x", "y", "z"]), "answer").labels == ()
