"""Training examples repeated in what a model writes."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from mipro.propose._text import phrase, words_of, written_words

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mipro.example import Example

LEAK_NGRAM = 8
"""So many words in a row of a training example in an instruction are a leak."""
_BOILERPLATE_SHARE = 0.1
# Text of which this part is made of so many words in a row of the examples is a copy too.
_SHORT_NGRAM = 4
_COPIED_SHARE = 0.5
_LONG_DIGITS = 3
_SHORTEST_NAME = 3
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
        left = _MAX_CHARS
        for row in trainset:
            texts = [value[:_MAX_CHARS_PER_VALUE] for value in row.values() if isinstance(value, str)]
            self.rows.append("|".join(map(phrase, texts)))
            left -= len(self.rows[-1])
            if left < 0:
                break
        self.rows.extend(map(phrase, others))
        self.all = "|".join(self.rows)
        """All of it."""
        self.answers = _single_answers(trainset)
        """Answers given to one example only, as the data spell them."""


class LeakCheck:
    """Finds training examples repeated in a text.

    A leak is eight words in a row of a training example, text that is nothing but words
    in a row of one, or half of it runs of four, or the answer of one: an answer of two
    words or more wherever it stands, one of a single word only if it is a name or a long
    number (a capital as in the data, or three digits). No leak is what several examples share
    (more than a tenth of them, and at least two), what the original instruction, the
    fields or a closed set of labels say anyway, and answers given to at least two
    examples.

    Args:
        corpus: The training examples.
        public: Text that is no secret.
    """

    def __init__(self, corpus: Corpus, *, public: Iterable[str] = ()) -> None:
        self._public = phrase(" ".join(public))
        self._corpus = corpus
        self._boilerplate = max(2.0, _BOILERPLATE_SHARE * len(corpus.rows) + 1)
        answers = [text for text in corpus.answers if phrase(text) not in self._public]
        self._phrases = {phrase(answer) for answer in answers if len(words_of(answer)) > 1}
        self._names = {answer for answer in answers if len(words_of(answer)) == 1 and _is_name(answer)}

    def find(self, text: str) -> str:
        """Return what `text` repeats of the examples, their answers included, or ""."""
        if copied := self.find_copied(text):
            return copied
        spaced = phrase(text)
        for answer in sorted(self._phrases):
            if answer in spaced:
                return answer.strip()
        written = set(written_words(text))
        return next((name for name in sorted(self._names) if name in written), "")

    def find_copied(self, text: str) -> str:
        """Return what `text` copies from the examples word for word, or ""."""
        words = words_of(text)
        length = min(LEAK_NGRAM, len(words))
        if grams := self._rare_ngrams(words, length):
            return " ".join(words[grams[0] : grams[0] + length])
        covered = {i + k for i in self._rare_ngrams(words, _SHORT_NGRAM) for k in range(_SHORT_NGRAM)}
        if len(covered) >= _COPIED_SHARE * max(len(words), 1):
            return " ".join(words[i] for i in sorted(covered))
        return ""

    def _rare_ngrams(self, words: list[str], length: int) -> list[int]:
        """Return where in `words` so many words in a row begin that few examples have."""
        grams = [f" {' '.join(words[i : i + length])} " for i in range(len(words) - length + 1)]
        return [
            i
            for i, gram in enumerate(grams)
            if gram in self._corpus.all and gram not in self._public and self._is_rare(gram)
        ]

    def _is_rare(self, gram: str) -> bool:
        return sum(1 for row in self._corpus.rows if gram in row) < self._boilerplate


def _single_answers(trainset: Sequence[Example]) -> list[str]:
    """Return the answers given to one training example only, as the data spell them."""
    answers: Counter[tuple[str, str]] = Counter()
    for row in trainset:
        for name, value in _labels(row):
            if isinstance(value, (str, int, float)) and not isinstance(value, bool):
                answers[name, str(value).strip()] += 1
    return [text for (_, text), count in answers.items() if count == 1 and text]


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
