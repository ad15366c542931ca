"""Making a search by name."""

from __future__ import annotations

import functools
import inspect
import math
import reprlib
from numbers import Real
from typing import TYPE_CHECKING, Any, Literal

from mipro._whole import is_whole
from mipro.errors import UserError
from mipro.search._bayes import BayesSearch
from mipro.search._book import Book
from mipro.search._halving import HalvingSearch
from mipro.search._samplers import Sampler, TpeSampler, UniformSampler
from mipro.search._space import Space
from mipro.search._trials import TrialSearch, TrialSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mipro.search._base import Search


def default_num_trials(space: Space) -> int:
    """Return the paper's number of trials, `max(2 V log2(N), 1.5 N)`.

    V is the number of variables, N the largest number of choices of one.

    References:
        Opsahl-Ong et al., 2024, arXiv:2406.11695; `dspy.MIPROv2`.
    """
    largest = max(space.sizes)
    return max(1, int(max(2 * len(space) * math.log2(largest), 1.5 * largest)))


def default_budget(
    num_examples: int,
    num_trials: int,
    *,
    minibatch: bool = True,
    minibatch_size: int = 35,
    minibatch_full_eval_steps: int = 5,
) -> int:
    """Return the evaluations (candidate x example) that the published loop makes, the repeated ones counted.

    The original is evaluated in full, each trial on a minibatch, and the best average in full after every
    `minibatch_full_eval_steps` trials and after the last. Without minibatches all trials are in full.

    Args:
        num_examples: Size of the validation set.
        num_trials: Trials, full evaluations not counted.
        minibatch: Whether trials are evaluated on minibatches.
        minibatch_size: Examples of a minibatch; all there are, where there are fewer.
        minibatch_full_eval_steps: Trials between two full evaluations.

    References:
        `dspy.MIPROv2`, whose loop this counts.
    """
    if not minibatch:
        return num_examples * (1 + num_trials)
    full = 1 + math.ceil(num_trials / minibatch_full_eval_steps)
    return full * num_examples + num_trials * min(minibatch_size, num_examples)


BLOCK = 8
"""Examples of a first look at a candidate by "bayes"."""
MOST_AHEAD, LEAST_AHEAD = 20, 2
"""Decisions under way at once, at most and at least: twenty of a block or more each keep a hundred threads
busy, though each waits for the slowest answer of those before it."""
BLIND = 1 / 3
"""Share of the budget to ask for at most before any score is known."""


def default_lookahead(budget: int, sizes: Sequence[int]) -> int:
    """Return how many decisions of "bayes" should be under way at once.

    Each knows of the others under way, but not their results, so small budgets allow few. Not the number of
    threads decides, so that a run is the same with any number of them.

    Args:
        budget: Cells that the search may ask for.
        sizes: Number of choices of each variable.
    """
    opening = BLOCK * (1 + max(sizes))
    return min(max(int(BLIND * budget - opening) // BLOCK, LEAST_AHEAD), MOST_AHEAD)


def create(
    name: Literal["bayes", "tpe", "random", "halving"] | str,
    space: Space,
    *,
    num_examples: int,
    budget: int,
    seed: int = 0,
    lookahead: int = 1,
    order: Sequence[int] | None = None,
    **options: Any,
) -> Search:
    """Make a search.

    Args:
        name: "bayes" (structured Bayesian search, the default of MIPROv2), "tpe" (as the paper and DSPy do
            it), "random" (the same loop with uniform draws) or "halving" (paired successive halving).
        space: What to choose from; it may grow while the search runs.
        num_examples: Size of the validation set, at least 1.
        budget: Most evaluations (candidate x example cells) to spend, at least 1.
        seed: Seed of all that is drawn, at least 0.
        lookahead: How many decisions may wait for their scores at a time, at least 1.
        order: Examples in the order the caller wants them met, such as one stratified by label; a
            permutation of `range(num_examples)`; as they are numbered where left out. Minibatches of "tpe"
            and "random" are drawn at random from it all the same, as published.
        **options: For "tpe" and "random": `num_trials`, `minibatch`, `minibatch_size`,
            `minibatch_full_eval_steps`. For "halving": `min_block`. For "bayes": `block_size`, `patience`.

    Returns:
        A search in its initial state.

    Raises:
        UserError: An argument that makes no sense, an unknown name or option.

    Example:
        >>> search = create("halving", Space({"0.instruction": 3}), num_examples=20, budget=60)
        >>> search.ask()[0].candidate
        (0,)
    """
    if not isinstance(name, str) or name not in _MAKERS:
        raise UserError(f"`name` must be one of {list(_MAKERS)}, but got {name!r}.")
    if not isinstance(space, Space):
        raise UserError(f"`space` must be a `mipro.search.Space`, but got {space!r}; pass Space({{...}}).")
    _check_int("num_examples", num_examples)
    _check_int("budget", budget)
    _check_int("lookahead", lookahead)
    _check_int("seed", seed, least=0)
    if order is not None and not _is_permutation(order, num_examples):
        raise UserError(
            f"`order` must be a permutation of range({num_examples}), but got {reprlib.repr(order)}."
        )
    book = Book(num_examples=num_examples, budget=budget, lookahead=lookahead, order=order)
    maker = _MAKERS[name]
    known = [p for p in inspect.signature(maker).parameters if p not in {"space", "book", "seed"}]
    unknown = [option for option in options if option not in known]
    if unknown:
        raise UserError(f"Options of search {name!r} are {known}, but got {unknown}.")
    return maker(space, book, seed=seed, **options)


def _check_int(name: str, value: int, *, least: int = 1) -> None:
    if not is_whole(value, least):
        raise UserError(f"`{name}` must be an int of at least {least}, but got {value!r}.")


def _is_permutation(order: Sequence[int], count: int) -> bool:
    try:
        return len(order) == count and sorted(order) == list(range(count))
    except TypeError:
        return False


def _trials(
    make_sampler: Callable[[Space, int, Book], Sampler],
    space: Space,
    book: Book,
    *,
    seed: int,
    num_trials: int | None = None,
    minibatch: bool = True,
    minibatch_size: int = 35,
    minibatch_full_eval_steps: int = 5,
) -> Search:
    trials = default_num_trials(space) if num_trials is None else num_trials
    _check_int("num_trials", trials)
    _check_int("minibatch_size", minibatch_size)
    _check_int("minibatch_full_eval_steps", minibatch_full_eval_steps)
    settings = TrialSettings(
        num_trials=trials,
        minibatch=minibatch,
        minibatch_size=minibatch_size,
        minibatch_full_eval_steps=minibatch_full_eval_steps,
    )
    return TrialSearch(space, book, make_sampler(space, seed, book), settings, seed=seed)


def _tpe(space: Space, seed: int, book: Book) -> Sampler:
    return TpeSampler(space, seed, constant_liar=book.lookahead > 1)


def _uniform(space: Space, seed: int, book: Book) -> Sampler:
    del book
    return UniformSampler(space, seed)


def _halving(space: Space, book: Book, *, seed: int, min_block: int = 8) -> Search:
    _check_int("min_block", min_block)
    return HalvingSearch(space, book, seed=seed, min_block=min_block)


def _bayes(space: Space, book: Book, *, seed: int, block_size: int = BLOCK, patience: float = 1.0) -> Search:
    _check_int("block_size", block_size)
    if not isinstance(patience, Real) or not patience > 0:
        raise UserError(f"`patience` must be positive, but got {patience!r}; larger stops later.")
    return BayesSearch(space, book, seed=seed, block_size=block_size, patience=patience)


_MAKERS: dict[str, Callable[..., Search]] = {
    "bayes": _bayes,
    "tpe": functools.partial(_trials, _tpe),
    "random": functools.partial(_trials, _uniform),
    "halving": _halving,
}
