"""Which parts of a message are images, sounds and files, and about how many tokens one has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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
