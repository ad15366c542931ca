"""Signatures under the names that users of DSPy import them from."""

from mipro import signature as _signature
from mipro._paths import lend
from mipro.signature import (
    InputField,
    OutputField,
    Signature,
    SignatureMeta,
    ensure_signature,
    infer_prefix,
    make_signature,
)

__all__ = [
    "InputField",
    "OutputField",
    "Signature",
    "SignatureMeta",
    "ensure_signature",
    "infer_prefix",
    "make_signature",
]

__path__ = lend(__name__, field=_signature, signature=_signature)
