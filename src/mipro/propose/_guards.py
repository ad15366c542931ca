"""What an instruction may be: cleaned, kept, bounded, new, and free of training answers."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mipro.propose._text import token_estimate

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mipro.example import Example

LEAK_NGRAM = 8
"""So many words in a row of a training example in an instruction are a leak."""
_BOILERPLATE_SHARE = 0.1
NEAR_DUPLICATE = 0.8
"""Instructions that share this part of their words and word pairs (Jaccard) are the same."""
# Text of which this part is made of so many words in a row of the examples is a copy too.
_SHORT_NGRAM = 4
_COPIED_SHARE = 0.5
_LONG_DIGITS = 3
_SHORTEST_NAME = 3
_MAX_CHARS = 20_000_000  # of training text looked through

_QUOTES = {'"': '"', "'": "'", "\u201c": "\u201d", "\u2018": "\u2019", "\u00ab": "\u00bb", "`": "`"}
_FENCE = re.compile(r"\A```[\w+-]*[ \t]*\n(.*?)\n?[ \t]*```\Z", re.DOTALL)
_WORD = re.compile(r"\w+(?:['\u2019]\w+)*")
# How an answer begins that is not an instruction but a refusal to write one.
_REFUSAL = re.compile(
    r"\A\W*(?:i(?:['\u2019]m| am) (?:sorry|unable|not able)"
    r"|i (?:can(?:no|['\u2019])t|won['\u2019]t|must decline)"
    r"|sorry[,.! ]|as an ai\b|unfortunately, i\b|i apologi[sz]e)",
    re.IGNORECASE,
)
# Answers so common that saying them gives nothing away.
_COMMON_ANSWERS = frozenset(
    ["yes", "no", "true", "false", "none", "unknown", "positive", "negative", "neutral", "other", "n/a"]
)


def clean(text: str) -> str:
    """Return an instruction as the model gave it, without code fence and quotes around it.

    Nothing else is touched: "Classify the sentiment: ..." keeps its beginning.
    """
    text = text.strip()
    while True:
        before = text
        if fenced := _FENCE.match(text):
            text = fenced.group(1).strip()
        closing = _QUOTES.get(text[:1])
        if closing and len(text) > 1 and text.endswith(closing) and closing not in text[1:-1]:
            text = text[1:-1].strip()
        if text == before:
            return text


def words_of(text: str) -> list[str]:
    """Return the words of `text`, in lower case."""
    return [word.casefold() for word in _WORD.findall(text)]


def similar(first: str, second: str) -> bool:
    """Whether two instructions are near-duplicates (shared words and word pairs)."""
    a, b = _features(first), _features(second)
    if not a or not b:
        return first.strip() == second.strip()
    return len(a & b) / len(a | b) >= NEAR_DUPLICATE


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a proposal may be used, and if not, why."""

    text: str
    """The cleaned instruction."""
    refused: str = ""
    """Why it may not be used ("empty", "refusal", "echo", "too long", "leak",
    "duplicate"), or ""."""


class Guard:
    """Checks proposals for one predictor.

    Args:
        original: The instruction that the predictor came with.
        trainset: Training examples whose words must not appear in an instruction.
        public: Text that is no secret: descriptions of fields, label sets, tips. An
            answer that only repeats a part of it is no instruction.
        keep: Parts of the original that must stay, literally; a proposal without one
            gets it appended.
        max_tokens: Upper bound on the (estimated) tokens of an instruction.
    """

    def __init__(
        self,
        original: str,
        trainset: Sequence[Example],
        *,
        public: Sequence[str] = (),
        keep: Sequence[str] = (),
        max_tokens: int | None = None,
    ) -> None:
        self._keep = tuple(part for part in keep if part in original)
        self._max_tokens = max_tokens
        self._said = [_phrase(text) for text in public]
        self._leaks = LeakCheck(trainset, public=[original, *public])

    def judge(self, text: str, taken: Iterable[str]) -> Verdict:
        """Return the verdict on what a model answered.

        Args:
            text: The answer.
            taken: Instructions already there; a near-duplicate of one is refused.
        """
        text = clean(text)
        if reason := self._no_instruction(text):
            return Verdict(text, reason)
        for part in self._keep:
            if part not in text:
                text = f"{text}\n{part}"
        if self._max_tokens is not None and token_estimate(text) > self._max_tokens:
            return Verdict(text, "too long")
        if self._leaks.find(text):
            return Verdict(text, "leak")
        return Verdict(text, "duplicate" if any(similar(text, other) for other in taken) else "")

    def _no_instruction(self, text: str) -> str:
        """Return why a text can't be an instruction at all, or ""."""
        if len(words_of(text)) < 2 or not any(char.isalpha() for char in text):  # noqa: PLR2004 - one word instructs nobody
            return "empty"
        if _REFUSAL.match(text):
            return "refusal"
        return "echo" if any(_phrase(text) in said for said in self._said) else ""


class LeakCheck:
    """Finds training examples repeated in an instruction.

    A leak is eight words in a row of a training example, text that is nothing but words
    in a row of one, or half of it runs of four, or the answer of one: an answer of two
    words or more wherever it stands, one of a single word only if it is a name or a long
    number (a capital as in the data, or three digits). No leak is what several examples share
    (more than a tenth of them, and at least two), what the original instruction, the
    fields or a closed set of labels say anyway, and answers given to at least two
    examples.

    Args:
        trainset: Training examples.
        public: Text that is no secret.
    """

    def __init__(self, trainset: Sequence[Example], *, public: Iterable[str] = ()) -> None:
        self._public = _phrase(" ".join(public))
        self._rows = [_row_text(row) for row in trainset]
        self._all = "|".join(self._rows)[:_MAX_CHARS]
        self._boilerplate = max(2.0, _BOILERPLATE_SHARE * len(self._rows) + 1)
        answers = [text for text in _single_answers(trainset) if _phrase(text) not in self._public]
        self._phrases = {_phrase(answer) for answer in answers if len(words_of(answer)) > 1}
        self._names = {answer for answer in answers if len(words_of(answer)) == 1 and _is_name(answer)}

    def find(self, text: str) -> str:
        """Return what `text` repeats of the examples, their answers included, or ""."""
        if copied := self.find_copied(text):
            return copied
        spaced = _phrase(text)
        for phrase in sorted(self._phrases):
            if phrase in spaced:
                return phrase.strip()
        written = set(_WORD.findall(text))
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
            if gram in self._all and gram not in self._public and self._is_rare(gram)
        ]

    def _is_rare(self, gram: str) -> bool:
        return sum(1 for row in self._rows if gram in row) < self._boilerplate


def _row_text(row: Example) -> str:
    return "|".join(_phrase(value) for value in row.values() if isinstance(value, str))


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


def _phrase(text: str) -> str:
    return f" {' '.join(words_of(text))} "


def _features(text: str) -> set[tuple[str, ...]]:
    words = words_of(text)
    return {(word,) for word in words} | set(itertools.pairwise(words))
