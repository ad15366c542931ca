"""`Signature`: instructions and typed fields, as a class that is never changed in place."""

from __future__ import annotations

import copy
import inspect
import threading
import warnings
from types import NoneType
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import pydantic
from pydantic.fields import FieldInfo

from mipro._names import of_dspy
from mipro.errors import SignatureError, StateError
from mipro.signature._fields import ROLE, TYPE_IS_UNDEFINED, InputField, OutputField, extra_of
from mipro.signature._meta import SignatureMeta
from mipro.signature._string import read_signature
from mipro.signature._types import type_fault

if TYPE_CHECKING:
    from collections.abc import Mapping

_warnings_lock = threading.Lock()

# What `dump_state` writes of a signature, and of each of its fields.
_STATE_KEYS = frozenset({"instructions", "fields"})
_FIELD_STATE_KEYS = frozenset({"prefix", "description"})


class Signature(pydantic.BaseModel, metaclass=SignatureMeta):
    """Declares what a predictor is given and what it must answer.

    `Signature("question -> answer: int", "Do the sum.")` returns a new class; a class
    statement does the same, with the docstring as the instructions. All methods return
    a new class and leave this one as it is.

    Example:
        >>> class Classify(Signature):
        ...     "Say whether the sentence is positive."
        ...
        ...     sentence: str = InputField()
        ...     positive: bool = OutputField(desc="True or False")
        >>> Classify.signature
        'sentence -> positive'
    """

    model_config: ClassVar[pydantic.ConfigDict] = pydantic.ConfigDict(
        arbitrary_types_allowed=True, protected_namespaces=()
    )

    if TYPE_CHECKING:
        # mypy does not look at a metaclass for what `Signature("question -> answer")` is: to it that is an
        # instance, which is to have what the class has, and which predictors take (`AnySignature`).
        instructions: ClassVar[str]
        input_fields: ClassVar[dict[str, FieldInfo]]
        output_fields: ClassVar[dict[str, FieldInfo]]
        fields: ClassVar[dict[str, FieldInfo]]
        signature: ClassVar[str]

        def __init__(self, *args: Any, **kwargs: Any) -> None: ...

    @classmethod
    def _make(cls, *args: Any, **kwargs: Any) -> type[Signature]:
        return make_signature(*args, **kwargs)

    @classmethod
    def with_instructions(cls, instructions: str) -> type[Signature]:
        """Return this signature with other instructions."""
        return make_signature(cls.fields, instructions, cls.__name__)

    @classmethod
    def append_instructions(cls, instructions: str) -> type[Signature]:
        """Return this signature with `instructions` after its own, an empty line between."""
        return cls.with_instructions(f"{cls.instructions}\n\n{instructions}")

    @classmethod
    def with_updated_fields(cls, name: str, type_: Any = None, **changes: Any) -> type[Signature]:
        """Return this signature with the field `name` changed.

        Args:
            name: Name of the field.
            type_: Its new type, or None to keep the old.
            changes: New `desc`, `prefix`, ...

        Raises:
            SignatureError: There is no such field.
        """
        fields: dict[str, Any] = dict(cls.fields)
        if name not in fields:
            raise _unknown_field(cls, name)
        field = _copy_field(fields[name], **changes)
        fields[name] = (type_ if type_ is not None else field.annotation, field)
        return make_signature(fields, cls.instructions, cls.__name__)

    @classmethod
    def prepend(cls, name: str, field: Any, type_: Any = None) -> type[Signature]:
        """Return this signature with a field before all others of its role; see `insert`."""
        return cls.insert(0, name, field, type_)

    @classmethod
    def append(cls, name: str, field: Any, type_: Any = None) -> type[Signature]:
        """Return this signature with a field after all others of its role; see `insert`."""
        return cls.insert(-1, name, field, type_)

    @classmethod
    def delete(cls, name: str) -> type[Signature]:
        """Return this signature without the field `name`, if it has one."""
        fields = {key: field for key, field in cls.fields.items() if key != name}
        return make_signature(fields, cls.instructions, cls.__name__)

    @classmethod
    def insert(cls, index: int, name: str, field: Any, type_: Any = None) -> type[Signature]:
        """Return this signature with one more field.

        Args:
            index: Place among the inputs or the outputs; -1 is after the last.
            name: Name of the field.
            field: `InputField(...)` or `OutputField(...)`.
            type_: Type of the field; by default that of `field`, else str.

        Raises:
            SignatureError: There is no such place, or `field` is no field.
        """
        if not isinstance(field, FieldInfo):
            raise SignatureError(f"`field` must be InputField(...) or OutputField(...), but got {field!r}.")
        role = extra_of(field)[ROLE]
        inputs, outputs = list(cls.input_fields.items()), list(cls.output_fields.items())
        section: list[Any] = inputs if role == "input" else outputs
        place = index + len(section) + 1 if index < 0 else index
        if not 0 <= place <= len(section):
            raise SignatureError(
                f"Invalid index to insert: it must be from {-len(section) - 1} to {len(section)} "
                f"among the {role} fields, but got {index}."
            )
        section.insert(place, (name, (type_ or field.annotation or str, field)))
        return make_signature(dict(inputs + outputs), cls.instructions, cls.__name__)

    @classmethod
    def equals(cls, other: Any) -> bool:
        """Return whether `other` has the same instructions and the same fields."""
        if not isinstance(other, SignatureMeta):
            return False
        mine, theirs = cls.fields, other.fields
        return (
            cls.instructions == other.instructions
            and mine.keys() == theirs.keys()
            and all(
                mine[name].json_schema_extra == theirs[name].json_schema_extra
                and mine[name].annotation == theirs[name].annotation
                for name in mine
            )
        )

    @classmethod
    def dump_state(cls) -> dict[str, Any]:
        """Return what an optimizer may have changed, as plain values."""
        return {
            "instructions": cls.instructions,
            "fields": [
                {"prefix": extra_of(field)["prefix"], "description": extra_of(field)["desc"]}
                for field in cls.fields.values()
            ],
        }

    @classmethod
    def load_state(cls, state: Mapping[str, Any]) -> type[Signature]:
        """Return this signature with what `dump_state` wrote.

        Raises:
            StateError: `state` belongs to a signature with other fields.
        """
        try:
            instructions, saved_fields = state["instructions"], list(state["fields"])
            unknown = sorted({*state} - _STATE_KEYS)
            unknown += sorted({key for saved in saved_fields for key in saved} - _FIELD_STATE_KEYS)
            texts = [(saved["prefix"], saved["description"]) for saved in saved_fields]
        except (KeyError, TypeError) as error:
            raise StateError(
                f"a saved signature must have `instructions` and `fields`, but got {state!r}."
            ) from error
        if unknown:
            raise StateError(
                f"a saved signature must have {sorted(_STATE_KEYS)}, and each of its fields "
                f"{sorted(_FIELD_STATE_KEYS)}, but there are the unknown {unknown} too."
            )
        if len(texts) != len(cls.fields):
            raise StateError(
                f"the saved signature has {len(texts)} fields, but this one is `{cls.signature}`; "
                "load it into the program it was saved from."
            )
        fields = {
            name: _copy_field(field, prefix=prefix, desc=desc)
            for (name, field), (prefix, desc) in zip(cls.fields.items(), texts, strict=True)
        }
        if not isinstance(instructions, (str, NoneType)):
            raise StateError(
                f"a saved signature must have a text as `instructions`, but got {instructions!r}."
            )
        return make_signature(fields, instructions, cls.__name__)


AnySignature: TypeAlias = "str | type[Signature] | Signature"
"""What a predictor is made of: "question -> answer" or a `Signature` class. See `Signature` for the third."""


def make_signature(
    signature: str | Mapping[str, Any],
    instructions: str | None = None,
    signature_name: str = "StringSignature",
    custom_types: Mapping[str, Any] | None = None,
) -> type[Signature]:
    """Return a new signature class.

    Args:
        signature: "question, context: list[str] -> answer", or for each field name
            a field or a pair of type and field.
        instructions: What the model is told; a sentence naming the fields where None or empty.
        signature_name: Name of the class.
        custom_types: Types by the name that `signature` calls them; by default names
            are looked up in the scopes of the callers.

    Raises:
        SignatureError: `signature` can't be read; the message points at the place.
    """
    if isinstance(signature, str):
        inputs, outputs = read_signature(signature, custom_types)
        fields: dict[str, Any] = {
            field.name: (field.type, InputField(**{TYPE_IS_UNDEFINED: not field.is_typed}))
            for field in inputs
        }
        fields.update({field.name: (field.type, OutputField()) for field in outputs})
    elif isinstance(signature, dict):
        fields = {name: _typed_field(name, value) for name, value in signature.items()}
    else:
        raise SignatureError(
            f"a signature must be a string, a dict of fields or a Signature class, but got {signature!r}."
        )
    return _create(signature_name, fields, instructions or None)


# What `help` and notebooks show: `Signature(...)` makes a class, as `make_signature` does.
Signature.__signature__ = inspect.signature(make_signature)


def ensure_signature(signature: Any, instructions: str | None = None) -> Any:
    """Return `signature` as a class; a string is read, None stays None.

    Raises:
        SignatureError: It is neither, or instructions are given for a class that has some.
    """
    if signature is None:
        return None
    if isinstance(signature, (str, dict)):
        return make_signature(signature, instructions)
    if not isinstance(signature, SignatureMeta):
        raise SignatureError(
            'a signature must be a string such as "question -> answer" or a Signature class, '
            f"but got {of_dspy(signature) or repr(signature)}."
        )
    if instructions is not None:
        raise SignatureError(
            "`instructions` can't be given together with a Signature class; use "
            "`signature.with_instructions`."
        )
    return signature


def _create(name: str, fields: dict[str, Any], instructions: str | None) -> type[Signature]:
    def create() -> type[Signature]:
        doc = None if instructions is None else ""
        created: type[Signature] = pydantic.create_model(name, __base__=Signature, __doc__=doc, **fields)
        if instructions is not None:
            # Not at creation, which refuses what a model may well propose, such as half a surrogate pair.
            created.__doc__ = instructions
        return created

    if not any(hasattr(Signature, field) for field in fields):
        return create()
    # A field may be called `json` or `copy`: pydantic warns of the method it hides,
    # which nobody calls on a signature.
    with _warnings_lock, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Field name .* shadows an attribute")
        return create()


def _typed_field(name: Any, value: Any) -> tuple[Any, FieldInfo]:
    if not isinstance(name, str):
        raise SignatureError(f"field names must be strings, but got {name!r}.")
    if isinstance(value, FieldInfo):
        type_, field = value.annotation, value
    elif isinstance(value, tuple) and len(value) == 2 and isinstance(value[1], FieldInfo):  # noqa: PLR2004 - a pair
        type_, field = value
    else:
        raise SignatureError(
            f"field `{name}` must be InputField(...), OutputField(...) or a pair of type and field, "
            f"but got {value!r}."
        )
    if type_ is None:
        type_ = str
    if fault := type_fault(type_):
        raise SignatureError(f"the type of field `{name}` {fault}, but got {type_!r}.")
    return type_, _copy_field(field)


def _copy_field(field: FieldInfo, **changes: Any) -> FieldInfo:
    """Return a copy that shares nothing that is changed in place."""
    copied = copy.copy(field)
    copied.json_schema_extra = {**extra_of(field), **changes}
    # pydantic rebuilds fields from the arguments they were made with.
    attributes = dict(getattr(field, "_attributes_set", {}))
    attributes["json_schema_extra"] = copied.json_schema_extra
    copied._attributes_set = attributes  # noqa: SLF001
    return copied


def _unknown_field(signature: type[Signature], name: str) -> SignatureError:
    return SignatureError(f"there is no field `{name}`; fields: {list(signature.fields)}.")
