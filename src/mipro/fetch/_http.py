"""Reading a file from an address, with limits on every wait."""

from __future__ import annotations

import base64
import contextlib
import http.client
import queue
import threading
import urllib.error
import urllib.parse
import urllib.request
from typing import TYPE_CHECKING, Any

from mipro.fetch._store import CHUNK

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator

OPEN_LIMIT_S = 4.5
"""Seconds until the first answer, name look-up and redirects included. A machine
without internet must not wait longer for a hub; a slow one falls back to the index."""
READ_LIMIT_S = 60.0
"""Seconds without any byte after which a source counts as dead."""


@contextlib.contextmanager
def opened(
    url: str, *, tls: ssl.SSLContext | None = None, limit_s: float | None = OPEN_LIMIT_S
) -> Iterator[http.client.HTTPResponse]:
    """Open `url` for reading.

    Args:
        url: http, https or file address.
        tls: Whom to trust; the system's certificates if None.
        limit_s: Seconds until the answer must begin, or None for ever.

    Raises:
        OSError: No answer in time, or an answer that is an error.
    """
    answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
    given_up = threading.Event()

    def open_it() -> None:
        try:
            response = _opener(tls).open(_request(url), timeout=READ_LIMIT_S)
        except (OSError, http.client.HTTPException, ValueError) as error:
            answers.put(error)
            return
        if given_up.is_set():
            response.close()
        answers.put(response)

    # A thread, since neither the look-up of a name nor a row of dead addresses
    # can be limited in time from outside.
    threading.Thread(target=open_it, name="mipro-open", daemon=True).start()
    try:
        answer = answers.get(timeout=limit_s)
    except queue.Empty:
        given_up.set()
        raise TimeoutError(f"no answer within {limit_s:g} s") from None
    if isinstance(answer, urllib.error.HTTPError):
        answer.close()
        raise OSError(f"HTTP status {answer.code} {answer.reason}") from answer
    if isinstance(answer, urllib.error.URLError):
        raise OSError(str(answer.reason)) from answer
    if isinstance(answer, Exception):
        raise OSError(str(answer)) from answer
    with answer:
        yield answer


def read_all(response: http.client.HTTPResponse) -> Iterator[bytes]:
    """Yield the body in chunks.

    Raises:
        OSError: The connection broke.
    """
    try:
        while chunk := response.read(CHUNK):
            yield chunk
    except http.client.HTTPException as error:
        raise OSError(f"the connection broke: {error!r}") from error


def _request(url: str) -> urllib.request.Request:
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in ("http", "https", "file"):
        raise ValueError(f"the address must begin with http, https or file, but got {parts.scheme!r}")
    user, at, host = parts.netloc.rpartition("@")
    request = urllib.request.Request(parts._replace(netloc=host).geturl())  # noqa: S310 - checked above
    if at:  # an index with a password
        token = base64.b64encode(urllib.parse.unquote(user).encode()).decode()
        request.add_unredirected_header("Authorization", f"Basic {token}")
    return request


def _opener(tls: ssl.SSLContext | None) -> urllib.request.OpenerDirector:
    return urllib.request.build_opener(urllib.request.HTTPSHandler(context=tls))
