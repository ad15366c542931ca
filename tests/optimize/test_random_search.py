"""`BootstrapFewShotWithRandomSearch`."""

import pytest

import mipro
from mipro.errors import LMAuthError, UserError
from mipro.optimize import BootstrapFewShotWithRandomSearch
from mipro.testing.lms import ScriptedLM

TRAIN = [mipro.Example(question=f"q{i}", answer=f"a{i}").with_inputs("question") for i in range(8)]


def _metric(example, prediction, trace=None):
    return example.answer == prediction.answer


def _helped_by_demos():
    """A model that is right on even questions, and on all once it sees two demos."""

    def answer(messages):
        number = int(str(messages[-1]["content"]).split("## question ## ]]")[1].split()[0].strip("q"))
        demos = sum(message["role"] == "assistant" for message in messages)
        return {"answer": f"a{number}" if number % 2 == 0 or demos >= 2 else "wrong"}

    return ScriptedLM(answer)


def _search(**arguments):
    settings = {
        "metric": _metric,
        "max_bootstrapped_demos": 2,
        "max_labeled_demos": 1,
        "num_candidate_programs": 3,
        "num_threads": 1,
    }
    compile_arguments = {
        key: arguments.pop(key)
        for key in ("restrict", "trainset", "valset", "student", "teacher")
        if key in arguments
    }
    lm = arguments.pop("lm", None) or _helped_by_demos()
    student = compile_arguments.pop("student", None) or mipro.Predict("question -> answer")
    with mipro.context(lm=lm):
        optimizer = BootstrapFewShotWithRandomSearch(**{**settings, **arguments})
        return optimizer.compile(student, **{"trainset": TRAIN, **compile_arguments})


def test_who_looks_on_is_told_of_every_candidate(monkeypatch, capsys):
    """A bar for each was shown, but not of what, and not which is ahead."""
    monkeypatch.setattr("mipro.optimize._random_search.is_watched", lambda: True)
    _search(restrict=[-3, -1])
    shown = capsys.readouterr().err
    assert "candidate 1 of 2, with no demos: 50.0 %, best so far 50.0 %" in shown
    assert "candidate 2 of 2, with bootstrapped demos: 100.0 %, best so far 100.0 %" in shown


def test_the_best_program_comes_back():
    """The program with the highest score is returned, with all others on it."""
    best = _search()
    assert best.candidate_programs[0]["score"] == 100.0
    assert best.candidate_programs[0]["program"] is best
    assert len(best.demos) == 2


def test_the_candidates_are_no_part_of_the_best_program():
    """What is listed on the program is neither saved with it nor optimised again."""
    best = _search(restrict=[-3, -2])
    assert best.predictors() == [best]
    assert list(best.dump_state()) == list(mipro.Predict("question -> answer").dump_state())


def test_candidates_are_listed_best_first():
    """All six candidates have score, scores per example, number and program."""
    candidates = _search().candidate_programs
    assert sorted(candidate["seed"] for candidate in candidates) == [-3, -2, -1, 0, 1, 2]
    scores = [candidate["score"] for candidate in candidates]
    assert scores == sorted(scores, reverse=True)
    assert all(len(candidate["subscores"]) == len(TRAIN) for candidate in candidates)


def test_restrict_limits_the_candidates():
    """Only the numbers asked for are evaluated; an iterator will do."""
    assert [c["seed"] for c in _search(restrict=iter([-3, -2])).candidate_programs] == [-3, -2]


def test_restrict_to_nothing_is_refused():
    """Numbers that no candidate has are an error before anything is paid for."""
    with pytest.raises(UserError, match="`restrict`"):
        _search(restrict=[999])


def test_a_score_that_is_good_enough_ends_the_search():
    """After `stop_at_score` no more candidates are evaluated."""
    candidates = _search(stop_at_score=50.0).candidate_programs
    assert [candidate["seed"] for candidate in candidates] == [-3]


def test_the_valset_decides_where_there_is_one():
    """Programs are compared on the validation examples."""
    best = _search(valset=TRAIN[:1])
    assert all(len(candidate["subscores"]) == 1 for candidate in best.candidate_programs)


def test_no_bootstrapped_demos_are_allowed():
    """With 0 bootstrapped demos the candidates are labelled ones."""
    candidates = _search(max_bootstrapped_demos=0).candidate_programs
    assert not any("augmented" in demo for c in candidates for demo in c["program"].demos)


def test_the_student_stays_as_it_is():
    """The candidates are copies."""
    student = mipro.Predict("question -> answer")
    _search(student=student)
    assert student.demos == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"teacher": mipro.Predict("question -> reply")}, "same predictors"),
        ({"teacher_settings": {"lm": "gpt-4o"}}, r"`teacher_settings\['lm'\]` must be a `mipro\.LM`"),
        ({"trainset": [mipro.Example(question="q").with_inputs("qestion")]}, "every example of `trainset`"),
        ({"valset": [mipro.Example(question="q").with_inputs("qestion")]}, "every example of `valset`"),
        ({"trainset": None}, "`trainset` must be a list of examples, but got None"),
        ({"student": mipro.Predict}, "`student` must be a program"),
        ({"teacher": 3}, "`teacher` must be a program"),
        ({"teacher_settings": 3}, "`teacher_settings` must be a dict of settings"),
        ({"metric": "exact"}, "`metric` must be a function"),
        ({"metric_threshold": "0.5"}, "`metric_threshold` must be a number"),
        ({"stop_at_score": "90"}, "`stop_at_score` must be a number"),
        ({"trainset": [], "valset": TRAIN}, "`trainset` must hold at least 1 example"),
        ({"max_bootstrapped_demos": 1.5}, "`max_bootstrapped_demos` must be a whole number"),
        ({"max_labeled_demos": -1}, "`max_labeled_demos` must be a whole number of at least 0"),
        ({"max_rounds": None}, "`max_rounds` must be a whole number of at least 1"),
        ({"num_candidate_programs": -5}, "`num_candidate_programs` must be a whole number of at least 0"),
    ],
)
def test_refused_before_the_first_call(arguments, message):
    """What makes no sense is said before the candidates without a teacher are paid for."""
    lm = _helped_by_demos()
    with pytest.raises(UserError, match=message):
        _search(lm=lm, **arguments)
    assert lm.calls == []


def test_the_teachers_key_is_looked_for_first(monkeypatch):
    """A teacher that can't be asked is told before the candidates without one are paid for."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    lm = _helped_by_demos()
    with pytest.raises(LMAuthError, match="needs an API key"):
        _search(lm=lm, teacher_settings={"lm": mipro.LM("openai/gpt-4o-mini")})
    assert lm.calls == []
