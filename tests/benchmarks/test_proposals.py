"""What each part of a proposal is worth: how answers are read, and how arms are compared."""

import pytest

import mipro
import proposals
from mipro.propose._signatures import DescribeData
from mipro.testing.lms import ScriptedLM


def row(arm, scores, seed=0, task="tense"):
    """Return one result."""
    result = proposals.Result("small", task, seed, arm, scores, [["Do it."]] * len(scores), {}, 10.0)
    return proposals.asdict(result)


def test_a_begun_answer_ends_at_the_quote():
    """The model of a task writes the value only, after the beginning of the JSON."""
    lm = ScriptedLM(lambda messages: 'play_music"} and more')
    with mipro.context(lm=lm, adapter=proposals.TaskAdapter()):
        assert mipro.Predict("utterance -> intent")(utterance="Play jazz").intent == "play_music"
    assert lm.calls[0]["messages"][-1] == {"role": "assistant", "content": '{"intent": "'}


def test_other_signatures_are_asked_as_always():
    """What the proposer asks is not begun."""
    messages = proposals.TaskAdapter().format(DescribeData, demos=[], inputs={"examples": "x"})
    assert messages == mipro.JSONAdapter().format(DescribeData, demos=[], inputs={"examples": "x"})


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ([[1.0, 1.0]], "| no tips | 1 | 1 | 0 | 0 | +0.500 |"),
        ([[1.0, 0.0], [0.0, 0.0]], "| no tips | 1 | 0 | 0 | 1 | -0.250 |"),
        ([], "| no tips | 1 | 0 | 0 | 1 | -0.250 |"),
    ],
)
def test_an_arm_is_compared_on_the_same_seed(scores, expected):
    """Proposals are averaged; where none could be used the original stands in."""
    rows = [row("original", [[0.25, 0.25]]), row("all", [[1.0, 0.0]]), row("no tips", scores)]
    rows.append(row("no tips", [[1.0, 1.0]], seed=1))
    assert proposals._beside("no tips", rows) == expected


def test_what_is_there_is_not_measured_again(tmp_path):
    """Results are found again by model, task, seed and arm."""
    path = tmp_path / "results.jsonl"
    proposals.Results(path).add(row("all", [[1.0]]))
    again = proposals.Results(path)
    assert again.get("small", "tense", 0, "all") == row("all", [[1.0]])
    assert again.get("small", "tense", 1, "all") is None
