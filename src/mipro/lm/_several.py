"""Several answers to one request, also of models that give one at a time."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mipro.lm._types import LMRequest, LMResponse


async def answers(request: LMRequest, ask: Callable[[LMRequest], Awaitable[LMResponse]]) -> LMResponse:
    """Return as many answers as `request` asks for with `n`.

    Anthropic, Ollama and OpenAI's Responses API know no `n` and give one answer; the others are then asked
    for one after another, each a request of its own, so that it passes the gate, is kept and is counted.

    Args:
        request: What is asked.
        ask: Answers one request.
    """
    response = await ask(request)
    count = request.params.get("n")
    if not isinstance(count, int):
        return response
    for number in range(len(response.completions), count):
        params = {name: value for name, value in request.params.items() if name != "n"}
        # Not sent; without it a cache or a ledger would know the answer already.
        params["rollout_id"] = f"{params.get('rollout_id', '')}/{number}"
        response = _joined(response, await ask(replace(request, params=params)))
    return response


def _joined(one: LMResponse, other: LMResponse) -> LMResponse:
    is_priced = one.cost_usd is not None and other.cost_usd is not None
    return replace(
        one,
        completions=one.completions + other.completions,
        usage=one.usage + other.usage,
        cost_usd=(one.cost_usd or 0.0) + (other.cost_usd or 0.0) if is_priced else None,
        latency_s=one.latency_s + other.latency_s,
        cached=one.cached and other.cached,
    )
