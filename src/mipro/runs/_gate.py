"""The one gate that every call to a model passes during a run."""

from __future__ import annotations

import asyncio
import dataclasses
from collections import Counter
from typing import TYPE_CHECKING

from mipro.errors import (
    BudgetExhausted,
    LMAuthError,
    LMError,
    LMNotFoundError,
    LMRateLimitError,
    LMTransientError,
    RunInterrupted,
    RunStopped,
)
from mipro.lm import LMResponse, delay_s
from mipro.runs._budget import Amounts, most_of, used_by
from mipro.runs._limiter import Limiter
from mipro.runs._records import CallRecord

if TYPE_CHECKING:
    from random import Random

    from mipro.lm import BaseLM, LMRequest
    from mipro.runs._budget import Account
    from mipro.runs._store import Store
    from mipro.runs._writer import Writer

PATIENCE = 20
"""Calls given up in a row, with no answer between them, after which the server counts as dead."""


class GateCore:
    """Ledger, budget, retries and concurrency of one run. Lives on the I/O loop, needs no locks."""

    def __init__(self, store: Store, writer: Writer, account: Account, rng: Random, run_dir: str) -> None:
        self.failures: Counter[str] = Counter()
        self.paid_calls = 0
        self.replayed_calls = 0
        self._store = store
        self._writer = writer
        self._account = account
        self._rng = rng
        self._run_dir = run_dir
        self._in_flight: dict[str, asyncio.Future[LMResponse]] = {}
        self._limiters: dict[str, Limiter] = {}
        self._given_up = 0
        self._stop: RunStopped | LMError | None = None

    def stop(self, error: RunStopped | LMError) -> None:
        """Refuse every further call with `error`; calls in flight are finished and kept."""
        if self._stop is None:
            self._stop = error

    @property
    def stopped(self) -> RunStopped | LMError | None:
        """Why no further call is made, or None."""
        return self._stop

    async def answer(self, lm: BaseLM, request: LMRequest, stage: str) -> LMResponse:
        """Answer from the ledger, from a call in flight, or by paying; once for each key."""
        key = request.key
        while (flight := self._in_flight.get(key)) is not None:
            # The first to ask may fail or be cancelled; then the next one pays.
            await asyncio.wait([flight])
            if not flight.cancelled() and flight.exception() is None:
                return dataclasses.replace(flight.result(), cached=True)
        record = self._store.find_call(key)
        if record is not None:
            self.replayed_calls += 1
            return dataclasses.replace(LMResponse.from_json(record.response), cached=True)
        flight = asyncio.ensure_future(self._pay(lm, request, stage))
        self._in_flight[key] = flight
        flight.add_done_callback(lambda done: self._landed(key, done))
        # An answer on its way is kept even when the one who asked has gone.
        return await asyncio.shield(flight)

    def _landed(self, key: str, flight: asyncio.Future[LMResponse]) -> None:
        del self._in_flight[key]
        if not flight.cancelled():
            flight.exception()  # marks it as seen: the one who asked may have gone

    async def _pay(self, lm: BaseLM, request: LMRequest, stage: str) -> LMResponse:
        attempts = 0
        while True:
            attempts += 1
            try:
                response = await self._attempt(lm, request)
            except LMTransientError as error:
                self.failures[type(error).__name__] += 1
                wait_s = delay_s(error, attempts, self._rng) if attempts <= lm.num_retries else None
                if wait_s is None:
                    self._give_up(error)
                    raise
                await asyncio.sleep(wait_s)
            else:
                await asyncio.wrap_future(self._writer.put(_record(request, response, stage, attempts)))
                self.paid_calls += 1
                return response

    async def _attempt(self, lm: BaseLM, request: LMRequest) -> LMResponse:
        limiter = self._limiters.setdefault(lm.identity, Limiter())
        async with limiter.slot() as epoch:
            if self._stop is not None:
                raise self._stop
            wanted = most_of(request, lm.price_usd)
            try:
                await self._account.reserve(wanted)
            except BudgetExhausted as error:
                self.stop(error)
                raise
            used = Amounts(lm_calls=1)
            try:
                response = await lm.send(request)
                used = used_by(response)
            except LMRateLimitError:
                limiter.throttled(epoch)
                raise
            except (LMAuthError, LMNotFoundError) as error:
                self.stop(error)
                raise
            finally:
                await self._account.settle(wanted, used)
            limiter.succeeded()
            self._given_up = 0
            return response

    def _give_up(self, error: LMTransientError) -> None:
        self._given_up += 1
        if self._given_up >= PATIENCE:
            self.stop(
                RunInterrupted(
                    f"{self._given_up} calls in a row got no answer, the last with: {error} "
                    f"Everything is kept in {self._run_dir}; when the server is back, start the same "
                    f"script again with run_dir={self._run_dir!r} and it goes on where it stopped.",
                    run_dir=self._run_dir,
                )
            )


class StageGate:
    """The gate as one stage of the run sees it; what `context(gate=...)` is given."""

    def __init__(self, core: GateCore, stage: str) -> None:
        self._core = core
        self._stage = stage

    async def call(self, lm: BaseLM, request: LMRequest) -> LMResponse:
        """Answer `request`; see `mipro.context.Gate`."""
        return await self._core.answer(lm, request, self._stage)


def _record(request: LMRequest, response: LMResponse, stage: str, attempts: int) -> CallRecord:
    return CallRecord(
        key=request.key,
        stage=stage,
        model=request.model,
        response=response.to_json(),
        prompt_tokens=response.usage.prompt_tokens,
        completion_tokens=response.usage.completion_tokens,
        cost_usd=response.cost_usd,
        latency_s=response.latency_s,
        attempts=attempts,
    )
