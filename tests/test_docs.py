"""The code in README and in docs/ runs."""

import re
from pathlib import Path

import pytest

import mipro
from mipro.testing.lms import ScriptedLM

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCKS = [
    pytest.param(code, id=f"{page.stem}-{number}")
    for page in PAGES
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
