"""A program as a tree: where its parameters are, and under which names."""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mipro.errors import UserError
from mipro.signature import FIELD_NAME

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# One step of a path such as "hops[0].tools['search']": an attribute, a number or a key.
_STEP = re.compile(
    rf"""\.?(?P<attribute>(?!\d){FIELD_NAME})|\[(?P<index>-?\d+)\]|\[(?P<quote>['"])(?P<key>.*?)(?P=quote)\]"""
)


class Parameter:
    """Marks what an optimizer may change; `Predict` is one.

    A parameter has `reset()`, `dump_state()` and `load_state(state)`.
    """

    def reset(self) -> None:
        """Forget what an optimizer has set."""
        raise NotImplementedError

    def dump_state(self) -> dict[str, Any]:
        """Return what an optimizer has set, as plain values."""
        raise NotImplementedError

    def load_state(self, state: dict[str, Any]) -> Any:
        """Take over what `dump_state` returned."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Place:
    """A parameter and where it is."""

    name: str
    """Path from the program, for example "hops[0].predict"; "self" for the program itself."""
    value: Parameter
    replace: Callable[[Any], None]
    """Puts another object in the parameter's place."""


def parameter_places(program: Any, module_type: type, *, repeats: bool = False) -> Iterator[Place]:
    """Yield the parameters below `program` in the order in which attributes were set.

    Lists, tuples, dicts and modules are looked through; a module marked `_compiled`
    below the program is left as it is.

    Args:
        program: Where to begin.
        module_type: What counts as a module.
        repeats: Whether a parameter that is in several places comes once for each.
    """
    walk = _Walk(module_type, repeats=repeats)
    if isinstance(program, Parameter):
        walk.seen.add(id(program))
        yield Place("self", program, lambda _: None)
    walk.seen.add(id(program))
    yield from walk.below(program, "")


class _Walk:
    """A walk through a program that meets every object once."""

    def __init__(self, module_type: type, *, repeats: bool) -> None:
        self.module_type = module_type
        self.repeats = repeats
        self.seen: set[int] = set()

    def below(self, module: Any, path: str) -> Iterator[Place]:
        """Yield the parameters in the attributes of a module."""
        for name, value in attributes(module):

            def replace(new: Any, name: str = name) -> None:
                setattr(module, name, new)

            yield from self.at(value, f"{path}.{name}" if path else name, replace)

    def at(self, value: Any, path: str, replace: Callable[[Any], None]) -> Iterator[Place]:
        """Yield the parameters that `value` is or holds."""
        if not isinstance(value, (Parameter, self.module_type, list, tuple, dict)):
            return
        is_known = id(value) in self.seen
        self.seen.add(id(value))
        if isinstance(value, Parameter) and (self.repeats or not is_known):
            yield Place(path, value, replace)
        if is_known or isinstance(value, Parameter):
            return
        if isinstance(value, self.module_type):
            # What has been optimized as a part stays as it is in the whole.
            if not getattr(value, "_compiled", False):
                yield from self.below(value, path)
            return
        for key, item, replace_item in _items(value, replace):
            yield from self.at(item, f"{path}[{key}]", replace_item)


def attributes(module: Any) -> list[tuple[str, Any]]:
    """Return the attributes of a module in which parameters may be, with their names.

    The calls that it has made are left out: there are thousands of them, each with all its messages.
    """
    return [(name, value) for name, value in vars(module).items() if not _are_calls(name, value)]


def _are_calls(name: str, value: Any) -> bool:
    if name != "history" or not isinstance(value, list) or not value:
        return False
    # A module may keep something else under this name.
    return isinstance(value[0], dict) and "messages" in value[0]


def _items(
    container: Any, replace: Callable[[Any], None]
) -> Iterator[tuple[str, Any, Callable[[Any], None]]]:
    """Yield key as written in a path, item and setter of each item of a list, tuple or dict."""
    if isinstance(container, dict):
        for key, item in list(container.items()):
            yield f"'{key}'", item, _setter(container, key)
    elif isinstance(container, list):
        for index, item in enumerate(list(container)):
            yield str(index), item, _setter(container, index)
    elif isinstance(container, tuple):
        for index, item in enumerate(container):
            yield str(index), item, _tuple_setter(container, index, replace)


def _setter(container: Any, key: Any) -> Callable[[Any], None]:
    def replace(new: Any) -> None:
        container[key] = new

    return replace


def _tuple_setter(values: tuple[Any, ...], index: int, outer: Callable[[Any], None]) -> Callable[[Any], None]:
    def replace(new: Any) -> None:
        outer((*values[:index], new, *values[index + 1 :]))

    return replace


def sub_modules(
    program: Any, module_type: type, *, wanted: type, skip_compiled: bool
) -> Iterator[tuple[str, Any]]:
    """Yield every object of type `wanted` below `program`, itself first, nearest first."""
    queue: deque[tuple[str, Any]] = deque([("self", program)])
    seen = {id(program)}
    while queue:
        name, item = queue.popleft()
        if isinstance(item, wanted):
            yield name, item
        inner: list[tuple[str, Any]] = []
        if isinstance(item, module_type):
            if not (skip_compiled and getattr(item, "_compiled", False)):
                inner = [(f"{name}.{key}", value) for key, value in attributes(item)]
        elif isinstance(item, (list, tuple)):
            inner = [(f"{name}[{index}]", value) for index, value in enumerate(item)]
        elif isinstance(item, dict):
            inner = [(f"{name}[{key}]", value) for key, value in item.items()]
        for path, value in inner:
            if id(value) not in seen:
                seen.add(id(value))
                queue.append((path, value))


def set_attribute_by_name(program: Any, name: str, value: Any) -> None:
    """Put `value` in the place that a path names.

    Args:
        program: Where the path begins.
        name: The path, as in `named_parameters`, for example "hops[0].predict".
        value: What to put there.

    Raises:
        UserError: `name` is no path.
    """
    steps = list(_STEP.finditer(name))
    if not steps or "".join(step.group() for step in steps) != name:
        raise UserError(f"`name` must be a path such as 'hops[0].predict', but got {name!r}.")
    owner = program
    for step in steps[:-1]:
        attribute = step["attribute"]
        owner = getattr(owner, attribute) if attribute else owner[_key(step)]
    if steps[-1]["attribute"]:
        setattr(owner, steps[-1]["attribute"], value)
    else:
        owner[_key(steps[-1])] = value


def _key(step: re.Match[str]) -> int | str:
    return step["key"] if step["index"] is None else int(step["index"])
