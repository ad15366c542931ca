"""`Audio`: sound as an input, as data."""

from __future__ import annotations

import base64
import importlib
import io
import mimetypes
import pathlib
from typing import Any, ClassVar

import pydantic

from mipro.adapters._media import downloaded
from mipro.adapters._type import Type
from mipro.errors import UserError

_KEYS = frozenset({"data", "audio_format"})


class Audio(Type):
    """Sound; nothing is read from disk or the network unless asked for by name.

    Args:
        source: The bytes of an audio file (with `audio_format`), a data URI, an array
            (with `sampling_rate`; needs the package `soundfile`), another `Audio`, or a
            dict of the fields below.

    Raises:
        UserError: `source` is none of these.
        TypeError: `data`, or a format or rate that `source` has itself, stands beside it.

    Example:
        >>> Audio(b"RIFF....", audio_format="wav")
        Audio(data=<AUDIO_BASE_64_ENCODED(12)>, audio_format='wav')
    """

    data: str
    """The file in base64."""
    audio_format: str
    """Its format, for example "wav" or "mp3"."""

    model_config: ClassVar[pydantic.ConfigDict] = pydantic.ConfigDict(frozen=True, extra="forbid")

    def __init__(self, source: Any = None, /, **data: Any) -> None:
        if source is not None:
            if "data" in data:
                raise TypeError("Audio received both `source` and `data`; provide only one")
            rate, kind = data.pop("sampling_rate", None), data.pop("audio_format", None)
            # First of all what is no audio: who gives a path and its format learns of `from_path`.
            data = {**encode_audio(source, rate or 16_000, kind or "wav"), **data}
            if kind is not None and not isinstance(source, bytes) and not hasattr(source, "shape"):
                raise TypeError("Audio received audio_format for a source that already carries its format")
            if rate is not None and not hasattr(source, "shape"):
                raise TypeError("Audio received sampling_rate for a source that is no array of samples")
        super().__init__(**data)

    @pydantic.model_validator(mode="before")
    @classmethod
    def _validate(cls, data: Any) -> Any:
        return encode_audio(data)

    @classmethod
    def from_path(cls, file_path: str | pathlib.Path) -> Audio:
        """Read an audio file from disk.

        Raises:
            UserError: There is no such file, or its name is not that of an audio file.
        """
        path = pathlib.Path(file_path)
        if not path.is_file():
            raise UserError(f"File not found: {file_path}")
        return cls(
            data=_base64(path.read_bytes()), audio_format=_format_of(mimetypes.guess_type(path.name)[0])
        )

    from_file = from_path

    @classmethod
    def from_url(cls, url: str, verify: bool = True, timeout: float | None = 30.0) -> Audio:
        """Download audio from an http(s) address that the caller trusts.

        Args:
            url: The address; redirects are followed.
            verify: Whether the server's certificate is checked.
            timeout: Seconds to wait for the server, or None for ever.

        Raises:
            UserError: It is no http(s) address, or what is there is no audio.
            OSError: The download failed.
        """
        data, sent = downloaded(url, "Audio", verify=verify, timeout_s=timeout)
        return cls(data=_base64(data), audio_format=_format_of((sent or "audio/wav").partition(";")[0]))

    @classmethod
    def from_array(cls, array: Any, sampling_rate: int, format: str = "wav") -> Audio:  # noqa: A002 - DSPy's name
        """Encode samples as an audio file.

        Args:
            array: The samples.
            sampling_rate: Samples a second.
            format: Format of the file.

        Raises:
            ImportError: The package `soundfile` is absent.
        """
        try:
            soundfile = importlib.import_module("soundfile")
        except ImportError as error:
            raise ImportError(
                "Audio.from_array needs the package `soundfile`; run `pip install soundfile`."
            ) from error
        file = io.BytesIO()
        soundfile.write(file, array, sampling_rate, format=format.upper(), subtype="PCM_16")
        return cls(data=_base64(file.getvalue()), audio_format=format)

    def format(self) -> list[dict[str, Any]]:
        """Return the content block that plays the sound to the model."""
        return [{"type": "input_audio", "input_audio": {"data": self.data, "format": self.audio_format}}]

    def __str__(self) -> str:
        return str(self.serialize_model())

    def __repr__(self) -> str:
        return f"Audio(data=<AUDIO_BASE_64_ENCODED({len(self.data)})>, audio_format={self.audio_format!r})"


def encode_audio(source: Any, sampling_rate: int = 16_000, audio_format: str = "wav") -> dict[str, Any]:
    """Return the fields of an `Audio` made from `source`.

    Args:
        source: See `Audio`.
        sampling_rate: Samples a second of an array.
        audio_format: Format of bytes, and that in which an array is written.

    Raises:
        UserError: `source` is no audio.
    """
    if isinstance(source, dict) and set(source) >= _KEYS:
        return source
    if isinstance(source, Audio):
        return {"data": source.data, "audio_format": source.audio_format}
    if isinstance(source, bytes):
        return {"data": _base64(source), "audio_format": audio_format}
    if isinstance(source, str):
        head, comma, data = source.partition(",")
        if not comma or not head.startswith("data:audio/"):
            raise UserError(
                f"audio given as text must be a data URI, but got {source[:80]!r}; read a local file with "
                "Audio.from_path() and a remote one with Audio.from_url()."
            )
        return {"data": data, "audio_format": _format_of(head.removeprefix("data:").partition(";")[0])}
    if hasattr(source, "shape"):
        return encode_audio(Audio.from_array(source, sampling_rate, audio_format))
    raise UserError(f"audio must be bytes, a data URI or an array, but got {type(source).__name__}.")


def _format_of(kind: str | None) -> str:
    if kind is None or not kind.startswith("audio/"):
        raise UserError(f"the kind of file must be an audio format, but got {kind!r}.")
    name = _normalize_audio_format(kind.removeprefix("audio/"))
    return "mp3" if name == "mpeg" else name  # what models call it


def _normalize_audio_format(audio_format: str) -> str:
    """Return the name of a format without the `x-` of older names."""
    return audio_format.removeprefix("x-")


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
