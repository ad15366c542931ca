"""Keys and other secrets: held so that no repr, log, error, cache or file shows them."""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit, urlunsplit

if TYPE_CHECKING:
    from collections.abc import Iterable

HIDDEN = "***"

# `token` only as the last word, so that `max_tokens` is none.
_SECRET_NAME = re.compile(
    r"api_?key|secret|password|credential|access_key|authorization|headers$|token_provider|(?:^|[_-])token$",
    re.IGNORECASE,
)


class Secret:
    """A string that does not show itself.

    A copy in memory keeps the value; a pickle does not, so that it never gets to
    a disk or another machine, where the environment variable counts again.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str | None) -> None:
        self._value = value or ""

    def reveal(self) -> str:
        """Return the value itself."""
        return self._value

    def __bool__(self) -> bool:
        return bool(self._value)

    def __repr__(self) -> str:
        return f"Secret({HIDDEN!r})"

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Secret:
        return self

    def __reduce__(self) -> tuple[type[Secret], tuple[str]]:
        return Secret, ("",)


def is_secret_name(name: str) -> bool:
    """Return whether a parameter of this name holds a secret.

    Example:
        >>> is_secret_name("aws_session_token"), is_secret_name("max_tokens")
        (True, False)
    """
    return bool(_SECRET_NAME.search(name))


def redact(text: str, secrets: Iterable[str]) -> str:
    """Return `text` with every secret in it replaced.

    Args:
        text: For example what a server answered to a wrong key.
        secrets: The values to hide; shorter ones than 4 characters would hide ordinary words.
    """
    for secret in secrets:
        if len(secret) >= 4:  # noqa: PLR2004 - see the docstring
            text = text.replace(secret, HIDDEN)
    return text


def split_login(url: str) -> tuple[str, str]:
    """Return `url` without user and password, and these two as "user:password" or ""."""
    if "@" not in url:
        return url, ""
    parts = urlsplit(url)
    login, _, host = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=host)), unquote(login)


@functools.lru_cache(maxsize=256)
def public_url(url: str) -> str:
    """Return `url` without user, password and query, as it may be shown and kept."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, "", ""))
