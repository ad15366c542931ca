"""Models that users write themselves."""

import asyncio
import sys
import threading
import types
from concurrent.futures import ThreadPoolExecutor

import pytest

from mipro.context import context, settings, watching
from mipro.errors import LMConnectionError, LMRequestError, LMServerError, StateError, UserError
from mipro.lm import LM, BaseLM, Completion, LMResponse, run, track_usage
from mipro.testing.lm_contract import LMContract


class Echo(BaseLM):
    """Answers with the last message, in OpenAI's form."""

    def forward(self, prompt=None, messages=None, **kwargs):
        """Return the last message and fixed counts."""
        text = messages[-1]["content"] if messages else prompt
        usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
        choice = {"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        return {"model": "echo-1", "choices": [choice] * (kwargs.get("n") or 1), "usage": usage}


class AsyncEcho(BaseLM):
    """Answers with the last message, from a coroutine."""

    async def aforward(self, prompt=None, messages=None, **kwargs):
        """Return the last message."""
        await asyncio.sleep(0)
        return [messages[-1]["content"] if messages else prompt]


class TestContract(LMContract):
    """The contract, for a user's class."""

    @pytest.fixture
    def lm(self):
        """Return a user's model."""
        return Echo("echo")


class DirectGate:
    """Sends every request to the model itself."""

    async def call(self, lm, request):
        """Send the request."""
        return await lm.send(request)


@pytest.mark.parametrize("gate", [None, DirectGate()], ids=["direct", "gated"])
def test_async_only_model(gate):
    """A model with nothing but `aforward` answers plain and async calls."""
    with context(gate=gate):
        assert AsyncEcho("e")("hi") == ["hi"]
        assert asyncio.run(AsyncEcho("e").acall("hi")) == ["hi"]


def test_without_a_gate_forward_runs_in_the_callers_thread():
    """A user's `forward` is called directly, so that it may use what belongs to the thread."""
    seen = []

    class Noting(BaseLM):
        def forward(self, prompt=None, messages=None, **kwargs):
            seen.append(threading.current_thread())
            return "x"

    Noting("n")("hi")
    assert seen == [threading.current_thread()]


def test_under_a_gate_forward_sees_the_settings():
    """A user's `forward` that runs in a thread has the settings of the caller."""

    class Reading(BaseLM):
        def forward(self, prompt=None, messages=None, **kwargs):
            return settings.colour

    with context(gate=DirectGate(), colour="red"):
        assert Reading("r")("hi") == ["red"]


def test_gate_gets_model_request_and_defaults():
    """The request at the gate holds the defaults of the model and the call's parameters."""
    seen = []

    class Noting:
        async def call(self, lm, request):
            seen.append((lm, request.params))
            return LMResponse("m", (Completion("x"),))

    lm = Echo("e", temperature=0.5, max_tokens=10)
    with context(gate=Noting()):
        lm("hi", max_tokens=20, seed=None)
    assert seen == [(lm, {"temperature": 0.5, "max_tokens": 20})]


def test_cached_answers_of_a_gate_cost_nothing():
    """An answer from the ledger adds nothing to tracked usage."""

    class Ledger:
        async def call(self, lm, request):
            response = await lm.send(request)
            return LMResponse("m", response.completions, response.usage, cached=True)

    with context(gate=Ledger()), track_usage() as tracker:
        lm = Echo("e")
        lm("hi")
    assert tracker.get_total_tokens() == {}
    assert lm.history[0]["usage"] == {}


def test_error_of_the_gate_reaches_the_caller():
    """What the gate raises is raised by the call."""

    class Closed:
        async def call(self, lm, request):
            raise LMServerError("closed")

    with context(gate=Closed()), pytest.raises(LMServerError, match="closed"):
        Echo("e")("hi")


def test_nonsense_of_forward_is_named():
    """A `forward` that returns something else is the user's mistake, with the class's name."""

    class Wrong(BaseLM):
        def forward(self, prompt=None, messages=None, **kwargs):
            return 42

    with context(gate=DirectGate()), pytest.raises(LMRequestError, match=r"`Wrong\.forward`"):
        Wrong("w")("hi")


class Raising(BaseLM):
    """Raises what it is made with."""

    def __init__(self, error, **kwargs):
        super().__init__("r", **kwargs)
        self.error = error

    def forward(self, prompt=None, messages=None, **kwargs):
        """Raise."""
        raise self.error


@pytest.mark.parametrize("gate", [None, DirectGate()], ids=["direct", "gated"])
@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_lost_connection_of_forward_is_a_failure_of_infrastructure(gate, asynchronous):
    """What a user's client raises becomes an error that is tried again and never scored."""
    lm = Raising(ConnectionError("reset, key sk-secret"), api_key="sk-secret")
    with context(gate=gate), pytest.raises(LMConnectionError, match=r"reset, key \*\*\*") as caught:
        asyncio.run(lm.acall("hi", api_key="sk-secret")) if asynchronous else lm("hi")
    assert caught.value.__cause__ is lm.error


@pytest.mark.parametrize("gate", [None, DirectGate()], ids=["direct", "gated"])
@pytest.mark.parametrize("error", [KeyError("x"), FileNotFoundError("prompt.txt")], ids=repr)
def test_a_mistake_in_forward_stays_what_it_is(gate, error):
    """What is no failure of a server is raised as it is."""
    with context(gate=gate), pytest.raises(type(error)) as caught:
        Raising(error)("hi")
    assert caught.value is error


def test_a_failure_that_forward_returns():
    """A `forward` that hands on a server's failure gives no answer, in a run or without."""

    class HandingOn(BaseLM):
        def forward(self, prompt=None, messages=None, **kwargs):
            return {"error": {"code": 502, "message": "down"}, "choices": []}

    for gate in (None, DirectGate()):
        with context(gate=gate), pytest.raises(LMServerError, match=r"502.*down"):
            HandingOn("h")("hi")


@pytest.mark.parametrize("value", [[], {"choices": [{"message": {"content": 5}}]}])
def test_no_text_of_forward_is_named(value):
    """An empty list and a value of the wrong type are the user's mistake, too."""

    class Wrong(BaseLM):
        def forward(self, prompt=None, messages=None, **kwargs):
            return value

    with context(gate=DirectGate()), pytest.raises(LMRequestError, match=r"`Wrong\.forward`"):
        Wrong("w")("hi")


@pytest.mark.parametrize("messages", ["hello", [], ()])
def test_what_are_no_messages_is_refused(messages):
    """Before they are sent: a server's own error says nothing of the argument."""
    with pytest.raises(UserError, match=r"`messages` must be a list of messages .* pass a text as `prompt`"):
        Echo("echo")(messages=messages)


def test_nothing_implemented():
    """A subclass without `forward` says so."""
    with pytest.raises(NotImplementedError, match="`forward` or `aforward`"):
        BaseLM("b")("hi")


def test_history_is_bounded():
    """Only the last calls are kept."""
    lm = Echo("e")
    with context(max_history_size=3):
        for index in range(10):
            lm(str(index))
    assert [entry["prompt"] for entry in lm.history] == ["7", "8", "9"]


def test_the_history_of_a_whole_optimization_is_kept():
    """Programs sum what it cost over `lm.history`: a medium run of one predictor makes 2,200 calls."""
    lm = Echo("e")
    for index in range(3001):
        lm(str(index))
    assert (lm.history[0]["prompt"], lm.history[-1]["prompt"]) == ("1", "3000")


def test_histories_of_many_threads_stay_bounded():
    """Threads that fill one history do not trip over each other, even where nothing is kept."""
    lm = Echo("e")
    with ThreadPoolExecutor(16) as threads:
        for limit in (0, 2):

            def call(index, limit=limit):
                with context(max_history_size=limit):
                    return lm(str(index))

            list(threads.map(call, range(300)))
            assert len(lm.history) <= limit


def test_history_can_be_off():
    """`disable_history` keeps nothing."""
    lm = Echo("e")
    with context(disable_history=True):
        lm("hi")
    assert lm.history == []


def test_callbacks_are_told():
    """Callbacks of the model and of the settings hear of start, end and failure."""
    heard = []

    class Callback:
        def on_lm_start(self, call_id, instance, inputs):
            heard.append(("start", inputs["prompt"]))

        def on_lm_end(self, call_id, outputs, exception):
            heard.append(("end", outputs, type(exception)))

    class Failing(Echo):
        def forward(self, prompt=None, messages=None, **kwargs):
            raise LMServerError("no")

    with context(callbacks=[Callback()]):
        Echo("e")("hi")
        with pytest.raises(LMServerError):
            Failing("f")("ho")
    assert heard == [
        ("start", "hi"),
        ("end", ["hi"], type(None)),
        ("start", "ho"),
        ("end", None, LMServerError),
    ]


def test_copy_changes_parameters():
    """`copy` sets attributes and parameters, and removes those that are None."""
    other = Echo("e", top_p=0.5).copy(model="f", temperature=1.0, rollout_id=3, top_p=None)
    assert (other.model, other.kwargs) == ("f", {"temperature": 1.0, "max_tokens": None, "rollout_id": 3})


def test_state_comes_back():
    """A model of this package is rebuilt from its state."""
    lm = LM("openai/gpt-4o-mini", temperature=0.3, max_tokens=7, num_retries=5, api_base="http://h/v1")
    again = BaseLM.load_state(lm.dump_state())
    assert (again.model, again.kwargs, again.num_retries, again.endpoint) == (
        lm.model,
        lm.kwargs,
        5,
        "http://h/v1",
    )


def test_state_of_a_plain_model_has_nothing_that_dspy_would_send():
    """It is an `LM` for what names no class; older files, which name it, are read as ever."""
    state = LM("openai/gpt-4o-mini", top_p=0.5, _lm_class="mine").dump_state()
    assert "_lm_class" not in state
    older = {**state, "_lm_class": "mipro.lm._lm.LM"}
    assert [type(BaseLM.load_state(each)) for each in (state, older)] == [LM, LM]
    assert BaseLM.load_state(older).dump_state() == state
    assert Echo("e").dump_state()["_lm_class"].endswith(".Echo")
    assert Outer.Inner("openai/m").dump_state()["_lm_class"].endswith("Outer.Inner")


def test_state_of_a_reasoning_model_comes_back():
    """The output limit is saved under the constructor's name and read under both."""
    state = LM("openai/o3", max_tokens=20_000).dump_state()
    assert state["max_tokens"] == 20_000
    again = BaseLM.load_state(state)
    other = LM.load_state({"model": "openai/o3", "max_completion_tokens": 20_000})
    assert again.kwargs["max_completion_tokens"] == other.kwargs["max_completion_tokens"] == 20_000


def test_state_of_dspy_is_read():
    """A state that DSPy wrote gives our model of the same name."""
    state = {"_dspy_lm_class": "dspy.clients.lm.LM", "model": "openai/m", "train_kwargs": {}, "top_p": 0.5}
    lm = BaseLM.load_state(state)
    assert (type(lm), lm.model, lm.kwargs["top_p"]) == (LM, "openai/m", 0.5)


def test_foreign_class_in_a_state_is_refused():
    """A class named in a file is imported only for those who trust the file."""
    state = {**Echo("e").dump_state(), "_lm_class": "os.path"}
    with pytest.raises(StateError, match="trust"):
        BaseLM.load_state(state)
    with pytest.raises(StateError, match="subclass"):
        BaseLM.load_state(state, allow_custom_lm_class=True)


class Outer:
    """Holds a class."""

    class Inner(LM):
        """A model class inside another class."""


def test_a_class_inside_a_class_comes_back(monkeypatch):
    """The path of a saved class may lead through another class."""
    monkeypatch.setitem(sys.modules, "outer_module", types.SimpleNamespace(Outer=Outer))
    state = {**Outer.Inner("openai/m").dump_state(), "_lm_class": "outer_module.Outer.Inner"}
    assert type(BaseLM.load_state(state, allow_custom_lm_class=True)) is Outer.Inner
    with pytest.raises(StateError, match="Nothing"):
        BaseLM.load_state({**state, "_lm_class": "outer_module.Nothing"}, allow_custom_lm_class=True)


def test_blocking_call_on_the_io_loop_is_refused():
    """A plain call from a coroutine on mipro's own loop would never end, so it is an error."""

    async def blocking():
        return LM("openai/m", api_base="http://127.0.0.1:9", cache=False)("hi")

    with pytest.raises(UserError, match="acall"):
        run(blocking())


def test_output_limit_of_a_reasoning_model():
    """The limit of a call or a copy goes before the model's own, under whichever name."""
    lm = LM("openai/o3-mini", api_key="k", max_tokens=1000)
    assert lm.request("q").params == {"max_completion_tokens": 1000}
    assert lm.request("q", max_tokens=20_000).params == {"max_completion_tokens": 20_000}
    assert lm.request("q", max_tokens=None).params == {}
    assert lm.copy(max_tokens=20_000).request("q").params == {"max_completion_tokens": 20_000}
    assert lm.copy(max_completion_tokens=5, max_tokens=6).request("q").params == {"max_completion_tokens": 5}


def test_output_limit_of_a_model_that_becomes_a_reasoning_one():
    """A copy with another name keeps the limit, and so does its state."""
    lm = LM("openai/gpt-4o", api_key="k", max_tokens=1000).copy(model="openai/o3-mini")
    assert lm.request("q", max_tokens=20_000).params == {"max_completion_tokens": 20_000}
    assert lm.dump_state()["max_tokens"] == 1000
    assert lm.copy(max_tokens=None).request("q").params == {}


class Alone(BaseLM):
    """Answers by itself, in both call forms."""

    def __call__(self, prompt=None, messages=None, **kwargs):
        """Return a text."""
        return ["alone"]

    async def acall(self, prompt=None, messages=None, **kwargs):
        """Return it too."""
        return self(prompt)


@pytest.mark.parametrize("ask", [lambda lm: lm("?"), lambda lm: asyncio.run(lm.acall("?"))])
def test_a_call_form_of_ones_own_is_told_of_once(ask):
    """However many of them are within each other."""
    told = []
    with watching(lambda: told.append("call")):
        assert ask(Alone("m")) == ["alone"]
    assert told == ["call"]


def test_a_parameter_that_a_copy_went_without_can_be_given_to_its_copies():
    """None takes one away for that copy, and for nothing that is made of it."""
    without = LM("openai/gpt-4o-mini", api_key="none", temperature=0.2).copy(temperature=None)
    assert "temperature" not in without.kwargs
    assert without.copy(temperature=0.9).kwargs["temperature"] == 0.9


@pytest.mark.parametrize(
    ("temperature", "told"), [(None, False), (1, False), (1.0, False), (0.5, True), (0, True)]
)
def test_a_temperature_that_is_not_sent_is_told(caplog, temperature, told):
    """A reasoning model samples at 1; who asked for nothing else is told nothing."""
    LM("openai/o3-mini", api_key="none", temperature=temperature)
    assert ("samples at temperature 1 only" in caplog.text) is told


class UsedUp(BaseLM):
    """Answers from an iterator that has nothing left, as a stand-in in a test of the user's may."""

    def forward(self, prompt=None, messages=None, **kwargs):
        """Raise StopIteration."""
        return next(iter(()))


def test_model_that_raises_stop_iteration_is_not_waited_for():
    """No future can hold that exception; the caller would wait for ever, and a run with it."""

    async def ask():
        await asyncio.wait_for(UsedUp("m").acall("hi"), 20)

    with pytest.raises(RuntimeError, match="StopIteration"):
        asyncio.run(ask())
