"""Ledger stores."""

import contextlib
import re
import sqlite3
import subprocess
import sys
import threading

import pytest
from sqlalchemy.dialects import mysql
from sqlalchemy.schema import CreateTable

from mipro.errors import StateError
from mipro.runs import CallRecord, DecisionRecord, SQLStore
from mipro.runs._tables import FACTS, TABLES
from mipro.testing.stores import StoreContract, call


class TestSQLite(StoreContract):
    """SQLite, the default."""

    @pytest.fixture
    def make_store(self, tmp_path):
        """Open the same file at each call."""
        return lambda: SQLStore(f"sqlite:///{tmp_path / 'ledger.sqlite'}")


class _KeepsLate(SQLStore):
    """Keeps what it was given when it is asked for something."""

    def __init__(self, url):
        self.late = []
        super().__init__(url)

    def append(self, records):
        self.late += records

    def read(self, kind):
        super().append(self.late)
        self.late = []
        return super().read(kind)


class _KeepsOneByOne(SQLStore):
    def append(self, records):
        for record in records:
            super().append([record])


class _OfOneThread(SQLStore):
    def __init__(self, url):
        self.owner = threading.get_ident()
        super().__init__(url)

    def append(self, records):
        if threading.get_ident() != self.owner:
            raise RuntimeError
        super().append(records)


class _LockedByReading(SQLStore):
    reading = False

    def append(self, records):
        if self.reading:
            raise RuntimeError
        super().append(records)

    def read(self, kind):
        self.reading = True
        yield from super().read(kind)
        self.reading = False


class _LastAnswerOfSeveral(SQLStore):
    def append(self, records):
        super().append(list({getattr(record, "key", record): record for record in records}.values()))


@pytest.mark.parametrize(
    ("broken", "rule"),
    [
        (_KeepsLate, "what_was_kept_is_there_in_another_process"),
        (_KeepsOneByOne, "all_or_nothing_is_kept"),
        (_OfOneThread, "any_thread_may_append_and_read"),
        (_LockedByReading, "reading_does_not_keep_from_appending"),
        (_LastAnswerOfSeveral, "first_answer_stands"),
    ],
)
def test_contract_catches_a_store_that_breaks_one_rule(broken, rule, tmp_path):
    """It fails the check of that rule, which the store that it is made of passes."""

    def make_store():
        return broken(f"sqlite:///{tmp_path / 'ledger.sqlite'}")

    given = make_store if rule == "what_was_kept_is_there_in_another_process" else make_store()
    with pytest.raises((AssertionError, RuntimeError)):
        getattr(StoreContract(), f"test_{rule}")(given)


def test_foreign_database_is_refused_untouched(tmp_path):
    """A database of something else is refused and gets no table."""
    path = tmp_path / "other.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("create table customers (name text)")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(StateError, match=r"holds the tables \['customers'\]"):
        SQLStore(f"sqlite:///{path}")
    assert path.read_bytes() == before


@pytest.mark.parametrize("content", [b"not a database at all" * 100, b"\x00" * 4096])
def test_file_that_is_no_database_is_one_clear_error(tmp_path, content):
    """A foreign file is a StateError that names the place."""
    path = tmp_path / "ledger.sqlite"
    path.write_bytes(content)
    with pytest.raises(StateError, match=r"ledger\.sqlite"):
        SQLStore(f"sqlite:///{path}")


def test_newer_format_is_refused(tmp_path):
    """A ledger of a format this version does not know says so."""
    path = tmp_path / "ledger.sqlite"
    SQLStore(f"sqlite:///{path}").close()
    with sqlite3.connect(path) as connection:
        connection.execute("update run set value = '999' where name = 'format'")
    connection.close()
    with pytest.raises(StateError, match="format 999"):
        SQLStore(f"sqlite:///{path}")


@pytest.mark.parametrize(
    "asked",
    [
        lambda store: list(store.read(CallRecord)),
        lambda store: store.count(CallRecord),
        lambda store: store.find_call("key"),
        lambda store: store.spent(),
        lambda store: store.lost(),
        lambda store: store.failures(),
        lambda store: store.facts(),
    ],
)
def test_a_ledger_that_can_no_longer_be_read_is_one_clear_error(tmp_path, asked):
    """A run that may open no more files ended with the database driver's own error, after all was paid."""
    path = tmp_path / "ledger.sqlite"
    store = SQLStore(f"sqlite:///{path}")
    with contextlib.closing(sqlite3.connect(path)) as connection:
        for table in ("run", "calls", "failures"):
            connection.execute(f"DROP TABLE {table}")
    with pytest.raises(StateError, match="can't be used as a ledger: no such table"):
        asked(store)
    store.close()


def test_append_is_all_or_nothing(tmp_path):
    """Where one record can't be kept, none of the batch is."""
    store = SQLStore(f"sqlite:///{tmp_path / 'ledger.sqlite'}")
    broken = DecisionRecord(None, "no number")
    with pytest.raises(StateError):
        store.append([call("k"), DecisionRecord(0, "[]"), broken])
    assert store.count(CallRecord) == store.count(DecisionRecord) == 0
    store.close()


WRITE_THEN_DIE = """
import os, signal, sys
from mipro.runs import SQLStore
from mipro.testing.stores import call
store = SQLStore(sys.argv[1])
for i in range(1000):
    store.append([call(str(i))])
    print(i, flush=True)
"""


def test_kept_records_survive_kill_9(tmp_path):
    """Every append that returned is there after the process was killed at any moment."""
    url = f"sqlite:///{tmp_path / 'ledger.sqlite'}"
    with subprocess.Popen(
        [sys.executable, "-c", WRITE_THEN_DIE, url], stdout=subprocess.PIPE, text=True
    ) as writer:
        last = 0
        for line in writer.stdout:
            last = int(line)
            if last == 50:
                writer.kill()
                break
    store = SQLStore(url)
    kept = [record.key for record in store.read(CallRecord)]
    store.close()
    assert kept[: last + 1] == [str(i) for i in range(last + 1)]


def test_tables_of_other_databases_hold_all_that_is_kept():
    """MySQL had an index on a text of any length, cut answers at 64 KiB, and times at seven digits."""
    made = "".join(str(CreateTable(table).compile(dialect=mysql.dialect())) for table in TABLES.values())
    assert "DOUBLE" in made
    assert "FLOAT" not in made
    assert "split VARCHAR(64)" in made
    assert set(re.findall(r"TEXT\S*", made)) == {"TEXT(4294967295)"}  # which is its name for a LONGTEXT


def test_answer_that_is_known_is_dropped_and_never_cut(monkeypatch):
    """MySQL's INSERT IGNORE drops what is known, but also cuts what is too long."""
    store = SQLStore("sqlite://")
    monkeypatch.setattr(store._engine.dialect, "name", "mysql")
    for table, key in ((TABLES[CallRecord], "`key` = calls.`key`"), (FACTS, "name = run.name")):
        statement = str(store._insert_new(table).compile(dialect=mysql.dialect()))
        assert "IGNORE" not in statement
        assert statement.endswith(f"ON DUPLICATE KEY UPDATE {key}")
    store.close()
