"""HotPotQA: questions that need facts of two Wikipedia pages."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, Literal

from mipro.datasets._dataset import Dataset
from mipro.datasets._readers import load_from_hub, read_json_records
from mipro.errors import UserError

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator, Mapping

TRAIN_SHARE = 75
"""Per cent of the official training questions that stay for training; the others are
the development split, since the official one serves as test."""


class HotPotQA(Dataset):
    """HotPotQA in the "fullwiki" setting, from the hub or from a local copy.

    The official training questions of level "hard" give `train` and `dev`, the
    official validation questions give `test`. The same seeds draw the same examples
    as in DSPy.

    Args:
        only_hard_examples: Must be True; the official validation questions are all hard.
        keep_details: Fields next to question and answer: "dev_titles" (titles of the
            pages needed, outside train), True (these, id, type and context) or False.
        unofficial_dev: Whether `dev` is cut off the training questions; without it
            there is no `dev`.
        path: A local copy instead of the hub: a JSON or JSON-lines file of training
            questions, or a folder whose file names say "train" and "validation" or "dev".
        splits: Seeds and sizes, see `Dataset`: `train_seed`, `train_size`,
            `eval_seed`, `dev_size`, `test_size`, `input_keys`.

    Raises:
        UserError: An argument or the local copy is not what it must be.
        MissingExtraError: The hub is needed and the extra `hf` is not installed.
        DownloadError: The hub did not deliver.

    References:
        Yang et al., 2018, arXiv:1809.09600.
    """

    def __init__(
        self,
        *args: Any,
        only_hard_examples: bool = True,
        keep_details: Literal["dev_titles"] | bool = "dev_titles",
        unofficial_dev: bool = True,
        path: str | os.PathLike[str] | None = None,
        **splits: Any,
    ) -> None:
        super().__init__(*args, **splits)
        if not only_hard_examples:
            raise UserError(
                "`only_hard_examples` must be True, but got False: the validation questions are all hard."
            )
        if keep_details not in (True, False, "dev_titles"):
            raise UserError(f'`keep_details` must be "dev_titles", True or False, but got {keep_details!r}.')
        official_train, official_dev = _from_hub() if path is None else _from_path(Path(path).expanduser())
        rows = [
            _row(raw, _kept(keep_details)) for raw in official_train if raw.get("level", "hard") == "hard"
        ]
        Random(0).shuffle(rows)  # noqa: S311 - no secret
        cut = len(rows) * TRAIN_SHARE // 100
        self._train = rows[:cut]
        if keep_details == "dev_titles":
            self._train = [
                {key: value for key, value in row.items() if key != "gold_titles"} for row in self._train
            ]
        self._dev = rows[cut:] if unofficial_dev else None
        self._test = [
            _row(raw, ("id", "question", "answer", "type", "supporting_facts")) for raw in official_dev
        ]


def _kept(keep_details: Literal["dev_titles"] | bool) -> tuple[str, ...]:
    if keep_details is True:
        return ("id", "question", "answer", "type", "supporting_facts", "context")
    if keep_details == "dev_titles":
        return ("question", "answer", "supporting_facts")
    return ("question", "answer")


def _row(raw: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    if "_id" in raw:  # the authors' own files
        raw = {**raw, "id": raw["_id"]}
    try:
        row = {name: raw[name] for name in names}
    except KeyError as error:
        raise UserError(
            f"a question of HotPotQA must have the fields {list(names)}, but got {sorted(raw)}."
        ) from error
    if "supporting_facts" in row:
        try:
            row["gold_titles"] = _titles(row.pop("supporting_facts"))
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(
                "the supporting facts of a question of HotPotQA must be [[title, sentence], ...] or "
                f'{{"title": [...]}}, but got {raw["supporting_facts"]!r}.'
            ) from error
    return row


def _titles(facts: Any) -> set[str]:
    # The hub has {"title": [...], "sent_id": [...]}, the authors' files [[title, sentence], ...].
    return set(facts["title"]) if isinstance(facts, dict) else {title for title, *_ in facts}


def _from_hub() -> tuple[Iterable[Mapping[str, Any]], Iterable[Mapping[str, Any]]]:
    return (
        load_from_hub("hotpot_qa", "fullwiki", split="train"),
        load_from_hub("hotpot_qa", "fullwiki", split="validation"),
    )


def _from_path(path: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    if path.is_file():
        return read_json_records(path), []
    files = sorted(file for file in path.glob("*") if file.suffix in (".json", ".jsonl"))
    train = [record for file in _named(files, "train") for record in read_json_records(file)]
    dev = [record for file in _named(files, "validation", "dev") for record in read_json_records(file)]
    if not train:
        raise UserError(
            f"`path` must be a JSON file or a folder with one whose name says 'train', but got {str(path)!r} "
            f"with {[file.name for file in files]}."
        )
    return train, dev


def _named(files: list[Path], *words: str) -> Iterator[Path]:
    return (file for file in files if any(word in file.name for word in words))
