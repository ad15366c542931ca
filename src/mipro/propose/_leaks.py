"""Training examples repeated in what a model writes."""

from __future__ import annotations

import math
import re
import unicodedata
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from mipro._canonical import distinct
from mipro._normal import QUOTES
from mipro.propose._text import (
    LETTERS,
    LONG_UNSPACED,
    SHORT_UNSPACED,
    num_unspaced,
    phrase,
    scalars,
    words_of,
    written_words,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from mipro.example import Example

LEAK_NGRAM = 8
"""So many words in a row of a training example in an instruction are a leak."""
_BOILERPLATE_SHARE = 0.1
# Text of which this part is made of so many words in a row of the examples is a copy too.
_SHORT_NGRAM = 4
_COPIED_SHARE = 0.5
_QUOTED_WORDS = 3
"""So many words in a row of a training example are a leak in quotation marks, or with a name among them."""
_LONG_DIGITS = 3
_SHORTEST_NAME = 3
_RUN = 3
"""Words in a row that the examples are searched by."""
# Words of an example beside its answer that show that the example is meant.
_COMPANIONS = 2
_SHORTEST_COMPANION = 4
# An apostrophe in a word is no mark.
_QUOTED = re.compile(
    "|".join(
        r"(?<!\w)'([^']+)'(?!\w)" if opens == "'" else f"{opens}([^{opens}{closes}]+)[{closes}]"
        for opens, closes in QUOTES.items()
    )
)
# Eight words where none have blanks between them.
_UNSPACED_RUN = re.compile(
    rf"(?=([{SHORT_UNSPACED} ]{{{2 * LEAK_NGRAM}}}|[{LONG_UNSPACED} ]{{{4 * LEAK_NGRAM}}}))"
)
# To look for every run takes seconds; what is copied has more than one.
_EVERY = 4
# Three words, or more of Thai and its like.
_QUOTED_UNSPACED = 2 * _QUOTED_WORDS
# Words, and what a sentence begins after.
_PARTS = re.compile(rf"{LETTERS}|[.!?:\n]")
_MAX_CHARS = 5_000_000
_MAX_CHARS_PER_VALUE = 20_000
# Answers so common that saying them gives nothing away.
_COMMON_ANSWERS = frozenset(
    ["yes", "no", "true", "false", "none", "unknown", "positive", "negative", "neutral", "other", "n/a"]
)


class Corpus:
    """The text of the training examples, prepared once for all checks.

    Args:
        trainset: Training examples; of long texts the beginning, of very many examples
            those up to five million characters.
        others: More text that must not be repeated.
    """

    def __init__(self, trainset: Sequence[Example], *, others: Iterable[str] = ()) -> None:
        self.rows: list[str] = []
        """The text of each example, as phrases with "|" between two fields."""
        self.names: set[str] = set()
        """Words that the data write with a capital where no sentence begins."""
        left = _MAX_CHARS
        # An example that is there several times, to give it weight, is one: else it would seem to be shared.
        self.examples: list[Example] = distinct(trainset)
        """The examples, equal ones once."""
        for row in self.examples:
            texts = [text for value in row.values() for text in _beginnings(value)]
            self.rows.append("|".join(map(phrase, texts)))
            self.names.update(name for text in texts for name in _names(text))
            left -= len(self.rows[-1])
            if left < 0:
                break
        self._num_examples = len(self.rows)
        self.rows.extend(map(phrase, others))
        self.all: str = "|".join(self.rows)
        """All of it."""
        self._words: dict[str, int] = {}
        numbers = [self._words.setdefault(word, len(self._words)) for word in self.all.split()]
        self._threes = np.unique(self._numbered(numbers))
        answers = _places_of_answers(self.examples)
        self.answers: dict[str, int] = {text: places[0] for text, places in answers if len(places) == 1}
        """Answers given to one example only, as the data spell them, with the place of the example."""
        self.labels: str = "|".join(
            dict.fromkeys(phrase(text) for text, places in answers if len(places) > 1)
        )
        """Answers given to several examples, as phrases."""

    def runs(self, words: list[str], length: int) -> list[int]:
        """Return where in `words` so many in a row begin that some example has in a row."""
        places: Iterable[int] = range(len(words) - length + 1)
        if length >= _RUN and len(self._threes):
            # To look through five million characters for every word of a proposal takes seconds.
            threes = self._numbered([self._words.get(word, len(self._words)) for word in words])
            near = np.searchsorted(self._threes, threes).clip(max=len(self._threes) - 1)
            known = self._threes[near] == threes
            places = [i for i in places if known[i : i + length - _RUN + 1].all()]
        return [i for i in places if f" {' '.join(words[i : i + length])} " in self.all]

    def text_of(self, place: int) -> str:
        """Return the text of an example as in `rows`, "" of one that there was no room for."""
        return self.rows[place] if place < self._num_examples else ""

    def with_text(self, words: str) -> Iterator[str]:
        """Yield the examples that have these words, written as a phrase."""
        return (row for row in self.rows if words in row)

    def _numbered(self, words: list[int]) -> np.ndarray[Any, np.dtype[np.uint64]]:
        """Return a number for each three words in a row, another one for all others."""
        base = np.uint64(len(self._words) + 1)  # less than three million: its third power fits
        numbers = np.array(words, dtype=np.uint64)
        threes: np.ndarray[Any, np.dtype[np.uint64]] = (numbers[:-2] * base + numbers[1:-1]) * base + numbers[
            2:
        ]
        return threes


class LeakCheck:
    """Finds training examples repeated in a text.

    A leak of an example's words is

    - eight of them in a row;
    - text that is nothing but words in a row of examples, or half of it runs of four;
    - three in a row in quotation marks, or with a name among them.

    In scripts without blanks between words some 16 characters in a row of Chinese or Japanese, or
    32 of Thai and its like, stand for eight words, and six characters for three.

    A leak of an answer is

    - one of two words or more (or six characters), wherever it stands;
    - a name (a capital as in the data) or a number of three digits or more, wherever it stands;
    - any other word, in quotation marks or together with two more words of its example
      (of four letters or more).

    No leak is what several examples share (more than a tenth of them, and at least two), what
    the original instruction, the fields or a closed set of labels say anyway, and answers given
    to at least two examples.

    Args:
        corpus: The training examples.
        public: Text that is no secret.
    """

    def __init__(self, corpus: Corpus, *, public: Iterable[str] = ()) -> None:
        self._public = phrase(" ".join(public))
        self._corpus = corpus
        # So many examples share it and no secret of theirs is told.
        self._boilerplate = max(2, math.ceil(_BOILERPLATE_SHARE * len(corpus.rows) + 1))
        answers = {text: row for text, row in corpus.answers.items() if phrase(text) not in self._public}
        single = {answer for answer in answers if len(words_of(answer)) == 1}
        names = {answer for answer in single if _is_name(answer)}
        unspaced = {phrase(answer).strip() for answer in answers if num_unspaced(answer) >= _QUOTED_UNSPACED}
        self._phrases = sorted({phrase(answer) for answer in answers if len(words_of(answer)) > 1} | unspaced)
        self._names = sorted(names)
        # "blue" and "blue." are one word, the answer to two examples.
        self._words: dict[str, list[int]] = {}
        for answer, row in answers.items():
            if answer in single and answer not in names and _is_word(answer):
                self._words.setdefault(words_of(answer)[0], []).append(row)

    def find(self, text: str) -> str:
        """Return what `text` repeats of the examples, their answers included, or ""."""
        if copied := self.find_copied(text):
            return copied
        spaced = phrase(text)
        for answer in self._phrases:
            if answer in spaced:
                return answer.strip()
        written = set(written_words(text))
        if named := next((name for name in self._names if name in written), ""):
            return named
        return self._word_told(text)

    def _word_told(self, text: str) -> str:
        """Return the answer of one plain word that `text` gives away, or ""."""
        words = dict.fromkeys(words_of(text))
        quoted = {phrase(quote) for quote in _quotes(text)}
        for answer in filter(self._words.__contains__, words):
            others = [phrase(word) for word in words if word != answer and len(word) >= _SHORTEST_COMPANION]
            if phrase(answer) in quoted or any(self._means(row, others) for row in self._words[answer]):
                return answer
        return ""

    def _means(self, row: int, others: list[str]) -> bool:
        """Whether words beside an answer show that its example is meant."""
        told = self._corpus.text_of(row)
        return sum(self._is_telling(other) for other in others if other in told) >= _COMPANIONS

    def find_copied(self, text: str) -> str:
        """Return what `text` copies from the examples word for word, or ""."""
        words = words_of(text)
        length = min(LEAK_NGRAM, len(words))
        if grams := self._rare_ngrams(words, length):
            return " ".join(words[grams[0] : grams[0] + length])
        runs: list[str] = _UNSPACED_RUN.findall(phrase(text))[::_EVERY]
        for run in runs:
            if self._is_copied(run):
                return run.strip()
        if quoted := self._quoted(text):
            return quoted
        covered = {i + k for i in self._rare_ngrams(words, _SHORT_NGRAM) for k in range(_SHORT_NGRAM)}
        if len(covered) >= _COPIED_SHARE * max(len(words), 1):
            return " ".join(words[i] for i in sorted(covered))
        return ""

    def _quoted(self, text: str) -> str:
        """Return the words of an example that are quoted, or stand around a name of it, or ""."""
        for quote in _quotes(text):
            words = words_of(quote)
            if len(words) >= _QUOTED_WORDS and self._rare_ngrams(words, len(words)):
                return quote
            if num_unspaced(quote) >= _QUOTED_UNSPACED and self._is_copied(phrase(quote).strip()):
                return quote
        written = written_words(text)
        for i in self._rare_ngrams(words_of(text), _QUOTED_WORDS):
            run = written[i : i + _QUOTED_WORDS]
            if not self._corpus.names.isdisjoint(run):
                return " ".join(run)
        return ""

    def _rare_ngrams(self, words: list[str], length: int) -> list[int]:
        """Return where in `words` so many words in a row begin that few examples have."""
        return [
            i
            for i in self._corpus.runs(words, length)
            if self._is_telling(f" {' '.join(words[i : i + length])} ")
        ]

    def _is_copied(self, gram: str) -> bool:
        """Whether some examples have it, but few."""
        return gram in self._corpus.all and self._is_telling(gram)

    def _is_telling(self, gram: str) -> bool:
        """Whether few examples have it, and nothing that may be said."""
        return (
            gram not in self._public
            and gram not in self._corpus.labels
            and len(list(islice(self._corpus.with_text(gram), self._boilerplate))) < self._boilerplate
        )


def _places_of_answers(rows: Sequence[Example]) -> list[tuple[str, list[int]]]:
    """Return the answers, as the data spell them, each with the places of the examples it is given to."""
    found: dict[tuple[str, str], list[int]] = {}
    for place, row in enumerate(rows):
        for name, value in _labels(row):
            parts = (unicodedata.normalize("NFC", str(part)).strip() for part in scalars(value))
            for text in dict.fromkeys(parts):
                found.setdefault((name, text), []).append(place)
    return [(text, places) for (_, text), places in found.items() if text]


def _beginnings(value: Any) -> Iterator[str]:
    """Yield the texts in a value, such as the passages of a list, up to a number of characters."""
    left = _MAX_CHARS_PER_VALUE
    for part in scalars(value):
        if left <= 0:
            return
        if isinstance(part, str):
            yield part[:left]
            left -= len(part)


def _names(text: str) -> Iterator[str]:
    """Yield the words with a capital that begin no sentence, no line and no value."""
    begins = True
    for part in _PARTS.findall(unicodedata.normalize("NFC", text)):
        if not begins and len(part) >= _SHORTEST_NAME and part[0].isupper() and part[1:].islower():
            yield part
        begins = part in ".!?:\n"


def _labels(row: Example) -> list[tuple[str, Any]]:
    inputs = row._input_keys or set()  # noqa: SLF001 - `labels()` refuses examples without inputs
    return [(name, value) for name, value in row.items() if name not in inputs]


def _is_name(answer: str) -> bool:
    if answer.casefold() in _COMMON_ANSWERS:
        return False
    digits = sum(char.isdigit() for char in answer)
    return digits >= _LONG_DIGITS or (
        len(answer) >= _SHORTEST_NAME and any(char.isupper() for char in answer)
    )


def _is_word(answer: str) -> bool:
    return (
        answer.casefold() not in _COMMON_ANSWERS and sum(char.isalpha() for char in answer) >= _SHORTEST_NAME
    )


def _quotes(text: str) -> list[str]:
    """Return what stands in quotation marks in a text."""
    return [next(filter(None, found), "") for found in _QUOTED.findall(text)]
