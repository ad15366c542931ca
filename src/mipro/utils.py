"""Odds and ends under the names that users of DSPy import them from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from mipro import callback, errors
from mipro._paths import lend
from mipro.adapters import _tool
from mipro.callback import BaseCallback, with_callbacks
from mipro.context import settings
from mipro.errors import DownloadError, UserError
from mipro.fetch._http import READ_LIMIT_S, opened, read_all
from mipro.lm import _history, _usage
from mipro.lm._history import pretty_print_history
from mipro.modules import _asyncify, _parallel
from mipro.testing import lms
from mipro.testing.lms import DummyLM

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable

__all__ = [
    "BaseCallback",
    "DummyLM",
    "deduplicate",
    "dotdict",
    "download",
    "pretty_print_history",
    "settings",
    "with_callbacks",
]

HashableT = TypeVar("HashableT", bound="Hashable")

__path__ = lend(
    __name__,
    asyncify=_asyncify,
    callback=callback,
    dummies=lms,
    exceptions=errors,
    inspect_history=_history,
    langchain_tool=_tool,
    mcp=_tool,
    parallelizer=_parallel,
    syncify=_asyncify,
    usage_tracker=_usage,
)


class dotdict(dict[str, Any]):  # noqa: N801 - DSPy's name
    """A dict whose keys are attributes too, such as `long_text` of a retrieved passage."""

    def __getattr__(self, key: str) -> Any:
        try:
            return self[key]
        except KeyError as error:
            raise AttributeError(f"`dotdict` object has no attribute '{key}'.") from error

    def __setattr__(self, key: str, value: Any) -> None:
        self[key] = value

    def __delattr__(self, key: str) -> None:
        del self[key]


def deduplicate(seq: Iterable[HashableT]) -> list[HashableT]:
    """Return the items, each the first time it occurs."""
    return list(dict.fromkeys(seq))


def download(url: str) -> None:
    """Fetch a file into the current folder, unless it is there in its whole length.

    Args:
        url: Where it is; the last part of the address becomes its name.

    Raises:
        UserError: The address ends in no name.
        DownloadError: The file did not arrive whole; what was there before still is.
    """
    path = Path(url.rpartition("/")[2])
    if not path.name:
        raise UserError(f"`url` must end in the name of a file, but got {url!r}.")
    part = path.with_name(f"{path.name}.part")
    try:
        with opened(url, limit_s=READ_LIMIT_S) as response:
            size = int(response.headers.get("Content-Length", -1))
            if path.is_file() and path.stat().st_size == size:
                return
            with part.open("wb") as file:
                file.writelines(read_all(response))
        if size not in (-1, part.stat().st_size):
            raise DownloadError(f"{url!r} ended after {part.stat().st_size} of {size} bytes; run it again.")
        part.replace(path)
    except (OSError, ValueError) as error:
        raise DownloadError(f"{url!r} could not be fetched: {error}; check address and network.") from error
    finally:
        part.unlink(missing_ok=True)
