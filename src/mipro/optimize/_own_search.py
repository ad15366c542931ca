"""What a search gives, checked as it comes: it may be the user's own."""

from __future__ import annotations

import reprlib
from dataclasses import dataclass, replace
from numbers import Real
from typing import TYPE_CHECKING, Any

from mipro._whole import is_whole
from mipro.errors import UserError
from mipro.search import Job, Recommendation

if TYPE_CHECKING:
    from mipro.search import Search, Space

SPENT = "budget: evaluations"
"""Why a search ends that asks for more than its budget."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a search was made with."""

    num_examples: int
    budget: int
    """Most evaluations that it may ask for."""


def checked_search(made: Any) -> Search:
    """Return what a function of the user's has made, if it can be asked and told.

    Raises:
        UserError: It has not the methods of a search.
    """
    check_methods(made)
    search: Search = made
    return search


def check_methods(made: Any) -> None:
    """Refuse what has not the methods of a search, be it the class that it will be of."""
    missing = [name for name in ("ask", "tell", "recommend") if not callable(getattr(made, name, None))]
    if missing:
        raise UserError(
            "what is given as `search`, or what it returns, must have the methods of a "
            f"`mipro.search.Search`, but {made!r} has no {', '.join(f'`{name}`' for name in missing)}."
        )


def checked_jobs(jobs: Any, space: Space, num_examples: int) -> list[Job]:
    """Return the jobs that a search asks for, their numbers as Python's own.

    Raises:
        UserError: They are no jobs, or can't be run.
    """
    if not isinstance(jobs, (list, tuple)) or not all(isinstance(job, Job) for job in jobs):
        raise UserError(
            "`ask` of a search must return a list of `mipro.search.Job`, an empty one when it is finished, "
            f"but returned {reprlib.repr(jobs)}."
        )
    return [_checked(job, space, num_examples) for job in jobs]


def _checked(job: Job, space: Space, num_examples: int) -> Job:
    candidate, examples = (
        tuple(int(number) for number in numbers) if all(is_whole(number, 0) for number in numbers) else ()
        for numbers in (job.candidate, job.examples)
    )
    if candidate not in space:
        raise UserError(
            f"the candidate of a job must be a tuple of choices that is in {space!r}, but the search asks "
            f"for {job.candidate!r}."
        )
    if not examples or len(set(examples)) < len(examples) or max(examples) >= num_examples:
        raise UserError(
            f"the examples of a job must be one or more of range({num_examples}), each once, but the search "
            f"asks for {reprlib.repr(job.examples)}."
        )
    return Job(candidate, examples, job.reason)


def checked_recommendation(found: Any, space: Space) -> Recommendation:
    """Return what a search recommends.

    Raises:
        UserError: It is no recommendation, or of no candidate of the space.
    """
    if not isinstance(found, Recommendation) or found.candidate not in space or not _has_numbers(found):
        raise UserError(
            "`recommend` of a search must return a `mipro.search.Recommendation`, its mean, interval and "
            f"p_better numbers and its candidate in {space!r}, but returned {found!r}; "
            "`mipro.testing.search` has checks to run before a search is paid for."
        )
    return replace(found, candidate=tuple(map(int, found.candidate)))


def _has_numbers(found: Recommendation) -> bool:
    interval = tuple(found.interval) if isinstance(found.interval, (list, tuple)) else ()
    values = (found.mean, found.p_better, *interval)
    return len(interval) == 2 and all(isinstance(value, Real) for value in values)  # noqa: PLR2004 - low, high
