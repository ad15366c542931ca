"""What makes two runs the same run, and what makes them different ones."""

import collections
import dataclasses
import fractions
import functools
import ipaddress
import linecache
import os
import re
import runpy
import subprocess
import sys
import threading
import types
import typing
from datetime import timedelta, timezone
from typing import Any, Literal, NamedTuple, NewType

import attrs
import numpy as np
import pydantic
import pytest
from typing_extensions import TypeAliasType

import mipro
from mipro.runs import digest, of_function, of_model, of_program, state_of
from mipro.runs._fingerprint import of_candidate
from mipro.testing.lms import ScriptedLM


class Suffixed(mipro.Module):
    """Has attributes of all kinds."""

    def __init__(self, **attributes):
        super().__init__()
        self.answer = mipro.Predict("question -> answer")
        self.lock = threading.Lock()
        for name, value in attributes.items():
            setattr(self, name, value)

    def forward(self, question):
        """Answer, and count."""
        self.calls += 1
        self.seen[question] = True
        self.asked.append(question)
        return self.answer(question=question)


class TestProgram:
    """Parts of a program's identity."""

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            ("!", "?"),
            (1, True),
            (["a", {"k": (1, 2.5)}], ["a", {"k": (1, 2.0)}]),
            ({"b", "a"}, {"a", "c"}),
            ({1: "a", "b": {"c": None}}, {1: "a", "b": {"c": 0}}),
            (np.arange(2000), np.arange(2000) + (np.arange(2000) == 1000)),
            (mipro.LM("openai/a", api_key="k"), mipro.LM("openai/b", api_key="k")),
            (mipro.Example(a=1), mipro.Example(a=2)),
        ],
        ids=lambda value: type(value).__name__,
    )
    def test_plain_attributes_count(self, one, other):
        """Each is named when it differs; what can't be told is left out."""
        before, same, after = (of_program(Suffixed(suffix=value)) for value in (one, one, other))
        assert before == same
        changed = {name for name in {*before, *after} if before.get(name) != after.get(name)}
        assert changed == {"attribute self.suffix"}
        assert not any("lock" in name for name in before)

    def test_attributes_of_every_part_count(self):
        """Of built-in modules, in lists, in modules that were optimized before; each module once."""
        inner = Suffixed(suffix="!")
        inner._compiled = True
        program = Suffixed(
            hops=[mipro.ReAct("question -> answer", max_iters=3)], rm=mipro.Retrieve(k=5), inner=inner
        )
        names = of_program(program)
        assert {
            "attribute self.hops[0].max_iters",
            "attribute self.rm.k",
            "attribute self.inner.suffix",
        } <= names.keys()
        inner.suffix = "?"
        assert {n for n, v in of_program(program).items() if names[n] != v} == {"attribute self.inner.suffix"}

    def test_what_a_call_changes_is_memory(self):
        """Counts, lists and dicts that `forward` itself changes are no part of the program."""
        new, used = (
            of_program(Suffixed(calls=calls, seen=seen, asked=asked, callbacks=[print], history=[{}]))
            for calls, seen, asked in ((0, {}, []), (9, {"a": True}, ["a"]))
        )
        assert new == used

    def test_what_an_optimizer_finds_is_no_attribute(self):
        """Demos, traces and what was warned of count with the predictor, or not at all."""
        program = Suffixed()
        before = of_program(program)
        program.answer.traces, program.answer.train = [{"a": 1}], [{"b": 1}]
        program.answer._warned.add("once")
        assert of_program(program) == before

    def test_back_references_end(self):
        """A container that holds itself, or the program, is no endless way."""
        program = Suffixed(options={"k": 1})
        program.options["program"], program.options["self"] = program, program.options
        before = of_program(program)
        program.options["k"] = 2
        changed = {n for n, v in of_program(program).items() if before[n] != v}
        assert changed == {"attribute self.options"}

    def test_model_and_config_are_named(self):
        """A predictor's own; without any there is nothing to name."""
        program = Suffixed()
        assert not any(name.startswith(("model", "config")) for name in of_program(program))
        program.answer.lm = ScriptedLM([], model="a", temperature=0.5)
        program.answer.config = {"temperature": 1.0}
        parts = of_program(program)
        assert parts["model of answer"] == 'a {"max_tokens":null,"temperature":0.5}'
        assert parts["config of answer"] == '{"temperature":1.0}'

    def test_all_of_a_model_that_changes_answers(self):
        """The form of its requests and of its answers counts too."""
        plain = of_model(ScriptedLM([], model="a"))
        assert of_model(ScriptedLM([], model="a", model_type="text")) != plain
        assert "Suffixed" in of_model(ScriptedLM([], model="a", response_format=Suffixed))


NOTEBOOK = """
import enum, functools
import mipro

class Color(enum.Enum):
    RED = "red"

class Ask(mipro.Signature):
    question: str = mipro.InputField(default="why?")
    colors: list[Color] = mipro.OutputField()

class Base(mipro.Module):
    LIMIT = 1

    def forward(self, question):
        return self.answer(question=question + "!") if question not in {"", "?"} else None

    @property
    def name(self):
        return "a name"

class Program(Base):
    def __init__(self):
        super().__init__()
        self.answer = mipro.Predict(Ask)

def look(text: str) -> str:
    return text[:80]

def agent():
    return mipro.ReAct("question -> answer", tools=[look])

class Scored:
    def __call__(self, example, prediction, trace=None):
        return prediction.answer == "a"

class Metric(Scored):
    pass

def plain(example, prediction, trace=None):
    return prediction.answer == "b"

@functools.wraps(plain)
def halved(example, prediction, trace=None):
    return 0.5 * plain(example, prediction)
"""
"""Where `is_readable`, the functions have a source and the classes have none, as in a notebook."""


def cell(source, *, is_readable):
    """Run a cell of a notebook, or lines at the prompt; return what they have defined."""
    name = f"/tmp/ipykernel_1/{digest(source)}.py" if is_readable else "<stdin>"
    if is_readable:
        linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    namespace = {"__name__": "__main__"}
    exec(compile(source, name, "exec"), namespace)
    return namespace


class TestNotebook:
    """What was defined where no file is, and in the classes and functions around."""

    @pytest.mark.parametrize("is_readable", [True, False])
    @pytest.mark.parametrize(
        ("told", "old", "new", "named"),
        [
            (lambda defined: of_program(defined["Program"]()), '"!"', '"!!"', "class Base"),
            (lambda defined: of_program(defined["Program"]()), '"?"', '"??"', "class Base"),
            (lambda defined: of_program(defined["Program"]()), "LIMIT = 1", "LIMIT = 2", "class Base"),
            (lambda defined: of_program(defined["Program"]()), "a name", "another name", "class Base"),
            (lambda defined: of_program(defined["Program"]()), '= "red"', '= "rouge"', "types of answer"),
            (lambda defined: of_program(defined["Program"]()), "why?", "how?", "types of answer"),
            (lambda defined: of_program(defined["agent"]()), "80", "90", "attribute self.tools"),
            (lambda defined: of_function("metric", defined["Metric"]()), '"a"', '"c"', "metric"),
            (lambda defined: of_function("metric", defined["plain"]), '"b"', '"c"', "metric"),
            (lambda defined: of_function("metric", defined["halved"]), "0.5", "0.25", "metric"),
            (lambda defined: of_function("metric", defined["halved"]), '"b"', '"c"', "metric.wrapped"),
        ],
    )
    def test_a_cell_that_was_edited_and_run_again(self, told, old, new, named, is_readable):
        """It is named, whatever part of it changed; run again as it was it is the same."""
        one, same = (told(cell(NOTEBOOK, is_readable=is_readable)) for _ in range(2))
        assert one == same
        other = told(cell(NOTEBOOK.replace(old, new), is_readable=is_readable))
        assert {name for name in {*one, *other} if one.get(name) != other.get(name)} == {named}

    def test_two_classes_of_one_name(self):
        """A program may have an `Answer` of each of two modules: both count."""
        parts = [
            of_program(Suffixed(inside=[type("Answer", (kind,), {"__module__": kind.__name__})()]))
            for kind in (Suffixed, mipro.Module)
        ]
        one, other = (
            type("Answer", (mipro.Module,), {"__module__": name, "LIMIT": name})() for name in ("a", "b")
        )
        both = of_program(Suffixed(inside=[one, other]))
        assert both["class Answer"] not in {part["class Answer"] for part in parts}
        assert both["class Answer"] != of_program(Suffixed(inside=[other]))["class Answer"]

    def test_types_without_a_schema(self):
        """A class that pydantic knows nothing of counts by its source, through an alias too."""
        signature = mipro.Signature({"q": (str, mipro.InputField()), "a": (list[Alias], mipro.OutputField())})
        parts = of_program(mipro.Predict(signature))
        assert "types of self" in parts
        assert "types of self" not in of_program(mipro.Predict("q: list[int] -> a: float | None"))

    @pytest.mark.parametrize("kind", [TypeAliasType, getattr(typing, "TypeAliasType", TypeAliasType)])
    def test_an_alias_that_stands_for_something_else(self, kind):
        """Its name tells nothing of what the model is shown."""
        found = []
        for values in (Literal["yes", "no"], Literal["yes", "no", "maybe"]):
            field = (list[kind("Label", values)], mipro.OutputField())
            found.append(of_program(mipro.Predict(mipro.Signature({"q": mipro.InputField(), "a": field}))))
        assert {name for name in found[0] if found[0][name] != found[1][name]} == {"types of self"}

    @pytest.mark.skipif(sys.version_info < (3, 12), reason="needs the `type` statement")
    def test_an_alias_that_holds_itself(self):
        """As JSON does; the classes in it were looked for without an end."""
        scope = {"AtLeast": AtLeast, "__name__": __name__}
        exec("type Tree = list[Tree] | AtLeast", scope)
        field = (scope["Tree"], mipro.OutputField())
        parts = of_program(mipro.Predict(mipro.Signature({"q": mipro.InputField(), "a": field})))
        assert "types of self" in parts


class Holding(pydantic.BaseModel):
    """Has a default that JSON does not hold."""

    held: Any = object()


def test_default_that_json_does_not_hold():
    """Pydantic's warning, with an address in it, is none of a run that shows no schema of an input."""
    program = mipro.Predict(
        mipro.Signature({"q": (Holding, mipro.InputField()), "a": (str, mipro.OutputField())})
    )
    assert of_program(program)["types of self"] == of_program(program.deepcopy())["types of self"]


class TestCandidate:
    """What evaluations are kept under."""

    def test_model_and_config_count(self):
        """No score is taken for one of another model, or of the same at another temperature."""
        made = [
            mipro.Predict("question -> answer", **config) for config in ({}, {}, {"temperature": 1.0}, {}, {})
        ]
        made[3].lm, made[4].lm = ScriptedLM([], model="a"), ScriptedLM([], model="b")
        digests = [of_candidate(program) for program in made]
        assert digests[0] == digests[1]
        assert len(set(digests)) == 4

    def test_working_does_not_change_it(self):
        """Attributes that a program changes while it runs are no part of it."""
        program = Suffixed(calls=0)
        before = of_candidate(program)
        program.calls = 5
        assert of_candidate(program) == before


class AtLeast:
    """A metric with a limit and a memory."""

    def __init__(self, limit):
        self.limit = limit
        self.calls = 0

    def __call__(self, example, prediction, trace=None):
        """Compare the length."""
        self.calls += 1
        return len(prediction.answer) >= self.limit

    def method(self, example, prediction, trace=None):
        """Do the same."""
        return self(example, prediction)


class Tally:
    """Two metrics with a memory that a method of theirs keeps; the count is another one's."""

    def __init__(self):
        self.limit = 1
        self.calls = 0
        self.met = []

    def metric(self, example, prediction, trace=None):
        """Compare the length."""
        self.met.append(prediction)
        return self._note(prediction)

    def __call__(self, example, prediction, trace=None):
        """Do the same, and meet nothing."""
        return self._note(prediction)

    def _note(self, prediction):
        self.calls += 1
        return len(prediction.answer) >= self.limit

    def set_limit(self, limit):
        """Change the limit, which no metric does."""
        self.limit = limit


class Named:
    """Has a name, or not yet."""

    __slots__ = "name"  # noqa: PLC0205 - Python takes it


class Slotted(Named):
    """The same without a dict."""

    __slots__ = ("limit",)

    def __init__(self, limit):
        self.limit = limit

    def __call__(self, example, prediction, trace=None):
        """Compare the length."""
        return len(prediction.answer) >= self.limit


Alias = NewType("Alias", AtLeast)


@dataclasses.dataclass(frozen=True)
class Rule:
    """Is never another one, whatever it has found out."""

    limit: float
    api_key: str = "k"
    found: dict = dataclasses.field(default_factory=dict, compare=False)

    @functools.cached_property
    def doubled(self):
        """Be kept in the object once it was asked for."""
        return 2 * self.limit


@attrs.frozen
class AttrsRule:
    """The same of attrs."""

    limit: float
    found: dict = attrs.field(factory=dict, eq=False)


class PydanticRule(pydantic.BaseModel, frozen=True, extra="allow"):
    """The same of pydantic."""

    limit: float
    _found: dict = pydantic.PrivateAttr(default_factory=dict)


class Pair(NamedTuple):
    """The same as a tuple."""

    limit: float


@dataclasses.dataclass
class Count:
    """Can be changed, so that nobody knows what of it was given."""

    limit: float


def holding(value):
    """Return a metric that holds a value and only reads it."""
    return lambda example, prediction, trace=None: value


def closed_over(limit):
    """Return a metric that holds the limit, and what it has met."""
    met, count = [], 0

    def metric(example, prediction, trace=None):
        nonlocal count
        count += 1
        met.append(prediction)
        return len(prediction.answer) >= limit

    metric(None, mipro.Prediction(answer="a"))
    return metric


def defaulting(limit):
    """Return a metric that holds the limit as a default."""

    def metric(example, prediction, trace=None, *, at_least=limit):
        return len(prediction.answer) >= at_least

    return metric


def positional(limit):
    """Return one that has it in a positional default."""

    def metric(example, prediction, trace=None, at_least=limit):
        return len(prediction.answer) >= at_least

    return metric


def decorated(limit):
    """Return a metric around another one that holds the limit."""
    inner = closed_over(limit)

    def metric(example, prediction, trace=None):
        return inner(example, prediction)

    return metric


def judged(limit):
    """Return a metric around a program."""
    judge = Suffixed(limit=limit)
    return lambda example, prediction, trace=None: judge(question=prediction.answer)


def length(example, prediction, trace=None, *, limit=1):
    """Compare the length."""
    return len(prediction.answer) >= limit


class TestFunction:
    """Parts of a metric's identity."""

    @pytest.mark.parametrize(
        ("make", "named"),
        [
            (AtLeast, "metric.limit"),
            (Slotted, "metric.limit"),
            (lambda limit: AtLeast(limit).method, "metric.limit"),
            (closed_over, "metric.limit"),
            (defaulting, "metric.at_least"),
            (positional, "metric.at_least"),
            (decorated, "metric.inner"),
            (judged, "metric.judge"),
            (lambda limit: functools.partial(length, limit=limit), "metric.limit"),
            (lambda limit: functools.partial(length, {"limit": limit}), "metric.argument 0"),
            (lambda limit: Suffixed(limit=limit), "metric.program"),
        ],
    )
    def test_what_a_metric_holds_counts(self, make, named):
        """It is named where it differs, and the same metric made again is the same."""
        one, same, other = (of_function("metric", make(limit)) for limit in (1, 1, 100))
        assert one == same
        assert {name for name in one if one[name] != other[name]} == {named}

    @pytest.mark.parametrize(
        ("make", "one", "other"),
        [
            (Rule, 1, 2),
            (AttrsRule, 1, 2),
            (lambda fields: PydanticRule(**fields), {"limit": 1}, {"limit": 2}),
            (lambda fields: PydanticRule(**fields), {"limit": 1}, {"limit": 1, "more": 1}),
            (Pair, 1, 2),
            (lambda limit: {"rules": [Rule(limit)]}, 1, 2),
            (re.compile, "a", "b"),
            (functools.partial(re.compile, "a"), re.IGNORECASE, re.DOTALL),
            (lambda pattern: re.compile(pattern).search, "a", "b"),
            (fractions.Fraction, "1/2", "1/3"),
            (complex, 1, 2),
            (range, 1, 2),
            (collections.deque, [1], [2]),
            (types.MappingProxyType, {"a": 1}, {"a": 2}),
            (ipaddress.ip_network, "10.0.0.0/8", "10.0.0.0/16"),
            (timezone, timedelta(0), timedelta(hours=1)),
            (mipro.Signature, "text -> good: bool", "text -> bad: bool"),
            (functools.partial(mipro.Signature, "text -> good: bool"), "Be strict.", "Be kind."),
            (lambda values: list[Literal[values]], ("a", "b"), ("a", "c")),
            (lambda kind: kind, Rule, Pair),
            (lambda kind: kind.__call__, AtLeast, Slotted),
            (lambda function: function, str.lower, str.upper),
            (lambda limit: functools.cache(holding(limit)), 1, 2),
        ],
    )
    def test_what_is_never_changed_counts(self, make, one, other):
        """A metric that holds it is another one where it differs, and the same where it was made again."""
        first, same, changed = (of_function("metric", holding(make(given))) for given in (one, one, other))
        assert first == same
        assert {name for name in first if first[name] != changed[name]} == {"metric.value"}

    @pytest.mark.parametrize("kind", [Rule, AttrsRule, lambda limit: PydanticRule(limit=limit)])
    def test_what_it_has_found_out_does_not(self, kind):
        """Fields that are not compared, private and cached ones are memory of a frozen object too."""
        rule = kind(1)
        before = of_function("metric", holding(rule))
        getattr(rule, "found", getattr(rule, "_found", None))["a"] = 1
        assert getattr(rule, "doubled", 2) == 2
        assert of_function("metric", holding(rule)) == before

    def test_what_can_be_changed_does_not(self):
        """Nor does what has the name of a secret in what can't."""
        assert set(of_function("metric", holding(Count(1)))) == {"metric"}
        one, other = (of_function("metric", holding(Rule(1, api_key=key))) for key in ("a", "b"))
        assert one == other

    def test_its_memory_does_not(self):
        """What a metric has counted and met is not what it was given."""
        metric = AtLeast(1)
        before = of_function("metric", metric)
        metric(None, mipro.Prediction(answer="a"))
        assert metric.calls == 1
        assert of_function("metric", metric) == before
        one = closed_over(1)
        before = of_function("metric", one)
        one(None, mipro.Prediction(answer="b"))
        assert of_function("metric", one) == before

    @pytest.mark.parametrize("call", [lambda tally: tally, lambda tally: tally.metric])
    def test_what_methods_of_it_remember_does_not(self, call):
        """A notebook goes on with an interrupted run by the same object, which has counted meanwhile."""
        tally = Tally()
        before = of_function("metric", call(tally))
        call(tally)(None, mipro.Prediction(answer="a"))
        assert tally.calls == 1
        assert of_function("metric", call(tally)) == before
        tally.set_limit(100)
        assert of_function("metric", call(tally)) != before

    def test_memory_that_cannot_be_told_counts(self):
        """Where the source is not there, what a function changes is not known."""
        met = []
        metric = eval("lambda met: lambda *_: met.append(1)")(met)
        before = of_function("metric", metric)
        met.append(1)
        assert of_function("metric", metric) != before

    def test_memory_of_a_lambda_does_not_count(self):
        """It is told wherever the lambda stands, and in however many lines."""
        met = []
        metrics = {
            "one line": lambda example, prediction, trace=None: met.append(prediction),
            "two lines": lambda example, prediction, trace=None: (
                met.append(prediction)),
        }  # fmt: skip
        before = {name: of_function("metric", metric) for name, metric in metrics.items()}
        met.append(1)
        assert {name: of_function("metric", metric) for name, metric in metrics.items()} == before

    def test_a_lambda_is_not_what_stands_beside_it(self, tmp_path):
        """Other arguments of its line may change; it may not, nor be another one of the line."""

        def identity(name, line):
            path = tmp_path / f"{name}.py"
            path.write_text(f"def optimizer(metric, **_): return metric\n{line}\n")
            return of_function("metric", runpy.run_path(str(path))["made"])

        one = identity("one", "made = optimizer(lambda e, p, t=None: e.a == p.a, num_threads=4)")
        assert identity("same", "made = optimizer(lambda e, p, t=None: e.a == p.a, num_threads=16)") == one
        assert identity("other", "made = optimizer(lambda e, p, t=None: e.a in p.a, num_threads=4)") != one
        assert identity("inside", "made = optimizer(lambda e, p, t=None: any(map(lambda a: a, p)))") != one
        first, second = (
            identity(name, f"made = [lambda e, p: e.a == p.a, lambda e, p: e.b == p.b][{name}]")
            for name in ("0", "1")
        )
        assert first != second

    def test_function_that_knows_itself(self):
        """A way back to the function is not followed; a variable without a value is none."""

        def metric(example, prediction, trace=None):
            return unset if example is None else metric(None, prediction)

        assert of_function("metric", metric) == of_function("metric", metric)
        unset = 1
        assert of_function("metric", metric)["metric.unset"]

    def test_built_in_functions_and_classes(self):
        """Where there is no source and nothing held, the name counts."""
        assert len({*of_function("metric", max).values(), *of_function("metric", min).values()}) == 2
        assert set(of_function("metric", AtLeast)) == {"metric"}


class TestSecrets:
    """Nothing secret is in an identity."""

    def test_values_of_secret_names_are_left_out(self):
        """Of models, configs, attributes and dicts in them."""
        lm = ScriptedLM(
            [], api_key="sk-secret", extra_headers={"a": "sk-secret"}, extra_body={"token": "sk-secret"}
        )
        assert "sk-secret" not in of_model(lm)
        assert state_of({"a": [{"password": "sk-secret", "user": "me"}]}) == {"a": [{"user": "me"}]}
        program = Suffixed(api_key="sk-secret", options={"api_key": "sk-secret"})
        program.answer.config = {"api_key": "sk-secret"}
        parts = of_program(program)
        assert "attribute self.api_key" not in parts
        assert parts["config of answer"] == "{}"
        assert parts["attribute self.options"] == digest({})


PRINT = """
import dataclasses, functools, re, sys, threading
import mipro
from mipro.runs import canonical, of_function, of_program
class Program(mipro.Module):
    def __init__(self):
        super().__init__()
        self.answer = mipro.Predict("question -> answer", temperature=1.0)
        self.words = {"some", "words", "in", "a", "set"}
        self.options = {"client": object(), "words": [frozenset(self.words)], ("a", object): threading.Lock()}
@dataclasses.dataclass(frozen=True)
class Rule:
    words: set
    client: object
class Metric:
    def __init__(self):
        self.words, self.client, self.clients = {"some", "more", "words"}, object(), [object()]
        self.rule, self.call, self.type = Rule(self.words, self.client), self.client.__eq__, list[Rule]
        self.find, self.acquire = re.compile("a").search, threading.Lock().acquire
    def __call__(self, example, prediction, trace=None): return 1
metric = functools.partial(Metric(), object(), words={"a", "b", "c"})
print(canonical({**of_program(Program()), **of_function("metric", metric)}))
"""


def test_the_same_in_every_process():
    """Neither the order of sets nor addresses in memory count."""
    found = {
        subprocess.run(
            [sys.executable, "-c", PRINT],
            env={**os.environ, "PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
            timeout=60,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(found) == 1
    assert b"attribute self.options" in found.pop()
