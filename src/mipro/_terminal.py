"""Whether anybody looks on."""

import sys


def is_watched() -> bool:
    """Return whether standard error is a terminal.

    What runs without a console, such as a service or `pythonw`, has no standard error, or a closed one.
    """
    try:
        return sys.stderr.isatty()
    except (AttributeError, ValueError):  # None, or closed
        return False
