"""Programs that try several times: `BestOfN`, `Refine` and `MultiChainComparison`."""

import asyncio
import functools
import json
import logging
import math

import pytest

import mipro
from mipro import (
    BestOfN,
    ChainOfThought,
    Example,
    Module,
    MultiChainComparison,
    Predict,
    Refine,
    ScoreWithFeedback,
    context,
    settings,
)
from mipro.errors import ContextWindowExceededError, LMServerError, UserError
from mipro.modules._best_of_n import Attempt
from mipro.testing.lms import ScriptedLM


class Raising(Module):
    """Raises at the first calls."""

    def __init__(self, failures):
        self.answer = Predict("question -> answer")
        self.failures = failures

    def forward(self, **inputs):
        """Raise or ask."""
        if self.failures:
            raise self.failures.pop(0)
        return self.answer(**inputs)

    def __deepcopy__(self, memo):
        return self


class Noting(ScriptedLM):
    """Notes the parameters of each of its copies."""

    def forward(self, prompt=None, messages=None, **kwargs):
        """Note and answer."""
        self.calls.append((self.kwargs["rollout_id"], self.kwargs["temperature"]))
        return super().forward(prompt, messages, **kwargs)


def length(inputs, prediction):
    """Return the length of the answer."""
    return len(prediction.answer)


def answers(*texts):
    """Return a model with these answers."""
    return ScriptedLM([{"answer": text} for text in texts])


@pytest.mark.parametrize("is_awaited", [False, True])
def test_the_best_of_n_is_taken(is_awaited):
    """The highest reward wins, and each attempt draws afresh at temperature 1."""
    lm = Noting([{"answer": text} for text in ("a", "ccc", "bb")])
    best = BestOfN(Predict("question -> answer"), N=3, reward_fn=length, threshold=9)
    with context(lm=lm):
        found = asyncio.run(best.acall(question="Q")) if is_awaited else best(question="Q")
    assert found.answer == "ccc"
    assert [call for call in lm.calls if isinstance(call, tuple)] == [(1, 1.0), (2, 1.0), (3, 1.0)]


def test_attempts_within_attempts_draw_afresh():
    """The second attempt of one asked the same as the first of the next: the answer was known already."""
    lm = Noting([{"answer": "a"}], repeat=True)
    inner = BestOfN(Predict("question -> answer"), N=2, reward_fn=length, threshold=9)
    with context(lm=lm):
        BestOfN(inner, N=3, reward_fn=length, threshold=9)(question="Q")
    drawn = [call for call in lm.calls if isinstance(call, tuple)]
    assert len(set(drawn)) == len(drawn) == 6


def test_enough_is_enough():
    """The first attempt at the threshold ends it."""
    lm = answers("a", "bb", "ccc")
    with context(lm=lm):
        assert BestOfN(Predict("question -> answer"), 3, length, threshold=2)(question="Q").answer == "bb"
    assert len(lm.calls) == 2


@pytest.mark.parametrize(
    ("rewards", "chosen"), [([-math.inf, -math.inf], "first"), ([math.nan, -1.0], "second")], ids=str
)
def test_an_answer_is_given_whatever_the_rewards(rewards, chosen):
    """A program that gets None instead fails somewhere else."""
    given = iter(rewards)
    best = BestOfN(Predict("question -> answer"), N=2, reward_fn=lambda *_: next(given), threshold=1)
    with context(lm=answers("first", "second")):
        assert best(question="Q").answer == chosen


def test_only_the_best_attempt_is_traced():
    """The trace names the predictor of the program, not of a copy, so that demos can be made of it."""
    program = Predict("question -> answer")
    with context(lm=answers("a", "ccc", "bb"), trace=[]):
        BestOfN(program, 3, length, threshold=9)(question="Q")
        trace = settings.trace
    assert [(predictor is program, prediction.answer) for predictor, _, prediction in trace] == [
        (True, "ccc")
    ]


def test_attempts_may_fail():
    """As many as `fail_count`; when all do, the last error is raised."""
    with context(lm=answers("a", "b", "c")):
        two = BestOfN(Raising([ValueError("1"), ValueError("2")]), 3, length, threshold=0)
        assert two(question="Q").answer == "a"
        with pytest.raises(ValueError, match="2"):
            BestOfN(Raising([ValueError("1"), ValueError("2")]), 3, length, 0, fail_count=1)(question="Q")
        with pytest.raises(ValueError, match="3"):
            BestOfN(Raising([ValueError(str(n)) for n in (1, 2, 3)]), 3, length, 0)(question="Q")
    with pytest.raises(UserError, match="at least 1"):
        BestOfN(Predict("a -> b"), 0, length, 0)


def test_a_dead_server_is_no_failed_attempt():
    """It is raised at once."""
    with context(lm=answers("a")), pytest.raises(LMServerError):
        BestOfN(Raising([LMServerError("down")]), 3, length, 0)(question="Q")


def test_a_judge_is_no_part_of_the_program():
    """Only the program's own predictors are found."""
    judge = ChainOfThought("answer -> score: float")
    best = BestOfN(Predict("question -> answer"), 2, judge, threshold=1)
    assert [name for name, _ in best.named_predictors()] == ["module"]


@pytest.mark.parametrize("of", [BestOfN, Refine])
@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"module": "question -> answer"}, "`module` must be a program"),
        ({"module": ChainOfThought}, "make one of this class first"),
        ({"N": 0}, "`N` must be a whole number of at least 1, but got 0"),
        ({"N": "3"}, "`N` must be a whole number of at least 1, but got '3'"),
        ({"threshold": "high"}, "`threshold` must be a number"),
        ({"threshold": math.nan}, "`threshold` must be a number"),
        ({"fail_count": -1}, "`fail_count` must be a whole number of at least 0"),
        ({"reward_fn": 1.0}, r"must be a function of \(inputs, prediction\), but got 1.0"),
        ({"reward_fn": lambda prediction: 1.0}, r"it takes \(prediction\)"),
        ({"reward_fn": asyncio.sleep}, "define it without `async`"),
    ],
)
def test_what_can_not_work_is_refused_when_it_is_made(of, wrong, said):
    """An attempt would be paid before it is found out, and each would fail."""
    right = {"module": Predict("question -> answer"), "N": 3, "reward_fn": length, "threshold": 9}
    of(**right)
    with pytest.raises(UserError, match=said):
        of(**{**right, **wrong})


def test_a_part_that_was_optimized_before_draws_afresh():
    """It stays as it is for an optimizer, but asked the same three times it answers the same."""
    lm = Noting([{"query": "q", "reasoning": "r", "answer": "a"}], repeat=True)
    program = Steps()
    program.answer._compiled = True
    with context(lm=lm):
        BestOfN(program, 2, length, threshold=9)(question="Q")
    assert [call[0] for call in lm.calls if isinstance(call, tuple)] == [1, 1, 2, 2]


def test_what_a_reward_function_asks_is_not_traced():
    """Its trace is that of the attempt, and what a judge adds to it is in nobody's."""
    judge = Predict("answer -> good: float")
    seen = []

    def rated(inputs, prediction):
        seen.append([inputs for _, inputs, _ in settings.trace])
        return judge(answer=prediction.answer).good

    with context(lm=ScriptedLM([{"answer": "a", "good": 0.5}], repeat=True), trace=[]):
        BestOfN(Predict("question -> answer"), 2, rated, threshold=1)(question="Q")
        assert [inputs for _, inputs, _ in settings.trace] == [{"question": "Q"}]
    assert seen == [[{"question": "Q"}]] * 2


class Steps(Module):
    """A query, then an answer."""

    def __init__(self):
        self.query = Predict("question -> query")
        self.answer = ChainOfThought("question, query -> answer")

    def forward(self, question):
        """Answer."""
        api_key = "not-to-be-told"
        assert api_key
        return self.answer(question=question, query=self.query(question=question).query)

    async def aforward(self, question):
        """Answer."""
        query = await self.query.acall(question=question)
        return await self.answer.acall(question=question, query=query.query)


def adviser(advice):
    """Return a model that answers with the hint it has, and gives this advice."""

    def answer(messages):
        asked = messages[-1]["content"]
        if "discussion" in asked:
            if isinstance(advice, Exception):
                raise advice
            return advice if isinstance(advice, str) else {"discussion": "d", "advice": advice}
        return {"query": "q", "reasoning": "r", "answer": "long" if "[[ ## hint_" in asked else "a"}

    return ScriptedLM(answer)


def prompts(lm):
    """Return the prompts of the program, and those of the adviser."""
    asked = [call["messages"] for call in lm.calls]
    advice = [messages for messages in asked if "discussion" in messages[-1]["content"]]
    return [messages for messages in asked if messages not in advice], advice


@pytest.mark.parametrize("is_awaited", [False, True])
def test_advice_gets_to_the_next_attempt(is_awaited):
    """To those predictors alone that it is for, as a hint; the first attempt is as without."""
    lm, plain = (adviser({"answer.predict": "Write more.", "query": "N/A", "nobody": "Rest."}) for _ in "ab")
    program = Steps()
    with context(lm=plain):
        program(question="Q")
    refine = Refine(program, N=3, reward_fn=length, threshold=4)
    with context(lm=lm):
        found = asyncio.run(refine.acall(question="Q")) if is_awaited else refine(question="Q")
    (*first, query, answer), advice = prompts(lm)
    assert found.answer == "long"
    assert first == prompts(plain)[0]
    assert query == first[0]
    assert "[[ ## hint_ ## ]]\nWrite more.\n" in answer[-1]["content"]
    assert len(advice) == 1


@pytest.mark.parametrize("adapter", [mipro.ChatAdapter(), mipro.JSONAdapter(), mipro.XMLAdapter()])
def test_demos_stand_beside_a_hint_as_without(adapter):
    """No demo lacks the hint, or has one."""
    program = Predict("question -> answer")
    program.demos = [Example(question="whole", answer="w"), Example(answer="p", question=None)]
    hints = {"self": "Write more."}
    shown = []
    for given in ({}, hints):
        lm = ScriptedLM([{"answer": "a"}])
        with context(lm=lm, adapter=adapter):
            Attempt(program, {"question": "Q"}, 1, 1, given).run()
        shown.append(lm.calls[0]["messages"])
    assert shown[0][1:-1] == shown[1][1:-1]
    assert "Write more." in shown[1][-1]["content"]


def test_nothing_of_a_hint_stays():
    """In the program, its saved state, the trace and the prediction."""
    program = Steps()
    refine = Refine(program, 2, length, threshold=4)
    before = json.dumps(refine.dump_state())
    with context(lm=adviser({"answer.predict": "Write more."}), trace=[]):
        found = refine(question="Q")
        trace = settings.trace
    assert found.answer == "long"
    assert json.dumps(refine.dump_state()) == before
    assert [list(inputs) for _, inputs, _ in trace] == [["question"], ["question", "query"]]
    assert [predictor for predictor, *_ in trace] == program.predictors
    assert "hint_" not in found.completions.signature.fields
    assert [name for name, _ in refine.named_predictors()] == ["module.query", "module.answer.predict"]


def test_a_hint_takes_no_name_that_is_taken():
    """An input of that name stays what it is."""
    lm = adviser({"self": "Write more."})
    with context(lm=lm):
        found = Refine(Predict("hint_ -> answer"), 2, lambda *_: 0, threshold=1)(hint_="mine")
    last = prompts(lm)[0][-1][-1]["content"]
    assert "[[ ## hint_ ## ]]\nmine\n\n[[ ## hint__ ## ]]\nWrite more.\n" in last
    assert found.answer == "long"


def test_refining_within_refining():
    """The hint of the outer one stays with the inner one's attempts, which have their own beside it."""
    lm = adviser({"self": "Write more.", "module": "Be kind."})
    inner = Refine(Predict("question -> answer"), 2, length, threshold=9)
    with context(lm=lm, trace=[]):
        Refine(inner, 2, length, threshold=9)(question="Q")
        assert [inputs for _, inputs, _ in settings.trace] == [{"question": "Q"}]
    asked = [messages[-1]["content"] for messages in prompts(lm)[0]]
    told = [("Be kind." in text, "Write more." in text) for text in asked]
    assert told == [(False, False), (False, True), (True, False), (True, True)]


def test_the_adviser_sees_what_there_is_and_no_secret():
    """The program, its calls, the result and the reward with its reason, each bounded."""

    def rated(inputs, prediction, password="hunter22"):
        return ScoreWithFeedback(0.25, "one letter only")

    lm = adviser({})
    with context(lm=lm):
        Refine(Steps(), 2, functools.partial(rated), threshold=0.5)(
            question="first line\nsecond " + "w " * 9000
        )
    asked = prompts(lm)[1][0][-1]["content"]
    for shown in (
        "class Steps(Module):",
        "answer.predict: Predict(question, query) -> reasoning, answer",
        "call of: query\nquestion: first line\\nsecond w",
        "ScoreWithFeedback(0.25",
        "0.25: one letter only",
        "[[ ## target ## ]]\n0.5",
    ):
        assert shown in asked
    assert "not-to-be-told" not in asked
    assert "hunter22" not in asked
    assert len(asked) < 12_000


@pytest.mark.parametrize(
    "failure", ["no fields at all", ContextWindowExceededError("too long"), {"self": "N/A"}, {}], ids=str
)
def test_without_advice_the_next_attempt_is_as_the_first(failure):
    """An answer that can't be read, or a prompt that is too long, is no failed attempt."""
    lm = adviser(failure)
    with context(lm=lm):
        refine = Refine(Predict("question -> answer"), 3, length, threshold=4, fail_count=0)
        assert refine(question="Q").answer == "a"
    asked, _ = prompts(lm)
    assert asked == asked[:1] * 3


def test_advice_stays_where_there_is_no_new_one(caplog):
    """The attempt that follows one that failed, or whose advice can't be read, has the last hint."""
    answers = iter(["a", "b", ValueError("no reward"), "d"])
    advice = iter([{"discussion": "d", "advice": {"self": "Write more."}}, "no fields", "no fields"])
    lm = ScriptedLM(
        lambda messages: next(advice) if "discussion" in messages[-1]["content"] else {"answer": "a"}
    )

    def rated(inputs, prediction):
        if isinstance(answer := next(answers), Exception):
            raise answer
        return 0

    with context(lm=lm), caplog.at_level(logging.WARNING):
        Refine(Predict("question -> answer"), 4, rated, threshold=1)(question="Q")
    told = ["Write more." in messages[-1]["content"] for messages in prompts(lm)[0]]
    assert told == [False, True, True, True]
    assert "No advice for the next attempt" in caplog.text


def test_a_dead_server_of_the_adviser_is_raised():
    """It is nobody's fault, and the call can be made again."""
    refine = Refine(Predict("question -> answer"), 2, length, threshold=9)
    with context(lm=adviser(LMServerError("down"))), pytest.raises(LMServerError):
        refine(question="Q")


def test_the_programs_own_model_gives_advice_where_none_is_configured():
    """Else a program whose model was set with `set_lm` had none."""
    lm = adviser({"self": "Write more."})
    program = Predict("question -> answer")
    program.set_lm(lm)
    assert Refine(program, 2, length, threshold=4)(question="Q").answer == "long"


def test_no_threshold_is_never_reached():
    """All attempts are made."""
    lm = adviser({})
    with context(lm=lm):
        Refine(Predict("question -> answer"), 3, length, None)(question="Q")
    assert len(prompts(lm)[0]) == 3


@pytest.mark.parametrize("is_awaited", [False, True])
def test_attempts_are_compared(is_awaited):
    """The model sees reasoning and answer of each and gives its own."""
    lm = ScriptedLM([{"rationale": "r", "answer": "blue"}])
    compare = MultiChainComparison("question -> answer", M=2)
    attempts = [
        {"reasoning": "It is day.", "answer": "blue"},
        {"rationale": "It is night.", "answer": "black"},
    ]
    with context(lm=lm):
        found = (
            asyncio.run(compare.acall(attempts, question="Q"))
            if is_awaited
            else compare(attempts, question="Q")
        )
    assert (found.rationale, found.answer) == ("r", "blue")
    asked = lm.calls[0]["messages"][-1]["content"]
    assert "It is day. Answer: blue" in asked
    assert "It is night. Answer: black" in asked


def test_completions_of_one_call_can_be_compared():
    """`Predict(..., n=3).completions` is what is given."""
    lm = ScriptedLM([[{"reasoning": "r", "answer": "x"}] * 3, {"rationale": "r", "answer": "x"}])
    with context(lm=lm):
        several = ChainOfThought("question -> answer", n=3)(question="Q")
        assert MultiChainComparison("question -> answer")(several.completions, question="Q").answer == "x"


def test_the_number_of_attempts_must_fit():
    """The error says both numbers."""
    with pytest.raises(UserError, match=r"got 1 and M=3"):
        MultiChainComparison("question -> answer")([{"reasoning": "r", "answer": "a"}], question="Q")


def test_the_attempts_are_no_input():
    """A call takes them by a name that an input can't have as well."""
    with pytest.raises(UserError, match="`completions` can't be an input"):
        MultiChainComparison("completions -> answer")
