"""The one gate that every call to a model passes during a run."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import logging
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mipro.errors import (
    BudgetExhausted,
    LMAuthError,
    LMError,
    LMNotFoundError,
    LMRateLimitError,
    LMTransientError,
    LMUnansweredError,
    RunInterrupted,
    RunStopped,
    StateError,
)
from mipro.lm import LMResponse, delay_s
from mipro.runs._budget import Amounts, most_of, used_by
from mipro.runs._line import Line
from mipro.runs._records import ALIVE, PASSED_OVER, CallRecord, EventRecord, FailureRecord, SentRecord
from mipro.runs._unseen import Unseen

if TYPE_CHECKING:
    from collections.abc import Iterable
    from random import Random

    from mipro.lm import BaseLM, LMRequest
    from mipro.runs._budget import Account
    from mipro.runs._store import Store
    from mipro.runs._writer import Writer

PATIENCE_S = 300.0
"""Seconds without any answer after which a run stops."""
FIRST_PATIENCE_S = 60.0
"""The same for a model that has not answered yet in this session: more likely a wrong address."""
PERSISTENCE = 16
"""Requests in vain, at least, before a stage that needs an answer goes on without it. At 30 % failures
a healthy call comes to that once in 10^8."""
MAX_ROUND_WAIT = 4
"""Power of two that the wait between rounds of requests stops growing at."""
ALONE_S = 60.0
"""Seconds of silence after which such a stage goes on where nothing else is asked meanwhile, so that
nobody can tell a call that the model stumbles over from a model that is down."""
HEARTBEAT_S = 5.0
"""Seconds of running that a kill -9 may hide from the budget."""
FIRST_REFUSAL_S = 0.25
MAX_REFUSAL_S = 30.0

logger = logging.getLogger("mipro")


@dataclass(slots=True)
class _Call:
    """One call that is being paid for, until it is answered or given up."""

    lm: BaseLM
    request: LMRequest
    stage: str
    subject: str
    patient: bool
    failed: int = 0
    """Requests that got no answer."""
    refused: int = 0
    """Requests that were told to come later."""
    answers: int = 0
    """How often the model had answered anything when the present round of requests began."""
    began: float = field(default_factory=time.monotonic)


class GateCore:
    """Ledger, budget, retries and pace of one run. Lives on the I/O loop, needs no locks.

    Args:
        store: Answers what was asked before.
        writer: Keeps what is new.
        account: The budget.
        rng: Draws the jitter of retries.
        run_dir: Named in errors.
        patience_s: Seconds without any answer of a model after which the run stops.
        passed_over: Stage and key of the calls that earlier sessions went on without.
        is_new: Whether the store holds no call of an earlier session.
    """

    def __init__(
        self,
        store: Store,
        writer: Writer,
        account: Account,
        rng: Random,
        run_dir: str,
        *,
        patience_s: float = PATIENCE_S,
        passed_over: Iterable[tuple[str, str]] = (),
        is_new: bool = False,
    ) -> None:
        self.failures: Counter[str] = Counter()
        self.paid_calls = 0
        self.replayed_calls = 0
        self._store = store
        self._writer = writer
        self._account = account
        self._rng = rng
        self._run_dir = run_dir
        self._patience_s = patience_s
        self._passed_over = set(passed_over)
        self._unseen = Unseen() if is_new else None
        self._unconfirmed: list[EventRecord] = []
        self._in_flight: dict[str, asyncio.Future[LMResponse]] = {}
        self._lines: dict[str, Line] = {}
        self._stop: RunStopped | LMError | None = None
        self._stopped = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._beat_at = time.monotonic()

    def stop(self, error: RunStopped | LMError) -> None:
        """Refuse every further call with `error`; calls in flight are finished and kept."""
        if self._stop is None:
            self._stop = error
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._stopped.set)

    def abort(self) -> None:
        """Leave the calls in flight; those who wait for them get the reason of the stop."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._cancel_all)

    def _cancel_all(self) -> None:
        for flight in list(self._in_flight.values()):
            flight.cancel()

    @property
    def stopped(self) -> RunStopped | LMError | None:
        """Why no further call is made, or None."""
        return self._stop

    async def answer(
        self, lm: BaseLM, request: LMRequest, stage: str, *, subject: str = "", patient: bool = False
    ) -> LMResponse:
        """Answer from the ledger, from a call in flight, or by paying; once for each key.

        Args:
            lm: The model to ask.
            request: What to ask.
            stage: Stage that pays.
            subject: What the call is about: one that is never answered is no sign of a dead model.
            patient: Give up a call only if it is the call that the model stumbles over, and in this
                stage for good; pause the run where it may be the model.
        """
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        key = request.key
        while (flight := self._in_flight.get(key)) is not None:
            # The first to ask may fail or be cancelled; then the next one pays.
            await asyncio.wait([flight])
            if not flight.cancelled() and flight.exception() is None:
                return dataclasses.replace(flight.result(), cached=True)
        if (stage, key) in self._passed_over:
            raise LMUnansweredError(f"{request.model} never answered this call; it was passed over before.")
        is_unseen = self._unseen is not None and key in self._unseen
        record = None if is_unseen else self._store.find_call(key)
        if record is not None:
            self.replayed_calls += 1
            return dataclasses.replace(LMResponse.from_json(record.response), cached=True)
        call = _Call(lm, request, stage, subject or key, patient)
        flight = asyncio.ensure_future(self._pay(call))
        self._in_flight[key] = flight
        flight.add_done_callback(lambda done: self._landed(key, done))
        try:
            # An answer on its way is kept even when the one who asked has gone.
            return await asyncio.shield(flight)
        except asyncio.CancelledError:
            if flight.cancelled():
                raise self._stop or RunStopped("the run was stopped.") from None
            raise

    def _landed(self, key: str, flight: asyncio.Future[LMResponse]) -> None:
        del self._in_flight[key]
        if not flight.cancelled():
            flight.exception()  # marks it as seen: the one who asked may have gone

    async def _pay(self, call: _Call) -> LMResponse:
        line = self._lines.setdefault(call.lm.identity, Line())
        call.answers = line.answers
        while True:
            try:
                response = await self._attempt(call.lm, call.request, line, call.stage)
            except LMRateLimitError as error:  # noqa: PERF203 - the loop is about the failures
                call.refused += 1
                self._check_patience(line, error)
                if error.retry_after_s is None:
                    wait_s = min(FIRST_REFUSAL_S * 2.0 ** min(call.refused - 1, 16), MAX_REFUSAL_S)
                    await self._sleep(wait_s * self._rng.uniform(0.5, 1.0))
            except LMTransientError as error:
                call.failed += 1
                self._check_patience(line, error)
                if not line.paused:
                    await self._try_again(call, line, error)
            else:
                line.answered(call.subject)
                self.confirm()
                record = _record(call.request, response, call.stage, 1 + call.failed + call.refused)
                await self._writer.keep(record)
                if self._unseen is not None:
                    self._unseen.note(record.key)
                self._beat()
                self.paid_calls += 1
                return response

    async def _try_again(self, call: _Call, line: Line, error: LMTransientError) -> None:
        """Return when the call may be sent again, after a wait or with the line paused.

        Raises:
            LMTransientError: The call is given up.
        """
        if call.patient and self._is_hopeless(call, line):
            raise self._pass_over(call, error) from error
        rounds, left = divmod(call.failed, call.lm.num_retries + 1)
        wait = delay_s(error, left or min(rounds, MAX_ROUND_WAIT), self._rng)
        if left and wait is not None:
            await self._sleep(wait)
        elif line.gave_up(call.subject):
            self._pause(line, error)
        elif call.patient:
            call.answers = line.answers
            await self._sleep(wait or 0.0)
        else:
            raise error

    def _is_hopeless(self, call: _Call, line: Line) -> bool:
        """Tell whether a call was tried long enough, and it is the call and not the model."""
        patience_s = self._patience_of(line)
        lasts_s = time.monotonic() - call.began
        lasting = call.failed >= PERSISTENCE or (call.failed > 1 and lasts_s >= patience_s)
        alone = line.answers > 0 and line.failing_s() >= min(ALONE_S, 0.5 * patience_s)
        return lasting and (line.answers > call.answers or alone)

    def _pass_over(self, call: _Call, error: LMTransientError) -> LMUnansweredError:
        request = call.request
        logger.warning("passing over a call that %s never answers: %s", request.model, error)
        self._passed_over.add((call.stage, request.key))
        data = json.dumps({"stage": call.stage, "key": request.key, "error": str(error)})
        self._unconfirmed.append(EventRecord(PASSED_OVER, data, time.time()))
        return LMUnansweredError(
            f"{request.model} never answered this call, but others; the last failure: {error}",
            model=request.model,
            status=error.status,
        )

    def confirm(self) -> None:
        """Keep which calls were passed over, before anything is built on it.

        Not at once: where a run ends with nothing built on it, as with a model that turns out to
        be down, the calls are made when the run goes on.
        """
        unconfirmed, self._unconfirmed = self._unconfirmed, []
        for event in unconfirmed:
            self._writer.put(event)

    async def _attempt(self, lm: BaseLM, request: LMRequest, line: Line, stage: str) -> LMResponse:
        async with line.turn(self._sleep) as probe:
            if self._stop is not None:
                raise self._stop
            wanted = most_of(request, lm.price_usd) if self._account.is_limited else Amounts(lm_calls=1)
            await self._reserve(wanted, request.key)
            used = Amounts(lm_calls=1)
            try:
                response = await lm.send(request)
                used = used_by(response)
            except LMError as error:
                self._note_failure(line, error, probe=probe)
                self.failures[type(error).__name__] += 1
                kind = type(error).__name__
                self._writer.put(FailureRecord(request.key, stage, request.model, kind, str(error)))
                raise
            finally:
                self._account.settle(wanted, used)
            return response

    async def _reserve(self, wanted: Amounts, key: str) -> None:
        try:
            await self._account.reserve(wanted)
        except BudgetExhausted as error:
            self.stop(error)
            raise
        if self._account.is_limited:
            # Kept before the call is sent, so that a kill -9 hides no call from the budget.
            sent = SentRecord(key, wanted.tokens, wanted.cost_usd)
            await self._writer.keep(sent)

    def _note_failure(self, line: Line, error: LMError, *, probe: bool) -> None:
        if isinstance(error, LMRateLimitError):
            line.refused(error.retry_after_s)
        elif isinstance(error, LMTransientError):
            line.failed(probe=probe, retry_after_s=error.retry_after_s)
        else:
            line.answered()
        if isinstance(error, (LMAuthError, LMNotFoundError)):
            self.stop(error)

    def _pause(self, line: Line, error: LMTransientError) -> None:
        logger.warning(
            "pausing: %s Trying again for up to %.0f s; Ctrl-C ends the run, everything is kept.",
            error,
            self._patience_of(line),
        )
        line.pause()

    def _patience_of(self, line: Line) -> float:
        return self._patience_s if line.answers else min(self._patience_s, FIRST_PATIENCE_S)

    def _check_patience(self, line: Line, error: LMTransientError) -> None:
        asked_s = error.retry_after_s or 0.0
        if line.failing_s() + asked_s < self._patience_of(line):
            return
        told = f", and the model asks to wait {asked_s:.0f} s more" if asked_s else ""
        self.stop(
            RunInterrupted(
                f"there was no answer for {line.failing_s():.0f} s{told}; the last failure: {error} "
                f"Everything is kept in {self._run_dir}; when the server is back, start the same "
                f"script again with run_dir={self._run_dir!r} and it goes on where it stopped.",
                run_dir=self._run_dir,
            )
        )
        raise self._stop or error

    async def _sleep(self, seconds: float) -> None:
        """Wait, but not longer than until the run stops."""
        try:
            await asyncio.wait_for(self._stopped.wait(), min(seconds, self._account.seconds_left))
        except asyncio.TimeoutError:
            return
        raise self._stop or RunStopped("the run was stopped.")

    def _beat(self) -> None:
        now = time.monotonic()
        if now - self._beat_at >= HEARTBEAT_S:
            self._beat_at = now
            self._writer.put(EventRecord(ALIVE, "{}", time.time()))


class StageGate:
    """The gate as one stage, or one evaluation of it, sees it; what `context(gate=...)` is given.

    Attributes:
        failure: The last failure of infrastructure that a caller was told, or None. A program
            may catch it; what it answers then is still no measurement. A ledger that can't be
            written is one, too.
    """

    def __init__(self, core: GateCore, stage: str, *, subject: str, patient: bool) -> None:
        self.failure: LMTransientError | RunStopped | StateError | None = None
        self._core = core
        self._stage = stage
        self._subject = subject
        self._patient = patient

    async def call(self, lm: BaseLM, request: LMRequest) -> LMResponse:
        """Answer `request`; see `mipro.context.Gate`."""
        try:
            return await self._core.answer(
                lm, request, self._stage, subject=self._subject, patient=self._patient
            )
        except (LMTransientError, RunStopped, StateError) as error:
            self.failure = error
            raise


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
