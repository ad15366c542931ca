"""Whether anybody looks on, and what they may be shown."""

import sys
from typing import TextIO

# All but line breaks and tabs: those of a model's answer may move the cursor, hide or send text.
_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"}


def is_watched() -> bool:
    """Return whether standard error is a terminal.

    What runs without a console, such as a service or `pythonw`, has no standard error, or a closed one.
    """
    try:
        return sys.stderr.isatty()
    except (AttributeError, ValueError):  # None, or closed
        return False


def encodable(text: str, stream: TextIO | None) -> str:
    """Return `text` with escapes for what the encoding of `stream` has not, such as lone surrogates."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def printable(text: str) -> str:
    r"""Return `text`, of a model or of data, as standard output can show it and a terminal obeys none of it.

    Example:
        >>> printable(chr(27) + "[31mred")
        '\\x1b[31mred'
    """
    return encodable(text.replace("\r\n", "\n").translate(_CONTROLS), sys.stdout)
