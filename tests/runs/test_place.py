"""Where a run is, and how that is shown."""

import pytest

from mipro.runs._place import shown


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
