"""Models behind an OpenAI-compatible server, over real HTTP."""

import asyncio
import json
import logging
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer

import pydantic
import pytest

from mipro.context import configure, context, settings
from mipro.errors import (
    ContextWindowError,
    LMAuthError,
    LMConnectionError,
    LMNotConfiguredError,
    LMNotFoundError,
    LMRateLimitError,
    LMRequestError,
    LMServerError,
    LMTimeoutError,
    UserError,
)
from mipro.lm import LM, _wire, track_usage
from mipro.lm._loop import io_loop
from mipro.testing.lm_contract import LMContract
from mipro.testing.server import Fault


def model(server, name="openai/m", **kwargs):
    """Return an LM on `server` without cache and retries, unless said otherwise."""
    return LM(name, **{"api_base": server.url, "cache": False, "num_retries": 0, **kwargs})


def test_client_and_prices_can_be_loaded_ahead():
    """No call is needed for it, and none is made."""
    code = (
        "import sys, mipro\n"
        "mipro.LM('openai/m', api_base='http://127.0.0.1:9', api_key='none').load()\n"
        "assert {'aiohttp', 'genai_prices.data'} <= set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


class TestContract(LMContract):
    """The contract, over HTTP."""

    @pytest.fixture
    def lm(self, serve):
        """Return a model on a healthy server."""
        return model(serve("hello"))


def test_dspy_call_form(serve):
    """`LM` takes DSPy's arguments and sends those that are parameters of requests."""
    server = serve()
    lm = LM(
        "openai/gpt-4o-mini",
        temperature=0.7,
        max_tokens=1000,
        cache=False,
        num_retries=3,
        api_base=server.url,
        api_key="k" * 20,
        top_p=0.9,
    )
    lm("hi")
    body = server.requests[0].body
    assert {k: body[k] for k in ("model", "temperature", "max_tokens", "top_p")} == {
        "model": "gpt-4o-mini",
        "temperature": 0.7,
        "max_tokens": 1000,
        "top_p": 0.9,
    }


@pytest.mark.parametrize("variable", ["OPENAI_API_BASE", "OPENAI_BASE_URL"])
def test_address_from_the_environment(serve, monkeypatch, variable):
    """The address is taken from the usual variables, at the time of the call."""
    lm = LM("openai/m", cache=False)
    monkeypatch.setenv(variable, serve("from there").url)
    assert lm("hi") == ["from there"]


def test_headers_under_several_names_are_sent_together(serve):
    """The last name hid the others, the header with the key among them."""
    names = {"headers": {"X-A": "1"}, "extra_headers": {"Authorization": "Bearer sk-right"}}
    server = serve("ok", api_key="sk-right")
    assert model(server, **names, default_headers={"X-B": "2"})("hi") == ["ok"]
    assert model(server, **dict(reversed(names.items())))("hi") == ["ok"]


def test_key_from_the_environment(serve, monkeypatch):
    """The key is taken from OPENAI_API_KEY, at the time of the call."""
    lm = model(serve("ok", api_key="sk-right"))
    monkeypatch.setenv("OPENAI_API_KEY", "sk-right")
    assert lm("hi") == ["ok"]


def test_missing_key_is_refused_before_the_call():
    """OpenAI's own address without a key is refused with the variable's name."""
    with pytest.raises(LMNotConfiguredError, match="OPENAI_API_KEY"):
        LM("openai/gpt-4o-mini", cache=False)("hi")
    with pytest.raises(LMNotConfiguredError, match="OPENAI_API_KEY"):
        LM("openai/gpt-4o-mini").check()


@pytest.mark.parametrize("name", ["forward", "aforward", "__call__", "acall"])
def test_a_model_that_answers_by_itself_needs_no_key(name, monkeypatch):
    """One of the user's own, whatever it is called: no run asks it for what only a server needs."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    kind = type("Own", (LM,), {name: lambda self, prompt=None, messages=None, **kwargs: ["blue"]})
    kind("own").check()
    kind("absent_provider/own").check()


MADE = json.dumps({"choices": [{"message": {"content": "made"}}]}).encode()


@pytest.fixture
def raw_server():
    """Return a function that starts a server which answers as told, and notes what it was asked.

    It takes status, body and headers for each path, or one answer for all; it gives the address without
    /v1, and a list of method, path and headers.
    """
    running = []

    def start(answers):
        asked = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                asked.append((self.command, self.path, dict(self.headers)))
                self.rfile.read(int(self.headers["Content-Length"] or 0))
                answer = answers if isinstance(answers, tuple) else answers[self.path]
                status, body, headers = answer
                self.send_response(status)
                for name, value in {"Content-Length": str(len(body)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST  # noqa: N815 - the name is the standard library's

            def log_message(self, *_):
                pass

        server = HTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        running.append((server, thread))
        return f"http://127.0.0.1:{server.server_port}", asked

    yield start
    for server, thread in running:
        server.shutdown()
        thread.join()
        server.server_close()


def plain_lm(url, **kwargs):
    """Return an LM on `url` without cache and retries."""
    return LM("openai/m", **{"api_base": f"{url}/v1", "cache": False, "num_retries": 0, **kwargs})


def test_any_success_is_one(raw_server):
    """A completion under another status of success was taken for a refused request, and scored as such."""
    url, _ = raw_server((201, MADE, {}))
    assert plain_lm(url)("hi") == ["made"]


def test_byte_order_mark_before_an_answer(raw_server):
    """The answer was taken for none, and paid again and again."""
    url, _ = raw_server((200, b"\xef\xbb\xbf" + MADE, {}))
    assert plain_lm(url)("hi") == ["made"]


def test_query_of_an_address_stays_behind_the_path(raw_server):
    """As of Azure's `api-version`: the path was written behind it."""
    url, asked = raw_server((200, MADE, {}))
    assert plain_lm(url, api_base=f"{url}/v1/?api-version=2024-10-21")("hi") == ["made"]
    assert asked[0][1] == "/v1/chat/completions?api-version=2024-10-21"


@pytest.mark.parametrize(("status", "method"), [(303, "GET"), (307, "POST"), (308, "POST")])
def test_redirection_on_the_same_server(raw_server, status, method):
    """It is followed: some hosts let a long call be waited for elsewhere."""
    url, asked = raw_server(
        {"/v1/chat/completions": (status, b"", {"Location": "/wait?call=1"}), "/wait?call=1": (200, MADE, {})}
    )
    assert plain_lm(url)("hi") == ["made"]
    assert asked[1][:2] == (method, "/wait?call=1")


@pytest.mark.parametrize("status", [301, 307])
def test_redirection_to_another_server(raw_server, status):
    """It gets neither key nor prompt: headers with a key went along."""
    other, asked = raw_server((200, MADE, {}))
    url, _ = raw_server((status, b"", {"Location": f"{other}/v1/chat/completions"}))
    with pytest.raises(LMNotFoundError, match=f"pass its new address.*{other}"):
        plain_lm(url, headers={"api-key": "azure-secret"})("hi")
    assert not asked


def test_redirection_without_end(raw_server):
    """It is given up."""
    url, asked = raw_server((307, b"", {"Location": "/v1/chat/completions"}))
    with pytest.raises(LMConnectionError, match="redirects without end"):
        plain_lm(url)("hi")
    assert len(asked) == _wire.MAX_REDIRECTS


def test_key_with_a_line_feed(raw_server, monkeypatch):
    """One that was read from a file ends in one; the client raised an error that says nothing of a key."""
    url, asked = raw_server((200, MADE, {}))
    assert plain_lm(url, api_key="sk-1234\n", headers={"X-A": " b\n"})("hi") == ["made"]
    monkeypatch.setenv("OPENAI_API_KEY", "sk-5678\r\n")
    assert plain_lm(url)("hi") == ["made"]
    assert [headers["Authorization"] for *_, headers in asked] == ["Bearer sk-1234", "Bearer sk-5678"]
    assert asked[0][2]["X-A"] == "b"


@pytest.mark.parametrize("given", [{"api_key": "sk-12\n34"}, {"headers": {"X-Key": "sk-12\u200b34"}}])
def test_key_that_can_not_be_sent(raw_server, given):
    """It ends a run before anything is sent, with the header's name and without the key."""
    url, asked = raw_server((200, MADE, {}))
    with pytest.raises(LMAuthError, match="one line of characters that can be seen") as raised:
        plain_lm(url, **given)("hi")
    assert "sk-12" not in str(raised.value)
    assert not asked


@pytest.mark.parametrize(
    ("proxy", "error", "match"),
    [
        ("socks5://127.0.0.1:9", LMConnectionError, "must be an HTTP proxy.*socks5;"),
        (
            "127.0.0.1:9",
            LMConnectionError,
            "could not connect to the proxy .*add example.invalid to NO",
        ),
    ],
)
def test_proxies_of_the_environment(serve, monkeypatch, proxy, error, match):
    """What is wrong with a proxy is told of it, and not of the server."""
    model(serve())("hi")  # proxies are read with the first call only
    monkeypatch.setattr(_wire, "_proxies", {"http": proxy})
    monkeypatch.setattr("urllib.request.proxy_bypass", lambda _: False)
    with pytest.raises(error, match=match):
        plain_lm("http://example.invalid")("hi")


def test_proxy_without_a_scheme(raw_server, serve, monkeypatch):
    """It is an HTTP proxy, as for curl and requests."""
    model(serve())("hi")
    url, asked = raw_server((200, MADE, {}))
    monkeypatch.setattr(_wire, "_proxies", {"http": url.removeprefix("http://")})
    monkeypatch.setattr("urllib.request.proxy_bypass", lambda _: False)
    assert plain_lm("http://example.invalid")("hi") == ["made"]
    assert asked[0][1] == "http://example.invalid/v1/chat/completions"


def test_cost_that_openrouter_tells(raw_server):
    """It is what was paid, whatever the lists say; the caller's own prices go before."""
    usage = {"prompt_tokens": 10, "completion_tokens": 10, "cost": 0.125}
    url, _ = raw_server((200, json.dumps({**json.loads(MADE), "usage": usage}).encode(), {}))
    places = {"api_base": f"{url}/v1", "cache": False}

    def cost(name, **kwargs):
        lm = LM(name, **places, **kwargs)
        lm("hi")
        return lm.history[-1]["cost"]

    assert cost("openrouter/unheard/of") == 0.125
    assert cost("openrouter/unheard/of", prices={"input": 1e5, "output": 1e5}) == 2.0
    assert cost("openai/unheard-of") is None


def test_streams_are_refused(serve):
    """Every answer was paid, taken for none, and asked for again."""
    server = serve()
    for refuse in (lambda: model(server, stream=True), lambda: model(server)("hi", stream=True)):
        with pytest.raises(UserError, match="`stream` must be False"):
            refuse()
    model(server, stream=False)("hi")
    assert server.count == 1
    assert "stream" not in server.requests[0].body


def test_arguments_for_a_client_are_not_sent(raw_server, caplog):
    """OpenAI refuses every request with a parameter that it does not know."""
    url, asked = raw_server((200, MADE, {}))
    given = {"drop_params": True, "max_retries": 2, "organization": "org-1", "project": "proj-1"}
    lm = plain_lm(url, **given, extra_headers={"X-A": "1"})
    lm("hi")
    assert not lm.request("hi").params
    assert {
        k: v for k, v in asked[0][2].items() if k in {"OpenAI-Organization", "OpenAI-Project", "X-A"}
    } == {
        "OpenAI-Organization": "org-1",
        "OpenAI-Project": "proj-1",
        "X-A": "1",
    }
    lm("hi", max_retries=2, caching=True)
    lm("hello", max_retries=2, caching=True)
    told = [text.partition(" has no meaning in mipro")[0] for text in caplog.messages]
    assert told == ["`drop_params`", "`max_retries`", "`caching`"]  # a run would tell of it with each call


def test_missing_address_is_refused():
    """A kind of server without an address of its own asks for `api_base`."""
    with pytest.raises(UserError, match="api_base"):
        LM("hosted_vllm/m", cache=False)("hi")


@pytest.mark.parametrize(
    ("address", "shown"),
    [("localhost:8000/v1", "localhost:8000/v1"), ("me:hunter2@host:8000?token=hunter2", "host:8000")],
)
def test_address_without_http_is_refused(address, shown):
    """It was tried again and again, as if the server were down; what may be secret in it is not shown."""
    for asked in (LM.check, lambda lm: lm("hi")):
        with pytest.raises(
            UserError, match=f"must begin with http:// or https://, but got '{shown}'"
        ) as caught:
            asked(LM("openai/m", api_base=address, api_key="k", cache=False))
        assert "hunter2" not in str(caught.value)


def test_wrong_key(serve):
    """401 names model, status and what to do, and does not repeat the key."""
    lm = model(serve(api_key="sk-right"), api_key="sk-wrong-1234")
    with pytest.raises(LMAuthError, match=r"`openai/m`.*401.*OPENAI_API_KEY") as caught:
        lm("hi")
    assert caught.value.status == 401
    assert "sk-wrong-1234" not in str(caught.value)


def test_unknown_model(serve):
    """404 is an error of its own and is not tried again."""
    server = serve(models=["other"])
    with pytest.raises(LMNotFoundError, match=r"`openai/m`.*404.*name"):
        model(server, num_retries=3)("hi")
    assert server.count == 1


def test_connection_refused(serve):
    """A dead server is reported with its address."""
    server = serve()
    lm = model(server)
    server.stop()
    with pytest.raises(LMConnectionError, match=r"127\.0\.0\.1.*could not connect"):
        lm("hi")


@pytest.mark.skipif(sys.platform == "win32", reason="without that limit")
def test_no_more_files_may_be_open(serve):
    """Said as what it is: on macOS a process may have 256 files and connections, fewer than threads."""
    import resource  # noqa: PLC0415 - not on every platform

    lm = model(serve("ok"))
    assert lm("hi") == ["ok"]  # loads the client
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    asyncio.run_coroutine_threadsafe(_wire._close(), io_loop()).result()
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, limit[1]))
    try:
        with pytest.raises(LMConnectionError, match=r"Too many open files\); lower `num_threads`, or"):
            lm("again")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limit)


def test_timeout(serve):
    """A server that hangs is given up after `timeout` seconds."""
    lm = model(serve(error_rate=1.0, errors=["hang"]), timeout=0.2)
    start_s = time.perf_counter()
    with pytest.raises(LMTimeoutError, match=r"no answer within 0\.2 s"):
        lm("hi")
    assert time.perf_counter() - start_s < 5


def test_connection_reset(serve):
    """A connection cut in the middle may pass, so it is a connection error."""
    with pytest.raises(LMConnectionError, match="broke"):
        model(serve(error_rate=1.0, errors=["reset"]))("hi")


def test_an_answer_without_end_is_given_up(serve, monkeypatch):
    """It filled the memory for as long as `timeout` lets it."""
    monkeypatch.setattr(_wire, "MAX_ANSWER_BYTES", 10_000)
    assert model(serve("a" * 5_000))("hi") == ["a" * 5_000]
    with pytest.raises(LMConnectionError, match="the answer is longer than 10,000 bytes"):
        model(serve("a" * 10_000))("hi")


def test_rate_limit_exhausted(serve):
    """429 to the end raises the rate-limit error after all attempts."""
    server = serve(error_rate=1.0, errors=[429], retry_after_s=0.01)
    with pytest.raises(LMRateLimitError, match="after 3 attempts"):
        model(server, num_retries=2)("hi")
    assert server.count == 3


def test_no_credit_is_not_retried(serve):
    """429 for lack of credit is no rate limit: trying again can't help."""
    server = serve(lambda _: Fault(429, "You exceeded your quota.", code="insufficient_quota"))
    with pytest.raises(LMAuthError, match="credit"):
        model(server, num_retries=3)("hi")
    assert server.count == 1


def test_context_window(serve):
    """A prompt that is too long is told from other refused requests."""
    with pytest.raises(ContextWindowError, match="longer than the model's context window"):
        model(serve(context_size=5))("word " * 100)


def test_refused_request(serve):
    """400 carries what the server said."""
    with pytest.raises(LMRequestError, match="no such parameter: frob"):
        model(serve(lambda _: Fault(400, "no such parameter: frob")))("hi")


def test_retry_until_it_works(serve):
    """Failures that pass are tried again within one call."""
    script = iter([Fault(500), Fault(429), Fault("reset"), "at last"])
    server = serve(lambda _: next(script), retry_after_s=0.0)
    assert model(server, num_retries=3)("hi") == ["at last"]
    assert server.count == 4


def test_retry_after_is_honoured(serve):
    """The next attempt comes no earlier than the server asks."""
    script = iter([Fault(429, retry_after=0.3), "ok"])
    lm = model(serve(lambda _: next(script)), num_retries=1)
    start_s = time.perf_counter()
    lm("hi")
    assert time.perf_counter() - start_s >= 0.3


def test_not_an_api(serve):
    """A 200 that is no completion says so instead of failing somewhere else."""
    with pytest.raises(LMServerError, match="not with a completion"):
        model(serve({"choices": "none"}))("hi")


def test_usage_and_price(serve):
    """Counts of the server and the caller's prices give the cost."""
    lm = model(serve("x" * 400), prices={"input": 1.0, "output": 2.0})
    lm("y" * 4000)
    entry = lm.history[-1]
    assert entry["usage"] == {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100}
    assert entry["cost"] == pytest.approx(0.0012)


def test_rollout_id_is_not_sent(serve):
    """`rollout_id` makes another request of the same prompt, but the server never sees it."""
    server = serve()
    lm = model(server, temperature=1.0)
    lm("hi", rollout_id=7)
    assert "rollout_id" not in server.requests[0].body
    assert lm.request("hi", rollout_id=7).key != lm.request("hi", rollout_id=8).key


def test_rollout_at_temperature_zero_warns_once(serve):
    """Asking for a fresh draw at temperature 0 warns, once for a model."""
    lm = model(serve(), temperature=0.0)
    with pytest.warns(UserWarning, match="rollout_id has no effect"):
        lm("hi", rollout_id=1)
    lm("hi", rollout_id=2)


def test_developer_role(serve):
    """`use_developer_role` renames system messages of the Responses API."""
    server = serve()
    lm = model(server, model_type="responses", use_developer_role=True)
    lm(messages=[{"role": "system", "content": "a"}, {"role": "user", "content": "b"}])
    assert [item["role"] for item in server.requests[0].body["input"]] == ["developer", "user"]
    assert lm.dump_state()["use_developer_role"] is True


def test_arguments_for_fine_tuning_are_left_out(serve, caplog):
    """DSPy's arguments that mean nothing here do not reach the server, and that is noted."""
    server = serve()
    model(server, train_kwargs={"a": 1}, finetuning_model=None)("hi")
    assert "train_kwargs" not in server.requests[0].body
    assert ["train_kwargs" in record.message for record in caplog.records] == [True]


def test_reasoning_model(serve):
    """Reasoning models get `max_completion_tokens` and no temperature."""
    server = serve()
    model(server, "openai/o4-mini", temperature=0.5, max_tokens=20_000)("hi", temperature=0.3)
    body = server.requests[0].body
    assert body["max_completion_tokens"] == 20_000
    assert not body.keys() & {"temperature", "max_tokens"}


def test_reasoning_content_is_kept(serve):
    """Native reasoning comes back beside the text."""
    lm = model(serve({"content": "42", "reasoning_content": "6 x 7"}))
    assert lm("hi") == [{"text": "42", "reasoning_content": "6 x 7"}]


def test_tool_calls(serve):
    """Tools are passed on and tool calls come back in OpenAI's form."""
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    server = serve({"content": None, "tool_calls": [call]})
    tools = [{"type": "function", "function": {"name": "f", "parameters": {}}}]
    assert model(server)("hi", tools=tools) == [{"text": None, "tool_calls": [call]}]
    assert server.requests[0].body["tools"] == tools


def test_response_format_from_pydantic(serve):
    """A pydantic class as `response_format` is sent as a JSON schema."""

    class Answer(pydantic.BaseModel):
        n: int

    server = serve('{"n": 1}')
    model(server)("hi", response_format=Answer)
    form = server.requests[0].body["response_format"]
    assert (form["type"], form["json_schema"]["name"]) == ("json_schema", "Answer")
    assert form["json_schema"]["schema"]["properties"]["n"]["type"] == "integer"


def test_response_format_from_pydantic_is_strict_where_it_says_so(serve):
    """OpenAI refuses a schema that is called strict and has open objects or words beside a reference."""

    class Part(pydantic.BaseModel):
        n: int = 0

    class Closed(pydantic.BaseModel):
        part: Part = pydantic.Field(description="a part")
        note: str | None = None

    class Open(pydantic.BaseModel):
        counts: dict[str, int] = {}

    server = serve('{"n": 1}')
    lm = model(server, cache=False)
    lm("hi", response_format=Closed)
    lm("hi", response_format=Open)
    closed, opened = (request.body["response_format"]["json_schema"] for request in server.requests)
    assert closed["strict"] is True
    for part in (closed["schema"], closed["schema"]["$defs"]["Part"]):
        assert part["additionalProperties"] is False
        assert part["required"] == list(part["properties"])
    shown = {"anyOf": [{"$ref": "#/$defs/Part"}], "description": "a part"}
    assert closed["schema"]["properties"]["part"] == shown
    assert (opened["strict"], opened["schema"]) == (False, Open.model_json_schema())


def test_image_passes_through(serve):
    """Image parts reach the server as they are."""
    server = serve()
    parts = [
        {"type": "text", "text": "what is it?"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
    ]
    model(server)(messages=[{"role": "user", "content": parts}])
    assert server.requests[0].body["messages"][0]["content"] == parts


def test_text_model(serve):
    """`model_type="text"` completes one text."""
    server = serve("done")
    assert model(server, model_type="text")("once upon") == ["done"]
    assert server.requests[0].path == "/v1/completions"
    assert server.requests[0].body["prompt"].startswith("once upon")


def test_responses_model(serve):
    """`model_type="responses"` speaks OpenAI's newer API, whose answers are dicts, as in DSPy."""
    server = serve("done")
    lm = model(server, model_type="responses", max_tokens=50)
    assert lm("hi") == lm.history[0]["outputs"] == [{"text": "done"}]
    body = server.requests[0].body
    assert server.requests[0].path == "/v1/responses"
    assert (body["input"], body["max_output_tokens"]) == ([{"role": "user", "content": "hi"}], 50)
    assert lm.history[0]["usage"]["total_tokens"] > 0


@pytest.mark.parametrize("model_type", ["chat", "responses"])
@pytest.mark.parametrize("is_gated", [False, True])
def test_more_answers_than_the_server_gives_at_once(serve, model_type, is_gated):
    """`n=3` gave one answer where a server knows no `n`, and none of the Responses API, which refuses it."""
    asked = []

    class Gate:
        async def call(self, lm, request):
            asked.append(request.key)
            return await lm.send(request)

    numbers = iter("abc")
    server = serve(lambda _body: [next(numbers)])
    lm = model(server, model_type=model_type, cache=True)
    with context(gate=Gate() if is_gated else None), track_usage() as tracker:
        outputs = lm("hi", n=3)
        if not is_gated:
            assert lm("hi", n=3) == outputs
    assert [output if model_type == "chat" else output["text"] for output in outputs] == ["a", "b", "c"]
    sent = [request.body.get("n") for request in server.requests]
    assert sent == [3 if model_type == "chat" else None, None, None]
    assert len(set(asked)) == (3 if is_gated else 0)
    assert tracker.get_total_tokens()["openai/m"]["completion_tokens"] == 3


def test_responses_model_gets_all_in_the_form_of_its_api(serve):
    """What an assistant said, how closely to look at an image, the tool to call, other options of texts."""
    server = serve("done")
    image = {"url": "https://example.org/a.png", "detail": "low"}
    messages = [
        {"role": "user", "content": [{"type": "image_url", "image_url": image}]},
        {"role": "assistant", "content": [{"type": "text", "text": "a cat"}]},
        {"role": "user", "content": [{"type": "image_url", "image_url": image["url"]}]},
    ]
    model(server, model_type="responses", text={"verbosity": "low"}, reasoning={"effort": "high"})(
        messages=messages,
        reasoning_effort="low",
        response_format={"type": "json_object"},
        tools=[{"type": "function", "function": {"name": "look", "parameters": {}}}],
        tool_choice={"type": "function", "function": {"name": "look"}},
    )
    body = server.requests[0].body
    assert [part for item in body["input"] for part in item["content"]] == [
        {"type": "input_image", "image_url": image["url"], "detail": "low"},
        {"type": "output_text", "text": "a cat"},
        {"type": "input_image", "image_url": image["url"]},
    ]
    assert body["text"] == {"verbosity": "low", "format": {"type": "json_object"}}
    assert body["tool_choice"] == {"type": "function", "name": "look"}
    assert body["reasoning"] == {"effort": "high"}


def test_truncated_answer_warns_once(serve, caplog):
    """An answer cut off at the limit is noted, once for a model."""
    choice = {"message": {"role": "assistant", "content": "a"}, "finish_reason": "length"}
    lm = model(serve({"model": "m", "choices": [choice]}), max_tokens=1)
    with caplog.at_level(logging.WARNING, "mipro.lm"):
        lm("hi")
        lm("ho")
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_key_of_one_call(serve):
    """A key given to a call holds for that call, and its history stays with the model."""
    server = serve(api_key="sk-right")
    lm = model(server)
    assert lm("hi", api_key="sk-right") == ["ok"]
    with pytest.raises(LMAuthError):
        lm("hi")
    assert len(lm.history) == 1


def test_what_is_set_in_kwargs_later_configures_the_model(serve):
    """Programs change the key, address or headers of a model that they have; no request's body holds them."""
    old, new = serve("old"), serve("new", api_key="k2")
    lm = LM("openai/m", api_base=old.url, api_key="k1", cache=False)
    assert lm("x") == ["old"]
    lm.kwargs.update(api_key="k2", api_base=new.url, extra_headers={"X-User": "ann"}, timeout=9, top_p=0.5)
    assert [lm("x"), lm.copy()("x"), lm("x", api_key="k2")] == [["new"]] * 3
    assert all(request.headers["x-user"] == "ann" for request in new.requests)
    assert {*new.requests[0].body} == {"model", "messages", "top_p"}
    assert (lm.dump_state()["api_base"], "k2" in repr(lm)) == (new.url, False)


def test_values_that_are_not_json_are_refused(serve):
    """A request that can't be written as JSON names the model and is the caller's mistake."""
    with pytest.raises(UserError, match=r"`openai/m`.*JSON"):
        model(serve())(messages=[{"role": "user", "content": object()}])


def test_odd_text_survives(serve):
    """Any text, lone surrogates included, reaches the server and comes back."""
    text = "ü \U0001f600 \ud800 \x00 \u2028"
    lm = model(serve(lambda request: request["messages"][0]["content"]))
    assert lm(text) == [text]


def test_calls_from_threads_run_at_once(serve):
    """32 calls at 100 ms take far less than 3.2 s: nothing but the server is waited for."""
    server = serve(latency_s=0.1)
    lm = model(server)
    with ThreadPoolExecutor(32) as threads:
        list(threads.map(lm, map(str, range(32))))
    assert server.stats["peak_concurrency"] >= 16


def test_contexts_of_64_threads_do_not_mix(serve):
    """64 threads, each under a `context(lm=...)` of its own, ask their own model only."""
    server = serve(lambda request: request["model"])
    configure(lm=None)

    def ask(index):
        with context(lm=model(server, f"openai/m{index}")):
            return [settings.lm("hi")[0] for _ in range(3)]

    with ThreadPoolExecutor(64) as threads:
        assert list(threads.map(ask, range(64))) == [[f"m{i}"] * 3 for i in range(64)]


def test_contexts_of_64_tasks_do_not_mix(serve):
    """64 tasks, each under a `context(lm=...)` of its own, ask their own model only."""
    server = serve(lambda request: request["model"], latency_s=0.01)

    async def ask(index):
        with context(lm=model(server, f"openai/m{index}")):
            return [(await settings.lm.acall("hi"))[0] for _ in range(3)]

    async def all_of_them():
        return await asyncio.gather(*(ask(index) for index in range(64)))

    assert asyncio.run(all_of_them()) == [[f"m{i}"] * 3 for i in range(64)]


def test_cancelled_task_leaves_the_pool_usable(serve):
    """A call that is cancelled while it waits does not disturb the next."""
    arrived = threading.Event()

    def answer(_):
        arrived.set()
        return asyncio.sleep(0.2, "ok")

    lm = model(serve(answer))

    async def cancel_then_ask():
        task = asyncio.create_task(lm.acall("slow"))
        await asyncio.to_thread(arrived.wait, 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return await lm.acall("next")

    assert asyncio.run(cancel_then_ask()) == ["ok"]


def test_forward_is_openai_like(serve):
    """`forward` gives an OpenAI-like object, for programs that build on it."""
    response = model(serve("hello")).forward(prompt="hi")
    assert response.choices[0].message.content == "hello"
    assert json.loads(json.dumps(response))["usage"]["total_tokens"] > 0


def test_subclass_can_wrap_forward(serve):
    """A subclass of `LM` that overrides `forward` is asked, and may call the original."""

    class Loud(LM):
        def forward(self, prompt=None, messages=None, **kwargs):
            response = super().forward(prompt=prompt.upper(), messages=messages, **kwargs)
            response["choices"][0]["message"]["content"] += "!"
            response.lm_response = None
            return response

    lm = Loud("openai/m", api_base=serve(lambda r: r["messages"][0]["content"]).url, cache=False)
    assert lm("hi") == ["HI!"]


@pytest.mark.parametrize(
    ("kwargs", "match"),
    [
        ({"model": ""}, "`model`"),
        ({"model": "openai/"}, "name after the provider"),
        ({"model": "m", "num_retries": -1}, "`num_retries`"),
        ({"model": "m", "timeout": 0}, "`timeout`"),
        ({"model": "m", "model_type": "audio"}, "`model_type`"),
        ({"model": "m", "prices": {"input": 1}}, "`prices`"),
        ({"model": "m", "prices": {"input": -1, "output": 1}}, "negative"),
        ({"model": "local/m", "parallel": 0}, "`parallel`"),
    ],
)
def test_bad_arguments_are_refused(kwargs, match):
    """A wrong argument is refused when the model is made, with its name."""
    with pytest.raises(UserError, match=match):
        LM(**kwargs)


def test_a_failure_under_status_200(serve):
    """A proxy's failure is tried again, and its message is the server's."""
    answers = [{"error": {"code": 502, "message": "upstream down"}, "choices": []}, "ok"]
    server = serve(answers)
    assert model(server, num_retries=1)("hi") == ["ok"]
    assert server.count == 2
    with pytest.raises(LMServerError, match="upstream down"):
        model(serve(answers[0]))("hi")


@pytest.mark.parametrize(
    "answer",
    [
        {"choices": []},
        {"choices": [{"message": {"content": 5}}]},
        {"choices": [{"message": {"content": "a", "tool_calls": 3}}]},
        {"choices": None, "status": "failed", "error": {"message": "down"}, "output": []},
    ],
)
def test_no_completion(serve, answer):
    """What holds no answer, or one of the wrong type, is a failure of the server and not kept."""
    server = serve([answer, "ok"])
    lm = model(server, cache=True)
    with pytest.raises(LMServerError):
        lm("hi")
    assert lm("hi") == ["ok"]
