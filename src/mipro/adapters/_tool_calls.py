"""`ToolCalls`: what a model wants called, and the server's own way of saying so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args, get_origin

import pydantic

from mipro.adapters._read import repair_json
from mipro.adapters._tool import Tool
from mipro.adapters._tool_from import convert_input_schema_to_tool_args
from mipro.adapters._type import Type
from mipro.adapters._values import as_plain
from mipro.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mipro.signature import Signature

# Beside the classes, for programs that import from DSPy's `adapters.types.tool`.
__all__ = ["Tool", "ToolCallResults", "ToolCalls", "convert_input_schema_to_tool_args"]


class ToolCalls(Type):
    """The tool calls that a model asks for."""

    class ToolCall(Type):
        """One call: the tool's name and its arguments."""

        id: str | None = pydantic.Field(default=None, exclude=True)
        name: str
        args: dict[str, Any] = pydantic.Field(json_schema_extra={"additionalProperties": True})

        @classmethod
        def __get_pydantic_json_schema__(cls, core_schema: Any, handler: Any) -> Any:
            # The server gives the id; a model that writes the call itself has none.
            schema = handler.resolve_ref_schema(super().__get_pydantic_json_schema__(core_schema, handler))
            schema.get("properties", {}).pop("id", None)
            return schema

        def format(self) -> dict[str, Any]:  # type: ignore[override] # JSON, not content blocks
            """Return name and arguments."""
            return {"name": self.name, "args": self.args}

        def execute(self, functions: dict[str, Any] | Sequence[Tool]) -> Any:
            """Call the tool and return what it returns.

            Args:
                functions: Functions by name, or tools.

            Raises:
                UserError: The tool is not among them.
            """
            named: dict[Any, Any] = (
                functions if isinstance(functions, dict) else {tool.name: tool for tool in functions}
            )
            if self.name not in named:
                raise UserError(f"Tool function '{self.name}' not found; known: {sorted(map(str, named))}.")
            return named[self.name](**self.args)

    tool_calls: list[ToolCall]
    tool_call_results: Any = None
    """What came of the calls, kept with them in a history; no part of what a model writes."""

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: Any, handler: Any) -> Any:
        schema = handler.resolve_ref_schema(super().__get_pydantic_json_schema__(core_schema, handler))
        schema.get("properties", {}).pop("tool_call_results", None)
        return schema

    @pydantic.model_serializer()
    def serialize_model(self) -> dict[str, Any]:
        """Return calls and results as plain values."""
        if self.tool_call_results is None:
            return self.format()
        return {**self.format(), "tool_call_results": as_plain(self.tool_call_results)}

    @classmethod
    def from_dict_list(cls, tool_calls_dicts: Sequence[Mapping[str, Any]]) -> ToolCalls:
        """Return the calls that dicts with `name` and `args` describe."""
        return cls(tool_calls=[cls.ToolCall(**_normal(call)) for call in tool_calls_dicts])

    @classmethod
    def description(cls) -> str:
        """Return what the model is told about the type."""
        return 'A JSON object such as {"tool_calls": [{"name": "search", "args": {"query": "cats"}}]}.'

    def format(self) -> dict[str, Any]:  # type: ignore[override] # JSON, not content blocks
        """Return the calls as plain values."""
        return {"tool_calls": [call.format() for call in self.tool_calls]}

    @pydantic.model_validator(mode="before")
    @classmethod
    def _validate(cls, data: Any) -> Any:
        if isinstance(data, cls):
            return data
        calls = data.get("tool_calls", [data]) if isinstance(data, dict) else data
        is_named = isinstance(data, dict) and "tool_calls" in data
        if isinstance(calls, list) and all(
            isinstance(c, cls.ToolCall) or _is_call(c, or_name=is_named) for c in calls
        ):
            results = data.get("tool_call_results") if isinstance(data, dict) else None
            normal = [cls.ToolCall(**_normal(c)) if isinstance(c, dict) else c for c in calls]
            return {"tool_calls": normal, "tool_call_results": results}
        raise ValueError(f"Received invalid value for `ToolCalls`: {data!r}")


class ToolCallResults(pydantic.BaseModel):
    """What came of tool calls, in their order."""

    class ToolCallResult(pydantic.BaseModel):
        """What came of one call."""

        call_id: str | None = None
        name: str
        value: Any
        is_error: bool = False

    tool_call_results: list[ToolCallResult]

    @classmethod
    def from_tool_calls_and_values(
        cls,
        tool_calls: ToolCalls | Sequence[ToolCalls.ToolCall],
        values: Sequence[Any],
        is_errors: Sequence[bool] | None = None,
    ) -> ToolCallResults:
        """Return the results of calls.

        Args:
            tool_calls: The calls.
            values: What each returned.
            is_errors: Which of them failed; none by default.

        Raises:
            UserError: The lengths differ.
        """
        calls = tool_calls.tool_calls if isinstance(tool_calls, ToolCalls) else list(tool_calls)
        failed = list(is_errors) if is_errors is not None else [False] * len(calls)
        if not len(calls) == len(values) == len(failed):
            raise UserError(
                "`tool_calls`, `values` and `is_errors` must have the same length, but got "
                f"{len(calls)}, {len(values)} and {len(failed)}."
            )
        results = [
            cls.ToolCallResult(call_id=call.id, name=call.name, value=value, is_error=error)
            for call, value, error in zip(calls, values, failed, strict=True)
        ]
        return cls(tool_call_results=results)

    @pydantic.model_validator(mode="before")
    @classmethod
    def _validate(cls, data: Any) -> Any:
        if isinstance(data, list):
            return {"tool_call_results": data}
        if isinstance(data, dict) and "tool_call_results" not in data:
            return {"tool_call_results": [data]}
        return data


# As we, OpenAI and Llama's own format call them.
_ARGUMENTS = ("args", "arguments", "parameters")


def _is_call(value: Any, *, or_name: bool) -> bool:
    """Return whether a value describes a call; `or_name` says that a name alone, without arguments, does."""
    return isinstance(value, dict) and (
        ("name" in value and (or_name or any(name in value for name in _ARGUMENTS))) or "function" in value
    )


def _normal(call: Mapping[str, Any]) -> dict[str, Any]:
    """Return id, name and args of a call in our form or the server's."""
    function = call.get("function")
    inner = function if isinstance(function, dict) else call
    arguments: Any = next((inner[name] for name in _ARGUMENTS if name in inner), {})
    if isinstance(arguments, str):
        arguments = repair_json(arguments)
    return {
        "id": call.get("id") or call.get("call_id"),
        "name": inner.get("name") or call.get("name"),
        "args": arguments if isinstance(arguments, dict) else {},
    }


def read_tool_calls(calls: Sequence[Any]) -> ToolCalls:
    """Return tool calls in the server's form, dicts or objects, as `ToolCalls`."""
    return ToolCalls.from_dict_list([c if isinstance(c, dict) else c.model_dump() for c in calls])


def tool_calls_field(signature: type[Signature]) -> str | None:
    """Return the name of the output field of type `ToolCalls`, if there is one."""
    return next((n for n, field in signature.output_fields.items() if field.annotation is ToolCalls), None)


def _tools_field(signature: type[Signature]) -> str | None:
    for name, field in signature.input_fields.items():
        annotation = field.annotation
        if annotation is Tool or (get_origin(annotation) is list and get_args(annotation) == (Tool,)):
            return name
    return None


def native_tools(
    signature: type[Signature], inputs: Mapping[str, Any], *, supported: bool
) -> list[dict[str, Any]] | None:
    """Return the tools to send in the server's own format, or None for none.

    Raises:
        UserError: The signature wants tool calls and takes no tools.
    """
    calls, tools = tool_calls_field(signature), _tools_field(signature)
    if calls is None:
        return None
    if tools is None:
        raise UserError(
            f"the output field `{calls}` wants tool calls, but there is no input field with the tools; "
            "add one of type `list[Tool]`."
        )
    if not supported:
        return None
    given = inputs.get(tools, [])
    return [tool.format_as_openai_function_call() for tool in (given if isinstance(given, list) else [given])]


def tool_fields(signature: type[Signature]) -> list[str]:
    """Return the names of the fields that go through the server's tool calls."""
    names = (tool_calls_field(signature), _tools_field(signature))
    return [name for name in names if name is not None]
