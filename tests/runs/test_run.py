"""Where a run is kept, who may use it, and what is refused."""

import gc
import json
import os
import resource
import sqlite3
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa

import mipro
from mipro.errors import RunMismatchError, StateError, UserError
from mipro.runs import Budget, EvaluationRecord, EventRecord, Run, SQLStore, choose_run_dir
from mipro.runs._past import read_past
from mipro.runs._place import _lock_database
from mipro.testing.lms import ScriptedLM
from mipro.testing.server import OpenAIServer
from mipro.testing.stores import call
from mipro.testing.sums import answer, right, sums


def start(place, facts=None):
    """Open a run."""
    return Run(str(place), facts or {"seed": "1"}, budget=Budget(), seed=0)


HOLD = """
import sys
from mipro.runs import Budget, Run
run = Run(sys.argv[1], {"seed": "1"}, budget=Budget(), seed=0)
print("ready", flush=True)
sys.stdin.readline()
"""


def test_second_process_is_refused(tmp_path):
    """While a process uses a run another is told so; after a kill -9 the run is free."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "run")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout.readline() == b"ready\n"
        with pytest.raises(StateError, match="one process at a time"):
            start(tmp_path / "run")
        assert holder.poll() is None
        holder.kill()
    start(tmp_path / "run").close()


@pytest.mark.parametrize("name", ["a?b", "a%20b", "a#b", "a b", "a;b", "ä&b=c", "file:a"])
def test_folder_of_any_name_holds_its_ledger(tmp_path, monkeypatch, name):
    """A folder's name is no part of a URL: it is written, read while it grows, and read afterwards."""
    monkeypatch.chdir(tmp_path)
    for place in (name, str(tmp_path / "whole" / name)):
        run = start(place)
        with mipro.runs.open(place) as reading:
            assert reading.facts()["seed"] == "1"
        run.close()
        with mipro.runs.open(place) as reading:
            assert reading.facts()["seed"] == "1"
        assert sorted(path.name for path in Path(place).iterdir()) == ["ledger.sqlite", "run.lock"]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([name, "whole"])


def test_reading_closes_what_nobody_closed(tmp_path, monkeypatch):
    """A line that only looks a fact up leaves no connection behind; what still reads is not cut off."""
    run = start(tmp_path / "run")
    for number in range(3):
        run.put(EventRecord(f"event {number}", "{}", 0.0))
    run.close()
    made = []
    connect = sqlite3.dbapi2.connect
    monkeypatch.setattr("sqlite3.dbapi2.connect", lambda *a, **k: made.append(connect(*a, **k)) or made[-1])
    events = mipro.runs.open(str(tmp_path / "run")).events()
    gc.collect()
    assert sum(event.kind.startswith("event") for event in events) == 3
    assert mipro.runs.open(str(tmp_path / "run")).facts()["seed"] == "1"
    del events
    gc.collect()
    assert made
    for connection in made:
        with pytest.raises(sqlite3.ProgrammingError, match="closed"):
            connection.execute("SELECT 1")


def test_run_closed_in_another_thread_is_free(tmp_path):
    """The lock belongs to the run, not to the thread that opened it."""
    opened = []
    thread = threading.Thread(target=lambda: opened.append(start(tmp_path / "run")))
    thread.start()
    thread.join()
    with pytest.raises(StateError, match="one process at a time"):
        start(tmp_path / "run")
    opened[0].close()
    start(tmp_path / "run").close()


def test_damaged_event_is_told_and_the_run_is_free_again(tmp_path):
    """Whatever opening a run raises, nobody holds its lock afterwards."""
    start(tmp_path / "run").close()
    ledger = sa.create_engine(f"sqlite:///{tmp_path / 'run' / 'ledger.sqlite'}")
    with ledger.begin() as connection:
        connection.execute(sa.text("update events set data = 'cut of'"))
        connection.execute(sa.text("update events set kind = 'stage began'"))
    ledger.dispose()
    for _ in range(2):
        with pytest.raises(StateError, match="must be as they were written"):
            start(tmp_path / "run")


def test_run_is_free_again_where_the_last_table_cannot_be_read(tmp_path, monkeypatch):
    """Also while the error is kept with all that was open then, as a notebook does."""

    def unreadable(store, kind):
        raise StateError("disk image is malformed")

    with monkeypatch.context() as patch:
        patch.setattr(SQLStore, "count", unreadable)
        with pytest.raises(StateError, match="malformed") as told:
            start(tmp_path / "run")
    start(tmp_path / "run").close()
    del told


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ("update calls set response = '{\"cut of' where serial = 2", "answers"),
        ("update calls set response = '[]' where serial = 2", "answers"),
        (f"update calls set response = '{'[' * 100_000}' where serial = 2", "answers"),
        ("update decisions set jobs = '[[' where serial = 2", "decisions"),
    ],
)
def test_damaged_record_stops_the_run_before_it_pays_again(optimize, tmp_path, change, what):
    """A text that was damaged in the file is no failure of the program, and takes the run nowhere else."""
    with OpenAIServer(answer) as server:
        optimize(server)
        paid = server.count
        ledger = sa.create_engine(f"sqlite:///{tmp_path / 'run' / 'ledger.sqlite'}")
        with ledger.begin() as connection:
            connection.execute(sa.text(change))
        ledger.dispose()
        with pytest.raises(StateError, match=f"the {what} of a ledger must be as they were written"):
            optimize(server)
        assert server.count == paid


def test_settled_facts_stay_as_they_were(tmp_path):
    """They are what they were when the run began, and no reason to refuse it; all others are."""
    start(tmp_path / "run", {"seed": "1", "lookahead": "4"}).close()
    changed = {"seed": "1", "lookahead": "16"}
    with pytest.raises(RunMismatchError, match="lookahead: was 4, is 16"):
        start(tmp_path / "run", changed)
    run = Run(str(tmp_path / "run"), changed, settled=("lookahead",), budget=Budget(), seed=0)
    assert run.facts["lookahead"] == "4"
    run.close()


def test_database_without_a_lock_is_said(caplog):
    """Where two processes can't be kept apart the user is told to, without the password."""
    _lock_database(sa.make_url("mysql+pymysql://me:secret@host/runs"), SQLStore("sqlite://"))()
    assert "one process at a time" in caplog.text
    assert "secret" not in caplog.text


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting takes the rights to do so")
def test_folder_on_a_read_only_disk(tmp_path):
    """A new run there, and one that is there already, are one clear error each; reading is no trouble."""
    start(tmp_path / "disk" / "run").close()
    mount = ["mount", "--bind", "-o", "ro", str(tmp_path / "disk"), str(tmp_path / "disk")]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("no mounts here")
    try:
        with pytest.raises(StateError, match="folder that can be written"):
            start(tmp_path / "disk" / "new")
        with pytest.raises(StateError, match="folder that can be written"):
            start(tmp_path / "disk" / "run")
        with mipro.runs.open(str(tmp_path / "disk" / "run")) as run:
            assert run.facts()["seed"] == "1"
    finally:
        subprocess.run(["umount", str(tmp_path / "disk")], check=True)


@pytest.mark.parametrize("place", ["file/run", "file"])
def test_folder_that_cannot_be_written(tmp_path, place):
    """A place that can't be a folder is one clear error."""
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(StateError, match="folder that can be written"):
        start(tmp_path / place)
    assert (tmp_path / "file").read_text() == "not a folder"


def test_truncated_ledger_is_refused_untouched(tmp_path):
    """A ledger that lost its end is one clear error and is left as it is."""
    run = start(tmp_path / "run")
    for number in range(200):
        run.keep(call(str(number)))
    run.close()
    ledger = tmp_path / "run" / "ledger.sqlite"
    cut = ledger.read_bytes()[: 10 * 4096 + 100]
    ledger.write_bytes(cut)
    with pytest.raises(StateError, match=r"ledger\.sqlite"):
        start(tmp_path / "run")
    assert ledger.read_bytes() == cut


FILL = """
import resource, signal, sys
import mipro
from mipro.runs import Budget, Run
from mipro.testing.stores import call
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))
run = Run(sys.argv[1], {"seed": "1"}, budget=Budget(), seed=0)
kept = 0
try:
    while True:
        run.keep(call(f"{kept} " + "x" * 50))
        kept += 1
        print(kept, flush=True)
except mipro.errors.StateError as error:
    print(error, file=sys.stderr)
    sys.exit(3)
"""


@pytest.mark.skipif(not hasattr(resource, "RLIMIT_FSIZE"), reason="needs a limit on files' size")
@pytest.mark.skipif(sys.platform == "win32", reason="a file in use can't be moved there")
@pytest.mark.parametrize("is_replaced", [True, False])
def test_ledger_that_is_moved_stops_the_run(tmp_path, monkeypatch, is_replaced):
    """What is written to a file that nobody finds any more is not kept, though the system takes it."""
    monkeypatch.chdir(tmp_path)
    run = start("run")
    monkeypatch.chdir("/")
    run.keep(EventRecord("noted", "{}", 1.0))
    ledger = tmp_path / "run" / "ledger.sqlite"
    ledger.rename(tmp_path / "elsewhere.sqlite")
    if is_replaced:
        ledger.touch()
    with pytest.raises(StateError, match="moved, deleted or replaced"):
        run.keep(EventRecord("noted", "{}", 2.0))
    with pytest.raises(StateError):
        run.flush()
    run.close()


def test_full_disk_is_one_clear_error(tmp_path):
    """When nothing more can be written the run stops with the reason, and all that was kept is there."""
    command = [sys.executable, "-c", FILL, str(tmp_path / "run")]
    filled = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert filled.returncode == 3, filled.stderr
    assert "has room" in filled.stderr
    with mipro.runs.open(str(tmp_path / "run")) as run:
        assert len(list(run.calls())) == int(filled.stdout.split()[-1]) > 10
    start(tmp_path / "run").close()


LIMIT = """
import resource, runpy, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), int(sys.argv[1])))
sys.argv = sys.argv[2:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.skipif(not hasattr(resource, "RLIMIT_FSIZE"), reason="needs a limit on files' size")
def test_optimization_on_a_full_disk_goes_on_when_there_is_room(script, tmp_path):
    """The error at the end says what is wrong, nothing is scored for it, and no kept call is paid again."""
    with OpenAIServer(answer) as server:
        saved = [tmp_path / "whole.json", tmp_path / "filled.json"]
        whole, filled = (
            [script, server.url, str(path.with_suffix("")), str(path), "8", "random"] for path in saved
        )
        subprocess.run([sys.executable, *whole], check=True, capture_output=True, timeout=100)
        paid = server.count
        server.reset()
        command = [sys.executable, "-c", LIMIT, "150000", *filled]
        stopped = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
        assert stopped.returncode == 1
        assert "has room" in stopped.stderr.splitlines()[-1]
        assert server.count < paid
        subprocess.run([sys.executable, *filled], check=True, capture_output=True, timeout=100)
        assert server.count <= paid + 8
    assert saved[0].read_bytes() == saved[1].read_bytes()


class TestRefused:
    """The same run directory with something else is refused with the difference named."""

    @pytest.fixture
    def compiled(self, optimize):
        """Run once, and return the function that runs again with changes, for nothing."""
        with OpenAIServer(answer) as server:
            optimize(server)
            paid = server.count
            yield lambda **changes: optimize(server, **changes)
            assert server.count == paid

    @pytest.mark.parametrize(
        ("changes", "named"),
        [
            ({"seed": 3}, "seed: was 0, is 3"),
            ({"num_candidates": 5}, "num_instructions: was 4, is 5"),
            ({"metric": lambda example, prediction, trace=None: True}, "metric has changed"),
            ({"lm": {"temperature": 0.7}}, "task model: was"),
            ({"search": "tpe"}, "search: was random, is tpe"),
            ({"program": mipro.ChainOfThought("a, b -> sum")}, "predictor"),
        ],
        ids=lambda value: value if isinstance(value, str) else next(iter(value)),
    )
    def test_change_is_named(self, compiled, changes, named):
        """Settings, metric, model, search and program."""
        with pytest.raises(RunMismatchError, match=named) as caught:
            compiled(**changes)
        assert caught.value.differences

    def test_changed_data_are_named(self, tmp_path, optimize):
        """One other example is enough."""
        with OpenAIServer(answer) as server:
            optimize(server)
            examples = sums()
            examples[30] = mipro.Example(a="9", b="9", sum="18").with_inputs("a", "b")
            optimizer = mipro.MIPROv2(
                right, search="random", num_candidates=4, seed=0, run_dir=str(tmp_path / "run")
            )
            lm = mipro.LM("openai/adder", api_base=server.url, api_key="none", cache=False)
            with mipro.context(lm=lm), pytest.raises(RunMismatchError, match="valset has changed"):
                optimizer.compile(
                    mipro.Predict("a, b -> sum"),
                    trainset=examples[:24],
                    valset=examples[24:],
                    num_trials=6,
                    minibatch_size=10,
                )

    def test_changed_source_of_the_program_is_named(self, tmp_path):
        """A program whose code was edited is another program."""
        script = Path(tmp_path / "script.py")
        source = (
            "import sys, mipro\n"
            "from mipro.testing.sums import right, sums\n"
            "class Adder(mipro.Module):\n"
            "    def __init__(self):\n"
            "        self.add = mipro.Predict('a, b -> sum')\n"
            "    def forward(self, a, b):\n"
            "        return self.add(a=a, b=b)\n"
            "lm = mipro.LM('openai/x', api_base='http://127.0.0.1:9/v1', api_key='none')\n"
            "mipro.configure(lm=lm)\n"
            "optimizer = mipro.MIPROv2(right, run_dir=sys.argv[1], budget=mipro.Budget(seconds=0.001))\n"
            "optimizer.compile(Adder(), trainset=sums())\n"
        )
        command = [sys.executable, str(script), str(tmp_path / "run")]
        script.write_text(source)
        first = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert first.returncode == 0, first.stderr
        script.write_text(source.replace("a=a, b=b", "a=b, b=a"))
        second = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert "class Adder has changed" in second.stderr


def test_fresh_starts_beside(optimize, tmp_path):
    """`resume="fresh"` pays anew in a folder beside the old one, which stays as it is."""
    with OpenAIServer(answer) as server:
        first, saved = optimize(server)
        paid = server.count
        before = (tmp_path / "run" / "ledger.sqlite").read_bytes()
        second, again = optimize(server, resume="fresh")
        assert server.count == 2 * paid
        third, _ = optimize(server, resume="fresh")
    places = [Path(best.optimization.run_dir).name for best in (first, second, third)]
    assert places == ["run", "run-2", "run-3"]
    assert again == saved
    assert (tmp_path / "run" / "ledger.sqlite").read_bytes() == before


def test_fresh_takes_a_folder_that_is_not_there(tmp_path):
    """Nothing to keep apart from: the folder itself is used."""
    assert choose_run_dir(str(tmp_path / "run"), name="x", resume="fresh") == str(tmp_path / "run")


def test_runs_that_begin_at_once_have_a_folder_each(tmp_path, monkeypatch):
    """Names are made from the second, so that parallel scripts ask for the same one: no two may get it."""
    monkeypatch.setenv("MIPRO_DATA_DIR", str(tmp_path / "data"))
    at_once = threading.Barrier(16)

    def choose(number):
        at_once.wait()
        place = None if number % 2 else str(tmp_path / "run")
        return choose_run_dir(place, name="Adder", resume="fresh")

    with ThreadPoolExecutor(16) as pool:
        places = list(pool.map(choose, range(16)))
    assert len(set(places)) == 16


def test_fresh_beside_the_current_folder(tmp_path, monkeypatch):
    """The folder beside "." has a name made from that of the current folder."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert choose_run_dir(".", name="x", resume="fresh") == str(tmp_path / "here-2")


def test_seconds_of_a_stage_cover_all_sessions(tmp_path):
    """A stage counts in every session, up to the last sign of life where a kill -9 left no end."""
    run = start(tmp_path / "run")
    with run.stage("demos"):
        run.keep(EventRecord("alive", "{}", time.time() + 50.0))
        run._release()  # as a kill -9 does
        again = start(tmp_path / "run")
    assert 50.0 <= again.seconds_by_stage["demos"] < 60.0
    with again.stage("demos"):
        pass
    again.close()
    third = start(tmp_path / "run")
    assert third.seconds_by_stage["demos"] == pytest.approx(50.0, abs=10.0)
    third.close()
    run.close()


def test_seconds_are_added_up_to_the_last_sign_of_life(tmp_path):
    """Sessions and stages, ended or killed, each count once, and not the time between them."""
    events = [
        ("session began", 100, {}),
        ("stage began", 101, {"stage": "demos"}),
        ("stage ended", 107, {"stage": "demos", "seconds": 6.0}),
        ("stage began", 107, {"stage": "search"}),
        ("alive", 110, {}),
        ("session began", 500, {}),
        ("stage began", 501, {"stage": "search"}),
        ("stage ended", 508, {"stage": "search", "seconds": 7.0}),
        ("alive", 509, {}),
    ]
    store = SQLStore(f"sqlite:///{tmp_path / 'ledger.sqlite'}")
    store.append([EventRecord(kind, json.dumps(data), float(at)) for kind, at, data in events])
    past = read_past(store)
    store.close()
    assert (past.seconds, dict(past.seconds_by_stage)) == (10.0 + 9.0, {"demos": 6.0, "search": 3.0 + 7.0})


def test_sleep_of_the_machine_is_no_running(tmp_path, monkeypatch):
    """The clock of the day goes on meanwhile, or is set; a budget of seconds is not used up by that."""
    run = start(tmp_path / "run")
    today = time.time()
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: today + 30_000)
        with run.stage("demos"):
            pass
        run.close()
    with mipro.runs.open(tmp_path / "run") as recorded:
        times = [event.at for event in recorded.events()]
    assert times[0] == pytest.approx(today, abs=1_000)
    assert times[-1] - times[0] < 1_000


def test_unknown_resume_is_refused(tmp_path):
    """There are two ways only."""
    with pytest.raises(UserError, match="`resume` must be"):
        choose_run_dir(str(tmp_path), name="x", resume=False)


def test_run_without_a_folder_is_kept_in_the_data_folder(tmp_path, monkeypatch):
    """No run is without a ledger."""
    monkeypatch.setenv("MIPRO_DATA_DIR", str(tmp_path))
    place = Path(choose_run_dir(None, name="Adder", resume=True))
    assert place.parent == tmp_path / "runs"
    assert place.name.endswith("-Adder")
    assert place.is_dir()
    assert choose_run_dir(None, name="Adder", resume=True) != str(place)


def files(folder):
    """Return every file with what it holds and when it was changed."""
    return {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in sorted(folder.rglob("*")) if p.is_file()}


class TestOpen:
    """`mipro.runs.open`."""

    def test_finished_run_is_read_without_a_trace(self, tmp_path):
        """Reading creates and changes nothing."""
        run = start(tmp_path / "run")
        run.keep(call("a"))
        run.keep(EvaluationRecord("c", "val", 1, 0.0, "parse"))
        run.close()
        before = files(tmp_path)
        with mipro.runs.open(str(tmp_path / "run")) as recorded:
            assert recorded.facts()["seed"] == "1"
            assert [record.key for record in recorded.calls()] == ["a"]
            assert recorded.spent()[0].calls == 1
            assert recorded.failures() == {"parse": 1}
        assert files(tmp_path) == before

    def test_live_run_is_read_and_goes_on(self, tmp_path):
        """A reader sees what is kept so far, and while it reads the run writes on."""
        run = start(tmp_path / "run")
        for number in range(1500):
            run.event("x", number=number)
        run.keep(call("a"))
        with mipro.runs.open(str(tmp_path / "run")) as recorded:
            assert len(list(recorded.calls())) == 1
            events = recorded.events()
            next(events)
            run.keep(call("b"))
            assert len(list(recorded.calls())) == 2
            assert len(list(events)) == 1500  # one was read; the session's beginning is one more
        run.close()
        assert [path.name for path in sorted((tmp_path / "run").iterdir())] == ["ledger.sqlite", "run.lock"]

    def test_url_of_a_file_is_read_without_a_trace(self, tmp_path):
        """As a folder is; SQLite made an empty database of a URL that was misspelt."""
        place = f"sqlite:///{tmp_path}/ledger.db"
        run = start(place)
        run.keep(call("a"))
        run.close()
        before = files(tmp_path)
        with mipro.runs.open(place) as recorded:
            assert [record.key for record in recorded.calls()] == ["a"]
        with pytest.raises(StateError, match=r"there is no file .*leger\.db"):
            mipro.runs.open(place.replace("ledger", "leger"))
        assert files(tmp_path) == before

    def test_folder_may_be_a_path(self, tmp_path):
        """`pathlib` is how folders are named today; it ended in a TypeError, which named no argument."""
        place = tmp_path / "run"
        optimizer = mipro.MIPROv2(right, num_candidates=1, run_dir=place)
        with mipro.context(lm=ScriptedLM(lambda messages: answer({"messages": messages}))):
            best = optimizer.compile(mipro.Predict("a, b -> sum"), trainset=sums()[:4], num_trials=1)
        assert best.optimization.run_dir == str(place)
        with mipro.runs.open(place) as run:
            assert run.facts()["seed"] == "9"

    def test_place_without_a_run_is_refused_and_stays_empty(self, tmp_path):
        """A wrong folder is named; nothing is made there."""
        with pytest.raises(StateError, match=r"holds no ledger\.sqlite"):
            mipro.runs.open(str(tmp_path / "nothing"))
        assert list(tmp_path.iterdir()) == []


FORKING = """
import multiprocessing, sys, warnings
warnings.simplefilter("ignore")  # of forks beside threads
import mipro
from mipro.runs import Budget, Run
from mipro.testing.lms import ScriptedLM

mipro.configure(lm=ScriptedLM([{"a": "1"}] * 2))
ask = mipro.Predict("q -> a")

def child():
    try:
        ask(q="child")
    except mipro.errors.UserError as error:
        sys.exit(7 if "in a child that it forked" in str(error) else 8)

run = Run(sys.argv[1], {"seed": "0"}, budget=Budget(), seed=0)
with run.stage("search"):
    forked = multiprocessing.get_context("fork").Process(target=child, daemon=True)
    forked.start()
    forked.join(20)
    print(forked.exitcode, ask(q="parent").a)
run.close()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_forked_child_is_told_that_it_cannot_ask_in_the_run(tmp_path):
    """The thread that keeps answers is not in a child, which would wait for it for ever; the run goes on."""
    done = subprocess.run(
        [sys.executable, "-c", FORKING, str(tmp_path / "run")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.split() == ["7", "1"], done.stderr
