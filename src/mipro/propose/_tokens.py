"""About how many tokens a value takes in a prompt, images and sound included."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from mipro.adapters import Type
from mipro.adapters._type import with_content_blocks
from mipro.propose._text import token_estimate

MEDIA_TOKENS = 1000
"""Of an image, a sound or a file, whatever its size. A picture of 1024 x 1024 points is 765 tokens to
OpenAI's models and about 1,400 to Anthropic's (its area in points by 750)."""
_MEDIA = frozenset(["image_url", "image", "input_audio", "file", "document"])


def value_tokens(value: Any) -> int:
    """Return about how many tokens a field's value has in a prompt."""
    if isinstance(value, Type):
        value = value.format()
    elif isinstance(value, BaseModel):
        value = dict(value)
    if isinstance(value, str):
        # A saved demo holds its images as marked text.
        return content_tokens(with_content_blocks({"role": "user", "content": value})["content"])
    if isinstance(value, Mapping):
        if value.get("type") in _MEDIA:
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
    return MEDIA_TOKENS if block.get("type") in _MEDIA else token_estimate(json.dumps(block, default=str))
