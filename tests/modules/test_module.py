"""Modules: what is found in them, copies, state on disk."""

import asyncio
import copy
import datetime as dt
import enum
import inspect
import json
import logging
import os
import threading

import pydantic
import pytest

from mipro.adapters import ChatAdapter
from mipro.context import context
from mipro.errors import StateError, UserError
from mipro.example import Example, Prediction
from mipro.lm import LM
from mipro.modules import ChainOfThought, Module, Parameter, Predict, ReAct
from mipro.signature import Signature
from mipro.testing.lms import ScriptedLM
from mipro.testing.server import OpenAIServer


class Hop(Module):
    """A part with a predictor."""

    def __init__(self):
        super().__init__()
        self.query = Predict("question -> query")


class Program(Module):
    """Predictors in every place they can be."""

    def __init__(self):
        self.first = Predict("question -> answer")  # no super().__init__(): allowed
        self.hops = [Hop(), Hop()]
        self.by_name = {"a": ChainOfThought("question -> answer"), "b": [Predict("x -> y")]}
        self.pair = (Predict("p -> q"), 3)
        self.again = self.first
        self.parent = self


NAMES = ["first", "hops[0].query", "hops[1].query", "by_name['a'].predict", "by_name['b'][0]", "pair[0]"]


def test_predictors_are_found_in_the_order_in_which_they_were_set():
    """In attributes, lists, tuples, dicts and modules, each once."""
    program = Program()
    assert [name for name, _ in program.named_predictors()] == NAMES
    assert [name for name, _ in program.named_parameters()] == NAMES
    assert len(program.parameters()) == len(NAMES)


def test_predictors_are_a_list_and_a_function():
    """Documents of the field use both."""
    program = Program()
    assert program.predictors[0] is program.first
    assert program.predictors() == list(program.predictors)
    assert [p.signature.signature for p in program.predictors()][-1] == "p -> q"
    assert Predict("a -> b").predictors[0].signature.signature == "a -> b"


def test_a_program_may_have_its_own_predictors():
    """An attribute of that name is the program's."""

    class Own(Module):
        def __init__(self):
            super().__init__()
            self.predictors = [Predict("a -> b")]

    program = Own()
    assert len(program.predictors) == 1
    assert [name for name, _ in program.named_predictors()] == ["predictors[0]"]


def test_an_optimized_part_is_left_as_it_is():
    """What is inside a module marked as compiled is not found; the module itself still is."""
    program = Program()
    program.hops[0]._compiled = True
    assert "hops[0].query" not in [name for name, _ in program.named_predictors()]
    program._compiled = True
    assert "first" in [name for name, _ in program.named_predictors()]


def test_every_predictor_can_be_replaced():
    """Wherever it is, in tuples too."""
    program = Program()
    assert program.map_named_predictors(lambda p: Predict(p.signature.with_instructions("New."))) is program
    assert {p.signature.instructions for p in program.predictors()} == {"New."}
    assert program.pair[1] == 3
    assert program.again is program.first


def test_sub_modules_are_found_nearest_first():
    """Of any type that is asked for."""
    found = [name for name, _ in Program().named_sub_modules(Hop)]
    assert found == ["self.hops[0]", "self.hops[1]"]
    program = Program()
    program.hops[0]._compiled = True
    names = [name for name, _ in program.named_sub_modules(Predict, skip_compiled=True)]
    assert "self.hops[0].query" not in names
    assert "self.hops[1].query" in names


def test_parameters_of_the_user_are_found():
    """They need not be predictors."""

    class Weights(Parameter):
        def reset(self):
            self.values = []

        def dump_state(self):
            return {"values": self.values}

        def load_state(self, state):
            self.values = state["values"]

    program = Hop()
    program.weights = Weights()
    program.weights.values = [1]
    other = Hop()
    other.weights = Weights()
    other.load_state(program.dump_state())
    assert other.weights.values == [1]
    assert other.reset_copy().weights.values == []


def test_a_copy_shares_nothing_but_its_model():
    """Nor does a copy of a copy."""
    program, lm = Program(), ScriptedLM([])
    program.set_lm(lm)
    program.first.demos = [{"question": "Q", "answer": ["A"]}]
    copied = program.deepcopy()
    copied.first.demos[0]["answer"].append("B")
    copied.first.signature = copied.first.signature.with_instructions("New.")
    assert program.first.demos == [{"question": "Q", "answer": ["A"]}]
    assert program.first.signature.instructions != "New."
    assert copied.get_lm() is lm
    assert copied.again is copied.first


def test_what_can_not_be_copied_is_shared(caplog):
    """And said in the log."""
    program = Hop()
    program.lock = threading.Lock()
    with caplog.at_level(logging.WARNING):
        copied = program.deepcopy()
    assert copied.lock is program.lock
    assert copied.query is not program.query
    assert "'lock'" in caplog.text


def test_what_is_one_stays_one_beside_what_can_not_be_copied():
    """A predictor held in two places is one in the copy, also in a list or beside a client of its own."""

    class Tied(Module):
        def __init__(self):
            self.client = threading.Lock()
            self.first = Predict("question -> answer")
            self.again = self.first
            self.steps = [self.first, threading.Lock()]
            self.named = {"first": self.first, "client": threading.Lock()}

    program = Tied()
    copied = program.deepcopy()
    assert copied.first is copied.again is copied.steps[0] is copied.named["first"]
    assert copied.first is not program.first
    assert [name for name, _ in copied.named_predictors()] == ["first"]


def test_a_reset_copy_has_learned_nothing():
    """The original keeps what it has."""
    program = Program()
    program.first.demos = [{"question": "Q"}]
    assert program.reset_copy().first.demos == []
    assert program.first.demos


def test_histories_are_not_copied():
    """They would only grow."""
    program = Hop()
    program.history.append({})
    assert program.deepcopy().history == copy.deepcopy(program).history == []


def test_models_are_set_and_got_together():
    """Different ones can't be got."""
    program, lm = Program(), ScriptedLM([])
    assert program.get_lm() is None
    program.set_lm(lm)
    assert program.get_lm() is lm
    program.first.lm = None
    with pytest.raises(UserError, match=r"Multiple LMs .*'first': None.* with `set_lm`"):
        program.get_lm()


def test_a_module_without_forward_says_so():
    """Both ways to call."""
    with pytest.raises(NotImplementedError, match="`Hop` must define `forward`"):
        Hop()()
    with pytest.raises(NotImplementedError, match="`Hop` must define `aforward`"):
        asyncio.run(Hop().acall())


def test_a_program_has_the_ways_to_run_that_it_defines():
    """What serves programs awaits those that have an `aforward` and calls the others."""

    class Awaited(Module):
        async def aforward(self):
            return 1

    class Called(Module):
        def forward(self):
            return 1

    assert [hasattr(Awaited(), name) for name in ("forward", "aforward")] == [False, True]
    assert [hasattr(Called, name) for name in ("forward", "aforward")] == [True, False]


def test_arguments_of_any_form_reach_forward():
    """Modules of the user may take positional ones."""

    class Add(Module):
        def forward(self, a, b=1):
            return Prediction(sum=a + b)

    assert Add()(2).sum == 3
    assert Add()(2, b=5).sum == 7


def test_the_repr_shows_the_predictors():
    """By their paths."""
    assert repr(Hop()).startswith("query = Predict(StringSignature(question -> query")


def test_callbacks_hear_of_every_call():
    """Start and end, also when it fails."""
    events = []

    class Listener:
        def on_module_start(self, call_id, instance, inputs):
            events.append(("start", call_id, type(instance).__name__, inputs))

        def on_module_end(self, call_id, outputs, exception):
            events.append(("end", call_id, outputs and outputs.answer, type(exception).__name__))

    predictor = Predict("question -> answer", callbacks=[Listener()])
    with context(lm=ScriptedLM([{"answer": "A"}])):
        predictor(question="Q")
    with context(lm=None), pytest.raises(UserError):
        predictor(question="Q")
    assert [event[0] for event in events] == ["start", "end"] * 2
    assert events[0][2:] == ("Predict", {"args": (), "kwargs": {"question": "Q"}})
    assert (events[1][2:], events[3][2:]) == (("A", "NoneType"), (None, "NoModelError"))
    assert events[0][1] == events[1][1] != events[2][1]


class Colour(enum.Enum):
    """Colours."""

    RED = "red"


class Thing(pydantic.BaseModel):
    """A value that JSON holds as a dict."""

    day: dt.date


def filled():
    """Return a program with all that an optimizer may set."""
    program = Program()
    program.first.signature = program.first.signature.with_instructions("Be brief. Ünïcode \ud800.")
    program.first.demos = [
        Example(question="Q", answer=Thing(day=dt.date(2024, 5, 1)), augmented=True),
        {"question": Colour.RED, "answer": (1, {2: [Example(x=1)]})},
    ]
    program.hops[1].query.traces = [Example(a=1)]
    return program


@pytest.mark.parametrize("name", ["program.json", "my_optimized_prompt", "deep/er/program.txt"])
def test_a_program_is_saved_and_loaded(name, tmp_path):
    """With any ending or none."""
    path = tmp_path / name
    filled().save(path)
    other = Program()
    other.load(str(path))
    assert other.first.signature.instructions == "Be brief. Ünïcode \ud800."
    assert other.first.demos[0] == {"question": "Q", "answer": {"day": "2024-05-01"}, "augmented": True}
    assert other.dump_state() == json.loads(json.dumps(filled().dump_state()))


def test_a_single_predictor_is_saved_and_loaded(tmp_path):
    """It is a program too."""
    predictor = Predict("question -> answer")
    predictor.demos = [{"question": "Q", "answer": "A"}]
    predictor.save(tmp_path / "p.json")
    other = Predict("question -> answer")
    other.load(tmp_path / "p.json")
    assert other.demos == predictor.demos


def test_the_same_program_gives_the_same_file(tmp_path):
    """Nothing in it depends on time or place, and nothing is left beside it."""
    for name in ("a", "b"):
        filled().save(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_a_file_is_written_whole_or_not_at_all(tmp_path):
    """What can't be written leaves the old file as it was."""
    path = tmp_path / "program.json"
    program = filled()
    program.save(path)
    before = path.read_bytes()
    program.first.demos = [{("no", "key"): 1}]
    with pytest.raises(StateError, match="can't be written as JSON"):
        program.save(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_who_may_read_a_file_is_for_the_user_to_say(tmp_path):
    """By the process's mask where the file is new, else as it was: demos may be private."""
    before = os.umask(0o077)
    try:
        filled().save(tmp_path / "new.json")
    finally:
        os.umask(before)
    (tmp_path / "old.json").touch(mode=0o600)
    (tmp_path / "old.json").chmod(0o640)
    filled().save(tmp_path / "old.json")
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert modes == {"new.json": 0o600, "old.json": 0o640}


def test_a_file_that_was_edited_by_hand_is_loaded(tmp_path):
    """Some editors put a byte order mark before it."""
    program = filled()
    program.save(tmp_path / "p.json")
    (tmp_path / "p.json").write_bytes(b"\xef\xbb\xbf" + (tmp_path / "p.json").read_bytes())
    loaded = type(program)()
    loaded.load(tmp_path / "p.json")
    assert loaded.dump_state() == program.dump_state()


def test_a_file_in_the_home_folder_is_saved_and_loaded(monkeypatch, tmp_path):
    """`~` was made a folder of that name in the current one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    Predict("q -> a").save("~/best.json")
    Predict("q -> a").load("~/best.json")
    assert [path.name for path in tmp_path.iterdir()] == ["home"]


def test_a_demo_with_keys_that_json_has_not_is_saved_and_shown_as_before(tmp_path):
    """In a file the keys stand as they do in the prompt: days, members of an enum, None."""
    values = {dt.date(2024, 5, 1): {Colour.RED: {None: 1, True: 2, 3: 4}}}
    predictor, other = Predict("days: dict -> answer"), Predict("days: dict -> answer")
    predictor.demos = [Example(days=values, answer="yes")]
    predictor.save(tmp_path / "p.json")
    other.load(tmp_path / "p.json")
    prompts = [ChatAdapter().format(p.signature, p.demos, {"days": {}}) for p in (predictor, other)]
    assert '{"2024-05-01": {"red": {"None": 1, "true": 2, "3": 4}}}' in prompts[0][1]["content"]
    assert prompts[0] == prompts[1]


def test_a_file_is_json_whatever_the_numbers(tmp_path):
    """Infinity and NaN are no JSON, and not read by DSPy; as texts they stand in a prompt as before."""
    predictor = Predict("ratio: float -> all: list[float]")
    predictor.demos = [{"ratio": float("inf"), "all": [1.5, float("nan")]}]
    predictor.save(tmp_path / "p.json")
    state = json.loads((tmp_path / "p.json").read_text(), parse_constant=pytest.fail)
    assert state["demos"] == [{"ratio": "inf", "all": [1.5, "nan"]}]


def test_no_key_is_saved(tmp_path):
    """The model is, without it."""
    program = Hop()
    program.set_lm(LM("openai/some-model", api_key="sk-very-secret", temperature=0.5))
    program.save(tmp_path / "p.json")
    assert "sk-very-secret" not in (tmp_path / "p.json").read_text()
    other = Hop()
    other.load(tmp_path / "p.json")
    assert (other.get_lm().model, other.get_lm().kwargs["temperature"]) == ("openai/some-model", 0.5)


def test_an_address_is_loaded_only_from_files_that_are_trusted(tmp_path, caplog):
    """Otherwise the next call would send the key there."""
    program = Hop()
    program.set_lm(LM("openai/some-model", api_key="k", api_base="http://127.0.0.1:1/v1"))
    state = program.dump_state()
    state["query"]["lm"]["api_base"] = "http://127.0.0.1:1/v1"
    with caplog.at_level(logging.WARNING):
        other = Hop()
        other.load_state(state)
    assert "127.0.0.1" not in other.get_lm().endpoint
    assert "Ignoring unsafe LM config key(s) during state load: ['api_base']" in caplog.text
    other.load_state(state, allow_unsafe_lm_state=True)
    assert "127.0.0.1" in other.get_lm().endpoint


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("azure_endpoint", "https://evil.example"),
        ("fallbacks", [{"model": "openai/m", "api_base": "https://evil.example"}]),
    ],
)
def test_an_address_under_any_name_is_loaded_only_from_files_that_are_trusted(name, value):
    """Clients such as litellm take one under names of each provider's own, at any depth."""
    program = Hop()
    program.set_lm(LM("azure/some-model", top_k=3))
    state = program.dump_state()
    state["query"]["lm"][name] = value
    other = Hop()
    other.load_state(state)
    lm = other.get_lm()
    assert (lm.kwargs["top_k"], name in lm.kwargs) == (3, False)
    other.load_state(state, allow_unsafe_lm_state=True)
    assert other.get_lm().kwargs[name] == value


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("extra_headers", {"X-Account": "sk-of-theirs"}),
        ("extra_body", {"api_key": "sk-of-theirs"}),
    ],
)
def test_an_account_is_loaded_only_from_files_that_are_trusted(name, value, monkeypatch):
    """What the user asks would go to the account of whoever wrote the file."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-user")
    program = Hop()
    program.set_lm(LM("openai/some-model"))
    state = program.dump_state()
    state["query"]["lm"][name] = value
    seen = []
    for trusted in (False, True):
        with OpenAIServer(answer={"answer": "a", "query": "b"}) as server:
            other = Hop()
            other.load_state(state, allow_unsafe_lm_state=trusted)
            other.get_lm().copy(api_base=server.url)("hello")
            request = server.requests[0]
            seen.append("sk-of-theirs" in f"{request.headers} {request.body}")
    assert seen == [False, True]


def test_half_a_character_leaves_a_saved_program_readable(tmp_path):
    """An emoji that an answer was cut in made the file one that no other reader of JSON takes."""
    program = Predict("question -> answer")
    program.demos = [Example(question="q", answer="cut \ud83d")]
    program.save(tmp_path / "p.json")
    assert json.loads((tmp_path / "p.json").read_text("utf-8"))["demos"][0]["answer"] == "cut \ud83d"
    other = Predict("question -> answer")
    other.load(tmp_path / "p.json")
    assert other.demos[0]["answer"] == "cut \ud83d"


def edited(path, change):
    """Save a program, change its file, and return the path."""
    program = filled()
    program.save(path)
    document = json.loads(path.read_text("utf-8"))
    change(document)
    path.write_text(json.dumps(document))
    return path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d["metadata"].update(schema_version=2), "newer mipro.*version 2, this one reads up to 1"),
        (lambda d: d["metadata"]["predictors"].update(first="a -> b"), "of another program"),
        (lambda d: d.pop("first"), r"lacks the predictors \['first'\]"),
        (lambda d: d.update(other={}), r"has the unknown \['other'\]"),
        (lambda d: d["first"].update(surprise=1), r"unknown fields \['surprise'\]"),
        (lambda d: d["first"]["signature"].pop("fields"), "must have `instructions` and `fields`"),
    ],
)
def test_a_file_that_does_not_fit_is_refused_and_changes_nothing(change, message, tmp_path):
    """The message names what is wrong."""
    program = Program()
    before = program.dump_state()
    with pytest.raises(StateError, match=message) as raised:
        program.load(edited(tmp_path / "p.json", change))
    assert isinstance(raised.value, KeyError)  # as with DSPy
    assert str(raised.value) == raised.value.args[0]  # a KeyError's is in quotes
    assert program.dump_state() == before


def test_a_state_that_lacks_a_predictor_is_a_key_error_too():
    """What programs for DSPy catch; the message is not in quotes, as that of a KeyError is."""
    with pytest.raises(KeyError) as caught:
        Hop().load_state({})
    assert str(caught.value).startswith("the state is of another program")


def test_a_file_of_dspy_is_loaded(tmp_path):
    """Its layout is the same."""
    state = {
        "query": {
            "traces": [],
            "train": [],
            "demos": [{"augmented": True, "question": "Q", "query": "q"}],
            "signature": {
                "instructions": "Find.",
                "fields": [{"prefix": "Question:", "description": "${question}"},
                           {"prefix": "Query:", "description": "${query}"}],
            },
            "lm": None,
        },
        "metadata": {"dependency_versions": {"python": "3.11", "dspy": "3.0.3", "cloudpickle": "3.1"}},
    }  # fmt: skip
    (tmp_path / "d.json").write_text(json.dumps(state))
    program = Hop()
    program.load(tmp_path / "d.json")
    assert program.query.signature.instructions == "Find."


@pytest.mark.parametrize("content", ["", "[]", "{", "\xff", "[" * 100_000])
def test_a_file_that_is_no_program_is_refused(content, tmp_path):
    """Whatever is in it."""
    (tmp_path / "p.json").write_bytes(content.encode("latin-1"))
    with pytest.raises(StateError, match="is not a saved program"):
        Hop().load(tmp_path / "p.json")


def test_pickles_are_neither_written_nor_read(tmp_path):
    """They run code."""
    for action in (
        lambda: Hop().save(tmp_path / "p.pkl"),
        lambda: Hop().load(tmp_path / "p.pkl"),
        lambda: Hop().save(tmp_path / "folder", save_program=True),
        lambda: Hop().load(tmp_path / "p.pkl", allow_pickle=True),
    ):
        with pytest.raises(UserError, match="pickle"):
            action()
    for save in (
        lambda: Hop().save(tmp_path / "p.pkl"),
        lambda: Hop().save(tmp_path / "folder", save_program=True),
    ):
        with pytest.raises(UserError, match=r"not lost .* with the `run_dir`"):
            save()
    with pytest.raises(UserError, match="is a directory"):
        Hop().save(tmp_path)
    Hop().save(tmp_path / "p.json")
    Hop().load(tmp_path / "p.json", allow_pickle=True)  # leave that is not needed
    with pytest.raises(UserError, match="there is no saved program"):
        Predict("q -> a").load(tmp_path)
    with pytest.raises(UserError, match="there is no saved program"):
        Hop().load(tmp_path / "nothing.json")


def test_a_program_that_was_loaded_answers_the_same(tmp_path):
    """Prompt for prompt."""
    program, lm = (
        ReAct("question -> answer"),
        ScriptedLM(lambda messages, **kwargs: {"answer": "A", "reasoning": "r"}),
    )
    program.extract.predict.demos = [{"question": "Q", "trajectory": "t", "reasoning": "r", "answer": "A"}]
    program.save(tmp_path / "p")
    other = ReAct("question -> answer")
    other.load(tmp_path / "p")
    with context(lm=lm):
        program(question="Q", max_iters=0)
        other(question="Q", max_iters=0)
    assert lm.calls[0] == lm.calls[1]


class _Untouched(list):
    def __iter__(self):
        raise AssertionError("looked through")


def test_calls_that_were_made_are_not_looked_through():
    """A program that was called a thousand times took long to name its predictors."""
    program = Predict("question -> answer")
    program.history.append({"prompt": None, "messages": _Untouched([{"role": "user"}])})
    assert program.named_predictors() == [("self", program)]
    assert [part for _, part in program.named_sub_modules(Predict)] == [program]


def test_predictors_under_the_name_of_the_history_are_found():
    """A module may keep its own list there."""
    program = Module()
    program.history = [Predict("question -> answer")]
    assert [name for name, _ in program.named_predictors()] == ["history[0]"]


def test_help_shows_the_arguments_of_a_class():
    """Those of its `__init__`, in `help` and in notebooks; a signature's are those that make one."""

    class Mine(Module):
        def __init__(self, hops: int = 2):
            super().__init__()

    assert str(inspect.signature(Mine)) == "(hops: int = 2)"
    assert list(inspect.signature(Predict).parameters) == ["signature", "callbacks", "config"]
    assert list(inspect.signature(Signature).parameters)[:2] == ["signature", "instructions"]
    assert list(inspect.signature(Mine()).parameters) == ["args", "kwargs"]
