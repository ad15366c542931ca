"""Keeping linear algebra to one thread while a search decides.

The matrices of a search are small. The threads of a BLAS gain nothing on them, but wait for the next
one at full speed, and so take the processors from the threads that speak with the model: with 100
of those, half of all processor time. One thread also adds up in one order on every machine.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

_lock = threading.Lock()
_controller: Any = None


@contextmanager
def one_thread() -> Iterator[None]:
    """Let every BLAS of the process use one thread inside the block, and as many as before afterwards.

    One block at a time: with two, the one that ends last would put back the other's one thread.
    """
    global _controller  # noqa: PLW0603 - the one place that owns it
    with _lock:
        if _controller is None:
            from threadpoolctl import ThreadpoolController  # noqa: PLC0415 - looks through all loaded libraries

            _controller = ThreadpoolController()
        with _controller.limit(limits=1, user_api="blas"):
            yield
