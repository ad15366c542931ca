"""Read the string form of a signature: "context: list[str], question -> answer: bool"."""

from __future__ import annotations

import itertools
import keyword
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mipro.errors import SignatureError
from mipro.signature._fields import RESERVED_NAMES
from mipro.signature._types import TypeFault, read_type

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_OPENING, _CLOSING, _QUOTES = "([{", ")]}", "\"'"
_PAIRS = dict(zip(_CLOSING, _OPENING, strict=True))


@dataclass(frozen=True)
class FieldText:
    """One field of a signature in string form."""

    name: str
    type: Any
    """The type, `str` where none was written."""
    is_typed: bool
    """Whether a type was written."""


def read_signature(
    text: str, custom_types: Mapping[str, Any] | None = None
) -> tuple[list[FieldText], list[FieldText]]:
    """Return the input fields and the output fields that `text` declares.

    Raises:
        SignatureError: `text` is no signature; the message points at the fault.
    """
    arrows = [position for position, mark in _top_level(text) if mark == "->"]
    if len(arrows) != 1:
        where = arrows[1] if len(arrows) > 1 else len(text)
        raise _fault(text, where, "there must be exactly one `->` between the inputs and the outputs")
    inputs = list(_fields(text, 0, arrows[0], custom_types))
    outputs = list(_fields(text, arrows[0] + 2, len(text), custom_types))
    seen: set[str] = set()
    for field, position in [*inputs, *outputs]:
        if field.name in seen:
            raise _fault(
                text, position, f"fields must have distinct names, but `{field.name}` is there twice"
            )
        seen.add(field.name)
    return [field for field, _ in inputs], [field for field, _ in outputs]


def _fields(
    text: str, start: int, end: int, custom_types: Mapping[str, Any] | None
) -> Iterator[tuple[FieldText, int]]:
    """Yield the fields of one side and where each starts."""
    commas = [position for position, mark in _top_level(text) if mark == "," and start <= position < end]
    bounds = [start - 1, *commas, end]
    for number, (before, after) in enumerate(itertools.pairwise(bounds)):
        part = text[before + 1 : after]
        position = before + 1 + len(part) - len(part.lstrip())
        if part.strip():
            yield _field(text, part.strip(), position, custom_types), position
        elif number < len(commas) or (commas and number == 0):
            raise _fault(text, after, "a field is missing before the comma")


def _field(text: str, part: str, position: int, custom_types: Mapping[str, Any] | None) -> FieldText:
    name, colon, type_text = part.partition(":")
    name = name.rstrip()
    if not name.isidentifier():
        bad = next((i for i in range(1, len(name) + 1) if not name[:i].isidentifier()), 1) - 1
        raise _fault(text, position + bad, f"`{name}` is not a field name; separate fields with commas")
    if keyword.iskeyword(name) or name.startswith("_") or name in RESERVED_NAMES:
        why = RESERVED_NAMES.get(name, "it is a keyword or starts with `_`")
        raise _fault(text, position, f"`{name}` can't be a field name: {why}")
    if not colon:
        return FieldText(name, str, is_typed=False)
    type_position = position + part.index(":") + 1
    if not type_text.strip():
        raise _fault(text, type_position, f"the type of `{name}` is missing after the colon")
    try:
        return FieldText(name, read_type(type_text, custom_types), is_typed=True)
    except TypeFault as fault:
        hint = (
            f'; pass `custom_types={{"{fault.reason.split("`")[1]}": ...}}`'
            if "unknown" in fault.reason
            else ""
        )
        raise _fault(text, type_position + fault.column, f"{fault.reason}{hint}") from fault


def _top_level(text: str) -> Iterator[tuple[int, str]]:
    """Yield position and text of every comma and arrow outside brackets and quotes."""
    stack: list[tuple[int, str]] = []
    position = 0
    while position < len(text):
        character = text[position]
        if character in _QUOTES:
            position = _end_of_string(text, position)
        elif character in _OPENING:
            stack.append((position, character))
        elif character in _CLOSING:
            if not stack or stack.pop()[1] != _PAIRS[character]:
                raise _fault(text, position, f"`{character}` closes nothing")
        elif not stack and character == ",":
            yield position, ","
        elif text.startswith("->", position):
            if stack:
                raise _fault(text, stack[-1][0], f"`{stack[-1][1]}` is never closed")
            yield position, "->"
            position += 1
        position += 1
    if stack:
        raise _fault(text, stack[-1][0], f"`{stack[-1][1]}` is never closed")


def _end_of_string(text: str, start: int) -> int:
    position = start + 1
    while position < len(text):
        if text[position] == "\\":
            position += 1
        elif text[position] == text[start]:
            return position
        position += 1
    raise _fault(text, start, "the quoted text is never closed")


def _fault(text: str, position: int, reason: str) -> SignatureError:
    """Return an error that shows the line with a caret under the fault."""
    position = min(position, len(text))
    line_start = text.rfind("\n", 0, position) + 1
    line = text[line_start:].partition("\n")[0]
    return SignatureError(
        f"Can't read the signature {text!r}: {reason}.\n"
        f"    {line}\n"
        f"    {' ' * (position - line_start)}^\n"
        'A signature looks like "context: list[str], question -> answer: bool".'
    )
