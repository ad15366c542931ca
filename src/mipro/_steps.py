"""Driving a generator that asks for calls, sync or async: one core for both forms."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator

StepT = TypeVar("StepT")
ResultT = TypeVar("ResultT")


def drive(steps: Generator[StepT, Any, ResultT], make: Callable[[StepT], Any]) -> ResultT:
    """Make every call that a generator asks for, and return what it returns.

    Args:
        steps: Yields calls; it is sent what they return and thrown what they raise.
        make: Makes one call.
    """
    try:
        step = next(steps)
        while True:
            try:
                result = make(step)
            except Exception as error:  # noqa: BLE001, PERF203 - the generator decides what becomes of it
                step = steps.throw(error)
            else:
                step = steps.send(result)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return] # StopIteration is not generic


async def drive_async(
    steps: Generator[StepT, Any, ResultT], make: Callable[[StepT], Awaitable[Any]]
) -> ResultT:
    """Do as `drive`, awaiting each call."""
    try:
        step = next(steps)
        while True:
            try:
                result = await make(step)
            except Exception as error:  # noqa: BLE001, PERF203 - as in `drive`
                step = steps.throw(error)
            else:
                step = steps.send(result)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return] # StopIteration is not generic
