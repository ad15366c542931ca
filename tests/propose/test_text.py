"""Values as bounded text."""

import dataclasses
import datetime as dt
import enum

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from mipro.example import Example
from mipro.propose._text import clip, show_example, show_examples, show_value, token_estimate


class _Picture(BaseModel):
    url: str

    def format(self) -> str:
        return self.url


class _Address(BaseModel):
    street: str
    city: str


@dataclasses.dataclass
class _Place:
    street: str
    address: _Address


class _Colour(enum.Enum):
    RED = "red"


def test_token_estimate_counts_four_ascii_characters_as_one():
    """English text comes to a token for every four characters."""
    assert token_estimate("a" * 400) == 100


def test_token_estimate_counts_each_other_character():
    """Characters outside ASCII count one token each."""
    assert token_estimate("日本語") == 3


@given(st.text(max_size=400), st.integers(1, 60))
def test_clip_keeps_the_bound(text, bound):
    """Clipped text has at most the bound and the mark of the cut."""
    assert token_estimate(clip(text, bound)) <= bound + token_estimate(" [...]")


@given(st.text(max_size=100))
def test_clip_leaves_short_text_alone(text):
    """Text within the bound comes back as it is."""
    assert clip(text, 1000) == text


def test_image_is_described_not_pasted():
    """A value that formats itself for the wire is named by its type."""
    assert show_value(_Picture(url="data:image/png;base64," + "A" * 9999), 50) == "<_Picture>"


def test_bytes_are_described_with_their_size():
    """Bytes are not pasted."""
    assert show_value(b"\x00" * 1234, 50) == "<bytes, 1234 bytes>"


def test_data_in_a_text_are_described_with_their_kind():
    """A data URI is not pasted, a text that speaks of one is."""
    uri = "data:image/png;base64," + "A" * 1000
    assert show_value(uri, 50) == f"<image/png, {len(uri)} characters>"
    assert show_value("data: 12 images", 50) == "data: 12 images"


def test_what_begins_like_a_data_uri_is_looked_at_in_linear_time():
    """A value of a megabyte in a file of data stopped the proposer for hours."""
    assert show_value("data:a/" + "a" * 1_000_000, 50).startswith("data:a/aaa")
    assert show_value("data:a/b;charset=utf-8;base64,AA", 50) == "<a/b, 32 characters>"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("two  spaces\nand a line", "two spaces and a line"),
        (3, "3"),
        (True, "True"),
        (_Colour.RED, "red"),
        (["a", "b"], '["a", "b"]'),
        ({"k": {1}}, '{"k": [1]}'),
        (_Address(street="Elm", city="Ulm"), '{"street": "Elm", "city": "Ulm"}'),
        (
            _Place("Oak", _Address(street="Elm", city="Ulm")),
            '{"street": "Oak", "address": {"street": "Elm", "city": "Ulm"}}',
        ),
        (dt.date(2024, 5, 1), "2024-05-01"),
        ([_Picture(url="x")], '["<_Picture>"]'),
    ],
)
def test_data_are_shown_as_text(value, shown):
    """Text, numbers and structures are shown as they are."""
    assert show_value(value, 50) == shown


def test_nested_value_without_end_is_cut():
    """A structure that holds itself is shown to a bounded depth."""
    loop: list = []
    loop.append(loop)
    assert "<list>" in show_value(loop, 50)


def test_huge_list_is_bounded():
    """A million numbers are shown as their first ones."""
    assert token_estimate(show_value(list(range(1_000_000)), 20)) < 30


def test_example_shows_the_named_fields_only():
    """Fields come in the order asked for; absent ones and bookkeeping are left out."""
    row = Example(answer="4", question="2+2", augmented=True)
    assert show_example(row, ["question", "augmented", "answer", "other"], 100) == "question: 2+2\nanswer: 4"


def test_examples_share_the_bound():
    """The bound holds for all examples together, however long each is."""
    rows = [Example(text="word " * 5000) for _ in range(10)]
    assert token_estimate(show_examples(rows, ["text"], 200)) < 300


def test_long_parts_get_what_the_short_ones_leave():
    """A label needs a word; the text beside it, and the one long text among short ones, take the rest."""
    long, short = Example(label="yes", text="word " * 5000), Example(label="no", text="word")
    assert token_estimate(show_example(long, ["label", "text"], 200)) > 190
    shown = show_examples([long, *[short] * 9], ["label", "text"], 200)
    assert 150 < token_estimate(shown) < 300
    assert shown.count("label: no\ntext: word\n") == 8


def test_examples_of_wide_tables_keep_to_the_bound():
    """A row of 300 columns shows its first and last ones, and fewer rows are shown than of a narrow table."""
    row = Example({f"column_{i}": f"value {i}" for i in range(300)})
    shown = show_examples([row] * 10, list(row), 200)
    assert token_estimate(shown) < 220
    assert shown.startswith("column_0: value 0\n")
    assert "\n[...]\n" in shown
    assert shown.endswith("\ncolumn_299: value 299")


def test_rows_are_left_out_before_columns():
    """Of 20 columns a part of each is shown, on as many rows as there is room for."""
    row = Example({f"column_{i}": "word " * 100 for i in range(20)})
    shown = show_examples([row] * 10, list(row), 700)
    assert token_estimate(shown) < 1000
    assert all(part.count("column_") == 20 for part in shown.split("\n\n"))


def test_no_examples_are_no_text():
    """An empty list is an empty text."""
    assert show_examples([], ["text"], 200) == ""
