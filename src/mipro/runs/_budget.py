"""A hard cap on what a run may spend, over all models together."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mipro.adapters._media import MEDIA_TOKENS, is_media
from mipro.errors import BudgetExhausted, UserError
from mipro.lm import Usage

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from mipro.lm import LMRequest, LMResponse

ASSUMED_COMPLETION_TOKENS = 4096
"""Completion tokens reserved for a request that does not limit them itself."""
TOKENS_PER_MESSAGE = 8
"""Tokens that a chat template may add around one message; 4 to 7 in common templates."""
_LIMITS = ("max_tokens", "max_completion_tokens", "max_output_tokens")
"""Parameters that limit an answer, under the names that the APIs and their models have for it."""
_ANSWERS = ("n", "best_of")
"""Parameters that ask for several answers, which are all paid."""
_PROMPTED = ("tools", "functions", "response_format")
"""Parameters that servers write into the prompt, and count."""


@dataclass(frozen=True, slots=True)
class Budget:
    """What a run may spend at most; None is no limit.

    A call is reserved before it is sent, so no limit is exceeded by a single call.
    When the budget is used up the run ends with the best program found so far.

    Args:
        lm_calls: Requests sent to all models, repeated ones after a failure included.
        tokens: Prompt and completion tokens together.
        cost_usd: US dollars; the price of every model must be known.
        seconds: Seconds of running, over all sessions of a resumed run.

    Raises:
        UserError: A limit is not a positive number.
    """

    lm_calls: int | None = None
    tokens: int | None = None
    cost_usd: float | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        for name, limit in self.limits().items():
            is_number = isinstance(limit, (int, float)) and not isinstance(limit, bool)
            # Nothing is ever above NaN, so it would limit nothing.
            if not is_number or not 0 < limit < float("inf"):
                raise UserError(
                    f"`Budget.{name}` must be a positive number or None, but got {limit!r}; "
                    "leave it out for no limit."
                )

    def limits(self) -> dict[str, float]:
        """Return the limits that are set, by name."""
        pairs = ((f.name, getattr(self, f.name)) for f in dataclasses.fields(self))
        return {name: limit for name, limit in pairs if limit is not None}


@dataclass(slots=True)
class Amounts:
    """Amounts of the three resources that calls use."""

    lm_calls: int = 0
    tokens: int = 0
    cost_usd: float = 0.0


class Account:
    """Reservations and spending of one run against its budget. Used on the I/O loop only."""

    def __init__(
        self,
        budget: Budget,
        spent: Amounts,
        seconds_before: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.spent = spent
        self._limits = budget.limits()
        self.is_limited: bool = bool(self._limits.keys() - {"seconds"})
        """Whether calls, tokens or cost are limited."""
        self.limits_cost: bool = "cost_usd" in self._limits
        self.limits_usage: bool = bool(self._limits.keys() & {"tokens", "cost_usd"})
        self._reserved = Amounts()
        self._in_flight = 0
        self._waiting: list[asyncio.Future[None]] = []
        self._ended: Exception | None = None
        self._clock = clock
        self._started = clock() - seconds_before

    @property
    def seconds(self) -> float:
        """Seconds of running so far."""
        return self._clock() - self._started

    @property
    def seconds_left(self) -> float:
        """Seconds until the limit on seconds is reached; at least 0.0, infinite without a limit."""
        return max(0.0, self._limits.get("seconds", float("inf")) - self.seconds)

    async def reserve(self, wanted: Amounts) -> None:
        """Set `wanted` aside, waiting while calls in flight may still turn out cheaper.

        Raises:
            BudgetExhausted: The call would exceed the budget even so.
            Exception: What `end` was given, where it would have to wait.
        """
        while short := self._short_of(wanted):
            if short == "seconds" or not self._in_flight:
                raise self._exhausted(short, wanted)
            await self._change()
        self._in_flight += 1
        self._add(self._reserved, wanted, 1)

    def check_seconds(self) -> None:
        """Raise where the time is up.

        Raises:
            BudgetExhausted: The limit on seconds is reached.
        """
        if not self.seconds_left:
            raise self._exhausted("seconds", Amounts())

    def end(self, reason: Exception) -> None:
        """Let nobody wait any longer: who waits, and who would have to later on, is told the reason."""
        self._ended = reason
        self._wake()

    def _exhausted(self, short: str, wanted: Amounts) -> BudgetExhausted:
        return BudgetExhausted(
            f"the budget of {self._limits[short]:g} {short} is used up: "
            f"{self._used(short):g} spent, and the next call may need "
            f"{getattr(wanted, short, 0):g}.",
            resource=short,
        )

    async def _change(self) -> None:
        """Wait until a call in flight is settled, or nobody may wait any longer."""
        if self._ended is None:
            change = asyncio.get_running_loop().create_future()
            self._waiting.append(change)
            await change
        if self._ended is not None:
            raise self._ended

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, []
        for change in waiting:
            if not change.done():  # the one who waited may have gone
                change.set_result(None)

    def settle(self, wanted: Amounts, used: Amounts) -> None:
        """Replace a reservation by what the call really used."""
        self._in_flight -= 1
        self._add(self._reserved, wanted, -1)
        self._add(self.spent, used, 1)
        self._wake()

    def _used(self, name: str) -> float:
        return self.seconds if name == "seconds" else float(getattr(self.spent, name))

    def _short_of(self, wanted: Amounts) -> str | None:
        for name, limit in self._limits.items():
            if name == "seconds":
                if self.seconds >= limit:
                    return name
            elif getattr(self.spent, name) + getattr(self._reserved, name) + getattr(wanted, name) > limit:
                return name
        return None

    @staticmethod
    def _add(total: Amounts, amounts: Amounts, sign: int) -> None:
        total.lm_calls += sign * amounts.lm_calls
        total.tokens += sign * amounts.tokens
        total.cost_usd += sign * amounts.cost_usd


def most_of(request: LMRequest, price_usd: Callable[[Usage], float | None]) -> Amounts:
    """Return the most that one attempt at `request` can use.

    A token is at least one byte of text, so the prompt's bytes are an upper bound of its tokens
    with every byte-level tokenizer. What is no text, such as an image, counts as `MEDIA_TOKENS`:
    its bytes say nothing about its tokens.

    Args:
        request: The request to send.
        price_usd: US dollars of a call with these tokens, None if unknown.
    """
    more = request.params.get("extra_body")
    params = {**request.params, **(more if isinstance(more, dict) else {})}
    prompt = sum(map(_message_tokens, request.messages))
    prompt += sum(_num_bytes(params[name]) for name in _PROMPTED if params.get(name))
    limit = max(int(params.get(name) or 0) for name in _LIMITS) or ASSUMED_COMPLETION_TOKENS
    completion = limit * max(int(params.get(name) or 1) for name in _ANSWERS)
    return Amounts(1, prompt + completion, price_usd(Usage(prompt, completion)) or 0.0)


def _message_tokens(message: Mapping[str, Any]) -> int:
    content = message.get("content", "")
    blocks = content if isinstance(content, (list, tuple)) else [content]
    rest = {name: value for name, value in message.items() if name not in {"role", "content"}}
    tokens = sum(
        MEDIA_TOKENS if isinstance(block, dict) and is_media(block) else _num_bytes(block) for block in blocks
    )
    return tokens + (_num_bytes(rest) if rest else 0) + TOKENS_PER_MESSAGE


def _num_bytes(value: Any) -> int:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return len(text.encode("utf-8", "surrogatepass"))


def used_by(response: LMResponse) -> Amounts:
    """Return what an answered call used."""
    return Amounts(1, response.usage.total_tokens, response.cost_usd or 0.0)
