"""Handing out the slots of a local engine."""

import asyncio
from random import Random

import pytest

from mipro.lm._slots import CALLS_PER_TOKEN, IN_A_ROW, Slots


def peaks(requests, *, parallel=4, tokens=10_000):
    """Run (prefix, tokens) requests at once; return the order and the most that computed together."""
    order, now, most = [], [], {"slots": 0, "tokens": 0, "same prefix": 0}

    async def one(slots, index, prefix, size):
        async with slots.hold(prefix, 100, size):
            order.append(index)
            size = min(size, tokens)
            now.append((prefix, size))
            most["slots"] = max(most["slots"], len(now))
            most["tokens"] = max(most["tokens"], sum(size for _, size in now))
            same = max([sum(p == q for q, _ in now) for p, _ in now if p], default=0)
            most["same prefix"] = max(most["same prefix"], same)
            for _ in range(3):
                await asyncio.sleep(0)
            now.remove((prefix, size))

    async def all_of_them():
        slots = Slots(parallel, tokens)
        await asyncio.gather(*(one(slots, i, *request) for i, request in enumerate(requests)))
        assert not slots._waiting
        assert not slots._computing
        assert (slots._free_slots, slots._free_tokens) == (parallel, tokens)

    asyncio.run(asyncio.wait_for(all_of_them(), 10))
    return order, most


def test_first_come_first_served():
    """Requests that share nothing compute in the order they came, at most `parallel` at once."""
    order, most = peaks([("", 1)] * 20)
    assert (order, most["slots"]) == (list(range(20)), 4)


def test_one_prefix_one_slot():
    """Requests with a common prefix go one after the other."""
    order, most = peaks([("a", 1)] * 6)
    assert (order, most["slots"]) == (list(range(6)), 1)


def test_other_prefixes_compute_beside():
    """A prefix that waits for its slot does not hold up the others."""
    _, most = peaks([("a", 1)] * 5 + [("b", 1)] * 5 + [("c", 1)] * 5)
    assert (most["slots"], most["same prefix"]) == (3, 1)


def test_a_slot_goes_on_with_its_prefix():
    """With more prefixes than slots each is read once, not once for each request."""
    order, _ = peaks([(prefix, 1) for _ in range(5) for prefix in "abc"], parallel=1)
    assert ["abc"[index % 3] for index in order] == [*"aaaaabbbbbccccc"]


def test_the_oldest_has_its_turn_in_the_end():
    """A prefix in heavy use does not hold up others for ever."""
    order, _ = peaks([("a", 1), ("b", 1), *[("a", 1)] * (2 * IN_A_ROW)], parallel=1)
    assert order.index(1) == IN_A_ROW + 1


def test_a_prefix_in_heavy_use_gets_another_slot():
    """The more calls a prefix has had, the more slots it is worth."""
    enough = [round(100 * calls) for calls in CALLS_PER_TOKEN]
    together = [peaks([("a", 1)] * (count + 8))[1]["same prefix"] for count in enough]
    assert together == [2, 2, 3, 4]


def test_tokens_are_bounded():
    """Long prompts do not compute together beyond the room there is; one too long goes alone."""
    _, most = peaks([("", 600)] * 5 + [("", 5000)], tokens=1000)
    assert most["tokens"] <= 1000


@pytest.mark.parametrize("seed", range(20))
def test_any_mixture_ends(seed):
    """Whatever comes, with cancellations in between, everything is served and nothing is lost."""
    rng = Random(seed)

    async def one(slots, prefix, size, patience):
        async def work():
            async with slots.hold(prefix, 100, size):
                await asyncio.sleep(0)

        task = asyncio.ensure_future(work())
        for _ in range(patience):
            await asyncio.sleep(0)
        if rng.random() < 0.3:
            task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def all_of_them():
        slots = Slots(3, 100)
        await asyncio.gather(
            *(
                one(slots, rng.choice(["", "a", "b"]), rng.randrange(1, 150), rng.randrange(5))
                for _ in range(60)
            )
        )
        assert (slots._free_slots, slots._free_tokens, len(slots._waiting)) == (3, 100, 0)

    asyncio.run(asyncio.wait_for(all_of_them(), 10))
