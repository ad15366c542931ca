"""Which parts of a message are images, sounds and files, and about how many tokens one has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from mipro.errors import UserError

MEDIA_TOKENS = 1000
"""Of an image, a sound or a file, whatever its size. A picture of 1024 x 1024 points is 765 tokens to
OpenAI's models and about 1,400 to Anthropic's (its area in points by 750)."""
MEDIA_TYPES = frozenset(["image_url", "image", "input_audio", "file", "document"])
"""The `type` of their content blocks."""


def is_media(block: Mapping[str, Any]) -> bool:
    """Tell whether a content block is an image, a sound or a file; a document of plain text is text."""
    source = block.get("source")
    is_text = isinstance(source, Mapping) and source.get("type") == "text"
    return block.get("type") in MEDIA_TYPES and not is_text


def downloaded(url: str, what: str, *, verify: bool, timeout_s: float | None) -> tuple[bytes, str | None]:
    """Return what is at an http(s) address, and the content type that the server gives it.

    Args:
        url: The address; redirects are followed.
        what: Class that asks, for the error.
        verify: Whether the server's certificate is checked.
        timeout_s: Seconds until the answer must begin, or None for ever.

    Raises:
        UserError: It is no http(s) address.
        OSError: The download failed.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https"):
        raise UserError(f"{what}.from_url requires an HTTP(S) URL, received: {url}")
    import ssl  # noqa: PLC0415 - only for downloads

    from mipro.fetch._http import opened, read_all  # noqa: PLC0415

    tls = None if verify else ssl._create_unverified_context()  # noqa: S323, SLF001 - asked for
    try:
        with opened(url, tls=tls, limit_s=timeout_s) as response:
            return b"".join(read_all(response)), response.headers.get("Content-Type")
    except OSError as error:
        # Without user and query, where addresses have their secrets.
        shown = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
        raise OSError(
            f"{shown!r} could not be fetched: {error}; check the address and the network."
        ) from error
