"""What is wrong with the inputs of a call: missing, unknown, of another type."""

from __future__ import annotations

import types
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

from mipro.adapters import is_optional, type_name
from mipro.context import settings
from mipro.signature import TYPE_IS_UNDEFINED, extra_of, unaliased

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mipro.signature import Signature

# A whole number is a number too (PEP 484).
_ALSO: dict[type, tuple[type, ...]] = {float: (float, int), complex: (complex, float, int)}


def input_faults(signature: type[Signature], inputs: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield one sentence for each kind of fault, after a name of it in which no value is."""
    fields = signature.input_fields
    unknown = [name for name in inputs if name not in fields]
    if unknown:
        then = ":" if settings.strict else ". These fields will be ignored:"
        fault = f"Input contains fields not in signature{then} {unknown}. Expected fields: {list(fields)}."
        yield f"unknown {unknown}", fault
    if settings.warn_on_type_mismatch or settings.strict:
        for name, field in fields.items():
            if name not in inputs or extra_of(field).get(TYPE_IS_UNDEFINED):
                continue
            value = inputs[name]
            if value is None and not (settings.strict and field.is_required()):  # DSPy warns of no None
                continue
            if not fits(value, field.annotation):
                fault = (
                    f"Type mismatch for field '{name}': expected {type_name(field.annotation)} based on "
                    f"given Signature, but the provided value is incompatible: {value!r}."
                )
                yield f"type of {name}", fault
    missing = [name for name in fields if name not in inputs and not is_optional(fields[name].annotation)]
    if missing:
        present = [name for name in fields if name in inputs]
        fault = f"Not all input fields were provided to module. Present: {present}. Missing: {missing}."
        yield f"missing {missing}", fault


def fits(value: Any, annotation: Any) -> bool:
    """Return whether `value` may be given where `annotation` is declared.

    Several texts may be given where one is declared: passages.
    """
    if unaliased(annotation) is str and isinstance(value, list):
        return all(isinstance(item, str) for item in value)
    return _is(value, annotation)


def _is(value: Any, annotation: Any) -> bool:
    annotation = unaliased(annotation)
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _is(value, args[0])
    if origin is None:
        return _is_instance(value, annotation)
    if origin in (Union, types.UnionType):
        return any(_is(value, part) for part in args)
    if origin is Literal:
        return value in args
    return _is_instance(value, origin) and _holds(value, origin, args)


def _is_instance(value: Any, annotation: Any) -> bool:
    """Return whether a value is of a type without parts, or the type can't tell: `NewType`, a TypedDict."""
    if annotation is Any or not isinstance(annotation, type):
        return True
    try:
        return isinstance(value, _ALSO.get(annotation, annotation))
    except TypeError:
        return True


def _holds(value: Any, origin: Any, args: tuple[Any, ...]) -> bool:
    """Return whether the items of a container are of the declared types."""
    if origin is dict:
        return all(_is(key, args[0]) and _is(item, args[1]) for key, item in value.items())
    if origin is tuple and args[1:] != (Ellipsis,):
        return len(value) == len(args) and all(
            _is(item, part) for item, part in zip(value, args, strict=True)
        )
    if origin in (list, tuple, set, frozenset):
        return all(_is(item, args[0]) for item in value)
    return True
