"""`Image`: a picture as an input, by address or as data."""

from __future__ import annotations

import base64
import io
import mimetypes
import pathlib
from typing import Any, ClassVar
from urllib.parse import urlparse

import pydantic

from mipro.adapters._media import downloaded
from mipro.adapters._type import Type
from mipro.errors import UserError

_SIGNATURES = {
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF87a": "image/gif",
    b"GIF89a": "image/gif",
    b"BM": "image/bmp",
}


class Image(Type):
    """A picture; nothing is read from disk or the network unless asked for by name.

    Args:
        source: An http(s) or gs address, a data URI, the bytes of an image file, a PIL
            image, or a dict `{"url": ...}`.
        data: `download=True` beside a `source` fetches an address at once, as `from_url` does,
            `verify` whether the server's certificate is checked.

    Raises:
        UserError: `source` is none of these, or `download=True` stands beside no `source`.
        TypeError: `url` stands beside `source`.

    Example:
        >>> Image("https://example.org/cat.png")
        Image(url='https://example.org/cat.png')
    """

    url: str
    """The address or the data URI."""

    model_config: ClassVar[pydantic.ConfigDict] = pydantic.ConfigDict(
        frozen=True, str_strip_whitespace=True, extra="forbid"
    )

    def __init__(self, source: Any = None, /, **data: Any) -> None:
        if source is not None:
            if "url" in data:
                raise TypeError("Image received both `source` and `url`; provide only one image source")
            data["url"] = source
        download, verify = data.pop("download", False), data.pop("verify", True)
        if "url" in data:
            data["url"] = encode_image(data["url"])
            if download and source is None:
                # pydantic calls this with whatever stands in a model's answer or in a file.
                raise UserError(
                    "`download=True` must come with the address as the first argument; "
                    "use Image.from_url(url) to fetch an image."
                )
            if download and not data["url"].startswith("data:"):
                data["url"] = self.from_url(data["url"], verify=verify).url
        super().__init__(**data)

    @classmethod
    def from_path(cls, file_path: str | pathlib.Path) -> Image:
        """Return the image in a file.

        Raises:
            UserError: There is no such file, or its name does not say what kind it is.
        """
        path = pathlib.Path(file_path)
        if not path.is_file():
            raise UserError(f"File not found: {file_path}")
        data = path.read_bytes()
        kind = mimetypes.guess_type(path.name)[0] or _kind(data)
        if kind is None:
            raise UserError(
                f"the kind of image can't be told from {path.name!r}; give it an ending such as .png."
            )
        return cls(_data_uri(data, kind))

    from_file = from_path

    @classmethod
    def from_url(cls, url: str, verify: bool = True, timeout: float | None = 30.0) -> Image:
        """Download an image from an http(s) address that the caller trusts.

        Args:
            url: The address; redirects are followed.
            verify: Whether the server's certificate is checked.
            timeout: Seconds to wait for the server, or None for ever.

        Raises:
            UserError: It is no http(s) address.
            OSError: The download failed.
        """
        data, sent = downloaded(url, "Image", verify=verify, timeout_s=timeout)
        kind = (sent or "").partition(";")[0].strip().lower() or mimetypes.guess_type(url)[0] or _kind(data)
        if kind is None:
            raise UserError(f"the kind of image can't be told from {url!r}.")
        return cls(_data_uri(data, kind))

    @classmethod
    def from_PIL(cls, pil_image: Any) -> Image:  # noqa: N802 - DSPy's name
        """Return a PIL image as an Image."""
        return cls(pil_image)

    def format(self) -> list[dict[str, Any]]:
        """Return the content block that shows the image to the model."""
        return [{"type": "image_url", "image_url": {"url": self.url}}]

    def __str__(self) -> str:
        return str(self.serialize_model())

    def __repr__(self) -> str:
        head, comma, data = self.url.partition("base64,")
        if comma:
            return f"Image(url={head}base64,<IMAGE_BASE_64_ENCODED({len(data)})>)"
        return f"Image(url={self.url!r})"


def encode_image(source: Any) -> str:
    """Return the address or the data URI of an image.

    Raises:
        UserError: `source` is no image; see `Image`.
    """
    if isinstance(source, dict) and set(source) == {"url"}:
        source = source["url"]
    if isinstance(source, Image):
        return source.url
    if isinstance(source, str):
        text = source.strip()
        parts = urlparse(text)
        if text.startswith("data:") or (parts.scheme in ("http", "https", "gs") and parts.netloc):
            return text
        raise UserError(
            f"Unrecognized image string: {source[:80]!r}. It must be an http(s) or gs address or a data URI; "
            "read a local file with Image.from_path()."
        )
    if isinstance(source, bytes):
        kind = _kind(source)
        if kind is None:
            raise UserError("Bytes could not be identified as an image (PNG, JPEG, GIF, WebP or BMP).")
        return _data_uri(source, kind)
    if hasattr(source, "save") and hasattr(source, "format"):  # a PIL image, PIL imported or not
        buffer = io.BytesIO()
        name = source.format or "PNG"
        source.save(buffer, format=name)
        return _data_uri(buffer.getvalue(), mimetypes.guess_type(f"image.{name.lower()}")[0] or "image/png")
    raise UserError(f"an image must be an address, a data URI, bytes or a PIL image, but got {type(source)}.")


def _kind(data: bytes) -> str | None:
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    return next((kind for start, kind in _SIGNATURES.items() if data.startswith(start)), None)


def _data_uri(data: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"
