"""Who computes next: slots of a local engine, handed out in the order that saves most work."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter, OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

# Another slot makes the calls of one prefix faster, but has to evaluate the prefix first. It
# is allowed once as much has been lost by waiting as it costs. Measured (0.5B parameters, 2
# cores, answers of 9 tokens): a prefix token takes 6.7 ms, a second slot saves 115 ms a call,
# a third and a fourth 30 ms each. So, in calls for each token of the prefix:
CALLS_PER_TOKEN = (0.0, 0.06, 0.28, 0.5)
_REMEMBERED = 1024
# Requests that may go on with the prefix that a slot holds, ahead of older ones, before the oldest has its
# turn: then reading a prefix anew is a thirtieth of the work, and nobody waits for ever.
IN_A_ROW = 32


@dataclass(eq=False, slots=True)
class _Ticket:
    prefix: str
    prefix_tokens: int
    tokens: int
    turn: asyncio.Future[None]
    in_a_row: int = 0
    """Requests that went on with the same prefix in the same slot just before."""


class Slots:
    """Lets at most `parallel` requests with at most `tokens` tokens compute at once.

    The engine's slots share no work: requests with the same prefix that compute at once
    would each evaluate it. So they go one after the other, each taking the prefix from the
    slot of the one before, while requests with other prefixes compute beside them. A slot goes
    on with its prefix as long as requests wait for it, up to a bound; otherwise with more prefixes
    than slots each would push out the next one's. Apart from that the order is first come, first
    served.

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
    async def hold(self, prefix: str, prefix_tokens: int, tokens: int) -> AsyncIterator[None]:
        """Wait for a slot and hold it during the block.

        Args:
            prefix: What the prompt begins with, or anything that stands for it; "" for
                a prompt that shares nothing.
            prefix_tokens: How many tokens that is, about.
            tokens: How many tokens prompt and answer may have, at most.
        """
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        ticket = _Ticket(prefix, prefix_tokens, min(tokens, self._all_tokens), turn)
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
        self._call_next(self._heir(ticket))

    def _heir(self, ticket: _Ticket) -> _Ticket | None:
        """Return the request that goes on with the prefix of one that is done, if there is one."""
        if not ticket.prefix or ticket.in_a_row >= IN_A_ROW:
            return None
        heir = next((waiting for waiting in self._waiting if waiting.prefix == ticket.prefix), None)
        if heir is None or heir.tokens > self._free_tokens:
            return None
        heir.in_a_row = ticket.in_a_row + 1
        return heir

    def _call_next(self, heir: _Ticket | None = None) -> None:
        for ticket in [*filter(None, [heir]), *(other for other in self._waiting if other is not heir)]:
            if not self._free_slots:
                return
            if ticket.turn.cancelled() or not self._may_start(ticket):
                continue
            if ticket.tokens > self._free_tokens:
                return  # a long prompt is not overtaken for ever by short ones
            del self._waiting[ticket]
            self._free_slots -= 1
            self._free_tokens -= ticket.tokens
            self._computing[ticket.prefix] += 1
            ticket.turn.set_result(None)

    def _may_start(self, ticket: _Ticket) -> bool:
        if not ticket.prefix:
            return True
        used = self._computing[ticket.prefix]
        if used >= len(CALLS_PER_TOKEN):
            return False
        return self._served.get(ticket.prefix, 0) >= CALLS_PER_TOKEN[used] * ticket.prefix_tokens
