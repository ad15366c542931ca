"""A data set with splits that are drawn by seeds."""

from __future__ import annotations

import uuid
from random import Random
from typing import TYPE_CHECKING, Any

from mipro._canonical import canonical
from mipro._whole import is_whole
from mipro.datasets._readers import check_lists
from mipro.errors import UserError
from mipro.example import Example

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


class Dataset:
    """Base of data sets with the splits `train`, `dev` and `test`.

    A subclass sets `_train`, `_dev` and `_test` to its records (mappings or
    examples). Each split is shuffled by its seed and cut to its size when first read.

    Args:
        train_seed: Seed of the order of the training split.
        train_size: Examples of the training split; all if None.
        eval_seed: Seed of the order of the other splits.
        dev_size: Examples of the development split; all if None.
        test_size: Examples of the test split; all if None.
        input_keys: Fields that are given to a program; set with `with_inputs` if None.

    Raises:
        UserError: `input_keys` is one text and no list, or a size is no whole number of at least 0.
    """

    _train: Iterable[Mapping[str, Any] | Example] | None = None
    _dev: Iterable[Mapping[str, Any] | Example] | None = None
    _test: Iterable[Mapping[str, Any] | Example] | None = None

    def __init__(
        self,
        train_seed: int = 0,
        train_size: int | None = None,
        eval_seed: int = 0,
        dev_size: int | None = None,
        test_size: int | None = None,
        input_keys: Sequence[str] | None = None,
    ) -> None:
        check_lists(input_keys=input_keys)
        _check_sizes(train_size=train_size, dev_size=dev_size, test_size=test_size)
        self.train_seed: int = train_seed
        self.train_size = train_size
        self.dev_seed: int = eval_seed
        self.dev_size = dev_size
        self.test_seed: int = eval_seed
        self.test_size = test_size
        self.input_keys: list[str] = list(input_keys or ())
        self.do_shuffle = True
        self.name: str = type(self).__name__
        self._drawn: dict[str, list[Example]] = {}

    def reset_seeds(
        self,
        train_seed: int | None = None,
        train_size: int | None = None,
        eval_seed: int | None = None,
        dev_size: int | None = None,
        test_size: int | None = None,
    ) -> None:
        """Draw all splits anew with other seeds or sizes; None keeps what was set."""
        _check_sizes(train_size=train_size, dev_size=dev_size, test_size=test_size)
        self.train_seed = self.train_seed if train_seed is None else train_seed
        self.train_size = self.train_size if train_size is None else train_size
        self.dev_seed = self.dev_seed if eval_seed is None else eval_seed
        self.dev_size = self.dev_size if dev_size is None else dev_size
        self.test_seed = self.test_seed if eval_seed is None else eval_seed
        self.test_size = self.test_size if test_size is None else test_size
        self._drawn.clear()

    @property
    def train(self) -> list[Example]:
        """Training examples."""
        return self._draw("train", self._train, self.train_size, self.train_seed)

    @property
    def dev(self) -> list[Example]:
        """Development (validation) examples."""
        return self._draw("dev", self._dev, self.dev_size, self.dev_seed)

    @property
    def test(self) -> list[Example]:
        """Test examples."""
        return self._draw("test", self._test, self.test_size, self.test_seed)

    def _draw(
        self, split: str, records: Iterable[Mapping[str, Any] | Example] | None, size: int | None, seed: int
    ) -> list[Example]:
        if split not in self._drawn:
            if records is None:
                raise UserError(f"the data set {self.name} has no {split!r} split.")
            rows = list(records)
            if self.do_shuffle:
                Random(seed).shuffle(rows)  # noqa: S311 - no secret
            self._drawn[split] = [self._example(row, split) for row in rows[:size]]
        return self._drawn[split]

    def _example(self, row: Mapping[str, Any] | Example, split: str) -> Example:
        fields = dict(row.items())
        # From the content, so that the same seeds give equal examples in every process.
        name = str(uuid.uuid5(uuid.NAMESPACE_OID, canonical(fields)))
        example = Example({**fields, "dspy_uuid": name, "dspy_split": split})
        return example.with_inputs(*self.input_keys) if self.input_keys else example


def _check_sizes(**sizes: Any) -> None:
    """Refuse what a list can't be cut to: -1 would be all but the last."""
    for name, size in sizes.items():
        if size is not None and not is_whole(size, 0):
            raise UserError(
                f"`{name}` must be a whole number of at least 0, or None for all, but got {size!r}."
            )
