"""The rows of an evaluation as a table, a CSV file and a JSON file."""

from __future__ import annotations

import csv
import html
import importlib
import io
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mipro.evaluate._score import score_of

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_WORDS = 25
"""Words of a cell that a table shows, as DSPy's."""


def rows_of(results: Sequence[tuple[Any, Any, Any]], metric_name: str) -> list[dict[str, Any]]:
    """Return one dict for each result: fields of the example, of the prediction, and the score.

    A field that both have is called `example_NAME` and `pred_NAME`. A prediction
    without fields is the column `prediction`. Feedback of the metric is the column
    `feedback`.
    """
    return [_row(example, prediction, score, metric_name) for example, prediction, score in results]


def _row(example: Any, prediction: Any, score: Any, metric_name: str) -> dict[str, Any]:
    given = example.toDict()
    if hasattr(prediction, "toDict"):
        made = prediction.toDict()
    else:
        made = dict(prediction) if isinstance(prediction, dict) else {"prediction": prediction}
    row = {(f"example_{key}" if key in made else key): value for key, value in given.items()}
    row |= {(f"pred_{key}" if key in given else key): value for key, value in made.items()}
    if score is None:
        return row | {metric_name: None}
    number, feedback = score_of(score)
    if feedback:
        row["feedback"] = feedback
    return row | {metric_name: score if isinstance(score, (bool, int, float)) else number}


def save_csv(rows: Sequence[dict[str, Any]], file_path: str | os.PathLike[str]) -> None:
    """Write rows as CSV; the columns are those of all rows together."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, fieldnames=_columns(rows))
    writer.writeheader()
    writer.writerows(rows)
    _write(file_path, text.getvalue())


def save_json(rows: Sequence[dict[str, Any]], file_path: str | os.PathLike[str]) -> None:
    """Write rows as a JSON list of objects."""
    _write(file_path, json.dumps(rows, ensure_ascii=False, indent=1, default=_plain))


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

    table = Table(caption=note or None)
    columns = _columns(shown)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in shown:
        table.add_row(*(_escaped(_cell(row.get(column), column == metric_name)) for column in columns))
    Console().print(table)


def as_html(rows: Sequence[dict[str, Any]], metric_name: str, note: str = "") -> str:
    """Return rows as an HTML table, all content escaped."""
    columns = _columns(rows)
    head = "".join(f"<th>{html.escape(column)}</th>" for column in columns)
    body = "".join(
        "<tr>"
        + "".join(f"<td>{html.escape(_cell(row.get(c), c == metric_name))}</td>" for c in columns)
        + "</tr>"
        for row in rows
    )
    caption = f"<caption>{html.escape(note)}</caption>" if note else ""
    return f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def in_notebook() -> bool:
    """Tell whether this process is the kernel of a notebook."""
    ipython = sys.modules.get("IPython")  # a kernel has imported it
    shell = ipython.get_ipython() if ipython is not None else None
    return "IPKernelApp" in getattr(shell, "config", {})


def _columns(rows: Sequence[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(column for row in rows for column in row))


def _cell(value: Any, is_score: bool) -> str:
    if value is None:
        return ""
    if is_score:
        return f"✔️ [{value:.3f}]" if isinstance(value, float) else f"✔️ [{value}]"
    words = str(value).split()
    return " ".join(words[:MAX_WORDS]) + "..." if len(words) > MAX_WORDS else str(value)


def _escaped(text: str) -> str:
    from rich.markup import escape  # noqa: PLC0415 - only where a table is asked for

    return escape(text)


def _plain(value: Any) -> Any:
    for name in ("toDict", "model_dump"):
        convert = getattr(value, name, None)
        if convert is not None:
            return convert()
    if isinstance(value, (set, frozenset)):
        return sorted(value, key=repr)
    return str(value)


def _write(file_path: str | os.PathLike[str], text: str) -> None:
    target = Path(file_path)
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        part.write_bytes(text.encode("utf-8", "surrogatepass"))
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
