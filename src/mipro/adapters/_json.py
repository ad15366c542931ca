"""`JSONAdapter`: the answer is one JSON object, by schema where the server can do that."""

from __future__ import annotations

import contextlib
import json
import re
from typing import TYPE_CHECKING, Any

from mipro._normal import as_spelled
from mipro.adapters._base import Adapter, Answers
from mipro.adapters._chat import (
    ChatAdapter,
    FieldInfoWithName,
    complete_or_raise,
    read_field,
    without_thoughts,
)
from mipro.adapters._read import repair_json
from mipro.adapters._schema import response_schema
from mipro.adapters._values import as_plain, placeholder, value_text
from mipro.adapters._wording import WORDING
from mipro.errors import AdapterParseError, ContextWindowError, LMRequestError

if TYPE_CHECKING:
    from collections.abc import Collection, Generator, Iterator, Mapping, Sequence

    from pydantic.fields import FieldInfo

    from mipro.adapters._base import LMCall
    from mipro.lm import BaseLM
    from mipro.signature import Signature

_JSON_OBJECT: dict[str, Any] = {"type": "json_object"}


class JSONAdapter(ChatAdapter):
    """Asks for one JSON object with the output fields as keys.

    The strictest format that the model takes is used: a JSON schema, a JSON object,
    or plain text. One that a server refuses is not offered to it again.

    Args:
        callbacks: See `Adapter`.
        use_native_function_calling: See `Adapter`.
        parallel_tool_calls: See `Adapter`.
    """

    _field_form = "{}"
    _reminder = WORDING.json_reminder

    def __init__(
        self,
        callbacks: Sequence[Any] | None = None,
        use_native_function_calling: bool = True,
        parallel_tool_calls: bool | None = None,
    ) -> None:
        super().__init__(
            callbacks,
            use_native_function_calling,
            use_json_adapter_fallback=False,
            parallel_tool_calls=parallel_tool_calls,
        )
        # Response formats, by model, that its server has refused.
        self._refused: set[tuple[str, str]] = set()

    def exchange(
        self,
        lm: BaseLM,
        params: dict[str, Any],
        signature: type[Signature],
        demos: Sequence[Mapping[str, Any]],
        inputs: dict[str, Any],
    ) -> Generator[LMCall, list[Any], Answers]:
        """Yield the calls to make: in the strictest format that the server takes."""
        if "response_format" in params:
            return (yield from Adapter.exchange(self, lm, params, signature, demos, inputs))
        model = str(getattr(lm, "identity", lm.model))
        asked = self._call_preprocess(lm, dict(params), signature, inputs)
        for response_format in self._response_formats(lm, model, asked):
            offered = dict(params, response_format=response_format)
            try:
                return (yield from Adapter.exchange(self, lm, offered, signature, demos, inputs))
            except ContextWindowError:
                raise
            except LMRequestError as error:
                text = str(error)
                # Groq's: one answer did not fit its format, which says nothing about the next.
                if "failed_generation" in text or not ("response_format" in text or "schema" in text):
                    raise
                self._refused.add((model, response_format["type"]))
        return (yield from Adapter.exchange(self, lm, params, signature, demos, inputs))

    def _response_formats(
        self, lm: BaseLM, model: str, signature: type[Signature]
    ) -> Generator[dict[str, Any], None, None]:
        """Yield the formats to offer, the strictest first."""
        if not signature.output_fields:
            return  # all that is asked for comes as native tool calls
        if not lm.supports_response_schema and "response_format" not in lm.supported_params:
            return
        if lm.supports_response_schema and (model, "json_schema") not in self._refused:
            schema = response_schema(signature)
            if schema is not None:
                yield schema
        if (model, "json_object") not in self._refused:
            yield _JSON_OBJECT

    def format_field_structure(self, signature: type[Signature]) -> str:
        """Return the layout: inputs under markers, outputs as a JSON object."""
        inputs, outputs = (
            {FieldInfoWithName(name, info): placeholder(name, info) for name, info in fields.items()}
            for fields in (signature.input_fields, signature.output_fields)
        )
        parts = [
            WORDING.json_layout,
            WORDING.json_inputs,
            self.format_field_with_value(inputs, role="user"),
            WORDING.json_outputs,
            self.format_field_with_value(outputs, role="assistant"),
        ]
        return "\n\n".join(parts).strip()

    def format_assistant_message_content(
        self,
        signature: type[Signature],
        outputs: Mapping[str, Any],
        missing_field_message: str | None = None,
    ) -> str:
        """Return the output fields as a JSON object."""
        values = {
            FieldInfoWithName(name, info): outputs.get(name, missing_field_message)
            for name, info in signature.output_fields.items()
        }
        return self.format_field_with_value(values, role="assistant")

    def format_field_with_value(
        self, fields_with_values: Mapping[FieldInfoWithName, Any], role: str = "user"
    ) -> str:
        """Return values under markers ("user") or as a JSON object ("assistant")."""
        if role == "user":
            return super().format_field_with_value(fields_with_values)
        values = {field.name: _json_value(field.info, value) for field, value in fields_with_values.items()}
        return json.dumps(values, indent=2, ensure_ascii=False)

    def parse(self, signature: type[Signature], completion: str) -> dict[str, Any]:
        """Return the output fields of the JSON object in an answer, repaired if need be.

        Raises:
            AdapterParseError: There is no object, or a field is missing or of another type.
        """
        names = signature.output_fields
        said = without_thoughts(signature, completion, lambda text: _json_object(text, names) or ())
        found = _json_object(said, names)
        if found is None:
            raise AdapterParseError(
                "JSONAdapter",
                signature,
                completion,
                "LM response cannot be serialized to a JSON object.",
                missing=tuple(signature.output_fields),
            )
        values = {
            name: read_field("JSONAdapter", signature, completion, name, found[name], found)
            for name in signature.output_fields
            if name in found
        }
        return complete_or_raise("JSONAdapter", signature, completion, values)


def _json_value(info: FieldInfo, value: Any) -> Any:
    if isinstance(value, str):
        return value
    if isinstance(value, list) and info.annotation is str:
        return value_text(info, value)
    return as_plain(value)


def _json_object(text: str, names: Collection[str]) -> dict[str, Any] | None:
    """Return the JSON object that `text` is, nearly is, or holds: the one with the most of `names`."""
    best: dict[str, Any] | None = None
    most = -1
    for reading in _readings(text):
        found = reading
        if isinstance(reading, dict):
            found = {as_spelled(str(name), names): value for name, value in reading.items()}
        count = sum(name in found for name in names) if isinstance(found, dict) else -1
        if count > most:
            best, most = found, count
        if most == len(names):
            break
    return best


def _readings(text: str) -> Iterator[Any]:
    """Yield what `text` may stand for: the whole, then objects among other words, then repairs.

    A repair takes words and braces around an object for parts of it, and drops empty texts.
    """
    with contextlib.suppress(ValueError, RecursionError):
        yield json.loads(text)
    objects, inner, broken = _objects(text)
    yield from reversed(objects)  # a model that writes several has thought again
    if inner:  # {"answer": {"answer": 1}} without the last brace is not {"answer": 1}
        yield from map(repair_json, broken)
        yield from reversed(inner)
    yield from (value for found in [*objects, *inner] for value in found.values())  # {"outputs": {...}}
    start, end = text.find("{"), text.rfind("}") + 1
    # What is after the last brace may be its end, which is missing, or other words.
    parts = [text, *broken, text[start:], text[start:end]] if start >= 0 else [text]
    yield from map(repair_json, dict.fromkeys(parts))


def _objects(text: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]], list[str]]:
    """Return the outermost JSON objects in `text`, those in broken ones, and the outermost broken ones."""
    decode = json.JSONDecoder(strict=False).raw_decode
    closed = _closed(text)
    if text.lstrip().startswith("{"):  # the answer is an object, if need be one without its end
        closed.setdefault(text.index("{"), len(text))
    objects: list[dict[str, Any]] = []
    inner: list[dict[str, Any]] = []
    broken: list[str] = []
    behind_object = behind_broken = 0
    for start in sorted(closed):
        if start < behind_object:
            continue
        try:
            found, behind_object = decode(text, start)
            (inner if start < behind_broken else objects).append(found)
        except (ValueError, RecursionError):
            if start >= behind_broken:
                behind_broken = closed[start]
                broken.append(text[start:behind_broken])
    return objects, inner, broken


def _closed(text: str) -> dict[int, int]:
    """Return for each opening brace that is closed where it begins and where the closing one ends."""
    stack: list[int] = []
    closed: dict[int, int] = {}
    for brace in re.finditer("[{}]", text):
        if brace.group() == "{":
            stack.append(brace.start())
        elif stack:
            closed[stack.pop()] = brace.end()
    return closed
