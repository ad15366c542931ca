"""Who computes next: slots of a local engine, handed out in the order that saves most work."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter, OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

# A second slot computes the calls of one prefix about 0.1 s faster each, but has to evaluate
# the prefix first, 5 s for 700 tokens (0.5B parameters, 2 cores). So after about 50 calls
# as much has been lost by waiting as a second slot would have cost, and it is allowed.
CALLS_BEFORE_NEXT_SLOT = 48
_REMEMBERED = 1024


@dataclass(eq=False, slots=True)
class _Ticket:
    prefix: str
    tokens: int
    turn: asyncio.Future[None]


class Slots:
    """Lets at most `parallel` requests with at most `tokens` tokens compute at once.

    The engine's slots share no work: requests with the same prefix that compute at once
    would each evaluate it. So they go one after the other, each taking the prefix from the
    slot of the one before, while requests with other prefixes compute beside them. Apart
    from that the order is first come, first served.

    Args:
        parallel: How many requests may compute at once.
        tokens: How many tokens they may have together.
    """

    def __init__(self, parallel: int, tokens: int) -> None:
        self._free_slots = parallel
        self._free_tokens = self._all_tokens = tokens
        self._waiting: OrderedDict[_Ticket, None] = OrderedDict()
        self._computing: Counter[str] = Counter()
        self._served: OrderedDict[str, int] = OrderedDict()

    @contextlib.asynccontextmanager
    async def hold(self, prefix: str, tokens: int) -> AsyncIterator[None]:
        """Wait for a slot and hold it during the block.

        Args:
            prefix: What the prompt begins with, or anything that stands for it; "" for
                a prompt that shares nothing.
            tokens: How many tokens prompt and answer may have, at most.
        """
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        ticket = _Ticket(prefix, min(tokens, self._all_tokens), turn)
        self._waiting[ticket] = None
        self._call_next()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._leave(ticket)
            else:
                self._waiting.pop(ticket, None)
                self._call_next()
            raise
        try:
            yield
        finally:
            self._leave(ticket)

    def _leave(self, ticket: _Ticket) -> None:
        self._free_slots += 1
        self._free_tokens += ticket.tokens
        self._computing[ticket.prefix] -= 1
        if not self._computing[ticket.prefix]:
            del self._computing[ticket.prefix]
        if ticket.prefix:
            self._served[ticket.prefix] = self._served.pop(ticket.prefix, 0) + 1
            while len(self._served) > _REMEMBERED:
                self._served.popitem(last=False)
        self._call_next()

    def _call_next(self) -> None:
        for ticket in list(self._waiting):
            if not self._free_slots:
                return
            if ticket.turn.cancelled() or not self._may_start(ticket.prefix):
                continue
            if ticket.tokens > self._free_tokens:
                return  # a long prompt is not overtaken for ever by short ones
            del self._waiting[ticket]
            self._free_slots -= 1
            self._free_tokens -= ticket.tokens
            self._computing[ticket.prefix] += 1
            ticket.turn.set_result(None)

    def _may_start(self, prefix: str) -> bool:
        allowed = 1 + self._served.get(prefix, 0) // CALLS_BEFORE_NEXT_SLOT
        return not prefix or self._computing[prefix] < allowed
