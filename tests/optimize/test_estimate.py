"""What a run will cost, before anything is spent."""

import io

import pytest

import mipro
from mipro.errors import UserError
from mipro.propose import MEDIA_TOKENS
from mipro.testing.lms import ScriptedLM
from mipro.testing.server import OpenAIServer
from mipro.testing.sums import answer


class TwoSteps(mipro.Module):
    """Adds in two steps, so that a second predictor gets what a first one made."""

    def __init__(self):
        super().__init__()
        self.think = mipro.Predict("a, b -> reasoning")
        self.add = mipro.Predict("reasoning, a, b -> sum")

    def forward(self, a, b):
        """Think, then add."""
        return self.add(reasoning=self.think(a=a, b=b).reasoning, a=a, b=b)


def right(example, prediction, trace=None):
    """Whether the sum is right."""
    return example.sum == prediction.sum


WHOLE = {
    "demos": (1, 100),
    "instructions": (6, 50),
    "search": (4, 800),
    "rounds": (0, 124),
    "test": (5, 100),
}
"""Calls expected of a program of two steps, each of which may be asked five times for one example."""


@pytest.fixture
def sums():
    """Return examples of sums."""
    return [
        mipro.Example(a=str(a), b=str(b), sum=str(a + b)).with_inputs("a", "b")
        for a in range(7)
        for b in range(7)
    ]


PROGRAMS = {
    "predict": lambda: mipro.Predict("a, b -> sum"),
    "chain of thought": lambda: mipro.ChainOfThought("a, b -> sum"),
    "two steps": TwoSteps,
}


@pytest.mark.parametrize("search", ["bayes", "tpe"])
@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("demos", [0, 3])
def test_actual_numbers_are_inside_the_range(tmp_path, sums, name, search, demos):
    """Calls, tokens and cost of every stage, and of all, come out within what was estimated."""
    with OpenAIServer(answer) as server:
        lm = mipro.LM("openai/adder", api_base=server.url, api_key="none", prices={"input": 1, "output": 2})
        optimizer = mipro.MIPROv2(
            right,
            max_bootstrapped_demos=demos,
            max_labeled_demos=demos,
            search=search,
            propose_rounds=1,
            run_dir=str(tmp_path),
            num_threads=16,
        )
        with mipro.context(lm=lm):
            estimate = optimizer.estimate(PROGRAMS[name](), trainset=sums, testset=sums[:5])
            assert server.count == 0
            story = optimizer.compile(PROGRAMS[name](), trainset=sums, testset=sums[:5]).optimization
    expected = {stage.stage: stage for stage in estimate.stages}
    assert story.estimated == estimate
    for spent in story.spent:
        assert spent.calls in expected[spent.stage].calls
        assert spent.usage.total_tokens in expected[spent.stage].tokens
        assert spent.cost_usd in expected[spent.stage].cost_usd
    assert story.lm_calls in estimate.calls
    assert story.usage.total_tokens in estimate.tokens
    assert story.cost in estimate.cost_usd


@pytest.mark.parametrize(
    "arguments",
    [
        {"minibatch": False},
        {"minibatch_full_eval_steps": 1},
        {"max_bootstrapped_demos": 0, "max_labeled_demos": 0},
        {"max_bootstrapped_demos": 0, "max_labeled_demos": 0, "fewshot_aware_proposer": False},
        {"teacher": TwoSteps()},
    ],
)
def test_it_takes_what_compile_is_told(tmp_path, sums, arguments):
    """All that changes the cost of a run."""
    optimizer = mipro.MIPROv2(right, num_candidates=2, run_dir=str(tmp_path), num_threads=1)
    lm = ScriptedLM(lambda messages, **_: answer({"messages": messages}))
    with mipro.context(lm=lm):
        whole = {"trainset": sums, "num_trials": 3, **arguments}
        estimate = optimizer.estimate(TwoSteps(), **whole)
        assert optimizer.compile(TwoSteps(), **whole).optimization.estimated == estimate


@pytest.mark.parametrize("whose", ["settings", "teacher", "predictor"])
def test_every_model_has_its_own_price(tmp_path, sums, whose):
    """A dear teacher, and a predictor with a model of its own, were estimated as the model of the task."""
    with OpenAIServer(answer) as server:

        def model(name, price):
            prices = {"input": price, "output": price}
            return mipro.LM(name, api_base=server.url, api_key="none", prices=prices)

        cheap, dear = model("openai/cheap", 1), model("openai/dear", 100)
        program, settings, teacher = TwoSteps(), {}, None
        if whose == "settings":
            settings = {"lm": dear}
        elif whose == "teacher":
            teacher = TwoSteps()
            teacher.set_lm(dear)
        else:
            program.think.lm = dear
        optimizer = mipro.MIPROv2(
            right,
            task_model=cheap,
            prompt_model=model("openai/writer", 10),
            teacher_settings=settings,
            propose_rounds=1,
            num_candidates=4,
            run_dir=str(tmp_path),
            num_threads=16,
        )
        story = optimizer.compile(program, trainset=sums, teacher=teacher, testset=sums[:5]).optimization
    expected = {(stage.stage, stage.model): stage for stage in story.estimated.stages}
    assert len(expected) == len(story.estimated.stages)
    spent = {(spent.stage, spent.model): spent for spent in story.spent}
    assert {model for _, model in spent} == {"openai/cheap", "openai/dear", "openai/writer"}
    for place, found in spent.items():
        assert found.calls in expected[place].calls
        assert found.usage.total_tokens in expected[place].tokens
        assert found.cost_usd in expected[place].cost_usd


def test_predictor_that_is_never_called_is_no_lower_bound(tmp_path, sums):
    """The least was what all predictors cost together, or candidates that differ in nothing that is asked."""

    class Often(TwoSteps):
        def __init__(self):
            super().__init__()
            self.checks = [mipro.Predict(f"a, b, c{i} -> sum") for i in range(20)]

        def forward(self, a, b):
            """Add at once."""
            return self.checks[0](a=a, b=b, c0="none")

    with OpenAIServer(answer) as server:
        lm = mipro.LM("openai/adder", api_base=server.url, api_key="none")
        with mipro.context(lm=lm):
            best = mipro.MIPROv2(right, num_candidates=2, run_dir=str(tmp_path), num_threads=16).compile(
                Often(), trainset=sums[:20], valset=sums[20:30], testset=sums[30:]
            )
    expected = {stage.stage: stage for stage in best.optimization.estimated.stages}
    for spent in best.optimization.spent:
        assert spent.calls in expected[spent.stage].calls
        assert spent.usage.total_tokens in expected[spent.stage].tokens


def test_equal_inputs_are_asked_about_once(tmp_path, sums):
    """The least was what as many different examples cost, though the same question is paid once."""
    data = {"trainset": sums[:10], "valset": sums[10:12] * 30, "testset": sums[30:32] * 10}
    with OpenAIServer(answer) as server:
        lm = mipro.LM("openai/adder", api_base=server.url, api_key="none")
        with mipro.context(lm=lm):
            optimizer = mipro.MIPROv2(
                right, run_dir=str(tmp_path), max_bootstrapped_demos=0, max_labeled_demos=0
            )
            story = optimizer.compile(mipro.Predict("a, b -> sum"), **data).optimization
    expected = {stage.stage: stage.calls for stage in story.estimated.stages}
    assert {"search", "test"} <= {spent.stage for spent in story.spent}
    assert [spent.stage for spent in story.spent if spent.calls not in expected[spent.stage]] == []


def test_answers_that_cannot_be_read_are_within_the_range(tmp_path, sums):
    """Each is asked for again as JSON, and the instruction three times in all."""
    with OpenAIServer(lambda _: "hm") as server:
        lm = mipro.LM("openai/adder", api_base=server.url, api_key="none")
        with mipro.context(lm=lm):
            optimizer = mipro.MIPROv2(right, num_candidates=12, run_dir=str(tmp_path))
            story = optimizer.compile(
                mipro.Predict("a, b -> sum"), trainset=sums[:9], valset=sums[9:19], num_trials=1
            ).optimization
    expected = {stage.stage: stage for stage in story.estimated.stages}
    assert {spent.stage for spent in story.spent} == {"demos", "instructions", "search"}
    for spent in story.spent:
        assert spent.calls in expected[spent.stage].calls
        assert spent.usage.total_tokens in expected[spent.stage].tokens


def test_what_is_asked_for_as_json_is_not_asked_again(sums):
    """An adapter without a second format makes one call for one answer."""
    with mipro.context(adapter=mipro.JSONAdapter()):
        found = planned(sums)
    assert found["search", "adder"].calls.high == 80


def model(name="openai/adder", price=1):
    """Return a model that nobody answers."""
    prices = {"input": price, "output": price}
    return mipro.LM(name, api_base="http://127.0.0.1:9/v1", api_key="none", prices=prices)


def planned(sums, program=None, *, lm=None, compile_with=None, **options):
    """Estimate four candidates in three trials; return the stages by name and model."""
    optimizer = mipro.MIPROv2(right, num_candidates=4, propose_rounds=1, search="random", **options)
    with mipro.context(lm=lm or model()):
        estimate = optimizer.estimate(
            program or mipro.Predict("a, b -> sum"),
            **{
                "trainset": sums[:10],
                "valset": sums[10:30],
                "testset": sums[30:35],
                "num_trials": 3,
                "minibatch": False,
                **(compile_with or {}),
            },
        )
    return {(stage.stage, stage.model.removeprefix("openai/")): stage for stage in estimate.stages}


@pytest.mark.parametrize(
    ("options", "changed"),
    [
        ({}, {}),
        ({"max_rounds": 3}, {"demos": (1, 60)}),
        ({"max_bootstrapped_demos": 0}, {"demos": (0, 0)}),
        ({"compile_with": {"max_bootstrapped_demos": 0}}, {"demos": (0, 0)}),
        ({"max_bootstrapped_demos": 0, "max_labeled_demos": 0}, {}),
        (
            {
                "max_bootstrapped_demos": 0,
                "max_labeled_demos": 0,
                "compile_with": {"fewshot_aware_proposer": False},
            },
            {"demos": (0, 0)},
        ),
        ({"compile_with": {"minibatch": True, "minibatch_size": 5}}, {"search": (3, 110)}),
        (
            {"compile_with": {"minibatch": True, "minibatch_size": 5, "minibatch_full_eval_steps": 1}},
            {"search": (5, 190)},
        ),
        (
            {"program": TwoSteps(), "frozen": ["think"]},
            {**WHOLE, "instructions": (3, 30), "rounds": (0, 112)},
        ),
        ({"program": TwoSteps()}, WHOLE),
    ],
)
def test_no_more_is_expected_than_can_be_asked(sums, options, changed):
    """Ten for training, (1 + 3) x 20 evaluations, a test of 2 x 5, each asked twice; a proposal six times."""
    expected = {
        "demos": (1, 20),
        "instructions": (3, 30),
        "search": (4, 160),
        "rounds": (0, 32),
        "test": (5, 20),
        **changed,
    }
    found = planned(sums, **options)
    assert {stage: (s.calls.low, s.calls.high) for (stage, _), s in found.items()} == expected


def test_a_teacher_is_estimated_before_it_runs(sums):
    """`estimate` takes what `compile` does; it could only be told after the question for permission."""
    teacher = mipro.Predict("a, b -> sum")
    teacher.lm = model("openai/dear", price=100)
    found = planned(sums, compile_with={"teacher": teacher})
    assert found["demos", "dear"].calls.high == 20
    assert ("demos", "adder") not in found


def test_the_longest_prompt_is_allowed_for(sums):
    """The most is what all prompts cost if all were as long as the longest, its demos as long as well."""
    long = mipro.Example(a="very " * 2000, b="1", sum="2").with_inputs("a", "b")
    most = {}
    for name, train, demos in (("short", 0, 0), ("long", 1, 0), ("long, with demos", 1, 4)):
        data = {"trainset": [*sums[:9], *[long] * train], "max_bootstrapped_demos": demos}
        stage = planned(sums, compile_with={**data, "max_labeled_demos": demos})["search", "adder"]
        most[name] = stage.tokens.high / stage.calls.high
        assert stage.tokens.low / stage.calls.low < 150
        assert stage.cost_usd.high == pytest.approx(1e-6 * stage.tokens.high)
    assert most["short"] < 1000
    assert most["long"] > 2000
    assert most["long, with demos"] > 4 * most["long"]


def test_an_agent_may_take_all_its_steps(sums):
    """Twenty by default, and an answer at the end; five were counted, whatever it is allowed."""
    most = {
        steps: planned(sums, mipro.ReAct("a, b -> sum", max_iters=steps))["search", "adder"].calls.high
        for steps in (3, 20)
    }
    once = planned(sums)["search", "adder"].calls.high / 2  # an answer may be asked for again
    assert most == {3: 10 * once, 20: 25 * once}


def test_a_long_instruction_is_allowed_for(sums):
    """Each proposal is made from the whole of it, and may be as long."""
    long = mipro.Predict(mipro.Signature("a, b -> sum", "Add. " + "Be careful. " * 5000))
    stages = planned(sums), planned(sums, long)
    for stage in ("instructions", "rounds"):
        short, longer = (found[stage, "adder"].tokens.high for found in stages)
        assert longer > short + 20 * 15_000


def test_images_are_not_counted_by_their_data(sums):
    """Prompts with an image are estimated as a model counts them, whatever the size of its data."""
    picture = mipro.Image("data:image/png;base64," + "A" * 1_000_000)
    data = [mipro.Example(picture=picture, sum=row.sum).with_inputs("picture") for row in sums[:20]]
    program = mipro.Predict(mipro.Signature("picture: Image -> sum", custom_types={"Image": mipro.Image}))
    optimizer = mipro.MIPROv2(right, max_bootstrapped_demos=0, max_labeled_demos=0)
    with mipro.context(lm=mipro.LM("openai/adder", api_key="none")):
        spent = optimizer.estimate(program, trainset=data[:5], valset=data[5:])
    search = next(stage for stage in spent.stages if stage.stage == "search")
    assert MEDIA_TOKENS / 2 < search.tokens.high / search.calls.high < 3 * MEDIA_TOKENS


def test_unknown_price_is_said(sums):
    """Where a price is not known there is no cost, and the text says so."""
    optimizer = mipro.MIPROv2(right)
    with mipro.context(lm=mipro.LM("openai/adder", api_base="http://127.0.0.1:9/v1", api_key="none")):
        estimate = optimizer.estimate(mipro.Predict("a, b -> sum"), trainset=sums)
    assert estimate.cost_usd is None
    assert "price not known" in str(estimate)


def test_permission_is_not_asked_of_nobody(monkeypatch, tmp_path, sums):
    """Without a terminal, in a notebook or a job, it ended in an EOFError."""
    monkeypatch.setattr("sys.stdin", io.StringIO())
    lm = ScriptedLM([])
    with mipro.context(lm=lm), pytest.raises(UserError, match="`requires_permission_to_run=True` must be"):
        mipro.MIPROv2(right, run_dir=str(tmp_path)).compile(
            mipro.Predict("a, b -> sum"), trainset=sums, requires_permission_to_run=True
        )
    assert lm.calls == []


@pytest.mark.parametrize(("reply", "optimized"), [("y", True), ("n", False)])
def test_permission_is_asked(monkeypatch, tmp_path, capsys, sums, reply, optimized):
    """With `requires_permission_to_run` the estimate is shown; a no costs nothing, and gives a plain copy."""
    program = mipro.Predict("a, b -> sum")
    monkeypatch.setattr("builtins.input", lambda *_: reply)
    with OpenAIServer(answer) as server:
        lm = mipro.LM("openai/adder", api_base=server.url, api_key="none", cache=False)
        with mipro.context(lm=lm, num_threads=16):
            best = mipro.MIPROv2(right, run_dir=str(tmp_path), search="random").compile(
                program, trainset=sums, requires_permission_to_run=True
            )
        asked = server.count
    assert "in all" in capsys.readouterr().err
    assert (asked > 0) is optimized
    assert hasattr(best, "optimization") is optimized
    assert best is not program
    assert optimized or best.dump_state() == program.dump_state()
