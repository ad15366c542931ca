"""How the text of an answer becomes a typed value."""

from __future__ import annotations

import ast
import datetime as dt
import decimal
import enum
import json
import pathlib
import unicodedata
import uuid
from typing import TYPE_CHECKING, Any, Literal, SupportsIndex, get_args, get_origin

from mipro._normal import unquoted
from mipro.adapters._code import Code
from mipro.adapters._reasoning import Reasoning
from mipro.adapters._type import Type
from mipro.adapters._values import is_optional, is_subclass, is_union, type_adapter
from mipro.signature import unaliased

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pydantic.fields import FieldInfo

# Types that a model writes as bare text: "2024-05-01", not "\"2024-05-01\"".
_TEXT_LIKE = (
    dt.date,
    dt.time,
    dt.timedelta,
    decimal.Decimal,
    uuid.UUID,
    pathlib.PurePath,
    bytes,
    complex,
)
_NONE_WORDS = frozenset({"None", "null"})
# Full-width forms of ASCII, and the minus of typesetters.
_IN_ASCII = {**{code: chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)}, 0x2212: "-"}
_OBJECT_STARTS = ("{", "```json")
# Of JSON whose repair makes sense a character is read six times at most, in the measure of `_ReadInBounds`.
_READS_PER_CHAR = 30
_MOST_READS = 10_000_000


def read_value(value: Any, annotation: Any) -> Any:
    """Return `value`, a text or what JSON holds, as an instance of `annotation`.

    Raises:
        ValueError: It can't be read as that type.
    """
    annotation = unaliased(annotation)
    if annotation is Reasoning and isinstance(value, str):
        return Reasoning(value)
    if annotation is str:
        return value if isinstance(value, str) else str(value)
    try:
        if isinstance(annotation, enum.EnumMeta):
            return _enum_member(value, annotation)
        if get_origin(annotation) is Literal:
            value = _literal(value, annotation)
            if isinstance(value, enum.Enum):
                return value
        if isinstance(value, str):
            return _read_text(value, annotation)
        return type_adapter(annotation).validate_python(value)
    except ValueError:
        raise
    except Exception as error:  # validators of the user's types may raise anything on odd input
        raise ValueError(f"{type(error).__name__}: {error}") from error


def _read_text(text: str, annotation: Any) -> Any:
    validate = type_adapter(annotation).validate_python
    if is_union(annotation) and is_optional(annotation):
        parts = [part for part in get_args(annotation) if part is not type(None)]
        if text.strip() in _NONE_WORDS or (not text.strip() and not _takes_empty(validate)):
            return None
        if len(parts) == 1:
            return read_value(text, parts[0])
        if str in parts:
            return validate(text)
    first_error: ValueError | None = None
    for candidate in _candidates(text, annotation):
        try:
            return validate(candidate)
        except ValueError as error:  # noqa: PERF203 - the next reading may fit
            first_error = first_error or error
    raise first_error or ValueError(f"can't read {text!r}")


def _takes_empty(validate: Callable[[Any], Any]) -> bool:
    """Tell whether no text at all is a value of a type, as it is of `str | None`."""
    try:
        validate("")
    except ValueError:
        return False
    return True


def _candidates(text: str, annotation: Any) -> Iterator[Any]:
    """Yield what `text` may stand for, the most literal reading first."""
    is_text_like = any(is_subclass(annotation, base) for base in _TEXT_LIKE)
    if get_origin(annotation) is Literal or is_text_like:
        yield text.strip()
    # In a program there may be what looks like JSON; only one that begins like it may be an object.
    if is_subclass(annotation, Code) and not text.lstrip().startswith(_OBJECT_STARTS):
        yield text
    try:
        yield json.loads(text)
    except (ValueError, RecursionError):
        yield _repaired(text)
    # A custom type may read the text itself; a scalar may be written plainly.
    is_scalar = annotation in (int, float, bool)
    if is_subclass(annotation, Type) or is_scalar:
        yield text.strip()
    if (is_scalar or is_text_like) and not text.isascii():
        yield _in_ascii(text).strip()
    if is_union(annotation):
        yield text


def _in_ascii(text: str) -> str:
    """Return a text with the signs of ASCII for full-width ones and digits of all scripts; "²" is none."""
    return "".join(str(unicodedata.decimal(sign, sign)) for sign in text.translate(_IN_ASCII))


def _repaired(text: str) -> Any:
    """Return the JSON or Python value that `text` almost is, else the text."""
    repaired = repair_json(text)
    if repaired != "" or text == "":
        return repaired
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text


class _ReadInBounds(str):
    """A text of which no more than so many characters can be read, the same one as often as wanted.

    What json_repair tries at `{"{"{"` or `{1{1{1`, which small models repeat when they ramble, grows with the
    square of the length or faster: 3,000 characters stopped all threads for seconds, 40,000 for minutes.
    """

    __slots__ = ("_left",)
    _left: list[int]

    @classmethod
    def of(cls, text: str, left: list[int]) -> _ReadInBounds:
        """Return `text`, of which the first of `left` says how many characters may still be read."""
        made = cls(text)
        made._left = left
        return made

    def __getitem__(self, key: SupportsIndex | slice) -> str:
        found = str.__getitem__(self, key)
        self._left[0] -= len(found)
        if self._left[0] < 0:
            raise ValueError("what this JSON was meant to be can't be told")
        # From the beginning on: to be put together with other parts, and read on.
        return self.of(found, self._left) if isinstance(key, slice) and key.start is None else found

    def __add__(self, other: str) -> _ReadInBounds:
        return self.of(str.__add__(self, other), self._left)


def repair_json(text: str) -> Any:
    """Return the JSON value that `text` almost is; "" where it is none."""
    import json_repair  # noqa: PLC0415 - most answers need no repair

    reads = min(_READS_PER_CHAR * len(text), _MOST_READS)
    try:
        return json_repair.loads(_ReadInBounds.of(text, [reads]))
    except Exception:  # noqa: BLE001 - its own assertions, too, fail on odd answers
        return ""


def _enum_member(value: Any, annotation: Any) -> Any:
    """Find a member by its value, by its value as text, or by its name, as models write them."""
    if isinstance(value, annotation):
        return value
    for member in annotation:
        if member.value == value:
            return member
    text = str(value).strip()
    values = {str(member.value): member for member in reversed(list(annotation))}  # the first of equals
    named = {**annotation.__members__, **values}
    for written in (text, unquoted(text), text.removeprefix(f"{annotation.__name__}.")):
        if written in named:
            return named[written]
    folded = _folded(unquoted(text))
    found = {member.name: member for name, member in named.items() if _folded(name) == folded}
    if len(found) == 1:
        return next(iter(found.values()))
    raise ValueError(f"{value!r} is not a valid name or value for the enum {annotation.__name__}")


def _literal(value: Any, annotation: Any) -> Any:
    allowed = get_args(annotation)
    for member in allowed:  # pydantic takes none by its value
        if isinstance(member, enum.Enum):
            written = (member.value, str(member.value), member.name, f"{type(member).__name__}.{member.name}")
            if value in written:
                return member
    if not isinstance(value, str) or value in allowed:
        return value
    text = value.strip()
    if text.startswith(("Literal[", "str[")) and text.endswith("]"):
        text = text[text.find("[") + 1 : -1]
    text = unquoted(text)
    if text in allowed:
        return text
    # "Yes" for "yes": no other can be meant.
    found = [name for name in allowed if isinstance(name, str) and _folded(name) == _folded(text)]
    return found[0] if len(found) == 1 else text


def _folded(text: str) -> str:
    """Return a text in lower case, with accents as a part of their letters and letters of the usual width."""
    return unicodedata.normalize("NFKC", text).casefold()


def with_defaults(fields: Mapping[str, FieldInfo], values: dict[str, Any]) -> dict[str, Any]:
    """Return `values` in the order of `fields`, optional fields that are absent filled in.

    A field is optional when it has a default or its type allows None.
    """
    complete = {}
    for name, field in fields.items():
        if name in values:
            complete[name] = values[name]
        elif not field.is_required():
            complete[name] = field.get_default(call_default_factory=True)
        elif is_optional(field.annotation):
            complete[name] = None
    return complete
