"""Where fetched files live, and the one way a file gets there: whole, verified, at once."""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mipro.errors import DownloadError, IntegrityError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

CHUNK = 1 << 20
"""Bytes read at a time."""


@dataclass(frozen=True, slots=True)
class Item:
    """A file that can be fetched: its name in the cache and what it must be."""

    name: str
    """What callers call it, for example "smollm2-135m-instruct"."""
    path: str
    """Its place below the cache folder, with forward slashes."""
    sha256: str
    """SHA-256 of the whole file, hex."""
    size: int
    """Length of the file in bytes."""


class ShortReadError(OSError):
    """A source stopped before the end of the file."""


def cache_dir() -> Path:
    """Return the folder of fetched files; it need not exist yet.

    It is `MIPRO_CACHE_DIR` where that variable is set, else the platform's user
    cache folder for mipro.
    """
    given = os.environ.get("MIPRO_CACHE_DIR")
    if given:
        return Path(given).expanduser()
    import platformdirs  # noqa: PLC0415 - only when no folder was named

    return Path(platformdirs.user_cache_dir("mipro", appauthor=False))


def place(item: Item) -> Path:
    """Return where `item` is or will be."""
    return cache_dir().joinpath(*item.path.split("/"))


def is_whole(item: Item) -> bool:
    """Tell whether `item` is in the cache with its full length.

    Only verified files get their final name, so the length is enough to notice a
    file that was changed later by accident; `is_intact` reads it all.
    """
    try:
        return place(item).stat().st_size == item.size
    except OSError:
        return False


def is_intact(item: Item) -> bool:
    """Tell whether `item` is in the cache with the right SHA-256."""
    if not is_whole(item):
        return False
    digest = hashlib.sha256()
    with place(item).open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest() == item.sha256


def deposit(item: Item, chunks: Iterable[bytes]) -> Path:
    """Write `chunks` as `item`, verify them, and only then give the file its name.

    The caller holds `locked(item)`.

    Args:
        item: What the bytes must be.
        chunks: The bytes, in order.

    Returns:
        The path of the file.

    Raises:
        IntegrityError: The bytes are not those of `item`; nothing is kept.
        ShortReadError: There were too few bytes; nothing is kept.
        DownloadError: The cache folder can't be written.
    """
    target = place(item)
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        written, digest = _write(item, chunks, part)
        if written < item.size:
            raise ShortReadError(f"ended after {written} of {item.size} bytes")
        if written > item.size or digest != item.sha256:
            raise IntegrityError(
                f"`{item.name}` must have {item.size} bytes with SHA-256 {item.sha256}, but got "
                f"{'more' if written > item.size else written} bytes with SHA-256 {digest}; nothing was kept."
            )
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    return target


def _write(item: Item, chunks: Iterable[bytes], part: Path) -> tuple[int, str]:
    digest = hashlib.sha256()
    written = 0
    with _writing(part):
        file = part.open("wb")
    with file:
        for chunk in chunks:
            digest.update(chunk)
            with _writing(part):
                file.write(chunk)
            written += len(chunk)
            if written > item.size:
                break
        with _writing(part):
            file.flush()
            os.fsync(file.fileno())
    return written, digest.hexdigest()


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of `path`, so that only one process at a time fetches it.

    Parts that a killed process left behind are removed.

    Raises:
        DownloadError: The cache folder can't be written.
    """
    with _writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = path.with_name(f".{path.name}.lock").open("ab")
    with handle:
        _lock(handle.fileno())
        for stale in path.parent.glob(f".{path.name}.*.part"):
            stale.unlink(missing_ok=True)
        yield  # closing the handle gives the lock back, as does the end of the process


def _lock(descriptor: int) -> None:
    if sys.platform == "win32":
        import msvcrt  # noqa: PLC0415 - this platform only

        locked = False
        while not locked:
            with contextlib.suppress(OSError):  # it gives up after ten tries, one a second
                msvcrt.locking(descriptor, msvcrt.LK_LOCK, 1)
                locked = True
        return
    import fcntl  # noqa: PLC0415 - this platform only

    fcntl.flock(descriptor, fcntl.LOCK_EX)


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Tell a fault of the cache folder from a fault of the source, which is an OSError too."""
    try:
        yield
    except OSError as error:
        folder = str(path.parent)
        raise DownloadError(
            f"the cache folder {folder!r} must be writable and have room, but got: {error}; "
            "free some space or set MIPRO_CACHE_DIR to another folder."
        ) from error
