"""The I/O loop and its end."""

import asyncio
import os
import subprocess
import sys
import threading
from contextvars import ContextVar

import pytest

from mipro.lm import run, submit
from mipro.lm._loop import io_loop
from mipro.testing.server import OpenAIServer

SCRIPT = """
import os, sys
from mipro.lm import LM, submit
lm = LM("openai/m", api_base=sys.argv[1], cache=False, timeout=30)
lm("one")
{body}
"""


def python(body, url):
    """Run a script in a new interpreter where every warning is an error."""
    path = os.pathsep.join(filter(None, sys.path))
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", SCRIPT.format(body=body), url],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": path},
        check=False,
    )


@pytest.mark.parametrize(
    "body",
    ["", "submit(lm.answer(lm.request('slow')))", "import asyncio; asyncio.run(lm.acall('two'))"],
    ids=["idle", "in flight", "after asyncio.run"],
)
def test_process_ends_without_a_word(body):
    """Sessions and tasks are closed when the process ends: no warning, no delay, status 0."""
    answers = {"slow": 20.0}

    async def answer(request):
        await asyncio.sleep(answers.get(request["messages"][0]["content"], 0))
        return "ok"

    with OpenAIServer(answer) as server:
        ended = python(body, server.url)
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_forked_child_can_call():
    """A forked child gets a loop and a session of its own, and the parent's stay usable."""
    body = """
child = os.fork()
if child == 0:
    os._exit(0 if lm("child") == ["ok"] else 1)
_, status = os.waitpid(child, 0)
assert status == 0, status
assert lm("parent") == ["ok"]
"""
    with OpenAIServer("ok") as server:
        ended = python("import warnings; warnings.simplefilter('ignore')" + body, server.url)
        assert (ended.returncode, server.count) == (0, 3), ended.stderr


def test_coroutines_that_gathered_begin_together():
    """What comes while the loop is busy wakes it once; each runs in its caller's context and answers it."""
    variable = ContextVar("variable", default=-1)
    entered, leave, wakes = threading.Event(), threading.Event(), []
    loop = io_loop()

    async def mine():
        return variable.get()

    def ask(number):
        variable.set(number)
        futures[number] = submit(mine())

    def busy():
        entered.set()
        leave.wait(10)

    futures = {}
    loop.call_soon_threadsafe(busy)
    assert entered.wait(10)
    original, loop.call_soon_threadsafe = loop.call_soon_threadsafe, lambda *a: wakes.append(original(*a))
    try:
        threads = [threading.Thread(target=ask, args=(number,)) for number in range(20)]
        for thread in threads:
            thread.start()
            thread.join()
    finally:
        del loop.call_soon_threadsafe
        leave.set()
    assert [futures[number].result(10) for number in range(20)] == list(range(20))
    assert len(wakes) == 1


def test_exceptions_and_cancellation_reach_the_other_side():
    """What a coroutine raises is raised where it is waited for; who stops to wait stops it."""
    stopped = threading.Event()

    async def fail():
        raise ValueError("no")

    async def forever():
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    with pytest.raises(ValueError, match="no"):
        run(fail())
    waiting = submit(forever())
    run(asyncio.sleep(0))
    assert waiting.cancel()
    assert stopped.wait(10)


def test_exit_of_a_models_own_code_reaches_who_waits():
    """A `sys.exit` on the loop, as in a model's `forward`, is raised where it is waited for."""

    async def leave():
        sys.exit("no key")

    with pytest.raises(SystemExit, match="no key"):
        submit(leave()).result(10)
    assert submit(asyncio.sleep(0, "next")).result(10) == "next"
