"""Field types under the names that users of DSPy import them from."""

from mipro.adapters import Citations, Document

__all__ = ["Citations", "Document"]
