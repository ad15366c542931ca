"""The string form of a signature."""

import datetime as dt
import enum
import typing
from decimal import Decimal
from typing import Annotated, Any, Literal, Optional, Union

import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mipro.errors import SignatureError
from mipro.signature import Signature, make_signature


class Colour(enum.Enum):
    """Found by the signature in this module."""

    RED = "red"


class Person(pydantic.BaseModel):
    """Found by the signature in this module."""

    class Address(pydantic.BaseModel):
        """Found under a dot."""

        street: str

    name: str


def test_names_without_a_type_are_texts():
    """Inputs stand before the arrow, outputs after it."""
    signature = Signature("context, question -> answer")
    assert list(signature.input_fields) == ["context", "question"]
    assert list(signature.output_fields) == ["answer"]
    assert signature.output_fields["answer"].annotation is str


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("bool", bool),
        ("float", float),
        ("list[str]", list[str]),
        ("List[int]", typing.List[int]),  # noqa: UP006 - what the text says
        ("dict[str, list[int]]", dict[str, list[int]]),
        ("tuple[int, ...]", tuple[int, ...]),
        ("Literal['a', \"b, c\", 'd->e']", Literal["a", "b, c", "d->e"]),
        ("Literal[-1, True]", Literal[-1, True]),
        ("Literal[Colour.RED]", Literal[Colour.RED]),
        ("Optional[int]", Optional[int]),  # noqa: UP045 - what the text says
        ("Union[int, str]", Union[int, str]),  # noqa: UP007 - what the text says
        ("int | None", Union[int, None]),  # noqa: UP007 - equal to it
        ("list[dict[str, Any]] | str", Union[list[dict[str, Any]], str]),  # noqa: UP007 - equal to it
        ("Colour", Colour),
        ("list['Person']", list[Person]),
        ("Person.Address", Person.Address),
        ("datetime.date", dt.date),
        ("typing.Any", Any),
        ("date", dt.date),
        ("Decimal", Decimal),
    ],
)
def test_types_are_read(text, expected):
    """Built-in, from `typing`, from the caller's scope and from the standard library."""
    assert Signature(f"question -> answer: {text}, other").output_fields["answer"].annotation == expected


def test_a_note_on_a_type_is_no_type():
    """What `Annotated` holds after the type may be a text or a number, as in a class."""
    signature = Signature("q -> a: Annotated[int, 'in km'], b: list[Annotated[str, 3]]")
    assert signature.fields["a"].annotation is int
    assert signature.fields["b"].annotation == list[Annotated[str, 3]]


def test_types_are_found_in_the_scope_of_the_caller():
    """A class inside a function is found too, the innermost first."""

    class Person(pydantic.BaseModel):
        age: int

    assert Signature("text -> person: Person").output_fields["person"].annotation is Person


def test_types_can_be_given():
    """They win over those in scope."""
    signature = Signature("text -> person: Person, x: a.B", custom_types={"Person": int, "a.B": bytes})
    assert signature.output_fields["person"].annotation is int
    assert signature.output_fields["x"].annotation is bytes


def test_a_value_in_scope_is_no_type():
    """A variable that happens to have the name of a standard type does not hide it."""
    date = "2024-05-01"
    assert date
    assert Signature("text -> day: date").output_fields["day"].annotation is dt.date


@pytest.mark.parametrize(
    ("text", "caret", "reason"),
    [
        ("", 0, "exactly one `->`"),
        ("question", 8, "exactly one `->`"),
        ("a -> b -> c", 7, "exactly one `->`"),
        ("a b -> c", 1, "`a b` is not a field name"),
        ("a -> b c: int", 6, "`b c` is not a field name"),
        ("a, 1b -> c", 3, "`1b` is not a field name"),
        ("class -> b", 0, "`class` can't be a field name"),
        ("_a -> b", 0, "`_a` can't be a field name"),
        ("a,, b -> c", 2, "a field is missing before the comma"),
        (", a -> c", 0, "a field is missing before the comma"),
        ("a: -> b", 2, "the type of `a` is missing"),
        ("a -> b: strr", 8, "unknown type `strr`"),
        ("a -> b: list[strr]", 13, "unknown type `strr`"),
        ("ä: str -> ö: dict[str, strr]", 23, "unknown type `strr`"),
        ("a -> b: nowhere.Type", 8, "unknown module or class `nowhere`"),
        ("a -> b: Person.Nobody", 15, "`Person` has no `Nobody`"),
        ("a: list[int -> b", 7, r"`\[` is never closed"),
        ("a: list]int -> b", 7, "`]` closes nothing"),
        ("a -> b: Literal['x", 16, "quoted text is never closed"),
        ("a -> b: Literal[x]", 16, "`x` is not a literal value"),
        ("a -> b: 3", 8, "`3` is not a type"),
        ("a -> b: f(x)", 8, r"`f\(x\)` is not a type"),
        ("a -> b: int + str", 8, r"`int \+ str` is not a type"),
        ("a -> a", 5, "distinct names"),
        ("a -> b: dict[str]", 8, r"`dict\[str\]` must have 2 types in its brackets"),
        ("a -> b: int, c: list[int, str]", 16, r"`list\[int, str\]` must have 1 type in its brackets"),
        ("a -> b: list[dict[str]]", 13, r"`dict\[str\]` must have 2 types"),
        ("a -> b: Optional", 8, "`Optional` must be a type"),
        ("a -> b: list[Literal]", 13, "`Literal` must be a type"),
        ("a -> b: (int, str)", 8, r"`\(int, str\)` must be a type"),
        ("a -> b: [int]", 8, r"`\[int\]` must be a type"),
        ("a -> b: str | -1", 14, "`-1` must be a type"),
        ("a -> b: ClassVar[int]", 8, r"`ClassVar\[int\]` must be a type"),
    ],
)
def test_a_malformed_signature_is_refused_with_the_place_of_the_fault(text, caret, reason):
    """The message shows the signature with a caret under the fault."""
    with pytest.raises(SignatureError, match=reason) as caught:
        Signature(text)
    _, line, mark = str(caught.value).splitlines()[:3]
    assert line == f"    {text}"
    assert mark == "    " + " " * caret + "^"


def test_an_unknown_type_says_how_to_give_it():
    """The message names `custom_types`."""
    with pytest.raises(SignatureError, match=r'custom_types=\{"Strange": \.\.\.\}'):
        Signature("a -> b: Strange")


def test_a_signature_of_several_lines_shows_the_line_of_the_fault():
    """Line breaks are spaces, and the caret is under the right line."""
    assert Signature("a,\n b ->\n c").signature == "a, b -> c"
    with pytest.raises(SignatureError, match=r"\n     b: strr -> c\n        \^"):
        Signature("a,\n b: strr -> c")


def test_something_else_than_a_signature_is_refused():
    """A list is no signature."""
    with pytest.raises(SignatureError, match="must be a string, a dict of fields"):
        make_signature(["question", "answer"])


NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True).filter(
    lambda name: make_signature.__name__ and name not in __import__("keyword").kwlist
)
SIMPLE = st.sampled_from(
    ["str", "int", "float", "bool", "date", "Any", "Literal['a', 'b -> c, [d']", "Literal[1]"]
)
TYPES = st.recursive(
    SIMPLE,
    lambda inner: st.one_of(
        inner.map("list[{}]".format),
        inner.map("dict[str, {}]".format),
        inner.map("Optional[{}]".format),
        st.tuples(inner, inner).map(lambda pair: f"{pair[0]} | {pair[1]}"),
        st.tuples(inner, inner).map(lambda pair: f"tuple[{pair[0]}, {pair[1]}]"),
    ),
    max_leaves=4,
)
FIELDS = st.lists(
    st.tuples(NAMES, st.none() | TYPES), min_size=2, max_size=5, unique_by=lambda field: field[0]
)


@settings(max_examples=60, deadline=None)
@given(FIELDS, st.integers(1, 4), st.sampled_from([", ", ",", " ,\n "]))
def test_any_well_formed_signature_is_read(fields, split, comma):
    """Names, order and roles come back, and the same text gives the same signature."""
    split = min(split, len(fields) - 1)
    sides = [
        comma.join(n if t is None else f"{n}: {t}" for n, t in side)
        for side in (fields[:split], fields[split:])
    ]
    signature = Signature("->".join(sides))
    assert list(signature.input_fields) == [name for name, _ in fields[:split]]
    assert list(signature.output_fields) == [name for name, _ in fields[split:]]
    assert signature.equals(Signature(" -> ".join(sides)))


@settings(max_examples=150, deadline=None)
@given(st.text(st.sampled_from("ab1 ,:->[](){}'\"|.\\\n_é\x00#") | st.characters(), max_size=25))
def test_any_text_gives_a_signature_or_a_signature_error(text):
    """Nothing else comes out, whatever goes in."""
    try:
        found = Signature(f"{text} -> answer").signature
    except SignatureError as error:
        found = str(error)
    assert "^" in found or found.endswith("answer")


def test_a_type_of_very_many_parts_is_refused():
    """A RecursionError of Python's own came, which names nothing."""
    with pytest.raises(SignatureError, match=r"many parts|is not a type"):
        Signature("question -> answer: " + " | ".join(["int"] * 1500))
