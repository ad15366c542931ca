"""How values and types are written into a prompt."""

from __future__ import annotations

import dataclasses
import enum
import functools
import json
import math
import types
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

import pydantic
import pydantic_core

from mipro.adapters._code import Code
from mipro.adapters._reasoning import Reasoning
from mipro.adapters._type import (
    Type,
    has_marks,
    may_be_saved_with_marks,
    own_marks,
    with_own_marks_shown,
    without_marks,
)
from mipro.adapters._wording import WORDING
from mipro.errors import SignatureError
from mipro.signature import IS_FORMATTED, extra_of, role_of, unaliased

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydantic.fields import FieldInfo

_SETS = (set, frozenset)
_LISTS = (list, tuple, *_SETS)
_SCALARS = (str, bool, int, float, type(None))


def type_adapter(annotation: Any) -> pydantic.TypeAdapter[Any]:
    """Return pydantic's reader and writer for a type; built once per type.

    Raises:
        pydantic.errors.PydanticUserError: pydantic can't handle the type.
    """
    adapter: pydantic.TypeAdapter[Any] = _type_adapter(annotation)
    return adapter


@functools.lru_cache(maxsize=1024)
def _type_adapter(annotation: Any) -> pydantic.TypeAdapter[Any]:
    try:
        return pydantic.TypeAdapter(annotation)
    except pydantic.errors.PydanticSchemaGenerationError:
        # A plain class: its instances are accepted, nothing is read from text.
        return pydantic.TypeAdapter(annotation, config=pydantic.ConfigDict(arbitrary_types_allowed=True))


def as_plain(value: Any) -> Any:
    """Return `value` as JSON can hold it; what can't be turned into JSON becomes text."""
    if isinstance(value, _SCALARS) and type(value) in _SCALARS:
        return value
    try:
        plain = pydantic_core.to_jsonable_python(value, fallback=str)
    except (ValueError, TypeError):
        # Bytes that are no text, for example.
        plain = [as_plain(part) for part in value] if isinstance(value, _SETS) else str(value)
    sort_sets(value, plain)
    return plain


def sort_sets(value: Any, plain: Any) -> None:
    """Sort in `plain`, the JSON form of `value`, what is a set in `value`, at any depth.

    The order of a set is another one in every process. Prompts, and with them the keys of cache
    and ledger, must not be.

    Args:
        value: The value; not modified.
        plain: Its JSON form; changed in place.
    """
    for part, made in _parts(value, plain):
        if type(made) is dict or type(made) is list:
            sort_sets(part, made)
    if isinstance(value, _SETS) and type(plain) is list:
        plain.sort(key=_place_in_set)


def _parts(value: Any, plain: Any) -> Iterable[tuple[Any, Any]]:
    """Return pairs of a part of `value` and its JSON form, as far as they can be told."""
    # The commonest first: it is asked for every value of every prompt.
    if isinstance(value, _LISTS) and type(plain) is list:
        return zip(value, plain) if len(value) == len(plain) else ()  # noqa: B905 - just compared
    if isinstance(value, Mapping) and type(plain) is dict:
        return zip(value.values(), plain.values()) if len(value) == len(plain) else ()  # noqa: B905 - as above
    if isinstance(value, pydantic.RootModel):
        return [(value.root, plain)]
    if isinstance(value, pydantic.BaseModel) and type(plain) is dict:
        aliases = {name: field.serialization_alias for name, field in type(value).model_fields.items()}
        # Not `in value`: a model of the user may go through its items instead.
        fields = pydantic.BaseModel.__iter__(value)
        return [(part, plain.get(aliases.get(name) or name, plain.get(name))) for name, part in fields]
    if dataclasses.is_dataclass(value) and type(plain) is dict:
        return [(getattr(value, name, None), made) for name, made in plain.items()]
    return ()


def _place_in_set(plain: Any) -> tuple[bool, float, str]:
    """Return what orders the parts of a set, of whatever types: numbers by size, then the rest as JSON."""
    is_number = isinstance(plain, int) or (isinstance(plain, float) and math.isfinite(plain))
    return (not is_number, plain if is_number else 0, json.dumps(plain, ensure_ascii=False, sort_keys=True))


def value_text(field_info: FieldInfo, value: Any) -> str:
    """Return `value` as it stands in a prompt under the name of the field.

    Marks of custom values in its texts get a blank, unless the field is one whose values are saved with them.
    """
    if type(value) is str:
        return value if not has_marks(value) or _is_marked(field_info, value) else without_marks(value)
    with own_marks():
        text = _value_text(field_info, value)
    if has_marks(text) and not _is_marked(field_info, value):
        text = without_marks(text)
    return with_own_marks_shown(text)


def _is_marked(field: FieldInfo, value: Any) -> bool:
    """Return whether marks in `value` are true: in a saved demo's, or in what is made of formatted values."""
    extra = field.json_schema_extra
    if isinstance(extra, dict) and extra.get(IS_FORMATTED):
        return True
    return _is_json(value) and may_be_saved_with_marks(field.annotation)


def _is_json(value: Any) -> bool:
    if isinstance(value, (list, dict)):
        return all(map(_is_json, value.values() if isinstance(value, dict) else value))
    return type(value) in _SCALARS


def _value_text(field: FieldInfo, value: Any) -> str:
    if isinstance(value, list) and field.annotation is str:
        return _numbered(value)
    as_json = as_plain(value)
    if isinstance(as_json, (dict, list)):
        return json.dumps(as_json, ensure_ascii=False)
    return str(as_json)


def _numbered(values: list[Any]) -> str:
    """Several texts where one was declared: passages, one under the other."""
    if not values:
        return "N/A"
    if len(values) == 1:
        return _quoted(str(values[0]))
    return "\n".join(f"[{number}] {_quoted(str(value))}" for number, value in enumerate(values, start=1))


def _quoted(text: str) -> str:
    if not any(mark in text for mark in "\n«»"):
        return f"«{text}»"
    indented = text.replace("\n", "\n    ")
    return f"«««\n    {indented}\n»»»"


def is_optional(annotation: Any) -> bool:
    """Return whether `annotation` allows None."""
    annotation = unaliased(annotation)
    if annotation is None or annotation is type(None):
        return True
    if get_origin(annotation) is Annotated:
        return is_optional(get_args(annotation)[0])
    return is_union(annotation) and any(is_optional(part) for part in get_args(annotation))


def is_union(annotation: Any) -> bool:
    """Return whether `annotation` is `Union[...]` or `... | ...`."""
    return get_origin(annotation) in (Union, types.UnionType)


def is_subclass(annotation: Any, base: type) -> bool:
    """Return whether `annotation` is a plain class below `base`."""
    return isinstance(annotation, type) and get_origin(annotation) is None and issubclass(annotation, base)


def type_name(annotation: Any) -> str:
    """Return the name of a type as the model sees it, for example `Literal['a', 'b']`."""
    origin = get_origin(annotation)
    if annotation is Reasoning:
        return "str"  # what the model writes
    if origin is Annotated:
        return type_name(get_args(annotation)[0])  # a function beside it has another address in every process
    if origin is None:
        return getattr(annotation, "__name__", None) or str(annotation)
    if origin is types.UnionType:
        origin = Union
    if origin is Literal:
        parts = [_literal_name(part) for part in get_args(annotation)]
    else:
        parts = ["..." if part is Ellipsis else type_name(part) for part in get_args(annotation)]
    return f"{type_name(origin)}[{', '.join(parts)}]"


def _literal_name(value: Any) -> str:
    if not isinstance(value, str):
        return type_name(value)
    if "'" not in value:
        return f"'{value}'"
    if '"' not in value:
        return f'"{value}"'
    return "'" + value.replace("'", "\\'") + "'"


def placeholder(name: str, field: FieldInfo) -> str:
    """Return what stands for a field's value in the layout, with a note on its type.

    Raises:
        SignatureError: No model could write a value of the type.
    """
    try:
        note = "" if role_of(field) == "input" else _type_note(field.annotation)
    except pydantic.errors.PydanticUserError as error:
        raise SignatureError(
            f"the type of the output `{name}` must be one that can be written as JSON, but got "
            f"{type_name(field.annotation)}; use a pydantic model, a dataclass or a TypedDict "
            f"({str(error).splitlines()[0]})."
        ) from error
    return f"{{{name}}}" + (WORDING.note.format(note=note) if note else "")


def _type_note(annotation: Any) -> str:
    annotation = unaliased(annotation)
    if annotation in (str, Reasoning) or is_subclass(annotation, Code):
        return ""
    if annotation is bool:
        return WORDING.note_bool
    if annotation in (int, float):
        return WORDING.note_number.format(type=annotation.__name__)
    if is_subclass(annotation, enum.Enum):
        return WORDING.note_enum.format(values="; ".join(str(member.value) for member in annotation))
    if get_origin(annotation) is Literal:
        values = (v.value if isinstance(v, enum.Enum) else v for v in get_args(annotation))
        return WORDING.note_literal.format(values="; ".join(map(str, values)))
    schema = json.dumps(_type_first(type_adapter(annotation).json_schema()), ensure_ascii=False)
    return WORDING.note_schema.replace("{schema}", schema)


def _type_first(schema: Any) -> Any:
    """Return the schema with `type` before all other keys: models read from the left."""
    if isinstance(schema, dict):
        ordered = sorted(schema.items(), key=lambda item: (item[0] != "type", item[0]))
        return {key: _type_first(value) for key, value in ordered}
    if isinstance(schema, list):
        return [_type_first(item) for item in schema]
    return schema


def describe_fields(fields: Mapping[str, FieldInfo]) -> str:
    """Return the numbered list of fields: name, type, description, constraints."""
    lines = []
    for number, (name, field) in enumerate(fields.items(), start=1):
        extra = extra_of(field)
        text = extra["desc"] if extra["desc"] != f"${{{name}}}" else ""
        for custom in Type.extract_custom_type_from_annotation(field.annotation):
            if custom.description():
                text += "\n" + WORDING.about_type.format(type=type_name(custom), text=custom.description())
        line = f"{number}. `{name}` ({type_name(field.annotation)}): {text}"
        if extra.get("constraints"):
            line += "\n" + WORDING.constraints.format(text=extra["constraints"])
        lines.append(line)
    return "\n".join(lines).strip()
