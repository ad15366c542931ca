"""Rounds of learning during the search, on a scripted model."""

import json
import re
import threading

import pytest

import mipro
from mipro.errors import RunMismatchError, UserError
from mipro.optimize._rounds import Rounds
from mipro.optimize._settings import ROUND_EVALUATIONS
from mipro.optimize._space import CandidateSpace
from mipro.runs import CallRecord, EvaluationRecord, EventRecord, Run, SQLStore
from mipro.runs._records import UNKNOWN
from mipro.search import create


def graded(example, prediction, trace=None):
    """Say what was expected, as a metric with feedback does."""
    right = example.colour == prediction.colour
    return mipro.ScoreWithFeedback(float(right), "" if right else f"Look at the {example.colour} of it.")


class TwoSteps(mipro.Module):
    """Colours the fruit; the first predictor is never called."""

    def __init__(self):
        super().__init__()
        self.pick = mipro.Predict("text -> fruit")
        self.paint = mipro.Predict("fruit -> colour")

    def forward(self, fruit):
        """Colour the fruit."""
        return self.paint(fruit=fruit)


@pytest.fixture
def optimize(tmp_path, fruit):
    """Return a function that runs a small optimization with two rounds."""

    def run(program=None, *, run_dir="run", metric=graded, **with_):
        with_ = {"search": "bayes", "seed": 0, "propose_rounds": 2, **with_}
        optimizer = mipro.MIPROv2(metric, run_dir=str(tmp_path / run_dir), **with_)
        return optimizer.compile(
            program or mipro.Predict("fruit -> colour"), trainset=fruit[:20], valset=fruit[20:60]
        )

    return run


def hasty(space, **with_):
    """Make a search that soon believes that nothing matters."""
    return create("bayes", space, patience=0.2, **with_)


def cut(folder, facts, records):
    """Make a run's folder that holds these records."""
    folder.mkdir()
    store = SQLStore(f"sqlite:///{folder / 'ledger.sqlite'}")
    store.state(facts)
    store.append(records)
    store.close()


def asked_for_instructions(lm):
    """Return the prompts of the proposer."""
    prompts = [str(call["messages"][-1]["content"]) for call in lm.calls]
    return [prompt for prompt in prompts if "[[ ## proposed_instruction ## ]]" in prompt]


@pytest.mark.usefixtures("fruit_lm")
class TestRound:
    """What a round does."""

    @pytest.mark.parametrize("search", ["bayes", "tpe", "random"])
    def test_rounds_are_held_at_their_share(self, optimize, search):
        """After a third and two thirds of the evaluations more choices enter the running search."""
        story = optimize(search=search).optimization
        assert [held.number for held in story.rounds] == [1, 2]
        for held, share in zip(story.rounds, (1 / 3, 2 / 3), strict=True):
            assert share - 0.2 <= held.evaluations / 440 < share + 0.15
            first = next(trial for trial in story.trials if trial.round == held.number)
            assert share <= (first.evaluations_so_far - len(first.examples)) / 440 < share + 0.3
        assert [origin.round for origin in story.instruction_origins[0]] == [0, 0, 0, 1, 1, 2, 2]
        assert story.rounds[0].instructions == ((3, 4),)
        assert story.rounds[1].demo_sets == ((8, 9),)
        assert story.demo_sources[6:] == ("recombined",) * 4
        assert {spent.stage for spent in story.spent} >= {"rounds"}

    def test_trials_say_which_round_came_before(self, optimize):
        """No trial has a choice of a round that was not held yet, and new ones are tried."""
        best = optimize()
        origins = best.optimization.instruction_origins[0]
        for trial in best.optimization.trials:
            assert origins[trial.candidate[0]].round <= trial.round
        assert {trial.round for trial in best.optimization.trials} == {0, 1, 2}
        assert {log["round"] for log in best.trial_logs.values()} == {0, 1, 2}
        assert any(origins[trial.candidate[0]].round for trial in best.optimization.trials)

    def test_a_search_that_ends_early_has_its_rounds_then(self, optimize):
        """Where nothing is left to gain there may be with new choices; a replay has them there too."""

        class Sure(mipro.Module):
            def __init__(self):
                super().__init__()
                self.paint = mipro.Predict("fruit -> colour")

            def forward(self, fruit):
                self.paint(fruit=fruit)
                return mipro.Prediction(colour="purple")

        story = optimize(Sure(), propose_rounds=1, search=hasty).optimization
        assert len(story.rounds) == 1
        assert story.trials[-1].evaluations_so_far < 440
        again = optimize(Sure(), propose_rounds=1, search=hasty).optimization
        assert again.rounds == story.rounds
        assert again.trials == story.trials

    def test_the_search_goes_on_meanwhile(self, optimize, monkeypatch):
        """A decision is made after a round began and before it has ended."""
        began, decided = threading.Event(), threading.Event()
        begin, hold, decide = Rounds.begin, Rounds._hold, Run.decide

        def noted_begin(rounds, *given):
            began.set()
            begin(rounds, *given)

        def noted_decide(run, decision):
            if began.is_set():
                decided.set()
            decide(run, decision)

        def late_hold(rounds, *given):
            assert decided.wait(60)
            return hold(rounds, *given)

        monkeypatch.setattr(Rounds, "begin", noted_begin)
        monkeypatch.setattr(Rounds, "_hold", late_hold)
        monkeypatch.setattr(Run, "decide", noted_decide)
        assert optimize(propose_rounds=1).optimization.rounds

    def test_one_thread_is_the_callers_own(self, optimize):
        """Program and metric may hold what only the thread that made it can use; no stage leaves it."""
        threads = set()

        def noted(example, prediction, trace=None):
            threads.add(threading.current_thread())
            return graded(example, prediction)

        assert optimize(metric=noted, num_threads=1).optimization.rounds
        assert threads == {threading.current_thread()}

    def test_frozen_predictors_get_nothing_new(self, optimize):
        """Neither instructions nor demo sets."""
        story = optimize(TwoSteps(), frozen=["pick"]).optimization
        assert story.rounds[0].instructions[0] == story.rounds[0].demo_sets[0] == ()
        assert story.rounds[0].instructions[1]

    def test_without_demos_instructions_alone_are_added(self, optimize):
        """With both limits 0 no demo set comes in by a round."""
        best = optimize(max_bootstrapped_demos=0, max_labeled_demos=0)
        assert best.demos == []
        assert best.optimization.rounds[0].demo_sets == ((),)

    def test_limits_on_demos_hold(self, optimize, monkeypatch):
        """No recombined set has more bootstrapped demos than allowed, or more demos than a set before."""
        built = []
        build = CandidateSpace.build
        monkeypatch.setattr(
            CandidateSpace,
            "build",
            lambda space, candidate: built.append(build(space, candidate)) or built[-1],
        )
        optimize(max_bootstrapped_demos=2, max_labeled_demos=3)
        for program in built:
            assert len(program.demos) <= 3
            assert sum(1 for demo in program.demos if demo.get("augmented")) <= 2


class TestWhatIsShown:
    """What the proposer sees in a round."""

    def test_scores_and_mistakes(self, optimize, fruit_lm):
        """What was tried with what is believed of it, and a failure with the metric's feedback."""
        story = optimize(propose_rounds=1, seed=3).optimization
        assert story.rounds[0].mistakes, "the seed must be one with a leader that is not perfect"
        prompt = asked_for_instructions(fruit_lm)[-1]
        scores = re.findall(r"^(0\.\d+): ", prompt, re.MULTILINE)
        assert len(scores) == 3
        assert scores == sorted(scores)
        assert re.search(r"answered: .*no idea.*\nexpected: .*\nfeedback: Look at the", prompt)

    def test_the_worst_mistakes_are_shown(self, optimize, fruit, fruit_lm):
        """There is room for three of them, whatever their order in the data."""

        def partly(example, prediction, trace=None):
            worth = (1 if example.colour == prediction.colour else 0.5) - fruit.index(example) / 200
            return mipro.ScoreWithFeedback(worth, f"Worth {worth}.")

        story = optimize(metric=partly, propose_rounds=1, seed=3).optimization
        shown = re.findall(r"^feedback: Worth (.*)\.$", asked_for_instructions(fruit_lm)[-1], re.MULTILINE)
        assert story.rounds[0].mistakes > len(shown) == 3
        assert shown == sorted(shown, key=float)

    def test_an_answer_need_not_be_a_prediction(self, optimize, fruit_lm):
        """What a program returns as plain text was told to be nothing that could be read."""

        class Plain(mipro.Predict):
            def forward(self, **inputs):
                return super().forward(**inputs).colour

        optimize(
            Plain("fruit -> colour"), metric=lambda row, text: row.colour == text, propose_rounds=1, seed=3
        )
        answered = re.findall(r"^answered: (.*)", asked_for_instructions(fruit_lm)[-1], re.MULTILINE)
        assert set(answered) == {"no idea"}

    def test_nothing_is_wrong_that_costs_nothing(self, optimize, fruit_lm):
        """Of a metric that is a loss, negative, 0 is the best there is; it was shown as a failure."""

        def loss(example, prediction, trace=None):
            return float(example.colour == prediction.colour) - 1

        story = optimize(metric=loss, propose_rounds=1, seed=3).optimization
        assert 0 < story.rounds[0].mistakes < story.rounds[0].probed
        answered = re.findall(r"^answered: (.*)", asked_for_instructions(fruit_lm)[-1], re.MULTILINE)
        assert answered
        assert all("no idea" in answer for answer in answered)

    def test_nothing_of_the_valset_is_shown(self, optimize, fruit_lm, fruit):
        """Failures are of training examples only, and none that the leader has as a demo."""
        optimize()
        seen = set(re.findall(r"(?:banana|cherry|lime|plum) \d+", " ".join(asked_for_instructions(fruit_lm))))
        assert seen
        assert seen <= {example.fruit for example in fruit[:20]}


class TestDeterminism:
    """Rounds are part of what is the same at every replay."""

    @pytest.mark.usefixtures("fruit_lm")
    def test_any_number_of_threads(self, optimize):
        """Threads change no round."""
        one = optimize(num_threads=1, run_dir="one").optimization
        many = optimize(num_threads=16, run_dir="many").optimization
        assert one.trials == many.trials
        assert one.rounds == many.rounds
        assert one.instructions == many.instructions

    def test_feedback_that_a_ledger_writes_otherwise(self, optimize, fruit_lm):
        """NUL and half of an emoji were shown to the proposer once, and at a replay what was kept of them."""

        def strange(example, prediction, trace=None):
            found = graded(example, prediction)
            return mipro.ScoreWithFeedback(found.score, f"{found.feedback} \x00 \ud83d")

        first = optimize(metric=strange)
        assert first.optimization.rounds[0].mistakes
        calls = len(fruit_lm.calls)
        again = optimize(metric=strange)
        assert len(fruit_lm.calls) == calls
        assert again.optimization.trials == first.optimization.trials

    def test_replayed_for_nothing(self, optimize, fruit_lm):
        """The second time no call is made, and the rounds are the same."""
        first = optimize()
        paid = len(fruit_lm.calls)
        again = optimize()
        assert len(fruit_lm.calls) == paid
        assert again.optimization.rounds == first.optimization.rounds
        assert again.dump_state() == first.dump_state()

    @pytest.fixture
    def recorded(self, optimize, fruit_lm, tmp_path, monkeypatch):
        """Return an uninterrupted run, the records of its ledger in order, and its facts."""
        records, append = [], SQLStore.append

        def note(store, batch):
            append(store, batch)
            records.extend(batch)

        with monkeypatch.context() as patch:
            patch.setattr(SQLStore, "append", note)
            whole = optimize(run_dir="whole", propose_rounds=1, num_threads=4)
        with mipro.runs.open(str(tmp_path / "whole")) as run:
            return whole, records, run.facts()

    def test_cut_in_and_around_a_round(self, optimize, recorded, tmp_path):
        """Resumed from the first n records, a run holds the same rounds and pays for the rest only."""
        whole, records, facts = recorded
        of_round = [n for n, r in enumerate(records) if isinstance(r, CallRecord) and r.stage == "rounds"]
        assert of_round
        for n in sorted({of_round[0] - 1, *of_round[::3], of_round[-1] + 2}):
            cut(tmp_path / f"cut{n}", facts, records[:n])
            best = optimize(run_dir=f"cut{n}", propose_rounds=1, num_threads=4)
            with mipro.runs.open(str(tmp_path / f"cut{n}")) as run:
                assert len(list(run.calls())) == sum(isinstance(r, CallRecord) for r in records), n
            assert best.optimization.rounds == whole.optimization.rounds, n
            assert best.optimization.trials == whole.optimization.trials, n

    @pytest.mark.usefixtures("fruit_lm")
    def test_what_was_missing_stays_missing(self, optimize, recorded, tmp_path):
        """A training score that the first session did not get is no part of the round in a later one."""
        whole, records, facts = recorded
        n = next(n for n, r in enumerate(records) if isinstance(r, EvaluationRecord) and r.split == "train")
        told = json.dumps({"decision": -1, "cells": [[0, records[n].example]]})
        cut(tmp_path / "cut", facts, [*records[:n], EventRecord(UNKNOWN, told, 0.0)])
        again = optimize(run_dir="cut", propose_rounds=1, num_threads=4)
        assert again.optimization.rounds[0].probed == whole.optimization.rounds[0].probed - 1


@pytest.mark.parametrize("limit", [180, 187, 192])
def test_budget_that_ends_in_a_round(optimize, fruit_lm, limit):
    """The cap holds to the call, and the best so far comes back."""
    best = optimize(budget=mipro.Budget(lm_calls=limit), propose_rounds=1, num_threads=1)
    assert len(fruit_lm.calls) == limit
    assert best.optimization.stop_reason == "budget: lm_calls"
    assert best(fruit="lime 1").colour


class TestDefault:
    """How many rounds are held where the user does not say."""

    @pytest.fixture
    def planned(self, fruit, same_colour, fruit_lm):
        """Return the number of rounds of a run as it is planned."""

        def plan(val, **with_):
            data = [mipro.Example(fruit=f"lime {i}", colour="green").with_inputs("fruit") for i in range(val)]
            program = mipro.Predict("fruit -> colour")
            estimate = mipro.MIPROv2(same_colour, **with_).estimate(program, trainset=fruit[:5], valset=data)
            assert fruit_lm.calls == []
            return any(stage.stage == "rounds" for stage in estimate.stages)

        return plan

    def test_where_the_budget_allows(self, planned):
        """A large search has a round, a small one has none."""
        assert ROUND_EVALUATIONS > 10 * 11
        assert planned(100)
        assert not planned(10)

    def test_only_where_the_search_takes_new_choices_on(self, planned):
        """The published loop is left as published, and halving has its field at the start."""
        for search in ("tpe", "random", "halving"):
            assert not planned(100, search=search)

    def test_none_where_nothing_is_proposed(self, planned):
        """With the original instruction alone there is nothing to learn for."""
        assert not planned(100, num_candidates=1)

    def test_as_asked_for(self, planned):
        """The user's number counts."""
        assert not planned(100, propose_rounds=0)
        assert planned(10, propose_rounds=1)

    @pytest.mark.usefixtures("fruit_lm")
    def test_is_part_of_the_run(self, optimize):
        """A run is not resumed with other rounds."""
        optimize(propose_rounds=0)
        with pytest.raises(RunMismatchError, match="propose_rounds: was 0, is 1"):
            optimize(propose_rounds=1)

    def test_nonsense_is_refused(self, optimize):
        """A negative number is said at once."""
        with pytest.raises(UserError, match="`propose_rounds` must be"):
            optimize(propose_rounds=-1)
