"""Stage 2: proposing instructions, against a scripted prompt model."""

import random
import threading
from typing import Literal

import pytest

import mipro
from mipro.errors import ContextWindowError, LMAuthError, LMRequestError
from mipro.propose import (
    TIPS,
    Lessons,
    Mistake,
    ProposalSettings,
    ScoredInstruction,
    propose_instructions,
    propose_more,
)
from mipro.testing.lms import ScriptedLM

TRAIN = [
    mipro.Example(
        question=f"what is thing number {i}", answer=f"it is the long thing {i} of all"
    ).with_inputs("question")
    for i in range(12)
]
LABELLED = [
    mipro.Example(text=f"text {i}", mood=mood).with_inputs("text")
    for i, mood in enumerate(["glad", "sad", "calm"] * 5)
]
FIELDS = ("proposed_instruction", "observations", "summary", "program_description", "module_description")
# Words that have nothing in common, so that no two proposals are alike.
WORDS = [f"{a}{b}" for a in "bcdfghjklmnp" for b in ("arn", "ell", "isk", "ork", "umb")]


class _Bare(mipro.Module):
    """Two steps, the second called twice."""

    def __init__(self):
        super().__init__()
        self.search = mipro.Predict("question -> query")
        self.answer = mipro.ChainOfThought("question, query -> answer")

    def forward(self, question):
        return self.answer(question=question, query=self.search(question=question).query)


class _Demos:
    def __init__(self, *grounding):
        self.grounding = grounding


def _asked_for(messages):
    """The output field that the last message asks for."""
    last = str(messages[-1]["content"])
    return next(name for name in FIELDS if f"`{name}`" in last or f"`[[ ## {name} ## ]]`" in last)


class _Prompter:
    """A prompt model: a new instruction for each call, fixed texts for all else."""

    def __init__(self, propose=None):
        self._lock = threading.Lock()
        self._number = 0
        self._propose = propose
        self.lm = ScriptedLM(self._answer)

    def _answer(self, messages, **kwargs):
        field = _asked_for(messages)
        if field != "proposed_instruction":
            return {field: f"Some {field}."}
        with self._lock:
            number = self._number
            self._number += 1
        if self._propose is not None:
            return self._propose(number, str(messages[-1]["content"]))
        return {field: " ".join(WORDS[(5 * number + k) % len(WORDS)] for k in range(5))}

    def prompts(self, field):
        """What was asked for a field."""
        texts = [call["messages"] for call in self.lm.calls]
        return [str(messages[-1]["content"]) for messages in texts if _asked_for(messages) == field]


def _propose(prompter, program=None, trainset=TRAIN, demos=None, **changes):
    settings = {"prompt_lm": prompter.lm, "count": 4, "rng": random.Random(0), **changes}
    return propose_instructions(program or mipro.Predict("question -> answer"), trainset, demos, **settings)


def test_the_original_comes_first_and_the_count_is_met():
    """Entry 0 is the program's own instruction; the others are new."""
    proposals = _propose(_Prompter())
    assert len(proposals.instructions[0]) == 4
    assert proposals.instructions[0][0] == mipro.Predict("question -> answer").signature.instructions
    assert proposals.tips[0][0] == "original"


def test_only_the_original_costs_nothing():
    """With `count=1` the model is not asked."""
    prompter = _Prompter()
    assert len(_propose(prompter, count=1).instructions[0]) == 1
    assert prompter.lm.calls == []


def test_every_predictor_gets_its_proposals():
    """A program of two steps gets instructions for both."""
    proposals = _propose(_Prompter(), _Bare())
    assert [len(texts) for texts in proposals.instructions] == [4, 4]
    assert [len(tips) for tips in proposals.tips] == [4, 4]


def test_descriptions_are_asked_for_once():
    """The program is described once, each predictor once, the data in at most three views."""
    prompter = _Prompter()
    _propose(prompter, _Bare(), count=6)
    counts = [
        len(prompter.prompts(field)) for field in ("program_description", "module_description", "summary")
    ]
    assert counts == [1, 2, 1]
    assert len(prompter.prompts("observations")) == 2


def test_a_bare_predictor_is_not_described():
    """Where the call form says it all, no call is spent on a description."""
    prompter = _Prompter()
    _propose(prompter)
    assert prompter.prompts("program_description") == []


def test_grounding_reaches_the_proposal():
    """Summary, program, role, demos, original and tip are in the prompt."""
    prompter = _Prompter()
    demo = mipro.Example(question="shown question", query="shown query")
    _propose(prompter, _Bare(), demos=_Demos((demo,), ()))
    prompt = prompter.prompts("proposed_instruction")[0]
    for part in ("Some summary.", "Some program_description.", "Some module_description.", "shown question"):
        assert part in prompt
    assert "Given the fields `question`, produce the fields `query`." in prompt


@pytest.mark.parametrize(
    ("switch", "part"),
    [
        ("data_aware", "Some summary."),
        ("program_aware", "Some program_description."),
        ("fewshot_aware", "shown question"),
    ],
)
def test_what_is_switched_off_is_not_in_the_prompt(switch, part):
    """Each kind of grounding can be left out."""
    prompter = _Prompter()
    demo = mipro.Example(question="shown question", query="shown query")
    _propose(prompter, _Bare(), demos=_Demos((demo,), ()), **{switch: False})
    assert not any(part in prompt for prompt in prompter.prompts("proposed_instruction"))


def test_without_tips_none_is_given():
    """`tip_aware=False` leaves the tip out."""
    prompter = _Prompter()
    proposals = _propose(prompter, tip_aware=False)
    assert proposals.tips[0] == ("original", "none", "none", "none")
    prompts = "".join(prompter.prompts("proposed_instruction"))
    assert not any(text in prompts for text in TIPS.values() if text)


def test_the_result_does_not_depend_on_threads():
    """The same seed gives the same prompts in the same places, in parallel too."""

    def echo(number, prompt):
        tip = next((name for name, text in TIPS.items() if text and text in prompt), "none")
        return {"proposed_instruction": f"{tip} " + " ".join(random.Random(tip).sample(WORDS, 8))}

    results = [_propose(_Prompter(echo), num_threads=threads, count=6) for threads in (1, 8)]
    assert results[0] == results[1]


def test_every_proposal_is_a_draw_of_its_own():
    """No two calls share temperature and draw, so that no cache gives one answer twice."""
    seen = []

    class Recorder(ScriptedLM):
        def request(self, prompt=None, messages=None, **kwargs):
            seen.append((kwargs.get("rollout_id"), kwargs.get("temperature")))
            return super().request(prompt, messages, **kwargs)

    prompter = _Prompter()
    prompter.lm = Recorder(prompter._answer)
    _propose(prompter, count=6, init_temperature=0.5)
    draws = [draw for draw in seen if draw[1] == 0.5]
    assert len(draws) == len(set(draws)) == 5


def test_a_reasoning_model_gets_no_temperature():
    """Models that refuse a temperature are not given one."""
    seen = []

    class Reasoner(ScriptedLM):
        supports_reasoning = True

        def request(self, prompt=None, messages=None, **kwargs):
            seen.append(kwargs)
            return super().request(prompt, messages, **kwargs)

    prompter = _Prompter()
    prompter.lm = Reasoner(prompter._answer)
    _propose(prompter)
    assert seen
    assert not any("temperature" in kwargs for kwargs in seen)


def test_a_closed_set_of_labels_is_stated():
    """The original with the labels comes first, then all proposals but every fourth name them."""
    proposals = _propose(_Prompter(), mipro.Predict("text -> mood"), LABELLED, count=7)
    stated = [all(mood in text for mood in ("glad", "sad", "calm")) for text in proposals.instructions[0]]
    assert stated == [False, True, True, True, True, False, True]
    assert proposals.tips[0][1] == "original+labels"
    assert [tip.endswith("+labels") for tip in proposals.tips[0]] == stated


def test_labels_are_told_to_the_proposer():
    """The prompt says what the labels are."""
    prompter = _Prompter()
    _propose(prompter, mipro.Predict("text -> mood"), LABELLED)
    assert "exactly one of: calm, glad, sad" in prompter.prompts("proposed_instruction")[0]


def test_labels_are_not_said_twice():
    """A proposal that names all labels is left as it is."""
    text = "Name the mood of the text, calm or glad or sad, whatever it is about."
    proposals = _propose(
        _Prompter(lambda *_: {"proposed_instruction": text}), mipro.Predict("text -> mood"), LABELLED, count=2
    )
    assert proposals.instructions[0][1] == text


def test_letters_of_other_words_say_no_label():
    """The letters of an answer sheet are in every text; they are stated all the same."""
    sheet = [mipro.Example(text=f"text {i}", choice="ABCD"[i % 4]).with_inputs("text") for i in range(16)]
    text = "Be careful: decide by all facts."
    program = mipro.Predict("text -> choice")
    proposals = _propose(_Prompter(lambda *_: {"proposed_instruction": text}), program, sheet, count=2)
    assert proposals.instructions[0][1] == f"{text}\nThe choice must be exactly one of: A, B, C, D."


def test_labels_between_words_without_blanks_are_said():
    """In a Chinese instruction labels stand between other characters."""
    rows = [
        mipro.Example(text=f"text {i}", mood=["正面", "负面"][i % 2]).with_inputs("text") for i in range(8)
    ]
    text = "请判断文本是正面还是负面"
    program = mipro.Predict("text -> mood")
    proposals = _propose(_Prompter(lambda *_: {"proposed_instruction": text}), program, rows, count=2)
    assert proposals.instructions[0][1] == text


def test_none_is_stated_where_the_type_takes_it():
    """A sentence with all labels but None would forbid the right answer."""
    rows = [mipro.Example(text=f"text {i}", mood=[None, "sad"][i % 2]).with_inputs("text") for i in range(8)]
    proposals = _propose(_Prompter(), mipro.Predict("text -> mood: Optional[str]"), rows)
    assert proposals.instructions[0][1].endswith("must be exactly one of: None, sad.")


@pytest.mark.parametrize(
    "kind", ["Literal['glad', 'sad', 'calm']", "Optional[Literal['glad', 'sad', 'calm', 'bored']]"]
)
def test_a_type_that_names_its_values_needs_no_labels(kind):
    """A Literal output is stated by the adapter already, and the data may not have all of it."""
    program = mipro.Predict(f"text -> mood: {kind}")
    proposals = _propose(_Prompter(), program, LABELLED)
    assert not any(tip.endswith("+labels") for tip in proposals.tips[0])


def test_instruction_text_is_taken_as_it_is():
    """A beginning with a colon is not eaten; quotes around the whole are."""
    texts = ['"Classify the sentiment: good or bad."', "**Task:** answer the thing asked for."]
    proposals = _propose(_Prompter(lambda number, _: {"proposed_instruction": texts[number % 2]}), count=3)
    assert set(proposals.instructions[0][1:]) == {"Classify the sentiment: good or bad.", texts[1]}


def test_malformed_answers_are_asked_again_and_counted():
    """A bad answer costs a second call and no proposal."""

    def first_is_broken(number, _):
        if number == 0:
            return "[[ ## nothing ## ]] here"
        return {"proposed_instruction": " ".join(WORDS[5 * number : 5 * number + 5])}

    prompter = _Prompter(first_is_broken)
    with mipro.context(adapter=mipro.JSONAdapter()):
        proposals = _propose(prompter)
    assert len(proposals.instructions[0]) == 4
    assert (proposals.refused, dict(proposals.refusals)) == (1, {"malformed": 1})


@pytest.mark.parametrize("answer", ["}{ no JSON", "", "[[ ## x ## ]]", '{"proposed_instruction": 3}'])
def test_garbage_to_every_question_gives_the_original(answer):
    """A model that never answers properly leaves the program as it is; a note says so."""
    proposals = _propose(_Prompter(lambda *_: answer))
    assert [len(texts) for texts in proposals.instructions] == [1]
    assert any("only the original instruction" in note for note in proposals.notes)
    assert proposals.refused == 9


def test_the_predictor_that_lacks_proposals_is_named():
    """A place in a list, counted from 0, says little about a program of ten."""
    notes = _propose(_Prompter(lambda *_: ""), _Bare()).notes
    lacking = [note.split(" has ")[0] for note in notes if " has only" in note]
    assert lacking == ["`search`", "`answer.predict`"]


def test_garbage_in_every_stage_is_no_crash():
    """Without summary and descriptions the proposals go on, with notes."""
    lm = ScriptedLM(lambda _: "garbage")
    proposals = propose_instructions(_Bare(), TRAIN, None, prompt_lm=lm, count=2, rng=random.Random(0))
    assert [len(texts) for texts in proposals.instructions] == [1, 1]
    assert any("no usable summary" in note for note in proposals.notes)
    assert any("no readable description" in note for note in proposals.notes)


def test_labels_are_stated_even_if_the_model_gives_nothing():
    """With a closed set of labels there is always one more instruction: the original with them."""
    proposals = _propose(_Prompter(lambda *_: "garbage"), mipro.Predict("text -> mood"), LABELLED)
    assert proposals.tips[0] == ("original", "original+labels")
    assert "calm, glad, sad" in proposals.instructions[0][1]


def test_refusals_leaks_and_duplicates_are_asked_again():
    """What the guard refuses does not come back, and is counted by reason."""
    answers = [
        "I'm sorry, I can't.",
        f"Say: {TRAIN[3].answer}.",
        "Give the full thing.",
        "give the full thing",
    ]
    proposals = _propose(
        _Prompter(
            lambda number, _: {
                "proposed_instruction": answers[number]
                if number < 4
                else " ".join(WORDS[number : number + 4])
            }
        ),
        count=5,
    )
    assert dict(proposals.refusals) == {"refusal": 1, "leak": 1, "duplicate": 1}
    assert len(proposals.instructions[0]) == 5
    assert not any(TRAIN[3].answer in text for text in proposals.instructions[0])


def test_after_a_leak_no_examples_are_shown():
    """A model that copies what it sees is asked again without what it could copy."""

    def copier(number, prompt):
        return {
            "proposed_instruction": f"Say: {TRAIN[3].answer}." if TRAIN[3].answer in prompt else "Be kind."
        }

    prompter = _Prompter(copier)
    proposals = _propose(prompter, demos=_Demos((TRAIN[3],)), count=2)
    assert ["## task_demos ## ]]" in prompt for prompt in prompter.prompts("proposed_instruction")] == [
        True,
        False,
    ]
    assert proposals.instructions[0][1] == "Be kind."
    assert "traces" in proposals.origins[0][1].left_out


def test_values_of_the_type_are_no_secret():
    """What the type of an output lists may be named, though only one training example has it."""
    sizes = ["Very Large", "Very Small"]
    data = [
        mipro.Example(text=f"text {i}", size=size).with_inputs("text")
        for i, size in enumerate([sizes[0], *[sizes[1]] * 11])
    ]
    named = "Judge how big the thing in the text is: Very Large or Very Small."
    types = {"Size": Literal["Very Large", "Very Small"]}
    program = mipro.Predict(mipro.Signature("text -> size: Size", custom_types=types))
    prompter = _Prompter(lambda *_: {"proposed_instruction": named})
    assert _propose(prompter, program, data, count=2).instructions[0][1] == named


def test_the_worked_examples_are_not_taken_over():
    """What the model was shown as an example of an instruction is no proposal."""
    copied = "Read the review and rate how satisfied the customer is: answer with 1, 2 or 3 stars."
    proposals = _propose(_Prompter(lambda *_: {"proposed_instruction": copied}), count=2)
    assert dict(proposals.refusals) == {"leak": 3}


def test_a_summary_that_copies_examples_is_not_used():
    """A model that goes on with the examples instead of describing them has described nothing."""

    class Copier(_Prompter):
        def _answer(self, messages, **kwargs):
            if _asked_for(messages) == "observations":
                return {"observations": f"{TRAIN[3].question} answer: {TRAIN[3].answer}"}
            return super()._answer(messages, **kwargs)

    proposals = _propose(Copier())
    assert proposals.summary is None
    assert any("no usable summary" in note for note in proposals.notes)


@pytest.mark.parametrize(
    "answer", ["I'm sorry, but I can't help with that.", "<think>Not I.</think>I cannot look at this."]
)
def test_a_refusal_is_no_description(answer):
    """A model that declines to describe the data or the program was quoted to the proposer."""
    prompter = _Prompter()
    asked = prompter._answer
    prompter.lm = ScriptedLM(
        lambda messages, **kwargs: (
            asked(messages)
            if _asked_for(messages) == "proposed_instruction"
            else {_asked_for(messages): answer}
        )
    )
    grounding = _propose(prompter, _Bare()).grounding
    assert (grounding.summary, grounding.program_description, set(grounding.roles)) == ("", "", {""})


def test_what_was_told_to_write_is_no_instruction_whatever_the_tip():
    """A model that repeats the assignment, with the tip at its end, has written nothing."""

    def echo(number, prompt):
        return {"proposed_instruction": prompt.rpartition("[[ ## assignment ## ]]\n")[2].partition("\n")[0]}

    proposals = _propose(_Prompter(echo))
    assert len(proposals.instructions[0]) == 1
    assert set(proposals.refusals) == {"echo"}


def _told_of(mistake, program):
    """Return the prompt of a round's only proposal, where the program has made one mistake."""
    prompter = _Prompter(lambda number, _: {"proposed_instruction": f"other{number} way{number} go{number}"})
    propose_more(
        program,
        [mistake.example],
        _propose(_Prompter(), count=2),
        prompt_lm=prompter.lm,
        settings=ProposalSettings(count=3),
        rng=random.Random(1),
        lessons=Lessons(round=1, mistakes=(mistake,)),
    )
    [prompt] = prompter.prompts("proposed_instruction")
    return prompt


def test_what_a_judge_scores_has_no_expected_answer():
    """Where the examples have none, nothing is said to be expected."""
    row = mipro.Example(question="why?").with_inputs("question")
    prompt = _told_of(Mistake(row, {"answer": "so"}, "too short"), mipro.Predict("question -> answer"))
    assert "answered: " in prompt
    assert "expected: " not in prompt


def test_what_was_answered_wrong_is_shown_however_long_the_reasoning():
    """Of a mistake the field that the example has too comes first; the rest may be cut off."""
    row = mipro.Example(question="why?", verdict="so").with_inputs("question")
    told = {"reasoning": "think " * 500, "verdict": "elsewhere"}
    prompt = _told_of(Mistake(row, told, ""), mipro.ChainOfThought("question -> verdict"))
    assert "elsewhere" in prompt


def test_a_frozen_predictor_keeps_its_instruction():
    """Nothing is proposed or stated for it, and nobody is told that proposals are missing."""
    prompter = _Prompter()
    proposals = _propose(prompter, mipro.Predict("text -> mood"), LABELLED, frozen={0})
    assert len(proposals.instructions[0]) == 1
    assert (prompter.prompts("proposed_instruction"), proposals.notes) == ([], ())


@pytest.mark.parametrize("adapter", [None, mipro.ChatAdapter()])
def test_a_local_model_is_held_to_json_and_a_length(adapter):
    """A small model that repeats itself ends, and its answers can be read; the user's adapter goes first."""
    prompter = _Prompter()
    prompter.lm = ScriptedLM(prompter._answer, "local/tiny")
    with mipro.context(adapter=adapter):
        _propose(prompter)
    assert {call["kwargs"]["max_tokens"] for call in prompter.lm.calls} == {256}
    assert {"JSON" in str(call["messages"][-1]["content"]) for call in prompter.lm.calls} == {adapter is None}


def test_descriptions_are_drawn_at_the_temperature_of_the_model():
    """`init_temperature` is that of the proposals."""
    prompter = _Prompter()
    prompter.lm = ScriptedLM(prompter._answer, temperature=0.25)
    _propose(prompter, init_temperature=0.5)
    drawn = {
        (_asked_for(call["messages"]) == "proposed_instruction", call["kwargs"].get("temperature", 0.25))
        for call in prompter.lm.calls
    }
    assert drawn == {(True, 0.5), (False, 0.25)}


def test_parts_to_keep_are_in_every_proposal():
    """What must stay stays, word for word, and the model is told."""
    program = mipro.Predict(mipro.Signature("question -> answer", "Be kind. Never say never."))
    prompter = _Prompter()
    proposals = _propose(prompter, program, keep=["Never say never."])
    assert all("Never say never." in text for text in proposals.instructions[0])
    assert "[[ ## must_contain ## ]]" in prompter.prompts("proposed_instruction")[0]


def test_too_long_instructions_are_not_taken():
    """`max_instruction_tokens` bounds every proposal, labels included."""
    long = {"proposed_instruction": " ".join(WORDS)}
    proposals = _propose(_Prompter(lambda *_: long), max_instruction_tokens=30)
    assert len(proposals.instructions[0]) == 1
    assert proposals.refusals["too long"] == 9


def test_an_agent_keeps_its_tools():
    """Proposals for an agent end with how it works and what tools it has."""

    def look_up(word: str) -> str:
        """Look a word up."""
        return word

    proposals = _propose(_Prompter(), mipro.ReAct("question -> answer", tools=[look_up]))
    assert all("look_up" in text and "next_tool_name" in text for text in proposals.instructions[0])
    assert not any("look_up" in text for text in proposals.instructions[1])


def _moody_agent(trained=None):
    def look_up(word: str) -> str:
        """Look a word up."""
        return word

    agent = mipro.ReAct(mipro.Signature("text -> mood", "Say the mood."), tools=[look_up])
    if trained is not None:
        agent.react.signature = agent.react.signature.with_instructions(trained)
    return agent


@pytest.mark.parametrize("stated", ["", "\nThe mood must be one of: calm, glad."])
def test_an_agent_that_was_optimized_is_proposed_for_as_one_that_was_not(tmp_path, stated):
    """Its instruction is shown apart from what stays anyway, and new ones don't pile up on it."""
    rules = "You work on this as an agent."
    trained = _propose(_Prompter(), _moody_agent()).instructions[0][1]
    own = trained.partition("\n\n" + rules)[0]
    _moody_agent(trained + stated).save(tmp_path / "agent.json")
    agent = _moody_agent()
    agent.load(tmp_path / "agent.json")
    prompter = _Prompter(lambda number, _: {"proposed_instruction": " ".join(WORDS[4 * number + 9 :][:4])})
    again = _propose(prompter, agent).instructions[0]
    assert [text.count(rules) for text in again] == [1, 1, 1, 1]
    assert [own in text for text in again] == [True, False, False, False]
    shown = [text for text in prompter.prompts("proposed_instruction") if own + stated in text]
    assert len(shown) == 3
    assert all(rules not in text.partition("[[ ## fixed_end ## ]]")[0] for text in shown)


def test_an_agent_with_a_foreign_instruction_is_told_its_tools():
    """What another library wrote is shown, and replaced by what this agent needs."""
    foreign = "Guess.\n\nYou are an Agent. The tool must be one of: (1) look_up"
    proposals = _propose(_Prompter(), _moody_agent(foreign))
    assert proposals.instructions[0][0] == foreign
    assert all("Look a word up" in text for text in proposals.instructions[0][1:])
    assert not any("You are an Agent" in text for text in proposals.instructions[0][1:])


def test_a_fixed_end_that_is_repeated_stands_once():
    """The proposer sees how the agent works and which tools it has, and may write it down once more."""

    def repeat(number, prompt):
        end = prompt.partition("[[ ## fixed_end ## ]]\n")[2].partition("\n\n[[ ##")[0]
        return {"proposed_instruction": " ".join(WORDS[4 * number :][:4]) + (f"\n\n{end}" if end else "")}

    proposals = _propose(_Prompter(repeat), _moody_agent())
    assert [text.count("Look a word up") for text in proposals.instructions[0]] == [1, 1, 1, 1]
    assert len(proposals.instructions[1]) == 4


def test_a_fixed_end_is_shown_once_however_much_was_tried():
    """It stands apart, and not after each of the instructions tried before."""
    agent = _moody_agent()
    before = _propose(_Prompter(), agent)
    tried = [ScoredInstruction(0, text, 0.5) for text in before.instructions[0]]
    prompter = _Prompter(lambda number, _: {"proposed_instruction": f"other{number} way{number} go{number}"})
    propose_more(
        agent,
        TRAIN,
        before,
        prompt_lm=prompter.lm,
        settings=ProposalSettings(count=8, frozen=frozenset([1])),
        rng=random.Random(1),
        lessons=Lessons(round=1, history=tuple(tried)),
    )
    prompts = [
        p for p in prompter.prompts("proposed_instruction") if "[[ ## previous_instructions ## ]]" in p
    ]
    assert prompts
    for prompt in prompts:
        assert all(text.partition("\n\n")[0] in prompt for text in before.instructions[0])
        assert prompt.count("Look a word up") == 1


def test_a_long_instruction_is_shown_whole():
    """What is not seen of it would be lost in what is proposed."""
    rules = "\n".join(f"Rule {number}: leave out what number {number} says." for number in range(500))
    program = mipro.Predict(mipro.Signature("question -> answer", rules))
    prompter = _Prompter()
    _propose(prompter, program)
    assert all(rules in prompt for prompt in prompter.prompts("proposed_instruction"))


def test_a_predictor_without_inputs_is_told_what_it_must_write():
    """The assignment names what there is to get, and no inputs that are not there."""

    class Joke(mipro.Signature):
        """Tell a joke."""

        joke: str = mipro.OutputField()

    prompter = _Prompter()
    _propose(prompter, mipro.Predict(Joke))
    told = "tells a language model how to get `joke`."
    assert all(told in prompt for prompt in prompter.prompts("proposed_instruction"))


def test_parts_to_keep_of_a_fixed_end_are_not_said_twice():
    """What stands in the end that stays anyway is not put before it once more."""

    def look_up(word: str) -> str:
        """Look a word up."""
        return word

    agent = mipro.ReAct("question -> answer", tools=[look_up])
    part = "Look a word up"
    proposals = _propose(_Prompter(), agent, keep=[part])
    assert [text.count(part) for text in proposals.instructions[0]] == [1, 1, 1, 1]


def test_a_prompt_too_long_for_the_model_is_made_lean():
    """Where the context is too small the long parts are left out, of the instruction too."""

    def small(number, prompt):
        if "shown question" in prompt or "Rule 400" in prompt:
            return ContextWindowError("too long")
        return {"proposed_instruction": " ".join(WORDS[4 * number : 4 * number + 4])}

    demo = mipro.Example(question="shown question", answer="shown answer")
    rules = "\n".join(f"Rule {number}: leave out what number {number} says." for number in range(500))
    program = mipro.Predict(mipro.Signature("question -> answer", rules))
    proposals = _propose(_Prompter(small), program, demos=_Demos((demo,)))
    assert len(proposals.instructions[0]) == 4


def test_a_refused_request_is_asked_again_without_the_data():
    """A filter of contents, which the data set off, ended the run, and every later session of it."""

    def filtered(messages):
        if any(part in str(messages[-1]["content"]) for part in ("thing number 3", "shown question")):
            return LMRequestError("filtered", status=400)
        return prompter._answer(messages)

    prompter = _Prompter()
    prompter.lm = ScriptedLM(filtered)
    demo = mipro.Example(question="shown question", answer="shown answer")
    proposals = _propose(prompter, trainset=TRAIN, demos=_Demos((demo,)), view_data_batch_size=len(TRAIN))
    assert len(proposals.instructions[0]) == 4
    assert proposals.refusals["refused request"] == 3
    assert any("no usable summary" in note for note in proposals.notes)


def test_a_model_that_is_refused_everything_is_an_error():
    """A parameter that it does not take, for example, which is better said than passed over."""
    with pytest.raises(LMRequestError, match="no such parameter"):
        _propose(_Prompter(lambda *_: LMRequestError("no such parameter", status=400)))


def test_a_dead_model_is_an_error():
    """Infrastructure that fails is not taken for a bad answer."""
    with pytest.raises(LMAuthError):
        propose_instructions(
            mipro.Predict("question -> answer"),
            TRAIN,
            None,
            prompt_lm=ScriptedLM(lambda _: LMAuthError("no key")),
            count=3,
            rng=random.Random(0),
        )


def test_huge_examples_and_images_are_bounded():
    """The prompts stay short whatever the data are."""
    data = [
        mipro.Example(question="word " * 20_000, picture=b"\x00" * 10_000, answer=f"x{i}").with_inputs(
            "question", "picture"
        )
        for i in range(20)
    ]
    prompter = _Prompter()
    _propose(prompter, mipro.Predict("question, picture -> answer"), data, demos=_Demos(data[:3]))
    assert max(len(str(call["messages"])) for call in prompter.lm.calls) < 8000
    assert "<bytes, 10000 bytes>" in prompter.prompts("observations")[0]


def test_nothing_of_the_program_is_changed():
    """The program is only read."""
    program = _Bare()
    before = program.dump_state()
    _propose(_Prompter(), program)
    assert program.dump_state() == before


def test_calls_are_not_left_in_the_callers_trace():
    """A trace under way has the calls of the program, not those of the proposer."""
    with mipro.context(trace=[]):
        _propose(_Prompter())
        assert mipro.settings.trace == []


def test_progress_counts_the_calls():
    """Every call is reported, and the last report has them all."""
    seen = []
    proposals = _propose(_Prompter(), on_progress=lambda done, total: seen.append((done, total)))
    assert [done for done, _ in seen] == list(range(1, proposals.num_calls + 1))
    assert seen[-1][0] == seen[-1][1]


def test_an_empty_trainset_is_no_trouble():
    """Without data there are proposals without a summary."""
    assert len(_propose(_Prompter(), trainset=[]).instructions[0]) == 4


def test_one_more_round_learns_from_scores_and_mistakes():
    """A later round shows the best instructions and the leader's mistakes, and pays for no grounding."""
    first = _propose(_Prompter(), count=3)
    prompter = _Prompter(
        lambda number, _: {"proposed_instruction": f"other{number} way{number} to{number} go{number}"}
    )
    second = propose_more(
        mipro.Predict("question -> answer"),
        TRAIN,
        first,
        prompt_lm=prompter.lm,
        settings=ProposalSettings(count=5),
        rng=random.Random(1),
        lessons=Lessons(
            round=1,
            history=(
                ScoredInstruction(0, first.instructions[0][1], 0.25),
                ScoredInstruction(0, "A good one.", 0.75),
            ),
            mistakes=(Mistake(TRAIN[0], {"answer": "nonsense"}, "not even close"),),
        ),
    )
    assert [origin.round for origin in second.origins[0]] == [0, 0, 0, 1, 1]
    assert second.instructions[0][:3] == first.instructions[0]
    assert len(second.instructions[0]) == len(second.tips[0]) == 5
    assert len(prompter.lm.calls) == 2
    prompt = prompter.prompts("proposed_instruction")[0]
    assert prompt.index("0.25: ") < prompt.index("0.75: A good one.")
    assert "not even close" in prompt
    assert "nonsense" in prompt


def test_a_later_round_does_not_repeat_what_had_the_labels_after_it():
    """A proposal is the same with and without the labels that were stated after it."""
    text = "Tell how the writer of the text feels."
    program = mipro.Predict("text -> mood")
    first = _propose(_Prompter(lambda *_: {"proposed_instruction": text}), program, LABELLED, count=3)
    assert first.tips[0][2].endswith("+labels")
    second = propose_more(
        program,
        LABELLED,
        first,
        prompt_lm=_Prompter(lambda *_: {"proposed_instruction": text}).lm,
        settings=ProposalSettings(count=4),
        rng=random.Random(0),
        lessons=Lessons(round=1),
    )
    assert not any(text in more for more in second.instructions[0][3:])
    assert second.refusals["duplicate"] == 3
