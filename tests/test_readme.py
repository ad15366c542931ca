"""README's code runs."""

import re
from pathlib import Path

import mipro
from mipro.testing.lms import ScriptedLM

README = (Path(__file__).parents[1] / "README.md").read_text()


def answer(messages):
    """Sort tickets by a word; propose when asked to."""
    prompt = str(messages)
    if "proposed_instruction" in prompt:
        return {"proposed_instruction": "Name the queue of the ticket."}
    return {"queue": "billing" if "invoice" in str(messages[-1]["content"]) else "support"}


def test_own_task(monkeypatch, tmp_path, capsys):
    """The ten lines for one's own task do what they say."""
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(mipro, "LM", lambda name: ScriptedLM(answer, model=name))
    rows = [
        {"ticket": f"{what} {number}", "queue": queue}
        for number in range(10)
        for what, queue in (("invoice", "billing"), ("crash", "support"))
    ]
    before = mipro.settings.lm
    try:
        exec(code, {"rows": rows})
    finally:
        mipro.configure(lm=before)
    assert (tmp_path / "best.json").is_file()
    assert (tmp_path / "runs" / "tickets").is_dir()
    assert capsys.readouterr().out.startswith("100.0 ")
