"""The trace of programs that ask several things at the same time."""

import asyncio
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context

import pytest

from mipro.context import context, settings
from mipro.errors import LMRequestError
from mipro.modules import BestOfN, Module, Parallel, Predict, asyncify
from mipro.modules._trace import _taken
from mipro.testing.lms import ScriptedLM


def number_in(messages):
    """Return the number that is asked about."""
    return int(re.findall(r"n(\d+)", str(messages[-1]["content"]))[-1])


class Backwards(ScriptedLM):
    """Answers the last question first, and refuses some."""

    def __init__(self, count, refused=()):
        super().__init__(lambda messages: {"answer": str(number_in(messages))})
        self.answered = [threading.Event() for _ in range(count + 1)]
        self.answered[count].set()
        self.refused = refused

    def forward(self, prompt=None, messages=None, **kwargs):
        """Wait for the answer to the next question, and a little longer until it has arrived."""
        number = number_in(messages)
        self.answered[number + 1].wait(10)
        time.sleep(0.02)
        self.answered[number].set()
        if number in self.refused:
            raise LMRequestError("refused")
        return super().forward(prompt, messages, **kwargs)


def numbers(trace):
    """Return what was asked, in the order of the trace."""
    return [inputs["question"] for _, inputs, _ in trace]


def asked(count):
    """Return the questions."""
    return [f"n{number}" for number in range(count)]


async def gathered(predictor, questions):
    """Ask all at once."""
    calls = (predictor.acall(question=question) for question in questions)
    return await asyncio.gather(*calls, return_exceptions=True)


def test_calls_under_way_at_the_same_time_are_in_the_order_in_which_they_began():
    """And not in that in which they ended; entries are plain tuples."""
    predictor = Predict("question -> answer")
    trace = []
    with context(lm=Backwards(4), trace=trace):
        predictions = asyncio.run(gathered(predictor, asked(4)))
    assert trace == [(predictor, {"question": f"n{i}"}, predictions[i]) for i in range(4)]
    assert {type(entry) for entry in trace} == {tuple}


def test_a_call_that_raises_leaves_no_hole():
    """Wherever it stood, and nothing is kept of it."""
    trace = []
    with context(lm=Backwards(4, refused=(0, 2)), trace=trace):
        asyncio.run(gathered(Predict("question -> answer"), asked(4)))
    assert numbers(trace) == ["n1", "n3"]
    assert not _taken


def test_a_call_that_is_cancelled_leaves_no_hole():
    """The others go on."""
    trace = []
    predictor = Predict("question -> answer")

    async def main():
        tasks = [asyncio.create_task(predictor.acall(question=question)) for question in asked(3)]
        await asyncio.sleep(0)
        tasks[0].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    with context(lm=Backwards(3), trace=trace):
        asyncio.run(main())
    assert numbers(trace) == ["n1", "n2"]
    assert not _taken


def test_a_program_sees_nothing_but_entries_while_others_are_under_way():
    """The calls that have ended, in their order."""
    seen = []
    predictor = Predict("question -> answer")

    async def branch(question):
        await predictor.acall(question=question)
        seen.append(numbers(settings.trace))

    async def main():
        await asyncio.gather(*map(branch, asked(3)))

    with context(lm=Backwards(3), trace=[]):
        asyncio.run(main())
    assert [len(found) for found in seen] == [1, 2, 3]
    assert all(found == sorted(found) for found in seen)


def test_the_oldest_go_where_there_are_too_many():
    """Also while calls are under way."""
    trace = []
    with context(lm=Backwards(5), trace=trace, max_trace_size=3):
        asyncio.run(gathered(Predict("question -> answer"), asked(5)))
    assert numbers(trace) == ["n2", "n3", "n4"]


class Chain(Module):
    """Asks two predictors, one after the other."""

    def __init__(self):
        self.first = Predict("question -> answer")
        self.second = Predict("question -> answer")

    def forward(self, question):
        """Ask."""
        self.first(question=question)
        return self.second(question=question)


@pytest.mark.parametrize("num_threads", [1, 4])
def test_pairs_are_traced_in_their_order(num_threads):
    """All that a pair does together, with any number of threads, before what comes next."""
    chain, trace = Chain(), []
    lm = ScriptedLM(lambda messages: time.sleep(0.02 / (1 + number_in(messages))) or {"answer": "A"})
    with context(lm=lm, trace=trace):
        Parallel(num_threads=num_threads)([(chain, {"question": question}) for question in asked(4)])
        chain.first(question="n9")
    assert numbers(trace) == ["n0", "n0", "n1", "n1", "n2", "n2", "n3", "n3", "n9"]
    assert [predictor is chain.first for predictor, *_ in trace] == [True, False] * 4 + [True]


def test_pairs_within_pairs_are_traced_in_their_order():
    """A Parallel is a program too; a pair that fails leaves the calls that it made."""
    predictor, trace = Predict("question -> answer"), []

    def fails(question):
        predictor(question=question)
        raise OSError("no disk")

    inner = [[(predictor, {"question": f"n{2 * i + k}"}) for k in range(2)] for i in range(2)]
    pairs = [(Parallel(num_threads=2), inner[0]), (fails, {"question": "n5"}), (Parallel(), inner[1])]
    with context(lm=ScriptedLM(lambda messages: {"answer": "A"}), trace=trace):
        Parallel(num_threads=3)(pairs)
        assert Parallel(num_threads=3)([(predictor, {"question": "n8"})])[0].answer == "A"
    assert numbers(trace) == ["n0", "n1", "n5", "n2", "n3", "n8"]


def test_of_a_straggler_only_the_try_that_counts_is_traced():
    """The other may still be under way when the program has ended."""
    gate, calls, trace = threading.Event(), [], []
    predictor = Predict("question -> answer")

    def slow(question):
        calls.append(1)
        if len(calls) == 1:
            gate.wait(30)
        return predictor(question=f"{question}{len(calls)}")

    with context(lm=ScriptedLM(lambda messages: {"answer": "A"}), trace=trace):
        Parallel(num_threads=2, timeout=0.05)([(slow, {"question": "n"})])
        gate.set()
    assert numbers(trace) == ["n2"]


def test_pairs_without_a_trace_have_none():
    """Nothing is kept that nobody asked for."""
    seen = []
    Parallel(num_threads=2)([(lambda: seen.append(settings.trace), ())])
    assert seen == [None]


def test_sync_programs_that_are_awaited_are_traced_in_the_order_in_which_they_began():
    """Each is run in a thread."""
    trace = []

    async def main():
        ask = asyncify(Chain())
        await asyncio.gather(*(ask(question=question) for question in asked(3)))

    lm = ScriptedLM(lambda messages: time.sleep(0.02 / (1 + number_in(messages))) or {"answer": "A"})
    with context(lm=lm, trace=trace):
        asyncio.run(main())
    assert numbers(trace) == ["n0", "n0", "n1", "n1", "n2", "n2"]


def test_the_best_attempts_are_where_the_attempts_began():
    """Several programs that try several times, at the same time."""
    trace = []
    best = BestOfN(Predict("question -> answer"), 2, lambda inputs, prediction: 1.0, threshold=1)
    with context(lm=Backwards(3), trace=trace):
        asyncio.run(gathered(best, asked(3)))
    assert numbers(trace) == ["n0", "n1", "n2"]


def test_many_threads_may_share_a_trace():
    """No entry is lost, and no place kept."""
    trace, predictor = [], Predict("question -> answer")
    lm = ScriptedLM(lambda messages: {"answer": "A"})
    with context(lm=lm, trace=trace), ThreadPoolExecutor(16) as pool:
        futures = [
            pool.submit(copy_context().run, lambda q=question: predictor(question=q))
            for question in asked(200)
        ]
        assert all(future.result() for future in futures)
    assert sorted(numbers(trace)) == sorted(asked(200))
    assert not _taken
