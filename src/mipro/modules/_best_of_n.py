"""`BestOfN`: a program run several times, and the best answer taken."""

from __future__ import annotations

import functools
import inspect
import logging
import math
from numbers import Real
from operator import methodcaller
from typing import TYPE_CHECKING, Any, Protocol

from mipro._steps import drive, drive_async
from mipro._takes import takes
from mipro._whole import is_whole
from mipro.context import context, settings
from mipro.errors import LMError, RunStopped, UserError
from mipro.modules._module import Module, check_module
from mipro.modules._predict import Predict
from mipro.modules._trace import place_in_trace
from mipro.signature import NOT_IN_DEMOS, InputField

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

    from mipro.example import Prediction
    from mipro.modules._trace import Place

_log = logging.getLogger("mipro.modules")
_HINT = "hint_"  # DSPy's name


class Step(Protocol):
    """Something to run, or to await, before the next attempt."""

    def run(self) -> Any:
        """Run it."""

    async def arun(self) -> Any:
        """Run it, awaiting its models."""


class Attempt:
    """One run of a copy of a program, every model drawing afresh.

    Args:
        module: The program; not modified.
        inputs: Its inputs.
        number: Which attempt it is, from 1.
        most: How many there may be.
        hints: By the names of predictors, what their prompts are to say beside.
    """

    def __init__(
        self, module: Module, inputs: dict[str, Any], number: int, most: int, hints: Mapping[str, str]
    ) -> None:
        self.module = module.deepcopy()
        self.inputs = inputs
        self.hints = hints
        self.calls: list[Any] = []
        """The calls of the copy's predictors, as a trace has them."""
        self.predictors = _predictors(self.module)
        """The copy's predictors, by name."""
        self._own: dict[int, tuple[Predict, str]] = {}
        for (name, predictor), own in zip(self.predictors.items(), _predictors(module).values(), strict=True):
            lm = predictor.lm or settings.lm
            if lm is not None:
                # No two of those around this one, another attempt or round, may lead to the same draw.
                start = (lm.kwargs.get("rollout_id") or 0) * (most + 1)
                predictor.lm = lm.copy(rollout_id=start + number, temperature=1.0)
            self._own[id(predictor)] = (own, self._hint(predictor, hints.get(name, "")))

    @staticmethod
    def _hint(predictor: Predict, hint: str) -> str:
        """Give a predictor a hint in an input field, whose name is returned, "" without a hint."""
        if not hint:
            return ""
        name = _HINT
        while name in predictor.signature.fields:
            name += "_"
        # The default is what a call gets that does not know of the field.
        field = InputField(
            default=hint, desc="advice from an earlier attempt", json_schema_extra={NOT_IN_DEMOS: True}
        )
        predictor.signature = predictor.signature.append(name, field, str)
        return name

    def run(self) -> Any:
        """Run the copy."""
        with context(trace=self.calls):
            return self.module(**self.inputs)

    async def arun(self) -> Any:
        """Run the copy, awaiting its models."""
        with context(trace=self.calls):
            return await self.module.acall(**self.inputs)

    def own_calls(self) -> list[Any]:
        """Return the calls as those of the program's own predictors, who know of no hint."""
        traced = []
        for predictor, inputs, prediction in self.calls:
            own, hint = self._own.get(id(predictor), (predictor, ""))
            if hint:
                inputs = {name: value for name, value in inputs.items() if name != hint}  # noqa: PLW2901
                if prediction.completions is not None:
                    prediction.completions.signature = own.signature
            traced.append((own, inputs, prediction))
        return traced


class BestOfN(Module):
    """Runs a program up to `N` times at temperature 1 and returns the prediction with the best reward.

    Args:
        module: The program.
        N: How many attempts at most.
        reward_fn: `reward_fn(inputs, prediction)` returns a number, higher is better. While it runs,
            `mipro.settings.trace` has the calls of the attempt.
        threshold: The first attempt with this reward or more is taken; with None all are made.
        fail_count: How many attempts may raise; `N` by default.

    Raises:
        UserError: `module` is no program, `N` is less than 1, `reward_fn` can't be called with two
            arguments or must be awaited, or `threshold` or `fail_count` is no number.
    """

    def __init__(
        self,
        module: Module,
        N: int,  # noqa: N803 - DSPy's name
        reward_fn: Callable[[dict[str, Any], Prediction], Any],
        threshold: float | None,
        fail_count: int | None = None,
    ) -> None:
        super().__init__()
        check_module("module", module)
        if not is_whole(N, 1):
            raise UserError(f"`N` must be a whole number of at least 1, but got {N!r}.")
        _check_reward(reward_fn)
        if threshold is not None and (not isinstance(threshold, Real) or math.isnan(threshold)):
            raise UserError(f"`threshold` must be a number, or None for all attempts, but got {threshold!r}.")
        if fail_count is not None and not is_whole(fail_count, 0):
            raise UserError(
                f"`fail_count` must be a whole number of at least 0, or None for `N`, but got {fail_count!r}."
            )
        self.module = module
        self.N = N
        # A program as judge is no part of this one.
        self.reward_fn: functools.partial[Any] = functools.partial(reward_fn)
        self.threshold = threshold
        self.fail_count: int = N if fail_count is None else fail_count

    def forward(self, **kwargs: Any) -> Any:
        """Run the attempts."""
        with place_in_trace() as place:
            return drive(self._steps(kwargs, place), methodcaller("run"))

    async def aforward(self, **kwargs: Any) -> Any:
        """Run the attempts, awaiting each."""
        with place_in_trace() as place:
            return await drive_async(self._steps(kwargs, place), methodcaller("arun"))

    def _steps(self, inputs: dict[str, Any], place: Place | None) -> Generator[Step, Any, Any]:
        """Yield the attempts to make; an error is raised when none succeeds or too many fail."""
        best, best_reward, calls = None, -math.inf, []
        hints: Mapping[str, str] = {}
        failures: list[Exception] = []
        for number in range(1, self.N + 1):
            attempt = Attempt(self.module, inputs, number, self.N, hints)
            try:
                prediction = yield attempt
                # The calls of a judge are none of the program's.
                with context(trace=list(attempt.calls)):
                    reward = self.reward_fn(inputs, prediction)
                height = float(reward)
            except (RunStopped, LMError):
                raise
            except Exception as error:
                _log.warning("attempt %d failed: %s: %s", number, type(error).__name__, error)
                failures.append(error)
                if len(failures) > self.fail_count:
                    raise
                continue
            if best is None or height > best_reward:
                best, calls = prediction, attempt.own_calls()
                best_reward = max(best_reward, height)  # any reward is above NaN
            if self.threshold is not None and height >= self.threshold:
                break
            if number < self.N:
                hints = yield from self._hints(attempt, prediction, reward)
        if best is None and failures:
            raise failures[-1]
        if place is not None:
            place.fill(calls)
        return best

    def _hints(
        self, attempt: Attempt, prediction: Any, reward: Any
    ) -> Generator[Step, Any, Mapping[str, str]]:
        """Return what the predictors are told at the next attempt, by their names: nothing."""
        del attempt, prediction, reward  # for `Refine`
        return {}
        yield  # a generator, as that of `Refine`


def _predictors(module: Module) -> dict[str, Predict]:
    """Return the predictors by name, those of parts that were optimized before included: all draw afresh."""
    found = dict(module.named_predictors())
    known = set(map(id, found.values()))
    inside = module.named_sub_modules(Predict)
    return found | {path: predictor for path, predictor in inside if id(predictor) not in known}


def _check_reward(reward_fn: Any) -> None:
    """Refuse what can't be called with inputs and prediction, or gives something to await."""
    of = "`reward_fn` must be a function of (inputs, prediction)"
    if not callable(reward_fn):
        raise UserError(f"{of}, but got {reward_fn!r}.")
    if inspect.iscoroutinefunction(reward_fn):
        raise UserError(f"{of} that returns a number, but got one to await; define it without `async`.")
    if not isinstance(reward_fn, Module) and not takes(reward_fn, 2):
        taken = ", ".join(inspect.signature(reward_fn, follow_wrapped=False).parameters)
        raise UserError(f"{of}, but it takes ({taken}) and can't be called with two arguments.")
