"""`XMLAdapter`: every field in an element of its name."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from mipro._normal import as_spelled
from mipro.adapters._chat import (
    ChatAdapter,
    FieldInfoWithName,
    complete_or_raise,
    read_field,
    without_thoughts,
)
from mipro.adapters._values import placeholder, value_text
from mipro.adapters._wording import WORDING
from mipro.signature import FIELD_NAME

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from mipro.signature import Signature

_CDATA = re.compile(r"\s*<!\[CDATA\[(?P<text>.*)\]\]>\s*", re.DOTALL)
_CDATA_END = "]]>"
# The beginning or the end of an element, or the beginning of CDATA.
_TAG = re.compile(rf"<!\[CDATA\[|<(?P<end>/?)(?P<name>{FIELD_NAME})(?:\s[^<>]*)?(?<!/)>")


class XMLAdapter(ChatAdapter):
    """Asks for the fields as XML elements, for models that like those best.

    Values that are no text stand in their element as JSON; where a model writes them as elements within it,
    as DSPy asks for, they are read too. Arguments as for `ChatAdapter`.
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
                values[name] = self._field(signature, completion, name, content, values)
        # Last, since an element without content may also be how a model speaks of one that follows.
        for name in outputs:
            if name not in values and re.search(rf"<{name}\s*/>", completion):
                values[name] = self._field(signature, completion, name, "", values)
        return complete_or_raise("XMLAdapter", signature, completion, values)

    def _field(
        self, signature: type[Signature], completion: str, name: str, text: str, found: dict[str, Any]
    ) -> Any:
        value: Any = text
        annotation = signature.output_fields[name].annotation
        if (not text or text.startswith("<")) and annotation is not str:
            from mipro.adapters._nested import nested_value  # noqa: PLC0415 - seldom needed

            value = nested_value(text, annotation)
        return read_field("XMLAdapter", signature, completion, name, value, found)


def _elements(text: str, names: Collection[str]) -> list[tuple[str, str]]:
    """Return name and content of the outermost elements; of those inside, where none of these is a field."""
    tags = _Tags(text)
    elements: list[tuple[str, str]] = []
    waiting = [(0, len(tags.found))]
    # An answer may be nested more deeply than functions may be, and no part of it is read twice: a model that
    # repeats a tag without end would stop all threads.
    while waiting:
        outermost = list(tags.outermost(*waiting.pop()))
        named = [as_spelled(tags.found[begin]["name"], names) for begin, _ in outermost]
        if any(name in names for name in named):
            pairs = [(tags.found[begin], tags.found[end]) for begin, end in outermost]
            contents = [text[begin.end() : end.start()] for begin, end in pairs]
            elements += zip(named, contents, strict=True)
        else:
            waiting += [(begin + 1, end) for begin, end in reversed(outermost)]
    return elements


class _Tags:
    """The tags of a text, and which of them belong together."""

    def __init__(self, text: str) -> None:
        self.found = list(_tags(text))
        begun: defaultdict[str, list[int]] = defaultdict(list)
        self._ends: defaultdict[str, list[int]] = defaultdict(list)
        self._own_end: dict[int, int] = {}
        for place, tag in enumerate(self.found):
            if not tag["end"]:
                begun[tag["name"]].append(place)
                continue
            self._ends[tag["name"]].append(place)
            if begun[tag["name"]]:
                self._own_end[begun[tag["name"]].pop()] = place

    def outermost(self, place: int, behind: int) -> Iterator[tuple[int, int]]:
        """Yield where the outermost elements begin and end among the tags from `place` to before `behind`."""
        while place < behind:
            end = self._end_of(place, behind)
            if end < behind:
                yield place, end
                place = end
            place += 1

    def _end_of(self, place: int, behind: int) -> int:
        """Return where the element ends that a tag begins, `behind` where it does not or begins none.

        That is where all of its name that begin in it have ended ("<code>see <code>x</code></code>"), or at
        the first end of that name where they don't ("<code>the <code> tag</code>").
        """
        tag = self.found[place]
        if tag["end"]:
            return behind
        if (own := self._own_end.get(place, behind)) < behind:
            return own
        ends = self._ends[tag["name"]]
        later = bisect_right(ends, place)
        return ends[later] if later < len(ends) else behind


def _tags(text: str) -> Iterator[re.Match[str]]:
    """Yield what begins or ends an element; what stands in CDATA does not."""
    last, behind = text.rfind(_CDATA_END), 0
    while tag := _TAG.search(text, behind):
        behind = tag.end()
        if tag["name"]:
            yield tag
        elif behind <= last:
            behind = text.index(_CDATA_END, behind) + len(_CDATA_END)
