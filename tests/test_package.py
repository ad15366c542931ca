"""The package as a whole: its public names and what importing it does."""

import ast
import doctest
import importlib
import pickle
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import mipro
from mipro import _names, errors

HEAVY = (
    "numpy",
    "scipy",
    "pydantic",
    "optuna",
    "sqlalchemy",
    "aiohttp",
    "rich",
    "litellm",
    "xllamacpp",
    "openai",
    "genai_prices",
    "dspy",
)


ABSENT = {"mipro.retrieve", "mipro.retrievers", "mipro.streaming"}  # they raise, with what there is instead


def test_examples_in_docstrings_run(capsys):
    """What an `Example:` shows is what comes out, with the public names of its room at hand."""
    runner = doctest.DocTestRunner()
    for found in pkgutil.walk_packages(mipro.__path__, "mipro."):
        if not found.name.endswith("__main__") and found.name not in ABSENT:
            module = importlib.import_module(found.name)
            room = sys.modules[".".join(found.name.split(".")[:2])]
            names = {name: getattr(of, name) for of in (mipro, room) for name in getattr(of, "__all__", ())}
            for example in doctest.DocTestFinder().find(module, globs={**names, **vars(module)}):
                runner.run(example)
    assert runner.tries > 40
    assert runner.failures == 0, capsys.readouterr().out


def test_all_is_sorted_and_complete():
    """`__all__` is what the package defines, in order: constants, classes, then the rest."""
    lazy = {*mipro._ROOM_OF, *mipro._MODULES}
    assert set(mipro.__all__) == lazy | {"configure", "context", "settings"}
    groups = [(not name.isupper(), not name[0].isupper(), name) for name in mipro.__all__]
    assert groups == sorted(groups)


def test_a_type_checker_has_the_names_that_there_are():
    """Those that load on first use, under what they are elsewhere: one left out would be told as misspelt."""
    tree = ast.parse(Path(mipro.__file__).read_text(encoding="utf-8"))
    [block] = [node for node in tree.body if isinstance(node, ast.If) and isinstance(node.test, ast.Name)]
    seen = {
        alias.asname or alias.name: f"{node.module}.{alias.name}"
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    del seen["ResponseCache"]  # what `cache` is
    assert seen.keys() | {"BootstrapRS", "cache"} == {
        *mipro._ROOM_OF,
        *mipro._MODULES,
        *mipro._PATHS,
        *_names.ALIASES,
        "cache",
    }
    for name, path in seen.items():
        room, _, known_as = path.rpartition(".")
        assert getattr(mipro, name) is getattr(importlib.import_module(room), known_as)


def test_every_room_is_there_after_import():
    """`mipro.propose` is not told as missing until something else has loaded it."""
    found = {module.name for module in pkgutil.iter_modules(mipro.__path__, "mipro.")} - ABSENT
    rooms = [name.removeprefix("mipro.") for name in found if not name.startswith("mipro._")]
    code = f"import mipro\nfor room in {rooms}: getattr(mipro, room)"
    assert "cli" in rooms
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", mipro.__all__)
def test_public_name_can_be_had(name):
    """Every name in `__all__` loads."""
    assert getattr(mipro, name) is not None


@pytest.mark.parametrize(
    "error",
    [
        errors.BudgetExhausted("used up", resource="tokens"),
        errors.RunMismatchError("another run", differences=("seed",)),
        errors.MissingExtraError("litellm", extra="litellm", purpose="A model"),
        errors.LMRateLimitError("slower", model="m", status=429, retry_after_s=1.5),
        errors.AdapterParseError("ChatAdapter", mipro.Signature, "raw", missing=("answer",)),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_come_whole_out_of_a_pickle(error):
    """As from a worker process, where else the pool would break or the error be lost."""
    other = pickle.loads(pickle.dumps(error))
    assert (type(other), str(other), vars(other)) == (type(error), str(error), vars(error))


def test_an_error_of_a_model_without_a_text_says_what_kind_it_is():
    """As a model of one's own raises it."""
    assert str(errors.ContextWindowExceededError(model="m")) == "context_window_exceeded"


def test_an_error_is_pickled_without_a_signature_that_no_pickle_holds():
    """Which is one that was made of a text."""
    error = errors.AdapterParseError("ChatAdapter", mipro.Signature("q -> answer"), "raw")
    other = pickle.loads(pickle.dumps(error))
    assert (str(other), other.lm_response, other.signature) == (str(error), "raw", None)


def test_unknown_name_is_an_attribute_error():
    """A name that does not exist says so."""
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = mipro.no_such_name


def _loaded_by(code, names):
    """The modules among `names` that a fresh interpreter has loaded after `code`."""
    code = f"{code}\nimport sys; print([m for m in {names!r} if m in sys.modules], file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stderr.strip().splitlines()[-1]


def _imported():
    """The packages that `src/mipro` imports, Python's own aside, under the names that pip knows."""
    names = set()
    for file in Path(mipro.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                names.add(node.module)
    own = {"mipro", "annotationlib", *sys.stdlib_module_names}  # annotationlib is in Python from 3.14
    roots = {name.partition(".")[0] for name in names} - own
    return {root.replace("_", "-") for root in roots}


def _run(node):
    """What runs below a node of a module's tree: not what only a type checker reads."""
    for child in ast.iter_child_nodes(node):
        if not (isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"):
            yield child
            yield from _run(child)


def test_a_room_imports_from_the_rooms_before_it():
    """In the order that CONTRIBUTING.md gives."""
    text = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text(encoding="utf-8")
    (order,) = re.findall(r"Imports go one way: (.*?);", text, re.DOTALL)
    rooms = re.findall(r"`(\w+)`", order)
    assert rooms[0] == "errors"
    root = Path(mipro.__file__).parent
    wrong = []
    for number, room in enumerate(rooms):
        for file in [*root.glob(f"{room}.py"), *root.glob(f"{room}/*.py")]:
            found = {
                f"{getattr(node, 'module', '')}.{alias.name}".lstrip(".")
                for node in _run(ast.parse(file.read_text(encoding="utf-8")))
                if isinstance(node, (ast.Import, ast.ImportFrom))
                for alias in node.names
            }
            own = {name.split(".")[1] for name in found if name.startswith("mipro.")}
            wrong += [(file.name, name) for name in own - {*rooms[: number + 1]} if name[0] != "_"]
    assert wrong == []


def test_what_is_required_is_what_is_imported():
    """Nobody installs a package that mipro does not use, or meets one that is missing."""
    text = (Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8")
    (required,) = re.findall(r"^dependencies = \[\n(.*?)^\]", text, re.DOTALL | re.MULTILINE)
    (extras,) = re.findall(r"^\[project.optional-dependencies\]\n(.*?)\n\n", text, re.DOTALL | re.MULTILINE)
    names = set(re.findall(r'"([\w-]+)', required + extras))
    # SQLAlchemy imports the driver, pydantic brings its core, and who checks a store of their own has pytest.
    assert names - {"psycopg"} == _imported() - {"pydantic-core", "pytest"}


def test_import_loads_nothing_heavy():
    """`import mipro` defines names; heavy packages are loaded when they are used."""
    assert _loaded_by("import mipro", HEAVY) == "[]"


def test_help_loads_nothing_heavy_but_what_draws_it():
    """`mipro --help` is there at once."""
    code = "import sys\nfrom mipro.cli import app\ntry:\n    app(['--help'])\nexcept SystemExit:\n    pass"
    assert _loaded_by(code, tuple(name for name in HEAVY if name != "rich")) == "[]"


def test_optimizer_loads_only_what_every_run_needs():
    """Other samplers, drawings, prices and the wire are loaded by those who use them."""
    code = "import mipro\nmipro.MIPROv2(metric=print)\nmipro.LM('openai/m', api_base='http://x')"
    seldom = (
        "optuna",
        "aiohttp",
        "genai_prices",
        "rich",
        "litellm",
        "xllamacpp",
        "scipy.linalg",
        "scipy.special",
    )
    assert _loaded_by(code, seldom) == "[]"
