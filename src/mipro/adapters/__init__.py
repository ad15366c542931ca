"""Adapters: how a signature becomes a prompt, and an answer typed fields."""

import sys

from mipro._paths import lend
from mipro.adapters import (
    _audio,
    _base,
    _chat,
    _citations,
    _code,
    _file,
    _history,
    _image,
    _json,
    _reasoning,
    _tool_calls,
    _type,
    _xml,
)
from mipro.adapters._audio import Audio
from mipro.adapters._base import Adapter, Answers
from mipro.adapters._chat import ChatAdapter, FieldInfoWithName
from mipro.adapters._citations import Citations, Document
from mipro.adapters._code import Code
from mipro.adapters._file import File
from mipro.adapters._history import History
from mipro.adapters._image import Image
from mipro.adapters._json import JSONAdapter
from mipro.adapters._reasoning import Reasoning
from mipro.adapters._tool import Tool
from mipro.adapters._tool_calls import ToolCallResults, ToolCalls
from mipro.adapters._type import Type
from mipro.adapters._values import as_plain, is_optional, type_name
from mipro.adapters._xml import XMLAdapter

__all__ = [
    "Adapter",
    "Answers",
    "Audio",
    "ChatAdapter",
    "Citations",
    "Code",
    "Document",
    "FieldInfoWithName",
    "File",
    "History",
    "Image",
    "JSONAdapter",
    "Reasoning",
    "Tool",
    "ToolCallResults",
    "ToolCalls",
    "Type",
    "XMLAdapter",
    "as_plain",
    "is_optional",
    "type_name",
]

# The paths that users of DSPy import from; the field types are all in this room.
lend(
    __name__,
    base=_base,
    chat_adapter=_chat,
    json_adapter=_json,
    xml_adapter=_xml,
    types=sys.modules[__name__],
)
lend(
    f"{__name__}.types",
    audio=_audio,
    base_type=_type,
    citation=_citations,
    code=_code,
    document=_citations,
    file=_file,
    history=_history,
    image=_image,
    reasoning=_reasoning,
    tool=_tool_calls,
)
