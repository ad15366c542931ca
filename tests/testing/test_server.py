"""The OpenAI-compatible test server."""

import asyncio
import contextlib
import http.client
import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from mipro.errors import LMConnectionError, LMServerError, UserError
from mipro.lm import LM
from mipro.testing.server import Fault, OpenAIServer


def lm(server, **kwargs):
    """Return a model on `server` without cache and retries."""
    return LM("openai/m", **{"api_base": server.url, "cache": False, "num_retries": 0, **kwargs})


def raw(server, method="POST", path="/v1/chat/completions", body=None, headers=None):
    """Send one request without any client library on top; return status, headers and data."""
    connection = http.client.HTTPConnection(
        "127.0.0.1", int(server.url.split(":")[2].split("/")[0]), timeout=10
    )
    data = None if body is None else json.dumps(body)
    connection.request(method, path, data, headers or {})
    answer = connection.getresponse()
    found = answer.status, dict(answer.headers), json.loads(answer.read())
    connection.close()
    return found


BODY = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


@pytest.mark.parametrize("process", [False, True])
def test_answers_over_http(process):
    """A request gets a chat completion, from a thread and from a process."""
    with OpenAIServer("hello", process=process) as server:
        status, _, data = raw(server, body=BODY)
        assert (status, data["choices"][0]["message"]["content"]) == (200, "hello")
        assert (server.count, server.answered) == (1, 1)


def test_kinds_of_answers():
    """Texts, fields, messages, lists and whole bodies are all understood."""
    answers = ["a:b", {"x": 1}, {"content": "c"}, {"choices": [{"message": {"content": "d"}}]}, "e"]
    with OpenAIServer(answers) as server:
        model = lm(server)
        got = [model("Answer as JSON.")[0] for _ in range(6)]
    assert got == ["a:b", '{"x": 1}', "c", "d", "e", "e"]


def test_list_from_a_function_is_n_answers():
    """A function that returns a list gives one answer for each of `n`."""
    with OpenAIServer(lambda _: ["a", "b"]) as server:
        assert lm(server)("hi", n=2) == ["a", "b"]


def test_async_function():
    """An answer function may be a coroutine function."""

    async def answer(request):
        await asyncio.sleep(0)
        return request["messages"][0]["content"]

    with OpenAIServer(answer) as server:
        assert lm(server)("hi") == ["hi"]


def test_models_are_listed():
    """GET /v1/models lists the models, as clients ask for."""
    with OpenAIServer(models=["a", "b"]) as server:
        status, _, data = raw(server, "GET", "/v1/models")
    assert (status, [model["id"] for model in data["data"]]) == (200, ["a", "b"])


def test_unknown_path():
    """Another path is 404 and is not counted."""
    with OpenAIServer() as server:
        assert raw(server, path="/v1/nothing", body=BODY)[0] == 404
        assert server.count == 0


def test_key_is_not_logged():
    """The log holds the headers without the key."""
    with OpenAIServer(api_key="sk-1234") as server:
        lm(server, api_key="sk-1234")("hi")
        assert "sk-1234" not in repr(server.requests) + repr(server.behaviour)


def test_fault_headers():
    """A fault carries Retry-After in whole seconds and exactly."""
    with OpenAIServer(lambda _: Fault(429, retry_after=0.25)) as server:
        status, headers, data = raw(server, body=BODY)
    assert (status, headers["Retry-After"], headers["Retry-After-Ms"]) == (429, "1", "250")
    assert data["error"]["message"] == "planned fault"


def faults_of(seed):
    """Return which of 200 distinct requests fail under a seed, asked in threads."""
    with OpenAIServer(error_rate=0.3, errors=[500], seed=seed) as server, ThreadPoolExecutor(8) as threads:

        def fails(index):
            try:
                lm(server)(str(index))
            except LMServerError:
                return True
            return False

        return list(threads.map(fails, range(200)))


def test_faults_follow_the_seed_and_not_the_timing():
    """The same requests fail whatever the order; another seed fails others; the rate is kept."""
    first = faults_of(1)
    assert first == faults_of(1)
    assert first != faults_of(2)
    assert 0.18 < sum(first) / 200 < 0.42


def test_a_request_that_failed_may_pass_next_time():
    """The fate of a request is drawn anew each time it comes."""
    with OpenAIServer(error_rate=0.5, errors=[500]) as server:
        model = lm(server)
        for _ in range(30):
            with contextlib.suppress(LMServerError):
                model("same")
        assert 0 < server.answered < server.count == 30


def test_latency_is_spread():
    """Latencies are log-normal around the median."""
    with OpenAIServer(latency_s=0.01, latency_sigma=0.5) as server, ThreadPoolExecutor(50) as threads:
        list(threads.map(lm(server), map(str, range(200))))
        latencies = sorted(request.latency_s for request in server.requests)
    assert 0.008 < latencies[100] < 0.0125
    assert latencies[-10] > 1.5 * latencies[100]


def test_rate_limit():
    """Requests beyond the rate get 429 with the time until it clears."""
    with OpenAIServer(rate_limit_per_s=20) as server:
        statuses = [raw(server, body=BODY)[0] for _ in range(10)]
        assert (statuses[0], 429 in statuses) == (200, True)
        assert lm(server, num_retries=5)("hi") == ["ok"]


def test_pause_and_resume():
    """A paused server leaves requests waiting and answers them when it goes on."""
    with OpenAIServer() as server:
        server.pause()
        with pytest.raises(LMConnectionError):
            lm(server, timeout=0.2)("hi")
        server.resume()
        assert lm(server)("hi") == ["ok"]


@pytest.mark.parametrize("process", [False, True])
def test_stop_and_start(process):
    """A stopped server refuses connections, and comes back on the same port with its counts."""
    with OpenAIServer(process=process) as server:
        model = lm(server)
        model("a")
        server.stop()
        with pytest.raises(LMConnectionError):
            model("b")
        assert server.count == 1
        url = server.url
        server.start()
        assert (model("c"), server.url, server.count) == (["ok"], url, 2)


def test_stop_cuts_calls_that_wait():
    """A server that dies cuts the requests it holds."""
    with OpenAIServer(latency_s=30) as server, ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(lm(server), "hi")
        while server.count == 0:
            time.sleep(0.005)
        server.stop()
        with pytest.raises(LMConnectionError):
            waiting.result(10)


def test_log_is_bounded():
    """Only the last requests are kept, all are counted."""
    with OpenAIServer(max_log=3) as server:
        model = lm(server)
        for index in range(5):
            model(str(index))
        assert [request.body["messages"][0]["content"] for request in server.requests] == ["2", "3", "4"]
        assert server.count == 5
        server.reset()
        assert (server.count, server.requests) == (0, [])


def test_process_takes_a_named_function_or_a_file(tmp_path):
    """In a process of its own answers come from an importable function or a JSON file."""
    path = tmp_path / "answers.json"
    path.write_text('["one", "two"]')
    with OpenAIServer(path, process=True) as server:
        assert [lm(server)("hi")[0] for _ in range(3)] == ["one", "two", "two"]
    with OpenAIServer("json:dumps", process=True) as server:
        assert json.loads(lm(server)("hi")[0])["model"] == "m"


def test_process_ends_with_the_server_object():
    """Nothing is left running."""
    server = OpenAIServer(process=True).start()
    process = server._runner._process
    server.stop()
    del server
    assert process.wait(10) == 0


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"answer": lambda _: "x", "process": True}, "module:function"),
        ({"latency": 1}, "latency_s"),
        ({"answer": []}, "at least one answer"),
    ],
)
def test_bad_arguments(arguments, match):
    """Wrong arguments are refused with the right ones named."""
    with pytest.raises(UserError, match=match), OpenAIServer(**arguments):
        pass


def test_use_before_start():
    """Counts of a server that was never started are refused."""
    with pytest.raises(UserError, match="started first"):
        _ = OpenAIServer().count


def test_nonsense_does_not_kill_it():
    """Bytes that are not HTTP end their own connection only."""
    with OpenAIServer() as server:
        port = int(server.url.split(":")[2].split("/")[0])
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            connection.sendall(b"nonsense\r\n\r\n")
            with contextlib.suppress(OSError):
                assert connection.recv(100) == b""
        assert lm(server)("hi") == ["ok"]
