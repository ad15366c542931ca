"""Token counts of the calls made in a block."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from mipro.context import context, settings

if TYPE_CHECKING:
    from collections.abc import Iterator


class UsageTracker:
    """Collects token counts by model.

    Attributes:
        usage_data: One entry for each call, by name of the model.
    """

    def __init__(self) -> None:
        self.usage_data: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)

    def add_usage(self, lm: str, usage_entry: dict[str, Any]) -> None:
        """Add the counts of one call; an empty entry, as of a cached answer, adds nothing."""
        if usage_entry:
            self.usage_data[lm].append({k: _as_plain(v) for k, v in usage_entry.items()})

    def get_total_tokens(self) -> dict[str, dict[str, Any]]:
        """Return the sums by name of the model, with the same nested keys as the entries."""
        totals = {}
        for lm, entries in list(self.usage_data.items()):
            total: dict[str, Any] = {}
            for entry in list(entries):
                total = _added(total, entry)
            totals[lm] = total
        return totals


@contextlib.contextmanager
def track_usage() -> Iterator[UsageTracker]:
    """Collect the token counts of all calls made in a `with` block.

    Blocks nest: when the inner one ends, its counts are added to the outer one's.

    Yields:
        The tracker; read it with `get_total_tokens()`.

    Example:
        >>> with track_usage() as tracker:
        ...     pass
        >>> tracker.get_total_tokens()
        {}
    """
    tracker = UsageTracker()
    parent = settings.usage_tracker
    with context(usage_tracker=tracker):
        try:
            yield tracker
        finally:
            if parent is not None:
                for lm, entries in tracker.usage_data.items():
                    parent.usage_data[lm].extend(entries)


def _as_plain(value: Any) -> Any:
    dump = getattr(value, "model_dump", None)
    return dump() if callable(dump) else value


def _added(total: dict[str, Any] | None, entry: dict[str, Any] | None) -> dict[str, Any]:
    if not total or not entry:
        return dict(total or entry or {})
    result = dict(total)
    for name, value in entry.items():
        known = result.get(name)
        if isinstance(value, dict) or isinstance(known, dict):
            result[name] = _added(known, value)
        elif known is None:
            result[name] = value
        elif _is_count(known) and _is_count(value):
            result[name] = known + value
        # Flags and texts that some servers report beside the counts stay as first seen.
    return result


def _is_count(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
