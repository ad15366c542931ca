"""Read a type expression such as `list[Literal["a", "b"]] | None` without evaluating code."""

from __future__ import annotations

import ast
import builtins
import datetime as dt
import decimal
import enum
import importlib
import pathlib
import sys
import types
import typing
import uuid
from typing import TYPE_CHECKING, Any

from typing_extensions import NotRequired, Required, TypeAliasType

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_BUILTIN_NAMES = (
    "int", "str", "float", "bool", "list", "tuple", "dict", "set", "frozenset",
    "complex", "bytes", "bytearray", "object", "type",
)  # fmt: skip
_BUILTINS: dict[str, Any] = {name: getattr(builtins, name) for name in _BUILTIN_NAMES}
_BUILTINS["NoneType"] = type(None)

# Types in everyday use that need no import in a signature; a name in the caller's scope goes first.
_STANDARD: dict[str, Any] = {
    "date": dt.date,
    "datetime": dt.datetime,
    "time": dt.time,
    "timedelta": dt.timedelta,
    "Decimal": decimal.Decimal,
    "Path": pathlib.Path,
    "UUID": uuid.UUID,
    "Enum": enum.Enum,
}
# Modules whose names may stand before a dot without having been imported by the caller.
_STANDARD_MODULES = frozenset({"typing", "datetime", "decimal", "pathlib", "uuid", "enum", "collections"})

# What `type Name = ...` makes, and its like for older Pythons, which is another class up to Python 3.13.
_ALIASES = (TypeAliasType, getattr(typing, "TypeAliasType", TypeAliasType))

# Say something of a name in a class, and are no type of a value.
_QUALIFIERS = (typing.ClassVar, Required, NotRequired)

# How many types stand in the brackets of these; Python itself does not count them.
_PARTS: dict[Any, int] = {list: 1, set: 1, frozenset: 1, type: 1, dict: 2}

_MAX_FRAMES = 100
_OWN_PACKAGE = __name__.partition(".")[0]


class TypeFault(Exception):
    """A type expression that can't be read, and where in it.

    Attributes:
        reason: What is wrong, in words.
        column: Offset of the fault in the expression, in characters.
    """

    def __init__(self, reason: str, column: int) -> None:
        super().__init__(reason)
        self.reason = reason
        self.column = column


def read_type(text: str, custom_types: Mapping[str, Any] | None = None) -> Any:
    """Return the type that `text` names.

    Names are looked up in `custom_types`, among Python's built-in types and `typing`,
    in the callers' scopes from the inside out, and among a few standard types.

    Raises:
        TypeFault: It is no type expression, or a name in it is not known.
    """
    try:
        node = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        column = getattr(error, "offset", None) or 1
        raise TypeFault(f"`{text.strip()}` is not a type", min(column - 1, len(text))) from error
    indent = len(text) - len(text.lstrip())
    try:
        return _Reader(custom_types or {}).read_whole(node)
    except RecursionError as error:
        raise TypeFault("the type has too many parts within each other", indent) from error
    except TypeFault as fault:
        # ast counts UTF-8 bytes; what people see are characters.
        characters = len(text.strip().encode()[: fault.column].decode(errors="ignore"))
        raise TypeFault(fault.reason, characters + indent) from None


def is_type(value: Any) -> bool:
    """Return whether `value` can annotate a field."""
    named = (typing.TypeVar, typing.NewType, *_ALIASES)
    if isinstance(value, (type, types.GenericAlias, types.UnionType, *named)) or value is None:
        return True
    return value is Any or typing.get_origin(value) not in (None, *_QUALIFIERS)


def type_fault(value: Any) -> str:
    """Return what must hold for `value` to be the type of a field and does not; "" where all does."""
    if not is_type(value):
        return "must be a type"
    given, wanted = len(typing.get_args(value)), _PARTS.get(typing.get_origin(value))
    # Those of `typing`, which count for themselves, may stand without brackets: `List`.
    if isinstance(value, types.GenericAlias) and wanted not in (None, given):
        return f"must have {wanted} type{'s' * (wanted > 1)} in its brackets"
    return ""


def unaliased(annotation: Any) -> Any:
    """Return what an alias stands for, its arguments in place; any other type as it is.

    Aliases inside of the type stay: they may hold themselves.
    """
    origin = typing.get_origin(annotation)
    alias = annotation if origin is None else origin
    if not isinstance(alias, _ALIASES):
        return annotation
    try:
        meant = alias.__value__
    except NameError:
        meant = ""
    if isinstance(meant, str):  # or a name in it is not known yet: left to pydantic, as outside of an alias
        return annotation
    given = dict(zip(alias.__type_params__, typing.get_args(annotation), strict=False))
    if meant in alias.__type_params__:
        meant = given.get(meant, Any)
    elif wanted := getattr(meant, "__parameters__", ()):
        meant = meant[tuple(given.get(parameter, Any) for parameter in wanted)]
    return unaliased(meant)


class _Reader:
    """Turns the nodes of one type expression into types."""

    def __init__(self, custom_types: Mapping[str, Any]) -> None:
        self.custom_types = custom_types

    def read_whole(self, node: ast.expr) -> Any:
        """Return what `node` means, which must be a type by itself: no `Optional` without its brackets."""
        found = self.read(node)
        if fault := type_fault(found):
            raise TypeFault(f"`{ast.unparse(node)}` {fault}", node.col_offset)
        return found

    def read(self, node: ast.expr) -> Any:
        readers: dict[type[ast.expr], Callable[[Any], Any]] = {
            ast.Name: self._name,
            ast.Attribute: self._attribute,
            ast.Subscript: self._subscript,
            ast.BinOp: self._union,
            ast.Constant: self._constant,
            ast.List: lambda item: [self.read(part) for part in item.elts],
            ast.Tuple: lambda item: tuple(self.read(part) for part in item.elts),
            ast.UnaryOp: self._negative,
        }
        reader = readers.get(type(node))
        if reader is None:
            raise TypeFault(f"`{ast.unparse(node)}` is not a type", node.col_offset)
        return reader(node)

    def _name(self, node: ast.Name) -> Any:
        found = self._look_up(node.id, accept=is_type)
        if found is None:
            raise TypeFault(f"unknown type `{node.id}`", node.col_offset)
        return found

    def _look_up(self, name: str, *, accept: Callable[[Any], bool]) -> Any:
        if name in self.custom_types:
            return self.custom_types[name]
        if name in _BUILTINS:
            return _BUILTINS[name]
        known = getattr(typing, name, None) if name in typing.__all__ else None
        if known is not None:
            return known
        found = _from_callers(name, accept)
        return found if found is not None else _STANDARD.get(name)

    def _attribute(self, node: ast.Attribute) -> Any:
        dotted = ast.unparse(node)
        if dotted in self.custom_types:
            return self.custom_types[dotted]
        base = self._base(node.value)
        try:
            return getattr(base, node.attr)
        except AttributeError:
            column = (node.end_col_offset or 0) - len(node.attr.encode())
            raise TypeFault(f"`{ast.unparse(node.value)}` has no `{node.attr}`", column) from None

    def _base(self, node: ast.expr) -> Any:
        if isinstance(node, ast.Attribute):
            return self._attribute(node)
        if not isinstance(node, ast.Name):
            raise TypeFault(f"`{ast.unparse(node)}` is not a module or class", node.col_offset)
        if node.id in self.custom_types:
            return self.custom_types[node.id]
        found = _from_callers(node.id, lambda value: isinstance(value, (types.ModuleType, type)))
        if found is None and node.id in _STANDARD_MODULES:
            found = importlib.import_module(node.id)
        if found is None and node.id in (_OWN_PACKAGE, "dspy"):
            found = sys.modules.get(_OWN_PACKAGE)
        if found is None:
            found = sys.modules.get(node.id, _BUILTINS.get(node.id))
        if found is None:
            raise TypeFault(f"unknown module or class `{node.id}`", node.col_offset)
        return found

    def _subscript(self, node: ast.Subscript) -> Any:
        base = self.read(node.value)
        inner = node.slice
        parts = inner.elts if isinstance(inner, ast.Tuple) else [inner]
        if base is typing.Literal:
            arguments = tuple(self._literal(part) for part in parts)
        elif base is typing.Annotated:  # what follows the type is a note on it
            notes = (part.value if isinstance(part, ast.Constant) else self.read(part) for part in parts[1:])
            arguments = (self.read_whole(parts[0]), *notes)
        elif isinstance(getattr(base, "language", None), str):  # Code["java"]: a text, not the name of a type
            arguments = tuple(part.value if isinstance(part, ast.Constant) else None for part in parts)
        else:
            arguments = tuple(self._argument(part) for part in parts)
        try:
            return base[arguments if len(arguments) != 1 else arguments[0]]
        except (TypeError, AttributeError, KeyError) as error:
            raise TypeFault(f"`{ast.unparse(node)}` is not a type ({error})", node.col_offset) from error

    def _argument(self, node: ast.expr) -> Any:
        # `...`, and the list of Callable, are no types but have a meaning in brackets.
        is_mark = isinstance(node, ast.List) or (isinstance(node, ast.Constant) and node.value is Ellipsis)
        return self.read(node) if is_mark else self.read_whole(node)

    def _literal(self, node: ast.expr) -> Any:
        if isinstance(node, ast.Attribute):
            return self._attribute(node)  # a member of an enumeration
        if isinstance(node, (ast.Constant, ast.UnaryOp)):
            value = self._negative(node) if isinstance(node, ast.UnaryOp) else node.value
            if isinstance(value, (str, bytes, int, bool, type(None))):
                return value
        raise TypeFault(f"`{ast.unparse(node)}` is not a literal value", node.col_offset)

    def _negative(self, node: ast.UnaryOp) -> Any:
        operand = node.operand
        if (
            isinstance(node.op, ast.USub)
            and isinstance(operand, ast.Constant)
            and isinstance(operand.value, int)
        ):
            return -operand.value
        raise TypeFault(f"`{ast.unparse(node)}` is not a type", node.col_offset)

    def _union(self, node: ast.BinOp) -> Any:
        if not isinstance(node.op, ast.BitOr):
            raise TypeFault(f"`{ast.unparse(node)}` is not a type", node.col_offset)
        left, right = self.read_whole(node.left), self.read_whole(node.right)
        try:
            return typing.Union[left, right]  # noqa: UP007 - the parts are values here
        except TypeError as error:
            raise TypeFault(f"`{ast.unparse(node)}` is not a type ({error})", node.col_offset) from error

    def _constant(self, node: ast.Constant) -> Any:
        if node.value is None or node.value is Ellipsis:
            return node.value
        if isinstance(node.value, str):  # a forward reference: list["Answer"]
            return read_type(node.value, self.custom_types)
        raise TypeFault(f"`{node.value!r}` is not a type", node.col_offset)


def _from_callers(name: str, accept: Callable[[Any], bool]) -> Any:
    """Return what `name` means to the innermost caller outside this package, or None."""
    frame: types.FrameType | None = sys._getframe(1)  # noqa: SLF001 - the documented way to see the caller's names
    for _ in range(_MAX_FRAMES):
        if frame is None:
            return None
        if frame.f_globals.get("__name__", "").partition(".")[0] != _OWN_PACKAGE:
            for scope in (frame.f_locals, frame.f_globals):
                value = scope.get(name)
                if value is not None and accept(value):
                    return value
        frame = frame.f_back
    return None
