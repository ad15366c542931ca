"""Odds and ends under the names that users of DSPy import them from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from mipro import callback, errors
from mipro._paths import lend
from mipro.callback import BaseCallback, with_callbacks
from mipro.context import settings
from mipro.lm import _history, _usage
from mipro.lm._history import pretty_print_history
from mipro.modules import _asyncify
from mipro.testing import lms
from mipro.testing.lms import DummyLM

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable

__all__ = [
    "BaseCallback",
    "DummyLM",
    "deduplicate",
    "dotdict",
    "pretty_print_history",
    "settings",
    "with_callbacks",
]

HashableT = TypeVar("HashableT", bound="Hashable")

__path__ = lend(
    __name__,
    asyncify=_asyncify,
    callback=callback,
    dummies=lms,
    exceptions=errors,
    inspect_history=_history,
    syncify=_asyncify,
    usage_tracker=_usage,
)


class dotdict(dict[str, Any]):  # noqa: N801 - DSPy's name
    """A dict whose keys are attributes too, such as `long_text` of a retrieved passage."""

    def __getattr__(self, key: str) -> Any:
        try:
            return self[key]
        except KeyError as error:
            raise AttributeError(f"`dotdict` object has no attribute '{key}'.") from error

    def __setattr__(self, key: str, value: Any) -> None:
        self[key] = value

    def __delattr__(self, key: str) -> None:
        del self[key]


def deduplicate(seq: Iterable[HashableT]) -> list[HashableT]:
    """Return the items, each the first time it occurs."""
    return list(dict.fromkeys(seq))
