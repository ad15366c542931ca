"""Values and examples as short plain text, bounded in tokens whatever their size."""

from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
import enum
import itertools
import json
import math
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from mipro.adapters import as_plain

if TYPE_CHECKING:
    from mipro.example import Example

_CHARS_PER_TOKEN = 4  # what English text comes to with the tokenizers in use
_ELLIPSIS = " [...]"
_PLAIN_TYPES = (str, int, float, bool, type(None), dt.date, dt.time, decimal.Decimal)
_MAX_DEPTH = 6
_BOOKKEEPING = "augmented"
_LEAST = 4
"""Tokens that a value gets at least: fewer say nothing."""
_DATA_URI = re.compile(r"data:([\w.+-]+/[\w.+-]+)(?:;[\w=.+-]*)*?;base64,")
# Signs on letters, such as vowels, and joiners: `\w` lacks them, and would part the words of Hindi or Hebrew.
_MARKS = (
    "\u0300-\u036f\u0483-\u0487\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0610-\u061a\u064b-\u065f\u0670"
    "\u06d6-\u06ed\u0900-\u0963\u0966-\u0df3\u0e31-\u0e3a\u0e47-\u0e4e\u0eb1-\u0ebc\u0ec8-\u0ecd\u0f71-\u0fbc"
    "\u102b-\u109d\u17b4-\u17d3\u200c\u200d\u3099\u309a"
)
LETTERS = rf"\w[\w{_MARKS}]*"
"""A word as a pattern, without apostrophes in it."""
_WORD = re.compile(rf"{LETTERS}(?:['\u2019]{LETTERS})*")
# Thai, Lao, Burmese, Khmer, Japanese and Chinese are written without blanks between words.
LONG_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"
"""Characters, as in brackets of a pattern, of those of them that have about four to a word."""
SHORT_UNSPACED = "\u3040-\u30ff\u3400-\u9fff"
"""The same of those that have about two."""
_UNSPACED = LONG_UNSPACED + SHORT_UNSPACED
_UNSPACED_CHARACTER = re.compile(f"[{_UNSPACED}]")
_COUNTED = re.compile(rf"[{_UNSPACED}]|[^\W{_UNSPACED}](?:[^\W{_UNSPACED}]|[{_MARKS}])*")


def token_estimate(text: str) -> int:
    """Return about how many tokens `text` has, without a tokenizer.

    Four ASCII characters count as a token, and so does every other character, which
    is near the truth for English and on the safe side for other scripts.
    """
    ascii_chars = len(text.encode("ascii", "ignore"))
    return math.ceil(ascii_chars / _CHARS_PER_TOKEN) + len(text) - ascii_chars


def written_words(text: str) -> list[str]:
    """Return the words of `text` as they are written, accents as a part of their letters (NFC)."""
    return _WORD.findall(unicodedata.normalize("NFC", text))


def words_of(text: str) -> list[str]:
    """Return the words of `text`, in lower case."""
    return [word.casefold() for word in written_words(text)]


def num_words(text: str) -> int:
    """Return about how many words `text` has; in scripts without blanks each character counts as one."""
    return len(_COUNTED.findall(text))


def num_unspaced(text: str) -> int:
    """Return how many characters of scripts without blanks between words `text` has."""
    return len(_UNSPACED_CHARACTER.findall(text))


def has_word(text: str, word: str) -> bool:
    """Whether `text` has a word, or several in a row, in whatever case: "know" has no "no"."""
    letter = rf"(?:[^\W{_UNSPACED}]|[{_MARKS}])"
    found = re.search(rf"(?<!{letter}){re.escape(word.casefold())}(?!{letter})", text.casefold())
    return found is not None


def phrase(text: str) -> str:
    """Return the words of `text` in lower case with a blank around each, to be looked for in others."""
    return f" {' '.join(words_of(text))} "


def clip(text: str, max_tokens: int) -> str:
    """Return `text`, cut at about `max_tokens` tokens; a cut is marked with " [...]"."""
    if token_estimate(text) <= max_tokens:
        return text
    low, high = 0, min(len(text), max_tokens * _CHARS_PER_TOKEN)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if token_estimate(text[:middle]) <= max_tokens else (low, middle - 1)
    return text[:low].rstrip() + _ELLIPSIS


def show_value(value: Any, max_tokens: int) -> str:
    """Return a value as text; what is not text or data is described, not pasted.

    Args:
        value: Any field value: text, number, list, mapping, pydantic model, image, ...
        max_tokens: About how many tokens the text may have.
    """
    if isinstance(value, enum.Enum):
        value = value.value
    if isinstance(value, str) and (found := _DATA_URI.match(value)):
        return f"<{found.group(1)}, {len(value)} characters>"
    if isinstance(value, _PLAIN_TYPES):
        return clip(" ".join(str(value).split()) if isinstance(value, str) else str(value), max_tokens)
    # A list of a million rows must not be written out before it is cut.
    plain = _plain(value, max_tokens * _CHARS_PER_TOKEN, depth=0)
    return clip(plain if isinstance(plain, str) else json.dumps(plain, ensure_ascii=False), max_tokens)


def show_example(example: Example | Mapping[str, Any], fields: Sequence[str], max_tokens: int) -> str:
    """Return an example as lines "field: value", the tokens shared out as the fields need them.

    Args:
        example: The example or demo.
        fields: Names of the fields to show, in this order; absent ones are left out. Where there is
            no room for all, the first and the last are shown: those are the outputs.
        max_tokens: About how many tokens all of it may have.
    """
    present = _present(example, fields)
    num_present, excess = len(present), _least_tokens(present) - max_tokens
    while excess > 0 and len(present) > 2:  # noqa: PLR2004 - an input and an output
        excess -= _least_tokens([present.pop(len(present) // 2)])
    if not present:
        return ""
    whole = [show_value(example[name], max_tokens) for name in present]
    shares = _shares(whole, max_tokens - _least_tokens(present, value=0), least=_LEAST)
    lines = [f"{name}: {clip(text, share)}" for name, text, share in zip(present, whole, shares, strict=True)]
    if len(lines) < num_present:
        lines.insert(len(lines) // 2, _ELLIPSIS.strip())
    return "\n".join(lines)


def show_examples(examples: Iterable[Example], fields: Sequence[str], max_tokens: int) -> str:
    """Return several examples, a blank line between two, together within `max_tokens`.

    Only the first ones where there is no room for something of every field of all.
    """
    rows = list(examples)
    needed = itertools.accumulate(_least_tokens(_present(row, fields)) for row in rows)
    rows = rows[: max(sum(tokens <= max_tokens for tokens in needed), 1)]
    whole = [show_example(row, fields, max_tokens) for row in rows]
    shares = _shares(whole, max_tokens, least=8)
    shown = [show_example(row, fields, share) for row, share in zip(rows, shares, strict=True)]
    return "\n\n".join(filter(None, shown))


def _present(example: Example | Mapping[str, Any], fields: Sequence[str]) -> list[str]:
    return [name for name in fields if name in example and name != _BOOKKEEPING]


def _least_tokens(names: Sequence[str], value: int = _LEAST) -> int:
    """Return the tokens of the names, and of values of `value` tokens each."""
    return sum(token_estimate(f"{name}: ") + value for name in names)


def _shares(texts: Sequence[str], max_tokens: int, *, least: int) -> list[int]:
    """Return the tokens that each text gets of `max_tokens`; what the short ones leave goes to the long."""
    shares = [least] * len(texts)
    left = max_tokens
    needs = sorted((token_estimate(text), index) for index, text in enumerate(texts))
    for place, (needed, index) in enumerate(needs):
        shares[index] = max(left // (len(texts) - place), least)
        left -= min(needed, shares[index])
    return shares


def _plain(value: Any, max_items: int, depth: int) -> Any:
    if isinstance(value, enum.Enum):
        value = value.value
    if isinstance(value, _PLAIN_TYPES):
        native = isinstance(value, (bool, int, float, type(None)))
        return value if native else str(value)[:max_items]
    if depth >= _MAX_DEPTH or _is_media(value):
        return _described(value)
    if (fields := _named_parts(value)) is not None:
        return {name: _plain(part, max_items, depth + 1) for name, part in fields.items()}
    if isinstance(value, Mapping):
        pairs = list(value.items())[:max_items]
        return {str(key): _plain(item, max_items, depth + 1) for key, item in pairs}
    if isinstance(value, (list, tuple, set, frozenset)):
        items = sorted(value, key=_as_written) if isinstance(value, (set, frozenset)) else value
        return [_plain(item, max_items, depth + 1) for item in list(items)[:max_items]]
    return _described(value)


def _named_parts(value: Any) -> dict[str, Any] | None:
    """Return the fields of a model or a dataclass, None for other values."""
    if isinstance(value, BaseModel):
        return {name: getattr(value, name) for name in type(value).model_fields}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    return None


def scalars(value: Any, depth: int = 0) -> Iterator[str | int | float]:
    """Yield the texts and numbers that a value is made of, in an order that is always the same."""
    if isinstance(value, enum.Enum):
        value = value.value
    if isinstance(value, (str, int, float)):
        if not isinstance(value, bool):
            yield value
        return
    if depth >= _MAX_DEPTH or _is_media(value):
        return
    parts: Iterable[Any] = ()
    if isinstance(value, (list, tuple)):
        parts = value
    elif isinstance(value, (set, frozenset)):
        parts = sorted(value, key=_as_written)
    elif (fields := _named_parts(value)) is not None or isinstance(value, Mapping):
        parts = (value if fields is None else fields).values()
    for part in parts:
        yield from scalars(part, depth + 1)


def _as_written(value: Any) -> str:
    return str(as_plain(value))


def _is_media(value: Any) -> bool:
    """Whether a value is an image, sound or the like: a type that formats itself for the wire."""
    return isinstance(value, BaseModel) and callable(getattr(value, "format", None))


def _described(value: Any) -> str:
    size = f", {len(value)} bytes" if isinstance(value, (bytes, bytearray)) else ""
    shape = getattr(value, "shape", None)
    size = size or (f" of shape {tuple(shape)}" if isinstance(shape, tuple) else "")
    return f"<{type(value).__name__}{size}>"
