"""A ledger in a database."""

from __future__ import annotations

import contextlib
import os
import weakref
from typing import TYPE_CHECKING, Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import event as sa_event

from mipro.errors import StateError
from mipro.lm import Usage
from mipro.runs._connections import Connections
from mipro.runs._records import (
    MADE_OF_CALLS,
    CallRecord,
    EvaluationRecord,
    FailureRecord,
    Record,
    SentRecord,
    Spent,
)
from mipro.runs._store import R, Store
from mipro.runs._tables import FACTS, FIELDS, METADATA, MYSQL, TABLES, Statement, columns_of, storable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

T = TypeVar("T")

PAGE = 1000
"""Records read at once."""
MAX_LOOKED_UP = 256
"""Cells looked up with one statement."""
CREATING = 0x6D697072
"""Number of the lock under which PostgreSQL makes the tables: "mipr"."""
FORMAT = 2
"""Version of the tables. A ledger of a newer format is refused."""


class SQLStore(Store):
    """A ledger in any database that SQLAlchemy speaks to; SQLite by default.

    Args:
        url: A SQLAlchemy URL, for example "sqlite:////home/me/run/ledger.sqlite"; as a
            `sqlalchemy.URL` where the path has characters that mean something in a URL.
        read_only: Create and change nothing.

    Raises:
        StateError: The database can't be opened or written, is not a ledger, or is
            one of a newer format.
    """

    def __init__(self, url: str | sa.URL, *, read_only: bool = False) -> None:
        self._url = parsed(url)
        try:
            self._engine = sa.create_engine(self._url)
        except (sa.exc.ArgumentError, ImportError) as error:
            raise self.unusable(error) from error
        if self._engine.dialect.name == "sqlite" and not read_only:
            sa_event.listen(self._engine, "connect", _tune_sqlite)
        # `mipro.runs.open(run_dir).facts()` leaves nobody who could close it.
        weakref.finalize(self, self._engine.dispose)
        self._auto = self._engine.execution_options(isolation_level="AUTOCOMMIT")
        self._connections = Connections(self._engine)
        self._inserts: dict[type[Record], Statement] = {}
        by_key = sa.select(*columns_of(CallRecord)).where(TABLES[CallRecord].c.key == sa.bindparam("wanted"))
        self._find_evaluations: dict[int, Statement] = {}
        self._find_call = Statement(by_key, self._engine.dialect, ["wanted"])
        try:
            self._check() if read_only else self._check_or_create()
        except sa.exc.SQLAlchemyError as error:
            self._engine.dispose()
            raise self.unusable(error) from error
        except StateError:
            self._engine.dispose()
            raise
        is_file = self._engine.dialect.name == "sqlite" and self._url.database and not read_only
        # As SQLAlchemy opens it, wherever the program goes meanwhile.
        self._path = os.path.abspath(self._url.database or "") if is_file else ""  # noqa: PTH100 - as text
        self._file = self._found_file()

    def _found_file(self) -> tuple[int, int] | None:
        """Return what tells the file at the ledger's path from others, or None where none is found."""
        try:
            found = os.stat(self._path)  # noqa: PTH116 - at every commit
        except OSError:
            return None
        return found.st_dev, found.st_ino

    def _check_or_create(self) -> None:
        existing = set(sa.inspect(self._engine).get_table_names())
        if existing:
            self._check()
        if self._engine.dialect.name == "sqlite":
            # Readers never block the writer. The mode is a property of the file, so not before the check.
            with self._auto.connect() as connection:
                connection.exec_driver_sql("PRAGMA journal_mode=WAL")
        with self._engine.begin() as connection:
            if self._engine.dialect.name == "postgresql":
                # Two processes that begin at once would both make them, and the second fail oddly.
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(CREATING)))
            METADATA.create_all(connection)
        self.state({"format": str(FORMAT)})

    def _check(self) -> None:
        existing = set(sa.inspect(self._engine).get_table_names())
        if FACTS.name not in existing:
            raise StateError(
                f"{self} must be a ledger of mipro or empty, but it holds the tables "
                f"{sorted(existing)}; choose another run_dir."
            )
        found = self.facts().get("format", str(FORMAT))
        if found != str(FORMAT):
            raise StateError(
                f"{self} has format {found}, but this version of mipro reads format {FORMAT}; "
                "use the version of mipro that wrote it, or another run_dir."
            )

    def __repr__(self) -> str:
        return f"SQLStore({self._url.render_as_string(hide_password=True)!r})"

    def guard(self, do: Callable[[], None]) -> None:
        """Have `do` called before a database server is used, after it was away and every half minute."""
        self._connections.guard = do

    def unusable(self, error: Exception) -> StateError:
        """Return the error that says why the database can't be used."""
        reason = getattr(error, "orig", None) or error
        return StateError(
            f"{self!r} can't be used as a ledger: {reason}. Check that the place exists, can be "
            "written, has room and is a ledger of mipro; nothing in it was changed."
        )

    def append(self, records: Sequence[Record]) -> None:
        by_kind: dict[type[Record], list[Any]] = {}
        for record in records:
            kind = type(record)
            row = [storable(getattr(record, name)) for name in FIELDS[kind]]
            by_kind.setdefault(kind, []).append(row)

        def insert(cursor: Any) -> None:
            for kind, rows in by_kind.items():
                statement = self._statement(kind)
                cursor.executemany(statement.sql, [statement.arguments(row) for row in rows])

        def insert_once(cursor: Any) -> None:
            if not self._are_newest(cursor, by_kind):
                insert(cursor)

        self._work(insert, again=insert_once)
        # Into a file that was deleted the system writes on, and says nothing.
        if self._file is not None and self._found_file() != self._file:
            raise StateError(
                f"the ledger must stay where it is while a run uses it, but {self._path!r} was moved, "
                "deleted or replaced, so that nothing is kept there any more. Put it back, or give its new "
                "folder as run_dir."
            )

    def _are_newest(self, cursor: Any, by_kind: Mapping[type[Record], list[Any]]) -> bool:
        """Whether these rows are what was appended last; one process at a time appends."""
        # Two requests in a row may be alike, and answers that were there are dropped: the others tell best.
        telling = [kind for kind in by_kind if kind not in {SentRecord, CallRecord}] or list(by_kind)
        for kind in telling:
            rows = by_kind[kind]
            newest = sa.select(*columns_of(kind)).order_by(TABLES[kind].c.serial.desc()).limit(len(rows))
            statement = newest.compile(self._engine, compile_kwargs={"literal_binds": True})
            cursor.execute(str(statement))
            if [list(row) for row in reversed(cursor.fetchall())] == rows:
                return True
        return False

    def _work(self, do: Callable[[Any], T], *, again: Callable[[Any], T] | None = None) -> T:
        try:
            return self._connections.work(do, again=again)
        except self._connections.errors as error:
            raise self.unusable(error) from error

    @contextlib.contextmanager
    def _reading(self) -> Iterator[sa.Connection]:
        """Give a connection of SQLAlchemy's, for what is asked rarely.

        Raises:
            StateError: The database can't be read, as where no more files may be open or it is damaged.
        """
        try:
            with self._auto.connect() as connection:
                yield connection
        except sa.exc.SQLAlchemyError as error:
            raise self.unusable(error) from error

    def _statement(self, kind: type[Record]) -> Statement:
        if kind not in self._inserts:
            self._inserts[kind] = Statement(self._insert(kind), self._engine.dialect, FIELDS[kind])
        return self._inserts[kind]

    def _insert(self, kind: type[Record]) -> Any:
        if kind is not CallRecord:
            return sa.insert(TABLES[kind])
        return self._insert_new(TABLES[kind])

    def _insert_new(self, table: sa.Table) -> Any:
        if self._engine.dialect.name == "postgresql":
            from sqlalchemy.dialects.postgresql import insert as pg_insert  # noqa: PLC0415 - one backend

            return pg_insert(table).on_conflict_do_nothing()
        if self._engine.dialect.name in MYSQL:
            from sqlalchemy.dialects.mysql import insert as my_insert  # noqa: PLC0415 - one backend

            # Not IGNORE, which would cut a value that is too long and say nothing.
            known = "key" if "key" in table.c else "name"
            return my_insert(table).on_duplicate_key_update({known: table.c[known]})
        return sa.insert(table).prefix_with("OR IGNORE", dialect="sqlite")

    def find_call(self, key: str) -> CallRecord | None:
        rows = self._look_up([(self._find_call, [key])])
        return CallRecord(*rows[0]) if rows else None

    def find_evaluations(
        self, candidate: str, split: str, examples: Sequence[int]
    ) -> dict[int, EvaluationRecord]:
        queries = []
        for start in range(0, len(examples), MAX_LOOKED_UP):
            wanted = list(examples[start : start + MAX_LOOKED_UP])
            # A few sizes, so that few statements are compiled; what is asked for twice is found once.
            size = 1 << (len(wanted) - 1).bit_length()
            wanted += wanted[-1:] * (size - len(wanted))
            queries.append((self._find_cells(size), [candidate, split, *wanted]))
        found = [EvaluationRecord(*row) for row in self._look_up(queries)]
        return {record.example: record for record in reversed(found)}

    def _find_cells(self, size: int) -> Statement:
        """Return the statement that looks up so many cells of one candidate."""
        if size not in self._find_evaluations:
            table = TABLES[EvaluationRecord]
            places = [f"place{number}" for number in range(size)]
            query = (
                sa.select(*columns_of(EvaluationRecord))
                .where(
                    table.c.candidate == sa.bindparam("wanted"),
                    table.c.split == sa.bindparam("part"),
                    table.c.example.in_([sa.bindparam(place) for place in places]),
                    table.c.score.is_not(None),
                )
                .order_by(table.c.serial)
            )
            statement = Statement(query, self._engine.dialect, ["wanted", "part", *places])
            self._find_evaluations[size] = statement
        return self._find_evaluations[size]

    def _look_up(self, queries: Sequence[tuple[Statement, list[Any]]]) -> list[Any]:
        """Return the rows that the driver finds, for all queries together."""

        def select(cursor: Any) -> list[Any]:
            rows: list[Any] = []
            for statement, values in queries:
                cursor.execute(statement.sql, statement.arguments(values))
                rows += cursor.fetchall()
            return rows

        return self._work(select)

    def read(self, kind: type[R]) -> Iterator[R]:
        # In pages, since an open cursor would keep a live run from folding its log into the file.
        serial = TABLES[kind].c.serial
        page = sa.select(serial, *columns_of(kind)).order_by(serial).limit(PAGE)
        last = -1
        while True:
            with self._reading() as connection:
                rows = connection.execute(page.where(serial > last)).all()
            for row in rows:
                yield kind(*row[1:])
            if len(rows) < PAGE:
                return
            last = rows[-1][0]

    def count(self, kind: type[Record]) -> int:
        with self._reading() as connection:
            return int(connection.execute(sa.select(sa.func.count()).select_from(TABLES[kind])).scalar_one())

    def spent(self) -> tuple[Spent, ...]:
        calls, failed = TABLES[CallRecord].c, TABLES[FailureRecord].c
        query = sa.select(
            calls.stage,
            calls.model,
            sa.func.sum(sa.case((calls.attempts > 0, 1), else_=0)),
            sa.func.sum(calls.prompt_tokens),
            sa.func.sum(calls.completion_tokens),
            sa.func.coalesce(sa.func.sum(calls.cost_usd), 0.0),
            sa.func.count() - sa.func.count(calls.cost_usd),
        ).group_by(calls.stage, calls.model)
        query_failed = (
            sa.select(failed.stage, failed.model, sa.func.count())
            .where(failed.kind != MADE_OF_CALLS)
            .group_by(failed.stage, failed.model)
        )
        with self._reading() as connection:
            paid = {(row[0], row[1]): row[2:] for row in connection.execute(query)}
            lost = {(stage, model): int(n) for stage, model, n in connection.execute(query_failed)}
        spent = []
        for stage, model in sorted(paid.keys() | lost.keys()):
            n, prompt, completion, usd, unpriced = paid.get((stage, model), (0, 0, 0, 0.0, 0))
            calls_made = int(n) + lost.get((stage, model), 0)
            usage = Usage(int(prompt), int(completion))
            spent.append(Spent(stage, model, calls_made, usage, float(usd), int(unpriced)))
        return tuple(spent)

    def lost(self) -> tuple[SentRecord, ...]:
        # In the database: what comes back is short, whatever the number of calls.
        sent, call, failed = TABLES[SentRecord].c, TABLES[CallRecord].c, TABLES[FailureRecord].c
        often = sa.select(
            sent.key,
            sa.func.max(sent.tokens).label("tokens"),
            sa.func.max(sent.cost_usd).label("cost_usd"),
            sa.func.count().label("times"),
        )
        asked = often.group_by(sent.key).subquery()
        in_vain = sa.select(failed.key, sa.func.count().label("times")).group_by(failed.key).subquery()
        ended = sa.func.coalesce(in_vain.c.times, 0) + sa.case((call.key.is_not(None), 1), else_=0)
        query = (
            sa.select(asked.c.key, asked.c.tokens, asked.c.cost_usd, asked.c.times - ended)
            .outerjoin_from(asked, in_vain, in_vain.c.key == asked.c.key)
            .outerjoin(TABLES[CallRecord], call.key == asked.c.key)
            .where(asked.c.times > ended)
        )
        with self._reading() as connection:
            found = connection.execute(query).all()
        return tuple(SentRecord(*row[:-1]) for row in found for _ in range(row[-1]))

    def failures(self) -> dict[str, int]:
        failed, cells = TABLES[FailureRecord].c, TABLES[EvaluationRecord].c
        requests = (
            sa.select(failed.kind, sa.func.count()).where(failed.kind != MADE_OF_CALLS).group_by(failed.kind)
        )
        scored = (
            sa.select(cells.failure, sa.func.count())
            .where(cells.failure != "", cells.score.is_not(None))
            .group_by(cells.failure)
        )
        without = (
            sa.select(cells.candidate)
            .group_by(cells.candidate, cells.split, cells.example)
            .having(sa.func.count(cells.score) == 0)
        )
        missing = sa.select(sa.literal("missing"), sa.func.count()).select_from(without.subquery())
        with self._reading() as connection:
            found = [row for query in (requests, scored, missing) for row in connection.execute(query)]
        return {kind: int(n) for kind, n in sorted(found, key=lambda row: str(row[0])) if n}

    def facts(self) -> dict[str, str]:
        with self._reading() as connection:
            return {name: value for name, value in connection.execute(sa.select(FACTS))}  # noqa: C416 - rows to str

    def state(self, facts: Mapping[str, str]) -> None:
        rows = [{"name": name, "value": value} for name, value in facts.items()]
        if not rows:
            return
        try:
            with self._engine.begin() as connection:
                connection.execute(self._insert_new(FACTS), rows)
        except sa.exc.SQLAlchemyError as error:
            raise self.unusable(error) from error

    def close(self) -> None:
        self._connections.close()


def parsed(url: str | sa.URL) -> sa.URL:
    """Read a URL; `StateError` where it is none."""
    try:
        return sa.make_url(url)
    except sa.exc.ArgumentError as error:
        raise StateError(
            "`run_dir` must be a folder or a SQLAlchemy URL such as "
            '"postgresql+psycopg://user@host/database", but it can\'t be read as one.'
        ) from error


def _tune_sqlite(connection: Any, _record: object) -> None:
    # With WAL a transaction survives the death of the process at any instruction; only a
    # power cut can lose the last ones, and it never corrupts.
    cursor = connection.cursor()
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.close()
