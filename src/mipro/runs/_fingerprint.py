"""What makes two runs the same run: digests of program, data, metric and settings."""

from __future__ import annotations

import functools
import inspect
import re
import textwrap
from typing import TYPE_CHECKING, Any

from mipro.runs._canonical import digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from mipro.example import Example
    from mipro.modules import Module

_BUILT_IN = "mipro."
SHOWN = 80
"""Characters up to which a fact is shown as it is when it differs."""


def of_candidate(program: Module) -> str:
    """Return the digest of what a candidate chooses: every predictor's instructions and demos."""
    return digest(
        [
            [name, predictor.signature.instructions, [dict(demo) for demo in predictor.demos]]
            for name, predictor in program.named_predictors()
        ]
    )


def of_program(program: Module) -> dict[str, str]:
    """Return readable parts of a program's identity: its predictors and the source of its classes."""
    parts = {
        f"predictor {name}": digest(
            [
                predictor.signature.instructions,
                [
                    [field, str(info.annotation), info.json_schema_extra]
                    for field, info in predictor.signature.fields.items()
                ],
                [dict(demo) for demo in predictor.demos],
            ]
        )
        for name, predictor in program.named_predictors()
    }
    for cls in _own_classes(program):
        parts[f"class {cls.__qualname__}"] = digest(source_of(cls))
    return parts


def _own_classes(program: Module) -> Iterable[type]:
    seen: dict[str, type] = {}
    for _, module in program.named_sub_modules():
        cls = type(module)
        if not cls.__module__.startswith(_BUILT_IN):
            seen[f"{cls.__module__}.{cls.__qualname__}"] = cls
    return [seen[name] for name in sorted(seen)]


def of_metric(metric: Callable[..., Any]) -> str:
    """Return the digest of a metric's source, or of its name where there is no source."""
    if isinstance(metric, functools.partial):
        return digest([of_metric(metric.func), metric.args, metric.keywords])
    target: Any = metric
    if not inspect.isroutine(metric) and not inspect.isclass(metric):
        target = type(metric)
    return digest([getattr(target, "__qualname__", repr(target)), source_of(target)])


def of_examples(examples: Sequence[Example]) -> str:
    """Return the digest of a data set; order matters."""
    return digest([[sorted(example.inputs().keys()), dict(example)] for example in examples])


def source_of(target: Any) -> str:
    """Return an object's source, dedented, or "" where there is none to read."""
    try:
        return textwrap.dedent(inspect.getsource(target))
    except (OSError, TypeError):
        return ""


def differences(kept: Mapping[str, str], given: Mapping[str, str]) -> tuple[str, ...]:
    """Name every fact that differs, with both values where they are short."""
    lines = []
    for name in sorted({*kept, *given}):
        old, new = kept.get(name), given.get(name)
        if old == new:
            continue
        shown = all(value is None or _is_readable(value) for value in (old, new))
        lines.append(f"{name}: was {old}, is {new}" if shown else f"{name} has changed")
    return tuple(lines)


def _is_readable(value: str) -> bool:
    return len(value) <= SHOWN and re.fullmatch(r"[0-9a-f]{64}", value) is None
