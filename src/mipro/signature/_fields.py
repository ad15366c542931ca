"""`InputField` and `OutputField`: what a signature knows about one of its fields."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Literal, cast

import pydantic

from mipro.errors import SignatureError

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

# Keys of `json_schema_extra`; the names are those that programs written for DSPy read.
ROLE = "__dspy_field_type"
TYPE_IS_UNDEFINED = "IS_TYPE_UNDEFINED"
# Of an input that is text made of formatted values, images among them, such as the steps of an agent.
IS_FORMATTED = "mipro_is_formatted"
# Of an input that only the question itself has, such as advice from an earlier attempt: no demo lacks it.
NOT_IN_DEMOS = "mipro_not_in_demos"
_OWN_ARGUMENTS = frozenset({"desc", "prefix", "format", "parser", ROLE, TYPE_IS_UNDEFINED})

_CONSTRAINTS = {
    "gt": "greater than: ",
    "ge": "greater than or equal to: ",
    "lt": "less than: ",
    "le": "less than or equal to: ",
    "min_length": "minimum length: ",
    "max_length": "maximum length: ",
    "multiple_of": "a multiple of the given number: ",
    "allow_inf_nan": "allow 'inf', '-inf', 'nan' values: ",
}

# Names that no field can have, and why.
RESERVED_NAMES = {
    **dict.fromkeys(("fields", "input_fields", "output_fields", "signature"), "every signature has it"),
    "instructions": "every signature has it, and its docstring is what they are",
    "self": "inputs are given by name, and every call has a `self` already",
    "model_config": "pydantic looks for its settings there",
}

FIELD_NAME = r"[^\s\x00-/:-@\x5b-\x5e\x60\x7b-\x7f]+"
"""What may be the name of a field: no blanks, and of ASCII what `\\w` has. Names in scripts such as Hindi's
have marks, which are not in `\\w`."""

# Between the words of a name: "two_words", "twoWords", "HTMLText", "text2". Letters with marks end no word.
_WORD_ENDS = re.compile(
    r"_|(?<=[a-z\d])(?=[A-Z])|(?<=[^_])(?=[A-Z][a-z])|(?<=[a-zA-Z])(?=\d)|(?<=\d)(?=[a-zA-Z])"
)

Role = Literal["input", "output"]


def InputField(**kwargs: Any) -> Any:  # noqa: N802 - DSPy's name
    """Declare an input field of a signature.

    Args:
        kwargs: `desc` (shown to the model), `prefix` (label), and all arguments of
            `pydantic.Field` (`default`, `gt`, `max_length`, ...); constraints are
            shown to the model.
    """
    return _field("input", kwargs)


def OutputField(**kwargs: Any) -> Any:  # noqa: N802 - DSPy's name
    """Declare an output field of a signature; arguments as for `InputField`.

    A field with a default, or whose type allows None, may be missing in the answer.
    """
    return _field("output", kwargs)


def _field(role: Role, kwargs: dict[str, Any]) -> Any:
    extra = {key: value for key, value in kwargs.items() if key in _OWN_ARGUMENTS}
    rest = {key: value for key, value in kwargs.items() if key not in _OWN_ARGUMENTS}
    extra.update(rest.pop("json_schema_extra", None) or {})
    extra[ROLE] = role
    if "description" in rest:
        extra.setdefault("desc", rest["description"])
    constraints = ", ".join(f"{_CONSTRAINTS[key]}{rest[key]}" for key in rest if key in _CONSTRAINTS)
    if constraints:
        extra["constraints"] = constraints
    return pydantic.Field(**rest, json_schema_extra=extra)


def extra_of(field: FieldInfo) -> dict[str, Any]:
    """Return what a signature keeps about `field` beside pydantic: role, desc, prefix, ..."""
    return cast("dict[str, Any]", field.json_schema_extra)


def role_of(field: FieldInfo) -> Role:
    """Return whether `field` is an input or an output.

    Raises:
        SignatureError: It was declared with neither `InputField` nor `OutputField`.
    """
    role = (field.json_schema_extra or {}).get(ROLE) if not callable(field.json_schema_extra) else None
    if role not in ("input", "output"):
        raise SignatureError(f"a field must be declared with InputField or OutputField, but got {field!r}.")
    return cast("Role", role)


def infer_prefix(name: str) -> str:
    """Return the readable label of a field name.

    Example:
        >>> infer_prefix("some_HTMLText2"), infer_prefix("camelCase")
        ('Some HTML Text 2', 'Camel Case')
    """
    words = filter(None, _WORD_ENDS.split(name))
    return " ".join(word if word.isupper() else word.capitalize() for word in words)
