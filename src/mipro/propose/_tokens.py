"""About how many tokens a value takes in a prompt, images and sound included."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from mipro.adapters import Type
from mipro.adapters._media import MEDIA_TOKENS, MEDIA_TYPES, is_media
from mipro.adapters._type import with_content_blocks
from mipro.propose._text import token_estimate


def value_tokens(value: Any) -> int:
    """Return about how many tokens a field's value has in a prompt."""
    if isinstance(value, Type):
        value = value.format()
    elif isinstance(value, BaseModel):
        value = dict(BaseModel.__iter__(value))  # the model's own may go through its items
    if isinstance(value, str):
        # A saved demo holds its images as marked text.
        return content_tokens(with_content_blocks({"role": "user", "content": value})["content"])
    if isinstance(value, Mapping):
        if value.get("type") in MEDIA_TYPES:
            return _block_tokens(value)
        return sum(token_estimate(str(name)) + value_tokens(item) for name, item in value.items())
    if isinstance(value, (list, tuple, set, frozenset)):
        return sum(map(value_tokens, value))
    return token_estimate(str(value))


def content_tokens(content: Any) -> int:
    """Return about how many tokens the content of a message has: text, or a list of blocks."""
    return token_estimate(content) if isinstance(content, str) else sum(map(_block_tokens, content))


def _block_tokens(block: Mapping[str, Any]) -> int:
    if block.get("type") == "text":
        return token_estimate(str(block.get("text", "")))
    source = block.get("source")
    if isinstance(source, Mapping) and source.get("type") == "text":
        return token_estimate(str(source.get("data", "")))
    return MEDIA_TOKENS if is_media(block) else token_estimate(json.dumps(block, default=str))
