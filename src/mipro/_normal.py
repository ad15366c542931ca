"""Texts in the form in which they are compared."""

from __future__ import annotations

import re
import string
import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

QUOTES = {
    '"': '"',
    "'": "'",
    "`": "`",
    "\u201c": "\u201d",
    "\u2018": "\u2019",
    "\u201e": "\u201c\u201d",
    "\u201a": "\u2018",
    "\u00ab": "\u00bb",
    "\u00bb": "\u00ab",
    "\u300c": "\u300d",
    "\u300e": "\u300f",
}
"""Quotation marks of all languages: each that opens, with those that may close."""

_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalize_text(s: str) -> str:
    """Bring a text into the form in which answers are compared.

    Unicode NFD, lower case, without ASCII punctuation and English articles, words
    separated by one space.

    Example:
        >>> normalize_text("The,  Eiffel  Tower!")
        'eiffel tower'

    References:
        Rajpurkar et al., 2016, arXiv:1606.05250 (SQuAD), used throughout the field.
    """
    bare = unicodedata.normalize("NFD", s).lower().translate(_NO_PUNCTUATION)
    return " ".join(_ARTICLES.sub(" ", bare).split())


def unquoted(text: str) -> str:
    """Return a text without the quotation marks around it, if there are any."""
    return text[1:-1] if len(text) > 1 and text[-1] in QUOTES.get(text[0], "") else text


def as_spelled(name: str, names: Collection[str]) -> str:
    """Return that of `names` which Python reads as `name` in a program; `name` where there is none.

    Python makes one letter of a letter and its accent, plain digits of full-width ones, and two signs of the
    commonest vowel of Thai (NFKC), but not in texts: keys of data, string signatures, answers. What is no
    text, as the key of `prediction[0]`, is spelled as it is.
    """
    if not isinstance(name, str) or name.isascii() or name in names:
        return name
    read = unicodedata.normalize("NFKC", name)
    return next((other for other in names if unicodedata.normalize("NFKC", other) == read), name)
