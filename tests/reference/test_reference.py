"""The code blocks of the public documents on MIPROv2 run as written, against a server over HTTP."""

import json
import re
import types
import zlib
from pathlib import Path

import pytest

import mipro
from mipro.testing.server import OpenAIServer

BLOCKS = Path(__file__).parent / "blocks"
QUESTIONS = [
    {"question": f"What is {a} plus {b}?", "answer": str(a + b), "level": "hard", "id": f"{a}-{b}"}
    for a in range(12)
    for b in range(12)
]
DESCRIPTIONS = ("module_description", "program_description", "summary", "observations")


def answer(request):
    """Answer as a model that adds well when told to add, and passably else."""
    messages = request["messages"]
    prompt = json.dumps(messages)
    last = str(messages[-1]["content"])
    if "proposed_instruction" in prompt:
        return {"proposed_instruction": f"Add the numbers, carefully, {zlib.crc32(prompt.encode()) % 997}."}
    for field in DESCRIPTIONS:
        if field in last:
            return {field: "Sums of small numbers."}
    if "next_tool_name" in prompt:
        return {"next_thought": "I know enough.", "next_tool_name": "finish", "next_tool_args": {}}
    a, b = map(int, re.findall(r"What is (\d+) plus (\d+)", last)[-1])
    told = "Add the numbers" in str(messages[0]["content"])
    wrong = (a * 7 + b) % (10 if told else 3) == 0
    return {"reasoning": "They add up.", "answer": str(a + b + wrong)}


@pytest.fixture(scope="module")
def server():
    """Return an OpenAI-compatible server."""
    with OpenAIServer(answer) as running:
        yield running


@pytest.fixture
def namespace(server, monkeypatch, tmp_path):
    """Return the names that the documents take for granted."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MIPRO_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("OPENAI_API_KEY", "sk-not-a-key")
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    lm = mipro.LM("openai/gpt-4o-mini", cache=False)
    pairs = [mipro.Example(question=q["question"], answer=q["answer"]) for q in QUESTIONS]
    with mipro.context(lm=lm, num_threads=16):
        yield {
            "qa_system": mipro.Predict("question -> answer"),
            "train_data": [pair.with_inputs("question") for pair in pairs],
            "accuracy_metric": mipro.evaluate.answer_exact_match,
            "large_model": mipro.LM("openai/gpt-4o", cache=False),
            "small_model": lm,
            "MIPROv2": mipro.MIPROv2,
        }


def run_block(name, namespace):
    """Run a code block with the import lines changed to mipro's."""
    text = (BLOCKS / f"{name}.txt").read_text()
    text = text.replace("import dspy", "import mipro as dspy").replace("from dspy.", "from mipro.")
    exec(compile(text, f"{name}.txt", "exec"), namespace)
    return namespace


def test_zero_shot(namespace):
    """Instructions alone are optimized; no demos are kept."""
    program = run_block("zero_shot", namespace)["optimized_program"]
    assert "Add the numbers" in program.signature.instructions
    assert program.demos == []


def test_instructions_and_demos(namespace, capsys):
    """Both are optimized, without `auto`; the result is inspected and saved as the document does it."""
    run_block("instructions_and_demos", namespace)
    program = namespace["optimized_program"]
    assert "Add the numbers" in program.signature.instructions
    run_block("inspect_results", namespace)
    printed = capsys.readouterr().out
    assert f"Final instruction: {program.signature.instructions}" in printed
    assert f"Examples used: {program.demos}" in printed
    loaded = mipro.Predict("question -> answer")
    loaded.load("my_optimized_prompt")
    assert loaded.signature.instructions == program.signature.instructions
    assert [dict(demo) for demo in loaded.demos] == [dict(demo) for demo in program.demos]


def test_two_models(namespace, server):
    """The prompt model writes the instructions, the task model runs the program."""
    optimizer = run_block("two_models", namespace)["optimizer"]
    server.reset()
    optimizer.compile(namespace["qa_system"], trainset=namespace["train_data"][:20])
    asked = {
        ("proposed_instruction" in str(request.body["messages"]), request.body["model"])
        for request in server.requests
    }
    assert (True, "gpt-4o") in asked
    assert (True, "gpt-4o-mini") not in asked


def test_first_program(namespace, monkeypatch):
    """The first program that readers meet: ReAct without tools, on HotPotQA from the hub."""
    hub = types.ModuleType("datasets")
    rows = [{**q, "type": "sum", "supporting_facts": {"title": ["Sums"], "sent_id": [0]}} for q in QUESTIONS]
    hub.load_dataset = lambda name, config, split, **_: rows if split == "train" else rows[:10]
    monkeypatch.setitem(__import__("sys").modules, "datasets", hub)
    try:
        program = run_block("first_program", namespace)["optimized_program"]
    finally:
        mipro.configure(lm=None)
    assert program.score > 50
    assert program(question="What is 1 plus 2?").answer == "3"
