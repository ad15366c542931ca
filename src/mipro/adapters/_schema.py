"""The JSON schema of a signature's outputs, in the strict form that servers decode by."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import pydantic

from mipro._strict import make_strict
from mipro.adapters._values import type_adapter

if TYPE_CHECKING:
    from mipro.signature import Signature

_schemas: WeakKeyDictionary[type[Signature], dict[str, Any] | None] = WeakKeyDictionary()
_lock = threading.Lock()


def response_schema(signature: type[Signature]) -> dict[str, Any] | None:
    """Return `response_format` for the outputs of `signature`; built once per signature.

    None where the strict form can't say it: a dict with keys not known in advance, a
    value of any type, a type without a schema.
    """
    if signature not in _schemas:
        built = _build(signature)
        with _lock:
            _schemas[signature] = built
    return _schemas[signature]


def _build(signature: type[Signature]) -> dict[str, Any] | None:
    outputs = {name: info.annotation for name, info in signature.output_fields.items()}
    try:
        adapters: list[Any] = [(name, "validation", type_adapter(outputs[name])) for name in outputs]
        by_field, shared = pydantic.TypeAdapter.json_schemas(adapters)
    except (pydantic.errors.PydanticUserError, ValueError):
        return None
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {name: by_field[(name, "validation")] for name in outputs},
    }
    if shared.get("$defs"):
        schema["$defs"] = shared["$defs"]
    if not make_strict(schema):
        return None
    return {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": schema}}
