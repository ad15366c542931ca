"""What can be seen in the training data without asking a model: labels, lengths, forms.

A model that is told "the answer is always one of: ..." often goes from useless to
good, and no language model is needed to see it.
"""

from __future__ import annotations

import statistics
import typing
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mipro._canonical import distinct
from mipro.propose._text import num_unspaced

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mipro.example import Example

_MAX_NUMBERS = 24
# Intents and topics come by the hundred; what all of them take in each prompt is some 750 tokens.
_MAX_LABEL_CHARS = 3000
_MAX_LABEL_WORDS = 6
_MIN_VALUES = 5
# The share of values seen exactly once estimates the chance that the next value is a
# new one (Good-Turing); above this the set is not closed.
_MAX_UNSEEN = 0.15
_SEPARATORS = (",", ";", " |")
_MOST = 0.8
_SHORT_WORDS = 3
# In scripts without blanks: three words of Chinese.
_SHORT_UNSPACED = 6


@dataclass(frozen=True, slots=True)
class FieldFacts:
    """What holds for one output field in the training data."""

    field: str
    """Name of the field."""
    labels: tuple[str, ...] = ()
    """All values the field takes, most frequent first; empty where the set is open."""
    notes: tuple[str, ...] = ()
    """Sentences on length and form."""

    @property
    def sentence(self) -> str:
        """The labels as a sentence for an instruction, or "" where the set is open."""
        if not self.labels:
            return ""
        # What stands in a label can't tell where it ends.
        signs = [sign for sign in _SEPARATORS if not any(sign in label for label in self.labels)]
        listed = f"{[*signs, _SEPARATORS[0]][0]} ".join(self.labels)
        return f"The {self.field.replace('_', ' ')} must be exactly one of: {listed}."


def observe(trainset: Sequence[Example], field: str, *, takes_none: bool = False) -> FieldFacts:
    """Return what holds for the output `field` in the training data.

    Args:
        trainset: Training examples; those without the field don't count, equal ones count once.
        field: Name of an output field.
        takes_none: Whether None is an answer; otherwise it is a label that is missing.

    Returns:
        The closed set of labels, if there is one, and notes on length and form.
    """
    return facts_of(distinct(trainset), field, takes_none=takes_none)


def facts_of(unlike: Sequence[Example], field: str, *, takes_none: bool) -> FieldFacts:
    """Do as `observe` with examples none of which is equal to another."""
    rows = [row for row in unlike if row.get(field) is not None]
    values = [row[field] for row in rows]
    nones = [str(None) for row in unlike if takes_none and field in row and row[field] is None]
    labels = closed_labels([*values, *nones])
    if labels or not values:
        return FieldFacts(field, labels)
    return FieldFacts(field, (), tuple(_form(field, values, rows)))


def closed_labels(values: Sequence[Any]) -> tuple[str, ...]:
    """Return the labels that `values` are drawn from, most frequent first, or ().

    A set is taken to be closed if there are at least five values, all of them short, few
    of them (15 %) were seen only once, and the different ones are at most 24 where there
    are numbers among them, else 3,000 characters in all.
    """
    if len(values) < _MIN_VALUES or not all(isinstance(value, (str, int, bool)) for value in values):
        return ()
    texts = [str(value).strip() for value in values]
    spellings = Counter(texts)
    counts = Counter(text.casefold() for text in texts)
    once = sum(1 for count in counts.values() if count == 1)
    if len(counts) == 1 or once / len(texts) > _MAX_UNSEEN:
        return ()
    if any(not text or len(text.split()) > _MAX_LABEL_WORDS for text in counts):
        return ()
    if sum(map(len, counts)) > _MAX_LABEL_CHARS:
        return ()
    if len(counts) > _MAX_NUMBERS and any(map(_is_number, counts)):
        return ()
    best: dict[str, str] = {}
    for text, _ in spellings.most_common():
        best.setdefault(text.casefold(), text)
    return tuple(best[key] for key, _ in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])))


def typed_values(annotation: Any) -> tuple[str, ...]:
    """Return the values that a type lists, at any depth: those of `Literal` and of an enum."""
    arguments = typing.get_args(annotation)
    if typing.get_origin(annotation) is typing.Literal:
        return tuple(map(str, arguments))
    members = getattr(annotation, "__members__", {})
    nested = (value for argument in arguments for value in typed_values(argument))
    return (*(str(member.value) for member in members.values()), *nested)


def _form(field: str, values: list[Any], rows: list[Example]) -> list[str]:
    name = field.replace("_", " ")
    if all(isinstance(value, bool) for value in values):
        return [f"The {name} is true or false."]
    if _share(values, _is_number) >= _MOST:
        whole = _share(values, lambda value: float(str(value)).is_integer() if _is_number(value) else False)
        return [f"The {name} is a {'whole ' if whole >= _MOST else ''}number, without any other words."]
    if not all(isinstance(value, str) for value in values):
        return []
    notes = []
    unspaced = statistics.median(map(num_unspaced, values))
    words = statistics.median(len(value.split()) for value in values)
    size = _count(unspaced, "character") if unspaced >= max(words, 1) else _count(words, "word")
    if unspaced <= _SHORT_UNSPACED and words <= _SHORT_WORDS:
        notes.append(f"The {name} is short: {size}, never a full sentence.")
    else:
        notes.append(f"The {name} usually has about {size}.")
    if sum(1 for row in rows if _copied(row, field)) >= _MOST * len(rows):
        notes.append(f"The {name} is copied word for word from the input.")
    if _share(values, lambda value: value == value.lower() and value != value.upper()) >= _MOST:
        notes.append(f"The {name} is written in lower case.")
    return notes


def _count(number: float, unit: str) -> str:
    rounded = max(round(number), 1)
    return f"{rounded} {unit}{'' if rounded == 1 else 's'}"


def _share(values: Sequence[Any], test: Any) -> float:
    return sum(1 for value in values if test(value)) / len(values)


def _is_number(value: Any) -> bool:
    if isinstance(value, (int, float)):
        return not isinstance(value, bool)
    if not isinstance(value, str):
        return False
    try:
        number = float(value)
    except ValueError:
        return False
    return number == number and abs(number) != float("inf")  # noqa: PLR0124 - NaN is not equal to itself


def _copied(row: Example, field: str) -> bool:
    needle = " ".join(str(row[field]).casefold().split())
    return bool(needle) and any(
        needle in " ".join(str(value).casefold().split())
        for name, value in row.items()
        if name != field and isinstance(value, (str, list, tuple))
    )
