"""The checks that every language model must pass; run them on a model of your own.

Example:
    class TestMyLM(LMContract):
        @pytest.fixture
        def lm(self):
            return MyLM()
"""

from __future__ import annotations

import asyncio
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from mipro.context import context
from mipro.errors import UserError
from mipro.lm import BaseLM, Completion, LMResponse, track_usage

if TYPE_CHECKING:
    from mipro.lm import LMRequest

_TIMEOUT_S = 60.0


class _Gate:
    """Notes what passes and answers by itself, or lets the model answer."""

    def __init__(self, answer: str | None = None) -> None:
        self.passed: list[tuple[BaseLM, LMRequest]] = []
        self._answer = answer

    async def call(self, lm: BaseLM, request: LMRequest) -> LMResponse:
        self.passed.append((lm, request))
        if self._answer is None:
            return await lm.send(request)
        return LMResponse("gate", (Completion(self._answer),), cached=True)


class LMContract:
    """Subclass it and give it a fixture `lm`: a model that answers any prompt with some text."""

    @pytest.fixture
    def lm(self) -> BaseLM:
        """Return the model; overridden by the subclass."""
        raise NotImplementedError

    def test_prompt_gives_one_text(self, lm: BaseLM) -> None:
        """A call with a prompt returns a list of one text."""
        outputs = lm("Say hi.")
        assert len(outputs) == 1
        assert isinstance(outputs[0], str)

    def test_messages_give_one_text(self, lm: BaseLM) -> None:
        """A call with messages returns a list of one text."""
        messages = [{"role": "system", "content": "Be short."}, {"role": "user", "content": "Say hi."}]
        assert isinstance(lm(messages=messages)[0], str)

    def test_nothing_to_ask_is_refused(self, lm: BaseLM) -> None:
        """A call with neither prompt nor messages is the caller's mistake."""
        with pytest.raises(UserError, match="`prompt` or `messages`"):
            lm()

    def test_messages_are_not_changed(self, lm: BaseLM) -> None:
        """What the caller passes in is left as it was."""
        messages, stop = [{"role": "user", "content": "Say hi."}], ["###"]
        lm(messages=messages, stop=stop)
        assert messages == [{"role": "user", "content": "Say hi."}]
        assert stop == ["###"]

    def test_async_call_has_the_same_form(self, lm: BaseLM) -> None:
        """`acall` returns what a plain call does, in an event loop of the caller."""
        outputs = asyncio.run(lm.acall("Say hi."))
        assert len(outputs) == 1
        assert isinstance(outputs[0], str)

    def test_n_gives_as_many(self, lm: BaseLM) -> None:
        """`n=2` returns two outputs."""
        assert len(lm("Say hi.", n=2)) == 2

    def test_history_grows_by_one(self, lm: BaseLM) -> None:
        """Every call leaves one entry that holds prompt and outputs."""
        outputs = lm("Say hi.")
        assert [(entry["prompt"], entry["outputs"]) for entry in lm.history] == [("Say hi.", outputs)]

    def test_usage_is_tracked(self, lm: BaseLM) -> None:
        """Token counts of a call reach the tracker of the block."""
        with track_usage() as tracker:
            lm("Say hi, and say it well.")
        totals = tracker.get_total_tokens()[lm.model]
        assert totals["total_tokens"] == totals["prompt_tokens"] + totals["completion_tokens"] > 0

    def test_copy_is_independent(self, lm: BaseLM) -> None:
        """A copy has a history and defaults of its own."""
        other = lm.copy(top_p=0.5)
        other("Say hi.")
        assert (lm.history, lm.kwargs.get("top_p"), other.kwargs["top_p"]) == ([], None, 0.5)

    def test_state_is_json(self, lm: BaseLM) -> None:
        """The saved state is plain JSON and names the model."""
        assert json.loads(json.dumps(lm.dump_state()))["model"] == lm.model

    def test_state_has_no_secret(self, lm: BaseLM) -> None:
        """A key among the model's parameters is not saved with it."""
        assert "sk-contract" not in json.dumps(lm.copy(api_key="sk-contract").dump_state())

    def test_request_key_follows_content(self, lm: BaseLM) -> None:
        """Equal requests have equal keys, others do not."""
        keys = [lm.request("a").key, lm.request("a").key, lm.request("b").key, lm.request("a", seed=1).key]
        assert keys[0] == keys[1]
        assert len(set(keys)) == 3

    def test_call_leaves_the_next_request_as_it_is(self, lm: BaseLM) -> None:
        """A model that changes its defaults asks otherwise each time, so that no run of it is resumed."""
        before = lm.request("a").key
        lm("Say hi.")
        assert lm.request("a").key == before

    def test_call_passes_the_gate(self, lm: BaseLM) -> None:
        """While a run is under way its gate answers, and the model is not asked."""
        gate = _Gate("from the gate")
        with context(gate=gate):
            assert lm("Say hi.") == ["from the gate"]
            assert asyncio.run(lm.acall("Say hi.")) == ["from the gate"]
        assert [request.messages[0]["content"] for _, request in gate.passed] == ["Say hi.", "Say hi."]

    def test_gate_can_send(self, lm: BaseLM) -> None:
        """A gate gets an answer from the model with one attempt of `send`."""
        gate = _Gate()
        with context(gate=gate):
            outputs = lm("Say hi.")
        assert isinstance(outputs[0], str)
        assert len(gate.passed) == 1

    def test_threads_do_not_disturb_each_other(self, lm: BaseLM) -> None:
        """Calls from 8 threads at once all come back."""
        barrier = threading.Barrier(8)

        def call(index: int) -> list[str]:
            barrier.wait(_TIMEOUT_S)
            return lm(f"Say {index}.")

        with ThreadPoolExecutor(8) as threads:
            results = list(threads.map(call, range(8)))
        assert all(isinstance(outputs[0], str) for outputs in results)
        assert len(lm.history) == 8
