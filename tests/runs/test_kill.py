"""A run that is killed and started again ends as if nothing had happened."""

import contextvars
import shutil
import tempfile
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

import mipro
from mipro.errors import BudgetExhausted, LMServerError, RunMismatchError
from mipro.runs import Budget, DecisionRecord, EvaluationRecord, EventRecord, Run
from mipro.testing.kills import run_with_kills
from mipro.testing.lms import ScriptedLM
from mipro.testing.server import OpenAIServer
from mipro.testing.sums import answer

SCRIPT = str(Path(__file__).parent / "scripts" / "optimize_sums.py")
THREADS = 8


def finish(tmp_path, name, kill_at, search, rounds="0"):
    """Run the script in a folder of its own, killed at these counts of requests."""
    output = tmp_path / f"{name}.json"
    with OpenAIServer(answer, latency_s=0.005) as server:
        command = [SCRIPT, server.url, str(tmp_path / name), str(output), str(THREADS), search, rounds]
        return run_with_kills(command, output, lambda: server.count, kill_at)


@pytest.mark.slow
@pytest.mark.parametrize("search", ["bayes", "tpe"])
def test_killed_run_ends_as_if_nothing_had_happened(tmp_path, search):
    """The saved program is the same to the byte, and only calls in flight are paid twice."""
    whole = finish(tmp_path, "whole", [], search)
    kill_at = [5, 31, whole.requests // 2, whole.requests - 3]
    killed = finish(tmp_path, "killed", kill_at, search)
    assert killed.starts == len(kill_at) + 1
    assert killed.output == whole.output
    assert killed.requests <= whole.requests + THREADS * len(kill_at)


@pytest.mark.slow
def test_killed_in_a_round_of_learning(tmp_path):
    """Kills before, in and after a round of learning change neither the round nor the program."""
    whole = finish(tmp_path, "whole", [], "bayes", "1")
    with mipro.runs.open(str(tmp_path / "whole")) as run:
        stages = [call.stage for call in run.calls()]
    begins, ends = stages.index("rounds"), len(stages) - stages[::-1].index("rounds")
    # Killed runs have sent more, since what was in flight is sent again.
    kill_at = [begins, begins + THREADS, (begins + ends) // 2 + 2 * THREADS, ends + 3 * THREADS]
    killed = finish(tmp_path, "killed", kill_at, "bayes", "1")
    assert killed.starts == len(kill_at) + 1
    assert killed.output == whole.output
    # The evaluations of the search go on while a round asks for its proposals.
    assert killed.requests <= whole.requests + 2 * THREADS * len(kill_at)


LIMIT = 12
"""Requests that the run below may send: few, so that it meets its budget."""


class Sessions(RuleBasedStateMachine):
    """A run in any number of sessions, and beside it a plain account of what it has acknowledged."""

    def __init__(self):
        super().__init__()
        self.root = Path(tempfile.mkdtemp())
        self.places = 0
        self.lock = threading.Lock()
        self.failing = 0
        self.asked, self.answered = Counter(), Counter()
        self.kept = {EvaluationRecord: [], DecisionRecord: []}
        self.noted = []
        self.put = 0
        self.model = ScriptedLM(self.reply)

    def reply(self, messages):
        """Answer with the question, or fail as often as told."""
        text = messages[-1]["content"]
        with self.lock:
            self.asked[text] += 1
            if self.failing:
                self.failing -= 1
                return LMServerError("down", model="scripted", status=503, retry_after_s=0.0)
            self.answered[text] += 1
        return text.upper()

    def start(self):
        """Begin a session, in which all that was acknowledged is found again."""
        self.run = Run(self.place, {"seed": "1"}, budget=Budget(lm_calls=LIMIT), seed=0)
        assert [*self.run.decisions()] == self.kept[DecisionRecord]

    @property
    def place(self):
        """Return the folder that the run is in now."""
        return str(self.root / str(self.places))

    @initialize()
    def begin(self):
        """Begin the first session."""
        self.start()

    @rule(texts=st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=6), failing=st.integers(0, 3))
    def ask(self, texts, failing):
        """Ask several questions at once, some of them the same."""
        self.failing = failing

        def ask(text):
            try:
                return self.model(text)
            except BudgetExhausted:
                return None

        with mipro.context(gate=self.run.gate("search")), ThreadPoolExecutor(len(texts)) as pool:
            jobs = [pool.submit(contextvars.copy_context().run, ask, text) for text in texts]
            answers = [job.result() for job in jobs]
        self.failing = 0
        for text, found in zip(texts, answers, strict=True):
            if found is None:
                assert sum(self.asked.values()) == LIMIT
            else:
                assert found == [text.upper()]

    @rule(example=st.integers(0, 2), score=st.none() | st.floats(0, 1), text=st.text())
    def evaluate(self, example, score, text):
        """Keep an evaluation, with whatever text."""
        record = EvaluationRecord("c", "val", example, score, error=text)
        self.run.keep(record)
        self.kept[EvaluationRecord].append((example, score))

    @rule()
    def decide(self):
        """Keep a decision, and those before once more, as a replay does."""
        decisions = [DecisionRecord(number, "[]") for number in range(len(self.kept[DecisionRecord]) + 1)]
        if self.run.stopped is None:
            for decision in decisions[-1 if self.decided else 0 :]:
                self.run.decide(decision)
            self.decided = True
            self.run.flush()
            self.kept[DecisionRecord] = decisions

    decided = False

    @rule()
    def note(self):
        """Hand over an event that nobody waits for."""
        self.run.event("noted", number=self.put)
        self.put += 1

    @rule()
    def close(self):
        """End the session and begin another."""
        self.run.close()
        self.decided = False
        self.start()
        assert len(self.events()) == self.put

    @rule()
    def kill(self):
        """Begin another session on the files as they are now, as after a kill."""
        old, before = self.run, self.place
        self.places += 1
        shutil.copytree(before, self.place)
        old.close()
        self.decided = False
        self.start()
        found = self.events()
        assert found == [f'{{"number": {number}}}' for number in range(len(found))]
        self.put = len(found)

    def events(self):
        """Return what was noted."""
        return [event.data for event in self.run.store.read(EventRecord) if event.kind == "noted"]

    @rule()
    def take_for_another(self):
        """A run of something else is refused, and changes nothing."""
        self.run.close()
        self.decided = False
        with pytest.raises(RunMismatchError):
            Run(self.place, {"seed": "2"}, budget=Budget(), seed=0)
        self.start()

    @invariant()
    def agrees(self):
        """What was answered is kept once and was paid once; what was sent is within the budget."""
        assert all(times == 1 for times in self.answered.values())
        assert sum(self.asked.values()) <= LIMIT
        self.run.flush()  # nobody waits for a failure to be kept
        with mipro.runs.open(self.place) as run:
            assert len([*run.calls()]) == len(self.answered)
            found = [(evaluation.example, evaluation.score) for evaluation in run.evaluations()]
            assert found == self.kept[EvaluationRecord]
            # Of what was sent a kill may hide how it ended, not that it was sent.
            ended = sum(spent.calls for spent in run.spent())
            assert ended + len(self.run.store.lost()) == sum(self.asked.values())
        for example in range(3):
            first = [s for e, s in self.kept[EvaluationRecord] if e == example and s is not None][:1]
            kept = self.run.store.find_evaluations("c", "val", [example])
            assert [record.score for record in kept.values()] == first

    def teardown(self):
        """Leave nothing behind."""
        self.run.close()
        shutil.rmtree(self.root)


TestSessions = Sessions.TestCase
TestSessions.settings = settings(max_examples=15, stateful_step_count=20, deadline=None)
