"""Models in this process: the real SmolLM2-135M."""

import json
import os
import subprocess
import sys
import threading
import time

import pytest

from mipro.errors import (
    ContextWindowError,
    LMNotFoundError,
    LMTimeoutError,
    MissingExtraError,
)
from mipro.fetch import model_path
from mipro.lm import LM, _engine
from mipro.testing.lm_contract import LMContract

SCHEMA = {
    "type": "object",
    "properties": {"label": {"enum": ["sport", "music"]}, "n": {"type": "integer"}},
    "required": ["label", "n"],
    "additionalProperties": False,
}
FORM = {"type": "json_schema", "json_schema": {"name": "o", "strict": True, "schema": SCHEMA}}


@pytest.fixture(scope="session")
def name():
    """Return the model's name, once its file is there."""
    return f"local/{model_path('smollm2-135m-instruct')}"


@pytest.fixture
def lm(name):
    """Return the model with short answers and no cache."""
    return LM(name, max_tokens=8, cache=False, context_size=1024, num_retries=0)


@pytest.mark.local_lm
class TestContract(LMContract):
    """The contract, for a model in this process."""

    @pytest.fixture
    def lm(self, lm):
        """Return the real model."""
        return lm


@pytest.mark.local_lm
def test_schema_is_kept(lm):
    """An answer under a JSON schema fits it, without needless white space."""
    text = lm("Classify: they sing a song.", response_format=FORM, max_tokens=40)[0]
    answer = json.loads(text)
    assert answer["label"] in ("sport", "music")
    assert text == json.dumps(answer)


@pytest.mark.local_lm
def test_common_prefix_is_evaluated_once(lm):
    """The second of two prompts with a long common beginning takes it from the cache."""
    prefix = "The rules are: " + "be kind and be brief, " * 20
    lm(prefix + "what is one?")
    lm(prefix + "who are you?")
    usage = lm.history[-1]["usage"]
    assert usage["prompt_tokens_details"]["cached_tokens"] > 0.8 * usage["prompt_tokens"]


@pytest.mark.local_lm
def test_temperature_zero_repeats_itself(lm):
    """Without a temperature the same prompt gives the same answer."""
    assert lm("Tell me a story.") == lm("Tell me a story.")


@pytest.mark.local_lm
def test_rollouts_differ_and_can_be_had_again(lm):
    """At a temperature `rollout_id` seeds the draw."""
    first, second, again = (
        lm("Tell me a story.", temperature=2.0, rollout_id=i, max_tokens=16)[0] for i in (1, 2, 1)
    )
    assert first != second
    assert first == again


@pytest.mark.local_lm
def test_long_prompt(lm):
    """A prompt longer than the context is told from other refused requests."""
    with pytest.raises(ContextWindowError, match="context window"):
        lm("word " * 5000)


@pytest.mark.local_lm
def test_timeout_stops_the_engine(lm):
    """An answer that takes longer than `timeout` is stopped."""
    slow = lm.copy(timeout=0.3, max_tokens=500)
    start_s = time.perf_counter()
    with pytest.raises(LMTimeoutError, match=r"0\.3 s"):
        slow("Write a very long story about a dragon.", stop=["never"])
    assert time.perf_counter() - start_s < 10


@pytest.mark.local_lm
def test_models_share_one_engine(name):
    """Two models of one file load it once."""
    models = [LM(name, max_tokens=2, cache=False, context_size=1024) for _ in range(2)]
    before = len(_engine._engines)
    threads = [threading.Thread(target=model, args=("hi",)) for model in models]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert len(_engine._engines) <= max(before, 1)


@pytest.mark.local_lm
def test_process_ends_while_the_engine_works(name):
    """A process that leaves in the middle of an answer ends at once and quietly."""
    code = (
        "import logging, sys, time\n"
        "logging.disable()\n"
        "from mipro.lm import LM, submit\n"
        "lm = LM(sys.argv[1], max_tokens=7000, cache=False, context_size=8192)\n"
        "lm('hi', max_tokens=1)\n"
        "submit(lm.answer(lm.request('Write a very long story.', stop=['never'])))\n"
        "time.sleep(0.3)\n"
        "print(time.time(), flush=True)\n"
    )
    path = os.pathsep.join(filter(None, sys.path))
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, name],
        capture_output=True,
        text=True,
        timeout=100,
        env={**os.environ, "PYTHONPATH": path},
        check=False,
    )
    took_s = time.time() - float(ended.stdout)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert took_s < 20  # an answer of 7,000 tokens takes minutes


def test_missing_file():
    """A path without a file is refused with the path."""
    with pytest.raises(LMNotFoundError, match=r"nothing\.gguf"):
        LM("local//no/such/nothing.gguf", cache=False)("hi")


def test_missing_engine(monkeypatch):
    """Without xllamacpp the error says how to install it."""
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'mipro\[local\]'"):
        LM("local/smollm2-135m-instruct").check()


def test_abilities_and_defaults():
    """A local model decodes to schemas, answers at temperature 0 and stops after 512 tokens."""
    lm = LM("local/smollm2-135m-instruct")
    assert lm.supports_response_schema
    assert (lm.kwargs["temperature"], lm.kwargs["max_tokens"]) == (0.0, 512)
