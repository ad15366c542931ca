"""`BootstrapFewShot`."""

import asyncio
import contextvars
import random
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

import mipro
from mipro.errors import UserError
from mipro.optimize import BootstrapFewShot, LabeledFewShot
from mipro.testing.lms import ScriptedLM

TRAIN = [mipro.Example(question=f"q{i}", answer=f"a{i}").with_inputs("question") for i in range(10)]


def _metric(example, prediction, trace=None):
    return example.answer == prediction.answer


def _number_asked(messages):
    return int(str(messages[-1]["content"]).split("## question ## ]]")[1].split()[0].strip("q"))


def _right_unless(*wrong):
    def answer(messages):
        number = _number_asked(messages)
        return {"answer": "wrong" if number in wrong else f"a{number}"}

    return ScriptedLM(answer)


def _compile_with(lm, *, student=None, teacher=None, trainset=TRAIN, **settings):
    student = student or mipro.Predict("question -> answer")
    with mipro.context(lm=lm):
        return BootstrapFewShot(**{"metric": _metric, **settings}).compile(
            student, teacher=teacher, trainset=trainset
        )


def test_successes_become_demos_and_labelled_ones_fill_up():
    """Bootstrapped demos come first, in the order of the data; the rest is labelled."""
    compiled = _compile_with(_right_unless(1), max_bootstrapped_demos=3, max_labeled_demos=5)
    assert [demo.question for demo in compiled.demos[:3]] == ["q0", "q2", "q3"]
    assert all("augmented" in demo for demo in compiled.demos[:3])
    assert [("augmented" in demo) for demo in compiled.demos[3:]] == [False, False]


def test_no_labelled_demo_repeats_a_bootstrapped_one():
    """The examples that were bootstrapped are not drawn again."""
    compiled = _compile_with(_right_unless(), max_bootstrapped_demos=4, max_labeled_demos=16)
    questions = [demo.question for demo in compiled.demos]
    assert len(questions) == len(set(questions)) == 10


def test_the_search_ends_with_enough_demos():
    """No example is run that is not needed."""
    lm = _right_unless()
    _compile_with(lm, max_bootstrapped_demos=2)
    assert len(lm.calls) == 2


def test_no_bootstrapped_demos_need_no_calls():
    """With 0 bootstrapped demos the model is not asked."""
    lm = _right_unless()
    compiled = _compile_with(lm, max_bootstrapped_demos=0, max_labeled_demos=3)
    assert (len(lm.calls), len(compiled.demos)) == (0, 3)


def test_threads_do_not_change_the_result():
    """In parallel the same demos come out."""
    one, many = (_compile_with(_right_unless(0, 3), num_threads=threads).demos for threads in (None, 8))
    assert one == many


@pytest.mark.parametrize(("threshold", "made"), [(None, 4), (0.4, 4), (0.6, 0), (0, 4)])
def test_threshold_is_honoured(threshold, made):
    """A score counts as passed from the threshold on."""
    compiled = _compile_with(_right_unless(), metric=lambda *_: 0.5, metric_threshold=threshold)
    assert sum("augmented" in demo for demo in compiled.demos) == made


def test_a_metric_with_feedback_is_understood():
    """A metric may return score and feedback."""

    def judged(example, prediction, trace=None):
        return mipro.ScoreWithFeedback(score=float(_metric(example, prediction)), feedback="see there")

    compiled = _compile_with(_right_unless(0), metric=judged, max_bootstrapped_demos=1, max_labeled_demos=0)
    assert [demo.question for demo in compiled.demos] == ["q1"]


def test_the_metric_sees_the_trace():
    """The metric gets the calls of the run."""
    lengths = []
    _compile_with(_right_unless(), metric=lambda e, p, trace=None: lengths.append(len(trace)) or True)
    assert lengths == [1, 1, 1, 1]


def test_student_and_teacher_stay_as_they_are_even_when_something_raises():
    """Whatever happens, what was handed in is not changed."""
    student, teacher = mipro.Predict("question -> answer"), mipro.Predict("question -> answer")
    teacher.demos = [TRAIN[0]]

    def broken(example, prediction, trace=None):
        raise RuntimeError("metric is broken")

    with pytest.raises(RuntimeError, match="metric is broken"):
        _compile_with(_right_unless(), student=student, teacher=teacher, metric=broken, max_errors=2)
    assert (student.demos, teacher.demos) == ([], [TRAIN[0]])


def test_errors_below_the_limit_are_passed_over():
    """An example on which the metric raises is no success, and the next one is tried."""

    def picky(example, prediction, trace=None):
        if example.question == "q0":
            raise ValueError("not this one")
        return True

    compiled = _compile_with(_right_unless(), metric=picky, max_bootstrapped_demos=1, max_labeled_demos=0)
    assert [demo.question for demo in compiled.demos] == ["q1"]


def test_a_metric_that_raises_below_the_limit_is_told(caplog):
    """A program came back as if it were optimized, and nobody heard why it had no demos."""

    def broken(example, prediction, trace=None):
        return example.label == prediction.answer

    compiled = _compile_with(_right_unless(), metric=broken, trainset=TRAIN[:5], max_labeled_demos=0)
    assert compiled.demos == []
    assert "on none of 5 training examples; on 5 of them it or the metric raised" in caplog.text
    assert "AttributeError: `Example` object has no attribute 'label'" in caplog.text


def test_what_raised_beside_successes_is_told(caplog):
    """Demos were found, but fewer than there could be."""

    def picky(example, prediction, trace=None):
        if example.question == "q0":
            raise ValueError("not this one")
        return True

    _compile_with(_right_unless(), metric=picky, max_bootstrapped_demos=1)
    assert "ran on 2 training examples; on 1 of them it or the metric raised" in caplog.text
    assert "ValueError: not this one" in caplog.text


def test_success_without_an_error_needs_no_words(caplog):
    """Examples that the metric does not accept are nothing to be told of."""
    _compile_with(_right_unless(0), max_bootstrapped_demos=2)
    assert not caplog.text


def test_who_looks_on_sees_how_far_it_is(monkeypatch, capsys):
    """In a notebook or a terminal; nothing was shown, however long it took."""
    monkeypatch.setattr("mipro.optimize._bootstrap.is_watched", lambda: True)
    _compile_with(_right_unless(), max_bootstrapped_demos=3)
    shown = capsys.readouterr().err
    assert "bootstrap" in shown
    assert "3/10" in shown


def test_a_compiled_teacher_keeps_its_demos():
    """Only a teacher that is not compiled gets labelled demos."""
    teacher = LabeledFewShot(k=1).compile(mipro.Predict("question -> answer"), trainset=TRAIN[9:])
    teacher._compiled = True
    lm = _right_unless()
    _compile_with(lm, teacher=teacher, max_bootstrapped_demos=1)
    assert "a9" in "".join(str(message["content"]) for message in lm.calls[0]["messages"])


def test_a_teacher_of_other_fields_is_refused():
    """Student and teacher must have the same predictors."""
    with pytest.raises(UserError, match="same predictors"):
        _compile_with(_right_unless(), teacher=mipro.Predict("question -> reply"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"trainset": [*TRAIN, mipro.Example(question="q").with_inputs("qestion")]}, "example 10 names"),
        ({"teacher_settings": {"lm": "gpt-4o"}}, r"`teacher_settings\['lm'\]` must be a `mipro\.LM`"),
        ({"trainset": None}, "`trainset` must be a list of examples, but got None"),
        ({"student": mipro.Predict}, "`student` must be a program"),
        ({"teacher": 3}, "`teacher` must be a program"),
        ({"teacher_settings": 3}, "`teacher_settings` must be a dict of settings"),
        ({"metric": "exact"}, "`metric` must be a function"),
        ({"metric_threshold": "0.5"}, "`metric_threshold` must be a number"),
        ({"trainset": []}, "`trainset` must hold at least 1 example"),
        ({"max_bootstrapped_demos": 1.5}, "`max_bootstrapped_demos` must be a whole number"),
        ({"max_labeled_demos": None}, "`max_labeled_demos` must be a whole number of at least 0"),
        ({"max_rounds": 0}, "`max_rounds` must be a whole number of at least 1, but got 0"),
        ({"max_errors": "5"}, "`max_errors` must be a whole number"),
    ],
)
def test_refused_before_the_first_call(arguments, message):
    """What makes no sense is said; nothing is spent."""
    lm = _right_unless()
    with pytest.raises(UserError, match=message):
        _compile_with(lm, **arguments)
    assert lm.calls == []


def test_labelled_demos_need_no_inputs():
    """Examples that no teacher is run on may leave open which fields are inputs."""
    rows = [mipro.Example(question="q1", answer="a1")]
    assert _compile_with(_right_unless(), trainset=rows, max_bootstrapped_demos=0).demos == rows


def test_a_teacher_with_other_instructions_is_fine():
    """An optimized program can teach the plain one."""
    teacher = mipro.Predict(mipro.Signature("question -> answer", "Think hard."))
    assert _compile_with(_right_unless(), teacher=teacher).demos


def test_the_result_is_marked_as_compiled():
    """The program that comes back is a compiled copy."""
    student = mipro.Predict("question -> answer")
    compiled = _compile_with(_right_unless(), student=student)
    assert (compiled._compiled, student._compiled) == (True, False)


@pytest.mark.parametrize(
    "name", ["base", "config", "lm", "demos", "trace", "augmented", "items", "model_dump"]
)
def test_a_field_may_have_any_name(name):
    """Also that of an argument or of a method."""
    rows = [mipro.Example({name: f"x{i}", "answer": "a"}).with_inputs(name) for i in range(3)]
    compiled = _compile_with(
        ScriptedLM(lambda messages: {"answer": "a"}),
        student=mipro.Predict(f"{name} -> answer"),
        trainset=rows,
        max_labeled_demos=0,
    )
    assert [demo[name] for demo in compiled.demos] == ["x0", "x1", "x2"]


class Parts(mipro.Module):
    """Asks about three parts of a question, all at the same time, each in two steps."""

    def __init__(self, how):
        self.first = mipro.Predict("part -> hint")
        self.second = mipro.Predict("part, hint -> answer")
        self.how = how

    def forward(self, question):
        """Ask about all parts."""
        found = self.how(self.one, [f"{question}-{number}" for number in range(3)])
        return mipro.Prediction(answer=found[0].answer)

    def one(self, part):
        """Ask about one part."""
        return self.second(part=part, hint=self.first(part=part).hint)

    async def later(self, part):
        """Ask about one part, when something else is there."""
        await asyncio.sleep(random.random() / 50)
        hint = (await self.first.acall(part=part)).hint
        return await self.second.acall(part=part, hint=hint)


async def _gathered(calls):
    return await asyncio.gather(*calls)


def _in_pairs(one, parts):
    return mipro.Parallel(num_threads=3)([(one, {"part": part}) for part in parts])


def _in_tasks(one, parts):
    return asyncio.run(_gathered([one.__self__.later(part) for part in parts]))


def _in_threads(one, parts):
    return asyncio.run(_gathered([asyncio.to_thread(one, part) for part in parts]))


def _in_a_pool(one, parts):
    with ThreadPoolExecutor(2) as pool:
        futures = [pool.submit(contextvars.copy_context().run, one, part) for part in parts]
    return [future.result() for future in futures]


def _at_some_time(messages):
    time.sleep(random.random() / 50)
    asked = str(messages[-1]["content"])
    return {"hint": "h"} if "[[ ## answer ## ]]" not in asked else {"answer": f"a{asked.split()[4]}"}


@pytest.mark.parametrize("how", [_in_pairs, _in_tasks, _in_threads, _in_a_pool])
def test_demos_do_not_depend_on_what_was_faster(how):
    """Whatever a program does several things at the same time with."""

    def compiled():
        return _compile_with(
            ScriptedLM(_at_some_time),
            student=Parts(how),
            metric=None,
            max_bootstrapped_demos=10,
            max_labeled_demos=0,
        )

    first, again = compiled(), compiled()
    assert len(first.second.demos) == len(TRAIN)
    assert (first.first.demos, first.second.demos) == (again.first.demos, again.second.demos)
    shown = {demo.part.partition("-")[2] for demo in first.second.demos}
    assert shown == {"0", "1", "2"}
