"""Signature classes: instructions, fields, changes that make new classes, state."""

import copy
import pickle
import subprocess
import sys
import typing
from typing import ClassVar, NewType

import pydantic
import pytest
from typing_extensions import TypeAliasType

from mipro.errors import SignatureError, StateError
from mipro.signature import InputField, OutputField, Signature, ensure_signature, infer_prefix, make_signature

UserId = NewType("UserId", int)
Numbers = TypeAliasType("Numbers", list[int])
# What a `type` statement makes: up to Python 3.13 of another class than the one for older Pythons.
Texts = getattr(typing, "TypeAliasType", TypeAliasType)("Texts", list[str])


class Ask(Signature):
    """Answer the question.

    Be short.
    """

    question: str = InputField(desc="what is asked", max_length=50)
    answer = OutputField()
    sure: bool = OutputField(prefix="Certain:")


def test_the_docstring_is_the_instruction():
    """Without the indentation of the source."""
    assert Ask.instructions == "Answer the question.\n\nBe short."


def test_fields_have_role_prefix_and_description():
    """What is not given is made from the name."""
    question, answer, sure = Ask.fields.values()
    assert question.json_schema_extra["desc"] == "what is asked"
    assert question.json_schema_extra["constraints"] == "maximum length: 50"
    assert (answer.annotation, answer.json_schema_extra["prefix"]) == (str, "Answer:")
    assert (sure.annotation, sure.json_schema_extra["prefix"]) == (bool, "Certain:")
    assert answer.json_schema_extra["desc"] == "${answer}"


def test_without_a_docstring_the_instruction_names_the_fields():
    """As for the string form."""

    class Bare(Signature):
        question: str = InputField()
        answer: str = OutputField()

    assert Bare.instructions == "Given the fields `question`, produce the fields `answer`."
    assert Signature("question -> answer").instructions == Bare.instructions


_WITHOUT_DOCSTRINGS = """
from mipro import InputField, OutputField, Signature
from mipro.evaluate import _judges
from mipro.propose import _signatures

class Lost(Signature):
    'Answer the question.'
    question = InputField()
    answer = OutputField()

class Kept(Lost):
    __doc__ = 'Answer in one word.'

for room in (_judges, _signatures):
    for name, value in vars(room).items():
        if isinstance(value, type(Signature)) and value is not Signature:
            print(name, value.instructions.startswith('Given the fields'))
print('Kept', Kept.append('why', OutputField()).instructions != 'Answer in one word.')
"""


def test_python_without_docstrings_has_the_same_prompts():
    """Those of the proposer and the judges; where a user's own were docstrings, it is told."""
    code = [sys.executable, "-OO", "-c", _WITHOUT_DOCSTRINGS]
    ended = subprocess.run(code, capture_output=True, text=True, check=True)
    is_default = dict(line.split() for line in ended.stdout.splitlines())
    assert "ProposeInstruction" in is_default
    assert set(is_default.values()) == {"False"}
    assert ended.stderr.count("has no docstring") == 1
    assert "`Lost` has no docstring" in ended.stderr


def test_a_subclass_takes_over_instructions_and_fields():
    """And adds its own."""

    class More(Ask):
        reason: str = OutputField()

    assert More.instructions == Ask.instructions
    assert More.signature == "question -> answer, sure, reason"


def test_a_field_without_a_role_is_refused():
    """It must be an InputField or an OutputField; the message names it."""
    with pytest.raises(SignatureError, match="Field `question` of `Wrong` must be declared with InputField"):

        class Wrong(Signature):
            question: str

    with pytest.raises(TypeError):

        class AlsoWrong(Signature):
            question: str = pydantic.Field()


@pytest.mark.parametrize(
    ("annotation", "message"),
    [
        (typing.Literal, "field `answer` of `Wrong` must be a type, but got typing.Literal"),
        (["yes", "no"], r"field `answer` of `Wrong` must be a type, but got \['yes', 'no'\]"),
        (dict[str], "field `answer` of `Wrong` must have 2 types in its brackets"),
        (list[dict[str]], r"must be whole, but got .*'answer': list\[dict\[str\]\].*: Expected two"),
    ],
)
def test_a_class_whose_field_has_no_type_is_refused(annotation, message):
    """The message names the field; it came with the first answer, from another package, or never."""
    with pytest.raises(SignatureError, match=message):

        class Wrong(Signature):
            question: str = InputField()
            answer: annotation = OutputField()


def test_text_annotations_are_resolved_where_the_class_is_made():
    """Also a class that is local to a function, under postponed annotations."""

    class Local(pydantic.BaseModel):
        x: int

    class Postponed(Signature):
        text: "str" = InputField()
        out: "list[Local]" = OutputField()

    assert Postponed.output_fields["out"].annotation == list[Local]


def test_a_name_for_a_type_is_a_type():
    """A class statement takes one, and so does whatever is made of the class, such as a chain of thought."""

    class Named(Signature):
        user: UserId = InputField()
        numbers: Numbers = OutputField()
        texts: Texts = OutputField()

    changed = Named.prepend("why", OutputField())
    assert changed.fields["user"].annotation is UserId
    assert changed.fields["numbers"].annotation is Numbers
    assert changed.fields["texts"].annotation is Texts
    assert Signature("q -> user: UserId").fields["user"].annotation is UserId


def test_changes_make_new_classes():
    """The signature itself stays as it is."""
    before = repr(Ask)
    assert Ask.with_instructions("Do.").instructions == "Do."
    assert Ask.append_instructions("Now.").instructions.endswith("Be short.\n\nNow.")
    assert Ask.with_updated_fields("answer", int, desc="a number").fields["answer"].annotation is int
    assert Ask.prepend("why", OutputField(), int).signature == "question -> why, answer, sure"
    assert Ask.append("context", InputField()).signature == "question, context -> answer, sure"
    assert Ask.insert(1, "mid", OutputField()).signature == "question -> answer, mid, sure"
    assert Ask.insert(-2, "mid", OutputField()).signature == "question -> answer, mid, sure"
    assert Ask.delete("sure").signature == "question -> answer"
    assert Ask.delete("nothing").signature == Ask.signature
    assert repr(Ask) == before


def test_a_changed_field_is_changed_in_the_copy_only():
    """Also where the dict behind it is changed in place."""
    other = Ask.with_instructions("Do.")
    other.fields["answer"].json_schema_extra["desc"] = "changed"
    assert Ask.fields["answer"].json_schema_extra["desc"] == "${answer}"


def test_what_is_kept_by_pydantic_survives_a_change():
    """Defaults and constraints are not lost."""

    class WithDefault(Signature):
        question: str = InputField(default="why?")
        score: float = OutputField(ge=0, le=1)

    changed = WithDefault.with_updated_fields("question", desc="asked").with_instructions("Do.")
    assert changed.fields["question"].default == "why?"
    assert [type(part).__name__ for part in changed.fields["score"].metadata] == ["Ge", "Le"]
    assert changed.fields["question"].json_schema_extra["desc"] == "asked"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda: Ask.insert(5, "x", OutputField()), "Invalid index to insert: it must be from -3 to 2"),
        (lambda: Ask.append("x", str), "must be InputField"),
        (lambda: Ask.with_updated_fields("nobody", desc="x"), "there is no field `nobody`"),
        (lambda: make_signature({"x": str}), "field `x` must be InputField"),
        (lambda: make_signature({"x": ("str", InputField())}), "the type of field `x` must be a type"),
        (lambda: make_signature({1: InputField()}), "field names must be strings"),
        (lambda: ensure_signature(3), "must be a string such as"),
        (lambda: ensure_signature(Ask, "Do."), "can't be given together"),
    ],
)
def test_a_change_that_makes_no_sense_is_refused(change, message):
    """The message says what must hold and what was got."""
    with pytest.raises(SignatureError, match=message):
        change()


def test_ensure_signature_takes_strings_classes_and_none():
    """Each as it is needed."""
    assert ensure_signature(None) is None
    assert ensure_signature(Ask) is Ask
    assert ensure_signature("a -> b", "Do.").instructions == "Do."


def test_equality_is_by_instructions_fields_and_types():
    """Not by name or identity."""
    assert Ask.equals(Ask.with_instructions(Ask.instructions))
    assert not Ask.equals(Ask.with_instructions("Do."))
    assert not Ask.equals(Ask.delete("sure"))
    assert not Ask.equals(Ask.with_updated_fields("sure", str))
    assert not Ask.equals(Ask.with_updated_fields("sure", desc="x"))
    assert not Ask.equals("question -> answer")


def test_state_carries_what_an_optimizer_changes():
    """Instructions, prefixes and descriptions, as plain values."""
    changed = Ask.with_instructions("Do.").with_updated_fields("answer", desc="short", prefix="A:")
    state = changed.dump_state()
    assert state["fields"][1] == {"prefix": "A:", "description": "short"}
    assert Ask.load_state(state).equals(changed)


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"instructions": "x", "fields": []}, "has 0 fields, but this one is `question -> answer, sure`"),
        ({"fields": []}, "must have `instructions` and `fields`"),
        ({"instructions": "x", "fields": [{}, {}, {}]}, "must have `instructions` and `fields`"),
        (None, "must have `instructions` and `fields`"),
    ],
)
def test_a_state_of_another_signature_is_refused(state, message):
    """The message says what differs."""
    with pytest.raises(StateError, match=message):
        Ask.load_state(state)


def test_instructions_can_be_set():
    """As programs for DSPy do, on a class of their own."""
    own = Ask.with_instructions("Do.")
    own.instructions = "Do it."
    assert own.instructions == "Do it."


def test_field_names_that_pydantic_uses_are_allowed():
    """`json` and `copy` are good names for fields; no warning."""
    assert Signature("json, copy -> schema").signature == "json, copy -> schema"


def test_names_that_every_signature_has_are_refused():
    """In all forms; otherwise the field would hide what it is called like."""
    with pytest.raises(SignatureError, match="`fields` can't be a field name"):
        Signature("fields -> answer")
    with pytest.raises(SignatureError, match=r"`instructions` can't be a field name: .*its docstring is"):
        make_signature({"instructions": InputField()})


def test_names_that_can_be_given_to_no_call_are_refused():
    """And what pydantic reads is no field; its settings may be given as ever."""
    with pytest.raises(SignatureError, match=r"`self` can't be a field name: .*every call has a `self`"):
        Signature("self -> answer")
    with pytest.raises(SignatureError, match="`model_config` can't be a field name: pydantic looks"):
        make_signature({"question": InputField(), "model_config": OutputField()})

    class Strict(Signature):
        model_config: ClassVar[pydantic.ConfigDict] = pydantic.ConfigDict(extra="forbid")
        question: str = InputField()
        answer: str = OutputField()

    assert Strict.signature == "question -> answer"


def test_an_empty_instruction_is_the_default_one():
    """A text that was left empty told the model nothing."""
    default = "Given the fields `question`, produce the fields `answer`."
    assert Signature("question -> answer", "").instructions == default
    assert Signature("question -> answer", "Do.").with_instructions("").instructions == default


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("question", "Question"),
        ("some_attribute_name", "Some Attribute Name"),
        ("someAttributeName", "Some Attribute Name"),
        ("text2number", "Text 2 Number"),
        ("URLAddress", "URL Address"),
        ("isHTTPSecure", "Is HTTP Secure"),
        ("modelT45Enhanced", "Model T 45 Enhanced"),
        ("größe_in_mm", "Größe In Mm"),
        ("été2024", "Été2024"),
    ],
)
def test_prefixes_are_readable(name, label):
    """Words apart, acronyms kept."""
    assert infer_prefix(name) == label


def test_signatures_are_copied_by_reference_and_pickled_where_they_have_a_name():
    """A class is never copied."""
    assert copy.deepcopy(Ask) is Ask
    assert pickle.loads(pickle.dumps(Ask)) is Ask
