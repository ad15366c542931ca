"""`Module`: a program, made of predictors and of other modules."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, overload

from typing_extensions import Self

from mipro._names import of_dspy
from mipro.errors import UserError
from mipro.modules._copying import copy_as_deep_as_it_goes
from mipro.modules._saving import check_names, read_state, refuse_whole_program, write_state
from mipro.modules._scope import call_scope
from mipro.modules._tree import (
    Parameter,
    Place,
    parameter_places,
    set_attribute_by_name,
    sub_modules,
)
from mipro.signature import SignatureMeta

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Sequence
    from typing import TextIO

    from mipro.example import Example, Prediction
    from mipro.lm import BaseLM
    from mipro.modules._predict import Predict
    from mipro.optimize import OptimizationResult


__all__ = ["AnsweringModule", "Module", "ModuleMeta", "PredictorList", "set_attribute_by_name"]


class PredictorList(list["Predict"]):
    """The predictors of a program, as a list that may also be called."""

    def __call__(self) -> list[Predict]:
        """Return the predictors as a plain list."""
        return list(self)


class _Predictors:
    """Makes `program.predictors` a list that can be called, unless the program sets its own."""

    @overload
    def __get__(self, program: None, owner: type | None = None) -> Self: ...

    @overload
    def __get__(self, program: Module, owner: type | None = None) -> PredictorList: ...

    def __get__(self, program: Module | None, owner: type | None = None) -> Self | PredictorList:
        if program is None:
            return self
        return PredictorList(predictor for _, predictor in program.named_predictors())

    if TYPE_CHECKING:

        def __set__(self, program: Module, value: Any) -> None: ...


class ModuleMeta(type):
    """Gives every module its attributes, also where a subclass forgets `super().__init__()`."""

    if not TYPE_CHECKING:  # to a type checker `Predict(...)` is what its class says, as without a metaclass

        def __call__(cls, *args: Any, **kwargs: Any) -> Any:
            module = cls.__new__(cls, *args, **kwargs)
            if isinstance(module, cls):
                module._set_defaults()  # noqa: SLF001 - in place of an `__init__` that may not be called
                module.__init__(*args, **kwargs)
            return module

    @property
    def __signature__(cls) -> inspect.Signature:
        """What `help` and notebooks show: the arguments of a class's `__init__`, not of `__call__` above."""
        signature = inspect.signature(cls.__init__)  # type: ignore[misc] # a function, whatever class it is of
        return signature.replace(parameters=list(signature.parameters.values())[1:])


class Module(metaclass=ModuleMeta):
    """A program; subclasses define `forward`, and `aforward` where they are async.

    Predictors and modules set as attributes, also in lists, tuples and dicts, are
    found by optimizers, saved and loaded.

    Args:
        callbacks: Objects whose `on_module_start` and `on_module_end` are called.

    Attributes:
        history: The last calls to models made by this module, oldest first.

    Example:
        >>> class Answer(Module):
        ...     def __init__(self):
        ...         self.answer = Predict("question -> answer")
        ...
        ...     def forward(self, question):
        ...         return self.answer(question=question)
    """

    callbacks: list[Any]
    history: list[dict[str, Any]]
    _compiled: bool

    predictors: _Predictors = _Predictors()

    if TYPE_CHECKING:  # of what an optimizer returns; all but the first may be a program's own
        optimization: OptimizationResult
        score: Any
        trial_logs: Any
        candidate_programs: Any
        mb_candidate_programs: Any
        total_calls: Any
        prompt_model_total_calls: Any
        _attached: frozenset[str]

    def __init__(self, callbacks: Sequence[Any] | None = None) -> None:
        self._set_defaults()
        self.callbacks = list(callbacks or ())

    def _set_defaults(self) -> None:
        self.callbacks = []
        self.history = []
        self._compiled = False

    def __getstate__(self) -> dict[str, Any]:
        state = dict(self.__dict__)
        state.pop("history", None)
        state.pop("callbacks", None)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._set_defaults()
        self.__dict__.update(state)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the program."""
        with call_scope(self, args, kwargs) as done:
            return done(self._defined("forward")(*args, **kwargs))

    async def acall(self, *args: Any, **kwargs: Any) -> Any:
        """Run the program's `aforward`."""
        with call_scope(self, args, kwargs) as done:
            return done(await self._defined("aforward")(*args, **kwargs))

    if TYPE_CHECKING:  # only where a subclass defines them, since what serves programs looks which there are

        def forward(self, *args: Any, **kwargs: Any) -> Any: ...

        async def aforward(self, *args: Any, **kwargs: Any) -> Any: ...

    def _defined(self, name: str) -> Callable[..., Any]:
        work: Callable[..., Any] | None = getattr(self, name, None)
        if work is None:
            to_be = {"aforward": " to be awaited"}.get(name, "")
            raise NotImplementedError(f"`{type(self).__name__}` must define `{name}`{to_be}.")
        return work

    def _places(self) -> Iterator[Place]:
        return parameter_places(self, Module)

    def named_parameters(self) -> list[tuple[str, Parameter]]:
        """Return the parameters with their paths, in the order in which they were set."""
        return [(place.name, place.value) for place in self._places()]

    def named_predictors(self) -> list[tuple[str, Predict]]:
        """Return the predictors with their paths, in the order in which they were set."""
        from mipro.modules._predict import Predict  # noqa: PLC0415 - a Predict is a Module

        return [(name, value) for name, value in self.named_parameters() if isinstance(value, Predict)]

    def parameters(self) -> list[Parameter]:
        """Return the parameters, in the order in which they were set."""
        return [value for _, value in self.named_parameters()]

    def named_sub_modules(
        self, type_: type | None = None, skip_compiled: bool = False
    ) -> Iterator[tuple[str, Any]]:
        """Yield the modules below this one, itself first, with their paths.

        Args:
            type_: Which objects to yield; all modules by default.
            skip_compiled: Whether to leave out what is inside optimized modules.
        """
        return sub_modules(self, Module, wanted=type_ or Module, skip_compiled=skip_compiled)

    def map_named_predictors(self, func: Callable[[Predict], Any]) -> Self:
        """Put `func(predictor)` in the place of every predictor; return this module."""
        from mipro.modules._predict import Predict  # noqa: PLC0415 - a Predict is a Module

        new: dict[int, Any] = {}  # a predictor that is in two places stays one
        for place in list(parameter_places(self, Module, repeats=True)):
            if isinstance(place.value, Predict):
                if id(place.value) not in new:
                    new[id(place.value)] = func(place.value)
                place.replace(new[id(place.value)])
        return self

    def set_lm(self, lm: BaseLM | None) -> None:
        """Make every predictor use `lm`; None gives them back to the setting."""
        for _, predictor in self.named_predictors():
            predictor.lm = lm

    def get_lm(self) -> BaseLM | None:
        """Return the model that all predictors use.

        Raises:
            UserError: They use different ones.
        """
        models = {name: predictor.lm for name, predictor in self.named_predictors()}
        if len({id(model) for model in models.values()}) != 1:
            raise UserError(
                f"Multiple LMs are being used in the module, or none: {models}; read `lm` of a predictor, or "
                "make all use one with `set_lm`."
            )
        return next(iter(models.values()))

    def deepcopy(self) -> Self:
        """Return a copy that shares nothing with this one but its models and what can't be copied."""
        memo: dict[int, Any] = {
            id(lm): lm for _, predictor in self.named_predictors() if (lm := predictor.lm) is not None
        }
        copied: Self = copy_as_deep_as_it_goes(self, memo)
        return copied

    def reset_copy(self) -> Self:
        """Return a copy without demos, traces and models."""
        copied = self.deepcopy()
        for parameter in copied.parameters():
            parameter.reset()
        return copied

    def dump_state(self, json_mode: bool = True) -> dict[str, Any]:
        """Return what optimizers have set, by path of the predictor, as plain values."""
        del json_mode  # there is no other
        return {name: parameter.dump_state() for name, parameter in self.named_parameters()}

    def load_state(self, state: dict[str, Any], *, allow_unsafe_lm_state: bool = False) -> Any:
        """Take over what `dump_state` returned; all of it or, when it does not fit, nothing.

        Args:
            state: The state; not modified.
            allow_unsafe_lm_state: Whether addresses of models are taken over too. Only for
                files you trust: your key is sent there.

        Raises:
            StateError: The state is of another program.
        """
        check_names(state, [name for name, _ in self.named_parameters()])
        for program in (self.deepcopy(), self):  # the copy raises before anything is touched
            for name, parameter in program.named_parameters():
                if isinstance(parameter, Module):
                    parameter.load_state(state[name], allow_unsafe_lm_state=allow_unsafe_lm_state)
                else:
                    parameter.load_state(state[name])

    def save(
        self,
        path: str | os.PathLike[str],
        save_program: bool = False,
        modules_to_serialize: Sequence[Any] | None = None,
    ) -> None:
        """Write what optimizers have set to a JSON file, whole or not at all.

        Args:
            path: The file, with any ending or none, but no pickle's.
            save_program: Must stay False: a whole program would be a pickle.
            modules_to_serialize: Not used.

        Raises:
            UserError: A pickle was asked for.
            StateError: A demo holds what JSON can't.
        """
        del modules_to_serialize
        if save_program:
            refuse_whole_program()
        write_state(self.dump_state(), path, signatures=self._signatures())

    def load(
        self,
        path: str | os.PathLike[str],
        allow_pickle: bool = False,
        allow_unsafe_lm_state: bool = False,
    ) -> None:
        """Take over what `save`, or DSPy's `save` to JSON, wrote.

        Args:
            path: The file.
            allow_pickle: Of no effect: pickles are never loaded.
            allow_unsafe_lm_state: See `load_state`.

        Raises:
            UserError: There is no such file, or it is a pickle.
            StateError: It is of another program or a newer version.
        """
        del allow_pickle  # a JSON file needs no leave, and a pickle is not read with any
        state = read_state(path, signatures=self._signatures())
        self.load_state(state, allow_unsafe_lm_state=allow_unsafe_lm_state)

    def _signatures(self) -> dict[str, str]:
        return {name: predictor.signature.signature for name, predictor in self.named_predictors()}

    def batch(
        self,
        examples: Sequence[Example],
        num_threads: int | None = None,
        max_errors: int | None = None,
        return_failed_examples: bool = False,
        provide_traceback: bool | None = None,
        disable_progress_bar: bool = False,
        timeout: float = 120,
        straggler_limit: int = 3,
    ) -> Any:
        """Run the program on the inputs of each example, in threads; see `Parallel`."""
        from mipro.modules._parallel import Parallel  # noqa: PLC0415 - it is rarely needed

        parallel = Parallel(
            num_threads=num_threads,
            max_errors=max_errors,
            return_failed_examples=return_failed_examples,
            provide_traceback=provide_traceback,
            disable_progress_bar=disable_progress_bar,
            timeout=timeout,
            straggler_limit=straggler_limit,
        )
        return parallel([(self, example.inputs()) for example in examples])

    def inspect_history(self, n: int = 1, file: TextIO | None = None) -> None:
        """Show the last `n` calls to models made by this module."""
        from mipro.lm._history import pretty_print_history  # noqa: PLC0415 - it is rarely needed

        pretty_print_history(self.history, n, file=file)

    def __repr__(self) -> str:
        return "\n".join(f"{name} = {predictor}" for name, predictor in self.named_predictors())


def check_module(name: str, program: Any) -> None:
    """Refuse what is no program.

    Args:
        name: How it is called.
        program: What was given.
    """
    if not isinstance(program, Module):
        todo = ""
        if isinstance(program, (str, SignatureMeta)):
            todo = "; make a program of the signature first, such as Predict(signature)"
        elif isinstance(program, type):
            todo = "; make one of this class first"
        raise UserError(
            f"`{name}` must be a program, a `mipro.Module` such as Predict(...), but got "
            f"{of_dspy(program) or repr(program) + todo}."
        )


BaseModule = Module  # under the name that DSPy has it by, in a module of this path


if TYPE_CHECKING:

    class AnsweringModule(Module):
        """A module whose `forward` returns what a predictor says, for type checkers."""

        def __call__(self, *args: Any, **kwargs: Any) -> Prediction:
            """Run the module."""

        async def acall(self, *args: Any, **kwargs: Any) -> Prediction:
            """Run the module, awaiting its models."""

else:
    AnsweringModule = Module
