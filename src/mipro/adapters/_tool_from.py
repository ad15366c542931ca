"""Tools of other packages, MCP and LangChain, as `Tool`s; neither package is imported."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mipro.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Mapping

_TYPES: dict[str, type] = {
    "string": str,
    "integer": int,
    "number": float,
    "boolean": bool,
    "array": list,
    "object": dict,
}
_NO_DESCRIPTION = "No description provided."


def convert_input_schema_to_tool_args(
    schema: Mapping[str, Any],
) -> tuple[dict[str, Any], dict[str, Any], dict[str, str]]:
    """Return what `Tool` wants to know of arguments that a JSON schema describes.

    Args:
        schema: An object's schema; references are replaced by what they refer to.

    Returns:
        `args`, `arg_types` and `arg_desc` of `Tool`.
    """
    from mipro.adapters._tool import inlined  # noqa: PLC0415 - it imports this file

    # What is not there is null in the schemas of servers in some languages; a part may be `true`: any.
    given = inlined(dict(schema)).get("properties")
    given = given if isinstance(given, dict) else {}
    properties = {name: part if isinstance(part, dict) else {} for name, part in given.items()}
    # One of several types is a list of their names, such as ["string", "null"].
    types = {name: _TYPES.get(str(part.get("type")), Any) for name, part in properties.items()}
    described = {name: part.get("description") or _NO_DESCRIPTION for name, part in properties.items()}
    required = schema.get("required")
    required = required if isinstance(required, (list, tuple)) else ()
    return (
        properties,
        types,
        {name: f"{text}{' (Required)' * (name in required)}" for name, text in described.items()},
    )


def mcp_arguments(session: Any, tool: Any, result_mode: str = "text") -> dict[str, Any]:
    """Return the arguments of `Tool` for a tool of an MCP server.

    Args:
        session: Has `call_tool(name, arguments=)`, async.
        tool: Has `name`, `description` and `inputSchema`.
        result_mode: "text", or "structured" for the structured content where there is some.

    Raises:
        UserError: `result_mode` is neither.
    """
    if result_mode not in ("text", "structured"):
        raise UserError(f"`result_mode` must be 'text' or 'structured', but got {result_mode!r}.")

    async def call(**arguments: Any) -> Any:
        result = await session.call_tool(tool.name, arguments=arguments)
        texts = [part.text for part in result.content if hasattr(part, "text")]
        content = texts[0] if len(texts) == 1 else texts or list(result.content)
        if _either(result, "isError", "is_error"):
            raise RuntimeError(f"the MCP tool `{tool.name}` failed: {content}")
        structured = _either(result, "structuredContent", "structured_content")
        return structured if result_mode == "structured" and structured is not None else content

    schema = _either(tool, "inputSchema", "input_schema") or {}
    args, types, described = convert_input_schema_to_tool_args(schema)
    return {
        "func": call,
        "name": tool.name,
        "desc": tool.description,
        "args": args,
        "arg_types": types,
        "arg_desc": described,
    }


def langchain_arguments(tool: Any) -> dict[str, Any]:
    """Return the arguments of `Tool` for a tool of LangChain.

    Args:
        tool: Has `name`, `description`, `args_schema` (a pydantic model) and `ainvoke`.
    """

    async def call(**arguments: Any) -> Any:
        return await tool.ainvoke(arguments)

    args, types, described = convert_input_schema_to_tool_args(tool.args_schema.model_json_schema())
    types |= {name: field.annotation for name, field in tool.args_schema.model_fields.items()}
    return {
        "func": call,
        "name": tool.name,
        "desc": tool.description,
        "args": args,
        "arg_types": types,
        "arg_desc": described,
    }


def _either(value: Any, name: str, other: str) -> Any:
    """Return the attribute under its name in one or the other version of MCP's package."""
    return getattr(value, name, getattr(value, other, None))
