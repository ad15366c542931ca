"""One program on one example: the prediction, its score, or what went wrong."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import threading
import traceback as tracebacks
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from mipro._takes import takes
from mipro.errors import AdapterParseError, LMError, LMRequestError, RunStopped
from mipro.evaluate._score import score_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mipro.example import Example

Failure: TypeAlias = Literal["", "parse", "request", "lm", "program", "metric"]
"""Why there is no proper score: the answer could not be parsed, the request was refused
(too long, filtered), the model could not be reached, the program raised, the metric
raised or its judge's answer could not be parsed; "" where nothing failed."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one program on one example."""

    score: float | None
    """As the metric returned it; the failure score where parse, request, program or
    metric failed; None where the model could not be reached, since that is no score."""
    prediction: Any = None
    """What the program returned, or None where it did not."""
    feedback: str = ""
    """The metric's word on the score."""
    failure: Failure = ""
    """What failed, or ""."""
    error: BaseException | None = None
    """The exception of the failure."""
    traceback: str = ""
    """Where the program or the metric raised, as text."""
    value: Any = None
    """What the metric returned, as it came."""
    num_calls: int = 0
    """Entries of the trace that are the program's; those after them are the metric's."""

    @property
    def raised(self) -> bool:
        """Whether code of the user raised, other than for what a model answered."""
        return self.failure in {"program", "metric"} and not isinstance(self.error, AdapterParseError)


def run_example(
    program: Callable[..., Any],
    example: Example,
    metric: Callable[..., Any],
    *,
    failure_score: float = 0.0,
    trace: list[Any] | None = None,
) -> Outcome:
    """Run a program on an example's inputs and score what it returns.

    An asynchronous program or metric is awaited.

    Args:
        program: Called with the inputs by name.
        example: The example, inputs set.
        metric: See `Metric`.
        failure_score: Score where the answer can't be parsed, the model refuses the
            request, or program or metric raise.
        trace: Given to the metric where it is not None and the metric takes it.

    Returns:
        The outcome; exceptions of program and metric are part of it.

    Raises:
        RunStopped: The run that calls pass through ended.
        UserError: The example does not say which fields are inputs.
    """
    from mipro.modules._trace import as_they_are  # noqa: PLC0415 - the layer of programs loads when one is run

    # Its own: what a program appends to an input would be in the next trial's question.
    inputs = as_they_are(dict(example.inputs().items()))
    try:
        prediction = _answer(program, **inputs)
    except RunStopped:
        raise
    except Exception as error:  # noqa: BLE001 - the user's own code may raise anything
        return _failed(error, "program", failure_score)
    num_calls = len(trace or ())
    try:
        more = (trace,) if trace is not None and takes(metric, 3) else ()
        value = _answer(metric, example, prediction, *more)
        score, feedback = score_of(value)
    except RunStopped:
        raise
    except Exception as error:  # noqa: BLE001 - the user's own code may raise anything
        return _failed(error, "metric", failure_score, prediction)
    return Outcome(score, prediction, feedback, value=value, num_calls=num_calls)


def _failed(
    error: Exception, place: Literal["program", "metric"], score: float, prediction: Any = None
) -> Outcome:
    """Return what became of an example, inside the handler of what was raised."""
    if isinstance(error, LMRequestError):  # too many demos, say: no later try is answered either
        return Outcome(score, prediction, failure="request", error=error)
    if isinstance(error, LMError):  # of an LM judge, too
        return Outcome(None, prediction, failure="lm", error=error)
    if isinstance(error, AdapterParseError) and place == "program":
        return Outcome(score, failure="parse", error=error)
    return Outcome(score, prediction, failure=place, error=error, traceback=tracebacks.format_exc())


def _answer(function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """Return what a program or a metric says, either of which may be a module that is asynchronous only."""
    kind = type(function)
    acall = getattr(function, "acall", None)
    if acall is not None and hasattr(kind, "aforward") and not hasattr(kind, "forward"):
        return _awaited(acall(*args, **kwargs))
    return _awaited(function(*args, **kwargs))


def _awaited(value: Any) -> Any:
    """Return `value`, or what it yields when it must be awaited."""
    if not inspect.isawaitable(value):
        return value
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(_finish(value))
    # The caller's thread has a running loop (a notebook), which must not be entered twice.
    result: Future[Any] = Future()
    inside = contextvars.copy_context()

    def finish() -> None:
        try:
            result.set_result(inside.run(asyncio.run, _finish(value)))
        except BaseException as error:  # noqa: BLE001 - handed over to the waiting thread
            result.set_exception(error)

    threading.Thread(target=finish, name="mipro-await", daemon=True).start()
    return result.result()


async def _finish(value: Awaitable[Any]) -> Any:
    return await value
