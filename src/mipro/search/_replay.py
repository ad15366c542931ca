"""Rebuilding a search from its record."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mipro.errors import StateError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mipro.search._base import Job, Scores, Search


def replay(search: Search, decisions: Iterable[tuple[Sequence[Job], Scores]], *, lookahead: int = 1) -> None:
    """Bring a new search to the state that a recorded one had.

    Args:
        search: A search in its initial state, made with the settings of the recorded one.
        decisions: Jobs and scores of each decision, in the order the decisions were made.
        lookahead: The `lookahead` of both searches.

    Raises:
        StateError: The search decides otherwise than recorded: it was made with other settings.
    """
    waiting: list[tuple[Sequence[Job], Scores]] = []
    for number, (jobs, scores) in enumerate(decisions):
        if len(waiting) == lookahead:
            search.tell(*waiting.pop(0))
        asked = search.ask()
        if asked != list(jobs):
            raise StateError(
                f"Decision {number} must be as recorded, {list(jobs)!r}, but the search asks for {asked!r}; "
                "make it with the same space, settings and seed."
            )
        waiting.append((jobs, scores))
    for jobs, scores in waiting:
        search.tell(jobs, scores)
