"""What a search is: the ask/tell interface and the values that cross it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from mipro.search._space import Candidate

Scores: TypeAlias = Sequence[Sequence["float | None"]]
"""Scores as the metric returned them, shaped as the jobs: `scores[j][k]` belongs to the k-th example of
job j. None is a missing score (an infrastructure failure), never zero."""


@dataclass(frozen=True, slots=True)
class Job:
    """Evaluate one candidate on some examples."""

    candidate: Candidate
    """The choices to build the program from."""
    examples: tuple[int, ...]
    """Indices of validation examples, each in `range(num_examples)`, in the order to run them."""
    reason: str = field(default="", compare=False)
    """Why it is asked, for the trial log: "original", "exploring", "challenging the leader", ..."""


@dataclass(frozen=True, slots=True)
class Recommendation:
    """The candidate to use and what to expect of it on unseen examples."""

    candidate: Candidate
    """The recommended choices."""
    mean: float
    """Expected score on an unseen example, in the metric's own unit; NaN while nothing is known."""
    interval: tuple[float, float]
    """95 % interval of the expected score on unseen examples; within 0 and 1 where all known scores are."""
    p_better: float
    """Probability that it is better than the program as it came; 0.0 when it is that program."""


class Search(ABC):
    """A strategy that spends evaluations (candidate x example cells) to find the best candidate.

    Subclass it to bring a search of your own; `mipro.testing.search` holds the checks every search must
    pass. The rules:

    - The first candidate asked for is the program as it came, `(0, 0, ...)`.
    - Never more than `budget` cells in total are asked for, and none twice. The one exception is a cell
      that came back missing (None): it is free again and may be asked once more; both count as spent.
    - With look-ahead L, `ask` may be called L times before the first `tell`. Decision t depends only on
      the seed, the space and the results of decisions up to t - L, in whatever order they came.
    - `recommend` may be called at any time and changes nothing.
    """

    @abstractmethod
    def ask(self) -> list[Job]:
        """Make the next decision.

        Returns:
            The jobs to run now; empty when the search is finished (until the space grows).

        Raises:
            UserError: `lookahead` decisions are still waiting for their scores.
        """

    @abstractmethod
    def tell(self, jobs: Sequence[Job], scores: Scores) -> None:
        """Report the scores of jobs that `ask` returned, all of one decision's or some of them.

        Args:
            jobs: Jobs as they were asked for; `reason` is not compared.
            scores: `scores[j][k]` is the score of `jobs[j]` on its k-th example, or None when missing.

        Raises:
            UserError: A job that was not asked for or was told already, a shape that does not fit, or a
                score that is not finite.
        """

    @abstractmethod
    def recommend(self) -> Recommendation:
        """Return the candidate to use, judged by everything told so far."""


class Recallable(Search):
    """A search that can take over a recorded decision without making it again.

    To make a decision may cost many times what it costs to remember it, and what was computed on one
    machine may come out otherwise on another. With `state` beside each recorded decision, a run resumes
    without either.
    """

    @abstractmethod
    def state(self) -> Any:
        """Return what it takes, beside the jobs, to recall the decision that `ask` has just made.

        JSON values, of a size that does not grow with the number of decisions.
        """

    @abstractmethod
    def recall(self, jobs: Sequence[Job], state: Any) -> None:
        """Take the next decision over from a record; leaves the search as the `ask` that made it did.

        To be called in place of `ask`, with the results told that `ask` would need.

        Args:
            jobs: What `ask` returned.
            state: What `state` returned thereafter.
        """
