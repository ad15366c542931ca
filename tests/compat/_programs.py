"""Small programs that must do the same on DSPy and on mipro.

Each is a function of the library `d`, a model `lm` and `asked`, the requests that the
server has seen so far; it returns plain values. The decorator says what the server answers.
"""

import asyncio
import enum
import json
import pathlib
import tempfile
from typing import Any, Literal, Optional

import pydantic

PROGRAMS = {}


def program(answer):
    """Register a program; `answer` is a dict of fields, a list of them, or a function of the request."""

    def register(function):
        PROGRAMS[function.__name__] = (answer, function)
        return function

    return register


def asked_for(body, field):
    """Return the value of an input field in the last message of a request."""
    content = str(body["messages"][-1]["content"])
    return content.split(f"[[ ## {field} ## ]]\n", 1)[1].split("\n\n", 1)[0]


def roles(body):
    """Return who says what, in order."""
    return [message["role"] for message in body["messages"]]


def echo(body):
    """Answer with the question."""
    return {"answer": asked_for(body, "question"), "reasoning": "R"}


class Colour(enum.Enum):
    """Colours."""

    RED = "red"
    BLUE = "dark blue"


class Person(pydantic.BaseModel):
    """A person."""

    name: str
    age: int
    tags: list[str] = []


class Team(pydantic.BaseModel):
    """A team."""

    lead: Person
    members: list[Person]


# --- Predict and types


@program({"answer": "blue"})
def predict_string(d, lm, asked):
    """The smallest program."""
    return d.Predict("question -> answer")(question="Colour of the sky?").toDict()


@program({"count": "3", "ratio": "0.5", "sure": "False", "names": '["a", "b"]', "ages": '{"a": 1}'})
def predict_types(d, lm, asked):
    """Numbers, truth, lists, dicts."""
    signature = "text -> count: int, ratio: float, sure: bool, names: list[str], ages: dict[str, int]"
    return d.Predict(signature)(text="T").toDict()


@program([{"mood": "good"}, {"mood": "'it is bad'"}, {"mood": "Literal[good]"}])
def predict_literal(d, lm, asked):
    """One of some words, as models write them."""
    predictor = d.Predict("text -> mood: Literal['good', 'it is bad']")
    return [predictor(text="T").mood for _ in range(3)]


@program([{"colour": "dark blue"}, {"colour": "RED"}])
def predict_enum(d, lm, asked):
    """By value and by name."""
    predictor = d.Predict(d.Signature("text -> colour: Colour", custom_types={"Colour": Colour}))
    return [predictor(text="T").colour.name for _ in range(2)]


@program({"team": '{"lead": {"name": "A", "age": 1}, "members": [{"name": "B", "age": "2", "tags": ["x"]}]}'})
def predict_nested_model(d, lm, asked):
    """A pydantic model of others."""

    class Extract(d.Signature):
        """Find the team."""

        text: str = d.InputField()
        team: Team = d.OutputField(desc="all of them")

    return d.Predict(Extract)(text="T").team.model_dump()


@program([{"note": "x", "count": "4"}, {"note": "x", "count": "null"}, {"note": "x"}])
def predict_optional(d, lm, asked):
    """A value, null, or no field at all."""

    class Find(d.Signature):
        text: str = d.InputField()
        note: str = d.OutputField()
        count: Optional[int] = d.OutputField()  # noqa: UP045 - as programs write it

    return [d.Predict(Find)(text="T").count for _ in range(3)]


@program({"people": "[{'name': 'A', 'age': 1,}"})
def predict_repairs_json(d, lm, asked):
    """JSON that is almost right."""
    predictor = d.Predict(d.Signature("text -> people: list[Person]", custom_types={"Person": Person}))
    return [person.name for person in predictor(text="T").people]


@program({"answer": "A"})
def predict_class_signature(d, lm, asked):
    """Instructions and descriptions are in the prompt."""

    class Ask(d.Signature):
        """Answer in verse."""

        question: str = d.InputField(desc="from a child")
        answer: str = d.OutputField(desc="four lines")

    d.Predict(Ask)(question="Why?")
    system = asked[0]["messages"][0]["content"]
    return [text in system for text in ("Answer in verse.", "from a child", "four lines")]


@program({"answer": "A"})
def predict_demos(d, lm, asked):
    """Demos with gaps come first, those without inputs are left out."""
    predictor = d.Predict("question, hint -> reasoning, answer")
    predictor.demos = [
        d.Example(question="Q1", hint="H1", reasoning="R1", answer="A1"),
        {"question": "Q2", "answer": "A2"},
        d.Example(answer="A3"),
    ]
    try:
        predictor(question="Q", hint="H")
    except Exception as error:  # noqa: BLE001 - the answer lacks a field; what was asked counts
        kind = type(error).__name__
    messages = asked[0]["messages"]
    return [kind, roles(asked[0]), "Q2" in messages[1]["content"], "A1" in messages[4]["content"]]


@program({"answer": "A"})
def predict_passages(d, lm, asked):
    """Several texts where one is declared."""
    d.Predict("context, question -> answer")(context=["one", "two\nlines"], question="Q")
    return asked_for(asked[0], "context")


@program(lambda body: [{"answer": "a"}] * body.get("n", 1))
def predict_many(d, lm, asked):
    """N completions at a temperature, and the majority of them."""
    prediction = d.Predict("question -> answer", n=3)(question="Q")
    majority = (d.majority if hasattr(d, "majority") else d.predict.majority)(prediction)
    return [prediction.completions.answer, majority.answer, asked[0]["temperature"], prediction.answer]


@program({"answer": "A"})
def predict_config(d, lm, asked):
    """The call's parameters win over the predictor's."""
    predictor = d.Predict("question -> answer", temperature=0.3, top_p=0.5)
    predictor(question="Q", config={"temperature": 0.9})
    return [asked[0]["temperature"], asked[0]["top_p"]]


@program({"answer": "A", "other": "B"})
def predict_overrides(d, lm, asked):
    """Signature, demos and model of one call."""
    predictor = d.Predict("question -> answer")
    predictor.demos = [{"question": "Q", "answer": "A"}]
    with d.context(lm=None):
        found = predictor(question="Q", signature="question -> other", demos=[], lm=lm)
    return [found.toDict(), roles(asked[0])]


@program({"answer": "A"})
def predict_defaults(d, lm, asked):
    """An input with a default may be left out."""

    class Ask(d.Signature):
        question: str = d.InputField(default="Why?")
        answer: str = d.OutputField()

    d.Predict(Ask)()
    return asked_for(asked[0], "question")


@program({"answer": "A"})
def predict_odd_inputs(d, lm, asked):
    """Missing, unknown and wrongly typed inputs are warned of, not refused."""
    predictor = d.Predict("question: str, count: int -> answer")
    return [predictor(question="Q").answer, predictor(question="Q", count="many", more=1).answer, len(asked)]


@program({})
def predict_refusals(d, lm, asked):
    """Positional arguments and missing models are errors of value."""

    def refused(call):
        try:
            with d.context(lm=None):
                return call()
        except ValueError:
            return "ValueError"

    predictor = d.Predict("q -> a")
    calls = (lambda: predictor("Q"), lambda: predictor(q="Q"), lambda: d.Signature("q, a"))
    return [[refused(call) for call in calls], len(asked)]


@program(["no fields at all", {"answer": "A"}])
def predict_falls_back_to_json(d, lm, asked):
    """One more try in the other format."""
    return [d.Predict("question -> answer")(question="Q").answer, len(asked)]


@program("never any fields")
def predict_parse_error(d, lm, asked):
    """After both formats have failed."""
    try:
        d.Predict("question -> answer")(question="Q")
    except Exception as error:  # noqa: BLE001 - its name is what is compared
        return [type(error).__name__, len(asked)]


# --- signatures and records


@program({})
def signature_changes(d, lm, asked):
    """All methods that return a changed signature."""
    base = d.Signature("question, context -> answer", "Answer.")
    changed = [
        base.with_instructions("New."),
        base.append("hint", d.InputField(), str),
        base.prepend("reasoning", d.OutputField(), str),
        base.insert(1, "mid", d.InputField()),
        base.insert(-1, "last", d.OutputField(), int),
        base.delete("context"),
        base.with_updated_fields("answer", desc="short"),
    ]
    return [
        [s.signature, s.instructions, {n: f.json_schema_extra["desc"] for n, f in s.fields.items()}]
        for s in changed
    ]


@program({})
def signature_state(d, lm, asked):
    """Dumped and loaded."""
    signature = d.Signature("question -> answer: int").with_instructions("New.")
    state = signature.with_updated_fields("answer", desc="short").dump_state()
    return [state, d.Signature("question -> answer: int").load_state(state).dump_state()]


@program({})
def signature_defaults(d, lm, asked):
    """Instructions, prefixes and types that were not given."""

    class Ask(d.Signature):
        someLongName: str = d.InputField()  # noqa: N815 - what the prefix is made of
        answer_2 = d.OutputField(ge=0, le=3)

    fields = {n: [str(f.annotation), dict(f.json_schema_extra)] for n, f in Ask.fields.items()}
    return [Ask.instructions, fields, Ask.equals(Ask), Ask.equals(Ask.delete("answer_2"))]


@program({})
def examples(d, lm, asked):
    """Fields, inputs, labels, equality."""
    row = d.Example(question="Q", answer="A", dspy_id=1).with_inputs("question")
    other = d.Example(row, answer="B")
    return [
        row.inputs().toDict(), row.labels().toDict(), len(row), row.keys(), row.get("x", 1),
        "question" in row, other.toDict(), row == other, row == row.copy(), row.without("answer").toDict(),
        {**row.inputs()},
        other.inputs().toDict(),
    ]  # fmt: skip


@program({})
def predictions(d, lm, asked):
    """Numbers and completions."""
    low, high = d.Prediction(score=0.25), d.Prediction(score=0.5)
    many = d.Prediction.from_completions([{"a": 1}, {"a": 2}])
    return [
        low + high, sum([low, high]), high / 2, low < high, low >= 0.5, float(low), many.a,
        many.completions.a, len(many.completions), many.completions[1].toDict(),
        d.Prediction(a=1) == d.Prediction(a=1),
    ]  # fmt: skip


# --- modules


@program(echo)
def chain_of_thought(d, lm, asked):
    """Reasoning first."""
    steps = d.ChainOfThought("question -> answer")
    return [steps(question="Q").toDict(), list(steps.predict.signature.output_fields)]


@program({"reasoning": "R", "colours": '["red", "dark blue"]'})
def chain_of_thought_typed(d, lm, asked):
    """Typed outputs after it."""
    signature = d.Signature("text -> colours: list[Colour]", custom_types={"Colour": Colour})
    return [colour.name for colour in d.ChainOfThought(signature)(text="T").colours]


def hops(d):
    """Return a program of two steps that looks things up."""

    class Hops(d.Module):
        def __init__(self):
            super().__init__()
            self.queries = [d.ChainOfThought("question, found -> query") for _ in range(2)]
            self.answer = d.Predict("question, found -> answer")

        def forward(self, question):
            found = []
            for step in self.queries:
                found.append("fact about " + step(question=question, found=found).query)
            return d.Prediction(found=found, answer=self.answer(question=question, found=found).answer)

    return Hops()


def answer_hops(body):
    """Answer each step from what it was given."""
    given = asked_for(body, "found")
    return {"query": f"q{len(given)}", "reasoning": "R", "answer": given[-9:]}


@program(answer_hops)
def multi_hop(d, lm, asked):
    """Queries build on each other."""
    return [hops(d)(question="Q").toDict(), len(asked)]


@program(answer_hops)
def named_predictors(d, lm, asked):
    """Names and order in lists, dicts and nested modules."""

    class Outer(d.Module):
        def __init__(self):
            super().__init__()
            self.by_name = {"z": d.Predict("a -> b"), "a": hops(d)}
            self.last = d.ReAct("x -> y", tools=[])
            self.again = self.by_name["z"]

    program = Outer()
    return [
        [name for name, _ in program.named_predictors()],
        len(program.predictors()),
        [name for name, _ in program.named_sub_modules(d.ChainOfThought)],
    ]


@program(answer_hops)
def copies(d, lm, asked):
    """Copies share nothing; a reset one has learned nothing."""
    program = hops(d)
    program.answer.demos = [d.Example(question="Q", found="F", answer="A")]
    copied, reset = program.deepcopy(), program.reset_copy()
    copied.answer.demos[0].answer = "B"
    copied.answer.signature = copied.answer.signature.with_instructions("New.")
    return [
        program.answer.demos[0].answer, program.answer.signature.instructions, reset.answer.demos,
        copied.answer.signature.instructions,
    ]  # fmt: skip


@program(answer_hops)
def models_of_a_program(d, lm, asked):
    """Set and got for all predictors at once."""
    program = hops(d)
    program.set_lm(lm)
    with d.context(lm=None):
        answer = program(question="Q").answer
    return [program.get_lm() is lm, answer]


@program(echo)
def mapped_predictors(d, lm, asked):
    """Every predictor replaced."""
    program = hops(d)
    program.map_named_predictors(lambda p: d.Predict(p.signature.with_instructions("New.")))
    return [p.signature.instructions for p in program.predictors()]


@program(answer_hops)
def state_of_a_program(d, lm, asked):
    """Dumped, loaded, the same."""
    program = hops(d)
    program.answer.demos = [d.Example(question="Q", found=["F"], answer="A", augmented=True)]
    program.queries[0].predict.signature = program.queries[0].predict.signature.with_instructions("New.")
    state = program.dump_state()
    other = hops(d)
    other.load_state(state)
    return [state, other.dump_state() == state]


@program(answer_hops)
def saved_program(d, lm, asked):
    """On disk and back."""
    program = hops(d)
    program.answer.demos = [{"question": "Q", "found": "F", "answer": Person(name="A", age=1)}]
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "program.json"
        program.save(str(path))
        document = json.loads(path.read_text())
        other = hops(d)
        other.load(str(path))
    document.pop("metadata")
    return [document, other(question="Q").answer]


# --- agents


def add(x: int, y: int) -> int:
    """Add two numbers."""
    return x + y


def broken(x: int) -> int:
    """Fail."""
    raise OSError("no disk")


def turn(tool, **arguments):
    """Return an agent's turn."""
    return {"next_thought": "T", "next_tool_name": tool, "next_tool_args": json.dumps(arguments)}


END = {"reasoning": "R", "answer": "A"}


@program([turn("add", x=1, y="2"), turn("finish"), END])
def agent(d, lm, asked):
    """A tool, then the end."""
    prediction = d.ReAct("question -> answer", tools=[d.Tool(lambda x, y: int(x) + int(y), name="add")])(
        question="Q"
    )
    return [prediction.toDict(), len(asked)]


@program([turn("broken", x=1), turn("add", x=1, y=2), turn("finish"), END])
def agent_with_a_failing_tool(d, lm, asked):
    """A failure is an observation; the agent goes on."""
    trajectory = d.ReAct("question -> answer", tools=[add, broken])(question="Q").trajectory
    return [
        trajectory["observation_0"][:25],
        "no disk" in trajectory["observation_0"],
        trajectory["observation_1"],
    ]


@program([turn("add", x=1, y=1)] * 2 + [END])
def agent_stopped(d, lm, asked):
    """After max_iters."""
    prediction = d.ReAct("question -> answer", tools=[add], max_iters=2)(question="Q")
    return [prediction.answer, sorted(prediction.trajectory)]


@program([turn("add", x=1, y=2), turn("finish"), END])
def agent_awaited(d, lm, asked):
    """With an async tool."""

    async def slow(x: int, y: int) -> int:
        """Add slowly."""
        await asyncio.sleep(0)
        return x + y

    react = d.ReAct("question -> answer", tools=[d.Tool(slow, name="add")])
    return asyncio.run(react.acall(question="Q")).toDict()


@program({})
def tools(d, lm, asked):
    """Described by types and docstring, called with converted arguments."""

    def visit(person: Person, days: int = 1, mood: Literal["good", "bad"] = "good") -> str:
        """Visit somebody."""
        return f"{person.name} {days} {mood}"

    tool = d.Tool(visit)
    return [tool.name, tool.desc, tool.args, tool(person={"name": "A", "age": 1}, days=2)]


# --- async, threads, traces, history


@program(echo)
def awaited(d, lm, asked):
    """One call, and many at a time."""
    predictor = d.Predict("question -> answer")

    async def main():
        many = await asyncio.gather(*(predictor.acall(question=f"Q{n}") for n in range(5)))
        return [prediction.answer for prediction in many]

    return asyncio.run(main())


@program(echo)
def awaited_program(d, lm, asked):
    """A module with aforward."""

    class Steps(d.Module):
        def __init__(self):
            super().__init__()
            self.step = d.ChainOfThought("question -> answer")

        async def aforward(self, question):
            first = await self.step.acall(question=question)
            return await self.step.acall(question=first.answer + "!")

    return asyncio.run(Steps().acall(question="Q")).answer


@program(echo)
def asyncified(d, lm, asked):
    """A sync program awaited."""
    return asyncio.run(d.asyncify(d.Predict("question -> answer"))(question="Q")).answer


@program(echo)
def in_parallel(d, lm, asked):
    """Pairs in threads, in order."""
    predictor = d.Predict("question -> answer")
    pairs = [(predictor, d.Example(question="a").with_inputs("question")), (predictor, {"question": "b"})]
    results = d.Parallel(num_threads=2, disable_progress_bar=True)(pairs)
    return [result.answer for result in results]


def failing(d):
    """Return a program that fails on the input "bad"."""

    class Failing(d.Module):
        def __init__(self):
            super().__init__()
            self.step = d.Predict("question -> answer")

        def forward(self, question):
            if question == "bad":
                raise OSError("bad")
            return self.step(question=question)

    return Failing()


@program(echo)
def batch(d, lm, asked):
    """With failures."""
    rows = [d.Example(question=q).with_inputs("question") for q in ("a", "bad", "c")]
    results, failed, errors = failing(d).batch(
        rows, num_threads=2, return_failed_examples=True, disable_progress_bar=True
    )
    return [[r and r.answer for r in results], [f.question for f in failed], [str(e) for e in errors]]


@program(echo)
def traced(d, lm, asked):
    """Predictor, inputs and prediction of every call."""
    program = d.ChainOfThought("question -> answer")
    with d.context(trace=[]):
        program(question="1")
        program(question="2")
        trace = d.settings.trace
    return [[p is program.predict, dict(inputs), prediction.answer] for p, inputs, prediction in trace]


@program(echo)
def histories(d, lm, asked):
    """Of the model and of the module."""
    predictor = d.Predict("question -> answer")
    predictor(question="1")
    predictor(question="2")
    entry = lm.history[-1]
    return [
        len(lm.history),
        len(predictor.history),
        [m["role"] for m in entry["messages"]],
        "2" in entry["outputs"][0],
    ]


@program(echo)
def usage(d, lm, asked):
    """Counted per prediction and per block."""
    predictor = d.Predict("question -> answer")
    with d.context(track_usage=True):
        counted = predictor(question="1").get_lm_usage()
    with d.track_usage() as tracker:
        predictor(question="1")
        predictor(question="1")
    model = next(iter(counted))
    twice = tracker.get_total_tokens()[model]["total_tokens"]
    return [model, counted[model]["total_tokens"] > 0, twice == 2 * counted[model]["total_tokens"]]


# --- adapters


@program({"answer": "A", "count": 3, "people": [{"name": "A", "age": 1}]})
def json_adapter(d, lm, asked):
    """Typed values in one object."""
    signature = d.Signature(
        "question -> answer, count: int, people: list[Person]", custom_types={"Person": Person}
    )
    with d.context(adapter=d.JSONAdapter()):
        prediction = d.Predict(signature)(question="Q")
    return [prediction.answer, prediction.count, prediction.people[0].model_dump()]


@program('Sure: ```json\n{"answer": "A", "reasoning": "R",}\n```')
def json_adapter_repairs(d, lm, asked):
    """An object among words."""
    with d.context(adapter=d.JSONAdapter()):
        return d.ChainOfThought("question -> answer")(question="Q").toDict()


@program({"answer": "A"})
def conversation(d, lm, asked):
    """Earlier turns are messages of their own."""

    class Talk(d.Signature):
        question: str = d.InputField()
        history: d.History = d.InputField()
        answer: str = d.OutputField()

    past = d.History(messages=[{"question": "Q1", "answer": "A1"}, {"question": "Q2", "answer": "A2"}])
    d.Predict(Talk)(question="Q3", history=past)
    return [roles(asked[0]), "A2" in asked[0]["messages"][4]["content"], asked_for(asked[0], "question")]


@program({"answer": "A"})
def images(d, lm, asked):
    """A content block of their own."""
    signature = d.Signature({"picture": (d.Image, d.InputField()), "answer": (str, d.OutputField())})
    d.Predict(signature)(picture=d.Image("https://example.org/cat.png"))
    content = asked[0]["messages"][-1]["content"]
    return [[part["type"] for part in content], content[1]["image_url"]["url"]]


@program({"answer": "A"})
def own_adapter(d, lm, asked):
    """A subclass that changes one part of the prompt."""

    class Loud(d.ChatAdapter):
        def format_task_description(self, signature):
            return "SHOUT: " + signature.instructions

    with d.context(adapter=Loud()):
        answer = d.Predict("question -> answer")(question="Q").answer
    return [answer, asked[0]["messages"][0]["content"].endswith("produce the fields `answer`."),
            "SHOUT: Given" in asked[0]["messages"][0]["content"]]  # fmt: skip


@program({})
def prompt_without_a_call(d, lm, asked):
    """Looked at, not sent."""
    messages = d.ChatAdapter().format(d.Signature("question -> answer"), [], {"question": "Q"})
    return [roles({"messages": messages}), asked_for({"messages": messages}, "question"), len(asked)]


# --- evaluation and few-shot


ROWS = [("1 + 1", "2"), ("2 + 2", "4"), ("3 + 3", "6"), ("4 + 4", "8")]


def rows(d):
    """Return a small data set."""
    return [d.Example(question=q, answer=a).with_inputs("question") for q, a in ROWS]


def sums(body):
    """Answer all sums but the last rightly."""
    question = asked_for(body, "question")
    return {"answer": "7" if question.startswith("4") else dict(ROWS)[question], "reasoning": "R"}


def exact(example, prediction, trace=None):
    """Compare answers."""
    return example.answer == prediction.answer


@program(sums)
def evaluated(d, lm, asked):
    """A score in percent, and every result."""
    evaluate = d.Evaluate(devset=rows(d), metric=exact, num_threads=2, display_progress=False)
    result = evaluate(d.Predict("question -> answer"))
    return [result.score, [[e.question, p.answer, float(s)] for e, p, s in result.results]]


@program(sums)
def evaluated_with_failures(d, lm, asked):
    """A program that raises scores the failure score."""
    data = [*rows(d), d.Example(question="bad", answer="x").with_inputs("question")]
    evaluate = d.Evaluate(devset=data, metric=exact, num_threads=1, display_progress=False, failure_score=0.0)
    result = evaluate(failing(d))
    return [result.score, [float(score) for *_, score in result.results]]


@program(sums)
def evaluated_by_library_metrics(d, lm, asked):
    """Exact match of normalised texts."""
    metric = d.evaluate.answer_exact_match
    pairs = [("Paris", "the paris!"), ("Paris", "Rome"), (["Rome", "Paris"], "paris")]
    return [bool(metric(d.Example(answer=gold), d.Prediction(answer=answer))) for gold, answer in pairs]


@program(sums)
def labelled_few_shot(d, lm, asked):
    """Demos from the training set."""
    compiled = d.teleprompt.LabeledFewShot(k=2).compile(d.Predict("question -> answer"), trainset=rows(d)[:2])
    return sorted(demo["question"] for demo in compiled.predictors()[0].demos)


@program(sums)
def bootstrapped(d, lm, asked):
    """Demos from what the program did rightly."""
    optimizer = d.teleprompt.BootstrapFewShot(metric=exact, max_bootstrapped_demos=2, max_labeled_demos=0)
    student = d.ChainOfThought("question -> answer")
    compiled = optimizer.compile(student, trainset=rows(d))
    demos = [dict(demo.items()) for demo in compiled.predict.demos]
    return [sorted(demos, key=lambda demo: demo["question"]), student.predict.demos, compiled._compiled]


@program(sums)
def bootstrapped_over_a_threshold(d, lm, asked):
    """Only what scores enough is a demo."""
    optimizer = d.teleprompt.BootstrapFewShot(
        metric=lambda e, p, trace=None: 0.9 if e.question.startswith("2") else 0.5,
        metric_threshold=0.8, max_bootstrapped_demos=3, max_labeled_demos=0,
    )  # fmt: skip
    compiled = optimizer.compile(d.Predict("question -> answer"), trainset=rows(d))
    return [demo["question"] for demo in compiled.predictors()[0].demos]


def any_value(value: Any) -> Any:
    """Return a value as JSON can hold it."""
    return json.loads(json.dumps(value, default=str))
