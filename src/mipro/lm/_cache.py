"""The response cache: answers already had, in memory and on disk.

Keys are hashes of whole requests and values are responses, as JSON, so that neither a
key nor a header can ever get in. The file is opened on first use.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import sqlite3
import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mipro.errors import UserError
from mipro.lm._types import LMResponse

if TYPE_CHECKING:
    from collections.abc import Sequence

_log = logging.getLogger("mipro.lm")

MEMORY_ENTRIES = 10_000
DISK_BYTES = 2 * 2**30
_WRITE_DELAY_S = 0.25
_BUSY_TIMEOUT_S = 5.0
_FILE = "responses-v1.sqlite3"


class ResponseCache:
    """Answers by key of their request; safe to use from any thread and process.

    A disk that fails costs answers, never a call: it is noted in the log once, and the
    cache goes on in memory.

    Args:
        path: SQLite file, or None to keep answers in memory only.
        memory_entries: How many answers to keep in memory; 10,000 by default.
        disk_bytes: Size above which the file is emptied when it is opened; 2 GiB by default.
    """

    def __init__(
        self, path: Path | None, memory_entries: float | None = None, disk_bytes: int | None = None
    ) -> None:
        self._path = path
        self._disk_bytes = DISK_BYTES if disk_bytes is None else disk_bytes
        self._limit = MEMORY_ENTRIES if memory_entries is None else memory_entries
        self._memory: OrderedDict[str, LMResponse] = OrderedDict()
        self._pending: dict[str, str] = {}
        self._lock = threading.Lock()
        self._disk_lock = threading.Lock()
        self._timer: threading.Timer | None = None
        self._connection: sqlite3.Connection | None = None
        self._broken = path is None

    def get(self, key: str) -> LMResponse | None:
        """Return the answer to the request with this key, or None."""
        with self._lock:
            response = self._memory.get(key)
            if response is not None:
                self._memory.move_to_end(key)
                return response
            text = self._pending.get(key)
        if text is None:
            text = self._read(key)
        if text is None:
            return None
        try:
            response = LMResponse.from_json(text)
        except ValueError:
            return None
        self._remember(key, response)
        return response

    def put(self, key: str, response: LMResponse) -> None:
        """Keep an answer; it is on disk a quarter of a second later, or when the process ends."""
        self._remember(key, response)
        if self._broken:
            return
        with self._lock:
            self._pending[key] = response.to_json()
            if self._timer is None:
                self._timer = threading.Timer(_WRITE_DELAY_S, self.flush)
                self._timer.daemon = True
                self._timer.start()

    def flush(self) -> None:
        """Write to disk what is waiting."""
        with self._lock:
            waiting, self._pending = self._pending, {}
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
        if not waiting:
            return
        with self._disk_lock:
            connection = self._open()
            if connection is None:
                return
            try:
                with connection:
                    connection.executemany(
                        "INSERT OR REPLACE INTO responses (key, response) VALUES (?, ?)", waiting.items()
                    )
            except sqlite3.Error as error:
                self._give_up(error)

    def reset_memory_cache(self) -> None:
        """Forget the answers in memory; those on disk stay."""
        self.flush()
        with self._lock:
            self._memory.clear()

    def clear(self) -> None:
        """Forget all answers, on disk too."""
        with self._lock:
            self._memory.clear()
            self._pending.clear()
        with self._disk_lock:
            connection = self._open()
            if connection is not None:
                try:
                    with connection:
                        connection.execute("DELETE FROM responses")
                except sqlite3.Error as error:
                    self._give_up(error)

    def close(self) -> None:
        """Write what is waiting and close the file."""
        self.flush()
        with self._disk_lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _remember(self, key: str, response: LMResponse) -> None:
        with self._lock:
            self._memory[key] = response
            self._memory.move_to_end(key)
            while len(self._memory) > self._limit:
                self._memory.popitem(last=False)

    def _read(self, key: str) -> str | None:
        with self._disk_lock:
            connection = self._open()
            if connection is None:
                return None
            try:
                row = connection.execute("SELECT response FROM responses WHERE key = ?", (key,)).fetchone()
            except sqlite3.Error as error:
                self._give_up(error)
                return None
        return None if row is None else str(row[0])

    def _open(self) -> sqlite3.Connection | None:
        if self._broken or self._path is None:
            return None
        if self._connection is None:
            try:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                connection = sqlite3.connect(self._path, timeout=_BUSY_TIMEOUT_S, check_same_thread=False)
                self._connection = connection
                connection.execute("PRAGMA journal_mode=WAL")
                # A power cut may cost the last answers, never the file.
                connection.execute("PRAGMA synchronous=NORMAL")
                connection.execute(
                    "CREATE TABLE IF NOT EXISTS responses "
                    "(key TEXT PRIMARY KEY, response TEXT NOT NULL) WITHOUT ROWID"
                )
                if self._path.stat().st_size > self._disk_bytes:
                    with connection:
                        connection.execute("DELETE FROM responses")
                    connection.execute("VACUUM")
            except (OSError, sqlite3.Error) as error:
                self._give_up(error)
        return self._connection

    def _give_up(self, error: Exception) -> None:
        self._broken = True
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(sqlite3.Error):
                connection.close()
        _log.warning("the response cache %s fails (%s); answers are kept in memory only.", self._path, error)


@dataclass(frozen=True, slots=True)
class _Plan:
    disk: bool = True
    folder: Path | None = None
    memory_entries: float | None = None
    disk_bytes: int | None = None


_plan = _Plan()
_cache: ResponseCache | None = None
_owner: tuple[int, Path, _Plan] | None = None
_open_lock = threading.Lock()


def configure_cache(
    enable_disk_cache: bool = True,
    enable_memory_cache: bool = True,
    disk_cache_dir: str | Path | None = None,
    disk_size_limit_bytes: int | None = None,
    memory_max_entries: float | None = None,
    restrict_pickle: bool = True,  # noqa: ARG001 - as in DSPy
    safe_types: Sequence[type] | None = None,  # noqa: ARG001 - as in DSPy
) -> None:
    """Say where answers are kept, for the whole process.

    Args:
        enable_disk_cache: Whether they are kept on disk.
        enable_memory_cache: Whether they are kept in memory.
        disk_cache_dir: Folder; by default MIPRO_CACHE_DIR or the platform's cache folder.
        disk_size_limit_bytes: Size above which the file is emptied when it is opened; 2 GiB
            by default.
        memory_max_entries: How many answers are kept in memory, at least 0; `math.inf` for all.
        restrict_pickle: Ignored, as is `safe_types`: no pickle is ever read, since answers are kept
            as JSON.
        safe_types: Ignored.

    Raises:
        UserError: `memory_max_entries` is below 0.
    """
    if memory_max_entries is not None and not memory_max_entries >= 0:
        raise UserError(f"`memory_max_entries` must be at least 0, but got {memory_max_entries!r}.")
    global _plan  # noqa: PLW0603 - the one place that owns it
    _plan = _Plan(
        disk=enable_disk_cache,
        folder=None if disk_cache_dir is None else Path(disk_cache_dir),
        memory_entries=memory_max_entries if enable_memory_cache else 0,
        disk_bytes=disk_size_limit_bytes,
    )


def response_cache() -> ResponseCache:
    """Return the cache of this process, in the folder that is in force."""
    global _cache, _owner
    from mipro.fetch import cache_dir  # noqa: PLC0415 - only where answers are kept

    owner = (os.getpid(), (_plan.folder or cache_dir()) / _FILE, _plan)
    if _cache is None or _owner != owner:
        with _open_lock:
            if _cache is None or _owner != owner:
                if _cache is None:
                    atexit.register(_close)
                elif _owner is not None and _owner[0] == owner[0]:
                    _cache.close()
                path = owner[1] if _plan.disk else None
                _cache, _owner = ResponseCache(path, _plan.memory_entries, _plan.disk_bytes), owner
    return _cache


def _close() -> None:
    if _cache is not None and _owner is not None and _owner[0] == os.getpid():
        _cache.close()
