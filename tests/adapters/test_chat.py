"""The chat format, and asking once more as JSON."""

import asyncio
import copy
import pickle

import pytest

from mipro.adapters import ChatAdapter, JSONAdapter, XMLAdapter
from mipro.errors import AdapterParseError, ContextWindowError
from mipro.signature import OutputField, Signature
from mipro.testing.lms import ScriptedLM

SIGNATURE = Signature("question -> answer: int, note: str | None")
GOOD = "[[ ## answer ## ]]\n5\n\n[[ ## note ## ]]\nsure\n\n[[ ## completed ## ]]"


def ask(adapter, lm, signature=SIGNATURE, **params):
    """Call an adapter as a predictor does."""
    return adapter(lm, lm_kwargs=params, signature=signature, demos=[], inputs={"question": "Q"})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (GOOD, {"answer": 5, "note": "sure"}),
        ("Of course!\n[[ ## answer ## ]] 5", {"answer": 5, "note": None}),
        ("  [[ ## answer ## ]]\n\n 5 \n[[ ## answer ## ]]\n6", {"answer": 5, "note": None}),
        ("[[ ## other ## ]]\nx\n[[ ## note ## ]]\nNone\n[[ ## answer ## ]]\n7", {"answer": 7, "note": None}),
        ("[[ ## answer ## ]] 5\n[[ ## note ## ]] ok [[ ## completed ## ]]\n", {"answer": 5, "note": "ok"}),
        ("[[ ## answer ## ]]\r\n5\r\n[[ ## note ## ]]\r\na\r\nb", {"answer": 5, "note": "a\r\nb"}),
    ],
)
def test_fields_are_read_from_under_their_markers(text, expected):
    """The first of each name counts; optional ones may be absent; the end may be on the last value's line."""
    assert ChatAdapter().parse(SIGNATURE, text) == expected


def test_a_missing_field_is_named():
    """The error carries signature, answer and what was found."""
    with pytest.raises(AdapterParseError, match=r"missing or wrong: \['answer'\]") as caught:
        ChatAdapter().parse(SIGNATURE, "[[ ## note ## ]]\nx")
    error = caught.value
    assert (error.missing, error.parsed_result, error.signature) == (("answer",), {"note": "x"}, SIGNATURE)


def test_a_field_of_another_type_is_named():
    """With the text that can't be read."""
    with pytest.raises(AdapterParseError, match="Failed to parse field answer with value 'five'") as caught:
        ChatAdapter().parse(SIGNATURE, "[[ ## answer ## ]]\nfive")
    assert caught.value.missing == ("answer",)


FORMS = {
    ChatAdapter: "[[ ## note ## ]]\n{note}\n[[ ## answer ## ]]\n{answer}",
    JSONAdapter: '{{"note": "{note}", "answer": "{answer}"}}',
    XMLAdapter: "<note>{note}</note><answer>{answer}</answer>",
}


@pytest.mark.parametrize("adapter", FORMS)
@pytest.mark.parametrize("start", ["<think>\n", "Let me think.\n"])
def test_thoughts_before_an_answer_are_no_part_of_it(adapter, start):
    """A model that rehearses the answer was taken at its first word; some prompts hold the first tag."""
    form = FORMS[adapter]
    thoughts = f"{start}{form.format(note='n', answer='4')}\nNo.\n</think>\n"
    answer = thoughts + form.format(note="n", answer="5")
    assert adapter().parse(Signature("question -> note, answer"), answer)["answer"] == "5"


@pytest.mark.parametrize("adapter", FORMS)
@pytest.mark.parametrize("note", ["ends with </think>", "<think>a</think> b"])
def test_a_value_may_speak_of_thoughts(adapter, note):
    """What follows the tag is then not the whole answer."""
    answer = FORMS[adapter].format(note=note, answer="5")
    assert adapter().parse(Signature("question -> note, answer"), answer) == {"note": note, "answer": "5"}


def test_an_output_with_a_default_may_be_missing():
    """It takes its default."""

    class WithDefault(Signature):
        answer: str = OutputField()
        tags: list[str] = OutputField(default_factory=list)

    assert ChatAdapter().parse(WithDefault, "[[ ## answer ## ]]\nx") == {"answer": "x", "tags": []}


def test_an_unreadable_answer_is_asked_for_once_more_as_json():
    """The answers say so, and both prompts are in the right format."""
    lm = ScriptedLM(["no markers here", '{"answer": 5, "note": "n"}'])
    answers = ask(ChatAdapter(), lm)
    assert answers == [{"answer": 5, "note": "n"}]
    assert answers.metadata["adapter"] == "JSONAdapter"
    assert "no markers here" in answers.metadata["fallback"]
    assert ["JSON object" in str(call["messages"]) for call in lm.calls] == [False, True]


def test_the_second_failure_is_raised():
    """There is one fallback, not more."""
    lm = ScriptedLM(["bad", "worse"])
    with pytest.raises(AdapterParseError, match="worse") as caught:
        ask(ChatAdapter(), lm)
    assert caught.value.__cause__.lm_response == "bad"
    assert len(lm.calls) == 2


def test_the_fallback_can_be_switched_off():
    """Then the first failure is raised."""
    lm = ScriptedLM(["bad"])
    with pytest.raises(AdapterParseError, match="bad"):
        ask(ChatAdapter(use_json_adapter_fallback=False), lm)


def test_a_prompt_that_is_too_long_is_not_asked_again():
    """The other format would be too long as well."""
    lm = ScriptedLM([ContextWindowError("too long")])
    with pytest.raises(ContextWindowError):
        ask(ChatAdapter(), lm)
    assert len(lm.calls) == 1


def test_several_completions_are_read_each():
    """One dict of fields for each."""
    lm = ScriptedLM([[GOOD, GOOD.replace("5", "6")]])
    assert [values["answer"] for values in ask(ChatAdapter(), lm, n=2)] == [5, 6]


def test_an_empty_answer_is_a_parse_error():
    """It holds no fields."""
    with pytest.raises(AdapterParseError, match="empty or null"):
        ask(ChatAdapter(use_json_adapter_fallback=False), ScriptedLM([""]))


def test_awaiting_gives_the_same():
    """One core, two ways to call; the fallback included."""
    lm = ScriptedLM(["bad", '{"answer": 5}'])
    answers = asyncio.run(
        ChatAdapter().acall(lm, lm_kwargs={}, signature=SIGNATURE, demos=[], inputs={"question": "Q"})
    )
    assert answers == [{"answer": 5, "note": None}]
    assert "fallback" in answers.metadata


def test_native_reasoning_is_kept_and_stands_in_for_a_missing_reasoning():
    """A model that reasons by itself need not write the field."""
    message = {"role": "assistant", "content": "[[ ## answer ## ]]\n5", "reasoning_content": "because"}
    lm = ScriptedLM([{"choices": [{"index": 0, "message": message}]}])
    answers = ask(ChatAdapter(), lm, Signature("question -> reasoning, answer: int"))
    assert answers == [{"reasoning": "because", "answer": 5}]
    assert answers.metadata["reasoning"] == ["because"]


def test_parameters_of_the_call_are_not_changed():
    """The dict belongs to the caller."""
    params = {"temperature": 0.5, "tools": ["x"]}
    ChatAdapter()(
        ScriptedLM([GOOD]), lm_kwargs=params, signature=SIGNATURE, demos=[], inputs={"question": "Q"}
    )
    assert params == {"temperature": 0.5, "tools": ["x"]}


def test_fine_tuning_data_is_prompt_and_answer():
    """One conversation that ends with the answer."""
    data = ChatAdapter().format_finetune_data(SIGNATURE, [], {"question": "Q"}, {"answer": 5, "note": "n"})
    assert [message["role"] for message in data["messages"]] == ["system", "user", "assistant"]
    assert data["messages"][-1]["content"].startswith("[[ ## answer ## ]]\n5")


def test_adapters_are_copied_and_pickled():
    """As part of programs that hold one."""
    adapter = ChatAdapter()
    adapter.format(SIGNATURE, [], {"question": "Q"})
    for other in (copy.deepcopy(adapter), pickle.loads(pickle.dumps(adapter))):
        assert other.format(SIGNATURE, [], {"question": "Q"}) == adapter.format(
            SIGNATURE, [], {"question": "Q"}
        )
