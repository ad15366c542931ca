"""Models that answer from a script."""

import copy
import json
import pickle
from concurrent.futures import ThreadPoolExecutor

import pytest

from mipro.adapters import ChatAdapter, JSONAdapter, XMLAdapter
from mipro.context import context
from mipro.errors import LMServerError, UserError
from mipro.modules import Predict
from mipro.testing.lm_contract import LMContract
from mipro.testing.lms import DummyLM, ScriptedLM, format_fields

MARKED = [{"role": "user", "content": "... then ending with the marker for `[[ ## completed ## ]]`."}]


class TestContract(LMContract):
    """The contract, for a scripted model."""

    @pytest.fixture
    def lm(self):
        """Return a model with one answer for all."""
        return ScriptedLM(lambda messages: "hello to you")


class _SavesItsKey(ScriptedLM):
    def dump_state(self, *_args, **_kwargs):
        return {"model": self.model, **self.kwargs}


class _ChangesItself(ScriptedLM):
    def forward(self, prompt=None, messages=None, **kwargs):
        self.kwargs["seed"] = self.kwargs.get("seed", 0) + 1
        return super().forward(prompt, messages, **kwargs)


class _ChangesParameters(ScriptedLM):
    def forward(self, prompt=None, messages=None, **kwargs):
        kwargs.get("stop", []).append("")
        return super().forward(prompt, messages, **kwargs)


@pytest.mark.parametrize(
    ("broken", "rule"),
    [
        (_SavesItsKey, "state_has_no_secret"),
        (_ChangesItself, "call_leaves_the_next_request_as_it_is"),
        (_ChangesParameters, "messages_are_not_changed"),
    ],
)
def test_contract_catches_a_model_that_breaks_one_rule(broken, rule):
    """It fails the check of that rule, which a scripted model passes."""
    getattr(LMContract(), f"test_{rule}")(ScriptedLM(lambda messages: "hello"))
    with pytest.raises(AssertionError):
        getattr(LMContract(), f"test_{rule}")(broken(lambda messages: "hello"))


def test_list_is_used_up_in_order():
    """Answers come in order; one too many is an error that says how many there were."""
    lm = ScriptedLM(["a", "b"])
    assert [lm("1"), lm("2")] == [["a"], ["b"]]
    with pytest.raises(UserError, match=r"2 answers.*call 3"):
        lm("3")


def test_repeat_starts_again():
    """With `repeat` the list never ends."""
    lm = ScriptedLM(["a", "b"], repeat=True)
    assert [lm("x")[0] for _ in range(5)] == ["a", "b", "a", "b", "a"]


def test_function_sees_messages_and_parameters():
    """A function that takes parameters gets them."""
    lm = ScriptedLM(lambda messages, **kwargs: f"{messages[0]['content']} {kwargs['seed']}")
    assert lm("hi", seed=3) == ["hi 3"]


def test_exceptions_are_raised():
    """An exception in the script is raised by the call."""
    with pytest.raises(LMServerError, match="down"):
        ScriptedLM([LMServerError("down")])("hi")


def test_calls_are_kept():
    """What was asked can be looked at."""
    lm = ScriptedLM(["a"])
    lm("hi", top_p=0.5)
    assert lm.calls == [{"messages": [{"role": "user", "content": "hi"}], "kwargs": {"top_p": 0.5}}]


def test_copies_share_the_script():
    """A copy goes on where the original is, so that answers are handed out once."""
    lm = ScriptedLM(["a", "b", "c"])
    assert [lm("x"), lm.copy()("x"), copy.deepcopy(lm)("x")] == [["a"], ["b"], ["c"]]


def test_threads_get_each_answer_once():
    """Many threads together use up the list exactly."""
    lm = ScriptedLM([str(i) for i in range(200)])
    with ThreadPoolExecutor(16) as threads:
        answers = [answer[0] for answer in threads.map(lm, map(str, range(200)))]
    assert sorted(answers, key=int) == [str(i) for i in range(200)]


@pytest.mark.parametrize("answers", ["text", {"a": 1}, 3])
def test_other_scripts_are_refused(answers):
    """A single text or dict is a slip; it must be in a list."""
    with pytest.raises(UserError, match="list or a function"):
        ScriptedLM(answers)


def test_fields_with_markers():
    """A prompt with field markers is answered with field markers."""
    assert format_fields({"a": "x", "n": [1]}, MARKED) == (
        "[[ ## a ## ]]\nx\n\n[[ ## n ## ]]\n[1]\n\n[[ ## completed ## ]]"
    )


def test_fields_as_json():
    """A prompt that asks for JSON, or a response format, is answered with JSON."""
    asked = [{"role": "user", "content": "[[ ## q ## ]]\nwhy\n\nRespond with a JSON object."}]
    assert json.loads(format_fields({"a": 1}, asked)) == {"a": 1}
    assert json.loads(format_fields({"a": 1}, MARKED, response_format={"type": "json_object"})) == {"a": 1}


class OwnChat(ChatAdapter):
    """An adapter of the user's."""


@pytest.mark.parametrize("adapter", [ChatAdapter(), JSONAdapter(), XMLAdapter(), OwnChat()])
@pytest.mark.parametrize("is_told", [False, True])
def test_fields_in_the_format_of_the_adapter(adapter, is_told):
    """One answer is enough for one call: in another format it would be asked for once more, as JSON."""
    lm = DummyLM([{"answer": "red", "tags": ["a"]}], adapter=adapter if is_told else None)
    with context(lm=lm, adapter=adapter):
        prediction = Predict("question -> answer, tags: list[str]")(question="Q")
    assert (prediction.answer, prediction.tags, len(lm.history)) == ("red", ["a"], 1)


class TestDummyLM:
    """DSPy's forms."""

    def test_list(self):
        """Answers come in order, then there are no more."""
        lm = DummyLM([{"answer": "red"}])
        assert lm(messages=MARKED) == ["[[ ## answer ## ]]\nred\n\n[[ ## completed ## ]]"]
        assert lm(messages=MARKED) == ["[[ ## answer ## ]]\nNo more responses\n\n[[ ## completed ## ]]"]
        assert lm.get_convo(0)[0] == MARKED

    def test_dict(self):
        """The answer is chosen by what the last message holds."""
        lm = DummyLM({"sky": {"answer": "blue"}, "grass": {"answer": "green"}})
        assert "green" in lm("What colour is grass?")[0]
        assert lm("and blood?") == ["No more responses"]

    def test_follow_examples(self):
        """The output of a demo with the same input is repeated."""
        for q, a in [("q", "a"), ("प्रश्न", "उत्तर")]:
            messages = [
                {"role": "user", "content": f"[[ ## {q} ## ]]\nsky?\n\n..."},
                {"role": "assistant", "content": f"[[ ## {a} ## ]]\nblue"},
                {"role": "user", "content": f"[[ ## {q} ## ]]\nsky?\n\n"},
            ]
            assert DummyLM([], follow_examples=True)(messages=messages) == [f"[[ ## {a} ## ]]\nblue"]

    def test_reasoning(self):
        """With `reasoning` answers carry native reasoning."""
        assert DummyLM([{"a": 1}], reasoning=True)("x")[0]["reasoning_content"] == "Some reasoning"

    def test_n(self):
        """`n` takes as many answers."""
        assert len(DummyLM([{"a": 1}, {"a": 2}])("x", n=2)) == 2

    @pytest.mark.parametrize("copied", [copy.deepcopy, lambda lm: pickle.loads(pickle.dumps(lm))])
    def test_a_copy_answers_on_its_own(self, copied):
        """Fixtures copy programs with their models; the copy begins where the original stood."""
        lm = DummyLM([{"a": 1}, {"a": 2}])
        other = copied(lm)
        assert [other("x"), other("x")] == [lm("x"), lm("x")]
