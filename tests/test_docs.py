"""The code in README and in docs/ runs."""

import csv
import doctest
import re
import sys
import zlib
from pathlib import Path

import pytest

import mipro
from mipro.testing.lms import ScriptedLM

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
GUIDE = ROOT / "docs" / "guide.md"
BLOCKS = [
    pytest.param(code, id=f"{page.stem}-{number}")
    for page in PAGES
    if page != GUIDE
    for number, code in enumerate(re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL))
]
ROWS = [
    {"ticket": f"{what} {number}", "queue": queue}
    for number in range(10)
    for what, queue in (("invoice", "billing"), ("crash", "support"))
]


def answer(messages):
    """Sort tickets by a word; propose when asked to."""
    if "proposed_instruction" in str(messages):
        return {"proposed_instruction": "Name the queue of the ticket."}
    return {"queue": "billing" if "invoice" in str(messages[-1]["content"]) else "support"}


@pytest.fixture
def names(monkeypatch, tmp_path):
    """Return the names that the pages take for granted; models are scripted, the folder is a new one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(mipro, "LM", lambda name: ScriptedLM(answer, model=name))
    before = mipro.settings.lm
    yield {"rows": ROWS}
    mipro.configure(lm=before)


@pytest.mark.parametrize("code", BLOCKS)
def test_block_runs(code, names):
    """A block runs as it stands on the page and leaves what it promises."""
    exec(code, names)
    assert names.keys() > {"rows"}


def test_own_task_ends_as_readme_says(names, tmp_path, capsys):
    """README's ten lines save the program, keep the run, and print score, interval and instruction."""
    (code,) = re.findall(r"```python\n(.*?)```", PAGES[0].read_text(), re.DOTALL)
    exec(code, names)
    assert (tmp_path / "best.json").is_file()
    assert (tmp_path / "runs" / "tickets").is_dir()
    assert capsys.readouterr().out.startswith("100.0 ")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_somewhere(page):
    """Every relative link of a page is a file."""
    links = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


RECIPES = re.findall(r"```python\n(.*?)```\n(?:```text\n(.*?)```\n)?", GUIDE.read_text(), re.DOTALL)
WORDS = {"billing": "invoice", "support": "crash", "sales": "price"}
ASIDE = {"observations", "summary", "program_description", "module_description"}
INSTRUCTIONS = [
    "Read the whole ticket, then name the team that should answer it, in one word.",
    "Decide what the customer wants: money matters, a fault, or to buy. Answer with the queue alone.",
    "You sort mail for a help desk. Give the queue in lower case, nothing else.",
    "Think about which desk can solve the request and write its name.",
]


class Newcomer(ScriptedLM):
    """A model that sorts tickets, better if it is told the names of the queues and shown demos."""

    def __init__(self, model, **kwargs):
        super().__init__(sort, model=model, **kwargs)

    def price_usd(self, usage):
        """Return the price of gpt-4o-mini."""
        return (0.15 * usage.prompt_tokens + 0.6 * usage.completion_tokens) / 1e6


def sort(messages):
    """Answer by what is asked for: an instruction, a description, a verdict, or the queue of a ticket."""
    asked = "".join(str(message["content"]) for message in messages)
    wanted = set(re.findall(r"`\[\[ ## (\w+) ## \]\]`", str(messages[-1]["content"]))) - {"completed"}
    if "proposed_instruction" in wanted:
        return {"proposed_instruction": INSTRUCTIONS[zlib.crc32(asked.encode()) % len(INSTRUCTIONS)]}
    if ASIDE & wanted:
        return dict.fromkeys(ASIDE & wanted, "Customers write about invoices, crashes and prices.")
    ticket = str(messages[-1]["content"])
    right = next(queue for queue, word in WORDS.items() if word in ticket)
    known = 3 + 3 * ("exactly one of" in asked) + 2 * (len(messages) > 2)
    number = re.search(r"Number \d+", ticket)[0]
    can = zlib.crc32(f"{number}{right}".encode()) % 10 < known
    queue = right if can else f"the {right} team"
    answers = {"queue": queue, "subject": right, "reply": f"To {right}.", "is_helpful": str(can)}
    return {name: answers.get(name, "It says so.") for name in wanted}


@pytest.fixture
def newcomer(monkeypatch, tmp_path):
    """Give what the guide takes for granted: data, the task's file, a saved program, a scripted model."""
    with (tmp_path / "tickets.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["ticket", "queue"])
        rows.writerows([f"Number {n}: about the {w}", q] for n in range(50) for q, w in WORDS.items())
    (tmp_path / "task.py").write_text(RECIPES[0][0].partition("optimizer =")[0])
    queues = f"The queue must be exactly one of: {', '.join(sorted(WORDS))}."
    mipro.Predict(mipro.Signature("ticket -> queue", queues)).save(tmp_path / "best.json")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "task", raising=False)
    monkeypatch.setattr(mipro, "LM", Newcomer)
    before = mipro.settings.lm
    yield
    mipro.configure(lm=before)
    sys.modules.pop("task", None)


@pytest.mark.parametrize(("code", "output"), RECIPES, ids=[f"guide-{n}" for n in range(len(RECIPES))])
def test_recipe_prints_what_the_guide_shows(code, output, newcomer, capsys):
    """Figures aside, which are those of the scripted model."""
    exec(code, {"__name__": "__main__"})
    printed, shown = (re.sub(r"\d[\d,.]*", "0", text) for text in (capsys.readouterr().out, output))
    options = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    assert doctest.OutputChecker().check_output(shown, printed, options), printed


def test_first_recipe_is_short():
    """A newcomer's first program has at most 25 lines."""
    assert len(RECIPES[0][0].splitlines()) <= 25
