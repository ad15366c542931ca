"""ChainOfThought, ReAct, Parallel, asyncify, majority."""

import asyncio
import os
import sqlite3
import subprocess
import sys
import threading
import time

import pytest
from mipro.utils.parallelizer import ParallelExecutor

from mipro.adapters import JSONAdapter, Tool
from mipro.context import context, settings
from mipro.errors import (
    ContextWindowError,
    LMRateLimitError,
    LMRequestError,
    NoModelError,
    ProgramError,
    RunStopped,
    UserError,
)
from mipro.example import Completions, Example, Prediction
from mipro.modules import ChainOfThought, Module, Parallel, Predict, ReAct, asyncify, majority, syncify
from mipro.signature import OutputField
from mipro.testing.lms import ScriptedLM


def test_chain_of_thought_reasons_first():
    """The field comes before all other outputs."""
    with context(lm=ScriptedLM([{"reasoning": "R", "answer": 3}])):
        prediction = ChainOfThought("question -> answer: int", temperature=0.1)(question="Q")
    assert prediction.toDict() == {"reasoning": "R", "answer": 3}


def test_chain_of_thought_can_be_awaited_and_its_field_chosen():
    """Type and description of the reasoning."""
    steps = ChainOfThought("question -> answer", rationale_field_type=list[str])
    with context(lm=ScriptedLM([{"reasoning": ["a", "b"], "answer": "A"}])):
        assert asyncio.run(steps.acall(question="Q")).reasoning == ["a", "b"]
    other = ChainOfThought("question -> answer", rationale_field=OutputField(desc="think"))
    assert other.predict.signature.fields["reasoning"].json_schema_extra["desc"] == "think"


def step(tool, **arguments):
    """Return an agent's turn."""
    return {"next_thought": "T", "next_tool_name": tool, "next_tool_args": arguments}


ANSWER = {"reasoning": "R", "answer": "A"}


def add(x: int, y: int) -> int:
    """Add two numbers."""
    return x + y


async def slow_add(x: int, y: int) -> int:
    """Add two numbers slowly."""
    await asyncio.sleep(0)
    return x + y


def test_an_agent_calls_tools_until_it_finishes():
    """The trajectory is in the prediction."""
    lm = ScriptedLM([step("add", x=1, y="2"), step("finish"), ANSWER])
    with context(lm=lm):
        prediction = ReAct("question -> answer", tools=[add])(question="1 + 2?")
    assert prediction.answer == "A"
    assert prediction.trajectory == {
        "thought_0": "T", "tool_name_0": "add", "tool_args_0": {"x": 1, "y": "2"}, "observation_0": 3,
        "thought_1": "T", "tool_name_1": "finish", "tool_args_1": {}, "observation_1": "Completed.",
    }  # fmt: skip
    assert "[[ ## observation_0 ## ]]\n3" in lm.calls[1]["messages"][-1]["content"]


def test_an_agent_needs_no_tools():
    """It can only finish."""
    with context(lm=ScriptedLM([step("finish"), ANSWER])):
        assert ReAct("question -> answer")(question="Q").answer == "A"


def test_an_agent_stops_after_max_iters():
    """The call's own limit wins over the constructor's."""
    lm = ScriptedLM([step("add", x=1, y=1), ANSWER] * 2)
    agent = ReAct("question -> answer", tools=[add], max_iters=1)
    with context(lm=lm):
        assert len(agent(question="Q").trajectory) == 4
        assert agent(question="Q", max_iters=1).answer == "A"


def test_a_failing_tool_is_an_observation():
    """Wrong arguments too; the agent goes on."""

    def broken() -> str:
        raise OSError("no disk")

    lm = ScriptedLM([step("broken"), step("add", x="a", y=1), step("finish"), ANSWER])
    with context(lm=lm):
        trajectory = ReAct("question -> answer", tools=[broken, add])(question="Q").trajectory
    assert trajectory["observation_0"] == "Execution error in broken: OSError: no disk"
    assert trajectory["observation_1"].startswith("Execution error in add: UserError: Arg x is invalid")


@pytest.mark.parametrize("error", [RunStopped("over"), LMRateLimitError("busy")])
def test_failures_of_the_run_and_of_the_infrastructure_are_no_observations(error):
    """They are nobody's answer."""

    def ask() -> str:
        raise error

    with context(lm=ScriptedLM([step("ask")])), pytest.raises(type(error)):
        ReAct("question -> answer", tools=[ask])(question="Q")


def test_a_request_that_a_tool_got_wrong_is_an_observation():
    """That is the program's fault."""

    def ask() -> str:
        raise LMRequestError("refused")

    with context(lm=ScriptedLM([step("ask"), step("finish"), ANSWER])):
        observed = ReAct("question -> answer", tools=[ask])(question="Q").trajectory["observation_0"]
    assert observed == "Execution error in ask: LMRequestError: refused"


def test_an_agent_that_chooses_no_valid_tool_answers_with_what_it_has():
    """After the adapter has asked once more."""
    with context(lm=ScriptedLM([step("nothing"), step("nothing"), ANSWER])):
        prediction = ReAct("question -> answer", tools=[add])(question="Q")
    assert (prediction.answer, prediction.trajectory) == ("A", {})


def too_long(limit):
    """Return a model whose window holds so many steps."""

    def answer(messages, **kwargs):
        text = messages[-1]["content"]
        if text.count("[[ ## observation_") > limit:
            raise ContextWindowError("too long")
        return ANSWER if "[[ ## answer ## ]]" in text else step("add", x=1, y=1)

    return ScriptedLM(answer)


def test_the_oldest_step_is_left_out_when_the_prompt_is_too_long():
    """And the agent goes on."""
    with context(lm=too_long(2)):
        prediction = ReAct("question -> answer", tools=[add], max_iters=5)(question="Q")
    assert prediction.answer == "A"
    assert [key for key in prediction.trajectory if key.startswith("thought")] == ["thought_3", "thought_4"]


def test_a_prompt_that_can_not_be_shortened_is_an_error():
    """One step is the least."""
    with context(lm=too_long(0)), pytest.raises(ContextWindowError, match="cannot be truncated"):
        ReAct("question -> answer", tools=[add])(question="Q")


def test_an_awaited_agent_awaits_its_tools():
    """Sync and async ones, and with the same result."""
    lm = ScriptedLM([step("slow_add", x=1, y=2), step("add", x=1, y=3), step("finish"), ANSWER])
    with context(lm=lm):
        agent = ReAct("question -> answer", tools=[slow_add, Tool(add)])
        trajectory = asyncio.run(agent.acall(question="Q")).trajectory
    assert (trajectory["observation_0"], trajectory["observation_1"]) == (3, 4)


@pytest.mark.parametrize("tools", [None, add])
def test_tools_are_a_list(tools):
    """One function in place of a list is named as what it is."""
    with pytest.raises(UserError, match="`tools` must be a list of functions"):
        ReAct("question -> answer", tools=tools)


def test_tools_have_distinct_names():
    """`finish` is taken."""
    with pytest.raises(UserError, match="`add` is taken"):
        ReAct("question -> answer", tools=[add, add])
    with pytest.raises(UserError, match="`finish` is taken"):
        ReAct("question -> answer", tools=[Tool(add, name="finish")])


@pytest.mark.parametrize("max_iters", [-1, "3", 2.5, None, True])
def test_a_number_of_turns_that_makes_no_sense_is_refused(max_iters):
    """Where the agent is made, and in a call, before the model is asked; -1 left out all tools."""
    lm = ScriptedLM([])
    with pytest.raises(UserError, match="`max_iters` must be a whole number of turns, 0 or more, but got"):
        ReAct("question -> answer", max_iters=max_iters)
    with context(lm=lm), pytest.raises(UserError, match="`max_iters` must be"):
        ReAct("question -> answer")(question="Q", max_iters=max_iters)
    assert lm.calls == []


def test_an_input_may_be_called_max_iters():
    """Then it is an input."""
    lm = ScriptedLM([step("finish"), ANSWER])
    with context(lm=lm):
        ReAct("max_iters: int -> answer")(max_iters=7)
    assert "[[ ## max_iters ## ]]\n7" in lm.calls[0]["messages"][-1]["content"]


def test_an_output_of_an_agent_may_be_called_base():
    """As every other."""
    with context(lm=ScriptedLM([step("finish"), {"reasoning": "R", "base": "B"}])):
        assert ReAct("question -> base")(question="Q").base == "B"


@pytest.mark.parametrize(
    "signature", ["trajectory -> answer", "question -> trajectory", "next_thought -> answer"]
)
def test_an_agent_keeps_its_own_fields(signature):
    """What it would lose or mix up with its own is refused before any call."""
    with pytest.raises(UserError, match="can't be a field of an agent: it has one of its own"):
        ReAct(signature)


class Double(Module):
    """Doubles, and fails on odd numbers."""

    def forward(self, x):
        """Return a prediction."""
        if x % 2:
            raise OSError(f"odd: {x}")
        return Prediction(y=2 * x, lm=settings.lm)


def test_pairs_run_in_threads_under_the_settings_of_the_caller():
    """Examples, dicts, tuples; the results in order."""
    inputs = [Example(x=2, z=0).with_inputs("x"), {"x": 4}, (6,)]
    with context(lm="mine"):
        results = Parallel(num_threads=3)([(Double(), given) for given in inputs])
    assert [(result.y, result.lm) for result in results] == [(4, "mine"), (8, "mine"), (12, "mine")]


def test_failed_pairs_are_none_and_can_be_asked_for():
    """With their errors."""
    parallel = Parallel(num_threads=2, return_failed_examples=True, max_errors=5)
    results, failed, errors = parallel([(Double(), {"x": x}) for x in (1, 2, 3)])
    assert [result and result.y for result in results] == [None, 4, None]
    assert failed == [{"x": 1}, {"x": 3}]
    assert [str(error) for error in errors] == ["odd: 1", "odd: 3"]
    assert parallel([(Double(), {"x": 2})])[1:] == ([], [])  # those of another call are none of its own
    assert failed == [{"x": 1}, {"x": 3}]


def test_too_many_failures_end_it():
    """With the last of them."""
    with pytest.raises(ProgramError, match=r"2 calls failed.*OSError: odd") as caught:
        Parallel(num_threads=1, max_errors=2)([(Double(), {"x": x}) for x in (1, 3, 5, 7)])
    assert caught.value.count == 2


def test_an_executor_tells_where_it_failed_also_when_it_ended():
    """By the place in the data; what it tells is of the last call alone."""
    executor = ParallelExecutor(num_threads=1, max_errors=2)
    with pytest.raises(ProgramError, match="2 calls failed"):
        executor.execute(Double(), [2, 1, 3, 5])
    assert executor.failed_indices == [1, 2]
    assert {index: str(error) for index, error in executor.exceptions_map.items()} == {
        1: "odd: 1",
        2: "odd: 3",
    }
    assert [result.y for result in executor.execute(Double(), iter([2, 4]))] == [4, 8]
    assert (executor.failed_indices, executor.exceptions_map) == ([], {})


def test_one_thread_is_the_callers_own():
    """What only the thread that made it can use, such as a connection of sqlite3, works with one thread."""
    database = sqlite3.connect(":memory:")
    count = [(lambda: database.execute("select 1 + 1").fetchone()[0], {})]
    assert Parallel(num_threads=1)(count * 3) == [2, 2, 2]
    database.close()


def test_the_end_of_a_run_is_not_counted_but_raised():
    """Whatever `max_errors` says."""

    def over():
        raise RunStopped("over")

    with pytest.raises(RunStopped):
        Parallel(num_threads=2, max_errors=100)([(over, {})])


def test_no_model_ends_it():
    """At once, since no call can do better, where results without one answer would come back."""
    with context(lm=None), pytest.raises(NoModelError, match="No LM is loaded"):
        Predict("x -> y").batch([Example(x=1).with_inputs("x")])


def test_pairs_nest():
    """A Parallel is a program too; a whole example may be given."""
    inner = [(Double(), {"x": 2})]
    assert Parallel(num_threads=2)([(Parallel(num_threads=2), inner)])[0][0].y == 4
    given = Parallel(access_examples=False)([(lambda example: example, Example(x=1))])
    assert given == [Example(x=1)]
    with pytest.raises(ProgramError, match=r"or a list of pairs for another Parallel, but got list: \[3\]"):
        Parallel(max_errors=1)([(Double(), [3])])


@pytest.mark.parametrize("item", [Predict("x -> y"), (Double(),), ({"x": 1}, Double()), "ab"])
def test_what_is_no_pair_of_program_and_inputs_is_refused(item):
    """With its place, before anything is called."""
    with pytest.raises(UserError, match=r"must be a pair of program and inputs.*but item 1 is"):
        Parallel()([(pytest.fail, ("was called",)), item])


def test_a_straggler_is_called_again_and_the_first_answer_taken():
    """One of the last few that takes too long."""
    gate, calls = threading.Event(), []

    def slow():
        calls.append(1)
        if len(calls) == 1:
            gate.wait(30)
            return "late"
        return "early"

    started = time.monotonic()
    assert Parallel(num_threads=2, timeout=0.05)([(slow, {})]) == ["early"]
    gate.set()
    assert time.monotonic() - started < 20
    assert len(calls) == 2


def test_a_batch_runs_the_program_on_the_inputs_of_examples():
    """As Parallel does."""
    rows = [Example(x=x).with_inputs("x") for x in (2, 3)]
    results, failed, errors = Double().batch(rows, num_threads=2, return_failed_examples=True)
    assert results[0].y == 4
    assert (len(failed), len(errors)) == (1, 1)


def test_a_sync_program_can_be_awaited():
    """Under the caller's settings, and many at a time."""
    predictor = Predict("question -> answer")

    async def main():
        with context(
            lm=ScriptedLM(lambda messages, **kwargs: {"answer": settings.tag}), tag="T", async_max_workers=4
        ):
            return await asyncio.gather(*(asyncify(predictor)(question=str(n)) for n in range(8)))

    assert [prediction.answer for prediction in asyncio.run(main())] == ["T"] * 8


def test_awaited_programs_may_await_others():
    """Those have threads of their own: with the only one taken by who waits for them, all would wait."""

    def outer(x):
        return asyncio.run(asyncio.wait_for(asyncify(str)(x), 10))

    with context(async_max_workers=1):
        assert asyncio.run(asyncify(outer)(1)) == "1"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_has_threads_of_its_own():
    """Those of the parent are gone, as in a server that has warmed up before it forks its workers."""
    body = """
import asyncio, os, warnings
from mipro import asyncify
warnings.simplefilter("ignore")
assert asyncio.run(asyncify(str)(1)) == "1"
child = os.fork()
if child == 0:
    os._exit(0 if asyncio.run(asyncio.wait_for(asyncify(str)(2), 10)) == "2" else 1)
assert os.waitpid(child, 0)[1] == 0
"""
    ended = subprocess.run([sys.executable, "-c", body], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr


class OnlyAsync(Module):
    """An async program."""

    async def aforward(self, x):
        """Return a prediction."""
        await asyncio.sleep(0)
        return Prediction(y=x + 1)


@pytest.mark.parametrize("in_place", [True, False])
def test_an_async_program_can_be_called(in_place):
    """Also where a loop is running."""
    program = syncify(OnlyAsync(), in_place=in_place)
    assert program(x=1).y == 2

    async def inside():
        return program(x=2).y

    assert asyncio.run(inside()) == 3


@pytest.mark.parametrize("in_place", [True, False])
def test_a_copy_of_an_async_program_asks_its_own_predictors(in_place):
    """An optimizer changes a copy, and the copy is what is called afterwards."""

    class Asks(Module):
        def __init__(self):
            super().__init__()
            self.ask = Predict("question -> answer")

        async def aforward(self, question):
            return await self.ask.acall(question=question)

    copied = syncify(Asks(), in_place=in_place).deepcopy()
    [predictor] = copied.predictors
    predictor.signature = predictor.signature.with_instructions("Answer in French.")
    lm = ScriptedLM([{"answer": "oui"}])
    with context(lm=lm):
        copied(question="Q")
    assert "Answer in French." in lm.calls[0]["messages"][0]["content"]


def test_the_majority_is_the_commonest_value_after_normalisation():
    """The earliest of equals; empty ones do not count."""
    completions = Completions({"other": [1, 2, 3, 4], "answer": ["", "The Paris!", "Rome", "paris"]})
    assert majority(completions).toDict() == {"other": 2, "answer": "The Paris!"}
    assert majority(Prediction.from_completions([{"a": "x"}, {"a": "y"}])).a == "x"
    assert majority([{"a": "x", "b": 1}, {"a": "y", "b": 2}, {"a": "y", "b": 1}], field="a").b == 2


def test_the_majority_uses_the_last_output_of_the_signature():
    """Or what it is told, as it is."""
    with context(lm=ScriptedLM([[{"answer": "a"}, {"answer": "A"}, {"answer": "A"}]])):
        prediction = Predict("question -> answer", n=3)(question="Q")
    assert majority(prediction).answer == "a"
    assert majority(prediction, normalize=None).answer == "A"
    with pytest.raises(UserError, match="needs completions"):
        majority(Prediction(answer="A"))


def test_the_majority_is_of_the_last_output_also_where_an_answer_has_another_order():
    """What the model thought, which is other words each time, is no vote; so also in what is chosen of it."""
    thoughts_last = [{"answer": text, "reasoning": f"I say {text}."} for text in ("Rome", "Paris", "Paris")]
    with context(lm=ScriptedLM([thoughts_last]), adapter=JSONAdapter()):
        chosen = majority(ChainOfThought("question -> answer", n=3)(question="Q"))
    assert chosen.answer == "Paris"
    assert majority(chosen).answer == "Paris"
    assert list(chosen.completions.signature.output_fields) == ["reasoning", "answer"]
