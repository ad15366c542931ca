"""The one gate that every call to a model passes during a run."""

from __future__ import annotations

import asyncio
import concurrent.futures
import dataclasses
import json
import logging
import math
import os
import time
from collections import Counter
from typing import TYPE_CHECKING

from mipro.context import context
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
    UserError,
)
from mipro.evaluate._threads import SIGNAL_CHECK_S
from mipro.lm import LMResponse, Usage, delay_s
from mipro.lm._backends import is_local
from mipro.runs._budget import Amounts, most_of, used_by
from mipro.runs._call import Call, Send
from mipro.runs._late import first_answer
from mipro.runs._line import Line
from mipro.runs._records import ALIVE, MADE_OF_CALLS, PASSED_OVER, UNCOUNTED, EventRecord, SentRecord, damaged
from mipro.runs._stage_gate import StageGate
from mipro.runs._unseen import Unseen

if TYPE_CHECKING:
    from collections.abc import Iterable
    from random import Random
    from typing import TypeAlias

    from mipro.lm import BaseLM, LMRequest
    from mipro.runs._budget import Account
    from mipro.runs._records import Record
    from mipro.runs._store import Store
    from mipro.runs._writer import Writer

    Reason: TypeAlias = RunStopped | LMError | UserError
    _Flights: TypeAlias = set[asyncio.Future[LMResponse]]

PATIENCE_S = 300.0
"""Seconds without any answer after which a run stops."""
FIRST_PATIENCE_S = 60.0
"""The same for a model whose server has not said anything yet in this session: more likely a wrong
address."""
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
LANDING_S = 1.0
"""Seconds after which it is said that the end of a run waits for calls in flight."""

LATE = "LMTimeoutError"
"""Kind of the failure of one of two requests, of which the other was answered first."""
NOT_COUNTED = (
    "%d answers came without a count of tokens (`usage`), so that the budget took each for as many as it "
    "can have had. Let the server count them, or set `max_tokens`."
)

logger = logging.getLogger("mipro")


class GateCore:
    """Ledger, budget, retries and pace of one run. Lives on the I/O loop, needs no locks.

    A model may be made of others: a router, a log, a vote of several. Then what is paid for are
    the calls inside. Each of them passes the gate as every call does, so it is kept, and paid once.
    The call around them gives its reservation back when the first of them comes, since they would
    wait for it, and costs nothing, whatever usage it reports. Its answer is kept with no request
    and no tokens, so that a replay does not even ask the models inside. A call inside that has the
    key of one around it, as where a wrapper goes by the name of what it wraps, is kept under a key
    made from that one. An answer given in spite of a call inside that the run refused is not kept.

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
        self.paid_calls: int = 0
        self.replayed_calls: int = 0
        self.uncounted: int = 0
        """Answers that a budget of tokens or dollars got without a count of tokens."""
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
        self._stop: Reason | None = None
        self._stopped = asyncio.Event()
        self._is_closed = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._beat_at = time.monotonic()
        self._pid = os.getpid()
        self._epoch = time.time() - self._beat_at

    def now(self) -> float:
        """Return the seconds since the epoch by a clock that nobody sets and no sleep moves.

        Seconds of running are told by the times of events.
        """
        return self._epoch + time.monotonic()

    def stop(self, error: Reason) -> None:
        """Refuse every further call with `error`; calls in flight are finished and kept."""
        if self._stop is None:
            self._stop = error
            if self._loop is not None and not self._loop.is_closed():
                self._loop.call_soon_threadsafe(self._wake_all, error)

    def _wake_all(self, error: Reason) -> None:
        self._stopped.set()
        self._account.end(error)

    def abort(self) -> None:
        """Leave the calls in flight; those who wait for them get the reason of the stop."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._cancel_all)

    def _cancel_all(self) -> None:
        for flight in list(self._in_flight.values()):
            flight.cancel()

    def close(self) -> None:
        """Refuse every further call, known answers included, and wait until those in flight are kept.

        Not to be called on the I/O loop. Calls are left where they take longer than the patience,
        or where Ctrl-C is pressed.
        """
        self.stop(RunStopped(f"the run in {self._run_dir} is closed, so no call can be made in it any more."))
        self._is_closed = True
        # Only now: a call that comes meanwhile sees either that it is too late, or is waited for.
        loop = self._loop
        if loop is None or not loop.is_running():
            return
        landed = asyncio.run_coroutine_threadsafe(self._land(), loop)
        try:
            while not concurrent.futures.wait([landed], SIGNAL_CHECK_S).done:
                pass
        except BaseException:
            self.abort()
            concurrent.futures.wait([landed], LANDING_S)
            raise

    async def _land(self) -> None:
        late = await _left_after(LANDING_S, set(self._in_flight.values()))
        if late:
            logger.warning(
                "waiting for %d calls in flight, for %.0f s at most; press Ctrl-C to leave them.",
                len(late),
                self._patience_s,
            )
        late = await _left_after(self._patience_s, late)
        if late:
            logger.warning("leaving %d calls in flight, which were not answered in time.", len(late))
            self._cancel_all()
            await _left_after(LANDING_S, late)

    @property
    def stopped(self) -> Reason | None:
        """Why no further call is made, or None."""
        return self._stop

    async def answer(
        self,
        lm: BaseLM,
        request: LMRequest,
        stage: str,
        *,
        subject: str = "",
        patient: bool = False,
        within: Send | None = None,
    ) -> LMResponse:
        """Answer from the ledger, from a call in flight, or by paying; once for each key.

        Args:
            lm: The model to ask.
            request: What to ask.
            stage: Stage that pays.
            subject: What the call is about: one that is never answered is no sign of a dead model.
            patient: Give up a call only if it is the call that the model stumbles over, and in this
                stage for good; pause the run where it may be the model.
            within: The request that the call is made inside of; see the class.

        Raises:
            LMError: The model failed and trying again did not help, or refused for good.
            RunStopped: The run has stopped, or is closed.
            StateError: The answer can't be kept, or the one that was kept can't be read.
            UserError: The price of the model is not known, and the budget limits the cost; or the call is
                made in a forked child.
        """
        self._check_process()
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        key = request.key
        if within is not None:
            key = within.key_of(key)
            self._give_back(within)
        while (flight := self._in_flight.get(key)) is not None:
            # The first to ask may fail or be cancelled; then the next one pays.
            await asyncio.wait([flight])
            if not flight.cancelled() and flight.exception() is None:
                return dataclasses.replace(flight.result(), cached=True)
        if self._is_closed:
            raise self._stop or RunStopped("the run is closed.")
        if (stage, key) in self._passed_over:
            raise LMUnansweredError(f"{request.model} never answered this call; it was passed over before.")
        if (known := self._recorded(key)) is not None:
            self.replayed_calls += 1
            return dataclasses.replace(known, cached=True)
        call = Call(lm, request, key, stage, subject or key, patient, within)
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

    def _check_process(self) -> None:
        if os.getpid() != self._pid:  # where no thread is left that would keep the answer
            raise UserError(
                "a call to a model in a run must be made in the process of the run, which keeps the answer, "
                "but this one was made in a child that it forked; use threads (`mipro.Parallel`), or return "
                "what the child finds and ask the model after that."
            )

    def _recorded(self, key: str) -> LMResponse | None:
        if self._unseen is not None and key in self._unseen:
            return None
        record = self._store.find_call(key)
        if record is None:
            return None
        try:
            return LMResponse.from_json(record.response)
        except (ValueError, RecursionError) as error:
            # Else it would count as the program's, and the run go on another way.
            told = damaged("answers", error)
            self.stop(told)
            raise told from error

    def _landed(self, key: str, flight: asyncio.Future[LMResponse]) -> None:
        del self._in_flight[key]
        if not flight.cancelled():
            flight.exception()  # marks it as seen: the one who asked may have gone

    async def _pay(self, call: Call) -> LMResponse:
        line = self._lines.setdefault(call.lm.identity, Line())
        call.answers = line.answers
        while True:
            try:
                response, is_paid = await self._attempt(call, line)
            except LMRateLimitError as error:  # noqa: PERF203 - the loop is about the failures
                call.refused += 1
                self._check_patience(line, error)
                wait_s = error.retry_after_s
                if wait_s is None:
                    wait_s = min(FIRST_REFUSAL_S * 2.0 ** min(call.refused - 1, 16), MAX_REFUSAL_S)
                    wait_s *= self._rng.uniform(0.5, 1.0)
                await self._sleep(wait_s)
            except LMUnansweredError:
                # A call inside was passed over. To ask once more would not change that.
                raise
            except LMTransientError as error:
                call.failed += 1
                self._check_patience(line, error)
                if not line.paused:
                    await self._try_again(call, line, error)
            else:
                line.answered(call.subject)
                line.took(response.latency_s)
                self.confirm()
                await self._keep(call.record(response, is_paid=is_paid))
                if self._unseen is not None:
                    self._unseen.note(call.key)
                self._beat()
                self.paid_calls += is_paid
                return response

    async def _try_again(self, call: Call, line: Line, error: LMTransientError) -> None:
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

    def _is_hopeless(self, call: Call, line: Line) -> bool:
        """Tell whether a call was tried long enough, and it is the call and not the model."""
        patience_s = self._patience_of(line)
        lasts_s = time.monotonic() - call.began
        lasting = call.failed >= PERSISTENCE or (call.failed > 1 and lasts_s >= patience_s)
        alone = line.answers > 0 and line.failing_s() >= min(ALONE_S, 0.5 * patience_s)
        return lasting and (line.answers > call.answers or alone)

    def _pass_over(self, call: Call, error: LMTransientError) -> LMUnansweredError:
        request = call.request
        logger.warning("passing over a call that %s never answers: %s", request.model, error)
        self._passed_over.add((call.stage, call.key))
        data = json.dumps({"stage": call.stage, "key": call.key, "error": str(error)})
        self._unconfirmed.append(EventRecord(PASSED_OVER, data, self.now()))
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

    async def _attempt(self, call: Call, line: Line) -> tuple[LMResponse, bool]:
        """Return the answer of one request, and whether it was paid for itself; see the class."""
        async with call.turn(line, self._sleep) as probe:
            if self._stop is not None:
                raise self._stop
            send = await self._reserve(call, line)
            used = Amounts()
            try:
                if self._account.is_limited and send.reserved is not None:
                    # Kept before the call is sent, so that a kill -9 hides no call from the budget.
                    await self._keep(SentRecord(call.key, send.reserved.tokens, send.reserved.cost_usd))
                used = Amounts(lm_calls=1)
                response = await self._soonest(call, send, line)
                used = self._used_by(send, response)
            except LMError as error:
                self._note_failure(send, line, error, probe=probe)
                raise
            except Exception as error:
                # Of a model's own code. The request has ended all the same, or it would count as lost. Its
                # text is nobody's to keep: it may hold anything.
                if not send.has_calls:
                    self._writer.put(call.failure(type(error).__name__, ""))
                raise
            finally:
                send.is_open = False
                self._settle(send, used)
            return response, not send.has_calls

    def _used_by(self, send: Send, response: LMResponse) -> Amounts:
        """Return what an answer used: as much as it can have used where the model does not count tokens."""
        most, used = send.reserved, used_by(response)
        if most is None or response.usage.total_tokens or not self._account.limits_usage:
            return used
        self.uncounted += 1
        if self.uncounted == 1:
            logger.warning(NOT_COUNTED, 1)
        cost_usd = most.cost_usd if response.cost_usd is None else response.cost_usd
        data = {"tokens": most.tokens, "cost_usd": cost_usd - used.cost_usd}
        self._writer.put(EventRecord(UNCOUNTED, json.dumps(data), self.now()))
        return Amounts(1, most.tokens, cost_usd)

    async def _reserve(self, call: Call, line: Line) -> Send:
        wanted = self._most_of(call)
        try:
            await self._account.reserve(wanted)
        except BudgetExhausted as error:
            self.stop(error)
            raise
        if self._stop is not None:
            # It may have waited, and the run have stopped meanwhile.
            self._account.settle(wanted, Amounts())
            raise self._stop
        around = call.within
        if around is None:
            return Send(call, frozenset([call.key]), (line,), wanted)
        return Send(call, around.keys | {call.key}, (*around.lines, line), wanted)

    def _most_of(self, call: Call) -> Amounts:
        if not self._account.is_limited:
            return Amounts(lm_calls=1)
        if self._account.limits_cost and call.lm.price_usd(Usage(1, 1)) is None:
            error = UserError(
                f"the price of every model must be known where `Budget.cost_usd` is set, but that of "
                f"{call.request.model!r} is not; pass LM(..., prices={{'input': ..., 'output': ...}}) in US "
                "dollars for a million tokens, or give a class of your own a `price_usd` (0.0 where it only "
                "asks other models)."
            )
            # What the program or the metric makes of it is no score.
            self.stop(error)
            raise error
        return most_of(call.request, call.lm.price_usd)

    async def _soonest(self, call: Call, send: Send, line: Line) -> LMResponse:
        """Return the answer of a request, which is sent once more where only it is late.

        Not where a budget would have to pay for both, nor to a model in this process, where none gets lost.
        """
        late_s, answers = line.late_s, line.answers
        if late_s == math.inf or self._account.is_limited or is_local(call.request.model):
            return await self._send(call, send)

        def send_again() -> bool:
            if self._stop is not None or send.has_calls or line.answers == answers:
                return False
            logger.info(
                "%s has not answered a call for %.0f s; asking once more.", call.request.model, late_s
            )
            call.failed += 1
            self.failures[LATE] += 1
            self._writer.put(
                call.failure(LATE, f"no answer within {late_s:.0f} s, when it was sent once more")
            )
            return True

        return await first_answer(lambda: self._send(call, send), late_s, send_again)

    async def _send(self, call: Call, send: Send) -> LMResponse:
        inside = StageGate(self, call.stage, subject=call.subject, patient=call.patient, within=send)
        with context(gate=inside):
            response = await call.lm.send(call.request)
        if inside.failure is not None and not isinstance(inside.failure, LMTransientError):
            raise inside.failure
        return response

    def _give_back(self, send: Send) -> None:
        """Take a request for free whose model turns out to ask others."""
        send.has_calls = True
        if send.reserved is not None and self._account.is_limited:
            # Else it would count as lost where the run ends before its answer. Kept before the call
            # inside is.
            self._writer.put(send.call.failure(MADE_OF_CALLS, ""))
        self._settle(send, Amounts())

    def _settle(self, send: Send, used: Amounts) -> None:
        if send.reserved is not None:
            self._account.settle(send.reserved, used)
            send.reserved = None

    async def _keep(self, record: Record) -> None:
        try:
            await self._writer.keep(record)
        except StateError as error:
            self.stop(error)
            raise

    def _note_failure(self, send: Send, line: Line, error: LMError, *, probe: bool) -> None:
        line.reached |= error.status is not None
        if isinstance(error, LMRateLimitError):
            line.refused(error.retry_after_s)
        elif isinstance(error, LMTransientError):
            line.failed(probe=probe, retry_after_s=error.retry_after_s)
        else:
            line.answered()
        if isinstance(error, (LMAuthError, LMNotFoundError)):
            self.stop(error)
        if send.has_calls:
            return  # what failed is a call inside, and noted
        kind = type(error).__name__
        self.failures[kind] += 1
        self._writer.put(send.call.failure(kind, str(error)))

    def _pause(self, line: Line, error: LMTransientError) -> None:
        logger.warning(
            "pausing: %s Trying again for up to %.0f s; Ctrl-C ends the run, everything is kept.",
            error,
            self._patience_of(line),
        )
        line.pause()

    def _patience_of(self, line: Line) -> float:
        return self._patience_s if line.reached else min(self._patience_s, FIRST_PATIENCE_S)

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
        """Wait, but not longer than until the run stops or its time is up."""
        try:
            await asyncio.wait_for(self._stopped.wait(), min(seconds, self._account.seconds_left))
        except asyncio.TimeoutError:
            self._check_seconds()
            return
        raise self._stop or RunStopped("the run was stopped.")

    def _check_seconds(self) -> None:
        try:
            self._account.check_seconds()
        except BudgetExhausted as error:
            self.stop(error)
            raise

    def _beat(self) -> None:
        now = time.monotonic()
        if now - self._beat_at >= HEARTBEAT_S:
            self._beat_at = now
            self._writer.put(EventRecord(ALIVE, "{}", self.now()))


async def _left_after(seconds: float, flights: _Flights) -> _Flights:
    """Return the flights that are still under way after so long."""
    return (await asyncio.wait(flights, timeout=seconds))[1] if flights else flights
