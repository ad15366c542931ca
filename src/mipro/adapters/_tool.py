"""`Tool`: a function that a model may call, described by its types and docstring."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Callable  # noqa: TC003 - pydantic reads the annotations
from typing import Any, Literal, get_type_hints

import pydantic
import pydantic_core

from mipro._names import of_dspy
from mipro.adapters._tool_from import langchain_arguments, mcp_arguments
from mipro.adapters._type import Type
from mipro.adapters._values import sort_sets, type_adapter
from mipro.callback import notified
from mipro.context import settings
from mipro.errors import UserError


class Tool(Type):
    """A function that a model may call.

    Name, description and arguments are read from the function unless given.

    Args:
        func: The function, a method, a `functools.partial`, an object with `__call__`; may be async.
        name: Name by which the model calls it.
        desc: What it does.
        args: JSON schema of each argument.
        arg_types: Type of each argument; values are converted to it.
        arg_desc: Description of each argument.

    Raises:
        UserError: `func` can't be called.

    Example:
        >>> def add(x: int, y: int = 1) -> int:
        ...     "Add two numbers."
        ...     return x + y
        >>> tool = Tool(add)
        >>> tool.args
        {'x': {'type': 'integer'}, 'y': {'type': 'integer', 'default': 1}}
        >>> tool(x="2")
        3
    """

    func: Callable[..., Any]
    name: str | None = None
    desc: str | None = None
    args: dict[str, Any] | None = None
    arg_types: dict[str, Any] | None = None
    arg_desc: dict[str, str] | None = None
    has_kwargs: bool = False

    def __init__(
        self,
        func: Callable[..., Any],
        name: str | None = None,
        desc: str | None = None,
        args: dict[str, Any] | None = None,
        arg_types: dict[str, Any] | None = None,
        arg_desc: dict[str, str] | None = None,
    ) -> None:
        if not callable(func) or (of_dspy(func) and hasattr(func, "arg_types")):
            raise UserError(f"a tool must be a function or a Tool, but got {of_dspy(func) or repr(func)}.")
        given = {"name": name, "desc": desc, "args": args, "arg_types": arg_types, "arg_desc": arg_desc}
        super().__init__(**{"func": func, **given})
        self._read_function()

    @classmethod
    def from_mcp_tool(
        cls, session: Any, tool: Any, *, result_mode: Literal["text", "structured"] = "text"
    ) -> Tool:
        """Return a tool of an MCP server; it is async.

        Args:
            session: The MCP session.
            tool: One of the tools that its `list_tools` returns.
            result_mode: "text", or "structured" for the structured content of a result that has some.

        Raises:
            UserError: `result_mode` is neither.
        """
        return cls(**mcp_arguments(session, tool, result_mode))

    @classmethod
    def from_langchain(cls, tool: Any) -> Tool:
        """Return a tool of LangChain; it is async."""
        return cls(**langchain_arguments(tool))

    def _read_function(self) -> None:
        # Of a partial the function says what it does and takes; what is bound is no business of the model.
        bound = self.func if isinstance(self.func, functools.partial) else None
        func = bound.func if bound else self.func
        plain = (
            func if inspect.isfunction(func) or inspect.ismethod(func) else type(func).__call__.__get__(func)
        )
        taken = inspect.signature(functools.partial(plain, *bound.args) if bound else plain).parameters
        parameters = {n: p for n, p in taken.items() if not bound or n not in bound.keywords}
        try:
            hints = get_type_hints(plain)
        except (NameError, TypeError):
            hints = {}  # annotations that name types not known here: the argument takes anything
        types = {name: hints.get(name, Any) for name in parameters}
        self.name = self.name or getattr(func, "__name__", type(func).__name__)
        self.desc = self.desc or getattr(func, "__doc__", None) or getattr(plain, "__doc__", None) or ""
        self.has_kwargs = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
        if self.args is None:
            self.args = {name: self._schema(types[name], p) for name, p in parameters.items()}
        if self.arg_types is None:
            self.arg_types = types

    def _schema(self, annotation: Any, parameter: inspect.Parameter) -> dict[str, Any]:
        schema = inlined(type_adapter(annotation).json_schema())
        if parameter.default is not parameter.empty:
            schema["default"] = _jsonable(parameter.default)
        if self.arg_desc and parameter.name in self.arg_desc:
            schema["description"] = self.arg_desc[parameter.name]
        return schema

    def _converted(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Return the arguments as the types that the function declares.

        Raises:
            UserError: An argument is not known or can't be converted.
        """
        types = self.arg_types or {}
        known = self.args or {}
        converted = {}
        for name, value in arguments.items():
            if name not in known and not self.has_kwargs:
                raise UserError(f"Arg {name} is not in the tool's args; `{self.name}` takes {list(known)}.")
            converted[name] = value
            try:
                if types.get(name, Any) is not Any:
                    converted[name] = type_adapter(types[name]).validate_python(value)
            except pydantic.ValidationError as error:
                reasons = "; ".join(part["msg"] for part in error.errors())
                raise UserError(f"Arg {name} is invalid: {reasons}; got {value!r}.") from error
        return converted

    def __call__(self, **arguments: Any) -> Any:
        """Call the function.

        Raises:
            UserError: An argument does not fit, or the function is async and may not be
                waited for here.
        """
        with notified("tool", self, {"kwargs": arguments}) as seen:
            result = self.func(**self._converted(arguments))
            return seen(self._waited_for(result) if inspect.iscoroutine(result) else result)

    def _waited_for(self, result: Any) -> Any:
        """Wait for what an async function returned, where that is allowed and possible."""
        if not settings.allow_tool_async_sync_conversion:
            result.close()
            raise UserError(
                f"`{self.name}` is an async tool: await `acall` instead, or allow waiting for it with "
                "`configure(allow_tool_async_sync_conversion=True)`."
            )
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return asyncio.run(result)
        result.close()
        raise UserError(
            f"`{self.name}` is an async tool and can't be waited for inside a running event loop; "
            "await `acall` instead."
        )

    async def acall(self, **arguments: Any) -> Any:
        """Call the function, awaiting it if it is async.

        Raises:
            UserError: An argument does not fit.
        """
        with notified("tool", self, {"kwargs": arguments}) as seen:
            result = self.func(**self._converted(arguments))
            return seen(await result if inspect.isawaitable(result) else result)

    def format(self) -> str:
        """Return the tool as text."""
        return str(self)

    def format_as_openai_function_call(self) -> dict[str, Any]:
        """Return the tool in the format of OpenAI's `tools` parameter."""
        arguments = self.args or {}
        return {
            "type": "function",
            "function": {
                "name": self.name,
                "description": self.desc,
                "parameters": {
                    "type": "object",
                    "properties": arguments,
                    "required": [name for name, schema in arguments.items() if "default" not in schema],
                },
            },
        }

    # The name that programs written for DSPy know.
    format_as_litellm_function_call = format_as_openai_function_call

    def __repr__(self) -> str:
        return f"Tool(name={self.name}, desc={self.desc}, args={self.args})"

    def __str__(self) -> str:
        what = f": {self.desc}".replace("\n", "  ") if self.desc else ""
        return f"{self.name}{what} Arguments: {self.args}."


_MOST_PARTS = 100_000


def inlined(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a JSON schema with its references replaced by what they refer to.

    A type that refers to itself keeps its references, which can't be replaced; so does one that would
    become very long, as where each of thirty types refers twice to the next one.
    """
    older, newer = schema.get("definitions"), schema.get("$defs")
    definitions = {**(older if isinstance(older, dict) else {}), **(newer if isinstance(newer, dict) else {})}
    left = _MOST_PARTS

    def replace(part: Any, within: tuple[str, ...]) -> Any:
        nonlocal left
        left -= 1
        if isinstance(part, list):
            return [replace(item, within) for item in part]
        if not isinstance(part, dict):
            return part
        name = str(part.get("$ref", "")).rpartition("/")[2]
        if name in definitions:
            if name in within or left < 0:
                raise RecursionError
            rest = {key: value for key, value in part.items() if key != "$ref"}
            return {**replace(definitions[name], (*within, name)), **replace(rest, within)}
        return {key: replace(value, within) for key, value in part.items() if key != "$defs"}

    try:
        return dict(replace(schema, ()))
    except RecursionError:
        return schema


def _jsonable(value: Any) -> Any:
    """Return a default as JSON can hold it, the same in every process; what JSON has not is named."""
    try:
        plain = pydantic_core.to_jsonable_python(value, fallback=_name)
    except ValueError:
        return _name(value)
    sort_sets(value, plain)
    return plain


def _name(value: Any) -> str:
    return str(getattr(value, "__qualname__", type(value).__qualname__))


# Names under which DSPy has them too.
convert_mcp_tool = Tool.from_mcp_tool
convert_langchain_tool = Tool.from_langchain
