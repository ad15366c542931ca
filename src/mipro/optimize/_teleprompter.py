"""`Teleprompter`: what all optimizers have in common."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, TypeVar

from mipro.callback import with_callbacks

if TYPE_CHECKING:
    from collections.abc import Callable

    from mipro.modules import Module

Program = TypeVar("Program", bound="Module")
"""What `compile` is given, and returns an improved copy of."""


class Teleprompter:
    """Base of the optimizers, under the name that DSPy gave it.

    A subclass keeps its constructor's arguments as attributes and overrides `compile`,
    which returns an improved copy of the program and leaves what it was given as it was.
    Callbacks are told of it.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "compile" in vars(cls):
            cls.compile = _told(cls.compile)  # type: ignore[method-assign] # the same, observed

    def compile(
        self, student: Any, *, trainset: Any, teacher: Any = None, valset: Any = None, **kwargs: Any
    ) -> Any:
        """Return an improved copy of `student`.

        Args:
            student: Program to improve; not modified.
            trainset: Training examples.
            teacher: Program that makes demos, where the optimizer uses one.
            valset: Examples to choose by, where the optimizer uses some.
            kwargs: Arguments of the optimizer in question.

        Raises:
            NotImplementedError: This is the base class.
        """
        raise NotImplementedError(f"`{type(self).__name__}` must override `compile`.")

    def get_params(self) -> dict[str, Any]:
        """Return the arguments that the optimizer was made with, by name."""
        return {name: value for name, value in vars(self).items() if not name.startswith("_")}


def _told(compile_: Callable[..., Any]) -> Callable[..., Any]:
    """Return a `compile` that tells callbacks when it starts and ends."""
    observed = with_callbacks(compile_, "compile")

    @functools.wraps(compile_)
    def told(self: Teleprompter, *args: Any, **kwargs: Any) -> Any:
        # An override that calls this one through `super()` has been told of: it is one compile.
        return (observed if type(self).compile is told else compile_)(self, *args, **kwargs)

    return told
