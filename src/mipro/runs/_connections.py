"""Connections to a ledger's database, made anew where a server was away for a while."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any, TypeVar

import sqlalchemy as sa

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

logger = logging.getLogger("mipro")

PATIENCE_S = 60.0
"""Seconds that a server may be away: a managed database is restarted or replaced within less."""
GUARD_S = 30.0
"""Seconds after which the guard is asked again; what is idle for longer some servers and networks cut."""
_FIRST_WAIT_S = 0.1
_LONGEST_WAIT_S = 5.0


class _AwayError(Exception):
    """The server has gone, or is not there yet."""


class Connections:
    """Connections of the driver's: SQLAlchemy's own way costs more than the rest of an evaluation.

    Those to a file go back to no pool, which would take as long as what is done with them.
    """

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._is_server = engine.dialect.name != "sqlite"
        self._keeps = not self._is_server and isinstance(engine.pool, sa.QueuePool)
        self._idle: deque[Any] = deque()
        self._driver_error: type[Exception] = getattr(engine.dialect.dbapi, "Error", sa.exc.DBAPIError)
        self.errors = (sa.exc.SQLAlchemyError, self._driver_error)
        """What `work` raises where the database can't be used."""
        self._lock = threading.Lock()
        self.guard: Callable[[], None] | None = None
        """Called before a server is used, where it was away or that was long ago; what it raises ends the
        work."""
        self._guarded_at = time.monotonic()

    def work(self, do: Callable[[Any], T], *, again: Callable[[Any], T] | None = None) -> T:
        """Return what `do` returns for a cursor, in a transaction of its own.

        Where the connection is lost, it is done again with another one, for as long as `PATIENCE_S`.

        Args:
            do: The work.
            again: The work where it may have been done: a connection that is lost in the middle of a commit
                does not tell. Given for work that changes something; what does not may be repeated.

        Raises:
            errors: It failed, and would fail again.
        """
        since, wait = time.monotonic(), 0.0
        while True:
            try:
                if not wait:
                    return self._once(do, commit=again is not None)
                return self._once(again or do, commit=again is not None, regain=True)
            except _AwayError as away:
                cause = away.__cause__
                if time.monotonic() - since > PATIENCE_S and cause is not None:
                    raise cause from None
                if not wait:
                    logger.warning(
                        "the connection to the ledger's database is lost (%s); trying for %d seconds to make "
                        "a new one.",
                        type(cause).__name__,
                        PATIENCE_S,
                    )
            wait = min(2 * wait or _FIRST_WAIT_S, _LONGEST_WAIT_S)
            time.sleep(wait)

    def _once(self, do: Callable[[Any], T], *, commit: bool, regain: bool = False) -> T:
        connection = self._connection(regain=regain)
        try:
            cursor = connection.cursor()
            done = do(cursor)
            cursor.close()
            if commit:
                connection.commit()
        except BaseException as error:
            if not self._is_lost(connection, error):
                connection.close()
                raise
            connection.invalidate()
            self._engine.dispose()  # the others are as old
            raise _AwayError from error
        if self._keeps:
            self._idle.append(connection)
        else:
            connection.close()
        return done

    def _is_lost(self, connection: Any, error: BaseException) -> bool:
        dialect: Any = self._engine.dialect
        return isinstance(error, self._driver_error) and bool(
            dialect.is_disconnect(error, connection.dbapi_connection, None)
        )

    def _connection(self, *, regain: bool) -> Any:
        with contextlib.suppress(IndexError):
            return self._idle.pop()
        try:
            if self.guard is not None:
                with self._lock:
                    if regain or time.monotonic() - self._guarded_at >= GUARD_S:
                        self.guard()
                        self._guarded_at = time.monotonic()
            return self._engine.raw_connection()
        except sa.exc.OperationalError as error:
            if self._is_server:
                raise _AwayError from error
            raise

    def close(self) -> None:
        """Release connections and files."""
        while self._idle:
            self._idle.pop().close()
        self._engine.dispose()
