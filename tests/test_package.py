"""The package as a whole: its public names and what importing it does."""

import subprocess
import sys

import pytest

import mipro

HEAVY = (
    "numpy",
    "scipy",
    "pydantic",
    "optuna",
    "sqlalchemy",
    "aiohttp",
    "rich",
    "plotly",
    "litellm",
    "xllamacpp",
)


def test_all_is_sorted_and_complete():
    """`__all__` is what the package defines, in order: constants, classes, then the rest."""
    lazy = {*mipro._ROOM_OF, *mipro._MODULES}
    assert set(mipro.__all__) == lazy | {"configure", "context", "settings"}
    groups = [(not name.isupper(), not name[0].isupper(), name) for name in mipro.__all__]
    assert groups == sorted(groups)


@pytest.mark.parametrize("name", mipro.__all__)
def test_public_name_can_be_had(name):
    """Every name in `__all__` loads."""
    assert getattr(mipro, name) is not None


def test_unknown_name_is_an_attribute_error():
    """A name that does not exist says so."""
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = mipro.no_such_name


def test_import_loads_nothing_heavy():
    """`import mipro` defines names; heavy packages are loaded when they are used."""
    code = f"import sys, mipro; print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
