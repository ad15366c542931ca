"""`Type`: base of values that are not text in a prompt, such as images."""

from __future__ import annotations

import json
import re
import secrets
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, get_args, get_origin

import pydantic

if TYPE_CHECKING:
    from collections.abc import Iterator

# A custom value becomes text between these two while a prompt is put together, and
# a content block of its own at the end. Saved demos hold them, so they can't change.
_START = "<<CUSTOM-TYPE-START-IDENTIFIER>>"
_END = "<<CUSTOM-TYPE-END-IDENTIFIER>>"
_SIGN = "CUSTOM-TYPE-"
_MARKED = re.compile(f"{_START}(.*?){_END}", re.DOTALL)
# While a value is being written they are others, which no text of the data or of a model can hold: a text
# could otherwise have the server open a file or an address.
_WORD = secrets.token_hex(8)
_OWN_MARKS = (f"<<{_WORD}-START>>", f"<<{_WORD}-END>>")
_marks: ContextVar[tuple[str, str]] = ContextVar("_marks", default=(_START, _END))


class Type(pydantic.BaseModel):
    """Base of custom types in signatures; subclasses say how they look in a prompt.

    Example:
        >>> class Link(Type):
        ...     url: str
        ...
        ...     def format(self):
        ...         return [{"type": "text", "text": self.url}]
    """

    def format(self) -> list[dict[str, Any]] | str:
        """Return content blocks in OpenAI's format, or plain text."""
        raise NotImplementedError(f"`{type(self).__name__}` must define `format`.")

    @classmethod
    def description(cls) -> str:
        """Return what the model is told about the type; nothing by default."""
        return ""

    @classmethod
    def extract_custom_type_from_annotation(cls, annotation: Any) -> list[type[Type]]:
        """Return the subclasses of this class that `annotation` holds, at any depth."""
        if isinstance(annotation, type) and get_origin(annotation) is None:
            return [annotation] if issubclass(annotation, cls) else []
        return [
            found for part in get_args(annotation) for found in cls.extract_custom_type_from_annotation(part)
        ]

    @pydantic.model_serializer()
    def serialize_model(self) -> Any:
        """Return the text that stands for this value until the prompt is put together."""
        formatted = self.format()
        if isinstance(formatted, list):
            start, end = _marks.get()
            return f"{start}{json.dumps(formatted, ensure_ascii=False)}{end}"
        return formatted


@contextmanager
def own_marks() -> Iterator[None]:
    """While it lasts, custom values are written with marks that no text can have been given."""
    token = _marks.set(_OWN_MARKS)
    try:
        yield
    finally:
        _marks.reset(token)


def has_marks(text: str) -> bool:
    """Return whether `text` may hold marks of custom values, true ones or not."""
    return _SIGN in text


def without_marks(text: str) -> str:
    """Return `text` with a blank in all marks but those of `own_marks`, so that they are read as text."""
    return text.replace(_START, f"<< {_START[2:]}").replace(_END, f"<< {_END[2:]}")


def with_own_marks_shown(text: str) -> str:
    """Return `text` with the marks of `own_marks` as all know them."""
    return text.replace(_OWN_MARKS[0], _START).replace(_OWN_MARKS[1], _END)


def may_be_saved_with_marks(annotation: Any) -> bool:
    """Return whether values of a type hold custom values that are saved as marked text, at any depth."""
    return _saved_with_marks(annotation, set())


def _saved_with_marks(annotation: Any, seen: set[Any]) -> bool:
    if not isinstance(annotation, type) or get_origin(annotation) is not None:
        return any(_saved_with_marks(part, seen) for part in get_args(annotation))
    if issubclass(annotation, Type):
        return annotation.serialize_model is Type.serialize_model
    if not issubclass(annotation, pydantic.BaseModel) or annotation in seen:
        return False
    seen.add(annotation)
    return any(_saved_with_marks(field.annotation, seen) for field in annotation.model_fields.values())


def with_content_blocks(message: dict[str, Any]) -> dict[str, Any]:
    """Return a user message with its custom values as content blocks, if it has any."""
    content = message["content"]
    if message["role"] != "user" or not isinstance(content, str) or _START not in content:
        return message
    blocks: list[dict[str, Any]] = []
    end = 0
    # Up to the last end: from each start that has none the whole rest would be searched.
    for found in _MARKED.finditer(content, 0, content.rfind(_END) + len(_END)):
        if found.start() > end:
            blocks.append({"type": "text", "text": content[end : found.start()]})
        blocks.extend(_blocks(found.group(1).strip()))
        end = found.end()
    if end < len(content):
        blocks.append({"type": "text", "text": content[end:]})
    return {**message, "content": blocks}


def _blocks(payload: str) -> list[dict[str, Any]]:
    # A value inside a list or dict is quoted once more by the JSON around it.
    for text in (payload, f'"{payload}"'):
        try:
            blocks = json.loads(text)
            blocks = json.loads(blocks) if isinstance(blocks, str) else blocks
        except (ValueError, RecursionError):
            continue
        if isinstance(blocks, list):
            return [b if isinstance(b, dict) else {"type": "text", "text": str(b)} for b in blocks]
    return [{"type": "text", "text": payload}]
