"""Programs on disk: the state that an optimizer has set, as JSON."""

from __future__ import annotations

import json
import math
import os
import pathlib
import secrets
import shutil
from typing import Any

from mipro.adapters import as_plain
from mipro.errors import StateError, UserError
from mipro.example import Example

# Version of the layout below; raised when an older mipro could no longer read it.
SCHEMA_VERSION = 1
_METADATA = "metadata"
NOT_LOST = (
    " What MIPROv2 found is not lost if the process ends here: with the `run_dir` that its run told of, "
    "`compile` returns it again without a call."
)
"""Added where a program can't be saved as was asked for: what made it may have cost hours."""


def write_state(state: dict[str, Any], path: str | os.PathLike[str], *, signatures: dict[str, str]) -> None:
    """Write a program's state whole or not at all; the same state gives the same bytes.

    Args:
        state: The state.
        path: The file.
        signatures: "question -> answer" by name of the predictor, to tell programs apart.

    Raises:
        UserError: `path` asks for a pickle or is a directory.
        StateError: The state holds what JSON can't.
    """
    target = _checked(path, NOT_LOST)
    # DSPy reads `dependency_versions`; empty, so that nothing in the file depends on the machine.
    metadata = {"schema_version": SCHEMA_VERSION, "predictors": signatures, "dependency_versions": {}}
    document = {**state, _METADATA: metadata}
    try:
        text = json.dumps(_finite(document), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    except (TypeError, ValueError) as error:
        raise StateError(f"the state of this program can't be written as JSON: {error}.") from error
    if target.is_dir():
        raise UserError(f"`path` must be a file, but {str(path)!r} is a directory.")
    target.parent.mkdir(parents=True, exist_ok=True)
    # Not by `tempfile`, whose files are the owner's alone: who may read it is for the user to say.
    beside = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        with beside.open("xb") as file:
            # Half a surrogate pair, which UTF-8 has no bytes for, becomes JSON's escape for it.
            file.write(text.encode("utf-8", "backslashreplace"))
        if target.exists():
            shutil.copymode(target, beside)
        os.replace(beside, target)  # noqa: PTH105 - atomic, and named as what it is
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def read_state(path: str | os.PathLike[str], *, signatures: dict[str, str]) -> dict[str, Any]:
    """Return the state that `write_state`, or DSPy, wrote.

    Args:
        path: The file.
        signatures: Those of the program that the state is for.

    Raises:
        UserError: There is no such file, or it is a pickle.
        StateError: It is no program, or of a newer version.
    """
    source = _checked(path)
    try:
        # An editor may have put a byte order mark before what a person has changed by hand.
        state = json.loads(source.read_bytes().decode("utf-8", "surrogatepass").removeprefix("\ufeff"))
    except (FileNotFoundError, IsADirectoryError) as error:
        raise UserError(f"there is no saved program at {str(path)!r}.") from error
    except (ValueError, RecursionError) as error:
        raise StateError(f"{str(path)!r} is not a saved program: {error}.") from error
    if not isinstance(state, dict):
        raise StateError(f"{str(path)!r} is not a saved program: it must be a JSON object.")
    metadata = state.pop(_METADATA, None)
    version = metadata.get("schema_version", 1) if isinstance(metadata, dict) else 1
    if not isinstance(version, int) or version > SCHEMA_VERSION:
        raise StateError(
            f"{str(path)!r} was written by a newer mipro (schema version {version!r}, this one reads up to "
            f"{SCHEMA_VERSION}); update with `pip install -U mipro`."
        )
    saved = metadata.get("predictors", signatures) if isinstance(metadata, dict) else signatures
    if saved != signatures:
        raise StateError(
            f"{str(path)!r} is of another program: it has the predictors {saved}, but this one {signatures}."
        )
    return state


def _checked(path: str | os.PathLike[str], hint: str = "") -> pathlib.Path:
    if pathlib.Path(path).suffix in (".pkl", ".pickle"):
        raise UserError(
            f"`path` must be a JSON file, but got {str(path)!r}: a pickle runs code when it is loaded, "
            f"so mipro neither writes nor reads one; use an ending such as `.json`.{hint}"
        )
    return pathlib.Path(path).expanduser()


def serialize_record(record: Example | dict[str, Any]) -> dict[str, Any]:
    """Return an example or a demo as a dict of what JSON can hold; its names are left as they are."""
    items = record.items(include_dspy=True) if isinstance(record, Example) else record.items()
    return {name: serialize_object(part) for name, part in items}


def serialize_object(value: Any) -> Any:
    """Return `value` as JSON can hold it: records as dicts, the rest as pydantic writes it."""
    if isinstance(value, Example):
        return serialize_record(value)
    if isinstance(value, dict):
        # As they stand in a prompt: a file knows fewer kinds of keys, and writes some of them otherwise.
        keys = as_plain(dict.fromkeys(value))
        if not isinstance(keys, dict) or len(keys) != len(value):
            return as_plain(value)
        return {key: serialize_object(part) for key, part in zip(keys, value.values(), strict=True)}
    if isinstance(value, (list, tuple)):
        return [serialize_object(part) for part in value]
    return as_plain(value)


def _finite(value: Any) -> Any:
    """Return `value` with infinity and NaN, which JSON has not and DSPy does not read, as texts."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {key: _finite(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(part) for part in value]
    return value


def refuse_whole_program() -> None:
    """Raise that a whole program is not saved.

    Raises:
        UserError: Always.
    """
    raise UserError(
        "`save_program=True` must stay False: a whole program can only be saved as a pickle, which runs code "
        "when it is loaded; save its state (`program.save('program.json')`) and load it into a new "
        f"program.{NOT_LOST}"
    )


def check_names(state: dict[str, Any], names: list[str]) -> None:
    """Check that a state belongs to a program with these predictors.

    Raises:
        StateError: It is of another program; what differs is named.
    """
    if not isinstance(state, dict):
        raise StateError(f"a program's state must be a dict, but got {type(state).__name__}.")
    missing = [name for name in names if name not in state]
    unknown = [name for name in state if name not in names and name != _METADATA]
    if missing or unknown:
        raise StateError(
            f"the state is of another program: it lacks the predictors {missing} and has the unknown "
            f"{unknown}; this program has {names}. Load it into a program of the same structure."
        )
