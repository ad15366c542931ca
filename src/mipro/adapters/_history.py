"""`History`: earlier turns of a conversation, as an input field."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import pydantic

if TYPE_CHECKING:
    from mipro.signature import Signature


class History(pydantic.BaseModel):
    """Earlier turns: for each a dict with the fields of the signature.

    Example:
        >>> History(messages=[{"question": "Capital of France?", "answer": "Paris"}])
        History(messages=[{'question': 'Capital of France?', 'answer': 'Paris'}])
    """

    messages: list[dict[str, Any]]
    """The turns, oldest first."""

    model_config: ClassVar[pydantic.ConfigDict] = pydantic.ConfigDict(
        frozen=True, str_strip_whitespace=True, extra="forbid"
    )


def history_field(signature: type[Signature]) -> str | None:
    """Return the name of the input field of type `History`, if there is one."""
    for name, field in signature.input_fields.items():
        if field.annotation is History:
            return name
    return None
