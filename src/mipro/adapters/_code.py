"""`Code`: program text as an input or an output."""

from __future__ import annotations

import functools
import re
from typing import Any, ClassVar

import pydantic

from mipro.adapters._type import Type

_FENCED = re.compile(r"```(?:[^\n`]*\n)?(.*?)```", re.DOTALL)


class Code(Type):
    """Program text; what stands around a fenced block in an answer is left out.

    `Code["java"]` is the same for another language.

    Example:
        >>> Code["java"](code="Here it is: ```return 1;```").code
        'return 1;'
    """

    code: str
    """The text."""

    language: ClassVar[str] = "python"

    def __class_getitem__(cls, language: str) -> type[Code]:  # type: ignore[override] # no type parameter
        """Return this type for another language, the same each time.

        Raises:
            TypeError: `language` is no text.
        """
        if not isinstance(language, str):
            raise TypeError(f"a language must be a text, as in Code['java'], but got {language!r}")
        return _in_language(cls, language)

    def format(self) -> str:
        """Return the text."""
        return self.code

    @classmethod
    def description(cls) -> str:
        """Return what the model is told about the type."""
        return (
            f"Code in a fenced block, ```{cls.language.lower()} ... ```. Programming language: {cls.language}"
        )

    @pydantic.model_validator(mode="before")
    @classmethod
    def _validate(cls, data: Any) -> Any:
        if isinstance(data, Code):
            return {"code": data.code}
        text = data.get("code") if isinstance(data, dict) else data
        if not isinstance(text, str):  # pydantic turns a ValueError into its own error, no other
            raise ValueError(f"`{cls.__name__}` must be a text or have a text `code`, but got {data!r}")  # noqa: TRY004
        fenced = _FENCED.search(text)
        return {"code": fenced.group(1).strip() if fenced else text}


@functools.cache
def _in_language(kind: type[Code], language: str) -> type[Code]:
    other: type[Code] = pydantic.create_model(f"{kind.__name__}_{language}", __base__=kind)
    other.language = language
    return other
