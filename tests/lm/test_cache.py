"""The response cache."""

import contextlib
import math
import os
import sqlite3
import subprocess
import sys
import threading

import pytest

import mipro
from mipro.errors import LMRequestError, UserError
from mipro.lm import LM, Completion, LMResponse
from mipro.lm._cache import ResponseCache, configure_cache, response_cache
from mipro.testing.server import Fault


@pytest.fixture
def lm(serve):
    """Return a model with cache whose server numbers its answers."""
    count = iter(range(1000))
    server = serve(lambda _: str(next(count)))
    model = LM("openai/m", api_base=server.url, temperature=1.0)
    model.server = server
    return model


def response(text="x"):
    """Return a response with one text."""
    return LMResponse("m", (Completion(text),), latency_s=1.0)


def test_same_request_is_asked_once(lm):
    """The second of two equal calls costs nothing and says so."""
    assert [lm("a"), lm("a"), lm("b")] == [["0"], ["0"], ["1"]]
    assert lm.server.count == 2
    assert [bool(entry["usage"]) for entry in lm.history] == [True, False, True]


def test_what_a_caller_does_to_an_answer_stays_out_of_the_cache(serve):
    """Programs read the arguments of a tool call in place; the next caller gets them as they came."""
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    choice = {"message": {"content": None, "tool_calls": [call]}, "logprobs": {"content": [{"token": "a"}]}}
    lm = LM("openai/m", api_base=serve({"model": "m", "choices": [choice]}).url)
    for _ in range(2):
        (output,) = lm("a")
        assert output == {"text": None, "tool_calls": [call], "logprobs": choice["logprobs"]}
        output["tool_calls"][0]["function"]["arguments"] = {}
        output["logprobs"]["content"].clear()
        (shown,) = lm.forward("a").choices
        assert (shown.message.tool_calls, shown.logprobs) == ([call], choice["logprobs"])
        shown.message.tool_calls[0]["function"].clear()
        shown.logprobs.clear()


def test_parameters_count(lm):
    """Another parameter is another request."""
    assert lm("a", top_p=0.1) != lm("a", top_p=0.2)


def test_rollout_id_draws_afresh(lm):
    """Another `rollout_id` is another request, the same one is not."""
    assert [lm("a", rollout_id=1), lm("a", rollout_id=2), lm("a", rollout_id=1)] == [["0"], ["1"], ["0"]]


def test_cache_can_be_off(lm):
    """`cache=False`, for the model or for one call, asks every time."""
    assert lm("a", cache=False) != lm("a", cache=False)
    off = lm.copy(cache=False)
    assert off("a") != off("a")


def test_memory_can_be_forgotten(lm):
    """`mipro.cache` is the cache in force; what is on disk is still found after `reset_memory_cache`."""
    lm("a")
    assert mipro.cache is response_cache()
    mipro.cache.reset_memory_cache()
    assert lm("a") == ["0"]
    assert lm.server.count == 1


def test_failures_are_not_kept(serve):
    """An error is asked again."""
    script = iter([Fault(400), "ok"])
    lm = LM("openai/m", api_base=serve(lambda _: next(script)).url)
    with pytest.raises(LMRequestError):
        lm("a")
    assert lm("a") == ["ok"]


def test_another_cache_object_finds_it_on_disk(tmp_path):
    """What one process wrote another one finds."""
    path = tmp_path / "c.sqlite3"
    first = ResponseCache(path)
    first.put("k", response("from disk"))
    first.close()
    second = ResponseCache(path)
    assert second.get("k") == response("from disk")
    second.close()


def test_unwritten_answers_are_found():
    """An answer is there at once, before it is on disk."""
    cache = response_cache()
    cache.put("k", response())
    assert cache.get("k") == response()


def test_process_end_writes(tmp_path):
    """A process that ends right after an answer does not lose it."""
    code = (
        "from mipro.lm import Completion, LMResponse\n"
        "from mipro.lm._cache import response_cache\n"
        "response_cache().put('k', LMResponse('m', (Completion('kept'),)))\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env=_environment())
    assert response_cache().get("k").completions[0].text == "kept"


def test_broken_file_costs_nothing_but_answers(tmp_path, caplog):
    """A file that is no database is left alone; the cache works in memory and says so once."""
    path = tmp_path / "c.sqlite3"
    path.write_bytes(b"not a database" * 100)
    cache = ResponseCache(path)
    cache.put("k", response())
    cache.flush()
    assert cache.get("k") == response()
    assert cache.get("other") is None
    assert len([record for record in caplog.records if record.levelname == "WARNING"]) == 1
    assert path.read_bytes().startswith(b"not a database")
    cache.close()


def test_large_file_is_emptied(tmp_path):
    """A file beyond its limit starts anew instead of growing for ever."""
    path = tmp_path / "c.sqlite3"
    for limit in (None, 100):
        cache = ResponseCache(path, disk_bytes=limit)
        assert cache.get("k") is None
        cache.put("k", response("x" * 10_000))
        cache.close()


def test_clear(tmp_path):
    """`clear` forgets what is in memory, on disk, and on its way there."""
    cache = ResponseCache(tmp_path / "c.sqlite3")
    cache.put("k", response())
    cache.flush()
    cache.put("unwritten", response())
    cache.clear()
    assert (cache.get("k"), cache.get("unwritten")) == (None, None)
    cache.close()


def test_answers_are_written_while_the_process_goes_on(tmp_path, monkeypatch):
    """A process that is killed later has lost none but the newest answers."""
    monkeypatch.setattr("mipro.lm._cache._WRITE_DELAY_S", 0.0)
    first, second = (ResponseCache(tmp_path / "c.sqlite3") for _ in range(2))
    first.put("k", response())
    for thread in threading.enumerate():
        if isinstance(thread, threading.Timer):
            thread.join()
    assert second.get("k") == response()
    first.close()
    second.close()


def test_an_entry_that_is_no_answer_is_asked_again(tmp_path):
    """Another program's or version's entry is as good as none."""
    cache = ResponseCache(tmp_path / "c.sqlite3")
    assert cache.get("k") is None
    with contextlib.closing(sqlite3.connect(tmp_path / "c.sqlite3")) as connection, connection:
        connection.execute("INSERT INTO responses VALUES ('k', '{\"odd\":')")
    assert cache.get("k") is None
    cache.close()


def test_a_file_that_can_no_longer_be_written_costs_no_answer(tmp_path, caplog):
    """The call is paid: its answer comes back, stays in memory, and the failure is told."""
    cache = ResponseCache(tmp_path / "c.sqlite3")
    assert cache.get("k") is None
    with contextlib.closing(sqlite3.connect(tmp_path / "c.sqlite3")) as connection, connection:
        connection.execute("DROP TABLE responses")
    cache.put("k", response())
    cache.flush()
    assert cache.get("k") == response()
    assert "answers are kept in memory only" in caplog.text
    cache.close()


def test_threads_can_share_it(tmp_path):
    """Reads and writes from many threads lose nothing."""
    cache = ResponseCache(tmp_path / "c.sqlite3")

    def work(thread):
        for index in range(50):
            cache.put(f"{thread}-{index}", response(str(index)))
            cache.flush() if index % 10 == 0 else None
            assert cache.get(f"{thread}-{index}") == response(str(index))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    cache.close()
    again = ResponseCache(tmp_path / "c.sqlite3")
    assert all(again.get(f"{t}-{i}") for t in range(8) for i in range(50))
    again.close()


def test_memory_is_bounded():
    """Old answers leave the memory."""
    cache = ResponseCache(None, 3)
    for index in range(5):
        cache.put(str(index), response())
    assert [cache.get(str(index)) is not None for index in range(5)] == [False, False, True, True, True]


def test_cache_can_be_configured(lm, tmp_path):
    """`configure_cache` moves the cache, keeps it in memory only, or switches it off."""
    try:
        configure_cache(disk_cache_dir=str(tmp_path / "there"))
        assert lm("a") == lm("a")
        response_cache().flush()
        assert [path.parent.name for path in tmp_path.rglob("*.sqlite3")] == ["there"]
        configure_cache(enable_disk_cache=False)
        assert lm("b") == lm("b")
        configure_cache(enable_disk_cache=False, enable_memory_cache=False)
        assert lm("c") != lm("c")
    finally:
        configure_cache()


def test_cache_takes_what_dspy_s_takes(lm):
    """Any number of answers may be kept, and none of the arguments about pickles means anything."""
    configure_cache(
        enable_disk_cache=False, memory_max_entries=math.inf, restrict_pickle=True, safe_types=[dict]
    )
    assert lm("a") == lm("a")


def test_cache_holds_no_negative_number_of_answers():
    """Every call ended in a KeyError."""
    with pytest.raises(UserError, match="at least 0, but got -1"):
        configure_cache(memory_max_entries=-1)


def test_folder_follows_the_variable(monkeypatch, tmp_path):
    """MIPRO_CACHE_DIR names the folder, also when it changes."""
    first = response_cache()
    monkeypatch.setenv("MIPRO_CACHE_DIR", str(tmp_path / "here"))
    response_cache().put("k", response())
    response_cache().flush()
    assert [path.parent.name for path in tmp_path.rglob("*.sqlite3")] == ["here"]
    assert response_cache() is not first


def _environment():
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
