"""`Reasoning`: an output that a reasoning model fills by itself, and any other writes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pydantic

from mipro.adapters._type import Type

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mipro.lm import BaseLM

_DEFAULT_EFFORT = "low"


class Reasoning(Type):
    """Reasoning of a model, used like a text.

    As type of an output field it is taken from the model's native reasoning where there
    is one, and is a field of the prompt like any other where there is none.
    """

    content: str
    """The text."""

    @pydantic.model_validator(mode="before")
    @classmethod
    def _validate(cls, data: Any) -> Any:
        if isinstance(data, str):
            return {"content": data}
        if isinstance(data, cls) or (isinstance(data, dict) and isinstance(data.get("content"), str)):
            return data
        raise ValueError(f"Received invalid value for `Reasoning`: {data!r}")

    def __init__(self, content: str | None = None, **data: Any) -> None:
        super().__init__(**data if content is None else {"content": content, **data})

    def format(self) -> str:
        """Return the text."""
        return self.content

    def __repr__(self) -> str:
        return repr(self.content)

    def __str__(self) -> str:
        return self.content

    def __eq__(self, other: object) -> bool:
        return self.content == (other.content if isinstance(other, Reasoning) else other)

    def __hash__(self) -> int:
        return hash(self.content)

    def __len__(self) -> int:
        return len(self.content)

    def __getitem__(self, key: Any) -> str:
        return self.content[key]

    def __contains__(self, item: str) -> bool:
        return item in self.content

    def __iter__(self) -> Iterator[str]:  # type: ignore[override] # a text's characters, not a model's fields
        return iter(self.content)

    def __add__(self, other: Any) -> Any:
        if isinstance(other, Reasoning):
            return Reasoning(self.content + other.content)
        return self.content + other

    def __radd__(self, other: str) -> str:
        return other + self.content

    def __getattr__(self, name: str) -> Any:
        # Everything else that a text can do, such as `strip`.
        if not name.startswith("_") and hasattr(str, name):
            return getattr(self.content, name)
        raise AttributeError(f"`Reasoning` object has no attribute '{name}'.")


def native_effort(lm: BaseLM, params: dict[str, Any]) -> str | None:
    """Return the effort to ask of a model that reasons by itself, or None to have it write the field.

    Args:
        lm: The model.
        params: Parameters of the call; they go before the model's own.
    """
    effort = params.get("reasoning_effort", lm.kwargs.get("reasoning_effort", _DEFAULT_EFFORT))
    return effort if lm.supports_reasoning else None
