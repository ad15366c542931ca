"""What an adapter of one's own is made of, under the names that users of DSPy import it from."""

from mipro.adapters._read import read_value as parse_value
from mipro.adapters._values import as_plain as serialize_for_json
from mipro.adapters._values import type_name as get_annotation_name
from mipro.adapters._values import value_text as format_field_value

__all__ = ["format_field_value", "get_annotation_name", "parse_value", "serialize_for_json"]
