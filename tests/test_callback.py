"""Callbacks: who is told what, in which order, and what a faulty one does."""

import asyncio

import pytest

from mipro import ChainOfThought, LabeledFewShot, MIPROv2, Module, Predict, Tool, context
from mipro.callback import ACTIVE_CALL_ID, BaseCallback, with_callbacks
from mipro.errors import UserError
from mipro.example import Example
from mipro.teleprompt import Teleprompter
from mipro.testing.lms import DummyLM, ScriptedLM

KINDS = ("module", "lm", "adapter_format", "adapter_parse", "tool", "compile")


class Listener(BaseCallback):
    """Notes every event."""

    def __init__(self):
        self.events = []

    def note(self, event, call_id, **details):
        """Keep an event."""
        self.events.append({"event": event, "call_id": call_id, "parent": ACTIVE_CALL_ID.get(), **details})

    def names(self):
        """Return what happened, in order."""
        return [event["event"] for event in self.events]


for kind in KINDS:
    for end in ("start", "end"):
        name = f"on_{kind}_{end}"

        def told(self, call_id, name=name, **details):
            """Note this event."""
            self.note(name, call_id, **details)

        setattr(Listener, name, told)

ONE_CALL = [
    "on_module_start",
    "on_module_start",
    "on_adapter_format_start",
    "on_adapter_format_end",
    "on_lm_start",
    "on_lm_end",
    *["on_adapter_parse_start", "on_adapter_parse_end"] * 2,
    "on_module_end",
    "on_module_end",
]


def test_every_part_of_a_call_is_told_of():
    """Modules, prompt, model and each parsed answer, nested as they are called."""
    listener = Listener()
    lm = DummyLM([{"reasoning": "r", "answer": "a"}] * 2)
    with context(lm=lm, callbacks=[listener]):
        ChainOfThought("question -> answer", n=2)(question="Q")
    assert listener.names() == ONE_CALL
    outer, inner = listener.events[:2]
    assert outer["parent"] is None
    assert inner["parent"] == outer["call_id"] == listener.events[-1]["call_id"]
    assert inner["inputs"] == {"args": (), "kwargs": {"question": "Q"}}


def test_an_awaited_call_tells_the_same():
    """`acall` has the events of a plain call."""
    listener = Listener()
    lm = DummyLM([{"reasoning": "r", "answer": "a"}] * 2)

    async def ask():
        with context(lm=lm, callbacks=[listener]):
            return await ChainOfThought("question -> answer", n=2).acall(question="Q")

    asyncio.run(ask())
    assert listener.names() == ONE_CALL


def test_tools_are_told_of_with_their_failures():
    """A tool's arguments, result and exception."""

    def half(x: int) -> float:
        return x / (x - 1)

    listener = Listener()
    with context(callbacks=[listener]):
        Tool(half)(x=2)
        with pytest.raises(ZeroDivisionError):
            Tool(half)(x=1)
    assert listener.names() == ["on_tool_start", "on_tool_end"] * 2
    assert listener.events[0]["inputs"] == {"kwargs": {"x": 2}}
    assert listener.events[1]["outputs"] == 2.0
    assert isinstance(listener.events[3]["exception"], ZeroDivisionError)


def test_optimizers_are_told_of():
    """`compile`, its arguments by name, and the program that comes out."""
    listener = Listener()
    rows = [Example(question="Q", answer="A").with_inputs("question")]
    with context(callbacks=[listener]):
        best = LabeledFewShot(k=1).compile(Predict("question -> answer"), trainset=rows)
    assert listener.names() == ["on_compile_start", "on_compile_end"]
    assert listener.events[0]["inputs"]["trainset"] is rows
    assert listener.events[1]["outputs"] is best


def test_miprov2_is_told_of_as_every_optimizer(tmp_path):
    """It is a `Teleprompter` too; its own `callbacks`, which are told of progress, are no hindrance."""
    listener, steps = Listener(), []
    rows = [Example(question=str(i), answer="A").with_inputs("question") for i in range(4)]
    with context(callbacks=[listener], lm=ScriptedLM(lambda _: {"answer": "A"})):
        optimizer = MIPROv2(
            lambda example, prediction, trace=None: True,
            num_candidates=1,
            callbacks=[steps.append],
            run_dir=str(tmp_path / "run"),
        )
        best = optimizer.compile(Predict("question -> answer"), trainset=rows, num_trials=1)
    assert isinstance(optimizer, Teleprompter)
    told = [event for event in listener.events if "compile" in event["event"]]
    assert [event["event"] for event in told] == ["on_compile_start", "on_compile_end"]
    assert told[0]["instance"] is optimizer
    assert told[0]["inputs"]["num_trials"] == 1
    assert told[1]["outputs"] is best
    assert steps


def test_an_unknown_argument_of_compile_is_told_with_its_method():
    """The words of a wrapper name no method."""
    with pytest.raises(TypeError, match=r"compile\(\) got an unexpected keyword argument 'rounds'"):
        LabeledFewShot(k=1).compile(Predict("question -> answer"), trainset=[], rounds=3)


def test_an_override_of_compile_is_told_of_once():
    """One that calls its optimizer's `compile` is one compile, not two within each other."""

    class Own(LabeledFewShot):
        def compile(self, student, *, trainset):
            return super().compile(student, trainset=trainset)

    listener = Listener()
    rows = [Example(question="Q", answer="A").with_inputs("question")]
    with context(callbacks=[listener]):
        Own(k=1).compile(Predict("question -> answer"), trainset=rows)
    assert listener.names() == ["on_compile_start", "on_compile_end"]


def test_a_compile_that_is_awaited_is_told_of_when_it_ends():
    """With what it returns, not with the coroutine."""

    class Own(Teleprompter):
        async def compile(self, student, *, trainset):
            return "compiled"

    listener = Listener()
    with context(callbacks=[listener]):
        asyncio.run(Own().compile(None, trainset=[]))
    assert listener.events[-1]["outputs"] == "compiled"


def test_a_callback_may_call_its_base():
    """The base has every method; where it had none, all that an override did afterwards was lost."""

    class Careful(BaseCallback):
        def __init__(self):
            self.ended = []

        def on_module_end(self, call_id, outputs, exception):
            super().on_module_end(call_id, outputs, exception)
            self.ended.append(outputs.answer)

    careful = Careful()
    with context(callbacks=[careful], lm=DummyLM([{"answer": "A"}])):
        Predict("question -> answer")(question="Q")
    assert careful.ended == ["A"]


def test_a_callback_without_a_list_is_refused():
    """It was told as a fault of Python's `*`; None is none."""
    lm = ScriptedLM([{"answer": "A"}])
    with (
        context(lm=lm, callbacks=BaseCallback()),
        pytest.raises(UserError, match=r"as in \[MyCallback\(\)\]"),
    ):
        Predict("question -> answer")(question="Q")
    assert lm.calls == []
    with context(lm=lm, callbacks=None):
        assert Predict("question -> answer")(question="Q").answer == "A"


def test_a_faulty_callback_ends_nothing(caplog):
    """What a callback raises is logged, and the call goes on."""

    class Faulty(BaseCallback):
        def on_module_start(self, call_id, instance, inputs):
            raise ZeroDivisionError("oops")

    with context(lm=DummyLM([{"answer": "a"}])):
        assert Predict("question -> answer", callbacks=[Faulty()])(question="Q").answer == "a"
    assert "ZeroDivisionError: oops" in caplog.text


def test_methods_of_ones_own_can_be_told_of():
    """`with_callbacks` gives arguments by name, defaults included, for sync and async methods."""
    listener = Listener()

    class Own(Module):
        @with_callbacks
        def look(self, x, y=2):
            return x + y

        @with_callbacks
        async def fail(self):
            raise UserError("no")

    own = Own(callbacks=[listener])
    assert own.look(1) == 3
    with pytest.raises(UserError):
        asyncio.run(own.fail())
    start, end, _, failed = listener.events
    assert start["inputs"] == {"x": 1, "y": 2}
    assert end["outputs"] == 3
    assert isinstance(failed["exception"], UserError)
    assert ACTIVE_CALL_ID.get() is None
