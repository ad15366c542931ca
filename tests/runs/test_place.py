"""Where a run is, and how that is shown."""

from pathlib import Path

import pytest

import mipro
from mipro import Budget
from mipro.errors import StateError, UserError
from mipro.runs import Run, choose_run_dir
from mipro.runs._place import shown
from mipro.testing.sums import right


@pytest.mark.parametrize(
    ("place", "text"),
    [
        ("runs/a?password=b", "runs/a?password=b"),
        ("postgresql://u:hunter2@h/db", "postgresql://u:***@h/db"),
        ("postgresql+psycopg://u@h/db?password=hunter2", "postgresql+psycopg://u@h/db?password=***"),
        ("mysql://u@h/db?charset=utf8&passwd=hunter2", "mysql://u@h/db?charset=utf8&passwd=***"),
        ("postgresql://h/db?sslPassword=a%26b&user=u", "postgresql://h/db?sslPassword=***&user=u"),
        ("mssql+pyodbc:///?odbc_connect=UID%3Du%3BPWD%3Dhunter2", "mssql+pyodbc:///?odbc_connect=***"),
    ],
)
def test_passwords_are_not_shown(place, text):
    """A password is hidden wherever a URL can hold one; a folder is shown as it is."""
    assert shown(place) == text


@pytest.mark.parametrize("kind", [Path, str])
def test_a_folder_is_a_path_or_a_text_with_the_home_folder_in_it(kind, monkeypatch, tmp_path):
    """`Path("runs")` was a TypeError, and `~` became a folder of that name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert choose_run_dir(kind("~/a"), name="", resume=True) == str(tmp_path / "home" / "a")
    Run(kind("~/a"), {"seed": "1"}, budget=Budget(), seed=0).close()
    with mipro.runs.open(kind("~/a")) as run:
        assert run.facts()["seed"] == "1"
    assert choose_run_dir(kind("~/a"), name="", resume="fresh") == str(tmp_path / "home" / "a-2")
    monkeypatch.setenv("MIPRO_DATA_DIR", "~/data")
    assert Path(choose_run_dir(None, name="", resume=True)).parents[1] == tmp_path / "home" / "data"
    assert [path.name for path in tmp_path.iterdir()] == ["home"]


def test_what_is_no_place_is_refused(tmp_path):
    """Neither text nor path is a UserError that names the argument."""
    with pytest.raises(UserError, match="`run_dir` must be a folder or a SQLAlchemy URL, but got 3"):
        mipro.runs.open(3)


def test_an_optimizer_takes_a_path(tmp_path):
    """`run_dir` and `log_dir` may be a `Path`."""
    for name in ("run_dir", "log_dir"):
        optimizer = mipro.MIPROv2(right, num_candidates=2, **{name: tmp_path / name})
        assert choose_run_dir(optimizer.run_dir, name="", resume=True) == str(tmp_path / name)


@pytest.mark.parametrize(
    "url", ["sqlite://", "sqlite:///:memory:", "sqlite:///file:a?mode=memory&cache=shared&uri=true"]
)
def test_a_database_in_memory_is_refused(url, monkeypatch, tmp_path):
    """Before the first paid call: another thread found no tables in it. No file of a lock is left."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StateError, match="a place that lasts"):
        Run(url, {}, budget=Budget(), seed=0)
    assert list(tmp_path.iterdir()) == []
