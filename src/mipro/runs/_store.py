"""Where a ledger is kept: append-only tables behind one small interface."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import event as sa_event

from mipro.errors import StateError
from mipro.lm import Usage
from mipro.runs._records import CallRecord, DecisionRecord, EvaluationRecord, EventRecord, Record, Spent

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

R = TypeVar("R", CallRecord, EvaluationRecord, DecisionRecord, EventRecord)

FORMAT = 1
"""Version of the tables. A ledger of a newer format is refused."""


class Store(ABC):
    """Append-only storage of one run's records.

    What `append` returned from is kept, whatever happens to the process afterwards.
    All methods may be called from any thread.
    """

    @abstractmethod
    def append(self, records: Sequence[Record]) -> None:
        """Keep all `records` or, where it raises, none.

        A second `CallRecord` of the same key is dropped: the first answer stands.

        Raises:
            StateError: The storage can't be written.
        """

    @abstractmethod
    def find_call(self, key: str) -> CallRecord | None:
        """Return the answered call of that key."""

    @abstractmethod
    def find_evaluations(
        self, candidate: str, split: str, examples: Sequence[int]
    ) -> dict[int, EvaluationRecord]:
        """Return the evaluations with a score, by example."""

    @abstractmethod
    def read(self, kind: type[R]) -> Iterator[R]:
        """Yield all records of a kind in the order they were appended."""

    @abstractmethod
    def count(self, kind: type[Record]) -> int:
        """Return the number of records of a kind."""

    @abstractmethod
    def spent(self) -> tuple[Spent, ...]:
        """Return what was paid, by stage and model."""

    @abstractmethod
    def facts(self) -> dict[str, str]:
        """Return what `state` kept."""

    @abstractmethod
    def state(self, facts: Mapping[str, str]) -> None:
        """Keep facts about the run by name; a name stated before keeps its first value."""

    @abstractmethod
    def close(self) -> None:
        """Release connections and files."""


_TYPES: dict[str, Any] = {"str": sa.Text, "int": sa.BigInteger, "float": sa.Float, "float | None": sa.Float}
_NAMES: dict[type[Record], str] = {
    CallRecord: "calls",
    EvaluationRecord: "evaluations",
    DecisionRecord: "decisions",
    EventRecord: "events",
}
_metadata = sa.MetaData()
_facts = sa.Table(
    "run", _metadata, sa.Column("name", sa.String(200), primary_key=True), sa.Column("value", sa.Text)
)


def _table(kind: type[Record]) -> sa.Table:
    # BigInteger would not become SQLite's own row number, which is what makes appending cheap.
    serial = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    columns = [
        sa.Column(
            field.name,
            sa.String(64) if field.name in {"key", "candidate"} else _TYPES[str(field.type)],
            nullable="None" in str(field.type),
            unique=field.name == "key",
        )
        for field in dataclasses.fields(kind)
    ]
    key = sa.Column("serial", serial, primary_key=True, autoincrement=True)
    table = sa.Table(_NAMES[kind], _metadata, key, *columns)
    if kind is EvaluationRecord:
        sa.Index("evaluations_of", table.c.candidate, table.c.split, table.c.example)
    return table


_tables = {kind: _table(kind) for kind in _NAMES}


class SQLStore(Store):
    """A ledger in any database that SQLAlchemy speaks to; SQLite by default.

    Args:
        url: A SQLAlchemy URL, for example "sqlite:////home/me/run/ledger.sqlite".

    Raises:
        StateError: The database can't be opened or written, is not a ledger, or is
            one of a newer format.
    """

    def __init__(self, url: str) -> None:
        self._url = sa.make_url(url)
        self._engine = sa.create_engine(self._url)
        if self._engine.dialect.name == "sqlite":
            sa_event.listen(self._engine, "connect", _tune_sqlite)
        self._auto = self._engine.execution_options(isolation_level="AUTOCOMMIT")
        try:
            self._check_or_create()
        except sa.exc.DatabaseError as error:
            self._engine.dispose()
            raise self._unusable(error) from error

    def _check_or_create(self) -> None:
        existing = set(sa.inspect(self._engine).get_table_names())
        if existing and _facts.name not in existing:
            raise StateError(
                f"{self} must be a ledger of mipro or empty, but it holds the tables "
                f"{sorted(existing)}; choose another run_dir."
            )
        if self._engine.dialect.name == "sqlite":
            # Readers never block the writer. The mode is a property of the file, so not before the check.
            with self._auto.connect() as connection:
                connection.exec_driver_sql("PRAGMA journal_mode=WAL")
        _metadata.create_all(self._engine)
        self.state({"format": str(FORMAT)})
        found = self.facts()["format"]
        if found != str(FORMAT):
            raise StateError(
                f"{self} has format {found}, but this version of mipro reads format {FORMAT}; "
                "use the version of mipro that wrote it, or another run_dir."
            )

    def __repr__(self) -> str:
        return f"SQLStore({self._url.render_as_string(hide_password=True)!r})"

    def _unusable(self, error: Exception) -> StateError:
        reason = getattr(error, "orig", None) or error
        return StateError(
            f"{self!r} can't be used as a ledger: {reason}. Check that the place exists, can be "
            "written, has room and is a ledger of mipro; nothing in it was changed."
        )

    def append(self, records: Sequence[Record]) -> None:
        by_kind: dict[type[Record], list[dict[str, Any]]] = {}
        for record in records:
            row = {name: getattr(record, name) for name in record.__slots__}
            by_kind.setdefault(type(record), []).append(row)
        try:
            with self._engine.begin() as connection:
                for kind, rows in by_kind.items():
                    connection.execute(self._insert(kind), rows)
        except sa.exc.DatabaseError as error:
            raise self._unusable(error) from error

    def _insert(self, kind: type[Record]) -> Any:
        if kind is not CallRecord:
            return sa.insert(_tables[kind])
        return self._insert_new(_tables[kind])

    def _insert_new(self, table: sa.Table) -> Any:
        if self._engine.dialect.name == "postgresql":
            from sqlalchemy.dialects.postgresql import insert as pg_insert  # noqa: PLC0415 - one backend

            return pg_insert(table).on_conflict_do_nothing()
        if self._engine.dialect.name in {"mysql", "mariadb"}:
            return sa.insert(table).prefix_with("IGNORE")
        return sa.insert(table).prefix_with("OR IGNORE", dialect="sqlite")

    def find_call(self, key: str) -> CallRecord | None:
        table = _tables[CallRecord]
        with self._auto.connect() as connection:
            row = connection.execute(sa.select(*_columns(CallRecord)).where(table.c.key == key)).first()
        return CallRecord(*row) if row else None

    def find_evaluations(
        self, candidate: str, split: str, examples: Sequence[int]
    ) -> dict[int, EvaluationRecord]:
        table = _tables[EvaluationRecord]
        wanted = set(examples)
        query = sa.select(*_columns(EvaluationRecord)).where(
            table.c.candidate == candidate, table.c.split == split, table.c.score.is_not(None)
        )
        with self._auto.connect() as connection:
            rows = [EvaluationRecord(*row) for row in connection.execute(query)]
        return {record.example: record for record in reversed(rows) if record.example in wanted}

    def read(self, kind: type[R]) -> Iterator[R]:
        query = sa.select(*_columns(kind)).order_by(_tables[kind].c.serial)
        with self._auto.connect() as connection:
            for row in connection.execution_options(yield_per=1000).execute(query):
                yield kind(*row)

    def count(self, kind: type[Record]) -> int:
        with self._auto.connect() as connection:
            return int(connection.execute(sa.select(sa.func.count()).select_from(_tables[kind])).scalar_one())

    def spent(self) -> tuple[Spent, ...]:
        calls = _tables[CallRecord].c
        query = (
            sa.select(
                calls.stage,
                calls.model,
                sa.func.sum(calls.attempts),
                sa.func.sum(calls.prompt_tokens),
                sa.func.sum(calls.completion_tokens),
                sa.func.coalesce(sa.func.sum(calls.cost_usd), 0.0),
                sa.func.count() - sa.func.count(calls.cost_usd),
            )
            .group_by(calls.stage, calls.model)
            .order_by(calls.stage, calls.model)
        )
        with self._auto.connect() as connection:
            rows = connection.execute(query).all()
        return tuple(
            Spent(stage, model, int(n), Usage(int(prompt), int(completion)), float(usd), int(unpriced))
            for stage, model, n, prompt, completion, usd, unpriced in rows
        )

    def facts(self) -> dict[str, str]:
        with self._auto.connect() as connection:
            return {name: value for name, value in connection.execute(sa.select(_facts))}  # noqa: C416 - rows to str

    def state(self, facts: Mapping[str, str]) -> None:
        rows = [{"name": name, "value": value} for name, value in facts.items()]
        try:
            with self._engine.begin() as connection:
                connection.execute(self._insert_new(_facts), rows)
        except sa.exc.DatabaseError as error:
            raise self._unusable(error) from error

    def close(self) -> None:
        self._engine.dispose()


def _columns(kind: type[Record]) -> list[Any]:
    return [_tables[kind].c[field.name] for field in dataclasses.fields(kind)]


def _tune_sqlite(connection: Any, _record: object) -> None:
    # With WAL a transaction survives the death of the process at any instruction; only a
    # power cut can lose the last ones, and it never corrupts.
    cursor = connection.cursor()
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.close()
