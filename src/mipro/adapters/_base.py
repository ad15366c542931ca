"""`Adapter`: signature, demos and inputs -> messages; answer -> typed fields."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mipro._steps import drive, drive_async
from mipro.adapters._history import History, history_field
from mipro.adapters._prefix import HeadCache
from mipro.adapters._read import with_defaults
from mipro.adapters._reasoning import Reasoning, native_effort
from mipro.adapters._tool_calls import native_tools, read_tool_calls, tool_calls_field, tool_fields
from mipro.adapters._turns import turn_messages
from mipro.adapters._type import with_content_blocks
from mipro.adapters._wording import WORDING
from mipro.callback import notified
from mipro.errors import AdapterParseError, UserError
from mipro.signature import NOT_IN_DEMOS, extra_of

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    from mipro.lm import BaseLM
    from mipro.signature import Signature

Message = dict[str, Any]
# The field of `ChainOfThought`.
_REASONING = "reasoning"


@dataclass(frozen=True, slots=True)
class LMCall:
    """A call that an exchange asks its driver to make, sync or async."""

    lm: BaseLM
    messages: list[Message]
    params: dict[str, Any]


class Answers(list[dict[str, Any]]):
    """The fields of each completion, and how they were come by.

    Attributes:
        metadata: What `Prediction.get_metadata` shows.
    """

    def __init__(self, values: Sequence[dict[str, Any]], metadata: dict[str, Any]) -> None:
        super().__init__(values)
        self.metadata = metadata


class Adapter:
    """Turns a signature into a prompt and an answer into typed fields.

    A subclass defines `format_field_description`, `format_field_structure`,
    `format_task_description`, `format_user_message_content`,
    `format_assistant_message_content` and `parse`; it may override any other method.

    Args:
        callbacks: Told of prompts and parsed answers; see `mipro.callback.BaseCallback`.
        use_native_function_calling: Whether fields of type `list[Tool]` and `ToolCalls`
            go through the server's own tool calls, where the model has them.
        native_response_types: Types of output fields that a model may fill by itself;
            `Reasoning` is the one there is.
        parallel_tool_calls: Sent to the server with native tool calls, unless None.
    """

    # What the head of a prompt shows is kept only while the methods that write it are ours.
    _heads_can_be_kept = True

    def __init__(
        self,
        callbacks: Sequence[Any] | None = None,
        use_native_function_calling: bool = False,
        native_response_types: Sequence[type] | None = None,
        parallel_tool_calls: bool | None = None,
    ) -> None:
        self.callbacks: list[Any] = list(callbacks or ())
        self.use_native_function_calling = use_native_function_calling
        self.native_response_types: list[type] = list(native_response_types or (Reasoning,))
        self.parallel_tool_calls = parallel_tool_calls
        self._heads = HeadCache()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        is_ours = cls.__module__.partition(".")[0] == __name__.partition(".")[0]
        if not is_ours and any(name.startswith(("format_", "user_message_")) for name in vars(cls)):
            cls._heads_can_be_kept = False

    def __call__(
        self,
        lm: BaseLM,
        lm_kwargs: dict[str, Any],
        signature: type[Signature],
        demos: Sequence[Mapping[str, Any]],
        inputs: dict[str, Any],
    ) -> list[dict[str, Any]]:
        """Ask `lm` and return the output fields of each completion.

        Args:
            lm: The model.
            lm_kwargs: Parameters of this call (`temperature`, `n`, ...).
            signature: What is asked and what must be answered.
            demos: Worked examples to show.
            inputs: Values of the input fields.

        Raises:
            AdapterParseError: The answer does not hold the output fields.
            LMError: The call failed.
        """
        exchange = self.exchange(lm, dict(lm_kwargs), signature, demos, inputs)
        return drive(exchange, lambda call: call.lm(messages=call.messages, **call.params))

    async def acall(
        self,
        lm: BaseLM,
        lm_kwargs: dict[str, Any],
        signature: type[Signature],
        demos: Sequence[Mapping[str, Any]],
        inputs: dict[str, Any],
    ) -> list[dict[str, Any]]:
        """Do the same as calling the adapter, awaiting the model."""
        exchange = self.exchange(lm, dict(lm_kwargs), signature, demos, inputs)
        return await drive_async(exchange, lambda call: call.lm.acall(messages=call.messages, **call.params))

    def exchange(
        self,
        lm: BaseLM,
        params: dict[str, Any],
        signature: type[Signature],
        demos: Sequence[Mapping[str, Any]],
        inputs: dict[str, Any],
    ) -> Generator[LMCall, list[Any], Answers]:
        """Yield the calls to make; the one core of `__call__` and `acall`."""
        asked = self._call_preprocess(lm, params, signature, inputs)
        shown = {"signature": asked, "demos": demos, "inputs": inputs}
        with notified("adapter_format", self, shown) as seen:
            messages = seen(self.format(asked, demos, inputs))
        outputs = yield LMCall(lm, messages, params)
        values = self._call_postprocess(asked, signature, outputs, lm, params)
        metadata: dict[str, Any] = {"adapter": type(self).__name__}
        reasoning = [output.get("reasoning_content") for output in outputs if isinstance(output, dict)]
        if any(reasoning):
            metadata["reasoning"] = reasoning
        return Answers(values, metadata)

    def _call_preprocess(
        self, lm: BaseLM, lm_kwargs: dict[str, Any], signature: type[Signature], inputs: dict[str, Any]
    ) -> type[Signature]:
        """Return the signature that the prompt shows; what goes past it moves into `lm_kwargs`."""
        native: list[str] = []
        if self._move_tools(lm, lm_kwargs, signature, inputs):
            native += tool_fields(signature)
        effort = native_effort(lm, lm_kwargs) if self._reasoning_fields(signature) else None
        if effort is not None:
            lm_kwargs["reasoning_effort"] = effort
            native += self._reasoning_fields(signature)
        return self._heads.without(signature, native)

    def _move_tools(
        self, lm: BaseLM, lm_kwargs: dict[str, Any], signature: type[Signature], inputs: dict[str, Any]
    ) -> bool:
        """Put the tools into `lm_kwargs` where they go in the server's own format; return whether."""
        tools = None
        if self.use_native_function_calling:
            tools = native_tools(signature, inputs, supported=bool(lm.supports_function_calling))
        if tools is None:
            if tool_calls_field(signature) or not self.use_native_function_calling:
                for key in ("tools", "tool_choice", "parallel_tool_calls"):
                    lm_kwargs.pop(key, None)
            return False
        lm_kwargs["tools"] = tools
        if self.parallel_tool_calls is not None and lm_kwargs.get("parallel_tool_calls") is None:
            lm_kwargs["parallel_tool_calls"] = self.parallel_tool_calls
        if lm_kwargs.get("parallel_tool_calls") is not None:
            lm_kwargs.setdefault("tool_choice", "auto")
        return True

    def _reasoning_fields(self, signature: type[Signature]) -> list[str]:
        if Reasoning not in self.native_response_types:
            return []
        return [name for name, field in signature.output_fields.items() if field.annotation is Reasoning]

    def _call_postprocess(
        self,
        processed_signature: type[Signature],
        original_signature: type[Signature],
        outputs: list[Any],
        lm: BaseLM,
        lm_kwargs: dict[str, Any],
    ) -> list[dict[str, Any]]:
        """Return the output fields of each completion."""
        del lm, lm_kwargs  # for subclasses
        return [self._read(processed_signature, original_signature, output) for output in outputs]

    def _read(self, asked: type[Signature], signature: type[Signature], output: Any) -> dict[str, Any]:
        parts = output if isinstance(output, dict) else {"text": output}
        text, tool_calls = parts.get("text"), parts.get("tool_calls")
        calls_name = tool_calls_field(signature) if tool_calls else None
        value: dict[str, Any] = {}
        if calls_name is not None:
            value = self._read_beside_tool_calls(asked, text)
        elif text:
            value = self._parse_beside_reasoning(asked, text, parts.get("reasoning_content"))
        else:
            raise AdapterParseError(
                type(self).__name__, signature, str(output), "The LM returned an empty or null response."
            )
        value = with_defaults(signature.output_fields, value)
        for name in signature.output_fields:
            value.setdefault(name, None)
        if calls_name is not None:
            value[calls_name] = read_tool_calls(tool_calls or ())
        if parts.get("reasoning_content"):
            value.update(
                dict.fromkeys(self._reasoning_fields(signature), Reasoning(parts["reasoning_content"]))
            )
        if parts.get("logprobs"):
            value["logprobs"] = parts["logprobs"]
        return value

    def _parsed(self, signature: type[Signature], text: str) -> dict[str, Any]:
        with notified("adapter_parse", self, {"signature": signature, "completion": text}) as seen:
            return seen(self.parse(signature, text))

    def _parse_beside_reasoning(
        self, asked: type[Signature], text: str, reasoning: str | None
    ) -> dict[str, Any]:
        """Parse an answer; a model that reasons by itself need not write the field `reasoning`."""
        try:
            return self._parsed(asked, text)
        except AdapterParseError as error:
            if not reasoning or error.missing != (_REASONING,):
                raise
        return {_REASONING: reasoning, **self._parsed(asked.delete(_REASONING), text)}

    def _read_beside_tool_calls(self, asked: type[Signature], text: str | None) -> dict[str, Any]:
        """Read the text that came with tool calls; it need not hold the fields."""
        if not text or not asked.output_fields:
            return {}
        try:
            return self._parsed(asked, text)
        except AdapterParseError:
            return {}

    def format(
        self, signature: type[Signature], demos: Sequence[Mapping[str, Any]], inputs: Mapping[str, Any]
    ) -> list[Message]:
        """Return the messages of a prompt; calls no model.

        Args:
            signature: What is asked and what must be answered.
            demos: Worked examples; those that lack fields come first and say so, those
                without any input or any output field are left out.
            inputs: Values of the input fields.
        """
        head = self._head(signature)
        messages: list[Message] = [{"role": "system", "content": head.system}]
        if self._heads_can_be_kept:
            messages += self._heads.demos(head, demos, lambda: self.format_demos(signature, demos))
        else:
            messages += self.format_demos(signature, demos)
        rest, current = signature, dict(inputs)
        name = history_field(signature)
        if name is not None:
            rest = self._heads.without(signature, (name,))
            messages += self.format_conversation_history(rest, name, current)
        content = self.format_user_message_content(rest, current, main_request=True)
        if content:
            messages.append({"role": "user", "content": content})
        return [with_content_blocks(message) for message in messages]

    def _head(self, signature: type[Signature]) -> Any:
        cache = self._heads if self._heads_can_be_kept else HeadCache()
        return cache.head(
            signature,
            lambda: (self.format_system_message(signature), self.user_message_output_requirements(signature)),
        )

    def format_system_message(self, signature: type[Signature]) -> str:
        """Return the system message: the fields, their layout, the task."""
        return (
            f"{self.format_field_description(signature)}\n"
            f"{self.format_field_structure(signature)}\n"
            f"{self.format_task_description(signature)}"
        )

    def format_field_description(self, signature: type[Signature]) -> str:
        """Return the list of input and output fields."""
        raise NotImplementedError

    def format_field_structure(self, signature: type[Signature]) -> str:
        """Return the layout of messages."""
        raise NotImplementedError

    def format_task_description(self, signature: type[Signature]) -> str:
        """Return the instructions of the signature, introduced."""
        raise NotImplementedError

    def user_message_output_requirements(self, signature: type[Signature]) -> str | None:
        """Return the reminder of the output format at the end of the last user message, if any."""
        del signature  # for subclasses
        return None

    def format_user_message_content(
        self,
        signature: type[Signature],
        inputs: Mapping[str, Any],
        prefix: str = "",
        suffix: str = "",
        main_request: bool = False,
    ) -> str:
        """Return the user message of a demo or, with `main_request`, of the question itself."""
        raise NotImplementedError

    def format_assistant_message_content(
        self,
        signature: type[Signature],
        outputs: Mapping[str, Any],
        missing_field_message: str | None = None,
    ) -> str:
        """Return the answer of a demo as the model should write it."""
        raise NotImplementedError

    def format_demos(self, signature: type[Signature], demos: Sequence[Mapping[str, Any]]) -> list[Message]:
        """Return a user and an assistant message for each demo, those with gaps first."""
        inputs, outputs = signature.input_fields, signature.output_fields
        fields = [name for name, info in signature.fields.items() if not extra_of(info).get(NOT_IN_DEMOS)]
        partial, complete = [], []
        for demo in demos:
            if all(name in demo and demo[name] is not None for name in fields):
                complete.append(demo)
            elif any(name in demo for name in inputs) and any(name in demo for name in outputs):
                partial.append(demo)
        messages: list[Message] = []
        for demo, prefix, absent in [
            *((demo, WORDING.partial_demo, WORDING.absent_in_demo) for demo in partial),
            *((demo, "", WORDING.absent_in_history) for demo in complete),
        ]:
            user = self.format_user_message_content(signature, demo, prefix=prefix)
            answer = self.format_assistant_message_content(signature, demo, missing_field_message=absent)
            messages.append({"role": "user", "content": user})
            messages.append({"role": "assistant", "content": answer})
        return messages

    def format_conversation_history(
        self, signature: type[Signature], history_field_name: str, inputs: dict[str, Any]
    ) -> list[Message]:
        """Return the messages of earlier turns and take the history out of `inputs`.

        Args:
            signature: The signature without its history field.
            history_field_name: Name of that field.
            inputs: Values of the input fields; changed in place.

        Raises:
            UserError: The value of the field is no `History`.
        """
        history = inputs.pop(history_field_name, None)
        if history is None:
            return []
        if not isinstance(history, History):
            raise UserError(f"`{history_field_name}` must be a History, but got {history!r}.")
        return [message for turn in history.messages for message in turn_messages(self, signature, turn)]

    def parse(self, signature: type[Signature], completion: str) -> dict[str, Any]:
        """Return the output fields that an answer holds.

        Raises:
            AdapterParseError: A field is missing or of another type.
        """
        raise NotImplementedError
