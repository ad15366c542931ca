"""`Document` and `Citations`: sources that a model can cite, and what it cites."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import pydantic

from mipro.adapters._type import Type

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


class Document(Type):
    """A source, in the form of models that cite by themselves, such as Anthropic's."""

    data: str
    """The text, or a PDF in base64."""
    title: str | None = None
    media_type: Literal["text/plain", "application/pdf"] = "text/plain"
    context: str | None = None
    """What the model should know about it that is not to be cited."""

    def format(self) -> list[dict[str, Any]]:
        """Return the content block that gives the document to the model."""
        kind = "base64" if self.media_type == "application/pdf" else "text"
        block: dict[str, Any] = {
            "type": "document",
            "source": {"type": kind, "media_type": self.media_type, "data": self.data},
            "citations": {"enabled": True},
        }
        named = {"title": self.title, "context": self.context}
        return [{**block, **{name: value for name, value in named.items() if value}}]

    @classmethod
    def description(cls) -> str:
        """Return what the model is told about the type."""
        return "A source; its text can be cited."

    @pydantic.model_validator(mode="before")
    @classmethod
    def _validate(cls, data: Any) -> Any:
        return {"data": data} if isinstance(data, str) else data

    def __str__(self) -> str:
        title = f"'{self.title}': " if self.title else ""
        return f"Document({title}{len(self.data)} chars)"


class Citations(Type):
    """What a model cites from the documents that it was given."""

    class Citation(Type):
        """One quotation and where it stands."""

        type: str = "char_location"
        cited_text: str
        document_index: int
        document_title: str | None = None
        start_char_index: int
        end_char_index: int
        supported_text: str | None = None

        def format(self) -> dict[str, Any]:  # type: ignore[override] # JSON, not content blocks
            """Return the fields that are set."""
            return {name: value for name, value in self if value is not None}

    citations: list[Citation]

    @classmethod
    def from_dict_list(cls, citations_dicts: Sequence[Mapping[str, Any]]) -> Citations:
        """Return the citations that dicts describe."""
        return cls(citations=[cls.Citation(**citation) for citation in citations_dicts])

    @classmethod
    def description(cls) -> str:
        """Return what the model is told about the type."""
        return "The exact texts that are cited, each with the document and the place where it stands."

    def format(self) -> list[dict[str, Any]]:
        """Return the citations as plain values."""
        return [citation.format() for citation in self.citations]

    @pydantic.model_serializer()
    def serialize_model(self) -> dict[str, Any]:
        """Return the citations as plain values."""
        return {"citations": self.format()}

    @pydantic.model_validator(mode="before")
    @classmethod
    def _validate(cls, data: Any) -> Any:
        if isinstance(data, dict) and "cited_text" in data:
            return {"citations": [data]}
        return {"citations": data} if isinstance(data, list) else data

    def __iter__(self) -> Iterator[Citation]:  # type: ignore[override] # the citations, not a model's fields
        return iter(self.citations)

    def __len__(self) -> int:
        return len(self.citations)

    def __getitem__(self, index: int) -> Citation:
        return self.citations[index]
