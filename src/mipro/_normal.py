"""Texts in the form in which answers are compared."""

from __future__ import annotations

import re
import string
import unicodedata

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
