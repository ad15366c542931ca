"""GSM8K: sums told in words, whose answers are whole numbers."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from mipro.datasets._readers import load_from_hub, read_json_records
from mipro.errors import UserError
from mipro.example import Example

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Mapping

TRAIN_SIZE, DEV_SIZE = 200, 300
"""How many of the official training questions are for training, and how many for development."""


class GSM8K:
    """GSM8K from the hub or from a local copy, with the examples that DSPy draws.

    Args:
        path: A folder with `train.jsonl` and `test.jsonl`, as the authors publish them, instead of the hub.

    Attributes:
        train: 200 of the official training questions, shuffled. An example has the input
            `question`, and `gold_reasoning` and `answer`, a whole number as text.
        dev: 300 others.
        test: All official test questions, shuffled.

    Raises:
        UserError: The local copy is not what it must be.
        MissingExtraError: The hub is needed and the extra `hf` is not installed.
        DownloadError: The hub did not deliver.

    References:
        Cobbe et al., 2021, arXiv:2110.14168.
    """

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        official_train, self.test = (_examples(_rows(path, split)) for split in ("train", "test"))
        self.train = official_train[:TRAIN_SIZE]
        self.dev = official_train[TRAIN_SIZE : TRAIN_SIZE + DEV_SIZE]


def gsm8k_metric(gold: Example, pred: Any, trace: Any = None) -> bool:
    """Tell whether two answers give the same whole number, whatever words and units are about it."""
    del trace
    return parse_integer_answer(str(gold.answer)) == parse_integer_answer(str(pred.answer))


def parse_integer_answer(answer: str, only_first_line: bool = True) -> int:
    """Return the last number in an answer without its decimals, or 0 where there is none.

    Example:
        >>> parse_integer_answer("He pays $1,250.00 in all.")
        1250
    """
    if only_first_line:
        answer = answer.strip().partition("\n")[0]
    numbers = [word for word in answer.split() if any(c.isdigit() for c in word)]
    try:
        return int("".join(c for c in numbers[-1].partition(".")[0] if c.isdigit()))
    except (IndexError, ValueError):
        return 0


def _rows(path: str | os.PathLike[str] | None, split: str) -> Iterable[Mapping[str, Any]]:
    if path is None:
        rows: Iterable[Mapping[str, Any]] = load_from_hub("openai/gsm8k", "main", split=split)
        return rows
    return read_json_records(Path(path).expanduser() / f"{split}.jsonl")


def _examples(rows: Iterable[Mapping[str, Any]]) -> list[Example]:
    examples = [_example(row) for row in rows]
    Random(0).shuffle(examples)  # noqa: S311 - no secret
    return examples


def _example(row: Mapping[str, Any]) -> Example:
    try:
        reasoning, number = str(row["answer"]).rsplit("####", 1)
        answer = str(int(number.replace(",", "")))
        question = row["question"]
    except (KeyError, ValueError) as error:
        raise UserError(
            "a question of GSM8K must have a `question` and an `answer` that ends in '#### NUMBER', "
            f"but got {dict(row)!r}."
        ) from error
    fields = {"question": question, "gold_reasoning": " ".join(reasoning.split()), "answer": answer}
    return Example(fields).with_inputs("question")
