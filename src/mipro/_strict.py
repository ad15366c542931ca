"""JSON schemas in the strict form that servers decode by."""

from __future__ import annotations

from typing import Any


def make_strict(part: dict[str, Any]) -> bool:
    """Close every object of a schema in place, so that it needs all its properties and takes no others.

    Args:
        part: The schema; changed in place, also where it can't be made strict.

    Returns:
        Whether that is possible: not with keys that are not known in advance, nor with a value of any type.
    """
    part.pop("default", None)
    if not part or ("additionalProperties" in part and part["additionalProperties"] is not False):
        return False
    if "$ref" in part and not part.keys() <= {"$ref", "$defs"}:
        # A description beside a reference is refused by servers; beside a choice of one it is not.
        part["anyOf"] = [{"$ref": part.pop("$ref")}]
    if part.get("type") == "object":
        part.setdefault("properties", {})
        part["required"] = list(part["properties"])
        part["additionalProperties"] = False
    inner: list[Any] = [*part.get("properties", {}).values(), *part.get("$defs", {}).values()]
    for key in ("anyOf", "oneOf", "allOf", "prefixItems"):
        inner.extend(part.get(key, ()))
    if part.get("type") == "array" and "prefixItems" not in part:
        inner.append(part.get("items", {}))
    return all(make_strict(item) for item in inner if isinstance(item, dict))
