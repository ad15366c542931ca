"""A multi-stage program on a real model in this process, from end to end."""

from typing import Literal

import pytest

import mipro
from mipro.fetch import is_cached

SMALL = "smollm2-135m-instruct"

pytestmark = [
    pytest.mark.local_lm,
    pytest.mark.skipif(not is_cached(SMALL), reason=f"run `mipro pull {SMALL}` first"),
    pytest.mark.timeout(600),
]

Mood = Literal["glad", "sad"]
TEXTS = {
    "glad": ["I love it", "What a day", "We won", "Best cake ever", "She smiles"],
    "sad": ["I lost it", "It rains again", "We failed", "The cake burnt", "He cries"],
}
ROWS = [
    mipro.Example(text=text, mood=mood).with_inputs("text")
    for pair in zip(*([(text, mood) for text in texts] for mood, texts in TEXTS.items()), strict=True)
    for text, mood in pair
]


class Moods(mipro.Module):
    """Hints at the mood twice, one hint building on the other, then tells it."""

    def __init__(self):
        super().__init__()
        self.hint = mipro.Predict("text, before -> hint")
        self.tell = mipro.Predict(mipro.Signature("text, hint -> mood: Mood", custom_types={"Mood": Mood}))
        self.same = {"tell": self.tell}
        self.never = mipro.Predict("text -> title")

    def forward(self, text):
        """Tell the mood, with the second place of the shared predictor where the first is not sure."""
        hint = "none"
        for _ in range(2):
            hint = str(self.hint(text=text, before=hint).hint)
        first = self.tell(text=text, hint=hint)
        return first if first.mood == "glad" else self.same["tell"](text=text, hint="none")


def same_mood(example, prediction, trace=None):
    """Whether the mood is the expected one, and what it is."""
    right = example.mood == prediction.mood
    return mipro.ScoreWithFeedback(float(right), f"The mood is {example.mood}.")


@pytest.fixture
def optimize(tmp_path):
    """Return a function that optimizes the program."""

    def run(**with_):
        lm = mipro.LM(f"local/{SMALL}", max_tokens=24, temperature=0.0, cache=False)
        optimizer = mipro.MIPROv2(
            same_mood,
            num_candidates=2,
            max_bootstrapped_demos=1,
            max_labeled_demos=0,
            max_errors=100,
            seed=0,
            run_dir=str(tmp_path / "run"),
            **with_,
        )
        with mipro.context(lm=lm, adapter=mipro.JSONAdapter(), num_threads=4):
            # The descriptions that the proposer may ask for take minutes here, and have tests of their own.
            best = optimizer.compile(
                Moods(),
                trainset=ROWS[:2],
                valset=ROWS[4:6],
                num_trials=2,
                program_aware_proposer=False,
                data_aware_proposer=False,
            )
            assert best(text="We won").mood in {"glad", "sad"}
        return best

    return run


def test_predictors_are_optimized_jointly(optimize, tmp_path):
    """The shared predictor has one place in the space, the looping and the idle one have theirs."""
    best = optimize(propose_rounds=0)
    story = best.optimization
    assert len(story.instructions) == len(best.predictors()) == 3
    assert len(story.candidate) == 6
    assert all(len(trial.candidate) == 6 for trial in story.trials)
    assert best.tell is best.same["tell"]
    assert story.stop_reason == "complete"
    assert 0 <= story.estimate <= 1
    assert {spent.stage for spent in story.spent} == {"demos", "instructions", "search"}
    best.save(tmp_path / "best.json")
    loaded = Moods()
    loaded.load(tmp_path / "best.json")
    assert loaded.dump_state() == best.dump_state()


def test_frozen_predictors_stay(optimize):
    """The idle and the looping predictor are as they came; the other one alone is varied, by a round too."""
    best = optimize(frozen=["hint", "never"], propose_rounds=1)
    for name in ("hint", "never"):
        assert getattr(best, name).dump_state() == getattr(Moods(), name).dump_state()
    varied = {tuple(v for v, choice in enumerate(t.candidate) if choice) for t in best.optimization.trials}
    assert [len(texts) for texts in best.optimization.instructions][::2] == [1, 1]
    assert {place for places in varied for place in places} <= {2, 3}
