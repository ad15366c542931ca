"""Values that a model writes as elements within the element of their field, where JSON was asked for."""

from __future__ import annotations

import contextlib
import json
import re
from collections import defaultdict
from typing import TYPE_CHECKING, Any
from xml.etree.ElementTree import Element, fromstring, tostring

from mipro.adapters._type import Type
from mipro.adapters._values import is_optional, is_subclass, type_adapter

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    Schema = Mapping[str, Any]

_NONE_WORDS = ("", "None", "null")
# Models write "R&D" as it is said.
_BARE_AMPERSAND = re.compile(r"&(?!(?:\w+|#\w+);)")


def nested_value(text: str, annotation: Any) -> Any:
    """Return the list or the object that the elements in `text` stand for, `text` where they stand for none.

    Args:
        text: The content of a field's element.
        annotation: The field's type.
    """
    if is_subclass(annotation, Type) or (not text and is_optional(annotation)):
        return text
    # A type may have no schema, and a validator may raise anything: what is no list or object stays a text.
    with contextlib.suppress(Exception):
        # A document type, and with it entities that grow, can't stand inside of an element.
        root = fromstring(f"<root>{_BARE_AMPERSAND.sub('&amp;', text)}</root>")  # noqa: S314
        adapter = type_adapter(annotation)
        # By their own names too, since an alias such as "postal code" can't be the name of an element.
        for by_alias in (True, False):
            schema = adapter.json_schema(by_alias=by_alias)
            for value in _readings(root, schema):
                with contextlib.suppress(ValueError):
                    made = adapter.validate_python(value, by_alias=by_alias, by_name=not by_alias)
                    return value if by_alias else made
    return text


def _readings(root: Element, schema: Schema) -> Iterator[Any]:
    """Yield what an element may stand for; of several types that is meant which takes the value."""
    definitions = schema.get("$defs", {})
    for choice in _choices(schema) or [schema]:
        if _meant(choice, definitions, has_parts=True).get("type") in ("array", "object"):
            with contextlib.suppress(ValueError):
                yield _value([root], choice, definitions)


def _value(elements: Sequence[Element], schema: Schema, definitions: Schema) -> Any:
    """Return what elements of one name stand for; numbers and the like stay texts, which pydantic reads."""
    first = elements[0]
    schema = _meant(schema, definitions, has_parts=len(first) > 0)
    items = schema.get("items", {})
    if schema.get("type") == "array":
        if len(elements) == 1 and _holds_items(first, _meant(items, definitions, has_parts=True)):
            elements = list(first)
    elif len(elements) == 1:
        return _object(first, schema, definitions) if len(first) else _plain(first, schema)
    else:
        items = schema
    if len(elements) == 1 and elements[0] is first and not len(first):
        value = _plain(first, schema)
        return value if isinstance(value, list) or value is None else [value]
    return [_value([element], items, definitions) for element in elements]


def _plain(element: Element, schema: Schema) -> Any:
    """Return what an element without others in it stands for: text, or JSON where a list or object is due."""
    text, kind = (element.text or "").strip(), schema.get("type")
    if schema.get("optional") and text in _NONE_WORDS:
        return None
    if kind in ("array", "object") and (not text or text[0] in "[{"):
        return json.loads(text) if text else {"array": [], "object": {}}[kind]
    return text


def _object(element: Element, schema: Schema, definitions: Schema) -> Any:
    if schema.get("type") == "string":
        return (element.text or "") + "".join(tostring(part, encoding="unicode") for part in element)
    if _has_words(element):
        raise ValueError("words stand between the elements")
    parts: defaultdict[str, list[Element]] = defaultdict(list)
    for part in element:
        # As DSPy writes keys that can't be the name of an element.
        parts[part.get("key", part.tag) if part.tag == "entry" else part.tag].append(part)
    known, others = schema.get("properties", {}), schema.get("additionalProperties")
    other = others if isinstance(others, dict) else {}
    return {name: _value(same, known.get(name, other), definitions) for name, same in parts.items()}


def _meant(schema: Schema, definitions: Schema, *, has_parts: bool) -> Schema:
    """Return a schema without references and choices, with `optional` where None may be meant."""
    schema = definitions.get(schema.get("$ref", "").rpartition("/")[2], schema)
    choices = _choices(schema)
    if not choices:
        return schema
    values = [choice for choice in choices if choice.get("type") != "null"]
    fitting = [choice for choice in values if not has_parts or choice.get("type") != "string"]
    chosen = _meant((fitting or values)[0], definitions, has_parts=has_parts)
    return {**chosen, "optional": len(values) < len(choices)}


def _choices(schema: Schema) -> list[Any]:
    return schema.get("anyOf") or schema.get("oneOf") or []


def _holds_items(element: Element, items: Schema) -> bool:
    """Whether the elements within are items of a list, not the parts of its one item."""
    names = {part.tag for part in element}
    if len(names) != 1 or _has_words(element):
        return False
    (name,) = names
    is_part = items.get("type") == "object" and name in items.get("properties", {name: None})
    return name == "item" or not is_part


def _has_words(element: Element) -> bool:
    """Whether text stands between the elements within, as in "the <b>first</b> one"."""
    return any((text or "").strip() for text in (element.text, *(part.tail for part in element)))
