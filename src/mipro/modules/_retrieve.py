"""`Retrieve`: passages for a query, from the retriever that is configured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mipro.callback import notified
from mipro.context import settings
from mipro.errors import StateError, UserError
from mipro.example import Prediction
from mipro.modules._tree import Parameter

if TYPE_CHECKING:
    from collections.abc import Sequence


class Retrieve(Parameter):
    """Asks the retriever set by `configure(rm=...)`: any function `rm(query, k=...)`.

    It returns texts, or objects or dicts with a `long_text`.

    Args:
        k: How many passages.
        callbacks: See `Module`.

    Example:
        >>> def search(query, k):
        ...     return ["Rome is the capital of Italy."][:k]
        >>> with settings.context(rm=search):
        ...     Retrieve(k=1)("capital of Italy").passages
        ['Rome is the capital of Italy.']
    """

    def __init__(self, k: int = 3, callbacks: Sequence[Any] | None = None) -> None:
        self.k: int = k
        self.callbacks: list[Any] = list(callbacks or ())

    def __call__(self, *args: Any, **kwargs: Any) -> Prediction:
        """Ask the retriever; see `forward`."""
        with notified("module", self, {"args": args, "kwargs": kwargs}) as seen:
            return seen(self.forward(*args, **kwargs))

    def forward(self, query: str, k: int | None = None, **kwargs: Any) -> Prediction:
        """Return a prediction with `passages`, a list of texts.

        Args:
            query: What to look for.
            k: How many passages, in place of the constructor's.
            kwargs: Passed on to the retriever.

        Raises:
            UserError: No retriever is configured.
        """
        if settings.rm is None:
            raise UserError(
                "No RM is loaded: give a function `rm(query, k=...)` that returns passages, for example "
                "`mipro.configure(rm=search)`."
            )
        found = settings.rm(query, k=self.k if k is None else k, **kwargs)
        passages = found if isinstance(found, (list, tuple)) else [found]
        return Prediction(passages=[_text(passage) for passage in passages])

    def reset(self) -> None:
        """Forget nothing: there is nothing learned."""

    def dump_state(self) -> dict[str, Any]:
        """Return how many passages are asked for."""
        return {"k": self.k}

    def load_state(self, state: dict[str, Any]) -> None:
        """Take over what `dump_state` returned.

        Raises:
            StateError: It is of something else.
        """
        if set(state) != {"k"}:
            raise StateError(f"the state of a `Retrieve` must be {{'k': ...}}, but got {state!r}.")
        self.k = state["k"]


def _text(passage: Any) -> str:
    if isinstance(passage, dict):
        return str(passage["long_text"])
    return str(getattr(passage, "long_text", passage))
