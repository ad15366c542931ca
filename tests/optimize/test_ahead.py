"""What is done ahead of its stage."""

import json
import signal
import threading

import pytest

import mipro
from mipro.testing.lms import ScriptedLM


@pytest.fixture
def optimize(tmp_path, fruit, same_colour):
    """Return a function that optimizes with a model; arguments go to MIPROv2."""

    def run(lm, **with_):
        optimizer = mipro.MIPROv2(
            same_colour, run_dir=str(tmp_path / str(with_)), search="random", seed=0, **with_
        )
        with mipro.context(lm=lm):
            best = optimizer.compile(
                mipro.Predict("fruit -> colour"), trainset=fruit[:20], valset=fruit[20:40]
            )
        return best.optimization

    return run


def _kind(messages):
    """What a call is for."""
    prompt = json.dumps(messages)
    fields = ("proposed_instruction", "program_description", "summary", "observations", "colour")
    return next(field for field in fields if f"[[ ## {field} ## ]]" in prompt)


def test_data_are_looked_at_while_demos_are_collected(optimize, fruit_lm):
    """With threads to spare no call for a demo is answered before the data are being looked at."""
    looked = threading.Event()

    def answer(messages):
        if _kind(messages) == "observations":
            looked.set()
        elif _kind(messages) == "colour":
            assert looked.wait(10)
        return fruit_lm._script.next(messages, {})

    assert optimize(ScriptedLM(answer), num_threads=16).stop_reason == "complete"


@pytest.mark.parametrize(
    "with_", [{"num_threads": 4}, {"num_threads": 16, "budget": mipro.Budget(tokens=10**9)}]
)
def test_stages_come_in_order_where_the_order_counts(optimize, fruit_lm, with_):
    """With few threads, or a budget that may end between two stages, demos come first."""
    optimize(fruit_lm, **with_)
    kinds = [_kind(call["messages"]) for call in fruit_lm.calls]
    first, last = kinds.index("observations"), kinds.index("proposed_instruction")
    assert "colour" in kinds[:first]
    assert "colour" not in kinds[first:last]


def test_calls_are_the_same_in_any_order(optimize, fruit_lm):
    """What is done ahead is what would have been done."""
    one = optimize(fruit_lm, num_threads=1)
    calls = sorted(json.dumps(call, sort_keys=True) for call in fruit_lm.calls)
    fruit_lm.calls.clear()
    many = optimize(fruit_lm, num_threads=16)
    assert sorted(json.dumps(call, sort_keys=True) for call in fruit_lm.calls) == calls
    assert (many.instructions, many.trials) == (one.instructions, one.trials)


def test_models_load_while_the_run_is_prepared(optimize, fruit_lm, monkeypatch):
    """What the first call would be held up by; that it fails is the first call's to say."""
    loaded = threading.Event()

    def load(lm):
        loaded.set()
        raise RuntimeError("nothing to load")

    monkeypatch.setattr(type(fruit_lm), "load", load)
    assert optimize(fruit_lm).trials
    assert loaded.wait(10)


@pytest.mark.usefixtures("heeds_interrupts")
def test_models_load_where_ctrl_c_raises_nothing(fruit, same_colour, tmp_path):
    """Raised while two threads import, it was lost, and left Python's lock of imports locked for good."""
    met = []
    loaded = threading.Event()

    class Loading(ScriptedLM):
        def load(self):
            met.append(signal.getsignal(signal.SIGINT))
            loaded.set()

    def patient(example, prediction, trace=None):
        return loaded.wait(60) and same_colour(example, prediction)

    with mipro.context(lm=Loading(lambda _: {"colour": "red"})):
        mipro.MIPROv2(patient, num_candidates=2, run_dir=tmp_path).compile(
            mipro.Predict("fruit -> colour"), trainset=fruit[:8], num_trials=1
        )
    assert signal.default_int_handler not in met
