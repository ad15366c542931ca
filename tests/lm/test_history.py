"""Looking at the last calls."""

import io
import sys

import mipro
from mipro.lm import inspect_history
from mipro.testing.lms import ScriptedLM


def shown(lm, n=1):
    """Return what `inspect_history` writes to a file."""
    out = io.StringIO()
    lm.inspect_history(n, file=out)
    return out.getvalue()


def test_prompt_and_answer_are_shown():
    """Roles, texts and the answer are written, without colours to a file."""
    lm = ScriptedLM(["the answer"])
    lm(messages=[{"role": "system", "content": "be short"}, {"role": "user", "content": "why?"}])
    text = shown(lm)
    parts = ["System message:", "be short", "User message:", "why?", "Response:", "the answer"]
    assert [text.index(part) for part in parts] == sorted(text.index(part) for part in parts)
    assert "\x1b" not in text


def test_terminal_gets_colours(capsys):
    """On the terminal, without a file, there are colours."""
    lm = ScriptedLM(["x"])
    lm("hi")
    lm.inspect_history()
    assert "\x1b[32mx" in capsys.readouterr().out


def test_what_the_terminal_would_obey_or_has_no_letter_for_is_escaped(monkeypatch):
    """Of an answer with the half of an emoji nothing was shown, and one with escapes moved the cursor."""
    output = io.TextIOWrapper(io.BytesIO(), encoding="cp1252", newline="")
    lm = ScriptedLM(["\ud83d ☃ \x1b[2J\r\nend"])
    lm("hi")
    lm.inspect_history(file=output)
    monkeypatch.setattr(sys, "stdout", output)
    lm.inspect_history()
    output.seek(0)
    to_file, to_terminal = output.read().split("\x1b[31mUser message:")
    assert "\\ud83d \\u2603 \x1b[2J\r\nend" in to_file
    assert "\\ud83d \\u2603 \\x1b[2J\nend" in to_terminal


def test_last_n_of_all_models():
    """The global form shows the last calls whichever model they were to."""
    ScriptedLM(["from a"])("1")
    ScriptedLM(["from b"])("2")
    out = io.StringIO()
    inspect_history(2, file=out)
    assert out.getvalue().index("from a") < out.getvalue().index("from b")


def test_other_parts_are_abbreviated():
    """Images, sounds and files are shown by kind and size, tool calls by name."""
    parts = [
        {"type": "text", "text": "look"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
        {"type": "image_url", "image_url": {"url": "http://host/a.png"}},
        {"type": "input_audio", "input_audio": {"format": "wav", "data": "AAA"}},
        {"type": "file", "file": {"filename": "a.pdf", "file_data": "AA"}},
    ]
    call = {"id": "1", "type": "function", "function": {"name": "find", "arguments": '{"q": 1}'}}
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    lm = ScriptedLM([{"choices": [{"message": message}]}])
    lm(messages=[{"role": "user", "content": parts}], n=1)
    text = shown(lm)
    for part in ("ENCODED(4)", "http://host/a.png", "length=3", "a.pdf", 'find: {"q": 1}'):
        assert part in text


def test_nothing_to_show():
    """No calls, or none asked for, is no error."""
    lm = ScriptedLM(["x"])
    assert shown(lm).strip() == ""
    lm("hi")
    assert shown(lm, 0).strip() == ""


def test_more_completions_are_counted():
    """Of several completions the first is shown and the others are counted."""
    lm = ScriptedLM([["a", "b", "c"]])
    lm("hi", n=3)
    assert "2 other completions" in shown(lm)
    one = ScriptedLM(["a"])
    one("hi")
    assert "other completions" not in shown(one)


def test_modules_remember_their_calls_but_not_in_a_run():
    """A run has candidates by the hundred, whose memories together would grow with every call."""

    class Straight:
        async def call(self, lm, request):
            return await lm.answer(request)

    lm = ScriptedLM(lambda _: {"answer": "x"})
    predict = mipro.Predict("question -> answer")
    with mipro.context(lm=lm):
        predict(question="1")
        with mipro.context(gate=Straight()):
            predict(question="2")
    assert len(predict.history) == 1
    assert len(lm.history) == 2
