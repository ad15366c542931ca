"""What calls cost."""

import pytest

from mipro.lm import Prices, Usage
from mipro.lm._prices import as_prices, cost_usd


def test_own_prices():
    """Prompt, cached prompt and completion are priced apart."""
    prices = Prices(input=2.0, output=8.0, cached_input=0.5)
    usage = Usage(prompt_tokens=1_000_000, completion_tokens=500_000, cached_tokens=400_000)
    assert prices.cost_usd(usage) == pytest.approx(0.6 * 2 + 0.4 * 0.5 + 0.5 * 8)


def test_cached_part_costs_as_the_rest_by_default():
    """Without a price of its own the cached part costs what the prompt does."""
    assert Prices(1.0, 1.0).cost_usd(Usage(1_000_000, 0, 1_000_000)) == pytest.approx(1.0)


def test_listed_model():
    """A known model has a price from the public list."""
    cost = cost_usd("openai", "gpt-4o-mini", Usage(1_000_000, 1_000_000), None)
    assert cost == pytest.approx(0.75)


def test_unknown_model():
    """A model nobody knows has no price, rather than a wrong one."""
    assert cost_usd("openai", "no-such-model-at-all", Usage(10, 10), None) is None


def test_mapping_becomes_prices():
    """`LM(prices={...})` takes a plain dict."""
    assert as_prices({"input": 1, "output": 2}) == Prices(1.0, 2.0)
