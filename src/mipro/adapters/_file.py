"""`File`: a document such as a PDF as an input, as data or by the server's id."""

from __future__ import annotations

import base64
import mimetypes
import pathlib
from typing import Any, ClassVar

import pydantic

from mipro.adapters._type import Type
from mipro.errors import UserError

_KEYS = frozenset({"file_data", "file_id", "filename"})
_ANY_KIND = "application/octet-stream"


class File(Type):
    """A file for the model to read; nothing is read from disk unless asked for by name.

    Args:
        source: The bytes, a data URI, another `File`, or a dict of the fields below.

    Raises:
        UserError: `source` is none of these.
        TypeError: A field that `source` has stands beside it.

    Example:
        >>> File.from_bytes(b"%PDF-1.7", filename="paper.pdf", mime_type="application/pdf")
        File(file_data=<DATA_URI(application/pdf, 12 chars)>, filename='paper.pdf')
    """

    file_data: str | None = None
    """The content as a data URI."""
    file_id: str | None = None
    """Id of a file that the server has already."""
    filename: str | None = None

    model_config: ClassVar[pydantic.ConfigDict] = pydantic.ConfigDict(
        frozen=True, str_strip_whitespace=True, extra="forbid"
    )

    def __init__(self, source: Any = None, /, **data: Any) -> None:
        if source is not None:
            given = encode_file_to_dict(source)
            twice = sorted(set(given) & set(data))
            if twice:
                raise TypeError(f"File received {', '.join(twice)} twice: in the source and by name")
            data = {**given, **data}
        super().__init__(**data)

    @pydantic.model_validator(mode="before")
    @classmethod
    def _validate(cls, data: Any) -> Any:
        return encode_file_to_dict(data)

    @classmethod
    def from_path(
        cls, file_path: str | pathlib.Path, filename: str | None = None, mime_type: str | None = None
    ) -> File:
        """Read a file from disk.

        Args:
            file_path: The file.
            filename: Name that the model sees; by default the file's own.
            mime_type: Kind of file; by default told from the name.

        Raises:
            UserError: There is no such file.
        """
        path = pathlib.Path(file_path)
        if not path.is_file():
            raise UserError(f"File not found: {file_path}")
        kind = mime_type or mimetypes.guess_type(path.name)[0] or _ANY_KIND
        return cls.from_bytes(path.read_bytes(), filename or path.name, kind)

    @classmethod
    def from_bytes(cls, file_bytes: bytes, filename: str | None = None, mime_type: str = _ANY_KIND) -> File:
        """Return bytes as a File."""
        data = base64.b64encode(file_bytes).decode("ascii")
        return cls(file_data=f"data:{mime_type};base64,{data}", filename=filename)

    @classmethod
    def from_file_id(cls, file_id: str, filename: str | None = None) -> File:
        """Return a file that the server has already."""
        return cls(file_id=file_id, filename=filename)

    def _given(self) -> dict[str, str]:
        fields = {"file_data": self.file_data, "file_id": self.file_id, "filename": self.filename}
        return {name: value for name, value in fields.items() if value is not None}

    def format(self) -> list[dict[str, Any]]:
        """Return the content block that gives the file to the model."""
        return [{"type": "file", "file": self._given()}]

    def __str__(self) -> str:
        return str(self.serialize_model())

    def __repr__(self) -> str:
        shown = {name: repr(value) for name, value in self._given().items()}
        if self.file_data is not None:
            head, _, data = self.file_data.partition("base64,")
            shown["file_data"] = f"<DATA_URI({head.removeprefix('data:').rstrip(';')}, {len(data)} chars)>"
        return f"File({', '.join(f'{name}={value}' for name, value in shown.items())})"


def encode_file_to_dict(source: Any) -> dict[str, Any]:
    """Return the fields of a `File` made from `source`.

    Raises:
        UserError: `source` is neither bytes, data URI, File nor a dict of its fields.
    """
    if isinstance(source, File):
        return dict(source._given())  # noqa: SLF001 - of this class
    if isinstance(source, bytes):
        return {"file_data": File.from_bytes(source).file_data}
    if isinstance(source, str):
        if source.startswith("data:"):
            return {"file_data": source}
        raise UserError(
            f"a file given as text must be a data URI, but got {source[:80]!r}; "
            "read a local file with File.from_path()."
        )
    if isinstance(source, dict):
        if _KEYS & set(source):
            return source
        raise UserError(f"a File must contain at least one of {sorted(_KEYS)}, but got {sorted(source)}.")
    raise UserError(f"a file must be bytes, a data URI or a File, but got {type(source).__name__}.")
