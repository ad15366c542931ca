"""A program as text: its source where there is one, its structure always."""

from __future__ import annotations

import ast
import functools
import inspect
import textwrap
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from mipro.lm._secrets import without_literals
from mipro.propose._text import clip

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mipro.modules import Module

_PACKAGE = __name__.partition(".")[0]


def call_form(predictor: Any) -> str:
    """Return a predictor's call as text, such as "Predict(context, question) -> answer"."""
    signature = predictor.signature
    inputs, outputs = ", ".join(signature.input_fields), ", ".join(signature.output_fields)
    return f"{type(predictor).__name__}({inputs}) -> {outputs}"


def fixed_tails(program: Module) -> tuple[str, ...]:
    """Return for each predictor the part of its instruction that no proposal may replace.

    An agent is told how it works and which tools it has; without that it could not work at
    all. It ends the instruction that an agent comes with, and where that was changed it may
    stand elsewhere or not at all. Other predictors have no such part.
    """
    from mipro.modules import ReAct  # noqa: PLC0415 - the layer of programs loads when it is used
    from mipro.modules._react import rules  # noqa: PLC0415 - as above

    agents = (agent for _, agent in program.named_sub_modules(ReAct))
    tails = {id(agent.react): rules(agent.signature, agent.tools) for agent in agents}
    return tuple(tails.get(id(predictor), "") for predictor in program.predictors())


def structure(program: Module, max_tokens: int) -> str:
    """Return the predictors of a program, one a line, with their instructions.

    Args:
        program: The program.
        max_tokens: About how many tokens the text may have.
    """
    named = program.named_predictors()
    share = max(max_tokens // max(len(named), 1), 16)
    lines = [
        clip(f"{name}: {call_form(predictor)}. {' '.join(predictor.signature.instructions.split())}", share)
        for name, predictor in named
    ]
    return "\n".join(lines)


def source(program: Module, max_tokens: int) -> str:
    """Return the source of the user's own classes in a program, or "" where there is none.

    Secrets that are written out in it are hidden: the prompt model is another company's, maybe.

    What a class inherits stands in its bases, which follow it. There is none for a bare
    predictor, and for classes made at the prompt, by a generator or by a wrapper. Classes of
    this package say nothing about the task and are left out.

    Args:
        program: The program.
        max_tokens: About how many tokens the text may have.
    """
    found = [textwrap.dedent(_source_of(kind)).strip() for kind in dict.fromkeys(_classes(program))]
    texts = [without_literals(text) for text in found if text]
    return clip("\n\n".join(texts), max_tokens) if texts else ""


def function_source(function: Any, max_tokens: int) -> str:
    """Return the source of what is called, a function, an object or a program, its secrets hidden; or ""."""
    while isinstance(function, functools.partial):
        function = function.func
    if _is_module(type(function)):
        return source(function, max_tokens)
    function = inspect.unwrap(function)
    text = _source_of(function if inspect.isroutine(function) else type(function))
    return clip(without_literals(textwrap.dedent(text).strip()), max_tokens)


def _source_of(kind: Any) -> str:
    """Return the source of a class or function as its file or a cell of a notebook has it, "" without one."""
    with suppress(OSError, TypeError):
        return inspect.getsource(kind)
    # Python looks for a class in the file of its module, which a notebook has not; methods know their cell.
    for method in filter(inspect.isfunction, getattr(kind, "__dict__", {}).values()):
        with suppress(OSError, SyntaxError):
            lines, start = inspect.findsource(method)
            for node in ast.walk(ast.parse("".join(lines))):
                if isinstance(node, ast.ClassDef) and node.name == kind.__name__:
                    first = min([node.lineno, *(part.lineno for part in node.decorator_list)])
                    if first <= start + 1 <= (node.end_lineno or first):
                        return "".join(lines[first - 1 : node.end_lineno])
    return ""


def _classes(program: Module) -> Iterator[type]:
    """Yield the user's own module classes, outermost first, each before its bases."""
    seen: set[int] = set()
    waiting: deque[Any] = deque([program])
    while waiting:
        value = waiting.popleft()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, (list, tuple)):
            waiting.extend(value)
        elif isinstance(value, dict):
            waiting.extend(value.values())
        elif _is_module(type(value)):
            yield from (kind for kind in type(value).__mro__ if _is_module(kind) and not _is_ours(kind))
            waiting.extend(getattr(value, "__dict__", {}).values())


def _is_module(kind: type) -> bool:
    return callable(getattr(kind, "named_predictors", None)) or hasattr(kind, "forward")


def _is_ours(kind: type) -> bool:
    return kind.__module__.partition(".")[0] == _PACKAGE
