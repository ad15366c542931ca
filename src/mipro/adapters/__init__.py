"""Adapters: how a signature becomes a prompt, and an answer typed fields."""

from mipro.adapters._base import Adapter, Answers
from mipro.adapters._chat import ChatAdapter, FieldInfoWithName
from mipro.adapters._history import History
from mipro.adapters._image import Image
from mipro.adapters._json import JSONAdapter
from mipro.adapters._reasoning import Reasoning
from mipro.adapters._tool import Tool
from mipro.adapters._tool_calls import ToolCallResults, ToolCalls
from mipro.adapters._type import Type
from mipro.adapters._values import as_plain, is_optional, type_name

__all__ = [
    "Adapter",
    "Answers",
    "ChatAdapter",
    "FieldInfoWithName",
    "History",
    "Image",
    "JSONAdapter",
    "Reasoning",
    "Tool",
    "ToolCallResults",
    "ToolCalls",
    "Type",
    "as_plain",
    "is_optional",
    "type_name",
]
