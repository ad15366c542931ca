"""Properties of the adapters, over types, values and answers that nobody thought of."""

import datetime as dt
import enum
import json
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, Optional
from uuid import UUID

import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mipro.adapters import ChatAdapter, Code, JSONAdapter, XMLAdapter
from mipro.errors import AdapterParseError
from mipro.signature import InputField, OutputField, Signature

ADAPTERS = [ChatAdapter(), JSONAdapter(), XMLAdapter()]


class Colour(enum.Enum):
    """Colours by name."""

    RED = "red"
    BLUE = "dark blue"


class Level(enum.IntEnum):
    """Levels by number."""

    LOW = 1
    HIGH = 2


class Inner(pydantic.BaseModel):
    """A nested model."""

    name: str
    tags: list[str] = []


class Outer(pydantic.BaseModel):
    """A model that holds others."""

    inner: Inner
    score: float | None
    by_day: dict[dt.date, int]
    colour: Colour


TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=30)
# A text in the chat format is what stands under its marker, without the spaces around it.
CHAT_TEXT = TEXT.map(str.strip).filter(lambda text: "[[ ##" not in text)
FLOATS = st.floats(allow_nan=False)
INNER = st.builds(Inner, name=TEXT, tags=st.lists(TEXT, max_size=2))
OUTER = st.builds(
    Outer,
    inner=INNER,
    score=st.none() | st.floats(allow_nan=False, allow_infinity=False),
    by_day=st.dictionaries(st.dates(), st.integers(), max_size=2),
    colour=st.sampled_from(Colour),
)
# With something in them that looks like JSON, which a repair would take out.
PROGRAMS = [
    "x = {'a': 1}\nprint(x)",
    'def f():\n    return {"code": "no"}',
    '# note\n"a"',
    "[1, 2]",
    '"x"',
    "5",
]
TYPED: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (str, CHAT_TEXT),
    (int, st.integers(-(10**30), 10**30)),
    (float, FLOATS),
    (bool, st.booleans()),
    (list[str], st.lists(TEXT, max_size=3)),
    (list[list[int]], st.lists(st.lists(st.integers(), max_size=2), max_size=2)),
    (dict[str, int], st.dictionaries(TEXT, st.integers(), max_size=3)),
    (tuple[int, str], st.tuples(st.integers(), TEXT)),
    (set[int], st.sets(st.integers(), max_size=3)),
    (Optional[int], st.none() | st.integers()),  # noqa: UP045 - both ways of writing it count
    (str | None, st.none() | CHAT_TEXT.filter(lambda text: text not in ("None", "null"))),
    (Literal["a", "b c", "1"], st.sampled_from(["a", "b c", "1"])),
    (Literal["a", "1", "true"] | None, st.none() | st.sampled_from(["a", "1", "true"])),
    (int | list[int] | None, st.none() | st.integers() | st.lists(st.integers(), max_size=3)),
    (Decimal | None, st.none() | st.decimals(allow_nan=False, allow_infinity=False)),
    (Path | None, st.none() | st.sampled_from(["a", "1", "[b].txt"]).map(Path)),
    (Code, st.sampled_from(PROGRAMS).map(lambda text: Code(code=text))),
    (Code | None, st.none() | st.sampled_from(PROGRAMS).map(lambda text: Code(code=text))),
    (dict[str, int] | str, st.sampled_from(["{x} is set", "see {a: b", "plain"])),
    (Literal[1, 2], st.sampled_from([1, 2])),
    (Literal[Colour.RED, Level.HIGH, "other"], st.sampled_from([Colour.RED, Level.HIGH, "other"])),
    (Colour, st.sampled_from(Colour)),
    (Level, st.sampled_from(Level)),
    (list[Colour], st.lists(st.sampled_from(Colour), max_size=3)),
    (dt.date, st.dates()),
    (dt.datetime, st.datetimes()),
    (dt.time, st.times()),
    (dt.timedelta, st.timedeltas(dt.timedelta(days=-9999), dt.timedelta(days=9999))),
    (Decimal, st.decimals(allow_nan=False, allow_infinity=False)),
    (UUID, st.uuids()),
    (Inner, INNER),
    (list[Outer], st.lists(OUTER, max_size=2)),
]


def signature_of(annotation):
    """Return a signature with one output of that type."""
    return Signature({"question": InputField(), "out": (annotation, OutputField())})


@pytest.mark.parametrize("adapter", ADAPTERS, ids=["chat", "json", "xml"])
@pytest.mark.parametrize("typed", TYPED, ids=[str(annotation) for annotation, _ in TYPED])
def test_a_typed_value_that_is_formatted_is_parsed_back(adapter, typed):
    """What an adapter shows as an answer is read as the same value."""
    annotation, values = typed
    signature = signature_of(annotation)

    @settings(max_examples=20, deadline=None)
    @given(values)
    def check(value):
        text = adapter.format_assistant_message_content(signature, {"out": value})
        assert adapter.parse(signature, text) == {"out": value}

    check()


@pytest.mark.parametrize("adapter", ADAPTERS, ids=["chat", "json", "xml"])
@pytest.mark.parametrize("name", ["उत्तर", "คำที่พบ", "תְּשׁוּבָה", "x·y", "réponse"])
def test_a_field_may_have_a_name_of_any_language(adapter, name):
    """Marks of a script, such as vowels, are no letters to `re`; each answer was asked for twice."""
    signature = Signature(f"question -> {name}, other")
    values = {name: "ok", "other": "a"}
    text = adapter.format_assistant_message_content(signature, values)
    assert adapter.parse(signature, text) == values


PIECES = st.sampled_from(
    [
        "[[ ## out ## ]]",
        " [[ ## completed ## ]]",
        "[[ ## ",
        "\n",
        "{",
        "}",
        "[",
        "]",
        '"',
        "'",
        ":",
        ",",
        "out",
        '{"out": ',
        "null",
        "None",
        "true",
        "1e999",
        "NaN",
        "-",
        "\\u",
        "\\ud800",
        "�",
        "\x00",
        "```json",
        "Literal[",
        "datetime(",
        "0x",
        "(1,",
        "b'",
        "f(",
        "__import__('os')",
    ]
) | st.sampled_from(["[" * 2000, '{"a":' * 500, "9" * 5000])
ODD_ANSWERS = st.lists(PIECES | st.text(max_size=8), max_size=8).map("".join)
ODD_TYPES: list[Any] = [
    str,
    int,
    float,
    bool,
    list[str],
    dict[str, int],
    Colour,
    Level,
    dt.date,
    Decimal,
    Outer,
]
ODD_TYPES += [str | None, Literal["a", 1], tuple[int, str], Any, bytes, int | str]


def outcome(adapter, signature, text):
    """Return the parsed values, or the parse error."""
    try:
        return adapter.parse(signature, text)
    except AdapterParseError as error:
        return error


@pytest.mark.parametrize("adapter", ADAPTERS, ids=["chat", "json", "xml"])
@pytest.mark.parametrize("annotation", ODD_TYPES, ids=str)
def test_any_answer_gives_a_value_or_a_parse_error(adapter, annotation):
    """No answer, however odd, gives anything else."""
    signature = signature_of(annotation)

    @settings(max_examples=12, deadline=None)
    @given(ODD_ANSWERS)
    def check(odd):
        for text in (
            odd,
            f"[[ ## out ## ]]\n{odd}",
            f"<out>{odd}</out>",
            '{"out": ' + odd + "}",
            json.dumps({"out": odd}),
        ):
            found = outcome(adapter, signature, text)
            assert list(found) == ["out"] if isinstance(found, dict) else found.lm_response == text

    check()


MARKUP = st.recursive(
    st.sampled_from(["x", "a < b", "<br/>", "a\nb"]),
    lambda inner: st.builds(
        lambda name, parts: f"<{name}>{' '.join(parts)}</{name}>",
        st.sampled_from(["out", "question", "p"]),
        st.lists(inner, max_size=3),
    ),
    max_leaves=6,
)


@settings(deadline=None)
@given(MARKUP)
def test_markup_in_xml_is_read_whole(text):
    """Elements in a value may be called as the field is; the first end of one was taken for the field's."""
    adapter, signature = XMLAdapter(), signature_of(str)
    written = adapter.format_assistant_message_content(signature, {"out": text})
    assert adapter.parse(signature, f"{written}\n<out>again</out>") == {"out": text}


@pytest.mark.parametrize("text", ["<out></out>", "<out/>", "[[ ## out ## ]]\n\n", '{"out": " "}'])
@pytest.mark.parametrize(
    ("annotation", "value"),
    [(int | None, None), (list[str] | None, None), (Colour | None, None), (Literal["", "x"] | None, "")],
    ids=str,
)
def test_an_optional_value_that_is_left_empty_is_none(text, annotation, value):
    """Unless nothing is a value of the type; it was an answer that can't be read, and asked for once more."""
    adapter = {"<": XMLAdapter(), "[": ChatAdapter(), "{": JSONAdapter()}[text[0]]
    assert adapter.parse(signature_of(annotation), text) == {"out": value}


@pytest.mark.parametrize("text", ["red", "RED", "Red", "'red'", '"RED"', "Colour.RED"])
def test_a_member_is_read_as_models_write_it(text):
    """By value or name, in another case, in quotes, or as Python has it; each was asked for once more."""
    signature = Signature({"question": InputField(), "out": (Colour, OutputField())})
    assert ChatAdapter().parse(signature, f"[[ ## out ## ]]\n{text}") == {"out": Colour.RED}


def test_a_literal_in_another_case_is_read_where_one_can_be_meant():
    """Where two differ by their case only, neither is taken for the other."""
    signature = Signature("question -> out: Literal['New York', 'a', 'A', 1]")
    assert ChatAdapter().parse(signature, "[[ ## out ## ]]\n'new york'") == {"out": "New York"}
    assert ChatAdapter().parse(signature, "[[ ## out ## ]]\nA") == {"out": "A"}
    twins = Signature("question -> out: Literal['No', 'NO']")
    with pytest.raises(AdapterParseError, match="field out with value 'no'"):
        ChatAdapter().parse(twins, "[[ ## out ## ]]\nno")


@pytest.mark.parametrize("text", ["Literal[b]", "Literal['b']", 'str["b"]', "'b'", " b "])
def test_a_literal_is_read_however_it_is_wrapped(text):
    """Models repeat the type around the value."""
    signature = Signature("question -> out: Literal['a', 'b']")
    assert ChatAdapter().parse(signature, f"[[ ## out ## ]]\n{text}") == {"out": "b"}


@pytest.mark.parametrize(
    ("annotation", "text", "value"),
    [
        (int, "\uff11\uff12", 12),
        (float, "\u2212\uff11\uff0e\uff15", -1.5),
        (int | None, "٣٤", 34),
        (bool, "\uff34rue", True),
        (dt.date, "२०२४-०५-०१", dt.date(2024, 5, 1)),
        (Literal["Été", "Hiver"], "e\u0301te\u0301", "Été"),
        (Literal["A", "B"], "\uff21", "A"),
        (Literal["A", "B"], "「A」", "A"),
        (Literal["A", "B"], "`A`", "A"),
        (Literal["A", "B"], "\u201eA\u201d", "A"),
        (Literal["it's", "B"], "'it's'", "it's"),
        (Colour, "\u201cred\u201d", Colour.RED),
    ],
    ids=str,
)
def test_a_value_is_read_in_the_signs_of_any_language(annotation, text, value):
    """Full-width ones and other digits, accents, and quotes; each was asked for once more."""
    assert ChatAdapter().parse(signature_of(annotation), f"[[ ## out ## ]]\n{text}") == {"out": value}


def test_a_power_is_no_number():
    """Of what is only like a digit no other number is made."""
    with pytest.raises(AdapterParseError):
        ChatAdapter().parse(signature_of(int), "[[ ## out ## ]]\n10\u00b2")


def test_members_that_differ_by_their_case_are_told_apart():
    """And neither is taken for what is written in a third way."""
    twins = enum.Enum("Twins", {"one": "No", "two": "NO"})
    signature = Signature({"question": InputField(), "out": (twins, OutputField())})
    assert ChatAdapter().parse(signature, "[[ ## out ## ]]\nNO") == {"out": twins.two}
    with pytest.raises(AdapterParseError, match="not a valid name or value"):
        ChatAdapter().parse(signature, "[[ ## out ## ]]\nno")
