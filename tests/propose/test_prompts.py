"""What the prompt model is sent, pinned by golden files.

Run with `UPDATE_GOLDEN=1` in the environment to write the files anew, then read the difference.
"""

import os
import random
from pathlib import Path

import pytest

import mipro
from mipro.propose import (
    Lessons,
    Mistake,
    ProposalSettings,
    ScoredInstruction,
    propose_instructions,
    propose_more,
)
from mipro.testing.lms import ScriptedLM

GOLDEN = Path(__file__).parent / "golden"
FIELDS = ("proposed_instruction", "observations", "summary", "program_description", "module_description")
TRAIN = [
    mipro.Example(question=f"Who wrote book {i}?", answer=f"Writer {i}").with_inputs("question")
    for i in range(14)
]
LABELLED = [
    mipro.Example(utterance=f"request {i}", intent=intent).with_inputs("utterance")
    for i, intent in enumerate(["play_music", "get_weather"] * 4)
]


class Research(mipro.Module):
    """Finds a query, then answers."""

    def __init__(self):
        super().__init__()
        self.search = mipro.Predict("question -> query")
        self.answer = mipro.ChainOfThought("question, query -> answer")

    def forward(self, question):
        """Answer a question."""
        query = self.search(question=question).query
        return self.answer(question=question, query=query)


ADVICE = {"answer.predict": "Answer in one word."}


def one_word(inputs, prediction):
    """Rate an answer."""
    return float(len(prediction.answer.split()) == 1)


class _Demos:
    grounding = ((mipro.Example(question="Who wrote it?", query="writer of it"),), ())


class _Bare:
    grounding = (tuple(LABELLED[:2]),)


def _recorder():
    prompts = []

    def answer(messages):
        prompts.append(messages)
        last = str(messages[-1]["content"])
        field = next(name for name in FIELDS if f"`{name}`" in last or f"`[[ ## {name} ## ]]`" in last)
        return {field: f"Text {len(prompts)} of {field} is here."}

    return ScriptedLM(answer), prompts


def _two_steps():
    lm, prompts = _recorder()
    propose_instructions(
        Research(), TRAIN, _Demos, prompt_lm=lm, count=2, rng=random.Random(0), keep=["Given"]
    )
    return prompts


def _bare_predictor():
    lm, prompts = _recorder()
    program = mipro.Predict("utterance -> intent")
    propose_instructions(program, LABELLED, _Bare, prompt_lm=lm, count=3, rng=random.Random(0))
    return prompts


def _agent():
    def look_up(word: str) -> str:
        """Look a word up."""
        return word

    lm, prompts = _recorder()
    program = mipro.ReAct("question -> answer", tools=[look_up])
    propose_instructions(program, TRAIN, prompt_lm=lm, count=2, rng=random.Random(0))
    return prompts


def _later_round():
    program = mipro.Predict("utterance -> intent")
    before = propose_instructions(
        program, LABELLED, None, prompt_lm=_recorder()[0], count=2, rng=random.Random(0)
    )
    lm, prompts = _recorder()
    propose_more(
        program,
        LABELLED,
        before,
        prompt_lm=lm,
        settings=ProposalSettings(count=3),
        rng=random.Random(0),
        lessons=Lessons(
            round=1,
            history=(ScoredInstruction(0, "Say it.", 0.25), ScoredInstruction(0, "Name the intent.", 0.5)),
            mistakes=(
                Mistake(LABELLED[0], {"intent": "get_weather"}, "It is about music."),
                Mistake(LABELLED[1], None),
            ),
        ),
    )
    return prompts


def _advice():
    prompts = []

    def answer(messages):
        prompts.append(messages)
        return {"query": "q", "reasoning": "r", "answer": "A writer", "discussion": "d", "advice": ADVICE}

    with mipro.context(lm=ScriptedLM(answer)):
        mipro.Refine(Research(), N=2, reward_fn=one_word, threshold=1.0)(question="Who wrote it?")
    return [prompts[2], prompts[4]]


@pytest.mark.parametrize(
    "case", [_two_steps, _bare_predictor, _agent, _later_round, _advice], ids=lambda case: case.__name__[1:]
)
def test_prompts_are_those_of_the_golden_files(case):
    """Every prompt of the proposer is what the file shows."""
    shown = "\n\n".join(
        f"######## {message['role']}\n{message['content']}" for messages in case() for message in messages
    )
    path = GOLDEN / f"{case.__name__[1:]}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(shown + "\n", encoding="utf-8")
    assert shown + "\n" == path.read_text(encoding="utf-8")
