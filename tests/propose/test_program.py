"""A program as text."""

import linecache
import time

import mipro
from mipro.propose import token_estimate
from mipro.propose._program import call_form, fixed_tails, source, structure


class _Inner(mipro.Module):
    def __init__(self):
        super().__init__()
        self.step = mipro.Predict("text -> summary")

    def forward(self, text):
        return self.step(text=text)


class _Outer(mipro.Module):
    def __init__(self):
        super().__init__()
        self.parts = [_Inner(), _Inner()]
        self.last = {"answer": mipro.ChainOfThought("summary -> answer")}

    def forward(self, text):
        return self.last["answer"](summary=self.parts[0](text=text).summary)


def test_call_form_names_inputs_and_outputs():
    """A predictor's call is one line."""
    assert call_form(mipro.Predict("context, question -> answer")) == "Predict(context, question) -> answer"


class _Derived(_Outer):
    pass


def test_source_has_what_a_class_inherits():
    """What a program does may be written in its base."""
    text = source(_Derived(), 1000)
    assert text.index("class _Derived") < text.index("class _Outer") < text.index("class _Inner")
    assert "class Module" not in text


def test_source_has_the_users_classes_once_outermost_first():
    """Classes in lists and dicts are found; those of this package are left out."""
    text = source(_Outer(), 1000)
    assert text.index("class _Outer") < text.index("class _Inner")
    assert text.count("class _Inner") == 1
    assert "class ChainOfThought" not in text


class _Careless(mipro.Module):
    def __init__(self):
        super().__init__()
        self.headers = {"Authorization": "Bearer hunter2", "x-api-key": "it's hunter2", "Accept": "text"}
        self.lm = mipro.LM("openai/m", api_key="sk-hunter2", max_tokens=5)
        self.password: str = "hunter2"
        self.address = "https://me:hunter2@example.org/?key=hunter2"


def test_source_has_no_secrets():
    """A key that a program's author wrote into it went to the prompt model, maybe another company's."""
    text = source(_Careless(), 1000)
    assert "hunter2" not in text
    for kept in (
        "Authorization",
        "x-api-key",
        '"Accept": "text"',
        "max_tokens=5",
        "password: str",
        "example.org",
    ):
        assert kept in text


def test_a_bare_predictor_has_no_source():
    """There is nothing of the user's in it."""
    assert source(mipro.Predict("question -> answer"), 1000) == ""


def test_a_class_without_a_file_has_no_source():
    """Classes made in a REPL or by a generator are no trouble."""
    made = type("Made", (mipro.Module,), {"__module__": "__main__", "forward": lambda self: None})
    assert source(made(), 1000) == ""


_CELL = """
import mipro

class Other(mipro.Module):
    pass

@mipro.experimental_of_the_user
class Cell(mipro.Module):
    name = "of a cell"
    def forward(self, text):
        return text
"""


def test_a_class_of_a_notebook_has_the_source_of_its_cell(monkeypatch):
    """As the same class in a file; in notebooks the prompt model was shown no program."""
    monkeypatch.setattr(mipro, "experimental_of_the_user", lambda kind: kind, raising=False)
    monkeypatch.setitem(linecache.cache, "<cell 1>", (len(_CELL), None, _CELL.splitlines(keepends=True), ""))
    cell = {"__name__": "__main__"}
    exec(compile(_CELL, "<cell 1>", "exec"), cell)
    assert source(cell["Cell"](), 1000) == _CELL[_CELL.index("@mipro") :].strip()
    assert source(cell["Other"](), 1000) == ""


def test_source_is_bounded():
    """A long program is cut at the bound."""
    assert token_estimate(source(_Outer(), 40)) <= 44


class _Index:
    """Something of the user's with a `forward`, but without a dict."""

    __slots__ = ()

    def forward(self, text):
        """Look it up."""


def test_a_program_that_holds_its_corpus_is_no_trouble():
    """What it holds is gone through in a time that grows with its size alone: 400,000 texts took minutes."""
    program = _Outer()
    program.index, program.corpus = _Index(), [f"text {i}" for i in range(400_000)]
    began = time.monotonic()
    assert "class _Index" in source(program, 1000)
    assert time.monotonic() - began < 20.0


def test_structure_has_a_line_for_each_predictor():
    """Path, call and instruction of each predictor are shown."""
    lines = structure(_Outer(), 1000).splitlines()
    assert len(lines) == 3
    assert lines[0].startswith("parts[0].step: Predict(text) -> summary. Given the fields")


def test_structure_of_long_instructions_is_bounded():
    """Instructions of any length are cut."""
    program = mipro.Predict(mipro.Signature("a -> b", "word " * 10_000))
    assert token_estimate(structure(program, 100)) <= 110


def test_an_agents_instruction_has_a_fixed_end():
    """The tools of an agent must stay; other predictors have no such end."""

    def add(x: int, y: int) -> int:
        """Add two numbers."""
        return x + y

    agent = mipro.ReAct("question -> answer", tools=[add])
    acting, answering = fixed_tails(agent)
    assert "add" in acting
    assert agent.react.signature.instructions == f"{agent.signature.instructions}\n\n{acting}"
    assert answering == ""


def test_the_fixed_end_is_the_agents_own_whatever_its_instruction_says():
    """Also in one that was optimized, or that another library wrote."""
    agent = mipro.ReAct("question -> answer", tools=[mipro.Tool(len, name="tabbed", desc="Has\ta tab.")])
    before = fixed_tails(agent)
    assert before[0] in agent.react.signature.instructions
    agent.react.signature = agent.react.signature.with_instructions("You are an Agent. (1) tabbed")
    assert fixed_tails(agent) == before
