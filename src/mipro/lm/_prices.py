"""What a call costs."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mipro.errors import UserError
from mipro.lm._types import Usage

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_MILLION = 1_000_000
_NAMES = ("input", "output", "cached_input")


@dataclass(frozen=True, slots=True)
class Prices:
    """Prices in US dollars for a million tokens."""

    input: float
    """Of the prompt."""
    output: float
    """Of the completion, hidden reasoning included."""
    cached_input: float | None = None
    """Of the part of the prompt from the server's prefix cache; as `input` by default."""

    def cost_usd(self, usage: Usage) -> float:
        """Return the price of a call with these token counts."""
        cached = min(usage.cached_tokens, usage.prompt_tokens)
        cached_price = self.input if self.cached_input is None else self.cached_input
        fresh_usd = (usage.prompt_tokens - cached) * self.input
        return (fresh_usd + cached * cached_price + usage.completion_tokens * self.output) / _MILLION


def as_prices(value: Prices | Mapping[str, float] | None) -> Prices | None:
    """Return what `LM(prices=...)` was given as `Prices`.

    Args:
        value: `Prices`, or a mapping with `input`, `output` and perhaps `cached_input`,
            in US dollars for a million tokens.

    Raises:
        UserError: It is neither, or a price is negative.
    """
    if value is None or isinstance(value, Prices):
        return value
    try:
        prices = Prices(**{name: float(price) for name, price in dict(value).items()})
    except (TypeError, ValueError) as error:
        raise UserError(
            f"`prices` must have `input` and `output` (and perhaps `cached_input`), in US dollars "
            f"for a million tokens, but got {value!r}."
        ) from error
    if any((getattr(prices, name) or 0.0) < 0 for name in _NAMES):
        raise UserError(f"`prices` must not be negative, but got {value!r}.")
    return prices


@functools.lru_cache(maxsize=256)
def _listed(provider: str, name: str) -> Any:
    from genai_prices import Usage as Counts  # noqa: PLC0415 - heavy
    from genai_prices import calc_price  # noqa: PLC0415 - heavy

    try:
        calc_price(Counts(input_tokens=1, output_tokens=1), model_ref=name, provider_id=provider)
    except LookupError:
        return None
    return functools.partial(calc_price, model_ref=name, provider_id=provider)


def cost_of_answer(price_usd: Callable[[Usage], float | None], usage: Usage) -> float | None:
    """Return what an answered call cost in US dollars, or None where that is not known.

    Args:
        price_usd: The model's price of a call with these token counts.
        usage: What the model says that it used.
    """
    cost = price_usd(usage if usage.total_tokens else Usage(1, 1))
    # Without a count of tokens nobody knows the price, unless the model is free.
    return cost if usage.total_tokens or not cost else None


def cost_usd(provider: str, name: str, usage: Usage, prices: Prices | None) -> float | None:
    """Return the price of a call in US dollars, or None where the price is not known.

    Args:
        provider: For example "openai".
        name: Name of the model without the provider.
        usage: Token counts of the call.
        prices: The caller's own prices, which go before the public list.
    """
    if prices is not None:
        return prices.cost_usd(usage)
    priced = _listed(provider, name)
    if priced is None:
        return None
    return _from_list(priced, usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens)


@functools.lru_cache(maxsize=4096)
def _from_list(priced: Any, prompt: int, completion: int, cached: int) -> float:
    from genai_prices import Usage as Counts  # noqa: PLC0415 - heavy

    counts = Counts(
        input_tokens=prompt, output_tokens=completion, cache_read_tokens=min(cached, prompt) or None
    )
    return float(priced(counts).total_price)
