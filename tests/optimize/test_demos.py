"""Stage 1: demo sets."""

import random
import re
import threading
from collections import Counter

import numpy as np
import pytest

import mipro
from mipro.errors import LMAuthError, ProgramError, UserError
from mipro.example import Example
from mipro.optimize._demo_sets import DemoLimits, DemoSets, Showing, recombine, trim
from mipro.optimize._demos import collect_demos
from mipro.optimize._traces import shows
from mipro.propose import MEDIA_TOKENS, token_estimate, value_tokens
from mipro.testing.lms import ScriptedLM

TRAIN = [Example(question=f"q{i}", answer=f"a{i}").with_inputs("question") for i in range(12)]


def _metric(example, prediction, trace=None):
    return example.answer == prediction.answer


def _number_asked(messages):
    """The number in the question of the last message."""
    return int(str(messages[-1]["content"]).split("## question ## ]]")[1].split()[0].strip("q"))


def _right_unless(*wrong):
    """A model that answers question i with a<i>, but wrongly where told."""

    def answer(messages):
        number = _number_asked(messages)
        return {"answer": "wrong" if number in wrong else f"a{number}"}

    return ScriptedLM(answer)


class _TwoSteps(mipro.Module):
    def __init__(self):
        super().__init__()
        self.search = mipro.Predict("question -> query")
        self.answer = mipro.Predict("question, query -> answer")
        self.never = mipro.Predict("text -> summary")

    def forward(self, question):
        return self.answer(question=question, query=self.search(question=question).query)


def _collect(program=None, lm=None, trainset=TRAIN, **changes):
    settings = {
        "metric": _metric,
        "count": 6,
        "max_bootstrapped": 3,
        "max_labeled": 2,
        "rng": random.Random(1),
        **changes,
    }
    with mipro.context(lm=lm or _right_unless()):
        return collect_demos(program or mipro.Predict("question -> answer"), trainset, **settings)


def _is_bootstrapped(demo):
    return "augmented" in demo


def test_sets_are_those_of_the_paper():
    """Original, labelled, in the order of the data, then shuffled."""
    demo_sets = _collect()
    assert demo_sets.source == ("original", "labelled", "bootstrap", *["shuffled bootstrap"] * 3)


def test_set_zero_is_the_program_as_it_came():
    """The program's own demos are set 0."""
    program = mipro.Predict("question -> answer")
    program.demos = [Example(question="mine", answer="too")]
    assert _collect(program).sets[0][0] == (Example(question="mine", answer="too"),)


def test_unshuffled_set_takes_the_first_successes():
    """The bootstrap set has the first examples that the teacher gets right, in order."""
    demo_sets = _collect(lm=_right_unless(0, 2))
    made = [demo for demo in demo_sets.sets[0][2] if _is_bootstrapped(demo)]
    assert [demo.question for demo in made] == ["q1", "q3", "q4"]


@pytest.mark.parametrize(("bootstrapped", "labelled"), [(0, 4), (4, 0), (1, 1), (2, 5), (5, 2)])
def test_limits_hold_in_every_set(bootstrapped, labelled):
    """No set has more bootstrapped demos, or labelled ones on top, than allowed."""
    demo_sets = _collect(max_bootstrapped=bootstrapped, max_labeled=labelled)
    assert len(demo_sets.sets[0]) == 6
    for demos in demo_sets.sets[0][1:]:
        made = sum(map(_is_bootstrapped, demos))
        assert made <= bootstrapped
        assert len(demos) == max(labelled, made)
        assert len({demo.question for demo in demos}) == len(demos)


def test_zero_shot_bootstraps_for_grounding_only():
    """With both limits 0 only set 0 comes back, and three demos ground the proposals."""
    lm = _right_unless()
    demo_sets = _collect(lm=lm, max_bootstrapped=0, max_labeled=0)
    helped = {str(call["messages"]).count("'assistant'") for call in lm.calls}
    assert helped <= {2, 3}, "the teacher is shown three labelled examples, none of them the one at hand"
    assert (demo_sets.source, demo_sets.sets) == (("original",), (((),),))
    assert [demo.question for demo in demo_sets.grounding[0]] == ["q0", "q1", "q2"]
    assert demo_sets.notes == ()


def test_labelled_only_calls_no_model():
    """Labelled demos cost nothing."""
    lm = _right_unless()
    demo_sets = _collect(lm=lm, max_bootstrapped=0, max_labeled=4)
    assert lm.calls == []
    assert set(demo_sets.source[1:]) == {"labelled"}


def test_all_sets_differ():
    """A set that equals another is drawn again."""
    demo_sets = _collect(trainset=TRAIN[:4], count=8)
    keys = [frozenset(map(repr, demos)) for demos in demo_sets.sets[0]]
    assert len(keys) == len(set(keys))


def test_fewer_sets_where_the_data_give_no_more():
    """Two examples don't give ten sets; a note says so."""
    demo_sets = _collect(trainset=TRAIN[:1], count=10)
    assert len(demo_sets.source) < 10
    assert any("instead of 10" in note for note in demo_sets.notes)


@pytest.mark.parametrize("seed", range(20))
def test_few_examples_give_all_their_sets(seed):
    """Two examples give three labelled sets, however many demos a set might have."""
    rng = random.Random(seed)
    demo_sets = _collect(trainset=TRAIN[:2], max_bootstrapped=0, max_labeled=16, rng=rng)
    assert len(demo_sets.source) == 1 + 3


def test_each_example_is_run_once_for_all_sets():
    """Sets share the runs of the teacher."""
    lm = _right_unless()
    _collect(lm=lm, count=10, max_bootstrapped=6)
    asked = [_number_asked(call["messages"]) for call in lm.calls]
    assert len(asked) == len(set(asked))


def test_no_more_runs_than_the_sets_need():
    """One set of two demos from a teacher that is always right costs two runs."""
    lm = _right_unless()
    _collect(lm=lm, count=3, max_bootstrapped=2)
    assert len(lm.calls) == 2


@pytest.mark.parametrize("seed", range(3))
def test_threads_do_not_change_the_result(seed):
    """In parallel the same sets come out, of the same number of runs."""
    results, calls = [], []
    for threads in (1, 8):
        lm = _right_unless(1, 4, 7)
        results.append(_collect(lm=lm, num_threads=threads, rng=random.Random(seed), count=8))
        calls.append(len(lm.calls))
    assert results[0] == results[1]
    assert calls[0] == calls[1]


def _two_step_lm(*, answer_is_right=lambda number: True):
    def answer(messages):
        number = _number_asked(messages)
        asks_answer = "## query ## ]]" in str(messages[-1]["content"]).split("## question ## ]]")[1]
        if asks_answer and "## answer ## ]]" in str(messages[0]["content"]):
            return {"answer": f"a{number}" if answer_is_right(number) else "wrong"}
        return {"query": f"find {number}"}

    return ScriptedLM(answer)


def test_predictors_share_the_successful_runs():
    """In each set the bootstrapped demos of all predictors come from the same runs."""
    demo_sets = _collect(_TwoSteps(), lm=_two_step_lm())
    assert any(map(_is_bootstrapped, demo_sets.sets[0][2]))
    for search, answer in zip(demo_sets.sets[0], demo_sets.sets[1], strict=True):
        assert [d.question for d in search if _is_bootstrapped(d)] == [
            d.question for d in answer if _is_bootstrapped(d)
        ]


def test_a_predictor_never_called_gets_what_fits_it():
    """A predictor without calls and without matching labels has no demos, and nothing breaks."""
    demo_sets = _collect(_TwoSteps(), lm=_two_step_lm())
    assert all(demos == () for demos in demo_sets.sets[2])


class NAType:
    """What pandas calls the type of its `NA`, which can't be compared."""

    def __eq__(self, other):
        return self

    def __bool__(self):
        raise TypeError("boolean value of NA is ambiguous")

    def __repr__(self):
        return "<NA>"

    __hash__ = None


@pytest.mark.parametrize(
    ("kind", "label", "shown"),
    [
        ("str", None, 2),
        ("str | None", None, 4),
        ("str", float("nan"), 2),
        ("str", np.float32("nan"), 2),
        ("float | None", float("nan"), 2),
        ("str", NAType(), 2),
        ("str", 10**400, 4),
    ],
    ids=str,
)
def test_a_label_that_is_missing_is_no_demo(kind, label, shown):
    """None would be shown as the answer "None", unless that is one, and what tables write for it as "nan"."""
    trainset = [
        TRAIN[0],
        TRAIN[1],
        *(Example(row, answer=label).with_inputs("question") for row in TRAIN[2:4]),
    ]
    program = mipro.Predict(f"question -> answer: {kind}")
    demo_sets = _collect(program, trainset=trainset, max_bootstrapped=0, max_labeled=4, count=20)
    assert max(map(len, demo_sets.sets[0])) == shown


def test_labelled_demos_are_counted_per_predictor():
    """A predictor with fewer bootstrapped demos gets more labelled ones."""

    class Sometimes(mipro.Module):
        def __init__(self):
            super().__init__()
            self.first = mipro.Predict("question -> answer")
            self.second = mipro.Predict("question -> answer")

        def forward(self, question):
            prediction = self.first(question=question)
            return self.second(question=question) if question in {"q0", "q1"} else prediction

    demo_sets = _collect(Sometimes(), max_bootstrapped=4, max_labeled=4)
    first, second = demo_sets.sets[0][2], demo_sets.sets[1][2]
    assert [sum(map(_is_bootstrapped, demos)) for demos in (first, second)] == [4, 2]
    assert [len(first), len(second)] == [4, 4]


def test_a_teacher_that_always_fails_leaves_labelled_demos():
    """Without any success there are labelled sets, and a note."""
    demo_sets = _collect(lm=_right_unless(*range(12)))
    assert set(demo_sets.source[1:]) == {"labelled"}
    assert any("no demo could be bootstrapped" in note for note in demo_sets.notes)
    assert demo_sets.grounding[0] == tuple(TRAIN)


def test_a_slow_run_holds_up_no_other():
    """What a failure makes necessary is run while others are still under way."""
    ninth_is_asked = threading.Event()

    def answer(messages):
        number = _number_asked(messages)
        if number == 0:
            assert ninth_is_asked.wait(10)
        if number == 9:
            ninth_is_asked.set()
        return {"answer": f"a{number}" if number in {0, 1, 9} else "wrong"}

    demo_sets = _collect(lm=ScriptedLM(answer), num_threads=4, count=3)
    assert [demo["question"] for demo in demo_sets.sets[0][2] if _is_bootstrapped(demo)] == ["q0", "q1", "q9"]


@pytest.mark.parametrize("demos", [0, 3], ids=["grounding only", "sets"])
def test_a_hopeless_teacher_is_given_up(demos):
    """After fifty runs without a success no more are paid for."""
    many = [Example(question=f"q{i}", answer="no").with_inputs("question") for i in range(300)]
    lm = _right_unless()
    _collect(lm=lm, trainset=many, max_bootstrapped=demos, max_labeled=demos)
    assert 50 <= len(lm.calls) < 60


def test_a_teacher_that_succeeds_now_and_then_is_not_given_up():
    """Fifty failures in a row end the search for a set, not fifty in all."""
    many = [Example(question=f"q{i}", answer=f"a{i}").with_inputs("question") for i in range(200)]
    lm = _right_unless(*(set(range(200)) - {40, 80, 100, 160}))
    found = _collect(lm=lm, trainset=many, count=2, max_bootstrapped=4, max_labeled=0)
    assert [demo.question for demo in found.sets[0][1]] == ["q40", "q80", "q100"]
    assert found.num_attempts == 151


def test_threshold_decides_on_success():
    """`metric_threshold` is the least score of a success, and 0 is a threshold."""

    def half(example, prediction, trace=None):
        return 0.5

    assert _collect(metric=half, metric_threshold=0.6).num_successes == 0
    assert _collect(metric=half, metric_threshold=0.5).num_successes > 0
    assert _collect(metric=lambda *_: 0.0, metric_threshold=0).num_successes > 0


def test_no_metric_takes_every_run():
    """Without a metric every run that does not raise is a success."""
    assert (
        _collect(lm=_right_unless(0, 1, 2), metric=None).num_attempts == _collect(metric=None).num_successes
    )


@pytest.mark.parametrize("own", [False, True])
def test_rounds_after_the_first_draw_afresh(own):
    """A failed example is asked again with another draw at temperature 1, a predictor's own model too."""
    drawn_at = []

    class Drawing(ScriptedLM):
        def forward(self, prompt=None, messages=None, **kwargs):
            drawn_at.append(self.kwargs.get("temperature"))
            return super().forward(prompt, messages, **kwargs)

    lm = Drawing([{"answer": "wrong"}, {"answer": "wrong"}, {"answer": "a0"}])
    program = mipro.Predict("question -> answer")
    program.lm = lm if own else None
    demo_sets = _collect(program, ScriptedLM([]) if own else lm, max_rounds=3, count=3, max_bootstrapped=1)
    assert demo_sets.num_successes == 1
    assert drawn_at[1:] == [1.0, 1.0]


def test_teacher_settings_choose_the_teachers_model():
    """The model in `teacher_settings` runs the teacher."""
    big, small = _right_unless(), _right_unless()
    _collect(lm=small, teacher_settings={"lm": big})
    assert big.calls
    assert not small.calls


def test_a_teacher_is_not_shown_the_answer():
    """A labelled demo that is the example at hand is hidden from the teacher."""
    lm = _right_unless()
    _collect(lm=lm, trainset=TRAIN[:3], max_labeled=3, count=8)
    for call in lm.calls:
        number = _number_asked(call["messages"])
        assert f"a{number}" not in "".join(str(message["content"]) for message in call["messages"])


def test_a_teacher_is_not_shown_the_answer_in_a_part_that_was_optimized_before():
    """The part keeps its demos, but for the run on an example that one of them gives away."""

    class Checked(mipro.Module):
        def __init__(self):
            super().__init__()
            self.draft = mipro.ChainOfThought("question -> answer")
            self.draft._compiled = True
            rows = [Example(question=f"q{i}", reasoning="known", answer=f"a{i}") for i in range(2)]
            self.draft.predict.demos = rows
            self.check = mipro.Predict("question -> answer")

        def forward(self, question):
            self.draft(question=question)
            return self.check(question=question)

    shown = {}

    def answer(messages):
        number = _number_asked(messages)
        shown[number] = max(shown.get(number, 0), str(messages).count("known"))
        return {"reasoning": "so", "answer": f"a{number}"}

    program = Checked()
    _collect(program, ScriptedLM(answer), trainset=TRAIN[:3], max_labeled=0)
    assert shown == {0: 1, 1: 1, 2: 2}
    assert len(program.draft.predict.demos) == 2


def test_program_and_teacher_stay_as_they_are():
    """Nothing handed in is changed."""
    program, teacher = _TwoSteps(), _TwoSteps()
    before = program.dump_state(), teacher.dump_state()
    _collect(program, teacher=teacher, lm=_two_step_lm())
    assert (program.dump_state(), teacher.dump_state()) == before


def test_a_teacher_of_another_structure_is_refused():
    """Demos of other predictors can't be taken over."""
    with pytest.raises(UserError, match="same predictors"):
        _collect(teacher=_TwoSteps())


def test_demos_of_a_teacher_go_to_the_predictor_of_the_same_name():
    """A teacher may set its predictors in another order than the student."""

    class Both(mipro.Module):
        def __init__(self, *names):
            super().__init__()
            for name in names:
                setattr(self, name, mipro.Predict("question -> answer"))

        def forward(self, question):
            self.first(question=f"{question} first")
            return self.second(question=f"{question} second")

    sets = _collect(Both("first", "second"), teacher=Both("second", "first"), max_labeled=0).sets
    for name, demos in zip(("first", "second"), sets, strict=True):
        assert {demo.question.split()[1] for own in demos for demo in own} == {name}


def test_a_broken_program_is_an_error_after_max_errors():
    """A program that raises on `max_errors` examples ends the stage with its exception as cause."""

    class Broken(mipro.Module):
        def __init__(self):
            super().__init__()
            self.step = mipro.Predict("question -> answer")

        def forward(self, question):
            raise RuntimeError("out of order")

    with pytest.raises(ProgramError, match=r"out of order.*larger `max_errors`") as caught:
        _collect(Broken(), max_errors=3)
    assert caught.value.count == 3
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_a_dead_model_is_an_error_of_the_model():
    """A failure of the infrastructure is raised as such."""
    with pytest.raises(LMAuthError):
        _collect(lm=ScriptedLM(lambda _: LMAuthError("no key")), max_errors=2)


def test_unreadable_answers_are_no_errors():
    """Answers that can't be parsed make no demos, and don't count as errors."""
    demo_sets = _collect(lm=ScriptedLM(lambda _: "[[ ## other ## ]] x"), max_errors=1)
    assert demo_sets.num_successes == 0


def test_several_calls_of_a_predictor_give_one_demo():
    """A predictor in a loop has one demo of each run."""

    class Loop(mipro.Module):
        def __init__(self):
            super().__init__()
            self.step = mipro.Predict("question -> answer")

        def forward(self, question):
            return [self.step(question=question) for _ in range(3)][-1]

    demo_sets = _collect(Loop(), max_labeled=0, max_bootstrapped=2)
    made = [demo.question for demo in demo_sets.sets[0][1]]
    assert made == ["q0", "q1"]


def test_demos_are_trimmed_to_the_token_limit():
    """Demos beyond the limit are left out, those at the end first."""
    demos = [Example(text="word " * 40), Example(text="word " * 40), Example(text="word " * 4)]
    kept = trim(demos, 70)
    assert kept == (demos[0], demos[2])
    assert sum(token_estimate(demo.text) for demo in kept) <= 70


def test_a_demo_may_be_as_long_as_the_limit():
    """Only what is in the prompt counts, which the mark of a bootstrapped demo is not."""
    demo = Example(augmented=True, text="word " * 40)
    size = token_estimate("text: ") + value_tokens(demo.text)
    assert (trim([demo], size), trim([demo], size - 1)) == ((demo,), ())


def test_an_image_takes_no_more_than_a_model_makes_of_it():
    """A demo with an image is kept where the limit allows for one, however long its data are."""
    picture = mipro.Image("data:image/png;base64," + "A" * 200_000)
    demos = [Example(picture=picture, answer=name) for name in ("cat", "dog", "cow")]
    assert trim(demos, int(2.5 * MEDIA_TOKENS)) == tuple(demos[:2])
    assert trim(demos, MEDIA_TOKENS // 2) == ()


def test_token_limit_holds_in_every_set():
    """`max_demo_tokens` bounds the demos of each set; one takes seven."""
    held = [map(len, _collect(max_demo_tokens=limit).sets[0]) for limit in (None, 14, 13, 6)]
    assert [max(found) for found in held] == [3, 2, 1, 0]


@pytest.mark.parametrize(
    ("limit", "said"),
    [
        (6, "1 demo set instead of 6: .* different ones within `max_demo_tokens=6`.$"),
        (700, "4 demo sets instead of 6: .* different ones.$"),
    ],
)
def test_fewer_sets_are_put_down_to_what_is_in_the_way(limit, said):
    """Demos that are too long for the limit are not the fault of the data; where all fit, the data are."""
    notes = _collect(trainset=TRAIN[:2], max_demo_tokens=limit).notes
    assert any(re.match(said, note) for note in notes)


def test_progress_is_reported_for_each_run():
    """Every run of the teacher is counted."""
    seen = []
    demo_sets = _collect(on_progress=lambda done, total: seen.append((done, total)))
    assert [done for done, _ in seen] == list(range(1, demo_sets.num_attempts + 1))
    assert all(done <= total for done, total in seen)


def test_an_empty_trainset_gives_the_original():
    """Without training data there is nothing to collect."""
    assert _collect(trainset=[]).source == ("original",)


def test_one_set_wanted_is_the_original():
    """`count=1` costs no call."""
    lm = _right_unless()
    assert _collect(lm=lm, count=1).source == ("original",)
    assert lm.calls == []


def test_a_predictor_that_some_examples_call_is_not_said_to_be_idle():
    """One success that called it is enough: what is proposed for it may change something."""

    class Sometimes(_TwoSteps):
        def forward(self, question):
            if question == "q1":
                self.never(text=question)
            return super().forward(question)

    def answer(messages):
        last = str(messages[-1]["content"])
        asked = next(name for name in ("summary", "query", "answer") if f"`[[ ## {name} ## ]]`" in last)
        return {asked: f"a{_number_asked(messages)}" if asked == "answer" else "what"}

    assert _collect(Sometimes(), ScriptedLM(answer)).notes == ()


@pytest.mark.parametrize(
    ("demo", "hidden"),
    [
        ({"q": "why", "context": ["a"], "a": "so"}, True),
        ({"q": "why", "context": ["a"]}, True),
        ({"q": "why", "context": ["b"], "a": "so"}, False),
        ({"q": "how", "context": ["a"], "a": "so"}, False),
        ({"q": "why", "a": "so"}, False),
    ],
)
def test_a_demo_gives_an_example_away_where_all_inputs_are_the_same(demo, hidden):
    """Examples may share a part of their inputs, as questions about one text do."""
    example = Example(q="why", context=["a"], a="so").with_inputs("q", "context")
    assert shows(Example(demo), example) is hidden


def test_a_predictor_that_is_never_called_is_said():
    """Nothing proposed for it would change anything; a frozen one gets no proposals anyway."""
    lm = ScriptedLM(
        lambda messages: (
            {"query": "what"}
            if "`[[ ## query ## ]]`" in str(messages[-1]["content"])
            else {"answer": f"a{_number_asked(messages)}"}
        )
    )
    notes = _collect(_TwoSteps(), lm).notes
    assert any("`never` was not called" in note for note in notes)
    assert not any("`never`" in note for note in _collect(_TwoSteps(), lm, frozen=[2]).notes)


def _asked(messages):
    """Answer `answer` with the number in the question, and all else with the name of the field."""
    last = str(messages[-1]["content"])
    fields = re.findall(r"`\[\[ ## (\w+) ## \]\]`", last)
    return {f: f"a{_number_asked(messages)}" if f == "answer" else f for f in fields if f != "completed"}


class _Asks(mipro.Module):
    """Asks a step and then for the answer; the step may be another's, or not among the attributes."""

    def __init__(self, step, *, held=True):
        super().__init__()
        self.step = step if held else (lambda question: step(question=question))
        self.answer = mipro.Predict("question -> answer")

    def forward(self, question):
        self.step(question=question)
        return self.answer(question=question)


def _frozen_step():
    step = mipro.Predict("question -> query")
    step._compiled = True
    return _Asks(step)


@pytest.mark.parametrize(
    ("program", "is_told"),
    [
        (_Asks(mipro.Predict("question -> query"), held=False), True),
        (_Asks(mipro.Predict("question -> query")), False),
        (_frozen_step(), False),
    ],
)
def test_predictors_that_the_program_does_not_hold_are_said(program, is_told):
    """A tool's closure, a set or a dataclass holds them: nothing is proposed for them, in silence before."""
    judge = mipro.Predict("question -> verdict")

    def judged(example, prediction, trace=None):
        return bool(judge(question=example.question).verdict)

    notes = _collect(program, ScriptedLM(_asked), metric=judged).notes
    assert [("does not hold" in note, note.count("question -> query")) for note in notes] == [
        (True, 1) for _ in range(is_told)
    ]


def test_a_step_that_is_asked_the_same_shows_it_once():
    """Four examples with one topic made four equal demos of the step that is given the topic."""

    class ByTopic(mipro.Module):
        def __init__(self):
            super().__init__()
            self.plan = mipro.Predict("topic -> query")
            self.answer = mipro.Predict("question -> answer")

        def forward(self, question):
            self.plan(topic="authors")
            return self.answer(question=question)

    lm = ScriptedLM(lambda m: {"query": "who"} if "authors" in str(m[-1]["content"]) else _asked(m))
    found = _collect(ByTopic(), lm)
    assert {len(demos) for demos in found.sets[0]} == {0, 1}
    assert len(found.grounding[0]) == 1


def test_a_predictor_with_equal_sets_has_nothing_to_choose():
    """With labelled demos alone a step whose fields no example has is shown none in any set."""
    program = _TwoSteps()
    program.never.demos = [Example(text="t", summary="s")]
    found = _collect(program, max_bootstrapped=0)
    assert found.sets[0] == ((),)
    assert [len(own) for own in found.sets[1:]] == [6, 6]
    assert [len(own) for own in found.sets[2]] == [1, 0, 0, 0, 0, 0]


class TestRecombine:
    """New sets of the demos whose sets did well."""

    good, bad, fair = (Example(question=name, answer=name) for name in ("good", "bad", "fair"))
    made = Example(question="made", answer="made", augmented=True)

    def again(self, sets, worth, **changes):
        """Return the new sets."""
        how = {"count": 2, "rng": random.Random(0), **changes}
        limits = DemoLimits(how.pop("max_bootstrapped", 4), 4, how.pop("max_tokens", None))
        numbers = {demo.question: number for number, demo in enumerate(demo for own in sets for demo in own)}
        kinds = {True: "run", False: "example"}
        showings = [
            tuple(Showing(kinds["augmented" in demo], numbers[demo.question], (demo,)) for demo in own)
            for own in sets
        ]
        before = DemoSets(
            (((), *sets),), ("original", *["labelled"] * len(sets)), ((),), showings=((), *showings)
        )
        after = recombine(before, [worth], limits=limits, **how)
        assert after.sets[0][: len(sets) + 1] == before.sets[0]
        assert after.source[len(sets) + 1 :] == ("recombined",) * (len(after.sets[0]) - len(sets) - 1)
        return after.sets[0][len(sets) + 1 :]

    def test_demos_of_good_sets_come_first(self):
        """Over many draws the demo whose sets scored well is in more new sets."""
        counts = Counter(
            demo.question
            for seed in range(60)
            for demos in self.again(
                [(self.good,), (self.bad,), (self.fair, self.made)],
                [0.0, 1.0, -1.0, 0.9],
                rng=random.Random(seed),
                count=1,
            )
            for demo in demos
        )
        assert counts["good"] > 1.5 * counts["bad"] > 0

    def test_every_new_set_is_another(self):
        """Two single demos give one new set of one demo at most: none is left."""
        assert self.again([(self.good,), (self.bad,)], [0.0, 1.0, 0.5]) == ()

    def test_bootstrapped_demos_are_limited(self):
        """The limit of stage 1 holds, and bootstrapped ones stand first."""
        other = Example(question="other", answer="other", augmented=True)
        sets = [(self.made, self.good), (other, self.bad), (self.fair, self.bad)]
        worth = [0.0, 1.0, 1.0, 0.5]
        augmented = {
            tuple("augmented" in demo for demo in demos)
            for seed in range(20)
            for demos in self.again(sets, worth, max_bootstrapped=1, rng=random.Random(seed))
        }
        assert augmented == {(True, False), (False, False)}

    def test_tokens_are_limited(self):
        """A new set is trimmed as the old ones were."""
        sets = [(self.good, self.fair), (self.bad, self.made)]
        assert {len(demos) for demos in self.again(sets, [0.0, 1.0, 1.0], max_tokens=8, count=4)} == {1}

    def test_a_single_set_gives_no_other(self):
        """A predictor that has its own demos only, as a frozen one, keeps them."""
        before = DemoSets((((self.good,),),), ("original",), ((),))
        kept = recombine(before, [[0.5]], count=2, limits=DemoLimits(4, 4, None), rng=random.Random(0))
        assert kept == before

    @pytest.fixture
    def two_steps(self):
        """Return the sets of a program of two steps after two rounds."""
        sets = _collect(_TwoSteps(), lm=_two_step_lm())
        for seed in range(2):
            worth = [[float(len(demos) + d) for d, demos in enumerate(own)] for own in sets.sets]
            sets = recombine(sets, worth, count=4, limits=DemoLimits(3, 2, None), rng=random.Random(seed))
        assert sets.source[6:] == ("recombined",) * 8
        return sets

    def test_predictors_share_the_runs(self, two_steps):
        """In each new set the bootstrapped demos of all predictors are of the same runs."""
        for search, answer in zip(two_steps.sets[0][6:], two_steps.sets[1][6:], strict=True):
            shown = [[d.question for d in own if _is_bootstrapped(d)] for own in (search, answer)]
            assert shown[0] == shown[1]
        assert any(map(_is_bootstrapped, two_steps.sets[0][6]))

    def test_an_example_is_shown_once(self, two_steps):
        """No new set has an example both as a run made it and as it is labelled."""
        for demos in two_steps.sets[1][6:]:
            questions = [demo.question for demo in demos]
            assert len(set(questions)) == len(questions)

    def test_filled_up_for_each_predictor(self, two_steps):
        """Labelled demos fill up to their limit and no further."""
        for demos in two_steps.sets[1][6:]:
            made = sum(map(_is_bootstrapped, demos))
            assert len(demos) <= max(made, 2)

    def test_a_set_tells_what_it_shows(self, two_steps):
        """The next round learns from it what each run and example is worth."""
        for p, own in enumerate(two_steps.sets):
            for demos, showings in zip(own[6:], two_steps.showings[6:], strict=len(own) > 1):
                assert {repr(demo) for demo in demos} <= {repr(showing.demos[p]) for showing in showings}

    def test_demos_of_an_earlier_run_stay_together(self):
        """Bootstrapped demos that the program came with, at the same place, are drawn for all predictors."""
        program = _TwoSteps()
        rows = [{"question": f"x{i}", "query": "what", "augmented": True} for i in range(3)]
        program.search.demos = [Example(**row) for row in rows]
        program.answer.demos = [Example(**row, answer="y") for row in rows]
        sets = _collect(program, lm=_two_step_lm(), max_bootstrapped=1, max_labeled=0, count=2)
        limits = DemoLimits(2, 0, None)
        new = recombine(sets, [[9.0, 0.0]] * 3, count=4, limits=limits, rng=random.Random(0)).sets
        assert len(new[0]) == 2 + 4
        for search, answer in zip(new[0][2:], new[1][2:], strict=True):
            assert [demo.question for demo in search] == [demo.question for demo in answer]
