"""`BestOfN`: a program run several times, and the best answer taken."""

from __future__ import annotations

import functools
import logging
import math
from typing import TYPE_CHECKING, Any

from mipro._steps import drive, drive_async
from mipro.context import context, settings
from mipro.errors import LMError, RunStopped, UserError
from mipro.modules._module import Module
from mipro.modules._trace import place_in_trace

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from mipro.example import Prediction
    from mipro.modules._trace import Place

_log = logging.getLogger("mipro.modules")


class _Attempt:
    """One run of a copy of the program, every model drawing afresh: number `number` of `most`."""

    def __init__(self, module: Module, inputs: dict[str, Any], number: int, most: int) -> None:
        self.module = module.deepcopy()
        self.inputs = inputs
        self.calls: list[Any] = []
        for predictor in self.module.predictors:
            lm = predictor.lm or settings.lm
            if lm is not None:
                # No two of those around this one, another attempt or round, may lead to the same draw.
                start = (lm.kwargs.get("rollout_id") or 0) * (most + 1)
                predictor.lm = lm.copy(rollout_id=start + number, temperature=1.0)

    def run(self) -> Any:
        with context(trace=self.calls):
            return self.module(**self.inputs)

    async def arun(self) -> Any:
        with context(trace=self.calls):
            return await self.module.acall(**self.inputs)


class BestOfN(Module):
    """Runs a program up to `N` times at temperature 1 and returns the prediction with the best reward.

    Args:
        module: The program.
        N: How many attempts at most.
        reward_fn: `reward_fn(inputs, prediction)` returns a number, higher is better.
        threshold: The first attempt with this reward or more is taken.
        fail_count: How many attempts may raise; `N` by default.

    Raises:
        UserError: `N` is less than 1.
    """

    def __init__(
        self,
        module: Module,
        N: int,  # noqa: N803 - DSPy's name
        reward_fn: Callable[[dict[str, Any], Prediction], float],
        threshold: float,
        fail_count: int | None = None,
    ) -> None:
        super().__init__()
        if N < 1:
            raise UserError(f"`N` must be at least 1, but got {N!r}.")
        self.module = module
        self.N = N
        # A program as judge is no part of this one.
        self.reward_fn: functools.partial[float] = functools.partial(reward_fn)
        self.threshold = threshold
        self.fail_count: int = N if fail_count is None else fail_count

    def forward(self, **kwargs: Any) -> Any:
        """Run the attempts."""
        with place_in_trace() as place:
            return drive(self._steps(kwargs, place), _Attempt.run)

    async def aforward(self, **kwargs: Any) -> Any:
        """Run the attempts, awaiting each."""
        with place_in_trace() as place:
            return await drive_async(self._steps(kwargs, place), _Attempt.arun)

    def _steps(self, inputs: dict[str, Any], place: Place | None) -> Generator[_Attempt, Any, Any]:
        """Yield the attempts to make; an error is raised when none succeeds or too many fail."""
        best, best_reward, calls = None, -math.inf, []
        failures: list[Exception] = []
        for number in range(1, self.N + 1):
            attempt = _Attempt(self.module, inputs, number, self.N)
            try:
                prediction = yield attempt
                reward = float(self.reward_fn(inputs, prediction))
            except (RunStopped, LMError):
                raise
            except Exception as error:
                _log.warning("attempt %d failed: %s: %s", number, type(error).__name__, error)
                failures.append(error)
                if len(failures) > self.fail_count:
                    raise
                continue
            if best is None or reward > best_reward:
                best, calls = prediction, self._traced(attempt)
                best_reward = max(best_reward, reward)  # any reward is above NaN
            if reward >= self.threshold:
                break
        if best is None and failures:
            raise failures[-1]
        if place is not None:
            place.fill(calls)
        return best

    def _traced(self, attempt: _Attempt) -> list[Any]:
        """Return the calls of an attempt as calls of this program's own predictors."""
        own = dict(zip(map(id, attempt.module.predictors), self.module.predictors, strict=True))
        return [(own.get(id(predictor), predictor), *rest) for predictor, *rest in attempt.calls]
