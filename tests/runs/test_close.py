"""The end of a run with calls still in flight."""

import signal
import threading

import pytest

import mipro
from mipro.errors import RunStopped
from mipro.lm import BaseLM, submit
from mipro.runs import Budget, Run, interruptible
from mipro.testing.lms import ScriptedLM


class Held(BaseLM):
    """Answers once it is let go."""

    def __init__(self):
        super().__init__("held", num_retries=0)
        self.asked, self.let_go = threading.Event(), threading.Event()

    def forward(self, prompt=None, messages=None, **kwargs):
        """Wait."""
        self.asked.set()
        self.let_go.wait(60)
        return "late"


@pytest.fixture
def held():
    """Return the model; it is let go in the end."""
    model = Held()
    yield model
    model.let_go.set()


def start(tmp_path, **options):
    """Open a run."""
    return Run(str(tmp_path / "run"), {"seed": "0"}, budget=Budget(), seed=0, **options)


def ask(run, model, text="q"):
    """Make a call through a run; return its future."""
    return submit(run.gate("search").call(model, model.request(text)))


def kept(tmp_path):
    """Return how many calls the ledger holds."""
    with mipro.runs.open(str(tmp_path / "run")) as recorded:
        return len(list(recorded.calls()))


def test_call_in_flight_is_kept(tmp_path, held):
    """The run ends when the answer is there, whoever has stopped waiting for it."""
    run = start(tmp_path)
    call = ask(run, held)
    assert held.asked.wait(20)
    closing = threading.Thread(target=run.close)
    closing.start()
    while not run._core._is_closed:
        threading.Event().wait(0.001)
    held.let_go.set()
    closing.join(20)
    assert call.result(20).completions[0].text == "late"
    assert kept(tmp_path) == 1


@pytest.mark.parametrize("text", ["known", "new"])
def test_call_after_the_end_is_refused(tmp_path, text):
    """Nobody waits for a run that is over, and its ledger is not opened again."""
    run = start(tmp_path)
    model = ScriptedLM(["yes"])
    ask(run, model, "known").result(20)
    run.close()
    with pytest.raises(RunStopped, match="closed"):
        ask(run, model, text).result(20)
    start(tmp_path).close()


def test_run_without_a_call_is_closed(tmp_path):
    """A first call after that is refused all the same."""
    run = start(tmp_path)
    run.close()
    with pytest.raises(RunStopped, match="closed"):
        ask(run, ScriptedLM(["yes"])).result(20)


def test_call_that_never_ends_is_left(tmp_path, held, monkeypatch, caplog):
    """After the patience; it is said before and after, and whoever waits for the call is told."""
    monkeypatch.setattr("mipro.runs._gate.LANDING_S", 0.01)
    run = start(tmp_path, patience_s=0.1)
    call = ask(run, held)
    assert held.asked.wait(20)
    run.close()
    with pytest.raises(RunStopped, match="closed"):
        call.result(20)
    assert [message.split(" ")[0] for message in caplog.messages] == ["waiting", "leaving"]
    assert kept(tmp_path) == 0


@pytest.mark.usefixtures("heeds_interrupts")
def test_ctrl_c_leaves_what_is_waited_for(tmp_path, held, monkeypatch):
    """The run is released even so."""
    monkeypatch.setattr("mipro.runs._gate.LANDING_S", 0.01)
    main = threading.main_thread().ident
    monkeypatch.setattr(
        "mipro.runs._gate.logger.warning", lambda *_: signal.pthread_kill(main, signal.SIGINT)
    )
    run = start(tmp_path)
    call = ask(run, held)
    assert held.asked.wait(20)
    with pytest.raises(KeyboardInterrupt):
        run.close()
    with pytest.raises(RunStopped, match="closed"):
        call.result(20)
    start(tmp_path).close()


def test_handler_of_another_language_is_left_alone(tmp_path, monkeypatch):
    """Python can't put it back: the run was over, and its result lost to a TypeError."""
    before = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr("mipro.runs._interrupt.signal.getsignal", lambda _: None)
    run = start(tmp_path)
    with interruptible(run):
        monkeypatch.undo()
        assert signal.getsignal(signal.SIGINT) is before
    run.close()


def test_handler_of_the_program_for_sigterm_is_left_alone(tmp_path):
    """It knows what is to be done, and a run must not keep it from being called."""
    called = []
    before = signal.signal(signal.SIGTERM, lambda number, _: called.append(number))
    try:
        run = start(tmp_path)
        with interruptible(run):
            signal.raise_signal(signal.SIGTERM)
        assert called == [signal.SIGTERM]
        assert run.stopped is None
        run.close()
    finally:
        signal.signal(signal.SIGTERM, before)
