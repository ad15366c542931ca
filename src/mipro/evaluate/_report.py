"""The rows of an evaluation as a table, a CSV file and a JSON file."""

from __future__ import annotations

import csv
import html
import importlib
import io
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mipro._terminal import in_notebook, printable
from mipro.errors import UserError
from mipro.evaluate._score import score_of
from mipro.example import Example

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_WORDS = 25
"""Words of a cell that a table shows, as DSPy's."""
MAX_CHARS = 1_000
"""Characters of it: data, addresses and texts in scripts such as Chinese's are one word of any length."""
MAX_DEPTH = 50
"""Values within values that a file holds as such; what lies deeper, or in itself, is text."""


def rows_of(results: Sequence[tuple[Any, Any, Any]], metric_name: str) -> list[dict[str, Any]]:
    """Return one dict for each result: fields of the example, of the prediction, and the score.

    A field that both have is called `example_NAME` and `pred_NAME`. A prediction
    without fields is the column `prediction`. Feedback of the metric is the column
    `feedback`. Raises for nothing that a program may return.
    """
    return [_row(example, prediction, score, metric_name) for example, prediction, score in results]


def _row(example: Any, prediction: Any, score: Any, metric_name: str) -> dict[str, Any]:
    given, made = _fields(example), _fields(prediction)
    row = {(f"example_{key}" if key in made else key): value for key, value in given.items()}
    row |= {(f"pred_{key}" if key in given else key): value for key, value in made.items()}
    if score is None:
        return row | {metric_name: None}
    number, feedback = score_of(score)
    if feedback:
        row["feedback"] = feedback
    return row | {metric_name: score if isinstance(score, (bool, int, float)) else number}


def _fields(record: Any) -> dict[str, Any]:
    if isinstance(record, Example):
        return {name: _opened(value) for name, value in record.items(include_dspy=True)}
    made = _opened(record)
    return (
        {_key(name): value for name, value in made.items()}
        if isinstance(made, dict)
        else {"prediction": made}
    )


def _opened(value: Any) -> Any:
    """Return a value with the records in it as dicts; as it is where one of them refuses."""
    try:
        return Example(value=value).toDict()["value"]
    except Exception:  # noqa: BLE001 - a program's own objects may raise anything, and the work is paid
        return value


def check_file(name: str, file_path: str | os.PathLike[str]) -> None:
    """Check that a file can be written, before what is to be in it is paid for.

    Args:
        name: The argument that names the file.
        file_path: The file; replaced where it exists.

    Raises:
        UserError: Its folder does not exist or can't be written, or the file is a folder.
    """
    target = Path(file_path)
    if not target.parent.is_dir():
        trouble = f"there is no folder {str(target.parent)!r}; create it first"
    elif target.is_dir():
        trouble = "that is a folder; name a file in it"
    elif not os.access(target.parent, os.W_OK | os.X_OK):
        trouble = f"the folder {str(target.parent)!r} can't be written; choose another one"
    else:
        return
    raise UserError(f"`{name}` must be a file that can be written, but got {str(target)!r}: {trouble}.")


def save_csv(rows: Sequence[dict[str, Any]], file_path: str | os.PathLike[str]) -> None:
    """Write rows as CSV; the columns are those of all rows together."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, fieldnames=_columns(rows))
    writer.writeheader()
    writer.writerows({name: None if v is None else text_of(v) for name, v in row.items()} for row in rows)
    _write(file_path, text.getvalue())


def save_json(rows: Sequence[dict[str, Any]], file_path: str | os.PathLike[str]) -> None:
    """Write rows as a JSON list of objects."""
    _write(file_path, json.dumps(_plain(rows), ensure_ascii=False, indent=1))


def show(rows: Sequence[dict[str, Any]], metric_name: str, limit: int | None) -> None:
    """Show rows as a table: in a notebook as HTML, else in the terminal.

    Args:
        rows: The rows.
        metric_name: Column of the score.
        limit: Rows to show at most; all if None.
    """
    shown = rows if limit is None else rows[:limit]
    note = f"... {len(rows) - len(shown)} more rows not displayed ..." if len(shown) < len(rows) else ""
    if in_notebook():
        notebook = importlib.import_module("IPython.display")
        notebook.display(notebook.HTML(as_html(shown, metric_name, note)))
        return
    from rich.console import Console  # noqa: PLC0415 - only where a table is asked for
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415 - as text that is data no markup

    table = Table(caption=note or None)
    columns = _columns(shown)
    for column in columns:
        table.add_column(Text(printable(column)), overflow="fold")
    for row in shown:
        table.add_row(*(Text(_cell(row.get(column), column == metric_name)) for column in columns))
    Console().print(table)


def as_html(rows: Sequence[dict[str, Any]], metric_name: str, note: str = "") -> str:
    """Return rows as an HTML table, all content escaped."""
    columns = _columns(rows)
    head = "".join(f"<th>{html.escape(printable(column))}</th>" for column in columns)
    body = "".join(
        "<tr>"
        + "".join(f"<td>{html.escape(_cell(row.get(c), c == metric_name))}</td>" for c in columns)
        + "</tr>"
        for row in rows
    )
    caption = f"<caption>{html.escape(note)}</caption>" if note else ""
    return f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _columns(rows: Sequence[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(column for row in rows for column in row))


def _cell(value: Any, is_score: bool) -> str:
    if value is None:
        return ""
    if is_score:
        shown = f"[{value:.3f}]" if isinstance(value, float) else f"[{value}]"
        return printable(f"✔️ {shown}" if value else shown)
    text = printable(text_of(value))
    words = text.split()
    shown = (" ".join(words[:MAX_WORDS]) if len(words) > MAX_WORDS else text)[:MAX_CHARS]
    return shown if shown == text else f"{shown}..."


def _plain(value: Any, within: tuple[int, ...] = ()) -> Any:
    """Return what JSON holds of a value: text where it holds no such thing. Raises for nothing."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if id(value) in within or len(within) >= MAX_DEPTH:
        return text_of(value)
    try:
        return _inside(value, (*within, id(value)))
    except Exception:  # noqa: BLE001 - a program's own objects may raise anything, and the work is paid
        return text_of(value)


def _inside(value: Any, within: tuple[int, ...]) -> Any:
    if isinstance(value, Mapping):
        named: dict[str, Any] = {}
        for key, item in value.items():
            name = _key(key)
            named[repr(key) if name in named else name] = _plain(item, within)  # 1 and "1" are two keys
        return named
    if isinstance(value, (set, frozenset)):
        value = sorted(value, key=repr)
    if isinstance(value, (list, tuple)):
        return [_plain(item, within) for item in value]
    for name in ("toDict", "model_dump"):
        convert = getattr(value, name, None)
        if convert is not None:
            return _plain(convert(), within)
    return text_of(value)


def _key(key: Any) -> str:
    if isinstance(key, str):
        return key
    return json.dumps(key) if key is None or isinstance(key, (bool, int, float)) else text_of(key)


def text_of(value: Any) -> str:
    """Return the text of any value, or its class where it has none."""
    try:
        return str(value)
    except Exception:  # noqa: BLE001 - a program's own objects may raise anything
        return f"<{type(value).__qualname__}>"


def _write(file_path: str | os.PathLike[str], text: str) -> None:
    target = Path(file_path)
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        # Half a surrogate pair has no bytes in UTF-8, and one in a file keeps readers from all of it.
        part.write_bytes(text.encode("utf-8", "backslashreplace"))
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
