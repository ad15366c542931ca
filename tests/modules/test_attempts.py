"""Programs that try several times: `BestOfN` and `MultiChainComparison`."""

import asyncio
import math

import pytest

from mipro import BestOfN, ChainOfThought, Module, MultiChainComparison, Predict, context, settings
from mipro.errors import LMServerError, UserError
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
