"""HTTP on the I/O loop: one pooled session for all models of the process."""

from __future__ import annotations

import asyncio
import errno
import os
import ssl
import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from mipro.lm._loop import at_close
from mipro.lm._secrets import without_logins

if TYPE_CHECKING:
    from collections.abc import Mapping

    import aiohttp

CONNECT_TIMEOUT_S = 20.0
KEEPALIVE_S = 30.0
MAX_REDIRECTS = 10
MAX_ANSWER_BYTES = 256 * 1024 * 1024
"""Longer than any answer with logprobs, sounds or pictures; a reply without end took all memory."""

_session: aiohttp.ClientSession | None = None
_owner: tuple[int, asyncio.AbstractEventLoop] | None = None
_proxies: dict[str, str] = {}
# Sessions of a parent process. Closing them here would close the parent's
# connections, and dropping them would warn, so they are kept as they are.
_of_parents: list[aiohttp.ClientSession] = []


@dataclass(frozen=True, slots=True)
class Reply:
    """What a server answered, whatever the status."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class NoReplyError(Exception):
    """The server did not answer; the message says in a few words why."""


class LateReplyError(NoReplyError):
    """Time ran out."""


_SEE_OTHER, _PROXY_LOGIN = 303, 407
_REDIRECTS = frozenset({_SEE_OTHER, 307, 308})  # 301 and 302 make a GET of a POST, which says nothing


def load() -> None:
    """Import the HTTP client, in whatever thread; the first `post` does otherwise."""
    import aiohttp  # noqa: F401, PLC0415 - heavy


async def post(url: str, body: bytes, *, headers: Mapping[str, str], timeout_s: float) -> Reply:
    """Post `body` and return the whole answer.

    A redirection is followed on the same server only: the headers hold keys, which are nobody else's.

    Args:
        url: Where to.
        body: Sent as it is.
        headers: Sent with it.
        timeout_s: Limit for the whole exchange; connecting is limited to 20 s besides.

    Raises:
        NoReplyError: Nothing was listening, the connection broke, time ran out, or the answer had no end.
    """
    import aiohttp  # noqa: PLC0415 - heavy

    kind: type[NoReplyError] = NoReplyError
    timeout = aiohttp.ClientTimeout(total=timeout_s, sock_connect=min(CONNECT_TIMEOUT_S, timeout_s))
    try:
        return await _exchange(url, body, headers, timeout)
    except asyncio.TimeoutError:
        kind, reason = LateReplyError, f"no answer within {timeout_s:g} s"
    except aiohttp.InvalidURL:
        reason = "the address is not a URL"
    except aiohttp.ClientConnectorError as error:
        is_proxy = isinstance(error, aiohttp.ClientProxyConnectionError)
        to = " to the proxy" if is_proxy else ""
        reason = f"could not connect{to} ({error.os_error.strerror or error.os_error})"
        reason += _advice_for(error.os_error)
        if is_proxy:
            reason += f"; correct it in the environment, or add {urlsplit(url).hostname} to NO_PROXY there"
    except (aiohttp.ClientError, OSError) as error:
        if isinstance(error, aiohttp.ClientHttpProxyError) and error.status == _PROXY_LOGIN:
            return Reply(error.status, error.headers or {}, b"")
        reason = f"the connection broke ({type(error).__name__}: {error})"
    # Not within the blocks: the client's errors show headers, and the password of a proxy in its URL,
    # and would be shown as the cause of this one.
    raise kind(without_logins(reason))


async def _exchange(
    url: str, body: bytes, headers: Mapping[str, str], timeout: aiohttp.ClientTimeout
) -> Reply:
    session = _open_session()
    method = "POST"
    for _ in range(MAX_REDIRECTS):
        async with session.request(
            method,
            url,
            data=body,
            headers=headers,
            timeout=timeout,
            proxy=_proxy_of(url) if _proxies else None,
            allow_redirects=False,
        ) as answer:
            target = _target_of(answer, url)
            if target is None:
                return Reply(answer.status, answer.headers, await _whole(answer))
        url = target
        if answer.status == _SEE_OTHER:
            method, body = "GET", b""
    raise NoReplyError("it redirects without end")


def _advice_for(error: OSError) -> str:
    if error.errno in (errno.EMFILE, errno.ENFILE):  # a few hundred are allowed on some systems
        return "; lower `num_threads`, or raise the limit with `ulimit -n`"
    if isinstance(error, ssl.SSLCertVerificationError):
        return "; set SSL_CERT_FILE to a file with the certificates of your network"
    return ""


def _target_of(answer: aiohttp.ClientResponse, url: str) -> str | None:
    """Return where to ask next; None where that is another server, or the answer is one."""
    target = answer.headers.get("Location")
    if answer.status not in _REDIRECTS or not target:
        return None
    target = urljoin(url, target)
    old, new = urlsplit(url), urlsplit(target)
    is_upgrade = (old.scheme, new.scheme) == ("http", "https") and old.hostname == new.hostname
    return target if is_upgrade or old[:2] == new[:2] else None


async def _whole(answer: aiohttp.ClientResponse) -> bytes:
    """Return the body, decompressed, unless it would fill the memory."""
    body = bytearray()
    async for chunk in answer.content.iter_any():
        body += chunk
        if len(body) > MAX_ANSWER_BYTES:
            raise NoReplyError(f"the answer is longer than {MAX_ANSWER_BYTES:,} bytes")
    return bytes(body)


def _open_session() -> aiohttp.ClientSession:
    global _session, _owner, _proxies  # noqa: PLW0603 - the one place that owns them
    owner = (os.getpid(), asyncio.get_running_loop())
    if _session is not None and not _session.closed and _owner == owner:
        return _session
    if _session is not None and _owner is not None and _owner[0] != owner[0]:
        _of_parents.append(_session)
    import aiohttp  # noqa: PLC0415 - heavy

    _session = aiohttp.ClientSession(
        # The callers' threads and the run's gate bound what is in flight.
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEPALIVE_S, ttl_dns_cache=300),
        cookie_jar=aiohttp.DummyCookieJar(),
        skip_auto_headers=("User-Agent",),
    )
    _owner = owner
    # Read once: looking at the environment on every call would cost more than the call.
    _proxies = urllib.request.getproxies()
    at_close(_close)
    return _session


def _proxy_of(url: str) -> str | None:
    parts = urlsplit(url)
    proxy = _proxies.get(parts.scheme) or _proxies.get("all")
    if proxy is None or urllib.request.proxy_bypass(parts.hostname or ""):
        return None
    scheme, mark, _ = proxy.partition("://")
    if not mark:
        return f"http://{proxy}"
    if scheme.lower() not in {"http", "https"}:
        raise NoReplyError(f"the proxy must be an HTTP proxy, but the environment says {scheme}")
    return proxy


async def _close() -> None:
    global _session  # noqa: PLW0603 - the one place that owns it
    if _session is not None and _owner is not None and _owner[0] == os.getpid():
        await _session.close()
        await asyncio.sleep(0)
    _session = None
