"""The tables of a ledger, a record in each row, and statements as drivers take them."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from mipro.runs._records import (
    CallRecord,
    DecisionRecord,
    EvaluationRecord,
    EventRecord,
    FailureRecord,
    Record,
    SentRecord,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

MYSQL = ("mysql", "mariadb")
# MySQL's plain ones hold 64 KiB of text, and seven digits of a number; this length makes a LONGTEXT.
_TEXT = sa.Text().with_variant(sa.Text(2**32 - 1), *MYSQL)
_TYPES: dict[str, Any] = {
    "str": _TEXT,
    "int": sa.BigInteger(),
    "float": sa.Double(),
    "float | None": sa.Double(),
}
_SHORT = frozenset({"key", "candidate", "split"})
"""Columns that are looked up by, which some databases allow for texts of a known length only."""
_NAMES: dict[type[Record], str] = {
    CallRecord: "calls",
    SentRecord: "sent",
    FailureRecord: "failures",
    EvaluationRecord: "evaluations",
    DecisionRecord: "decisions",
    EventRecord: "events",
}
METADATA = sa.MetaData()
FACTS = sa.Table(
    "run", METADATA, sa.Column("name", sa.String(200), primary_key=True), sa.Column("value", _TEXT)
)


def _table(kind: type[Record]) -> sa.Table:
    # BigInteger would not become SQLite's own row number, which is what makes appending cheap.
    serial = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    columns = [
        sa.Column(
            field.name,
            sa.String(64) if field.name in _SHORT else _TYPES[str(field.type)],
            nullable="None" in str(field.type),
            unique=kind is CallRecord and field.name == "key",
        )
        for field in dataclasses.fields(kind)
    ]
    key = sa.Column("serial", serial, primary_key=True, autoincrement=True)
    table = sa.Table(_NAMES[kind], METADATA, key, *columns)
    if kind is EvaluationRecord:
        sa.Index("evaluations_of", table.c.candidate, table.c.split, table.c.example)
    return table


TABLES = {kind: _table(kind) for kind in _NAMES}
FIELDS = {kind: [field.name for field in dataclasses.fields(kind)] for kind in _NAMES}
"""Names of the fields of a record, and of the columns that hold them."""


def columns_of(kind: type[Record]) -> list[Any]:
    """Return the columns that hold a record, in the order of its fields."""
    return [TABLES[kind].c[name] for name in FIELDS[kind]]


def storable(value: Any) -> Any:
    """Return `value`, a text without what databases refuse: NUL and lone surrogates."""
    if isinstance(value, str) and ("\x00" in value or not value.isascii()):
        value = value.replace("\x00", "\\x00")
        try:
            value.encode()
        except UnicodeEncodeError:
            return value.encode("utf-8", "backslashreplace").decode()
    return value


class Statement:
    """A statement as the driver takes it, compiled once."""

    def __init__(self, statement: Any, dialect: sa.Dialect, names: Sequence[str]) -> None:
        columns = {"column_keys": list(names)} if statement.is_insert else {}
        compiled: Any = statement.compile(dialect=dialect, **columns)
        self.sql = str(compiled)
        self._names = tuple(names)
        places = compiled.positiontup if compiled.positional else None
        self._order = None if places is None else [self._names.index(name) for name in places]

    def arguments(self, values: Sequence[Any]) -> Any:
        """Return the values in the form that the driver takes."""
        if self._order is None:
            return dict(zip(self._names, values, strict=True))
        return [values[place] for place in self._order]
