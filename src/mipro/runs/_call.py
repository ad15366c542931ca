"""One call on its way through the gate, and one request of it that a model is answering."""

from __future__ import annotations

import hashlib
import time
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mipro.runs._records import CallRecord, FailureRecord

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AbstractAsyncContextManager

    from mipro.lm import BaseLM, LMRequest, LMResponse
    from mipro.runs._budget import Amounts
    from mipro.runs._line import Line


@dataclass(slots=True)
class Call:
    """One call that is being paid for, until it is answered or given up."""

    lm: BaseLM
    request: LMRequest
    key: str
    stage: str
    subject: str
    patient: bool
    within: Send | None = None
    """The request that this call is made inside of."""
    failed: int = 0
    """Requests that got no answer."""
    refused: int = 0
    """Requests that were told to come later."""
    answers: int = 0
    """How often the model had answered anything when the present round of requests began."""
    began: float = field(default_factory=time.monotonic)

    def turn(
        self, line: Line, sleep: Callable[[float], Awaitable[None]]
    ) -> AbstractAsyncContextManager[bool]:
        """Wait until the call may be sent; see `Line.turn`."""
        if self.within is not None and line in self.within.lines:
            # The request around it has the turn, and may be the one that all others wait for.
            return nullcontext(False)
        return line.turn(sleep)

    def failure(self, kind: str, error: str) -> FailureRecord:
        """Return what is kept of a request that got no answer; see `FailureRecord`."""
        return FailureRecord(self.key, self.stage, self.request.model, kind, error)

    def record(self, response: LMResponse, *, is_paid: bool) -> CallRecord:
        """Return what is kept of the call.

        Args:
            response: The answer.
            is_paid: Whether it was paid for, and not only the calls inside.
        """
        return CallRecord(
            key=self.key,
            stage=self.stage,
            model=self.request.model,
            response=response.to_json(),
            prompt_tokens=response.usage.prompt_tokens if is_paid else 0,
            completion_tokens=response.usage.completion_tokens if is_paid else 0,
            cost_usd=response.cost_usd if is_paid else 0.0,
            latency_s=response.latency_s,
            attempts=1 + self.failed + self.refused if is_paid else 0,
        )


@dataclass(slots=True, eq=False)
class Send:
    """One request that a model is answering, which may make calls of its own for that."""

    call: Call
    keys: frozenset[str]
    """Keys of the call and of those that it is made inside of."""
    lines: tuple[Line, ...]
    """Lines that they have a turn of."""
    reserved: Amounts | None
    """What is set aside for it; None once that was settled."""
    is_open: bool = True
    """Whether the model is still at it."""
    has_calls: bool = False
    """Whether calls were made inside of it."""

    def key_of(self, key: str) -> str:
        """Return the key of a call inside that asks `key`, another than those of the calls around it."""
        while key in self.keys:
            key = hashlib.sha256(f"inside {key}".encode()).hexdigest()
        return key
