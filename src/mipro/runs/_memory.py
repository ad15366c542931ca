"""What a function changes itself: its memory, which is no part of what it was given."""

from __future__ import annotations

import ast
import functools
import inspect
import textwrap
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_CHANGES = frozenset(
    {"add", "append", "appendleft", "clear", "discard", "extend", "insert", "pop", "popitem", "popleft"}
    | {"remove", "setdefault", "update"}
)
"""Methods of lists, dicts, sets and deques that change them."""
_OF_PROPERTIES = ("fget", "fset", "fdel", "func")
"""Attributes under which properties, cached ones too, hold their functions."""


def source_of(target: Any) -> str:
    """Return an object's source, dedented, or what says the same; "" where there is nothing to read.

    A class of a notebook has no source, but its methods have; a function made by `exec` or at the prompt
    has neither, but what it was compiled to. That is the same for one version of Python.
    """
    read = target
    if isinstance(target, FunctionType):
        # Without its attributes, since else the source of a decorator would be that of what it wraps. Not its
        # code alone, of which `inspect` would look for the module in the files of all that are loaded.
        target = target.__code__
        read = FunctionType(target, read.__globals__, closure=read.__closure__)
    try:
        if isinstance(target, CodeType) and target.co_name == "<lambda>":
            return _source_of_lambda(target, "".join(inspect.findsource(read)[0]))
        return textwrap.dedent(inspect.getsource(read))
    except (OSError, TypeError):
        return "\n".join(_said(target))


def _source_of_lambda(code: CodeType, text: str) -> str:
    """Return the source of a lambda alone: `inspect` gives its whole lines, other arguments included.

    Args:
        code: The lambda's.
        text: The source of the file that it is in.

    Raises:
        OSError: There is no source to read.
    """
    try:
        nodes = list(ast.walk(ast.parse(text)))
    except SyntaxError as error:  # a file that was changed meanwhile
        raise OSError from error
    found = [
        f"({ast.get_source_segment(text, node)})"  # in brackets it may have several lines
        for node in nodes
        if isinstance(node, ast.Lambda)
        and node.lineno == code.co_firstlineno
        and _arguments(node.args) == code.co_varnames[: len(_arguments(node.args))]
    ]
    # Of several in a line nobody knows which one it is.
    return "\n".join(found if len(found) == 1 else [*found, *_said(code)])


def _arguments(of: ast.arguments) -> tuple[str, ...]:
    more = [of.vararg, of.kwarg]
    return tuple(a.arg for a in [*of.posonlyargs, *of.args, *of.kwonlyargs, *more] if a is not None)


def _said(target: Any) -> Iterator[str]:
    """Yield what tells a class or a code without source from others."""
    if isinstance(target, CodeType):
        yield f"{target.co_code.hex()} {target.co_names} {target.co_varnames} {target.co_freevars}"
        for value in target.co_consts:
            yield from _said(value) if isinstance(value, CodeType) else [_constant(value)]
    elif isinstance(target, type):
        for name, value in vars(target).items():
            for part in (value, *(getattr(value, place, None) for place in ("__func__", *_OF_PROPERTIES))):
                if isinstance(part, FunctionType):
                    yield f"{name}: {source_of(part)}"
            if not name.startswith("__") and isinstance(value, (str, bytes, int, float, tuple, frozenset)):
                yield f"{name} = {_constant(value)}"


def _constant(value: Any) -> str:
    """Return the text of a constant, the same in every process."""
    if isinstance(value, (tuple, frozenset)):
        parts = [_constant(part) for part in value]
        return f"{type(value).__name__} {sorted(parts) if isinstance(value, frozenset) else parts}"
    return repr(value) if isinstance(value, (str, bytes, int, float, complex)) else type(value).__qualname__


def changed_when_called(kind: type, entrances: Iterable[str]) -> frozenset[str]:
    """Return the names of the attributes that methods of a class change, and the methods that these call.

    Args:
        kind: The class.
        entrances: Names of methods; those that it has not are left out.
    """
    waiting = [*entrances]
    seen: set[str] = set()
    found: set[str] = set()
    while waiting:
        name = waiting.pop()
        method: Any = getattr(kind, name, None)
        method = inspect.unwrap(method)
        if name in seen or not isinstance(method, FunctionType):
            continue
        seen.add(name)
        changed, called = _read(source_of(method))
        found |= changed
        waiting.extend(_of_self(called))
    return frozenset(_of_self(found))


def changed_by(function: FunctionType) -> frozenset[str]:
    """Return the names that a function assigns to, and those of values that it changes.

    "calls" for `nonlocal calls; calls += 1` and `calls.append(1)`, "self.calls" for `self.calls += 1`;
    nothing where there is no source to read.
    """
    return _read(source_of(function))[0]


@functools.lru_cache(maxsize=256)
def _read(source: str) -> tuple[frozenset[str], frozenset[str]]:
    """Return the names of what a function changes, and of what it calls, "self.note" for `self.note()`."""
    try:
        nodes = list(ast.walk(ast.parse(source)))
    except SyntaxError:  # what was compiled, where there is no source
        nodes = []
    changed, called = set(), set()
    for node in nodes:
        if isinstance(node, (ast.Name, ast.Attribute, ast.Subscript)):
            if not isinstance(node.ctx, ast.Load):
                changed.add(_name(node))
        elif isinstance(node, ast.Call):
            called.add(_name(node.func))
            if isinstance(node.func, ast.Attribute) and node.func.attr in _CHANGES:
                changed.add(_name(node.func.value))
    return frozenset(changed), frozenset(called)


def _of_self(names: Iterable[str]) -> Iterator[str]:
    """Yield the names that are said of `self`, without it."""
    return (name.removeprefix("self.") for name in names if name.startswith("self."))


def _name(node: ast.expr) -> str:
    """Return the name of what is changed where `node` is: "calls" of `calls[0]`, "self.calls" of its like."""
    while isinstance(node, ast.Subscript):
        node = node.value
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        return f"{node.value.id}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""
