"""The unchanging head of a prompt: built once per candidate, not once per call."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from mipro.signature import extra_of

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence

    from mipro.signature import Signature

    _Shorter = tuple[tuple[Any, ...], type[Signature]]

Message = dict[str, Any]

# Demo sets kept per signature: a run has few of them in flight for one instruction.
_MAX_DEMO_SETS = 16
_ATOMS = frozenset({str, int, float, bool, type(None)})


@dataclass(slots=True)
class Head:
    """What is the same in every prompt of one signature."""

    fingerprint: tuple[Any, ...]
    system: str
    reminder: str | None
    demos: OrderedDict[Hashable, list[Message]] = field(default_factory=OrderedDict)


class HeadCache:
    """Heads of one adapter by signature; a signature changed in place gets a new one."""

    def __init__(self) -> None:
        self._heads: WeakKeyDictionary[type[Signature], Head] = WeakKeyDictionary()
        self._shorter: WeakKeyDictionary[type[Signature], _Shorter] = WeakKeyDictionary()
        self._lock = threading.Lock()

    def __deepcopy__(self, memo: dict[int, Any]) -> HeadCache:
        return HeadCache()

    def __reduce__(self) -> tuple[type[HeadCache], tuple[()]]:
        return HeadCache, ()

    def head(self, signature: type[Signature], build: Callable[[], tuple[str, str | None]]) -> Head:
        """Return the head of `signature`, from `build` where there is none yet."""
        fingerprint = _fingerprint(signature)
        head = self._heads.get(signature)
        if head is None or head.fingerprint != fingerprint:
            system, reminder = build()
            head = Head(fingerprint, system, reminder)
            with self._lock:
                self._heads[signature] = head
        return head

    def without(self, signature: type[Signature], names: Sequence[str]) -> type[Signature]:
        """Return `signature` without the fields `names`, the same class for every call."""
        if not names:
            return signature
        key = (tuple(names), _fingerprint(signature))
        known = self._shorter.get(signature)
        if known is not None and known[0] == key:
            return known[1]
        shorter = signature
        for name in names:
            shorter = shorter.delete(name)
        with self._lock:
            self._shorter[signature] = (key, shorter)
        return shorter

    def demos(
        self, head: Head, demos: Iterable[Mapping[str, Any]], build: Callable[[], list[Message]]
    ) -> list[Message]:
        """Return the messages of a demo set, as copies that the caller may change."""
        key = _demos_key(demos)
        if key is None:
            return build()
        messages = head.demos.get(key)
        if messages is None:
            messages = build()
            with self._lock:
                head.demos[key] = messages
                while len(head.demos) > _MAX_DEMO_SETS:
                    head.demos.popitem(last=False)
        return [dict(message) for message in messages]


def _fingerprint(signature: type[Signature]) -> tuple[Any, ...]:
    """Return everything that the head shows of a signature, cheap to compare."""
    parts: list[Any] = [signature.__doc__]
    for name, info in signature.model_fields.items():
        extra = extra_of(info)
        parts.extend((name, info.annotation, extra.get("desc"), extra.get("constraints")))
    return tuple(parts)


def _demos_key(demos: Iterable[Mapping[str, Any]]) -> Hashable | None:
    """Return a key of the demos' contents, or None where they hold values that may change unseen."""
    key: list[Any] = []
    for demo in demos:
        for name, value in demo.items():
            frozen = _frozen(value)
            if frozen is None:
                return None
            key.append((name, frozen))
        key.append(None)
    return tuple(key)


def _frozen(value: Any) -> Hashable | None:
    if type(value) in _ATOMS:
        return (type(value), value)
    if type(value) in (list, tuple):
        parts = [_frozen(item) for item in value]
        return None if None in parts else (type(value), tuple(parts))
    return None
