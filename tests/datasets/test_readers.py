"""Files become examples."""

from __future__ import annotations

import csv
import sys
import types

import pytest

from mipro import Example
from mipro.datasets import DataLoader, Dataset, from_csv, from_json, from_jsonl, from_records
from mipro.errors import DownloadError, MissingExtraError, UserError


def test_csv_lines_become_examples(tmp_path):
    """Columns are fields, values stay text, inputs are set; a byte order mark does no harm."""
    file = tmp_path / "a.csv"
    file.write_text('\ufeffquestion,answer\n"1, or 2?",2\nq,\n', encoding="utf-8")
    rows = from_csv(file, input_keys=("question",))
    assert rows[0].toDict() == {"question": "1, or 2?", "answer": "2"}
    assert rows[0].inputs().keys() == ["question"]
    assert rows[1].answer == ""


def test_csv_keeps_only_the_fields_asked_for(tmp_path):
    """`fields` chooses columns."""
    (tmp_path / "a.csv").write_text("a,b\n1,2\n")
    assert DataLoader().from_csv(str(tmp_path / "a.csv"), fields=["b"])[0].toDict() == {"b": "2"}


@pytest.mark.parametrize("line", ["1", "1,2,3"])
def test_csv_line_of_another_length_is_refused(tmp_path, line):
    """A line with too few or too many values is named."""
    (tmp_path / "a.csv").write_text(f"a,b\n1,2\n{line}\n")
    with pytest.raises(UserError, match="line 3 of"):
        from_csv(tmp_path / "a.csv")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('a,b\n1,2\n"x"y,2\n', "error in line 3"),
        ('a,b\n1,"2\n3,4\n', "error in line 3.*from line 2 on"),
        ("a,a,b\n1,2,3\n", r"each column once, but names \['a'\]"),
        ("a;b\n1;2\n", r"separated by commas, but .* 'a;b'.*delimiter=';'"),
        ("a\tb\n1\t2\n", r"separated by commas, .*delimiter='\\t'"),
    ],
    ids=["quote", "open", "columns", "semicolons", "tabs"],
)
def test_csv_that_is_none_is_refused_with_its_place(tmp_path, text, message):
    """Quotes that do not fit and a column that hides another are a UserError that names the place."""
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(UserError, match=rf"a\.csv.*{message}"):
        from_csv(tmp_path / "a.csv")


def test_csv_value_may_be_long(tmp_path):
    """A document of any length is a value; the limit of others who read CSV stays as it is."""
    limit = csv.field_size_limit()
    (tmp_path / "a.csv").write_text(f"a,b\n{'x' * 200_000},2\n")
    assert len(from_csv(tmp_path / "a.csv")[0].a) == 200_000
    assert csv.field_size_limit() == limit


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["plain", "marked"])
@pytest.mark.parametrize(
    ("read", "text"),
    [(from_csv, "q,a\r\n1,2\r\ncaf\xe9,b\r\n"), (from_json, '{"q": 1}\n\n{"q": "caf\xe9"}\n')],
    ids=["csv", "json"],
)
def test_file_of_another_encoding_is_refused_with_its_place(tmp_path, read, text, mark):
    """What is no UTF-8 is a UserError that names file, line and byte."""
    (tmp_path / "a.txt").write_bytes(mark + text.encode("latin-1"))
    with pytest.raises(UserError, match=r"a\.txt.* must be text in UTF-8, but line 3 holds the byte 0xe9"):
        read(tmp_path / "a.txt")


@pytest.mark.parametrize(
    "text", ['[{"q": 1}, {"q": "\u2028x"}]', '{"q": 1}\n\n{"q": "\u2028x"}\n'], ids=["list", "lines"]
)
def test_json_list_and_json_lines_are_read(tmp_path, text):
    """Both forms give the same examples, typed values kept."""
    (tmp_path / "a.json").write_text(text, encoding="utf-8")
    assert from_json(tmp_path / "a.json") == [Example(q=1), Example(q="\u2028x")]
    assert from_jsonl is from_json


def test_single_object_is_one_example(tmp_path):
    """A file with one object gives one example."""
    (tmp_path / "a.json").write_text('{"q": 1}')
    assert DataLoader().from_json(tmp_path / "a.json") == [Example(q=1)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"q": 1}\n{"q": }', "line 2"),
        ("{", "line 1 column 2"),
        (f'{{"q": 1}}\n{{"q": {"9" * 5000}}}', "line 2: Exceeds the limit"),
        ("[" * 100_000, "recursion"),
        ("[1]", "a list of JSON objects"),
        ("3", "list"),
    ],
)
def test_json_that_is_none_is_refused_with_its_place(tmp_path, text, message):
    """A malformed file is a UserError that names the place."""
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(UserError, match=message):
        from_json(tmp_path / "a.json")


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ('[{"q": 1}, {"q": 2, "q": 3}]', "at an object"),
        ('{"q": 1}\n\n{"q": {"k": 2, "k": 3}}\n', "at line 3: an object"),
    ],
)
def test_json_that_says_a_name_twice_is_refused(tmp_path, text, place):
    """The last value hid the others, as the last of two columns of a CSV would."""
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(UserError, match=rf"{place} that has \['[qk]'\] more than once"):
        from_json(tmp_path / "a.json")


def test_absent_file_is_named(tmp_path):
    """A path that is no file is a UserError."""
    with pytest.raises(UserError, match=r"no .*gone\.csv"):
        from_csv(tmp_path / "gone.csv")


def test_absent_field_is_named():
    """A record without a field asked for, inputs included, is refused."""
    with pytest.raises(UserError, match=r"record 1 must have the fields \['b'\]"):
        from_records([{"a": 1}], input_keys=("b",))


def test_input_that_is_not_kept_is_refused():
    """An example without the inputs that it names could not be given to a program."""
    with pytest.raises(UserError, match=r"`input_keys` must be among `fields`, but \['question'\]"):
        from_records([{"question": 1, "answer": 2}], fields=["answer"], input_keys=["question"])


@pytest.mark.parametrize("argument", ["fields", "input_keys"])
def test_a_text_is_no_list_of_names(argument):
    """Each letter of `input_keys=("question")` was taken for a name."""
    with pytest.raises(UserError, match=rf"`{argument}` must be a list of names.*write \['q'\]"):
        from_records([{"q": 1, "a": 2}], **{argument: "q"})


def test_a_data_set_refuses_a_text_as_input_keys():
    """Its examples would have the letters as inputs."""
    with pytest.raises(UserError, match=r"`input_keys` must be a list of names.*write \['question'\]"):
        Dataset(input_keys="question")


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ([{"q": 1}, ("q", 2)], "record 2 must be a mapping from field to value, but got tuple"),
        ({"q": 1}, "record 1 must be .* but got str: 'q'; of a table pass the rows: .*to_dict"),
        ([{0: "q", 1: "a"}], r"fields must have texts as names, but got \[0, 1\]"),
    ],
    ids=["tuple", "mapping", "numbers"],
)
def test_what_is_no_record_is_refused(records, message):
    """A table without names of columns gave examples that could not even be shown."""
    with pytest.raises(UserError, match=message):
        from_records(records)


def test_hub_needs_the_extra(monkeypatch):
    """Without the `hf` extra the message says how to install it."""
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'mipro\[hf\]'"):
        DataLoader().from_huggingface("squad")


@pytest.fixture
def hub(monkeypatch):
    """Stand in for the package `datasets`; records the calls."""
    module = types.ModuleType("datasets")
    module.calls = []
    module.answer = None

    def load_dataset(*args, **kwargs):
        module.calls.append((args, kwargs))
        if isinstance(module.answer, Exception):
            raise module.answer
        return module.answer

    module.load_dataset = load_dataset
    monkeypatch.setitem(sys.modules, "datasets", module)
    return module


def test_hub_splits_become_lists(hub):
    """Splits of the hub are examples by name; one named split is a list."""
    hub.answer = {"train": [{"q": 1, "a": 2}], "test": []}
    assert DataLoader().from_huggingface("x", input_keys=("q",)) == {"train": [Example(q=1, a=2)], "test": []}
    hub.answer = [[{"q": 1}], []]
    assert DataLoader().from_huggingface("x", split=["a", "b"]) == {"a": [Example(q=1)], "b": []}
    hub.answer = iter([{"q": 1, "a": 2}])
    assert DataLoader().from_huggingface("x", "y", fields=("a",), split="train") == [Example(a=2)]
    assert hub.calls[-1] == (("x", "y"), {"split": "train"})


def test_hub_that_fails_is_a_download_error(hub):
    """A network failure says what to do."""
    hub.answer = ConnectionError("no route")
    with pytest.raises(DownloadError, match="no route; check the network, or read a local copy"):
        DataLoader().from_huggingface("x")


def test_parquet_is_read_by_the_hub_package(hub, tmp_path):
    """Parquet files go through the `hf` extra."""
    (tmp_path / "a.parquet").write_bytes(b"")
    hub.answer = {"train": [{"q": 1}]}
    assert DataLoader().from_parquet(tmp_path / "a.parquet") == [Example(q=1)]
    assert hub.calls == [(("parquet",), {"data_files": str(tmp_path / "a.parquet")})]


def test_train_test_split_and_sample_are_repeatable():
    """DSPy's loader functions cut without overlap and by seed."""
    rows = [Example(x=i) for i in range(20)]
    loader = DataLoader()
    parts = loader.train_test_split(rows, train_size=0.6, test_size=5, random_state=3)
    assert parts == loader.train_test_split(rows, train_size=0.6, test_size=5, random_state=3)
    assert (len(parts["train"]), len(parts["test"])) == (12, 5)
    assert not {row.x for row in parts["train"]} & {row.x for row in parts["test"]}
    assert loader.sample(rows, 3, seed=1) == loader.sample(rows, 3, seed=1)


@pytest.mark.parametrize(
    "sizes", [{"train_size": 1.5}, {"train_size": 15, "test_size": 6}, {"train_size": 21}]
)
def test_train_test_split_refuses_impossible_sizes(sizes):
    """Sizes beyond the data are refused."""
    with pytest.raises(UserError, match=r"train_size((?!-1).)*$"):
        DataLoader().train_test_split([Example(x=i) for i in range(20)], **sizes)


def test_a_column_may_be_called_base():
    """Splits are made of any records."""

    class Units(Dataset):
        _train = ({"base": "metre", "answer": "cm"},)

    assert Units(input_keys=["base"]).train[0].inputs().toDict() == {"base": "metre"}


def test_rows_of_polars():
    """Its frames have no `to_dict(orient=)`: a TypeError from within was what one saw."""

    class Frame:
        def to_dicts(self):
            return [{"q": 1, "a": 2}]

        def to_dict(self, *, as_series=True):
            raise AssertionError

    [example] = DataLoader().from_pandas(Frame(), input_keys=["q"])
    assert (example.inputs().toDict(), example.a) == ({"q": 1}, 2)
