"""Reading examples from files and tables."""

from __future__ import annotations

import csv
import io
import json
import threading
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from mipro.errors import DownloadError, MissingExtraError, UserError
from mipro.example import ROWS, Example

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator, Sequence

_NO_JSON = (ValueError, RecursionError)
"""What is raised for a malformed file, for a number of too many digits, and for one nested too deeply."""

MAX_FIELD = 2**31 - 1
"""Characters of a CSV value; the most that every platform can be told."""

# Python has one limit for all readers of a process, so one file is read at a time.
_csv_limit = threading.Lock()


def from_records(
    records: Iterable[Mapping[str, Any]],
    fields: Sequence[str] | None = None,
    input_keys: Sequence[str] = (),
) -> list[Example]:
    """Make examples of records.

    Args:
        records: One mapping from field to value for each example.
        fields: Fields to keep, in this order; all if None.
        input_keys: Fields that are given to a program; the others are labels.

    Returns:
        The examples, in order.

    Raises:
        UserError: A record is no mapping, has not all of the fields asked for or one whose name
            is no text, or an input is not among the fields to keep.
    """
    check_lists(fields=fields, input_keys=input_keys)
    dropped = [] if fields is None else [name for name in input_keys if name not in fields]
    if dropped:
        raise UserError(
            f"`input_keys` must be among `fields`, but {dropped} are not in {list(fields or ())}; "
            "add them to `fields`, since a program is given them."
        )
    examples = []
    for number, record in enumerate(records, 1):
        if not isinstance(record, (Mapping, Example)):
            of_table = f"; of a table pass the rows: {ROWS}" if isinstance(record, str) else ""
            raise UserError(
                f"record {number} must be a mapping from field to value, but got "
                f"{type(record).__name__}: {record!r}{of_table}."
            )
        names = list(record) if fields is None else list(fields)
        absent = [name for name in (*names, *input_keys) if name not in record]
        if absent:
            raise UserError(
                f"record {number} must have the fields {absent}, but it has {sorted(map(str, record))}."
            )
        examples.append(Example({name: record[name] for name in names}).with_inputs(*input_keys))
    return examples


def check_lists(**names: Any) -> None:
    """Refuse a text where a list of names is meant: each of its letters would be one."""
    for argument, given in names.items():
        if isinstance(given, str):
            raise UserError(f"`{argument}` must be a list of names, but got {given!r}; write [{given!r}].")


def from_csv(
    file_path: str | os.PathLike[str],
    fields: Sequence[str] | None = None,
    input_keys: Sequence[str] = (),
) -> list[Example]:
    """Read a CSV file whose first line names the columns; values stay text.

    Args:
        file_path: The file, in UTF-8.
        fields: Columns to keep; all if None.
        input_keys: Fields that are given to a program.

    Returns:
        One example for each line.

    Raises:
        UserError: The file is absent or is no CSV in UTF-8, two columns have one name, or a
            line has not as many values as the first; the message names the place.
    """
    path = _existing(file_path)
    reader = csv.DictReader(io.StringIO(_text_of(path, newline=""), newline=""), strict=True)
    with _csv_limit:
        limit = csv.field_size_limit(MAX_FIELD)
        try:
            records = list(_csv_records(path, reader))
        except csv.Error as error:
            raise UserError(
                f"{str(path)!r} must be CSV, but got an error in line {reader.reader.line_num}: {error}; "
                f"look from line {reader.line_num + 1} on for a quote that is not doubled or not closed."
            ) from error
        finally:
            csv.field_size_limit(limit)
    return from_records(records, fields, input_keys)


def _csv_records(path: Path, reader: csv.DictReader[str]) -> Iterator[dict[str, str]]:
    columns = list(reader.fieldnames or ())
    twice = [name for name, count in Counter(columns).items() if count > 1]
    if twice:
        raise UserError(
            f"the first line of {str(path)!r} must name each column once, but names {twice} more often; "
            "the last one would hide the others. Rename them."
        )
    if len(columns) == 1 and (mark := next((mark for mark in ";\t" if mark in columns[0]), None)):
        raise UserError(
            f"the values of {str(path)!r} must be separated by commas, but its first line is {columns[0]!r}; "
            f"save it with commas, or pass csv.DictReader(file, delimiter={mark!r}) to "
            "`mipro.datasets.from_records`."
        )
    for record in reader:
        if None in record or None in record.values():
            raise UserError(
                f"line {reader.line_num} of {str(path)!r} must have as many values as the first "
                f"line, {len(columns)}, but got {record}."
            )
        yield record


def from_json(
    file_path: str | os.PathLike[str],
    fields: Sequence[str] | None = None,
    input_keys: Sequence[str] = (),
) -> list[Example]:
    """Read a JSON file that holds a list of objects, or one object on each line.

    Args:
        file_path: The file, in UTF-8.
        fields: Fields to keep; all if None.
        input_keys: Fields that are given to a program.

    Returns:
        One example for each object.

    Raises:
        UserError: The file is absent or is no such JSON in UTF-8, or an object has two members of one name;
            the message names the place.
    """
    return from_records(read_json_records(file_path), fields, input_keys)


from_jsonl = from_json
"""Read a file with one JSON object on each line; see `from_json`."""


def read_json_records(file_path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Read the objects of a JSON or JSON-lines file.

    Raises:
        UserError: The file is absent or is no such JSON in UTF-8; the message names the place.
    """
    path = _existing(file_path)
    text = _text_of(path)
    try:
        data = json.loads(text, object_pairs_hook=_unique)
    except _NO_JSON as whole_error:
        data = _lines(path, text, whole_error)
    if isinstance(data, dict):
        data = [data]
    if not isinstance(data, list) or not all(isinstance(record, dict) for record in data):
        raise UserError(f"{str(path)!r} must hold a list of JSON objects, or one on each line.")
    return data


def read_json(file_path: str | os.PathLike[str], what: str) -> Any:
    """Read a JSON file.

    Args:
        file_path: The file.
        what: What it must be, for messages.

    Raises:
        UserError: The file is absent or is no JSON in UTF-8.
    """
    path = _existing(file_path)
    text = _text_of(path)
    try:
        return json.loads(text)
    except _NO_JSON as error:
        raise UserError(f"{str(path)!r} must be {what}, but got: {error}.") from error


def _lines(path: Path, text: str, whole_error: Exception) -> list[Any]:
    records = []
    # Not `splitlines`: a JSON text may hold line separators of Unicode.
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                records.append(json.loads(line, object_pairs_hook=_unique))
            except _NO_JSON as error:
                shown = whole_error if number == 1 else f"line {number}: {error}"
                raise UserError(
                    f"{str(path)!r} must be JSON or JSON lines, but got an error at {shown}"
                ) from error
    return records


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object's members by name; `ValueError` where a name stands twice, as for a CSV."""
    members = dict(pairs)
    if len(members) < len(pairs):
        twice = [name for name, count in Counter(name for name, _ in pairs).items() if count > 1]
        raise ValueError(
            f"an object that has {twice} more than once, of which the last would hide the others; rename them"
        )
    return members


def _text_of(path: Path, *, newline: str | None = None) -> str:
    try:
        with path.open(encoding="utf-8-sig", newline=newline) as file:
            return file.read()
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise UserError(
            f"{str(path)!r} must be text in UTF-8, but line {line} holds the byte "
            f"0x{error.object[error.start]:02x} where no character has it; save the file as UTF-8."
        ) from error


def _existing(file_path: str | os.PathLike[str]) -> Path:
    path = Path(file_path).expanduser()
    if not path.is_file():
        raise UserError(f"the file must exist, but there is no {str(path)!r}.")
    return path


def load_from_hub(*args: Any, **kwargs: Any) -> Any:
    """Call `datasets.load_dataset` of the `hf` extra.

    Raises:
        MissingExtraError: The extra is not installed.
        DownloadError: The hub did not deliver.
    """
    try:
        import datasets as hub  # noqa: PLC0415 - heavy, and an extra
    except ImportError as error:
        raise MissingExtraError("datasets", extra="hf", purpose="a data set from the hub") from error
    try:
        return hub.load_dataset(*args, **kwargs)
    except OSError as error:
        raise DownloadError(
            f"the hub did not deliver {args}: {error}; check the network, or read a local copy."
        ) from error


class DataLoader:
    """Readers under the names that DSPy's loader has."""

    def from_csv(
        self,
        file_path: str | os.PathLike[str],
        fields: Sequence[str] | None = None,
        input_keys: Sequence[str] = (),
    ) -> list[Example]:
        """Read a CSV file; see `mipro.datasets.from_csv`."""
        return from_csv(file_path, fields, input_keys)

    def from_json(
        self,
        file_path: str | os.PathLike[str],
        fields: Sequence[str] | None = None,
        input_keys: Sequence[str] = (),
    ) -> list[Example]:
        """Read a JSON or JSON-lines file; see `mipro.datasets.from_json`."""
        return from_json(file_path, fields, input_keys)

    def from_pandas(
        self, df: Any, fields: Sequence[str] | None = None, input_keys: Sequence[str] = ()
    ) -> list[Example]:
        """Make one example of each row of a data frame, of pandas or of polars."""
        rows = df.to_dicts() if hasattr(df, "to_dicts") else df.to_dict(orient="records")
        return from_records(rows, fields, input_keys)

    def from_parquet(
        self,
        file_path: str | os.PathLike[str],
        fields: Sequence[str] | None = None,
        input_keys: Sequence[str] = (),
    ) -> list[Example]:
        """Read a Parquet file; needs the `hf` extra."""
        rows = load_from_hub("parquet", data_files=str(_existing(file_path)))["train"]
        return from_records(rows, fields, input_keys)

    def from_huggingface(
        self,
        dataset_name: str,
        *args: Any,
        input_keys: Sequence[str] = (),
        fields: Sequence[str] | None = None,
        **kwargs: Any,
    ) -> dict[str, list[Example]] | list[Example]:
        """Read a data set from the hub; needs the `hf` extra.

        Args:
            dataset_name: Name on the hub.
            args: Further arguments of `datasets.load_dataset`.
            input_keys: Fields that are given to a program.
            fields: Fields to keep; all if None.
            kwargs: Further arguments of `datasets.load_dataset`, such as `split`.

        Returns:
            Examples by name of split, or a list where `split=` names one.

        Raises:
            MissingExtraError: The extra is not installed.
            DownloadError: The hub did not deliver.
        """
        data = load_from_hub(dataset_name, *args, **kwargs)
        if isinstance(data, list):  # `split=` was a list
            data = dict(zip(kwargs["split"], data, strict=True))
        if isinstance(data, dict):
            return {name: from_records(rows, fields, input_keys) for name, rows in data.items()}
        return from_records(data, fields, input_keys)

    def sample(self, dataset: list[Example], n: int, *, seed: int = 0) -> list[Example]:
        """Draw `n` examples without replacement."""
        return Random(seed).sample(dataset, n)  # noqa: S311 - no secret

    def train_test_split(
        self,
        dataset: list[Example],
        train_size: float = 0.75,
        test_size: float | None = None,
        random_state: int | None = None,
    ) -> dict[str, list[Example]]:
        """Split examples in two; duplicates may straddle, other than with `split`.

        Args:
            dataset: The examples; not modified.
            train_size: A number of examples, or a fraction below 1.0.
            test_size: The same for the test part; the rest if None.
            random_state: Seed; 0 if None.

        Returns:
            The parts under "train" and "test".

        Raises:
            UserError: The sizes are not possible.
        """
        total = len(dataset)
        train = _part_size("train_size", train_size, total)
        test = max(0, total - train) if test_size is None else _part_size("test_size", test_size, total)
        if train + test > total:
            raise UserError(
                f"`train_size` + `test_size` cannot exceed the data, but got {train} + {test} > {total}."
            )
        shuffled = list(dataset)
        Random(random_state or 0).shuffle(shuffled)  # noqa: S311 - no secret
        return {"train": shuffled[:train], "test": shuffled[train : train + test]}


def _part_size(name: str, size: float, total: int) -> int:
    if isinstance(size, int) and not isinstance(size, bool) and size >= 0:
        return size
    if isinstance(size, float) and 0 < size < 1:
        return int(total * size)
    raise UserError(f"Invalid `{name}`: it must be a number of examples or a fraction, but got {size!r}.")
