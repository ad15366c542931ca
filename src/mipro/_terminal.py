"""Whether anybody looks on, and what they may be shown."""

from __future__ import annotations

import importlib.util
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console
    from rich.progress import Progress

# All but line breaks and tabs: those of a model's answer may move the cursor, hide or send text.
_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"}


def is_watched() -> bool:
    """Return whether somebody sees a bar: standard error is a terminal, or the process a notebook's kernel.

    What runs without a console, such as a service or `pythonw`, has no standard error, or a closed one.
    """
    try:
        return sys.stderr.isatty() or in_notebook()
    except (AttributeError, ValueError):  # None, or closed
        return False


def in_notebook() -> bool:
    """Tell whether this process is the kernel of a notebook."""
    ipython = sys.modules.get("IPython")  # a kernel has imported it
    shell = ipython.get_ipython() if ipython is not None else None
    return "IPKernelApp" in getattr(shell, "config", {})


def error_console() -> Console:
    """Return a console on standard error; plain where a notebook has no widgets to draw a bar with."""
    from rich.console import Console  # noqa: PLC0415 - heavy, and only where something is shown

    has_widgets = importlib.util.find_spec("ipywidgets") is not None
    return Console(stderr=True, force_jupyter=None if has_widgets else False)


@contextmanager
def drawn(bars: Progress) -> Iterator[Progress]:
    """Draw `bars` inside the block, and how they stand at its end: in a notebook Rich leaves that out."""
    with bars:
        try:
            yield bars
        finally:
            bars.refresh()


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
