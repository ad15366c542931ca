"""Where a run is: a folder or a database, used by one process at a time."""

from __future__ import annotations

import logging
import os
import re
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import filelock
import platformdirs
import sqlalchemy as sa

from mipro.errors import StateError, UserError
from mipro.runs._sql import SQLStore, parsed

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Literal

    from mipro.runs._store import Store

logger = logging.getLogger("mipro")

LEDGER = "ledger.sqlite"
LOCK = "run.lock"
ADVISORY_LOCK = 0x6D6970726F
"""Number of the lock that PostgreSQL holds for as long as the process is connected: "mipro"."""
# Drivers take a password as `password`, `passwd` or `sslpassword`, ODBC's within a text of its own.
_SECRET_IN_QUERY = re.compile(
    r"(?<=[?&])([^=&]*(?:passw|pwd|passphrase|secret|token|private_key|odbc_connect)[^=&]*=)[^&]*",
    re.IGNORECASE,
)


def as_text(run_dir: str | os.PathLike[str]) -> str:
    """Return a place as text, with the user's home in place of a leading `~`.

    Raises:
        UserError: It is neither a folder nor a URL.
    """
    if not isinstance(run_dir, (str, os.PathLike)):
        raise UserError(f"`run_dir` must be a folder or a SQLAlchemy URL, but got {run_dir!r}.")
    return os.path.expanduser(os.fspath(run_dir))  # noqa: PTH111 - other than Path's, leaves URLs as they are


def is_url(run_dir: str) -> bool:
    """Tell a SQLAlchemy URL from a folder."""
    return "://" in run_dir


def shown(run_dir: str) -> str:
    """Return the place as it may be shown and kept: without a password, wherever it is in a URL."""
    if not is_url(run_dir):
        return run_dir
    return _SECRET_IN_QUERY.sub(r"\1***", sa.make_url(run_dir).render_as_string(hide_password=True))


def open_place(run_dir: str) -> tuple[Store, Callable[[], None]]:
    """Open a ledger for writing; returns it with the function that gives the place free.

    Raises:
        StateError: The place can't be used, or another process uses it.
    """
    return _open_database(run_dir) if is_url(run_dir) else _open_folder(run_dir)


def _open_folder(run_dir: str) -> tuple[Store, Callable[[], None]]:
    folder = Path(run_dir)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        release = _lock_file(folder / LOCK, run_dir)
    except OSError as error:
        raise StateError(
            f"`run_dir` must be a folder that can be written, but {run_dir!r} is not: {error}. "
            "Give another run_dir."
        ) from error
    try:
        # Not a URL as text: a folder's name may hold `?`, `#` or `%`.
        return SQLStore(sa.URL.create("sqlite", database=str(folder / LEDGER))), release
    except StateError:
        release()
        raise


def _open_database(url: str) -> tuple[Store, Callable[[], None]]:
    parts = parsed(url)
    if parts.get_backend_name() == "sqlite" and _is_in_memory(parts):
        raise StateError(
            f"`run_dir` must be a place that lasts, but {shown(url)!r} is a database in memory, which every "
            "thread has one of; give a folder, or leave `run_dir` out."
        )
    store = SQLStore(url)
    try:
        return store, _lock_database(parts, store)
    except sa.exc.SQLAlchemyError as error:  # as where the server has no room for one connection more
        store.close()
        raise store.unusable(error) from error
    except BaseException:
        store.close()
        raise


def _is_in_memory(url: sa.URL) -> bool:
    return url.query.get("mode") == "memory" or ":memory:" in (url.database or ":memory:")


def _lock_database(url: sa.URL, store: SQLStore) -> Callable[[], None]:
    backend, where = url.get_backend_name(), shown(url.render_as_string(hide_password=False))
    if backend == "postgresql":
        lock = _PostgresLock(url)
        store.guard(lock.keep)
        return lock.release
    if backend == "sqlite":
        return _lock_file(Path(f"{url.database}.lock"), where)
    logger.warning(
        "nothing keeps a second process out of the run in %s: there are locks for folders, SQLite and "
        "PostgreSQL only; see to it that one process at a time uses it.",
        where,
    )
    return lambda: None


def _lock_file(path: Path, where: str) -> Callable[[], None]:
    # Whoever closes a run may do so in another thread than it was opened in.
    lock = filelock.FileLock(path, thread_local=False)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout as error:
        raise _in_use(where) from error
    return lock.release


class _PostgresLock:
    """A lock that the server holds for as long as this connection lasts.

    Raises:
        StateError: Another process holds it.
    """

    def __init__(self, url: sa.URL) -> None:
        self._where = shown(url.render_as_string(hide_password=False))
        self._engine = sa.create_engine(url, poolclass=sa.NullPool, isolation_level="AUTOCOMMIT")
        self._take()

    def _take(self) -> None:
        with ExitStack() as stack:
            self._connection = stack.enter_context(self._engine.connect())
            free = sa.select(sa.func.pg_try_advisory_lock(ADVISORY_LOCK))
            if not self._connection.execute(free).scalar_one():
                raise _in_use(self._where)
            stack.pop_all()

    def keep(self) -> None:
        """Take it once more where the connection was lost.

        Raises:
            StateError: Another process has taken it in the meantime.
        """
        try:
            self._connection.execute(sa.select(1))
        except sa.exc.SQLAlchemyError:
            self.release()
            self._take()

    def release(self) -> None:
        """Give it free."""
        with suppress(sa.exc.SQLAlchemyError):  # lost with the connection
            self._connection.close()


def _in_use(where: str) -> StateError:
    return StateError(
        f"the run in {where} must be used by one process at a time, but another one is using it now; "
        "wait for it to end, or give another run_dir."
    )


def choose_run_dir(
    run_dir: str | os.PathLike[str] | None, *, name: str, resume: bool | Literal["fresh"]
) -> str:
    """Return the place of a run.

    Args:
        run_dir: As given by the user; None for a new folder in `MIPRO_DATA_DIR`, else in the
            user's data folder.
        name: Part of a new folder's name.
        resume: True for `run_dir` itself, "fresh" for a new folder beside it where it is in use.

    Raises:
        UserError: `resume` is something else, a database is to be started afresh, or `run_dir` is
            neither a folder nor a URL.
    """
    if resume is not True and resume != "fresh":
        raise UserError(f'`resume` must be True or "fresh", but got {resume!r}.')
    if run_dir is None:
        data = os.environ.get("MIPRO_DATA_DIR") or platformdirs.user_data_dir("mipro", appauthor=False)
        return _unused(Path(as_text(data)) / "runs" / f"{time.strftime('%Y%m%d-%H%M%S')}-{name}")
    run_dir = as_text(run_dir)
    if resume == "fresh":
        if is_url(run_dir):
            raise UserError(
                f'`resume="fresh"` must be given with a folder, but run_dir is {shown(run_dir)!r}; '
                "give the URL of an empty database."
            )
        return _unused(Path(run_dir))
    return run_dir


def _unused(folder: Path) -> str:
    """Return a folder that was not there, made now: of several runs that begin at once each has its own."""
    if folder.name in {"", ".."}:  # nothing to put a number behind
        folder = folder.resolve()
    number, candidate = 1, folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        while True:
            with suppress(FileExistsError):
                candidate.mkdir()
                return str(candidate)
            number += 1
            candidate = folder.with_name(f"{folder.name}-{number}")
    except OSError:  # who opens it says why it can't be
        return str(candidate)
