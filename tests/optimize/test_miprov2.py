"""MIPROv2 from end to end, on a scripted model."""

import contextvars
import dataclasses
import functools
import io
import json
import random
import sys
import time
import types
import unicodedata
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pytest

import mipro
from mipro.errors import LMAuthError, ProgramError, RunMismatchError, RunStopped, UserError
from mipro.evaluate import SemanticF1
from mipro.lm import Usage
from mipro.optimize._space import CandidateSpace
from mipro.runs import Spent
from mipro.search import Job, Recommendation, create
from mipro.testing.lms import ScriptedLM


@pytest.fixture
def optimize(tmp_path, fruit, same_colour):
    """Return a function that runs a small optimization; arguments go to MIPROv2 and compile."""

    def run(
        program=None,
        *,
        metric=same_colour,
        trainset=None,
        valset=None,
        run_dir="run",
        teacher=None,
        compile_with=None,
        **with_,
    ):
        with_ = {"search": "random", "seed": 0, **with_}
        optimizer = mipro.MIPROv2(metric, run_dir=str(tmp_path / run_dir), **with_)
        return optimizer.compile(
            program or mipro.Predict("fruit -> colour"),
            trainset=fruit[:20] if trainset is None else trainset,
            valset=fruit[20:60] if valset is None else valset,
            teacher=teacher,
            **(compile_with or {}),
        )

    return run


class Basket(mipro.Module):
    """Asks about three kinds of fruit at the same time, in no certain order."""

    def __init__(self):
        self.name = mipro.Predict("fruit -> colour")

    def forward(self, fruit):
        """Return the colour of the fruit that is asked about."""
        basket = [fruit, *(f"{kind} {fruit.split()[1]}" for kind in ("lime", "plum"))]
        return mipro.Parallel(num_threads=3)([(self.one, {"fruit": name}) for name in basket])[0]

    def one(self, fruit):
        """Return the colour of one of them."""
        time.sleep(random.random() / 200)
        return self.name(fruit=fruit)


def told(inputs, prediction):
    """Rate a colour by itself: the model has no idea or is right."""
    return float(prediction.colour != "no idea")


@pytest.mark.usefixtures("fruit_lm")
class TestResult:
    """What comes back."""

    @pytest.mark.parametrize("search", ["bayes", "tpe", "random", "halving"])
    def test_program_is_improved(self, optimize, search):
        """Every search finds the instruction and the demos that the model needs."""
        best = optimize(search=search)
        assert "Name the colour" in best.signature.instructions
        assert len(best.demos) > 1
        assert best.score > 80

    def test_student_is_not_modified(self, optimize):
        """The program handed in keeps its instruction and its demos."""
        student = mipro.Predict("fruit -> colour")
        before = student.signature.instructions
        optimize(student)
        assert (student.signature.instructions, student.demos) == (before, [])

    @pytest.mark.parametrize(
        ("settings", "compile_with"),
        [({"num_candidates": 1}, {"num_trials": 2}), ({}, {"fewshot_aware_proposer": False})],
        ids=["nothing proposed", "proposals are shown no demos"],
    )
    def test_nothing_is_bootstrapped_for_nobody(self, optimize, settings, compile_with):
        """Without demos in the prompts and in the proposals the teacher was run all the same."""
        best = optimize(max_bootstrapped_demos=0, max_labeled_demos=0, compile_with=compile_with, **settings)
        assert not [spent for spent in best.optimization.spent if spent.stage == "demos"]
        expected = {stage.stage: stage.calls for stage in best.optimization.estimated.stages}
        assert expected["demos"].high == 0

    def test_zero_shot_keeps_no_demos(self, optimize):
        """With both limits 0 only the instruction changes."""
        best = optimize(max_bootstrapped_demos=0, max_labeled_demos=0)
        assert best.demos == []
        assert "Name the colour" in best.signature.instructions

    def test_labelled_only(self, optimize):
        """Without bootstrapped demos every demo is a training example as it is."""
        best = optimize(max_bootstrapped_demos=0, max_labeled_demos=3)
        assert best.demos
        assert not any(demo.get("augmented") for demo in best.demos)

    def test_same_seed_same_program_with_any_number_of_threads(self, optimize):
        """Threads change how long it takes, never what is found."""
        one = optimize(num_threads=1, run_dir="one")
        many = optimize(num_threads=16, run_dir="many")
        assert one.dump_state() == many.dump_state()
        assert one.optimization.trials == many.optimization.trials

    def test_seed_0_is_a_seed(self, optimize):
        """Seed 0 is used as given, at the constructor and at compile."""
        assert optimize(seed=0).optimization.seed == 0
        assert optimize(seed=5, compile_with={"seed": 0}, run_dir="other").optimization.seed == 0

    def test_story_is_attached(self, optimize, fruit):
        """Trials, spending and the names that DSPy's users read are there and agree."""
        best = optimize(search="tpe", compile_with={"testset": fruit[60:]})
        story = best.optimization
        assert story.trials[0].candidate == (0, 0)
        assert story.lm_calls == sum(spent.calls for spent in story.spent)
        assert {spent.stage for spent in story.spent} >= {"instructions", "search", "test"}
        assert best.trial_logs[1]["full_eval_score"] == pytest.approx(100 * story.trials[0].score, abs=0.01)
        assert best.candidate_programs[0]["score"] >= best.candidate_programs[-1]["score"]
        assert story.test.after > story.test.before

    def test_what_users_of_dspy_read_follows_from_the_trials(self, optimize):
        """In percent, by what was measured of a candidate in all; the best first."""
        best = optimize(search="tpe", num_candidates=4, compile_with={"num_trials": 6, "minibatch_size": 10})
        cells = {}
        for trial in best.optimization.trials:
            kind = "full_eval" if len(trial.examples) == 40 else "mb"
            log = best.trial_logs[trial.number]
            assert log[f"{kind}_score"] == round(100 * sum(trial.scores) / len(trial.scores), 2)
            assert ("mb_score" in log) is (kind == "mb")
            chosen = (log["0_predictor_instruction"], log["0_predictor_demos"])
            assert chosen == trial.candidate
            cells.setdefault(trial.candidate, {}).update(zip(trial.examples, trial.scores, strict=True))
        means = {c: round(100 * sum(found.values()) / len(found), 2) for c, found in cells.items()}
        whole = [means[c] for c, found in cells.items() if len(found) == 40]
        part = [means[c] for c, found in cells.items() if len(found) < 40]
        assert [entry["score"] for entry in best.candidate_programs] == sorted(whole, reverse=True)
        assert [entry["score"] for entry in best.mb_candidate_programs] == sorted(part, reverse=True)
        assert whole
        assert part

    def test_cost_is_not_known_where_one_price_is_not(self, optimize):
        """A sum without it would be too small."""
        story = optimize().optimization
        spent = [Spent("search", name, 1, Usage(), 0.25, unpriced) for name, unpriced in (("a", 0), ("b", 1))]
        assert dataclasses.replace(story, spent=spent[:1]).cost == 0.25
        assert dataclasses.replace(story, spent=spent).cost is None

    @pytest.mark.parametrize("track_stats", [True, False])
    def test_what_is_the_programs_own_stays(self, optimize, track_stats):
        """A predictor of the name of an attribute that is attached is not lost to it."""

        class Grader(mipro.Module):
            def __init__(self):
                self.score = mipro.Predict("fruit -> colour")

            def forward(self, fruit):
                return self.score(fruit=fruit)

            @property
            def total_calls(self):
                return "its own"

        best = optimize(Grader(), track_stats=track_stats)
        assert [name for name, _ in best.named_predictors()] == ["score"]
        assert best(fruit="lime 1").colour
        assert best.total_calls == "its own"
        told = [warning.split("`")[1] for warning in best.optimization.warnings if "own" in warning]
        assert told == (["score", "total_calls"] if track_stats else ["score"])

    def test_a_program_is_optimized_again(self, optimize):
        """The next run attaches its own story, and copies of the program hold that of the first but once."""
        first = optimize()
        assert first.deepcopy().trial_logs is first.trial_logs
        second = optimize(first, seed=1, run_dir="again")
        assert second.optimization.seed == 1
        assert second.score == round(100 * second.optimization.estimate, 2)
        assert not any("own" in warning for warning in second.optimization.warnings)

    def test_nothing_of_an_earlier_run_is_left(self, optimize):
        """Without `track_stats` the trials of the run before were taken for those of this one."""
        second = optimize(optimize(), track_stats=False, run_dir="again")
        assert not hasattr(second, "trial_logs")
        third = optimize(second, run_dir="once more")
        assert not any("own" in warning for warning in third.optimization.warnings)
        assert not hasattr(third.candidate_programs[0]["program"], "optimization")

    @pytest.mark.parametrize(
        "other",
        [
            mipro.LabeledFewShot(),
            mipro.BootstrapFewShot(),
            mipro.BootstrapFewShotWithRandomSearch(lambda *_: True, num_candidate_programs=1),
        ],
    )
    def test_other_optimizers_take_over_no_story(self, optimize, fruit, other):
        """What they return is another program; the score of the first was not measured on it."""
        other = other.compile(optimize(), trainset=fruit[:4])
        assert not hasattr(other, "score")
        assert not hasattr(other, "optimization")

    def test_a_program_found_by_random_search_is_optimized(self, optimize, fruit, same_colour):
        """Its candidates are no part of it: they were copied with each, and stood for the run's."""
        search = mipro.BootstrapFewShotWithRandomSearch(same_colour, num_candidate_programs=1, num_threads=1)
        first = search.compile(mipro.Predict("fruit -> colour"), trainset=fruit[:4])
        second = optimize(first)
        assert not any("own" in warning for warning in second.optimization.warnings)
        assert "full_eval" in second.candidate_programs[0]
        assert not hasattr(second.candidate_programs[0]["program"], "candidate_programs")

    def test_saved_program_loads_back(self, optimize, tmp_path):
        """The file holds instruction and demos; nothing of the run is in it."""
        best = optimize()
        best.save(tmp_path / "best.json")
        loaded = mipro.Predict("fruit -> colour")
        loaded.load(tmp_path / "best.json")
        assert loaded.dump_state() == best.dump_state()
        assert str(tmp_path) not in (tmp_path / "best.json").read_text()


class Table:
    """Answers a comparison for each of its cells, as tables do, and says so in a way of its own."""

    __hash__ = None

    def __init__(self, number):
        self.number = number

    def __eq__(self, other):
        raise TypeError("the truth value of a table is ambiguous")

    def __repr__(self):
        return f"Table {self.number}"


def red(messages):
    """Answer as a model that knows one colour."""
    return {"colour": "red"}


def red_or_proposal(messages):
    """Answer in all stages as such a model."""
    proposal = {"proposed_instruction": f"Name it, {zlib.crc32(str(messages).encode()) % 997}."}
    return proposal if "proposed_instruction" in str(messages) else red(messages)


def with_lm(lm):
    """Return a predictor with a model of its own."""
    predictor = mipro.Predict("fruit -> colour")
    predictor.lm = lm
    return predictor


def naming(*inputs):
    """Return an example that names its inputs so."""
    return mipro.Example(fruit="lime 1", colour="green").with_inputs(*inputs)


class Shades(mipro.Module):
    """Has something that is set, and counts."""

    def __init__(self, shade, *, model=None, **settings):
        super().__init__()
        self.shade = shade
        self.calls = 0
        self.paint = with_lm(ScriptedLM(red, model=model, **settings) if model else None)

    def forward(self, fruit):
        """Colour the fruit."""
        self.calls += 1
        return self.paint(fruit=fruit)


class Around(mipro.Module):
    """Has a part that was optimized before."""

    def __init__(self, part):
        super().__init__()
        self.part = part
        self.part._compiled = True
        self.paint = mipro.Predict("fruit -> colour")

    def forward(self, fruit):
        """Colour the fruit."""
        return self.paint(fruit=fruit)


class Quoting(mipro.ChatAdapter):
    """An adapter with something that is set."""

    def __init__(self, quotes):
        super().__init__()
        self.quotes = quotes


def same_shade(example, prediction, trace=None, least=1):
    """Compare the colours."""
    return (example.colour == prediction.colour) >= least


class Strict:
    """A metric with something that is set, that counts."""

    def __init__(self, least):
        self.least = least
        self.calls = 0

    def __call__(self, example, prediction, trace=None):
        """Compare the colours."""
        self.calls += 1
        return same_shade(example, prediction, least=self.least)


def strict(least):
    """Return a metric that holds what is set."""

    def metric(example, prediction, trace=None):
        return same_shade(example, prediction, least=least)

    return metric


class TestResume:
    """A run directory given again."""

    def test_finished_run_is_replayed_for_nothing(self, optimize, fruit_lm):
        """The second time no call is made and the same program comes back."""
        first = optimize()
        paid = len(fruit_lm.calls)
        again = optimize()
        assert len(fruit_lm.calls) == paid
        assert again.dump_state() == first.dump_state()

    def test_a_program_that_asks_at_the_same_time_is_replayed_for_nothing(self, optimize, fruit_lm):
        """Whichever call was faster, and whichever is when all answers are there already."""
        first = optimize(Basket())
        paid = len(fruit_lm.calls)
        again = optimize(Basket())
        assert len(fruit_lm.calls) == paid
        assert again.dump_state() == first.dump_state()

    def test_a_program_with_advice_is_replayed_for_nothing(self, optimize, advised_lm, tmp_path):
        """Its own predictor alone, whose demos know of no hint; every attempt and advice is in the ledger."""
        program = mipro.Refine(mipro.Predict("fruit -> colour"), N=2, reward_fn=told, threshold=1.0)
        first = optimize(program)
        paid = len(advised_lm.calls)
        again = optimize(program)
        assert len(advised_lm.calls) == paid
        assert again.dump_state() == first.dump_state()
        assert "Name the colour" in first.module.signature.instructions
        assert first.module.demos
        assert all({*demo} <= {"fruit", "colour", "augmented"} for demo in first.module.demos)
        assert any("always plain" in str(call["messages"]) for call in advised_lm.calls)
        first.save(tmp_path / "program.json")
        program.load(tmp_path / "program.json")
        assert program.dump_state() == first.dump_state()

    @pytest.mark.usefixtures("fruit_lm")
    @pytest.mark.parametrize(
        ("change", "named"),
        [
            ({"seed": 1}, "seed: was 0, is 1"),
            ({"metric": lambda example, prediction, trace=None: 1.0}, "metric has changed"),
            ({"search": "tpe"}, "search: was random, is tpe"),
            ({"lookahead": 3}, "lookahead: was 1, is 3"),
            ({"program": mipro.Predict("fruit -> colour, shade")}, "predictor self has changed"),
        ],
    )
    def test_another_run_is_refused_by_name(self, optimize, change, named):
        """What differs is named, and nothing is mixed."""
        optimize()
        with pytest.raises(RunMismatchError, match=named):
            optimize(**change)

    @pytest.mark.parametrize(
        ("make", "named"),
        [
            (lambda v: {"program": with_lm(ScriptedLM(red, model=f"m{v}"))}, "model of self: was m1"),
            (
                lambda v: {"program": mipro.Predict("fruit -> colour", temperature=v / 2)},
                "config of self: was",
            ),
            (lambda v: {"program": Shades(v)}, "attribute self.shade has changed"),
            (lambda v: {"program": Around(Shades(v))}, "attribute self.part.shade has changed"),
            (lambda v: {"program": Around(Shades(1, model=f"m{v}"))}, "self.part: model of paint: was m1"),
            (lambda v: {"metric": Strict(v)}, "metric.least has changed"),
            (lambda v: {"metric": strict(v)}, "metric.least has changed"),
            (lambda v: {"metric": functools.partial(same_shade, least=v)}, "metric.least has changed"),
            (
                lambda v: {"program": Shades(0), "teacher": Shades(v)},
                "teacher attribute self.shade has changed",
            ),
            (
                lambda v: {"program": Shades(0), "teacher": Shades(0, model=f"m{v}")},
                "teacher model of paint: was m1",
            ),
            (
                lambda v: {"teacher_settings": {"lm": ScriptedLM(red, model=f"m{v}")}},
                "teacher settings: was .*m1",
            ),
            (lambda v: {"teacher_settings": {"adapter": Quoting(v)}}, "teacher settings has changed"),
        ],
    )
    def test_what_is_set_is_part_of_the_run(self, optimize, fruit_lm, make, named):
        """Set to the same, made anew, the run resumes for nothing; set to something else, it is refused."""
        first = optimize(**make(1))
        paid = len(fruit_lm.calls)
        assert optimize(**make(1)).dump_state() == first.dump_state()
        assert len(fruit_lm.calls) == paid
        with pytest.raises(RunMismatchError, match=named):
            optimize(**make(2))
        assert len(fruit_lm.calls) == paid

    def test_optimized_program_is_optimized_again_for_nothing(self, optimize, fruit_lm):
        """What a run has attached to it is no part of it, whatever it says."""
        best = optimize()
        optimize(best, run_dir="second")
        paid = len(fruit_lm.calls)
        best.score, best.total_calls, best.prompt_model_total_calls = 1.0, 1, 1
        optimize(best, run_dir="second")
        assert len(fruit_lm.calls) == paid

    def test_a_memory_is_no_part_of_the_run(self, optimize, fruit_lm):
        """What program and metric change in themselves while they run does not keep the run from going on."""
        program, metric = Shades(1), Strict(1)
        optimize(program, metric=metric)
        paid = len(fruit_lm.calls)
        with mipro.context(lm=ScriptedLM(red)):
            program(fruit="lime 1")
        assert (program.calls, metric.calls > 0) == (1, True)
        optimize(program, metric=metric)
        assert len(fruit_lm.calls) == paid

    @pytest.mark.usefixtures("fruit_lm")
    def test_an_adapter_that_writes_other_prompts_is_another_run(self, optimize):
        """A class of the user's own is told by its source, though its name and settings are as before."""
        one, other = (
            type("Own", (mipro.ChatAdapter,), {"__module__": "own", "HEAD": head})() for head in ("a", "b")
        )
        with mipro.context(adapter=one):
            optimize()
            optimize()
        with mipro.context(adapter=other), pytest.raises(RunMismatchError, match="adapter"):
            optimize()

    @pytest.mark.usefixtures("fruit_lm")
    def test_no_secret_is_written(self, optimize, tmp_path):
        """Neither what a model, a config or an attribute has under such a name."""
        program = Shades(1, model="own", api_key="sk-secret")
        program.api_key = "sk-secret"
        program.paint.config = {"extra_headers": {"a": "sk-secret"}}
        optimize(program, teacher_settings={"api_key": "sk-secret"})
        assert b"own" in (tmp_path / "run" / "ledger.sqlite").read_bytes()
        assert b"sk-secret" not in (tmp_path / "run" / "ledger.sqlite").read_bytes()

    @pytest.mark.usefixtures("fruit_lm")
    def test_part_with_a_long_way_to_it(self, optimize, tmp_path):
        """Its name is cut to what a ledger has room for."""
        program = Around(Shades(1))
        setattr(program, 200 * "x", program.__dict__.pop("part"))
        program.part = None
        optimize(program)
        with mipro.runs.open(str(tmp_path / "run")) as run:
            assert max(map(len, run.facts())) == 200

    @pytest.mark.usefixtures("fruit_lm")
    def test_a_run_keeps_the_lookahead_of_the_budget_it_began_with(self, optimize, tmp_path):
        """It depends on the calls that are allowed, of which a run may be given more later."""
        asked = {"search": "bayes", "compile_with": {"num_trials": 20}}
        lookaheads = []
        for place, budget in (("run", mipro.Budget(lm_calls=60)), ("run", None), ("other", None)):
            optimize(**asked, run_dir=str(tmp_path / place), budget=budget)
            with mipro.runs.open(str(tmp_path / place)) as run:
                lookaheads.append(int(run.facts()["lookahead"]))
        assert lookaheads[0] == lookaheads[1] < lookaheads[2]

    @pytest.mark.parametrize("limit", [3, 20, 60])
    def test_budget_ends_the_run_with_the_best_so_far(self, optimize, fruit_lm, limit):
        """The cap holds to the call in every stage, and a program comes back."""
        best = optimize(budget=mipro.Budget(lm_calls=limit))
        assert len(fruit_lm.calls) == limit
        assert best.optimization.stop_reason == "budget: lm_calls"
        assert best(fruit="lime 1").colour

    @pytest.mark.usefixtures("fruit_lm")
    def test_budget_that_ends_at_the_testset_is_told(self, optimize, fruit):
        """The search is complete then, and nothing else says why there are no scores of the testset."""
        asked = {"compile_with": {"num_trials": 2, "testset": fruit[60:]}}
        calls = optimize(**asked).optimization.lm_calls
        story = optimize(**asked, run_dir="short", budget=mipro.Budget(lm_calls=calls - 1)).optimization
        assert (story.stop_reason, story.test) == ("complete", None)
        assert any("before the testset was measured" in warning for warning in story.warnings)
        story = optimize(**asked, run_dir="short").optimization
        assert story.test is not None
        assert not any("testset" in warning for warning in story.warnings)


class Listed(mipro.Module):
    """Keeps its predictors under the name that the library looks them up by."""

    def __init__(self):
        self.predictors = [mipro.Predict("fruit -> colour")]


class TestRefusals:
    """What makes no sense is refused before the first call."""

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"auto": "extreme"}, "`auto` must be one of"),
            ({"auto": "light", "num_candidates": 3}, "`auto` must be left out"),
            ({"num_candidates": 0}, "`num_candidates` must be"),
            ({"max_labeled_demos": -1}, "`max_labeled_demos` must be"),
            ({"compile_with": {"num_trials": 2, "minibatch_size": 41}}, "pass minibatch_size=40"),
            ({"compile_with": {"num_trials": 0}}, "`num_trials` must be"),
            ({"trainset": []}, "`trainset` must hold at least 1"),
            ({"valset": []}, "`valset` must hold at least 1"),
            ({"trainset": [mipro.Example(fruit="lime 1", colour="green")]}, "names its inputs"),
            ({"trainset": {"fruit": [], "colour": []}}, "does not: 'fruit'; .*of a table .*to_dict"),
            ({"search": "grid"}, "`search` must be one of"),
            ({"search": dict}, "dict'> has no `ask`, `tell`, `recommend`"),
            ({"search": lambda space, budget: None}, r"can be called as \(space, num_examples="),
            ({"metric": "accuracy"}, "`metric` must be a function"),
            ({"prompt_model": "gpt-4o"}, "`prompt_model` must be"),
            ({"budget": mipro.Budget(cost_usd=1.0)}, "price of every model must be known"),
            (
                {"trainset": [*3 * [naming("fruit")], naming("friut")]},
                r"example 3 names \['friut'\] and has the fields \['fruit', 'colour'\]; pass 'fruit'",
            ),
            ({"valset": [mipro.Example().with_inputs("fruit")]}, "`valset` must have .* give it fields"),
            ({"compile_with": {"testset": [naming("no")]}}, "every example of `testset` must have"),
            ({"teacher_settings": {"lm": "gpt-4o"}}, r"`teacher_settings\['lm'\]` must be a `mipro.LM`"),
            ({"teacher": with_lm("gpt-4o")}, "`teacher.lm` must be a `mipro.LM`"),
            ({"program": with_lm("gpt-4o")}, "`program.lm` must be a `mipro.LM`"),
            ({"teacher": mipro.ChainOfThought("fruit -> colour")}, "must have the same predictors"),
            ({"init_temperature": "0.5"}, "`init_temperature` must be a finite number of at least 0"),
            ({"init_temperature": -0.1}, "`init_temperature` must be"),
            ({"init_temperature": float("nan")}, "`init_temperature` must be"),
            ({"init_temperature": float("inf")}, "`init_temperature` must be"),
            ({"init_temperature": True}, "`init_temperature` must be"),
            ({"init_temperature": None}, "`init_temperature` must be"),
            ({"seed": "0"}, "`seed` must be a whole number of at least 0, but got '0'"),
            ({"seed": 1.5}, "`seed` must be a whole number"),
            ({"compile_with": {"seed": -1}}, "`seed` must be a whole number"),
            ({"max_bootstrapped_demos": None}, "`max_bootstrapped_demos` must be a whole number"),
            ({"max_labeled_demos": None}, "`max_labeled_demos` must be a whole number"),
            ({"max_rounds": None}, "`max_rounds` must be a whole number of at least 1"),
            ({"patience_s": None}, "`patience_s` must be a whole number of at least 1"),
            ({"compile_with": {"minibatch_full_eval_steps": None}}, "`minibatch_full_eval_steps` must be"),
            ({"metric_threshold": "0.5"}, "`metric_threshold` must be a number"),
            ({"metric_threshold": float("nan")}, "`metric_threshold` must be a number"),
            ({"metric": lambda example, prediction, trace: 1}, "can't be called with two arguments"),
            (
                {"program": mipro.ChainOfThought("text, kind -> colour")},
                r"asks for, which are \['kind', 'text'\], but its examples have \['fruit'\]",
            ),
            ({"program": mipro.Predict}, "`student` must be a program, .* make one of this class first"),
            ({"program": Listed()}, "Listed has an attribute of that name; give it another"),
            ({"program": "fruit -> colour"}, r"`student` must be a program, .* such as Predict\(signature\)"),
            ({"program": mipro.Signature("a -> b")}, r"(?s)`student` must .* such as Predict\(signature\)"),
            ({"program": type("Predict", (), {"__module__": "dspy.x"})()}, "got Predict of DSPy"),
            ({"task_model": mipro.LM}, r"pass mipro\.LM\('openai/gpt-4o-mini'\)"),
            ({"metric": SemanticF1}, r"got the class SemanticF1, .* for example SemanticF1\(\)"),
            ({"trainset": [{"fruit": "cherry"}]}, r"use `mipro\.Example\(row\)\.with_inputs"),
            ({"trainset": ["cherry"]}, r"use `mipro\.Example\(name=value"),
            ({"teacher": mipro.Predict}, "`teacher` must be a program"),
            ({"teacher_settings": [1]}, "`teacher_settings` must be a dict of settings"),
            ({"valset": 40}, "`valset` must be a list of examples, but got 40"),
            ({"trainset": 40}, "`trainset` must be a list of examples, but got 40"),
            ({"budget": 40}, "`budget` must be a `mipro.Budget`"),
            ({"callbacks": print}, "`callbacks` must be a list of functions"),
            ({"callbacks": [40]}, "`callbacks` must be a list of functions"),
        ],
    )
    def test_refused_before_the_first_call(self, optimize, fruit_lm, arguments, message):
        """The message says what must hold; nothing is spent."""
        with pytest.raises(UserError, match=message):
            optimize(**arguments)
        assert fruit_lm.calls == []

    @pytest.mark.parametrize("where", ["settings", "predictor", "finished part"])
    def test_teachers_key(self, optimize, fruit_lm, monkeypatch, tmp_path, where):
        """The teacher's model must have its key before the groundwork is paid for."""
        monkeypatch.delenv("OPENAI_API_KEY", raising=False)
        lm = mipro.LM("openai/gpt-4o-mini")
        student, teacher = Around(Shades(1)), Around(Shades(1))
        if where == "predictor":
            teacher.paint.lm = lm
        if where == "finished part":
            teacher.part.paint.lm = lm
        with pytest.raises(LMAuthError, match="needs an API key"):
            optimize(student, teacher=teacher, teacher_settings={"lm": lm} if where == "settings" else None)
        assert fruit_lm.calls == []
        assert not (tmp_path / "run").exists()

    @pytest.mark.parametrize("settings", [True, False])
    def test_teachers_price(self, optimize, settings):
        """A budget in dollars needs the price of the teacher's model too."""
        unknown, student = ScriptedLM(red, model="teacher"), mipro.Predict("fruit -> colour")
        teacher = mipro.Predict("fruit -> colour")
        teacher.lm = None if settings else unknown
        lm = mipro.LM(
            "openai/x", api_base="http://127.0.0.1:9/v1", prices={"input": 1, "output": 1}, api_key="k"
        )
        with mipro.context(lm=lm), pytest.raises(UserError, match="that of 'teacher' is not"):
            optimize(
                student,
                teacher=teacher,
                teacher_settings={"lm": unknown} if settings else {},
                budget=mipro.Budget(cost_usd=1.0),
            )
        assert unknown.calls == []

    @pytest.mark.usefixtures("fruit_lm")
    @pytest.mark.parametrize("threshold", [None, True, 1, 0.5])
    def test_thresholds(self, optimize, threshold):
        """What a score can be compared with is taken; a score may be a bool."""
        assert optimize(metric_threshold=threshold).score > 80

    def test_configured_model(self, optimize):
        """What is configured must be a model too."""
        with mipro.context(lm="gpt-4o"), pytest.raises(UserError, match=r"`lm` must be a `mipro\.LM`"):
            optimize()

    def test_no_model(self, optimize):
        """Without any language model the message says how to set one."""
        with pytest.raises(UserError, match=r"mipro\.configure\(lm="):
            optimize()

    def test_predictors_of_dspy(self, optimize, fruit_lm):
        """They are none of the program's, though they look like them."""
        program = mipro.Module()
        program.paint = type("Predict", (), {"__module__": "dspy.predict"})()
        with pytest.raises(UserError, match="but Module holds Predict of DSPy"):
            optimize(program)
        assert fruit_lm.calls == []

    def test_its_own_optimization(self, optimize, fruit_lm):
        """The result needs its place."""
        program = mipro.Predict("fruit -> colour")
        program.optimization = "mine"
        with pytest.raises(UserError, match="own `optimization` must have another name"):
            optimize(program)
        assert fruit_lm.calls == []

    @pytest.mark.usefixtures("fruit_lm")
    def test_program_without_predictors(self, optimize):
        """A program with nothing to optimize is refused."""
        with pytest.raises(UserError, match="at least one predictor"):
            optimize(mipro.Module())


class TestThreads:
    """Programs that start threads by themselves."""

    @pytest.mark.parametrize("copied", [False, True])
    def test_calls_that_pass_the_run_by_are_told(self, optimize, fruit_lm, caplog, copied):
        """No budget can count them; with the context of the caller they are like any other."""

        class Threaded(mipro.Module):
            def __init__(self):
                self.name = mipro.Predict("fruit -> colour")

            def forward(self, fruit):
                run = contextvars.copy_context().run if copied else lambda call, **inputs: call(**inputs)
                with ThreadPoolExecutor(1) as threads:
                    return threads.submit(run, self.name, fruit=fruit).result()

        # Threads without a context know what is configured only.
        mipro.configure(lm=fruit_lm)
        try:
            best = optimize(Threaded(), max_bootstrapped_demos=0, budget=mipro.Budget(lm_calls=50))
        finally:
            mipro.configure(lm=None)
        missed = len(fruit_lm.calls) - best.optimization.lm_calls
        told = [warning for warning in best.optimization.warnings if "did not pass the run" in warning]
        assert (missed > 0) == (len(told) == 1) == ("did not pass the run" in caplog.text) == (not copied)
        assert all(warning.startswith(f"{missed} calls") for warning in told)


class TestModels:
    """Models of the user's own."""

    @pytest.mark.parametrize("alone", [False, True])
    def test_calls_that_a_model_answers_past_the_run_are_told(self, optimize, fruit_lm, caplog, alone):
        """A `__call__` in place of `forward` passes no gate; one that adds to it does."""

        class Own(mipro.BaseLM):
            def forward(self, prompt=None, messages=None, **kwargs):
                return fruit_lm.forward(prompt=prompt, messages=messages, **kwargs)

            def __call__(self, prompt=None, messages=None, **kwargs):
                if alone:
                    answer = self.forward(prompt=prompt, messages=messages, **kwargs)
                    return [answer["choices"][0]["message"]["content"]]
                return super().__call__(prompt=prompt, messages=messages, **kwargs)

        with mipro.context(lm=Own("own")):
            best = optimize(mipro.Predict("fruit -> colour"), budget=mipro.Budget(lm_calls=50))
        told = [warning for warning in best.optimization.warnings if "did not pass the run" in warning]
        assert len(told) == ("did not pass the run" in caplog.text) == alone
        assert all("implement `forward` rather than `__call__`" in warning for warning in told)


class TestLookahead:
    """How many decisions of the search are under way."""

    @pytest.mark.usefixtures("fruit_lm")
    @pytest.mark.parametrize("asked", [None, 5])
    def test_a_search_is_made_for_as_many_as_are_asked_for(self, optimize, asked):
        """A search of the user's own is told, and is asked so often before it is told anything."""
        seen = []

        def mine(space, **settings):
            search = create("bayes", space, **settings)
            told = search.tell
            asks = iter(range(1000))
            ask = search.ask
            search.ask = lambda: (next(asks), ask())[1]
            search.tell = lambda jobs, scores: (seen.append(next(asks)), told(jobs, scores))
            seen.append(settings["lookahead"])
            return search

        optimize(search=mine, lookahead=asked)
        lookahead, first_told, *_ = seen
        assert lookahead == first_told == (asked or 1)

    @pytest.mark.usefixtures("fruit_lm")
    def test_what_makes_a_search_need_not_be_hashable(self, optimize):
        """A dataclass that compares by its values is not."""

        @dataclass
        class Mine:
            name: str

            def __call__(self, space, **settings):
                return create(self.name, space, **settings)

        assert optimize(search=Mine("random")).optimization.stop_reason == "complete"

    def test_none_is_refused(self, optimize):
        """Nothing would ever be asked."""
        with pytest.raises(UserError, match="`lookahead` must be a whole number of at least 1, but got 0"):
            optimize(lookahead=0)


@pytest.mark.usefixtures("fruit_lm")
class TestOwnSearch:
    """What a search of the user's own gives is checked as it comes."""

    def test_one_of_ours_takes_options(self, optimize, fruit_lm):
        """`functools.partial` hands them on; the run resumes with the same ones, and no others."""

        def patient(value):
            return functools.partial(create, "bayes", patience=value)

        first = optimize(search=patient(4), lookahead=4)
        paid = len(fruit_lm.calls)
        again = optimize(search=patient(4), lookahead=4)
        assert paid == len(fruit_lm.calls)
        assert first.optimization.candidate == again.optimization.candidate
        with pytest.raises(RunMismatchError, match="search"):
            optimize(search=patient(2), lookahead=4)

    @staticmethod
    def scripted(jobs, recommended=None, **methods):
        """Make what makes a search that gives one thing for every question."""

        def mine(space, **_settings):
            found = recommended or Recommendation(space.original, 0.5, (0.0, 1.0), 0.0)
            answers = {"ask": jobs, "tell": lambda _jobs, _scores: None, "recommend": lambda: found}
            return types.SimpleNamespace(**{name: f for name, f in (answers | methods).items() if f})

        return mine

    @pytest.mark.parametrize(
        ("jobs", "message"),
        [
            (None, "must return a list of `mipro.search.Job`.*but returned None"),
            ([((0, 0), (1,))], r"must return a list of .*but returned \[\(\(0, 0\), \(1,\)\)\]"),
            ([Job((-1, 0), (0,))], r"is in Space\(.*but the search asks for \(-1, 0\)"),
            ([Job((0, 1.0), (0,))], r"is in Space\(.*but the search asks for \(0, 1.0\)"),
            ([Job((0,), (0,))], r"is in Space\(.*but the search asks for \(0,\)"),
            ([Job((0, 0), (40,))], r"range\(40\), each once, but the search asks for \(40,\)"),
            ([Job((0, 0), (3, 3))], r"each once, but the search asks for \(3, 3\)"),
            ([Job((0, 0), ())], r"one or more of range\(40\)"),
        ],
    )
    def test_what_can_not_be_run_is_refused(self, optimize, jobs, message):
        """With the rule and what was got; nothing of the decision was begun."""
        seen = []
        with pytest.raises(UserError, match=message):
            optimize(search=self.scripted(lambda: jobs, tell=lambda *told: seen.append(told)))
        assert not seen

    def test_numbers_of_numpy_are_numbers(self, optimize):
        """A search is often written with it."""
        one, two = np.int64(1), np.int64(2)
        jobs = iter([[Job((one, two), (two,))], []])
        found = Recommendation((one, two), 0.5, (0.0, 1.0), 0.5)
        story = optimize(search=self.scripted(lambda: next(jobs), found)).optimization
        assert json.dumps([story.trials[0].candidate, story.trials[0].examples]) == "[[1, 2], [2]]"
        assert json.dumps(story.candidate) == "[1, 2]"

    def test_one_that_never_ends_is_ended_at_its_budget(self, optimize):
        """No more is paid for than was promised, and what was found is returned."""
        story = optimize(search=self.scripted(lambda: [Job((0, 0), tuple(range(40)))])).optimization
        assert story.stop_reason == "budget: evaluations"
        assert story.trials[-1].evaluations_so_far == 440

    @pytest.mark.parametrize(
        "found", [(0, 0), Recommendation((9, 9), 0.5, (0.0, 1.0), 0.5), Recommendation((0, 0), None, (), 0)]
    )
    def test_a_recommendation_must_be_one(self, optimize, found):
        """Of a candidate that there is."""
        with pytest.raises(UserError, match="`recommend` of a search must return"):
            optimize(search=self.scripted(list, found))

    def test_what_is_no_search_is_told_by_what_it_lacks(self, optimize):
        """A function that forgot to return one, or a class without a method."""
        with pytest.raises(UserError, match=r"None has no `ask`, `tell`, `recommend`"):
            optimize(search=lambda _space, **_settings: None)
        with pytest.raises(UserError, match=r"has no `tell`"):
            optimize(search=self.scripted(list, tell=None), run_dir="other")


class TestOddRuns:
    """Each ends in a sensible result or in one clear error."""

    @pytest.mark.usefixtures("fruit_lm")
    def test_whole_numbers_of_numpy_are_whole_numbers(self, optimize):
        """As they come from a sweep."""
        sizes = {"num_trials": np.int64(2), "minibatch_size": np.int64(5)}
        story = optimize(num_candidates=np.int64(2), compile_with=sizes).optimization
        assert story.stop_reason == "complete"

    @pytest.mark.usefixtures("fruit_lm")
    def test_small_valset_is_evaluated_whole_under_auto(self, optimize):
        """As in DSPy: what a minibatch would hold does not matter then."""
        story = optimize(auto="light", compile_with={"minibatch_size": 41}).optimization
        assert {len(trial.examples) for trial in story.trials} == {40}

    @pytest.mark.usefixtures("fruit_lm")
    def test_two_examples(self, optimize, fruit):
        """Two examples are enough to run."""
        best = optimize(trainset=fruit[:1], valset=fruit[1:2])
        assert best.optimization.stop_reason == "complete"

    @pytest.mark.usefixtures("fruit_lm")
    def test_valset_smaller_than_the_minibatch(self, optimize, fruit):
        """With few examples and no size given, trials measure all of them."""
        best = optimize(valset=fruit[20:30], search="tpe")
        assert {len(trial.examples) for trial in best.optimization.trials} == {10}

    @pytest.mark.usefixtures("fruit_lm")
    def test_single_candidate(self, optimize):
        """Where there is nothing to choose, the program comes back measured."""
        best = optimize(num_candidates=1)
        assert best.optimization.candidate == (0, 0)
        assert best.score is not None

    @pytest.mark.usefixtures("fruit_lm")
    def test_one_thread_begins_nothing_after_the_last_error_allowed(self, optimize):
        """What is in line behind the example that ends the run is not run."""
        seen = []

        def broken(example, prediction, trace=None):
            seen.append(example.fruit)
            raise KeyError("broken")

        with pytest.raises(ProgramError, match="broken"):
            optimize(
                metric=broken,
                num_threads=1,
                max_errors=3,
                compile_with={"max_bootstrapped_demos": 0, "max_labeled_demos": 0},
            )
        assert len(seen) == 3

    @pytest.mark.usefixtures("fruit_lm")
    def test_metric_that_raises(self, optimize):
        """The user's bug is shown with the example and its traceback."""

        def broken(example, prediction, trace=None):
            return example.no_such_field

        with pytest.raises(ProgramError, match="no_such_field"):
            optimize(metric=broken)

    def test_garbage_for_every_proposal(self, optimize, fruit):
        """A model that can't propose leaves the instruction as it was; demos still help."""

        def garbage_or_colour(messages):
            return {"colour": "yellow"} if "proposed_instruction" not in str(messages) else "#!?"

        with mipro.context(lm=ScriptedLM(garbage_or_colour)):
            best = optimize()
        assert best.optimization.warnings

    @pytest.mark.usefixtures("fruit_lm")
    def test_predictor_that_is_never_called(self, optimize):
        """An idle predictor is no obstacle."""

        class Idle(mipro.Module):
            def __init__(self):
                super().__init__()
                self.used = mipro.Predict("fruit -> colour")
                self.idle = mipro.Predict("shape -> name")

            def forward(self, fruit):
                return self.used(fruit=fruit)

        best = optimize(Idle())
        assert "Name the colour" in best.used.signature.instructions

    @pytest.mark.usefixtures("fruit_lm")
    def test_history_that_the_program_makes(self, optimize):
        """What no example has was counted as an empty text, at the end of the run, which a history is not."""

        class Talk(mipro.Module):
            def __init__(self):
                self.name = mipro.Predict(
                    mipro.Signature("fruit, earlier -> colour").with_updated_fields(
                        "earlier", type_=mipro.History
                    )
                )

            def forward(self, fruit):
                return self.name(fruit=fruit, earlier=mipro.History(messages=[]))

        assert optimize(Talk()).optimization.stop_reason == "complete"

    def test_what_can_not_be_estimated_is_told_before_the_first_call(self, optimize, fruit_lm):
        """A result that was paid for is not lost for want of an estimate."""

        class Picky(mipro.ChatAdapter):
            def format(self, signature, demos, inputs):
                return [{"role": "user", "content": f"Of {inputs['hints'][0]}"}]

        with mipro.context(adapter=Picky()), pytest.raises(TypeError):
            optimize(mipro.Predict("fruit, hints -> colour"))
        assert fruit_lm.calls == []

    def test_refused_key_stops_at_once(self, optimize):
        """A wrong key is one clear error after one call."""
        lm = ScriptedLM(lambda messages: LMAuthError("wrong key", model="m", status=401))
        with mipro.context(lm=lm, num_threads=1), pytest.raises(LMAuthError, match="wrong key"):
            optimize()
        assert len(lm.calls) == 1


class TwoSteps(mipro.Module):
    """Takes the fruit out of a sentence with one predictor and colours it with another."""

    def __init__(self):
        super().__init__()
        self.pick = mipro.Predict("text -> fruit")
        self.paint = mipro.Predict("fruit -> colour")

    def forward(self, fruit):
        """Colour the fruit."""
        return self.paint(fruit=fruit)


@pytest.mark.usefixtures("fruit_lm")
class TestWhatMayChange:
    """Guards and limits are arguments."""

    def test_frozen_predictor_is_left_alone(self, optimize):
        """It keeps its instruction and demos, and nothing is proposed for it."""
        best = optimize(TwoSteps(), frozen=["pick"])
        assert best.pick.dump_state() == TwoSteps().pick.dump_state()
        assert "Name the colour" in best.paint.signature.instructions
        assert [len(texts) for texts in best.optimization.instructions] == [1, 3]
        assert {trial.candidate[:2] for trial in best.optimization.trials} == {(0, 0)}

    def test_module_optimized_before_is_left_alone(self, optimize):
        """What is marked as compiled, as in DSPy, has no variables; a change of it is another run."""

        class Whole(mipro.Module):
            def __init__(self, instruction="Pick it."):
                super().__init__()
                self.part = TwoSteps()
                self.part.pick.signature = self.part.pick.signature.with_instructions(instruction)
                self.part._compiled = True
                self.paint = mipro.Predict("fruit -> colour")

            def forward(self, fruit):
                return self.paint(fruit=fruit)

        best = optimize(Whole())
        assert best.part.dump_state() == Whole().part.dump_state()
        assert len(best.optimization.candidate) == 2
        with pytest.raises(RunMismatchError, match=r"self\.part: predictor pick has changed"):
            optimize(Whole("Pick another."))

    def test_parts_to_keep_stay(self, optimize):
        """`keep` and the bound on tokens hold for every instruction of the search."""
        program = mipro.Predict(mipro.Signature("fruit -> colour", "Say the colour. Be kind."))
        best = optimize(program, keep=["Be kind."], max_instruction_tokens=40)
        assert all("Be kind." in text for text in best.optimization.instructions[0])
        assert len(best.optimization.instructions[0]) == 3
        short = optimize(program, max_instruction_tokens=4, run_dir="short")
        assert short.optimization.instructions == (("Say the colour. Be kind.",),)

    def test_demos_are_bounded_in_tokens(self, optimize):
        """`max_demo_tokens` leaves room for one demo of five tokens."""
        best = optimize(max_demo_tokens=9)
        assert len(best.demos) == 1

    def test_rounds_of_bootstrapping(self, optimize, fruit_lm):
        """With `max_rounds` an example that failed is drawn afresh."""
        optimize(max_bootstrapped_demos=2, max_labeled_demos=0, max_rounds=3)
        assert {1, 2} <= {call["kwargs"].get("rollout_id") for call in fruit_lm.calls}

    @pytest.mark.parametrize(
        ("change", "named"),
        [
            ({"frozen": ["pick"]}, "frozen: was"),
            ({"max_demo_tokens": 99}, "max_demo_tokens: was None, is 99"),
            ({"max_rounds": 2}, "max_rounds: was 1, is 2"),
            ({"max_instruction_tokens": 99}, "proposer"),
            ({"keep": ["Given the fields"]}, "proposer"),
        ],
    )
    def test_each_is_part_of_the_run(self, optimize, change, named):
        """A run is not resumed with others."""
        optimize(TwoSteps())
        with pytest.raises(RunMismatchError, match=named):
            optimize(TwoSteps(), **change)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"frozen": ["peel"]}, r"`frozen` must name predictors of the program, \['pick', 'paint'\]"),
            ({"frozen": ["pick", "paint"]}, "at least one predictor must be left"),
            ({"frozen": "pick"}, "`frozen` must be a list of texts"),
            ({"frozen": 5}, "`frozen` must be a list of texts"),
            ({"keep": ["Be kind."]}, "every part of `keep` must stand in an instruction"),
            ({"keep": [""]}, "`keep` must be a list of texts"),
            ({"max_instruction_tokens": 0}, "`max_instruction_tokens` must be"),
            ({"max_demo_tokens": -1}, "`max_demo_tokens` must be"),
            ({"max_rounds": 0}, "`max_rounds` must be"),
        ],
    )
    def test_refused_before_the_first_call(self, optimize, fruit_lm, arguments, message):
        """What makes no sense is said; nothing is spent."""
        with pytest.raises(UserError, match=message):
            optimize(TwoSteps(), **arguments)
        assert fruit_lm.calls == []


class TestDataInSeveralSets:
    """Examples that are in two of trainset, valset and testset."""

    @pytest.fixture
    def demos(self, monkeypatch):
        """Return what every candidate's demos are, as texts."""
        shown = set()
        built = CandidateSpace.build

        def build(space, candidate):
            program = built(space, candidate)
            shown.update(demo["fruit"] for p in program.predictors() for demo in p.demos)
            return program

        monkeypatch.setattr(CandidateSpace, "build", build)
        return shown

    @pytest.mark.usefixtures("fruit_lm")
    def test_no_demo_is_of_the_valset_or_testset(self, optimize, fruit, demos):
        """Duplicates across the split are left out of the demos, and said."""
        best = optimize(
            trainset=fruit[:20], valset=fruit[10:50], compile_with={"testset": fruit[4:8] + fruit[60:]}
        )
        assert demos
        assert demos <= {e.fruit for e in fruit[:4] + fruit[8:10]}
        warnings = " ".join(best.optimization.warnings)
        assert "10 inputs are in both `trainset` and `valset`; no demo is made of them" in warnings
        assert "4 inputs are in both `trainset` and `testset`" in warnings

    @pytest.mark.usefixtures("fruit_lm")
    @pytest.mark.parametrize("written", ["{} ", " {}\n", "{}\u00e9"])
    def test_a_copy_with_other_blanks_or_accents_is_no_demo(self, optimize, fruit, demos, written):
        """Tables differ in a blank at the end, or in how an accent is put together."""

        def named(examples, form):
            return [mipro.Example(e, fruit=form.format(e.fruit)).with_inputs("fruit") for e in examples]

        best = optimize(
            trainset=named(fruit[:20], written),
            valset=named(fruit[10:50], unicodedata.normalize("NFD", written.strip())),
        )
        assert demos
        assert demos <= {e.fruit for e in named(fruit[:10], written)}
        warnings = " ".join(best.optimization.warnings)
        assert "10 inputs are in both `trainset` and `valset`; no demo is made of them" in warnings

    @pytest.mark.usefixtures("fruit_lm")
    @pytest.mark.parametrize(("times", "is_said"), [(1, False), (2, True)])
    def test_a_valset_that_repeats_itself_is_said(self, optimize, fruit, times, is_said):
        """The same question asked twice is no second piece of evidence, but an interval counts it."""
        best = optimize(trainset=fruit[:20], valset=fruit[20:40] * times)
        said = "`valset` has 40 examples, but only 20 different inputs"
        assert any(said in warning for warning in best.optimization.warnings) is is_said

    @pytest.mark.usefixtures("fruit_lm")
    def test_an_example_is_one_demo_however_often_it_is_there(self, optimize, fruit, monkeypatch):
        """A trainset may repeat examples to give them weight; a prompt that says one twice is only longer."""
        made = []
        built = CandidateSpace.build

        def build(space, candidate):
            made.append(built(space, candidate))
            return made[-1]

        monkeypatch.setattr(CandidateSpace, "build", build)
        optimize(trainset=fruit[:5] * 8, max_labeled_demos=6)
        shown = [[demo["fruit"] for demo in program.demos] for program in made]
        assert max(map(len, shown)) == 5
        assert all(len(set(names)) == len(names) for names in shown)

    def test_missing_values_are_said(self, optimize, fruit):
        """A table's NaN was asked about, shown in demos and counted as wrong without a word."""
        nan = float("nan")
        trainset = [mipro.Example(row, colour=nan, weight=nan) for row in fruit[:2]] + fruit[2:20]
        valset = [mipro.Example(row, fruit=nan) for row in fruit[20:23]] + fruit[23:40]
        with mipro.context(lm=ScriptedLM(red_or_proposal)):
            warnings = optimize(trainset=trainset, valset=valset).optimization.warnings
        said = [warning for warning in warnings if "missing (NaN)" in warning]
        assert [warning.split(";")[0] for warning in said] == [
            "`trainset` has values that are missing (NaN): 2 in `colour`",
            "`valset` has values that are missing (NaN): 3 in `fruit`",
        ]

    @pytest.mark.usefixtures("fruit_lm")
    def test_own_demos_of_the_valset_are_said(self, optimize, fruit):
        """A program that comes with demos of examples to measure on may look too good."""
        program = mipro.Predict("fruit -> colour")
        program.demos = [fruit[20], fruit[21], fruit[0]]
        warnings = optimize(program, trainset=fruit[:20], valset=fruit[20:50]).optimization.warnings
        assert any("came with demos of 2 examples of `valset`" in warning for warning in warnings)

    @pytest.mark.usefixtures("fruit_lm")
    def test_demos_of_a_part_that_was_optimized_before_are_said(self, optimize, fruit):
        """They stay in every candidate, so the score is as much too good as with demos of its own."""

        class Twice(mipro.Module):
            def __init__(self):
                self.first = mipro.LabeledFewShot(k=3).compile(
                    mipro.ChainOfThought("fruit -> colour"), trainset=fruit[19:22], sample=False
                )
                self.first._compiled = True
                self.second = mipro.Predict("fruit -> colour")

            def forward(self, fruit):
                return self.second(fruit=fruit)

        warnings = optimize(Twice(), valset=fruit[20:50], num_candidates=1).optimization.warnings
        assert any("came with demos of 2 examples of `valset`" in warning for warning in warnings)

    @pytest.mark.usefixtures("fruit_lm")
    def test_the_same_data_twice(self, optimize, fruit, demos):
        """With nothing left for demos, instructions are optimized alone."""
        best = optimize(trainset=fruit[:20], valset=fruit[:20])
        assert demos == set()
        assert "Name the colour" in best.signature.instructions

    def test_long_arrays_are_told_apart(self, optimize):
        """Examples that differ in one number of many are not the same, neither as data nor as demos."""

        def picture(number):
            pixels = np.zeros(2000, dtype=int)
            pixels[1000] = number
            return mipro.Example(fruit=pixels, colour="red").with_inputs("fruit")

        rows = [picture(number) for number in range(12)]
        with mipro.context(lm=ScriptedLM(red_or_proposal)):
            story = optimize(trainset=rows[:6], valset=rows[6:]).optimization
        assert not any("inputs are in both" in warning for warning in story.warnings)
        assert len(story.demo_sources) == 6

    def test_tables_may_refuse_to_be_compared(self, optimize):
        """Whether a demo shows an example is asked of their text then, whatever type of error was raised."""
        rows = [mipro.Example(fruit=Table(number), colour="red").with_inputs("fruit") for number in range(12)]
        with mipro.context(lm=ScriptedLM(red_or_proposal)):
            story = optimize(trainset=rows[:6], valset=rows[6:]).optimization
        assert len(story.demo_sources) == 6


@pytest.mark.parametrize("is_closed", [False, True])
def test_without_standard_error(optimize, fruit, is_closed, monkeypatch):
    """A service or `pythonw` has none, or a closed one: nobody looks on, and that is all."""
    held = io.StringIO()
    held.close()
    monkeypatch.setattr(sys, "stderr", held if is_closed else None)
    with mipro.context(lm=ScriptedLM(lambda _: {"colour": "red"})):
        best = optimize(num_candidates=2, max_bootstrapped_demos=0, compile_with={"num_trials": 1})
        found = mipro.Parallel()([(best, example.inputs()) for example in fruit[:4]])
    assert [answer.colour for answer in found] == ["red"] * 4


@pytest.mark.usefixtures("fruit_lm")
def test_notebook_sees_progress(optimize, monkeypatch, capsys):
    """The standard error of a notebook's kernel is no terminal, but somebody looks on: nothing was shown."""
    kernel = types.ModuleType("IPython")
    kernel.get_ipython = lambda: types.SimpleNamespace(config={"IPKernelApp": {}})
    monkeypatch.setitem(sys.modules, "IPython", kernel)
    optimize()
    assert "3/3 search" in capsys.readouterr().err


@pytest.mark.usefixtures("fruit_lm")
def test_who_looks_on_is_told_what_was_split_and_found(fruit, same_colour, tmp_path, capsys):
    """Only the log told what a run had found, and nobody of how many examples it had learned from."""
    optimizer = mipro.MIPROv2(same_colour, auto="light", verbose=True, run_dir=str(tmp_path / "run"))
    best = optimizer.compile(mipro.Predict("fruit -> colour"), trainset=fruit[:10])
    shown = capsys.readouterr().err
    assert "2 examples to learn from, 8 to measure on; pass a `valset`" in shown
    assert f"run       {best.optimization.run_dir}" in shown
    assert shown.index("2 examples") < shown.index("3/3 search") < shown.index("\nexpected  ")


def test_result_says_that_a_gain_may_be_luck(optimize, fruit_lm):
    """Where it is not sure to be one; `fruit_lm` makes every change help."""
    story = optimize(propose_rounds=0).optimization
    assert "it may be luck" not in str(dataclasses.replace(story, candidate=(1, 0), p_better=0.91))
    assert "probability of 0.46; it may be luck" in str(
        dataclasses.replace(story, candidate=(1, 0), p_better=0.46)
    )


class _Named(mipro.Module):
    def __init__(self):
        super().__init__()
        self.ask = mipro.Predict("fruit -> colour")

    def forward(self, name):
        return self.ask(fruit=name)


class _Supplied(_Named):
    @staticmethod
    def _supply(function):
        @functools.wraps(function)
        def call(self, *, fruit):
            return function(self, name=fruit)

        return call

    forward = _supply(_Named.forward)


class _Called(_Named):
    def __call__(self, fruit):
        return super().__call__(name=fruit)


def test_program_that_takes_no_example_is_refused_before_anything_is_paid(optimize, fruit_lm):
    """`forward` has other names than the examples: it raised on each, and proposals were paid for."""
    with pytest.raises(UserError, match=r"_Named takes \['name'\], .* `trainset` has \['fruit'\]"):
        optimize(_Named())
    assert not fruit_lm.history


@pytest.mark.usefixtures("fruit_lm")
@pytest.mark.parametrize("program", [_Supplied, _Called])
def test_program_that_is_called_otherwise_is_taken(optimize, program):
    """By a decorator that gives what `forward` takes, or a `__call__` of its own."""
    assert optimize(program()).optimization.failures == {}


def test_callback_that_fails_ends_nothing(optimize, caplog):
    """A window that was closed is no reason to stop a run that is paid for; it is said once."""
    seen = []

    def closed(progress):
        seen.append(progress.stage)
        raise ConnectionError("closed")

    with mipro.context(lm=ScriptedLM(lambda _: {"colour": "red"})):
        best = optimize(num_candidates=2, callbacks=[closed, seen.append], compile_with={"num_trials": 2})
    assert best.optimization.stop_reason == "complete"
    assert {"instructions", "search"} <= {stage for stage in seen if isinstance(stage, str)}
    assert sum("ConnectionError: closed" in message for message in caplog.messages) == 1


def test_callback_may_stop_the_run(optimize):
    """By the error that stops a run."""

    def enough(progress):
        if progress.stage == "search":
            raise RunStopped("enough")

    with mipro.context(lm=ScriptedLM(lambda _: {"colour": "red"})), pytest.raises(RunStopped, match="enough"):
        optimize(num_candidates=2, callbacks=[enough])


class TestTelling:
    """What is said of a run to who does not look into its records."""

    def test_a_result_is_a_few_lines_for_people(self, optimize, fruit, fruit_lm):
        """`print(best.optimization)` showed every score of every trial, megabytes of a heavy run."""
        best = optimize(trainset=fruit[:20], valset=fruit[10:60], compile_with={"testset": fruit[60:]})
        story = best.optimization
        lines = str(story).splitlines()
        assert [line.split()[0] for line in lines] == [
            "expected",
            "testset",
            "ended",
            "spent",
            "run",
            "warning",
        ]
        low, high = story.interval
        assert f"{story.estimate:.3g} (95 % interval {low:.3g} to {high:.3g})" in lines[0]
        assert f"{story.p_better:.2f}" in lines[0]
        assert f"{story.test.before:.3g} before, {story.test.after:.3g} after, 20 examples" in lines[1]
        assert f"{len(fruit_lm.calls)} calls" in lines[3]
        assert lines[5].endswith(story.warnings[0])
        assert "TrialRecord" not in repr(story)

    @pytest.mark.usefixtures("fruit_lm")
    def test_a_result_without_a_score_says_so(self, optimize):
        """Where the budget ended before anything was measured."""
        story = optimize(budget=mipro.Budget(lm_calls=1)).optimization
        assert str(story).startswith(
            "expected  not known, since nothing was measured\nended     budget: lm_calls"
        )

    def test_a_result_says_when_nothing_better_was_found(self, optimize):
        """The program came back as it was; "better with a probability of 0.00" would be read as worse."""
        with mipro.context(lm=ScriptedLM(red_or_proposal)):
            story = optimize(metric=lambda e, p: 0.5).optimization
        assert str(story).splitlines()[0].endswith("of the program as it came")

    @pytest.mark.parametrize("given", [{}, {"run_dir": "runs/mine", "resume": "fresh"}, {"run_dir": "mine"}])
    def test_place_that_nobody_chose_is_told_as_the_run_begins(
        self, fruit, caplog, tmp_path, monkeypatch, given
    ):
        """Before the first call, and by default: who is killed could not find it later."""
        monkeypatch.setenv("MIPRO_DATA_DIR", str(tmp_path))
        monkeypatch.chdir(tmp_path)
        told = []

        def grey(_messages):
            told.append(caplog.text)
            return {"colour": "grey"}

        with mipro.context(lm=ScriptedLM(grey)):
            optimizer = mipro.MIPROv2(lambda e, p, trace=None: 0.5, num_candidates=2, **given)
            best = optimizer.compile(mipro.Predict("fruit -> colour"), trainset=fruit[:8], num_trials=2)
        is_chosen = given == {"run_dir": "mine"}
        assert (f"run_dir={best.optimization.run_dir!r}" in told[0]) == (not is_chosen)

    def test_warnings_are_logged_when_they_are_known(self, optimize, fruit, caplog):
        """Those on the data before the first call, so that a wrong split can be mended; each once."""
        known = []

        def grey(_messages):
            known.append(list(caplog.messages))
            return {"colour": "grey"}

        with mipro.context(lm=ScriptedLM(grey)):
            warnings = optimize(trainset=fruit[:20], valset=fruit[10:60]).optimization.warnings
        assert "inputs are in both" in warnings[0]
        assert warnings[0] in known[0]
        logged = [record.message for record in caplog.records if record.levelname == "WARNING"]
        assert logged == [*warnings]
        assert len(logged) > 1
