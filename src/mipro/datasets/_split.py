"""Splitting examples into parts that share nothing."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from random import Random
from typing import TYPE_CHECKING, Any, overload

from mipro._canonical import canonical
from mipro.errors import UserError
from mipro.example import Example

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger(__name__)


@overload
def split(
    examples: Sequence[Example],
    sizes: Mapping[str, float | None],
    *,
    seed: int = 0,
    rng: Random | None = None,
    stratify: str | Callable[[Example], Any] | None = None,
) -> dict[str, list[Example]]: ...


@overload
def split(
    examples: Sequence[Example],
    sizes: Sequence[float | None],
    *,
    seed: int = 0,
    rng: Random | None = None,
    stratify: str | Callable[[Example], Any] | None = None,
) -> list[list[Example]]: ...


def split(
    examples: Sequence[Example],
    sizes: Sequence[float | None] | Mapping[str, float | None],
    *,
    seed: int = 0,
    rng: Random | None = None,
    stratify: str | Callable[[Example], Any] | None = None,
) -> list[list[Example]] | dict[str, list[Example]]:
    """Split examples at random into parts without overlap.

    Examples with the same inputs always land in the same part, so that none that is
    tested on was trained on. Where such duplicates do not fit into the room left in
    any part, they are left out.

    Args:
        examples: The data; not modified.
        sizes: One entry for each part, named or not: a whole number of examples, a
            fraction (a float up to 1.0) of all, or None, once, for all that is left.
        seed: Decides the split; the same seed gives the same split.
        rng: Source of the random choices instead of `seed`; advanced in place.
        stratify: Name of a label field, or a function of an example; each part gets
            its share of every value, to within one example.

    Returns:
        One list for each entry of `sizes`, under its name where it has one.

    Raises:
        UserError: The sizes are not possible, `stratify` names no field, or an example is none.

    Example:
        >>> rows = [Example(x=i, y=i % 2).with_inputs("x") for i in range(10)]
        >>> [len(part) for part in split(rows, (4, 0.3, None), stratify="y")]
        [4, 3, 3]
    """
    if not isinstance(sizes, (Mapping, Sequence)) or isinstance(sizes, str):
        raise UserError(
            f"`sizes` must have an entry for each part, for example (0.5, None), but got {sizes!r}."
        )
    wanted = list(sizes.values()) if isinstance(sizes, Mapping) else list(sizes)
    counts = _counts(wanted, len(examples))
    rng = Random(seed) if rng is None else rng  # noqa: S311 - no secret
    pending = _in_random_order(_groups(examples), rng, _stratum(stratify))
    parts: list[list[Example]] = []
    for count in counts:
        part: list[Example] = []
        left: list[list[Example]] = []
        for group in pending:
            if len(part) + len(group) <= count:
                part.extend(group)
            else:
                left.append(group)
        parts.append(part)
        pending = left
    missing = sum(counts) - sum(len(part) for part in parts)
    if missing:
        logger.warning(
            "split: %d examples were left out, since their duplicates fit into no part whole", missing
        )
    return dict(zip(sizes, parts, strict=True)) if isinstance(sizes, Mapping) else parts


def _counts(sizes: Sequence[float | None], total: int) -> list[int]:
    if not sizes:
        raise UserError("`sizes` must name at least one part, but got none.")
    if sum(size is None for size in sizes) > 1:
        raise UserError(f"`sizes` may have one None, for the rest, but got {list(sizes)}.")
    counts = [_count(size, total) for size in sizes]
    used = sum(count for count in counts if count is not None)
    fractions = [size for size in sizes if isinstance(size, float)]
    if used > total and len(fractions) == len(sizes) and sum(fractions) <= 1 + 1e-9:
        # Rounding up several halves; the last part gives way.
        last = max(i for i, count in enumerate(counts) if count)
        counts[last] = (counts[last] or 0) - (used - total)
        used = total
    if used > total:
        raise UserError(
            f"the parts must fit into the data, but got sizes {list(sizes)} = {used} examples of {total}; "
            "ask for smaller parts or give more data."
        )
    return [total - used if count is None else count for count in counts]


def _count(size: float | None, total: int) -> int | None:
    if size is None:
        return None
    if isinstance(size, bool) or not isinstance(size, (int, float)) or not size >= 0:
        raise UserError(f"a size must be a whole number, a fraction or None, but got {size!r}.")
    if isinstance(size, int):
        return size
    if size > 1:
        raise UserError(f"a fraction must be at most 1.0, but got {size!r}; counts are given as int.")
    return round(size * total)


def _groups(examples: Sequence[Example]) -> list[list[Example]]:
    groups: dict[str, list[Example]] = {}
    for example in examples:
        if not isinstance(example, Example):
            raise UserError(
                f"every one of `examples` must be a `mipro.Example`, but got {type(example).__name__}: "
                f"{example!r}; make them with `mipro.datasets.from_records`."
            )
        groups.setdefault(inputs_key(example), []).append(example)
    return list(groups.values())


def inputs_key(example: Example) -> str:
    """Return a text that is equal for examples with equal inputs.

    Where an example does not say which fields are inputs, all of them count.
    """
    fields = dict(example)
    names = example._input_keys  # noqa: SLF001 - `inputs()` raises where it is not set
    if names is not None:
        fields = {name: value for name, value in fields.items() if name in names}
    return canonical(fields)


def _stratum(stratify: str | Callable[[Example], Any] | None) -> Callable[[Example], str]:
    def field(example: Example) -> str:
        if stratify not in example:
            raise UserError(
                f"`stratify` must name a field of every example, but {stratify!r} is not in {example}."
            )
        return repr(example[str(stratify)])

    if stratify is None:
        return lambda _example: ""
    if isinstance(stratify, str):
        return field
    return lambda example: repr(stratify(example))


def _in_random_order(
    groups: list[list[Example]], rng: Random, stratum: Callable[[Example], str]
) -> list[list[Example]]:
    """Shuffle so that every run of consecutive groups has its share of each stratum."""
    shuffled = rng.sample(groups, len(groups))
    names = [stratum(group[0]) for group in shuffled]
    totals = Counter(names)
    # Each stratum is spread evenly over [0, 1), from an offset of its own.
    offsets = {name: rng.random() for name in sorted(totals)}
    met: Counter[str] = Counter()
    keyed = []
    for index, (name, group) in enumerate(zip(names, shuffled, strict=True)):
        keyed.append(((met[name] + offsets[name]) / totals[name], index, group))
        met[name] += 1
    return [group for _, _, group in sorted(keyed, key=lambda entry: entry[:2])]
