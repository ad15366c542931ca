"""BIG-bench tasks as examples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mipro import fetch
from mipro.datasets._readers import read_json
from mipro.errors import UserError
from mipro.example import Example

if TYPE_CHECKING:
    import os


@dataclass(frozen=True, slots=True)
class _Fields:
    """What the input and the output of a task are called."""

    question: str = "question"
    answer: str = "answer"
    prefix: str = ""
    """Text before each input that only repeats the name of the field."""


_NATURAL = {"intent_recognition": _Fields("utterance", "intent", "Utterance: ")}


def big_bench(
    task: str, *, path: str | os.PathLike[str] | None = None, progress: fetch.Progress = False
) -> list[Example]:
    """Return the examples of a BIG-bench task, fetching it the first time.

    An example has the fields `question` and `answer` (`utterance` and `intent` for
    "intent_recognition"). Where the choices differ between examples they are a
    further input, `choices`. Where several answers are right, `answer` is the first
    and `answers` has them all.

    Args:
        task: Name of the task, one of `mipro.fetch.TASKS`.
        path: A local `task.json` to read instead, of any task.
        progress: True for a bar on stderr, or a function of (bytes done, bytes in all).

    Returns:
        The examples in the order of the task, inputs set.

    Raises:
        UserError: No such task, or the file is not one of its kind.
        DownloadError: No source could deliver the task.
        IntegrityError: The sources deliver other bytes than the known ones.

    Example:
        >>> big_bench("intent_recognition")[3].intent  # doctest: +SKIP
        'get_weather'

    References:
        Srivastava et al., 2022, arXiv:2206.04615.
    """
    rows = _rows(path if path is not None else fetch.task_path(task, progress=progress))
    fields = _NATURAL.get(task, _Fields())
    options = [_choices(row) for row in rows]
    choices_differ = any(set(choices) != set(options[0]) for choices in options)
    return [
        _example(row, fields, choices if choices_differ else [])
        for row, choices in zip(rows, options, strict=True)
    ]


def _rows(source: str | os.PathLike[str]) -> list[dict[str, Any]]:
    data = read_json(source, "a task.json of BIG-bench")
    rows = data.get("examples") if isinstance(data, dict) else None
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        raise UserError(f"{str(source)!r} must be a task.json of BIG-bench, with a list of examples.")
    return rows


def _example(row: dict[str, Any], fields: _Fields, choices: list[str]) -> Example:
    try:
        question, answers = str(row["input"]), _answers(row)
        answer = answers[0]
    except (KeyError, IndexError, ValueError, TypeError, AttributeError) as error:
        raise UserError(
            f"an example of BIG-bench must have an input and a target, but got {row!r}."
        ) from error
    values: dict[str, Any] = {fields.question: question.removeprefix(fields.prefix)}
    if choices:
        values["choices"] = choices
    inputs = tuple(values)
    values[fields.answer] = answer
    if len(answers) > 1:
        values[f"{fields.answer}s"] = answers
    return Example(values).with_inputs(*inputs)


def _choices(row: dict[str, Any]) -> list[str]:
    scores = row.get("target_scores")
    return list(scores) if isinstance(scores, dict) else []


def _answers(row: dict[str, Any]) -> list[str]:
    # Where there are choices, `target` may be an explanation of the right one.
    if scores := row.get("target_scores"):
        best = max(scores.values())
        return [choice for choice, score in scores.items() if score == best]
    target = row["target"]
    return [str(text) for text in target] if isinstance(target, list) else [str(target)]
