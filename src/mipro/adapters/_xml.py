"""`XMLAdapter`: every field in an element of its name."""

from __future__ import annotations

import re
from collections import defaultdict, deque
from typing import TYPE_CHECKING, Any

from mipro.adapters._chat import (
    ChatAdapter,
    FieldInfoWithName,
    complete_or_raise,
    read_field,
    without_thoughts,
)
from mipro.adapters._values import placeholder, value_text
from mipro.adapters._wording import WORDING

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Mapping

    from mipro.signature import Signature

_CDATA = re.compile(r"\s*<!\[CDATA\[(?P<text>.*)\]\]>\s*", re.DOTALL)
# The beginning or the end of an element; what stands in CDATA is none.
_TAG = re.compile(r"<!\[CDATA\[.*?\]\]>|<(?P<end>/?)(?P<name>\w+)(?:\s[^<>]*)?(?<!/)>", re.DOTALL)


class XMLAdapter(ChatAdapter):
    """Asks for the fields as XML elements, for models that like those best.

    Values that are no text stand in their element as JSON. Arguments as for `ChatAdapter`.
    """

    _field_form = "<{}>"
    _reminder = WORDING.xml_reminder

    def format_field_structure(self, signature: type[Signature]) -> str:
        """Return the layout of messages: each field in its element."""
        parts = [
            self.format_field_with_value(
                {FieldInfoWithName(name, info): placeholder(name, info) for name, info in fields.items()}
            )
            for fields in (signature.input_fields, signature.output_fields)
        ]
        return "\n\n".join([WORDING.chat_layout, *parts])

    def format_user_message_content(
        self,
        signature: type[Signature],
        inputs: Mapping[str, Any],
        prefix: str = "",
        suffix: str = "",
        main_request: bool = False,
    ) -> str:
        """Return the given inputs in their elements, then the reminder of the output format."""
        given = {
            FieldInfoWithName(name, info): inputs[name]
            for name, info in signature.input_fields.items()
            if name in inputs
        }
        reminder = self._head(signature).reminder if main_request else None
        parts = [prefix, self.format_field_with_value(given), reminder or "", suffix]
        return "\n\n".join(part for part in parts if part).strip()

    def format_assistant_message_content(
        self,
        signature: type[Signature],
        outputs: Mapping[str, Any],
        missing_field_message: str | None = None,
    ) -> str:
        """Return the output fields in their elements."""
        return self.format_field_with_value(
            {
                FieldInfoWithName(name, info): outputs.get(name, missing_field_message)
                for name, info in signature.output_fields.items()
            }
        )

    def format_field_with_value(self, fields_with_values: Mapping[FieldInfoWithName, Any]) -> str:
        """Return values in the elements of their fields."""
        return "\n\n".join(
            f"<{field.name}>\n{value_text(field.info, value)}\n</{field.name}>"
            for field, value in fields_with_values.items()
        )

    def parse(self, signature: type[Signature], completion: str) -> dict[str, Any]:
        """Return what stands in the elements of the output fields, the first time each occurs.

        Raises:
            AdapterParseError: A field is missing or of another type.
        """
        outputs = signature.output_fields
        values: dict[str, Any] = {}
        said = without_thoughts(
            signature, completion, lambda text: (name for name, _ in _elements(text, outputs))
        )
        for name, text in _elements(said, outputs):
            if name in outputs and name not in values:
                data = _CDATA.fullmatch(text)
                content = (data["text"] if data else text).strip()
                values[name] = read_field("XMLAdapter", signature, completion, name, content, values)
        # Last, since an element without content may also be how a model speaks of one that follows.
        for name in outputs:
            if name not in values and re.search(rf"<{name}\s*/>", completion):
                values[name] = read_field("XMLAdapter", signature, completion, name, "", values)
        return complete_or_raise("XMLAdapter", signature, completion, values)


def _elements(text: str, names: Container[str]) -> list[tuple[str, str]]:
    """Return name and content of the outermost elements; of those inside, where none of these is a field."""
    elements: list[tuple[str, str]] = []
    waiting = [text]
    while waiting:  # an answer may be nested more deeply than functions may be
        found = list(_outermost(waiting.pop()))
        if any(name in names for name, _ in found):
            elements += found
        else:
            waiting += [content for _, content in reversed(found)]
    return elements


def _outermost(text: str) -> Iterator[tuple[str, str]]:
    """Yield name and content of the outermost elements.

    An element ends where all of its name that begin in it have ended ("<code>see <code>x</code></code>"),
    or at the first end of that name where they don't ("<code>the <code> tag</code>").
    """
    tags = [tag for tag in _TAG.finditer(text) if tag["name"]]
    begun: defaultdict[str, list[int]] = defaultdict(list)
    ends: defaultdict[str, deque[re.Match[str]]] = defaultdict(deque)
    own_end: dict[int, re.Match[str]] = {}
    for tag in tags:
        if not tag["end"]:
            begun[tag["name"]].append(tag.start())
            continue
        ends[tag["name"]].append(tag)
        if begun[tag["name"]]:
            own_end[begun[tag["name"]].pop()] = tag
    behind = 0
    for tag in tags:
        later = ends[tag["name"]]
        while later and later[0].start() < tag.start():
            later.popleft()
        if tag["end"] or tag.start() < behind or not later:
            continue
        end = own_end.get(tag.start(), later[0])
        yield tag["name"], text[tag.end() : end.start()]
        behind = end.end()
