"""Predict: one call, its options, its warnings, its state."""

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Generic, NewType, TypeVar

import pydantic
import pytest
from typing_extensions import TypeAliasType, TypedDict

from mipro.adapters import ChatAdapter, History, JSONAdapter, XMLAdapter
from mipro.callback import BaseCallback
from mipro.context import configure, context, settings
from mipro.errors import AdapterParseError, NoModelError, StateError, UserError
from mipro.example import Example
from mipro.lm import track_usage
from mipro.modules import ChainOfThought, Module, Predict, ReAct
from mipro.signature import InputField, OutputField, Signature
from mipro.testing.lms import ScriptedLM

UserId = NewType("UserId", int)
_T = TypeVar("_T")
Pair = TypeAliasType("Pair", tuple[_T, _T], type_params=(_T,))
Same = TypeAliasType("Same", _T, type_params=(_T,))


class Point(TypedDict):
    """A dict of a known form."""

    x: int


class Kept(TypedDict, Generic[_T]):
    """The same for any type."""

    kept: _T


def echo(messages, **kwargs):
    """Answer with the question, for any number of calls."""
    return {"answer": messages[-1]["content"].split("\n")[1]}


def test_a_call_gives_the_output_fields():
    """Typed as declared."""
    with context(lm=ScriptedLM([{"answer": 42}])):
        prediction = Predict("question -> answer: int")(question="6 * 7?")
    assert prediction.answer == 42
    assert prediction.get_metadata() == {"adapter": "ChatAdapter"}


class Thai(Signature):
    """Python parts the vowel of these names in two."""

    คำถาม: str = InputField()  # noqa: PLC2401 - names of a user
    คำตอบ: str = OutputField()  # noqa: PLC2401 - as above


@pytest.mark.parametrize("adapter", [ChatAdapter(), JSONAdapter(), XMLAdapter()], ids=["chat", "json", "xml"])
@pytest.mark.parametrize("signature", ["คำถาม -> คำตอบ", Thai], ids=["text", "class"])
def test_names_that_python_spells_in_another_way_are_the_same(signature, adapter):
    """Inputs by name or from data, what the model answers, attributes, and demos of saved programs."""
    lm = ScriptedLM(lambda _: {"คำตอบ": "ฟ้า"})
    predictor = Predict(signature)
    predictor.demos = [Example({"คำถาม": "a", "คำตอบ": "b"})]
    loaded = Predict(signature).load_state(predictor.dump_state())
    row = {"คำถาม": "?"}
    with context(lm=lm, adapter=adapter, strict=True):
        named, from_data = loaded(คำถาม="?"), loaded(**row)
    assert named.คำตอบ == from_data["คำตอบ"] == "ฟ้า"
    assert lm.calls[0] == lm.calls[1]
    assert len(lm.calls) == 2
    assert len(lm.calls[0]["messages"]) == 4  # of which two are the demo


def test_the_model_of_the_call_wins_over_that_of_the_predictor_and_the_setting():
    """In this order."""
    predictor = Predict("question -> answer")
    of_call, of_predictor, of_setting = (
        ScriptedLM([{"answer": name}]) for name in ("call", "predictor", "setting")
    )
    with context(lm=of_setting):
        assert predictor(question="Q").answer == "setting"
        predictor.lm = of_predictor
        assert predictor(question="Q").answer == "predictor"
        assert predictor(question="Q", lm=of_call).answer == "call"


@pytest.mark.parametrize(
    ("lm", "message"),
    [
        (None, "No LM is loaded"),
        ("openai/gpt-4o-mini", "must be an instance of `BaseLM`, not a string"),
        (print, "must be an instance of `BaseLM`, but got builtin_function_or_method"),
    ],
)
def test_what_is_no_model_is_refused(lm, message):
    """With what to do instead."""
    with context(lm=lm), pytest.raises(NoModelError, match=message):
        Predict("question -> answer")(question="Q")


def test_a_model_under_another_name_is_told():
    """`llm=` is the commonest slip of all; names that mipro does not know are the user's to set."""
    with (
        context(lm=None, llm=ScriptedLM([])),
        pytest.raises(NoModelError, match="`llm` is set to a model, but"),
    ):
        Predict("question -> answer")(question="Q")


@pytest.mark.parametrize("adapter", [JSONAdapter, "json"])
def test_what_is_no_adapter_is_refused(adapter):
    """A class or a name; its call would fail in terms of its own arguments."""
    lm = ScriptedLM([])
    with context(lm=lm, adapter=adapter), pytest.raises(UserError, match=r"such as `mipro\.JSONAdapter\(\)`"):
        Predict("question -> answer")(question="Q")
    assert lm.calls == []


@pytest.mark.parametrize("make", [Predict, ChainOfThought])
@pytest.mark.parametrize("given", [{"demos": [{"q": "1"}]}, {"lm": ScriptedLM([])}, {"config": {"n": 2}}])
def test_what_a_call_takes_is_no_parameter_of_the_model(make, given):
    """It would be sent to the server, which ignores it or refuses every call; the demos were never shown."""
    with pytest.raises(UserError, match=f"got `{next(iter(given))}`; "):
        make("q -> a", **given)


def test_what_is_made_with_dspy_is_named_as_such():
    """Its repr, or the name of its class, would look like what the error asks for."""
    theirs = type("LM", (), {"__module__": "dspy.clients.lm"})
    mine = type("Sort", (theirs,), {"__module__": "__main__"})
    with context(lm=theirs()), pytest.raises(UserError, match=r"got LM of DSPy; .*`import mipro as dspy`"):
        Predict("question -> answer")(question="Q")
    with pytest.raises(UserError, match="got Sort of DSPy"):
        Predict(mine)
    tool = type("Tool", (theirs,), {"arg_types": {}, "__call__": print})()
    with pytest.raises(UserError, match="got Tool of DSPy"):
        ReAct("question -> answer", tools=[tool])


def test_positional_arguments_are_refused():
    """The message names the fields; also when awaited."""
    predictor = Predict("question, hint -> answer")
    with pytest.raises(UserError, match=r"'question, hint'.*predict\(question=input_value"):
        predictor("Q")
    with pytest.raises(UserError, match="Positional arguments"):
        asyncio.run(predictor.acall("Q"))


def test_config_of_the_call_wins_over_that_of_the_predictor():
    """And both reach the model."""
    lm = ScriptedLM([{"answer": "A"}] * 2)
    predictor = Predict("question -> answer", temperature=0.3, max_tokens=5)
    with context(lm=lm):
        predictor(question="Q", config={"temperature": 0.9})
        predictor.update_config(stop=["x"])
        predictor(question="Q")
    assert lm.calls[0]["kwargs"] == {"temperature": 0.9, "max_tokens": 5}
    assert (
        lm.calls[1]["kwargs"]
        == predictor.get_config()
        == {"temperature": 0.3, "max_tokens": 5, "stop": ["x"]}
    )


def test_what_is_no_config_is_refused():
    """Before the model is asked."""
    with context(lm=ScriptedLM([])), pytest.raises(UserError, match=r"`config` must be a dict .*, but got 5"):
        Predict("question -> answer")(question="Q", config=5)


@pytest.mark.parametrize("demos", [Example(question="Q"), {"question": "Q"}, "Q", ["Q"], [None], None, 5])
def test_what_are_no_demos_is_refused(demos):
    """One example in place of a list of them, for instance, given for a call or set before."""
    predictor = Predict("question -> answer")
    with context(lm=ScriptedLM([])), pytest.raises(UserError, match="`demos` must be a list of examples"):
        predictor(question="Q", demos=demos)
    predictor.demos = demos
    with context(lm=ScriptedLM([])), pytest.raises(UserError, match="`demos` must be a list of examples"):
        predictor(question="Q")


@pytest.mark.parametrize("n", [0, -1, "2", 1.5])
def test_a_number_of_completions_that_makes_no_sense_is_refused(n):
    """Before the model is asked."""
    lm = ScriptedLM([])
    with context(lm=lm), pytest.raises(UserError, match="`n` must be a whole number of answers, 1 or more"):
        Predict("question -> answer", n=n)(question="Q")
    assert lm.calls == []


def test_several_completions_are_asked_for_with_a_temperature():
    """Since a cold model would say the same n times."""
    lm = ScriptedLM([[{"answer": "A"}, {"answer": "B"}], [{"answer": "A"}, {"answer": "B"}]])
    with context(lm=lm):
        prediction = Predict("question -> answer", n=2)(question="Q")
        Predict("question -> answer", n=2, temperature=0.5)(question="Q")
    assert prediction.completions.answer == ["A", "B"]
    assert [call["kwargs"]["temperature"] for call in lm.calls] == [0.7, 0.5]


def test_demos_and_signature_can_be_given_for_one_call():
    """The predictor keeps its own."""
    lm = ScriptedLM([{"other": "A"}, {"answer": "B"}])
    predictor = Predict("question -> answer")
    predictor.demos = [Example(question="Q0", answer="A0")]
    with context(lm=lm):
        prediction = predictor(question="Q", signature="question -> other", demos=[])
        predictor(question="Q")
    assert prediction.other == "A"
    assert [len(call["messages"]) for call in lm.calls] == [2, 4]


def test_an_input_may_have_the_name_of_an_option():
    """A field called `config` is a field."""
    lm = ScriptedLM([{"answer": "A"}])
    with context(lm=lm):
        Predict("config, demos -> answer")(config="c", demos="d")
    assert "[[ ## config ## ]]\nc\n\n[[ ## demos ## ]]\nd" in lm.calls[0]["messages"][-1]["content"]


def test_inputs_with_a_default_may_be_left_out():
    """The default is sent and traced."""

    class WithDefault(Signature):
        question: str = InputField(default="Why?")
        tags: list[str] = InputField(default_factory=lambda: ["a"])
        answer: str = OutputField()

    trace = []
    with context(lm=ScriptedLM([{"answer": "A"}]), trace=trace):
        Predict(WithDefault)()
    assert trace[0][1] == {"question": "Why?", "tags": ["a"]}


FAULTS = [
    ({"question": "Q", "count": 1, "other": 2}, "fields not in signature.*'other'"),
    ({"question": "Q"}, r"Not all input fields.*Missing: \['count'\]"),
    ({"question": "Q", "count": "many"}, "Type mismatch for field 'count': expected int"),
]


@pytest.mark.parametrize(("inputs", "message"), FAULTS)
def test_inputs_that_do_not_fit_are_named_in_a_warning(inputs, message, caplog):
    """Once, however often the call is made."""
    predictor = Predict("question: str, count: int, hint: str | None -> answer")
    with context(lm=ScriptedLM(echo)), caplog.at_level(logging.WARNING):
        for _ in range(3):
            predictor(**inputs)
    assert len(caplog.records) == 1
    assert __import__("re").search(message, caplog.text)


def test_a_fault_is_told_once_for_all_values_and_copies(caplog):
    """A run makes it with each example and each candidate: thousands of lines would say the same."""
    predictor = Predict("question: str, count: int -> answer")
    with context(lm=ScriptedLM(echo)), caplog.at_level(logging.WARNING):
        for number in range(3):
            predictor(question="Q", count=f"{number}")
            predictor.deepcopy()(question="Q", count=number + 0.5)
    assert len(caplog.records) == 1


@pytest.mark.parametrize(("inputs", "message"), FAULTS)
def test_inputs_that_do_not_fit_are_errors_when_strict(inputs, message):
    """Before the model is asked."""
    lm = ScriptedLM([])
    with context(lm=lm, strict=True), pytest.raises(UserError, match=message):
        Predict("question: str, count: int -> answer")(**inputs)
    assert lm.calls == []


def test_none_is_of_no_other_type_when_strict():
    """It was sent as "None", and paid for; where the type or the default is None it may be given."""

    class WithDefault(Signature):
        count: int = InputField(default=None)
        answer: str = OutputField()

    lm = ScriptedLM(echo)
    with context(lm=lm, strict=True):
        Predict("count: int | None, other -> answer")(count=None, other=None)
        Predict(WithDefault)()
        with pytest.raises(UserError, match=r"'count': expected int .*: None"):
            Predict("count: int -> answer")(count=None)
    assert len(lm.calls) == 2


def test_a_strict_error_speaks_of_nothing_that_is_ignored():
    """The call is not made."""
    with context(lm=ScriptedLM([]), strict=True), pytest.raises(UserError) as caught:
        Predict("question -> answer")(question="Q", other=1)
    assert "ignored" not in str(caught.value)


@pytest.mark.parametrize("is_checked", [True, False])
def test_the_type_of_inputs_need_not_be_checked(is_checked, caplog):
    """With `warn_on_type_mismatch=False` a value of another type is passed on without a word."""
    lm = ScriptedLM(echo)
    with context(lm=lm, warn_on_type_mismatch=is_checked):
        Predict("question: int -> answer")(question="three")
    assert ("Type mismatch" in caplog.text) is is_checked
    assert "three" in lm.calls[0]["messages"][-1]["content"]


def test_passages_may_stand_for_a_text_and_anything_where_no_type_is_declared():
    """Neither is a fault, even under `strict`."""
    lm = ScriptedLM(echo)
    with context(lm=lm, strict=True):
        Predict("question: str -> answer")(question=["p1", "p2"])
        Predict("question -> answer")(question=3)
    assert len(lm.calls) == 2


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (float, 5),
        (list[float], [1, 2.5]),
        (list[Annotated[int, "of what is sold"]], [1]),
        (list[UserId], [1]),
        (Point, {"x": 1}),
        (list[Point], [{"x": 1}]),
        (Kept[int], {"kept": 1}),
        (Pair[int], (1, 2)),
        (list[Pair[Same[str]]], [("a", "b")]),
    ],
)
def test_a_whole_number_is_a_number_and_what_can_not_be_looked_into_fits(annotation, value):
    """No fault under `strict`; a TypedDict, whose instances can't be told, ended every call."""
    signature = Signature({"given": (annotation, InputField()), "answer": OutputField()})
    lm = ScriptedLM(echo)
    with context(lm=lm, strict=True):
        Predict(signature)(given=value)
    assert len(lm.calls) == 1


@pytest.mark.parametrize(("annotation", "value"), [(Pair[int], (1, "b")), (Pair[Same[str]], ("a", 2))])
def test_what_an_alias_stands_for_is_looked_into(annotation, value):
    """With its arguments in place."""
    signature = Signature({"given": (annotation, InputField()), "answer": OutputField()})
    with context(lm=ScriptedLM(echo), strict=True), pytest.raises(UserError, match="given"):
        Predict(signature)(given=value)


def test_calls_are_traced_where_there_is_a_trace():
    """Predictor, inputs and prediction, bounded."""
    predictor = Predict("question -> answer")
    with context(lm=ScriptedLM(echo), trace=[], max_trace_size=2):
        predictions = [predictor(question=str(number)) for number in range(3)]
        predictor(question="untraced", _trace=False)
        assert settings.trace == [(predictor, {"question": str(n)}, predictions[n]) for n in (1, 2)]


@pytest.mark.parametrize(
    "run", [lambda ask, **given: ask(**given), lambda ask, **given: asyncio.run(ask.acall(**given))]
)
def test_a_trace_shows_what_was_asked_and_answered_then(run):
    """A program that goes on with the same list, history or model does not change what demos are made of."""

    class Notes(pydantic.BaseModel):
        texts: list[str]

    signature = Signature("context: list[str], history, notes, loop, question -> found: list[str], answer")
    given = {"context": ["a"], "history": History(messages=[{"question": "Q0"}]), "notes": Notes(texts=["n"])}
    loop = []
    loop.append(loop)
    lm = ScriptedLM([{"found": ["f"], "answer": "A"}], repeat=True)
    with context(lm=lm, trace=[]):
        prediction = run(Predict(signature), **given, loop=loop, question="Q")
        given["context"].append("b")
        given["history"].messages.append({"question": "Q"})
        given["notes"].texts.append("m")
        prediction.found.append("g")
        [(_, inputs, traced)] = settings.trace
    assert inputs["context"] == ["a"]
    assert inputs["history"].messages == [{"question": "Q0"}]
    assert inputs["notes"].texts == ["n"]
    assert traced.toDict() == {"found": ["f"], "answer": "A"}
    assert traced.get_metadata() == prediction.get_metadata()


def test_a_trace_shows_the_answer_whatever_program_and_metric_make_of_it():
    """`prediction.answer = prediction.answer.lower()` got into demos, and fields it has not."""
    with context(lm=ScriptedLM([{"answer": "A"}]), trace=[]):
        prediction = Predict("question -> answer")(question="Q")
        prediction.answer = "a"
        prediction.context = "C"
        assert settings.trace[0][2].toDict() == {"answer": "A"}


def test_values_that_can_be_read_only_once_are_in_every_prompt_and_in_the_trace():
    """A second question showed nothing of a generator, and neither did the demos."""
    lm = ScriptedLM(["??", '{"answer": "A"}'])
    with context(lm=lm, trace=[]):
        Predict("context: list[str], question -> answer")(context=(text for text in "ab"), question="Q")
        assert settings.trace[0][1]["context"] == ["a", "b"]
    assert ['["a", "b"]' in call["messages"][-1]["content"] for call in lm.calls] == [True, True]


def test_a_fallback_is_said_in_the_trace():
    """The prediction's notes say which adapter could not read what."""
    with context(lm=ScriptedLM(["??", '{"answer": "A"}']), trace=[]):
        Predict("question -> answer")(question="Q")
        notes = settings.trace[0][2].get_metadata()
    assert notes["adapter"] == "JSONAdapter"
    assert "'??'" in notes["fallback"]


def test_the_adapter_is_a_setting():
    """A chat adapter by default."""
    lm = ScriptedLM([{"answer": "A"}])
    with context(lm=lm, adapter=JSONAdapter()):
        assert Predict("question -> answer")(question="Q").answer == "A"
    assert "JSON" in str(lm.calls[0]["messages"])


def test_a_parse_error_is_raised_when_nothing_helps():
    """It can be told from other failures."""
    adapter = ChatAdapter(use_json_adapter_fallback=False)
    with context(lm=ScriptedLM(["??"]), adapter=adapter), pytest.raises(AdapterParseError):
        Predict("question -> answer")(question="Q")


def test_usage_is_counted_per_prediction():
    """With the setting `track_usage`; the outermost module counts."""

    class Two(Module):
        def __init__(self):
            super().__init__()
            self.step = Predict("question -> answer")

        def forward(self, question):
            self.step(question=question)
            return self.step(question=question)

    program = Two()
    with context(lm=ScriptedLM(echo), track_usage=True):
        total = program(question="Q").get_lm_usage()["scripted"]["total_tokens"]
        single = program.step(question="Q").get_lm_usage()["scripted"]["total_tokens"]
    assert total == 2 * single > 0
    with context(lm=ScriptedLM(echo)), track_usage() as tracker:
        assert program(question="Q").get_lm_usage() is None
    with context(lm=ScriptedLM(echo), callbacks=[BaseCallback()]):
        assert program(question="Q").get_lm_usage() is None
    assert tracker.get_total_tokens()["scripted"]["total_tokens"] == total


def test_64_concurrent_calls_never_mix():
    """Each thread has its own model, inputs, trace and history."""
    predictor = Predict("question -> answer")

    def call(number):
        lm = ScriptedLM(lambda messages, **kwargs: {"answer": f"{number}:{echo(messages)['answer']}"})
        with context(lm=lm, trace=[]):
            answers = [predictor(question=f"{number}.{step}").answer for step in range(5)]
            traced = [inputs["question"] for _, inputs, _ in settings.trace]
        assert len(lm.history) == 5
        return answers, traced

    with ThreadPoolExecutor(64) as pool:
        results = list(pool.map(call, range(64)))
    for number, (answers, traced) in enumerate(results):
        assert traced == [f"{number}.{step}" for step in range(5)]
        assert answers == [f"{number}:{question}" for question in traced]


def test_64_concurrent_tasks_never_mix():
    """The same for tasks of one loop."""
    predictor = Predict("question -> answer")

    async def call(number):
        lm = ScriptedLM(lambda messages, **kwargs: {"answer": f"{number}:{echo(messages)['answer']}"})
        with context(lm=lm, trace=[]):
            answers = [(await predictor.acall(question=f"{number}.{step}")).answer for step in range(3)]
            assert [inputs["question"] for _, inputs, _ in settings.trace] == [
                f"{number}.{s}" for s in range(3)
            ]
        return answers

    async def main():
        return await asyncio.gather(*(call(number) for number in range(64)))

    for number, answers in enumerate(asyncio.run(main())):
        assert answers == [f"{number}:{number}.{step}" for step in range(3)]


def test_history_is_kept_by_module_and_model():
    """Each sees the calls it made."""
    lm = ScriptedLM(echo)
    first, second = Predict("question -> answer"), Predict("question -> answer")
    with context(lm=lm):
        first(question="1")
        first(question="2")
        second(question="3")
    assert (len(first.history), len(second.history), len(lm.history)) == (2, 1, 3)


def test_state_goes_there_and_back():
    """Instructions, demos and traces; the model without a key."""
    predictor = Predict("question -> answer")
    predictor.signature = predictor.signature.with_instructions("Be brief.")
    predictor.demos = [Example(question="Q", answer="A", augmented=True), {"question": "Q2", "answer": ["x"]}]
    state = predictor.dump_state()
    other = Predict("question -> answer").load_state(state)
    assert other.signature.instructions == "Be brief."
    assert other.demos == [
        {"question": "Q", "answer": "A", "augmented": True},
        {"question": "Q2", "answer": ["x"]},
    ]
    assert other.dump_state() == state


FIELDS = [{"prefix": "Q:", "description": "q"}, {"prefix": "A:", "description": "a"}]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"surprise": 1}, r"unknown fields \['surprise'\]"),
        ({"signature": None}, "must have `instructions` and `fields`"),
        ({"signature": {"instructions": "x", "fields": []}}, "has 0 fields"),
        ({"signature": {"instructions": "x", "fields": FIELDS, "role": 1}}, r"the unknown \['role'\] too"),
        (
            {"signature": {"instructions": "x", "fields": [{**FIELDS[0], "type": "int"}, FIELDS[1]]}},
            r"the unknown \['type'\] too",
        ),
        ({"signature": {"instructions": [1], "fields": FIELDS}}, r"a text as `instructions`, but got \[1\]"),
        ({"demos": None}, "`demos` must be a list"),
        ({"demos": {"question": "Q"}}, "`demos` must be a list"),
        ({"demos": [{"question": "Q"}, "A"]}, "every demo .* must be a dict, but got 'A'"),
        ({"traces": 1}, "`traces` must be a list"),
        ({"train": "x"}, "`train` must be a list"),
        ({"lm": "openai/m"}, "`lm` must be a dict"),
        ({"lm": {"temperature": 0.5, "api_key": "sk-secret"}}, r"`model` at least, but got \{'temp.*0.5\}"),
        ({"lm": {"model": "m", "_lm_class": []}}, "Refusing to import"),
    ],
)
def test_a_state_of_something_else_is_refused_and_changes_nothing(change, message):
    """The message names what is wrong."""
    predictor = Predict("question -> answer")
    before = predictor.dump_state()
    with pytest.raises(StateError, match=message):
        predictor.load_state({**before, "demos": [{"question": "Q"}], **change})
    assert predictor.dump_state() == before


@pytest.mark.parametrize("state", [None, 1, "x", [], [[1, 2]], True])
def test_a_state_that_is_none_is_refused(state):
    """An error of Python's own says nothing of the file."""
    with pytest.raises(StateError, match="must be a dict, but got"):
        Predict("question -> answer").load_state(state)


def test_reset_forgets_what_was_learned():
    """Demos, traces and model."""
    predictor = Predict("question -> answer")
    predictor.demos, predictor.lm = [{"question": "Q"}], ScriptedLM([])
    predictor.reset()
    assert (predictor.demos, predictor.lm, predictor.traces, predictor.train) == ([], None, [], [])


def test_a_predictor_needs_a_signature():
    """None is none."""
    with pytest.raises(UserError, match="`signature` must be a signature"):
        Predict(None)


def test_a_signature_may_be_set_as_a_text():
    """Call, state and optimizers then have it as a class; what is none is refused where it is set."""
    predictor = Predict("question -> answer")
    predictor.signature = "question -> answer: int"
    assert predictor(question="Q", lm=ScriptedLM([{"answer": "3"}])).answer == 3
    assert predictor.dump_state()["signature"]["instructions"]
    for wrong in (None, 5):
        with pytest.raises(UserError, match="signature"):
            predictor.signature = wrong
    assert predictor.signature.output_fields["answer"].annotation is int


def test_predicted_outputs_reach_the_model():
    """OpenAI's `prediction` parameter is no input."""
    lm = ScriptedLM([{"answer": "A"}])
    with context(lm=lm):
        Predict("question -> answer")(question="Q", prediction={"type": "content", "content": "A"})
    assert lm.calls[0]["kwargs"] == {"prediction": {"type": "content", "content": "A"}}


def test_configure_sets_the_model_for_all():
    """Until it is set again."""
    before = settings.lm
    try:
        configure(lm=ScriptedLM([{"answer": "A"}]))
        assert Predict("question -> answer")(question="Q").answer == "A"
    finally:
        configure(lm=before)
