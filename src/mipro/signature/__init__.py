"""Signatures: what a predictor is given, what it must answer, and how it is told."""

from mipro.signature._fields import (
    FIELD_NAME,
    IS_FORMATTED,
    NOT_IN_DEMOS,
    TYPE_IS_UNDEFINED,
    InputField,
    OutputField,
    extra_of,
    infer_prefix,
    role_of,
)
from mipro.signature._meta import SignatureMeta
from mipro.signature._signature import AnySignature, Signature, ensure_signature, make_signature
from mipro.signature._types import unaliased

__all__ = [
    "FIELD_NAME",
    "IS_FORMATTED",
    "NOT_IN_DEMOS",
    "TYPE_IS_UNDEFINED",
    "AnySignature",
    "InputField",
    "OutputField",
    "Signature",
    "SignatureMeta",
    "ensure_signature",
    "extra_of",
    "infer_prefix",
    "make_signature",
    "role_of",
    "unaliased",
]
