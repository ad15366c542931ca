"""How values are written into a prompt: sets, whose order is another one in every process."""

import collections
import dataclasses
import enum
import json
import re
from typing import Annotated, Any, Literal

import pydantic
import pytest
from pydantic.fields import FieldInfo
from typing_extensions import TypeAliasType

import mipro
from mipro.adapters import ChatAdapter, JSONAdapter, as_plain, is_optional
from mipro.adapters._read import read_value, repair_json
from mipro.adapters._values import type_name, value_text
from mipro.errors import AdapterParseError, SignatureError
from mipro.propose._text import show_value
from mipro.runs._fingerprint import canonical
from mipro.signature import InputField, OutputField, Signature
from mipro.testing.lms import ScriptedLM

# So many that they are hardly in this order by chance.
WORDS = [f"word{number:02}" for number in range(20)]


class Tagged(pydantic.BaseModel):
    """A model with sets."""

    model_config = pydantic.ConfigDict(extra="allow")

    tags: set[str]
    other: frozenset[str] = pydantic.Field(default=frozenset(WORDS), alias="otherTags")


class Bag(pydantic.RootModel[set[str]]):
    """A model that is a set."""


class Basket(pydantic.BaseModel):
    """A model that is gone through like a list."""

    items: list[str]
    tags: set[str] = set(WORDS)

    def __iter__(self):
        """Go through the items, not the fields."""
        return iter(self.items)


@dataclasses.dataclass
class Record:
    """A record with a set."""

    tags: set[str]
    number: int = 1


class Colour(enum.Enum):
    """Colours by name."""

    RED = "red"


Pair = collections.namedtuple("Pair", "tags number")  # noqa: PYI024 - as programs have them
TAGGED = {"tags": WORDS, "otherTags": WORDS, "more": WORDS}


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (set(WORDS), WORDS),
        (frozenset(WORDS), WORDS),
        ([set(WORDS), (frozenset(WORDS), 2)], [WORDS, [WORDS, 2]]),
        ({"a": {"b": set(WORDS)}, 1: "x"}, {"a": {"b": WORDS}, "1": "x"}),
        (Tagged(tags=set(WORDS), more=set(WORDS)), TAGGED),
        ([{"t": Tagged(tags=set(WORDS), more=set(WORDS))}], [{"t": TAGGED}]),
        (Bag(set(WORDS)), WORDS),
        (Record(set(WORDS)), {"tags": WORDS, "number": 1}),
        (Pair(set(WORDS), 1), [WORDS, 1]),
        ({frozenset({word, "x"}) for word in WORDS}, [[word, "x"] for word in WORDS]),
        (set(), []),
    ],
)
def test_sets_are_sorted_at_any_depth(value, plain):
    """In what JSON can hold, and as text."""
    assert as_plain(value) == plain
    assert json.loads(value_text(FieldInfo(annotation=Any), value)) == plain


def test_numbers_are_sorted_by_size_and_before_all_else():
    """Types may be mixed; nothing is compared that can't be."""
    mixed = {10, 9, 2.5, float("inf"), "b", "a", None, True, (2, 1), b"x", frozenset({"d", "c"})}
    assert as_plain(mixed) == [
        True, 2.5, 9, 10, "a", "b", "x", float("inf"), ["c", "d"], [2, 1], None,
    ]  # fmt: skip


def test_a_model_that_is_gone_through_like_a_list_is_written_by_its_fields():
    """Its sets are in order too."""
    assert as_plain(Basket(items=["one", "three"])) == {"items": ["one", "three"], "tags": WORDS}


def test_a_set_that_json_can_not_hold_is_sorted_too():
    """Bytes that are no text, for example."""
    assert as_plain({word.encode() + b"\xff" for word in WORDS}) == [
        str(word.encode() + b"\xff") for word in WORDS
    ]


@pytest.mark.parametrize("adapter", [mipro.ChatAdapter(), JSONAdapter()])
def test_a_prompt_with_sets_is_the_same_in_every_process(adapter):
    """Inputs and demos."""
    lm = ScriptedLM([{"kinds": ["a"]}])
    predict = mipro.Predict("tags: set[str] -> kinds: set[str]")
    predict.demos = [mipro.Example(tags=set(WORDS), kinds=set(WORDS))]
    with mipro.context(lm=lm, adapter=adapter):
        assert predict(tags=set(WORDS)).kinds == {"a"}
    found = [re.findall(r"word\d\d", str(message["content"])) for message in lm.calls[0]["messages"]]
    assert [words for words in found if words] == [WORDS] * 3


def test_sets_in_sets_are_the_same_in_every_process_where_data_are_told_apart_and_shown():
    """In the identity of a run, and to the model that proposes."""
    nested = frozenset({frozenset(WORDS[:10]), frozenset(WORDS[10:])})
    parts = [canonical([canonical(word) for word in words]) for words in (WORDS[:10], WORDS[10:])]
    assert json.loads(canonical({"a": nested, "b": Tagged(tags=set(WORDS))})) == {
        "a": parts,
        "b": {"tags": WORDS, "other": WORDS},
    }
    assert json.loads(show_value(nested, 1000)) == [WORDS[:10], WORDS[10:]]


def test_an_example_with_a_field_called_as_a_method_of_models_is_told_from_others():
    """The identity of a run asks it for its own fields."""
    assert canonical({"a": mipro.Example(model_dump="x")}) == '{"a":{"model_dump":"x"}}'


def test_what_is_beside_an_annotated_type_is_not_shown():
    """A validator's address is another one in every process, and prompts, which are keys, must not be."""
    assert type_name(list[Annotated[str, pydantic.AfterValidator(str.strip)]]) == "list[str]"


@pytest.mark.parametrize("adapter", [mipro.ChatAdapter(), JSONAdapter(), mipro.XMLAdapter()])
def test_an_output_that_no_model_can_write_is_named(adapter):
    """It was an error of another library, which named neither the field nor what to do."""
    signature = Signature({"question": InputField(), "out": (list[range], OutputField())})
    with pytest.raises(
        SignatureError, match=r"output `out` must .* but got list\[range\]; use a pydantic model"
    ):
        adapter.format(signature, [], {"question": "Q"})


def test_members_in_a_literal_are_shown_by_their_values():
    """As the demos show them; a model may also write them as the type does."""
    signature = Signature({"question": InputField(), "out": (Literal[Colour.RED, "x"], OutputField())})
    assert "exactly one of: red; x" in ChatAdapter().format_field_structure(signature)
    for text in ("red", "RED", "Colour.RED"):
        assert ChatAdapter().parse(signature, f"[[ ## out ## ]]\n{text}") == {"out": Colour.RED}


@pytest.mark.parametrize(
    ("meant", "text", "value"),
    [
        (Colour, "RED", Colour.RED),
        (Literal["yes", "no"], "Yes", "yes"),
        (str, "[1]", "[1]"),
        (float | None, "", None),
    ],
)
def test_an_alias_is_shown_and_read_as_what_it_stands_for(meant, text, value):
    """By its own name in the list of fields; the values that are possible stand in the layout."""
    signature = Signature({"question": InputField(), "out": (TypeAliasType("Named", meant), OutputField())})
    plain = Signature({"question": InputField(), "out": (meant, OutputField())})
    adapter = ChatAdapter()
    assert adapter.format_field_structure(signature) == adapter.format_field_structure(plain)
    assert "`out` (Named)" in adapter.format_field_description(signature)
    assert adapter.parse(signature, f"[[ ## out ## ]]\n{text}") == {"out": value}
    assert is_optional(signature.fields["out"].annotation) == is_optional(meant)


@pytest.mark.parametrize(
    ("annotation", "shown"),
    [
        (Literal[1, 2], "Literal[1, 2]"),
        (Literal["it's", 'a "b"'], """Literal["it's", 'a "b"']"""),
        (Literal['it\'s "b"'], """Literal['it\\'s "b"']"""),
        (dict[str, list[int]], "dict[str, list[int]]"),
        (tuple[int, ...], "tuple[int, ...]"),
    ],
)
def test_a_type_is_shown_as_it_is_written_in_a_program(annotation, shown):
    """Choices that are numbers too, and texts in whatever quotes they leave room for."""
    signature = Signature({"q": InputField(), "a": (annotation, OutputField())})
    assert f"`a` ({shown})" in ChatAdapter().format(signature, [], {"q": "Q"})[0]["content"]


def test_the_schema_of_a_type_is_in_the_letters_of_its_author():
    """Escapes are several tokens for each letter, which a model must read and one must pay for."""
    sized = pydantic.create_model("Sized", size=(int, pydantic.Field(description="Größe in Metern")))
    signature = Signature({"q": InputField(), "a": (sized, OutputField())})
    assert "Größe in Metern" in ChatAdapter().format(signature, [], {"q": "Q"})[0]["content"]


@pytest.mark.parametrize("repeated", ['{"{"', "{ 1", "{\u201c(]]", "(", "[{"])
def test_an_answer_that_repeats_a_bit_of_json_is_read_at_once(repeated):
    """Repairing it took minutes to hours; a short one is repaired as before."""
    with pytest.raises(ValueError, match="number"):
        read_value(repeated * (20_000 // len(repeated)), float)
    assert read_value("[1, 2, {'a': 'b'", list[Any]) == [1, 2, {"a": "b"}]


@pytest.mark.parametrize(
    "text", ["{'a': 'b', 'c': ['d']", 'It is: {"a": "b", "c": ["d"]', '{"a": "b" "c": ["d"}']
)
def test_texts_of_a_repaired_answer_are_plain(text):
    """What bounds the repair does not get into the values."""
    value = repair_json(text)
    assert value == {"a": "b", "c": ["d"]}
    assert {type(part) for part in (*value, value["a"], *value["c"])} == {str}


def test_an_answer_that_the_repair_fails_on_is_an_answer_that_cant_be_read():
    """An assertion within json_repair went out of the adapter as the program's own failure."""
    with pytest.raises(AdapterParseError):
        JSONAdapter().parse(Signature("question -> answer"), '{"```json1}```json')


DEEP = "[" * 900 + "]" * 900


@pytest.mark.parametrize(
    ("adapter", "answer", "kind"),
    [
        (ChatAdapter(), f"[[ ## answer ## ]]\n{DEEP}", "list"),
        (JSONAdapter(), f'{{"answer": {DEEP}}}', "list"),
        (JSONAdapter(), f'{{"answer": {DEEP}}}', "str"),
        (JSONAdapter(), f'{{"answer": {DEEP}}}', "int"),
    ],
)
def test_an_answer_nested_very_deeply_cant_be_read(adapter, answer, kind):
    """Functions that go through a value and call themselves failed later, and ended the run."""
    with pytest.raises(AdapterParseError, match="at most 100 lists"):
        adapter.parse(Signature(f"question -> answer: {kind}"), answer)
    assert adapter.parse(Signature("question -> answer"), answer.replace(DEEP, '"[[1]]"'))
