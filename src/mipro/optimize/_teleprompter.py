"""`Teleprompter`: what all optimizers have in common."""

from __future__ import annotations

from typing import Any


class Teleprompter:
    """Base of the optimizers, under the name that DSPy gave it.

    A subclass keeps its constructor's arguments as attributes and overrides `compile`,
    which returns an improved copy of the program and leaves what it was given as it was.
    """

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
