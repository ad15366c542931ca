"""`Retrieve`: passages for a query, from the retriever that is configured."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from mipro.callback import notified
from mipro.context import settings
from mipro.errors import StateError, UserError
from mipro.example import Example, Prediction
from mipro.modules._tree import Parameter

if TYPE_CHECKING:
    from collections.abc import Sequence


class Retrieve(Parameter):
    """Asks the retriever set by `configure(rm=...)`: any function `rm(query, k=...)`.

    It returns texts, or objects or dicts with a `long_text`: a list or any iterable of them, or
    a prediction with `passages`.

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
            UserError: No retriever is configured, or what it returned are no passages.
        """
        if settings.rm is None:
            raise UserError(
                "No RM is loaded: give a function `rm(query, k=...)` that returns passages, for example "
                "`mipro.configure(rm=search)`."
            )
        found = settings.rm(query, k=self.k if k is None else k, **kwargs)
        return Prediction(passages=[_text(passage) for passage in _listed(found)])

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


def _listed(found: Any) -> list[Any]:
    """Return what was found as a list: one passage or several, also from a module that retrieves."""
    found = getattr(found, "passages", found)
    if isinstance(found, (str, Mapping, Example)) or hasattr(found, "long_text"):
        return [found]
    return list(found) if isinstance(found, Iterable) else [found]


def _text(passage: Any) -> str:
    text = (
        passage.get("long_text") if isinstance(passage, Mapping) else getattr(passage, "long_text", passage)
    )
    if not isinstance(text, str):  # its repr would be shown to the model, as if it had been found
        raise UserError(
            "the retriever must return texts, or objects or dicts with a text `long_text`, but got "
            f"{type(passage).__name__}: {passage!r}; have `rm` return the texts."
        )
    return str(text)  # and no text of numpy's
