"""`ChatAdapter`: fields under markers such as `[[ ## answer ## ]]`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from mipro._normal import as_spelled
from mipro.adapters._base import Adapter, Answers
from mipro.adapters._read import read_value, with_defaults
from mipro.adapters._tool_calls import ToolCalls
from mipro.adapters._values import describe_fields, placeholder, type_name, value_text
from mipro.adapters._wording import WORDING
from mipro.errors import AdapterParseError
from mipro.signature import FIELD_NAME

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Mapping, Sequence

    from pydantic.fields import FieldInfo

    from mipro.adapters._base import LMCall
    from mipro.lm import BaseLM
    from mipro.signature import Signature

_MARKER = re.compile(rf"^[^\S\n]*\[\[ ## ({FIELD_NAME}) ## \]\]", re.MULTILINE)
_END_MARKER = "[[ ## completed ## ]]"
# More values within each other than any task asks for, and fewer than end the functions that go through them.
_MAX_DEPTH = 100


class FieldInfoWithName(NamedTuple):
    """A field and its name."""

    name: str
    info: FieldInfo


class ChatAdapter(Adapter):
    """The default: every field under a marker with its name, which all models can write.

    An answer that can't be read is asked for once more as JSON.

    Args:
        callbacks: See `Adapter`.
        use_native_function_calling: See `Adapter`.
        native_response_types: Kept for the caller.
        use_json_adapter_fallback: Whether to ask once more as JSON.
        parallel_tool_calls: See `Adapter`.
    """

    # How the reminder of the output format names a field, and what it says.
    _field_form = "[[ ## {} ## ]]"
    _reminder = WORDING.chat_reminder

    def __init__(
        self,
        callbacks: Sequence[Any] | None = None,
        use_native_function_calling: bool = False,
        native_response_types: Sequence[type] | None = None,
        use_json_adapter_fallback: bool = True,
        parallel_tool_calls: bool | None = None,
    ) -> None:
        super().__init__(callbacks, use_native_function_calling, native_response_types, parallel_tool_calls)
        self.use_json_adapter_fallback = use_json_adapter_fallback
        self._fallback: Adapter | None = None

    def exchange(
        self,
        lm: BaseLM,
        params: dict[str, Any],
        signature: type[Signature],
        demos: Sequence[Mapping[str, Any]],
        inputs: dict[str, Any],
    ) -> Generator[LMCall, list[Any], Answers]:
        """Yield the calls to make: as chat, then once as JSON where that can't be read."""
        try:
            return (yield from super().exchange(lm, dict(params), signature, demos, inputs))
        except AdapterParseError as error:
            if not self.use_json_adapter_fallback:
                raise
            first = error
        try:
            answers = yield from self._json_adapter().exchange(lm, params, signature, demos, inputs)
        except AdapterParseError as second:
            raise second from first
        answers.metadata["fallback"] = str(first)
        return answers

    def _json_adapter(self) -> Adapter:
        if self._fallback is None:
            from mipro.adapters._json import JSONAdapter  # noqa: PLC0415 - it is a ChatAdapter itself

            self._fallback = JSONAdapter(
                use_native_function_calling=self.use_native_function_calling,
                parallel_tool_calls=self.parallel_tool_calls,
            )
        return self._fallback

    def format_field_description(self, signature: type[Signature]) -> str:
        """Return the list of input and output fields."""
        return (
            f"{WORDING.inputs_title}\n{describe_fields(signature.input_fields)}\n"
            f"{WORDING.outputs_title}\n{describe_fields(signature.output_fields)}"
        )

    def format_field_structure(self, signature: type[Signature]) -> str:
        """Return the layout of messages: each field under its marker."""
        inputs, outputs = (
            self.format_field_with_value(
                {FieldInfoWithName(name, info): placeholder(name, info) for name, info in fields.items()}
            )
            for fields in (signature.input_fields, signature.output_fields)
        )
        return f"{WORDING.chat_layout}\n\n{inputs}\n\n{outputs}\n\n{_END_MARKER}"

    def format_task_description(self, signature: type[Signature]) -> str:
        """Return the instructions, introduced and indented."""
        indent = "\n" + " " * 8
        return f"{WORDING.task}{indent}{indent.join(signature.instructions.splitlines())}"

    def format_user_message_content(
        self,
        signature: type[Signature],
        inputs: Mapping[str, Any],
        prefix: str = "",
        suffix: str = "",
        main_request: bool = False,
    ) -> str:
        """Return the given inputs under their markers, then the reminder of the output format."""
        parts = [prefix]
        for name, info in signature.input_fields.items():
            if name in inputs:
                parts.append(f"[[ ## {name} ## ]]\n{value_text(info, inputs[name])}")
        if main_request:
            reminder = self._head(signature).reminder
            if reminder is not None:
                parts.append(reminder)
        parts.append(suffix)
        return "\n\n".join(parts).strip()

    def user_message_output_requirements(self, signature: type[Signature]) -> str | None:
        """Return the reminder of the output format, or None where only tools are to be called."""
        if not signature.output_fields:
            return None
        fields = WORDING.joiner.join(
            f"`{self._field_form.format(name)}`{self._type_hint(info)}"
            for name, info in signature.output_fields.items()
        )
        return self._reminder.format(fields=fields)

    def _type_hint(self, info: FieldInfo) -> str:
        if info.annotation is str:
            return ""
        if info.annotation is ToolCalls:
            return WORDING.reminder_tool_calls
        return WORDING.reminder_type.format(type=type_name(info.annotation))

    def format_assistant_message_content(
        self,
        signature: type[Signature],
        outputs: Mapping[str, Any],
        missing_field_message: str | None = None,
    ) -> str:
        """Return the output fields under their markers, then the end marker."""
        values = {
            FieldInfoWithName(name, info): outputs.get(name, missing_field_message)
            for name, info in signature.output_fields.items()
        }
        return f"{self.format_field_with_value(values)}\n\n{_END_MARKER}\n"

    def format_field_with_value(self, fields_with_values: Mapping[FieldInfoWithName, Any]) -> str:
        """Return values under the markers of their fields."""
        return "\n\n".join(
            f"[[ ## {field.name} ## ]]\n{value_text(field.info, value)}"
            for field, value in fields_with_values.items()
        ).strip()

    def parse(self, signature: type[Signature], completion: str) -> dict[str, Any]:
        """Return what stands under the markers of the output fields, the first time each occurs.

        Raises:
            AdapterParseError: A field is missing or of another type.
        """
        outputs = signature.output_fields
        values: dict[str, Any] = {}
        said = without_thoughts(
            signature, completion, lambda text: (as_spelled(name, outputs) for name in _MARKER.findall(text))
        )
        # The end marker may follow the last value on its line.
        answer = said.rstrip().removesuffix(_END_MARKER)
        markers = list(_MARKER.finditer(answer))
        for number, marker in enumerate(markers):
            name = as_spelled(marker.group(1), outputs)
            if name not in outputs or name in values:
                continue
            end = markers[number + 1].start() if number + 1 < len(markers) else len(answer)
            text = answer[marker.end() : end].strip()
            values[name] = read_field("ChatAdapter", signature, completion, name, text, values)
        return complete_or_raise("ChatAdapter", signature, completion, values)

    def format_finetune_data(
        self,
        signature: type[Signature],
        demos: Sequence[Mapping[str, Any]],
        inputs: Mapping[str, Any],
        outputs: Mapping[str, Any],
    ) -> dict[str, list[Any]]:
        """Return prompt and answer as one conversation in OpenAI's fine-tuning format."""
        answer = self.format_assistant_message_content(signature, outputs)
        messages = self.format(signature, demos, inputs)
        return {"messages": [*messages, {"role": "assistant", "content": answer}]}


def without_thoughts(
    signature: type[Signature], completion: str, named: Callable[[str], Iterable[str]]
) -> str:
    """Return an answer without the thoughts that a model wrote before it, up to a `</think>`.

    They may rehearse the form of the answer, whose fields are then there twice. The tag that begins
    them may be a part of the prompt, and a value may speak of the one that ends them: what comes
    before must not begin as an answer does, and what follows must have all fields.

    Args:
        signature: Has the output fields.
        completion: The whole answer.
        named: Returns the names of the fields that a text has.
    """
    thoughts, tag, rest = completion.partition("</think>")
    thoughts = thoughts.lstrip()
    if not tag or (thoughts.startswith(("{", "[", "<", "`")) and not thoughts.startswith("<think>")):
        return completion
    return rest if signature.output_fields.keys() <= set(named(rest)) else completion


def read_field(
    adapter: str, signature: type[Signature], completion: str, name: str, value: Any, found: dict[str, Any]
) -> Any:
    """Return the value of one output field, or raise that it can't be read.

    Args:
        adapter: Class name of the adapter.
        signature: Has the field.
        completion: The whole answer.
        name: Name of the field.
        value: What the answer holds for it.
        found: The fields that could be read.
    """
    is_deep, cause = _is_too_deep(value), None
    reason = f"at most {_MAX_DEPTH} lists and objects may be within each other"
    try:
        made = value if is_deep else read_value(value, signature.output_fields[name].annotation)
        if not is_deep and not _is_too_deep(made):
            return made
    except ValueError as error:
        reason, cause = str(error), error
    shown = "" if is_deep else f" with value {value!r}"
    raise AdapterParseError(
        adapter,
        signature,
        completion,
        f"Failed to parse field {name}{shown}: {reason}",
        parsed_result=found,
        missing=(name,),
    ) from cause


def _is_too_deep(value: Any) -> bool:
    """Whether more lists and dicts are within each other than `_MAX_DEPTH`."""
    level = [value]
    for _ in range(_MAX_DEPTH + 1):
        parts = (
            part.values() if isinstance(part, dict) else part
            for part in level
            if isinstance(part, (list, dict))
        )
        level = [inner for part in parts for inner in part]
        if not level:
            return False
    return True


def complete_or_raise(
    adapter: str, signature: type[Signature], completion: str, values: dict[str, Any]
) -> dict[str, Any]:
    """Return all output fields in order, or raise what is missing."""
    complete = with_defaults(signature.output_fields, values)
    missing = tuple(name for name in signature.output_fields if name not in complete)
    if missing:
        raise AdapterParseError(adapter, signature, completion, parsed_result=complete, missing=missing)
    return complete
