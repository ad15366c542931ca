"""What makes two runs the same run: digests of program, data, metric and settings."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import re
import sys
from collections import deque
from collections.abc import Callable, Collection
from contextlib import suppress
from datetime import date, time, timedelta, timezone
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import PurePath
from types import BuiltinMethodType, FunctionType, MappingProxyType, MethodDescriptorType, MethodType
from typing import TYPE_CHECKING, Any, get_args, get_origin
from zoneinfo import ZoneInfo

from pydantic import BaseModel
from pydantic.errors import PydanticUserError
from pydantic.json_schema import GenerateJsonSchema

from mipro._canonical import canonical, digest, is_array
from mipro.adapters import Tool
from mipro.adapters._values import type_adapter
from mipro.example import Example
from mipro.lm import BaseLM
from mipro.lm._secrets import is_secret_name
from mipro.modules import Module, Parameter, Predict
from mipro.runs._memory import changed_by, changed_when_called, source_of
from mipro.signature import Signature, unaliased

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from pydantic.fields import FieldInfo

Apart = Callable[[Any], Collection[str]]
"""Names the attributes of a module that are no part of the program, such as the story of an earlier run."""

_BUILT_IN = ("mipro.", "pydantic.")
SHOWN = 80
"""Characters up to which a fact is shown as it is when it differs."""

_NUMBERS = (int, float, complex, Decimal, Fraction)
_TIMES = (date, time, timedelta, timezone, ZoneInfo)
_ADDRESSES = (IPv4Address, IPv4Network, IPv6Address, IPv6Network)
_SAID_BY_TEXT = (str, bytes, range, Enum, PurePath, *_NUMBERS, *_TIMES, *_ADDRESSES)
"""Types of which a text tells all, the same in every process. Not a UUID: who holds one drew it just now."""
_LISTS = (list, tuple, deque)
_DICTS = (dict, MappingProxyType, Example)
_BOUND = (MethodType, BuiltinMethodType)
_CACHED = type(functools.cache(len))
_CALLED = (FunctionType, functools.partial, MethodDescriptorType, _CACHED)
_TOLD = (
    *(*_SAID_BY_TEXT, re.Pattern, *_LISTS, *_DICTS, set, frozenset),
    *(BaseLM, Module, Tool, *_CALLED, *_BOUND),
)
"""Types of values that count, beside types, arrays and what is frozen; of others, a client or a lock,
nobody knows what of them matters."""
_OF_MODULES = frozenset({"callbacks", "history", "_compiled"})
_OF_PREDICTORS = frozenset({"signature", "demos", "lm", "config", "traces", "train", "_warned"})
"""Attributes that count in a way of their own, or not at all."""
_CALLS = ("__call__", "forward", "aforward")


def of_candidate(program: Module) -> str:
    """Return the digest of what a candidate chooses, instructions and demos, and of the models it asks.

    Attributes of modules count in `of_program` alone: a program may change its own while it runs.
    """
    return digest(
        [
            [
                name,
                predictor.signature.instructions,
                [dict(demo) for demo in predictor.demos],
                *_asked(predictor).items(),
            ]
            for name, predictor in program.named_predictors()
        ]
    )


def of_program(program: Module, *, apart: Apart = lambda _: ()) -> dict[str, str]:
    """Return readable parts of a program's identity: its predictors, classes and plain attributes.

    Args:
        program: The program. Predictors in modules that were optimized before are left out; see
            `of_predictors`.
        apart: Names the attributes of a module that do not count.
    """
    return _of_program(program, apart, frozenset())


def of_predictors(program: Module) -> dict[str, str]:
    """Return readable parts of the identity of a program's predictors: signature, demos, model, config."""
    parts = {}
    for name, predictor in program.named_predictors():
        parts[f"predictor {name}"] = digest(
            [
                predictor.signature.instructions,
                [
                    [field, str(info.annotation), info.json_schema_extra]
                    for field, info in predictor.signature.fields.items()
                ],
                [dict(demo) for demo in predictor.demos],
            ]
        )
        types = {field: said for field, info in predictor.signature.fields.items() if (said := _typed(info))}
        if types:
            parts[f"types of {name}"] = digest(types)
        parts |= {f"{what} of {name}": value for what, value in _asked(predictor).items()}
    return parts


def _typed(info: FieldInfo) -> list[Any]:
    """Return what the name of a field's type leaves out: what its classes hold, and the default."""
    said: list[Any] = []
    if classes := [cls for cls in _classes_in(info.annotation) if _is_own(cls)]:
        said.append([_schema_of(info.annotation), *map(source_of, classes)])
    if not info.is_required():
        made = info.default_factory
        said.append(state_of(info.default) if made is None else _of_metric(made, frozenset()))
    return said


class _Schema(GenerateJsonSchema):
    """Says nothing of what a schema leaves out: a prompt that shows it does."""

    def emit_warning(self, kind: Any, detail: str) -> None:
        """Say nothing."""


def _classes_in(annotation: Any, above: tuple[Any, ...] = ()) -> Iterator[type]:
    """Yield the classes that a type is made of, and the aliases: they are named in it, not told."""
    if annotation in above:
        return  # an alias that holds itself
    # Of an alias, of a `NewType`, or of a member in a `Literal` that which it stands for.
    meant = getattr(annotation, "__supertype__", unaliased(annotation))
    if meant is not annotation:
        yield get_origin(annotation) or annotation
        inside: Iterable[Any] = [meant]
    else:
        inside = get_args(annotation)
    if isinstance(annotation, Enum):
        yield type(annotation)
    elif isinstance(annotation, type) and not inside:
        yield annotation
    for part in inside:
        yield from _classes_in(part, (*above, annotation))


def _schema_of(annotation: Any) -> Any:
    """Return what a prompt shows of a type, its members and fields with those of their types."""
    try:
        return type_adapter(annotation).json_schema(schema_generator=_Schema)
    except (PydanticUserError, ValueError, TypeError):
        return None


def _asked(predictor: Predict) -> dict[str, str]:
    """Return the model and the parameters that are a predictor's own."""
    asked = {}
    if predictor.lm is not None:
        asked["model"] = of_model(predictor.lm)
    if predictor.config:
        asked["config"] = canonical(state_of(predictor.config))
    return asked


def of_model(lm: BaseLM) -> str:
    """Return what identifies a model: name, address and default parameters, nothing secret."""
    form = {} if lm.model_type == "chat" else {"model_type": lm.model_type}
    return f"{lm.identity} {canonical(state_of({**lm.public_kwargs, **form}))}"


def _of_program(program: Module, apart: Apart, above: frozenset[int]) -> dict[str, str]:
    parts = of_predictors(program)
    sources: dict[str, list[str]] = {}
    for cls in _own_classes(program):
        sources.setdefault(f"class {cls.__qualname__}", []).append(source_of(cls))
    # Two modules may have a class of the same name.
    parts |= {name: digest(found[0] if len(found) == 1 else found) for name, found in sources.items()}
    inside = {path: part for path, part in program.named_sub_modules(object) if _is_part(part)}
    above |= set(map(id, inside.values()))
    for path, part in inside.items():
        others = apart(part)
        for name, value in _attributes(part).items():
            if name not in others and not _is_part(value):
                parts[f"attribute {path}.{name}"] = digest(_state(value, above))
    return parts


def _is_part(value: Any) -> bool:
    return isinstance(value, (Module, Parameter))


def _own_classes(program: Module) -> Iterable[type]:
    seen: dict[str, type] = {}
    for _, module in program.named_sub_modules():
        for cls in filter(_is_own, type(module).__mro__):
            seen[f"{cls.__module__}.{cls.__qualname__}"] = cls
    return [seen[name] for name in sorted(seen)]


def _is_own(cls: type) -> bool:
    """Tell a class of the user's from those of this package and of Python, which have versions."""
    return (
        not cls.__module__.startswith(_BUILT_IN)
        and cls.__module__.partition(".")[0] not in sys.stdlib_module_names
    )


def of_metric(metric: Callable[..., Any]) -> str:
    """Return the digest of all that identifies a metric; see `of_function`."""
    return _of_metric(metric, frozenset())


def of_function(name: str, function: Callable[..., Any]) -> dict[str, str]:
    """Return readable parts of the identity of a metric, or of something else that is called.

    Args:
        name: How to call it: "metric" for its source (its name where there is none to read), and
            "metric.limit" for a value that it holds. That is an attribute of an object, a variable of
            the function that made it, a default, an argument of a `functools.partial`.
        function: The function. What it changes itself when it is called is its memory, and does not count.
    """
    return _of_function(name, function, frozenset())


def _of_metric(metric: Any, above: frozenset[int]) -> str:
    parts = _of_function("", metric, above)
    source = parts.pop("")
    return digest([source, parts]) if parts else source


def _of_function(name: str, function: Any, above: frozenset[int]) -> dict[str, str]:
    while isinstance(function, _CACHED):
        function = function.__wrapped__
    target = function.func if isinstance(function, functools.partial) else function
    if not inspect.isroutine(target) and not inspect.isclass(target):
        target = type(target)
    # What a program that is called holds is the program itself, so it must be open to a look.
    above |= set() if isinstance(function, Module) else {id(function)}
    bases = [source_of(cls) for cls in target.__mro__[1:] if _is_own(cls)] if inspect.isclass(target) else []
    return {
        name: digest([getattr(target, "__qualname__", repr(target)), source_of(target), *bases]),
        **{f"{name}.{key}": digest(_state(value, above)) for key, value in _held(function).items()},
    }


def _held(function: Any) -> dict[str, Any]:
    """Return by name what is called holds beside its source."""
    if isinstance(function, functools.partial):
        given = {f"argument {i}": value for i, value in enumerate(function.args)}
        return {**_held(function.func), **_counting({**given, **function.keywords})}
    if isinstance(function, MethodType):
        owner, own = function.__self__, _held(function.__func__)
        is_plain = not isinstance(owner, (Module, type))
        return {**own, **(_attributes(owner, function.__name__) if is_plain else _held(owner))}
    if isinstance(function, FunctionType):
        return _held_by_function(function)
    if isinstance(function, Module):
        return {"program": function}
    return {} if inspect.isroutine(function) or inspect.isclass(function) else _attributes(function)


def _held_by_function(function: FunctionType) -> dict[str, Any]:
    code = function.__code__
    held = dict(function.__kwdefaults__ or {})
    defaults = function.__defaults__ or ()
    names = code.co_varnames[: code.co_argcount]
    held.update(zip(names[len(names) - len(defaults) :], defaults, strict=True))
    for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
        with suppress(ValueError):  # a name that has no value yet
            held[name] = cell.cell_contents
    wrapped = getattr(function, "__wrapped__", None)
    if wrapped is not None and not any(value is wrapped for value in held.values()):
        held["wrapped"] = wrapped
    changed = changed_by(function)
    return _counting({name: value for name, value in held.items() if name not in changed})


def _attributes(owner: Any, *entrances: str) -> dict[str, Any]:
    """Return the attributes of an object that count.

    Args:
        owner: The object.
        entrances: Names of methods that are called, beside those that all objects are called by.
    """
    held = dict(getattr(owner, "__dict__", {}))
    for cls in type(owner).__mro__:
        slots = vars(cls).get("__slots__", ())
        for name in [slots] if isinstance(slots, str) else slots:
            if not name.startswith("__") and hasattr(owner, name):
                held[name] = getattr(owner, name)
    aside = _OF_MODULES if _is_part(owner) else frozenset()
    if isinstance(owner, Predict):
        aside |= _OF_PREDICTORS
    aside |= changed_when_called(type(owner), (*_CALLS, *entrances))
    return _counting({name: value for name, value in held.items() if name not in aside})


def _counting(held: Mapping[str, Any]) -> dict[str, Any]:
    """Return what counts of values by name: no secrets, and no None, which often waits for a client."""
    return {name: value for name, value in held.items() if not is_secret_name(name) and _is_told(value)}


def _is_told(value: Any) -> bool:
    is_type = isinstance(value, type) or get_origin(value) is not None
    return isinstance(value, _TOLD) or is_type or is_array(value) or _frozen(value) is not None


def _frozen(value: Any) -> dict[str, Any] | None:
    """Return by name what a value holds that is declared never to change, or None for any other.

    What is left out of comparisons, such as a cache, is no part of it.
    """
    kind: Any = type(value)
    names: Iterable[str]
    if getattr(getattr(kind, "__dataclass_params__", None), "frozen", False):
        names = [field.name for field in dataclasses.fields(kind) if field.compare]
    elif isinstance(value, BaseModel) and value.model_config.get("frozen"):
        names = [*kind.model_fields, *(value.model_extra or ())]
    elif hasattr(kind, "__attrs_attrs__") and kind.__setattr__.__name__ == "_frozen_setattrs":
        names = [field.name for field in kind.__attrs_attrs__ if field.eq]
    else:
        return None
    return {name: getattr(value, name) for name in names if hasattr(value, name)}


def state_of(value: Any) -> Any:
    """Return what is plain of a value, for `canonical`: the same in every process, and nothing secret.

    Of a model, a program or a function it is their identity, of any other object the name of its type.
    """
    return _state(value, frozenset())


def _state(value: Any, above: frozenset[int]) -> Any:
    if value is None or isinstance(value, _SAID_BY_TEXT) or is_array(value):
        return value
    if id(value) in above:
        return "..."
    above |= {id(value)}
    if isinstance(value, _DICTS):
        return {
            key if isinstance(key, _SAID_BY_TEXT) else canonical(_state(key, above)): _state(item, above)
            for key, item in dict(value).items()
            if not (isinstance(key, str) and is_secret_name(key))
        }
    if isinstance(value, _LISTS):
        return [_state(item, above) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted(canonical(_state(item, above)) for item in value)
    return _identity(value, above)


def _identity(value: Any, above: frozenset[int]) -> Any:
    if isinstance(value, BaseLM):
        return of_model(value)
    if isinstance(value, Module):
        return _of_program(value, lambda _: (), above)
    if isinstance(value, Tool):
        shown = [value.name, value.desc, value.args]
        return [*(_state(part, above) for part in shown), _of_metric(value.func, above)]
    if isinstance(value, _CALLED):
        return _of_metric(value, above)
    if isinstance(value, _BOUND):
        function = value.__func__ if isinstance(value, MethodType) else getattr(value, "__qualname__", "")
        return [_state(function, above), _state(value.__self__, above)]
    return _declared(value, above)


def _declared(value: Any, above: frozenset[int]) -> Any:
    """Return what identifies a type or what is frozen; of any other object the name of its type."""
    if isinstance(value, re.Pattern):
        return [value.pattern, value.flags]
    if (origin := get_origin(value)) is not None:
        return [_state(part, above) for part in (origin, *get_args(value))]
    if (held := _frozen(value)) is not None:
        return [_of_class(type(value), above), _state(held, above)]
    return _of_class(value, above) if isinstance(value, type) else _name(type(value))


def _of_class(kind: type, above: frozenset[int]) -> Any:
    if issubclass(kind, Signature):
        return of_predictors(Predict(kind))
    return [_name(kind), _of_metric(kind, above)] if _is_own(kind) else _name(kind)


def _name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def of_examples(examples: Sequence[Example]) -> str:
    """Return the digest of a data set; order matters."""
    return digest([[sorted(example.inputs().keys()), dict(example)] for example in examples])


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
