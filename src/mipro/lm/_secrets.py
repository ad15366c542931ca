"""Keys and other secrets: held so that no repr, log, error, cache or file shows them."""

from __future__ import annotations

import asyncio
import base64
import binascii
import functools
import json
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from typing_extensions import Self

from mipro.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

HIDDEN = "***"
SHORTEST = 4
"""Characters that a text must have to be hidden in others; shorter ones are ordinary words."""

# `token` only as the last word, so that `max_tokens` is none.
_SECRET_NAME = re.compile(
    r"api[_-]?key|secret|passw(?:or)?d|passphrase|credential|(?:access|private)[_-]?key|authorization"
    r"|headers$|token_provider|(?:^|[_-]|access|auth|bearer|session)token$",
    re.IGNORECASE,
)
# In a JSON schema these hold names that the user gave to fields and types.
_NAMED_BY_THE_USER = frozenset({"properties", "patternProperties", "$defs", "definitions"})
_SCHEMES = frozenset({"basic", "bearer", "token", "apikey", "api-key"})
_LOGIN = re.compile(r"(?<=://)[^\s/?#'\"<>]*@")
_PASSWORD = re.compile(r"://[^\s/?#'\"<>@:]*:[^\s/?#'\"<>]*@")
_QUERY = re.compile(
    r"(?<=[?&])((?:[\w.-]*(?:key|token|secret|passw(?:or)?d|credential|signature)|sig)=)[^\s&#'\"<>]+",
    re.IGNORECASE,
)

# In a program: `api_key="..."`, `"x-api-key": "..."`, `password: str | None = "..."`, `key=SecretStr("...")`,
# `environ["OPENAI_API_KEY"] = "..."`, `getenv("OPENAI_API_KEY", "...")`.
_ASSIGNED = re.compile(
    r"(?<![\w-])(?P<name>[\w-]+)"
    r"(?P<between>(?:[\"']?\]?(?:\s*:\s*[\w.|\[\] ]{1,40})?\s*[:=]|[\"']\s*,)\s*(?:\w{1,40}\()?"
    r"[bfr]?(?P<quote>[\"']{3}|[\"']))"
    r"(?:(?!(?P=quote))[^\n]){1,2000}(?P=quote)"
)


class _Unshown:
    """What does not show itself, and is shared by copies in memory."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({HIDDEN!r})"

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, _memo: dict[int, Any]) -> Self:
        return self


class Secret(_Unshown):
    """A string that does not show itself, or a function that fetches one anew for every call.

    A copy in memory keeps the value; a pickle does not, so that it never gets to
    a disk or another machine, where the environment variable counts again.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str | Callable[[], str] | None) -> None:
        self._value = value or ""

    def reveal(self) -> str:
        """Return the value itself; calls the function where it is one.

        Raises:
            UserError: The function returned something else than a text.
        """
        if isinstance(self._value, str):
            return self._value
        value = self._value()
        if not isinstance(value, str) or not value:
            raise UserError(
                "A function given as `api_key` or as a header must return a text that is not empty, "
                f"but it returned {type(value).__name__}."
            )
        return value

    async def fetch(self) -> str:
        """Return the value; a function may take its time, so it is called in a thread.

        Raises:
            UserError: The function returned something else than a text.
        """
        return self._value if isinstance(self._value, str) else await asyncio.to_thread(self.reveal)

    def __bool__(self) -> bool:
        return bool(self._value)

    def __reduce__(self) -> tuple[type[Secret], tuple[str]]:
        return Secret, ("",)


class Sealed(_Unshown):
    """Secrets that were taken out of parameters, to be put back when these are sent.

    They do not show themselves, and a pickle does not hold them; see `Secret`.
    """

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[tuple[Any, ...], Any] | None = None) -> None:
        self._values = dict(values or {})

    def put_back(self, params: dict[str, Any]) -> dict[str, Any]:
        """Return `params` with the secrets where they were; not modified."""
        for path, value in self._values.items():
            params = _with(params, path, value)
        return params

    def texts(self) -> tuple[str, ...]:
        """Return all texts among the secrets, for `redact`."""
        return tuple(text for value in self._values.values() for text in _texts(value))

    def __or__(self, other: Sealed) -> Sealed:
        return Sealed({**self._values, **other._values})

    def __bool__(self) -> bool:
        return bool(self._values)

    def __reduce__(self) -> tuple[type[Sealed], tuple[()]]:
        return Sealed, ()


@functools.lru_cache(maxsize=4096)
def is_secret_name(name: str) -> bool:
    """Return whether a parameter of this name holds a secret.

    Example:
        >>> is_secret_name("aws_session_token"), is_secret_name("max_tokens")
        (True, False)
    """
    return bool(_SECRET_NAME.search(name))


def split_secrets(params: dict[str, Any]) -> tuple[dict[str, Any], Sealed]:
    """Split parameters into those that may be shown and kept, and the secrets, at any depth.

    A secret is told by its name, whatever it is; of a text, the login in a URL is one.

    Args:
        params: Not modified.

    Returns:
        `params` itself where it holds no secret, else what is left of it; and the secrets.
    """
    found: dict[tuple[Any, ...], Any] = {}
    rest = _public(params, (), found)
    return (rest if found else params), Sealed(found)


def public(params: dict[str, Any]) -> dict[str, Any]:
    """Return parameters without the secrets among them, at any depth; not modified.

    Example:
        >>> public({"top_p": 0.5, "extra_body": {"api_key": "sk-1234", "top_k": 3}})
        {'top_p': 0.5, 'extra_body': {'top_k': 3}}
    """
    return split_secrets(params)[0]


def redact(text: str, secrets: Iterable[str]) -> str:
    """Return `text` with every secret in it replaced, in whatever form, and no login in a URL.

    Args:
        text: For example what a server answered to a wrong key. Cut it only afterwards:
            a part of a secret is not found.
        secrets: The values to hide; shorter ones than 4 characters would hide ordinary words.
    """
    forms = {form for secret in secrets if len(secret) >= SHORTEST for form in _forms(secret)}
    for form in sorted(forms, key=len, reverse=True):
        text = text.replace(form, HIDDEN)
    return without_logins(text)


def without_logins(text: str) -> str:
    """Return `text` with no user, password or key in the URLs in it."""
    return _QUERY.sub(rf"\g<1>{HIDDEN}", _LOGIN.sub("", text)) if "://" in text else text


def without_literals(code: str) -> str:
    """Return the source of a program without the secrets that are written out in it.

    Example:
        >>> without_literals("LM('openai/m', api_key='sk-1234', max_tokens=5)")
        "LM('openai/m', api_key='***', max_tokens=5)"
    """

    def hidden(found: re.Match[str]) -> str:
        if not is_secret_name(found["name"]):
            return found[0]
        return f"{found['name']}{found['between']}{HIDDEN}{found['quote']}"

    return without_logins(_ASSIGNED.sub(hidden, code))


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


def _public(value: Any, path: tuple[Any, ...], found: dict[tuple[Any, ...], Any]) -> Any:
    """Return `value` without its secrets, which are noted in `found` under their paths."""
    if isinstance(value, dict):
        rest = {}
        for name, inner in value.items():
            of_a_field = bool(path) and path[-1] in _NAMED_BY_THE_USER and isinstance(inner, (dict, bool))
            if isinstance(name, str) and is_secret_name(name) and not of_a_field:
                at = (*path, name)
                found[at] = inner
            else:
                rest[name] = _public(inner, (*path, name), found)
        return rest
    if isinstance(value, (list, tuple)):
        items = [_public(inner, (*path, index), found) for index, inner in enumerate(value)]
        return tuple(items) if isinstance(value, tuple) else items
    if isinstance(value, str) and "@" in value and _PASSWORD.search(value):
        found[path] = value
        return _LOGIN.sub("", value)
    return value


def _with(value: Any, path: tuple[Any, ...], hidden: Any) -> Any:
    """Return `value` with `hidden` at `path`; what the path leads through may be gone since."""
    if not path:
        return hidden
    name, rest = path[0], path[1:]
    if isinstance(value, dict):
        return {**value, name: _with(value.get(name), rest, hidden)} if not rest or name in value else value
    if isinstance(value, (list, tuple)) and isinstance(name, int) and name < len(value):
        items = [*value[:name], _with(value[name], rest, hidden), *value[name + 1 :]]
        return tuple(items) if isinstance(value, tuple) else items
    return value


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _texts(inner)


def _forms(secret: str) -> Iterator[str]:
    """Return what a server may write for `secret`: without its scheme, in base64, quoted."""
    yield secret
    scheme, _, token = secret.strip().partition(" ")
    if scheme.lower() not in _SCHEMES or len(token.strip()) < SHORTEST:
        token = secret
    token = token.strip()
    if scheme.lower() == "basic":
        login = _decoded(token)
        password = login.partition(":")[2]
        yield from (text for text in (login, password) if len(text) >= SHORTEST)
    data = token.encode("utf-8", "surrogatepass")
    yield token
    for encoded in (base64.b64encode(data).decode(), base64.urlsafe_b64encode(data).decode()):
        yield encoded
        yield encoded.rstrip("=")
    yield quote(data, safe="")
    yield json.dumps(token)[1:-1]


def _decoded(text: str) -> str:
    try:
        return base64.b64decode(text, validate=True).decode()
    except (binascii.Error, ValueError):
        return ""
