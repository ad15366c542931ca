"""Requests that are sent once more where they are late."""

import asyncio

import pytest

from mipro.runs._late import first_answer


def outcome(*plans, again=True, late_s=0.0):
    """Return what comes of requests that end as planned, and how each of them ended.

    A plan is an answer, an exception to raise, or None for a request that never ends. The first of
    several ends when the second is under way.
    """
    ended = []

    async def send():
        number = len(ended)
        ended.append("under way")
        try:
            while len(ended) < len(plans):  # noqa: ASYNC110 - a turn of the loop
                await asyncio.sleep(0)
            if plans[number] is None:
                await asyncio.Event().wait()
        except asyncio.CancelledError:
            ended[number] = "cancelled"
            raise
        ended[number] = "ended"
        if isinstance(plans[number], Exception):
            raise plans[number]
        return plans[number]

    async def ask():
        try:
            return await asyncio.wait_for(first_answer(send, late_s, lambda: again), 30)
        finally:
            await asyncio.sleep(0)  # what was cancelled ends

    try:
        return asyncio.run(ask()), ended
    except ConnectionError as error:
        return error, ended


@pytest.mark.parametrize(
    ("plans", "options", "expected"),
    [
        (["a"], {"late_s": 30.0}, ("a", ["ended"])),
        (["a"], {"again": False}, ("a", ["ended"])),
        ([None, "b"], {}, ("b", ["cancelled", "ended"])),
        (["a", None], {}, ("a", ["ended", "cancelled"])),
        ([ConnectionError("1"), "b"], {}, ("b", ["ended", "ended"])),
        (["a", ConnectionError("2")], {}, ("a", ["ended", "ended"])),
    ],
)
def test_first_answer_counts(plans, options, expected):
    """One request where it is in time or not to be sent again; a failure waits for the other."""
    assert outcome(*plans, **options) == expected


def test_failures_of_both_are_one():
    """The last is raised."""
    found, ended = outcome(ConnectionError("1"), ConnectionError("2"))
    assert isinstance(found, ConnectionError)
    assert ended == ["ended", "ended"]


def test_who_leaves_takes_both_along():
    """Neither goes on where nobody waits."""
    left = []

    async def send():
        try:
            await asyncio.Event().wait()
        finally:
            left.append(True)

    async def scenario():
        asking = asyncio.ensure_future(first_answer(send, 0.0, lambda: bool(begun.set()) or True))
        begun = asyncio.Event()
        await begun.wait()
        await asyncio.sleep(0)
        asking.cancel()
        await asyncio.wait([asking], timeout=30)
        await asyncio.sleep(0)

    asyncio.run(scenario())
    assert left == [True, True]
