"""What an instruction may be: cleaned, kept, bounded, new, and free of training answers."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mipro._normal import unquoted
from mipro.propose._leaks import LeakCheck
from mipro.propose._text import num_words, phrase, token_estimate, words_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mipro.propose._leaks import Corpus

NEAR_DUPLICATE = 0.8
"""Instructions that share this part of their words and word pairs (Jaccard) are the same."""

_FENCE = re.compile(r"\A```[\w+-]*[ \t]*\n(.*)```\Z", re.DOTALL)
_TRIPLE_QUOTES = re.compile(r"\A(\"{3}|'{3})(?!.*\1.)(.*)\1\Z", re.DOTALL)
_THOUGHTS = re.compile(r"\A<(think(?:ing)?)>.*?</\1>", re.DOTALL)
_KIND = (
    r"(?:(?:more )?(?:proposed|suggested|improved|revised|updated|refined|rewritten|optimi[sz]ed|better|new"
    r"|final|clear|concise|detailed|possible|candidate)[ ,]+)"
)
# "Sure! Here is an improved instruction for the model:" or "Proposed instruction:".
_PREAMBLE = re.compile(
    r"\A[*_#\s]*(?:(?:sure|certainly|of course|absolutely|okay|ok|yes)\b[^\w\n]{1,4})?"
    rf"(?:here(?:['\u2019]s| is| are) (?:(?:the|an?|your|my|one) )?{_KIND}{{0,3}}(?:instructions?|prompt)\b"
    rf"[^\n:]{{0,80}}|(?:the )?{_KIND}{{1,3}}(?:instructions?|prompt)[*_ ]*):[*_\s]*(?=\S)",
    re.IGNORECASE,
)
# How an answer begins that is not an instruction but a refusal to write one.
_REFUSAL = re.compile(
    r"\A\W*(?:i(?:['\u2019]m| am) (?:sorry|unable|not able)"
    r"|i (?:can(?:no|['\u2019])t|won['\u2019]t|must decline)"
    r"|sorry[,.! ]|as an ai\b|unfortunately, i\b|i apologi[sz]e)",
    re.IGNORECASE,
)

_SENTENCE = re.compile(r"[^.!?\n\u3002\uff01\uff1f]*(?:[.!?\n\u3002\uff01\uff1f]+\s*|\Z)")
LOOP = 3
"""Sentences at the end that were all said before, from which they are a loop."""


def clean(text: str) -> str:
    """Return an instruction as the model gave it, without what it is wrapped in, and its loops.

    That is thoughts and an announcement ("Sure! Here is an improved instruction:") before it, a fence and
    quotes around it, and the sentences at the end that only repeat others, as small models write until they
    are cut off. Nothing else is touched: "Classify the sentiment: ..." keeps its beginning.
    """
    text = text.strip()
    while True:
        before = text
        text = _PREAMBLE.sub("", _THOUGHTS.sub("", text).strip())
        if fenced := _FENCE.match(text):
            text = fenced.group(1).strip()
        if quoted := _TRIPLE_QUOTES.match(text):
            text = quoted.group(2).strip()
        inside = unquoted(text)
        if text[-1:] not in inside:  # else a quote may end there that began later
            text = inside.strip()
        text = _without_loop(text)
        if text == before:
            return text


def _without_loop(text: str) -> str:
    """Return `text` up to where it says nothing new any more, if it goes on for long."""
    starts, said = [], []
    for found in _SENTENCE.finditer(text):
        # What has no words, such as the braces that close a template, is no sentence.
        if sentence := phrase(found.group()).strip():
            starts.append(found.start())
            said.append(sentence)
    if not said:
        return text
    *known, last = said
    first = {sentence: place for place, sentence in reversed(list(enumerate(known)))}
    # The last may be cut off in the middle.
    is_new = not any(sentence.startswith(last) for sentence in first)
    end = len(said) if is_new else max(first.values()) + 1
    return text[: starts[end]].rstrip() if len(said) - end >= LOOP else text


def is_refusal(text: str) -> bool:
    """Whether a model declines to write what it was asked for."""
    return _REFUSAL.match(text) is not None


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
        corpus: The training examples, which must not be given away.
        public: Text that is no secret: descriptions of fields, label sets, tips. An
            answer that only repeats a part of it is no instruction.
        keep: Parts of the original that must stay, literally; a proposal without one
            gets it appended.
        max_tokens: Upper bound on the (estimated) tokens of an instruction.
    """

    def __init__(
        self,
        original: str,
        corpus: Corpus,
        *,
        public: Sequence[str] = (),
        keep: Sequence[str] = (),
        max_tokens: int | None = None,
    ) -> None:
        self._keep = tuple(part for part in keep if part in original)
        self._max_tokens = max_tokens
        self._said = [phrase(text) for text in public]
        self._leaks = LeakCheck(corpus, public=[original, *public])

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
        if num_words(text) < 2 or not any(char.isalpha() for char in text):  # noqa: PLR2004 - one word instructs nobody
            return "empty"
        if is_refusal(text):
            return "refusal"
        return "echo" if any(phrase(text) in said for said in self._said) else ""


def _features(text: str) -> set[tuple[str, ...]]:
    words = words_of(text)
    return {(word,) for word in words} | set(itertools.pairwise(words))
