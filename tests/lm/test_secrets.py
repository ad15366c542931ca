"""A key appears nowhere: searched for in everything that can be looked at or saved."""

import base64
import copy
import io
import json
import logging
import pickle
import socket
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mipro.context import context
from mipro.errors import LMAuthError, LMConnectionError, LMError, LMServerError, UserError
from mipro.lm import LM, BaseLM, LMRequest, inspect_history
from mipro.lm._cache import response_cache
from mipro.lm._secrets import (
    Secret,
    is_secret_name,
    public,
    public_url,
    redact,
    split_secrets,
    without_literals,
)
from mipro.testing.server import Fault

KEY = "sk-test-7d1f9c"


@pytest.fixture
def lm(serve):
    """Return a model with a key, a secret header, and a password in its address."""
    server = serve("ok", api_key=KEY)
    return LM(
        "openai/m",
        api_base=server.url.replace("://", f"://user:{KEY}@"),
        headers={"X-Token": KEY},
        api_key=KEY,
    )


def test_key_is_nowhere(lm, tmp_path, caplog):
    """After a call no repr, history, state, request, pickle, log or cache file holds the key."""
    out = io.StringIO()
    with caplog.at_level(logging.DEBUG):
        assert lm("hi") == ["ok"]
    inspect_history(1, file=out)
    shown = [
        repr(lm),
        str(vars(lm)),
        repr(lm._backend),
        repr(lm.history),
        json.dumps(lm.dump_state()),
        repr(lm.request("hi")),
        lm.identity,
        out.getvalue(),
        caplog.text,
        repr(pickle.dumps(lm)),
    ]
    response_cache().flush()
    files = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert files
    assert [text for text in shown if KEY in text] == []
    assert [data for data in files if KEY.encode() in data] == []


def test_key_is_not_in_errors(serve):
    """A server that repeats the key in its error does not get it into ours."""
    server = serve(lambda _: Fault(401, f"bad key {KEY}"))
    with pytest.raises(LMAuthError) as caught:
        LM("openai/m", api_base=server.url, api_key=KEY, cache=False)("hi")
    chain = [caught.value, caught.value.__cause__, caught.value.__context__]
    assert [text for text in map(repr, chain) if KEY in text] == []


def test_copies_keep_the_key(lm):
    """A copy and a deep copy in memory still work."""
    assert lm.copy()("a") == ["ok"]
    assert copy.deepcopy(lm)("b") == ["ok"]


def test_pickle_drops_the_key():
    """A pickled secret comes back empty, so that the environment variable counts."""
    assert pickle.loads(pickle.dumps(Secret(KEY))).reveal() == ""


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        ("api_key", True),
        ("aws_secret_access_key", True),
        ("aws_session_token", True),
        ("azure_ad_token", True),
        ("vertex_credentials", True),
        ("extra_headers", True),
        ("x-api-key", True),
        ("passwd", True),
        ("private_key", True),
        ("accessToken", True),
        ("max_tokens", False),
        ("max_completion_tokens", False),
        ("top_p", False),
    ],
)
def test_secret_names(name, secret):
    """Names of secrets are told from names that only look like them."""
    assert is_secret_name(name) is secret


def test_secret_parameters_stay_out_of_requests():
    """Credentials under a provider's own names are no parameters of requests."""
    lm = LM("bedrock/m", aws_secret_access_key=KEY, top_p=0.5)
    assert lm.kwargs == {"temperature": None, "max_tokens": None, "top_p": 0.5}
    assert KEY not in repr(vars(lm))


def test_redact_leaves_ordinary_words():
    """Only values long enough to be secrets are replaced."""
    assert redact("the key abc and abcdef", ["abc", "abcdef", ""]) == "the key abc and ***"
    assert redact("PIN 1234", ["1234"]) == "PIN ***"
    login = "Basic " + base64.b64encode(b"root:abc").decode()
    assert redact("the key abc of root:abc", [login]) == "the key abc of ***"


@pytest.mark.parametrize("secrets", [["abcd", "abcd-wxyz"], ["wxyz", "abcd-wxyz"]])
def test_a_secret_within_another_leaves_no_rest(secrets):
    """Of a key that begins or ends with another one nothing is shown."""
    assert redact("bad abcd-wxyz", secrets) == redact("bad abcd-wxyz", secrets[::-1]) == "bad ***"


PARAMETERS = st.recursive(
    st.none() | st.integers() | st.text("ab", max_size=3) | st.just(f"http://u:{KEY}@h"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.sampled_from(["token", "tool", "properties", 7]), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["api_key", "extra_body", "logit_bias"]), PARAMETERS))
def test_what_is_taken_out_of_parameters_is_put_back(params):
    """What is left shows no secret, and with the secrets it is what it was, tuples and number keys too."""
    rest, secrets = split_secrets(params)
    assert secrets.put_back(rest) == params
    assert "api_key" not in rest
    assert KEY not in repr(rest)
    assert split_secrets(rest)[0] is rest


def test_a_secret_in_a_list_is_known():
    """Headers may be pairs; an error that repeats one does not show it."""
    assert KEY in split_secrets({"extra_headers": [("X-Token", KEY)]})[1].texts()


def test_a_value_is_no_field_of_a_schema():
    """What is called as a field of a schema may be, but is no schema, is a secret."""
    assert public({"properties": {"token": KEY, "password": {"type": "string"}}}) == {
        "properties": {"password": {"type": "string"}}
    }


def test_public_url():
    """User, password and query of an address are not shown."""
    assert public_url("https://u:p@host:1/v1?key=k") == "https://host:1/v1"


class Own(BaseLM):
    """A user's model that notes what its `forward` is given."""

    def forward(self, prompt=None, messages=None, **kwargs):
        """Note the parameters."""
        self.given = kwargs
        return "x"


class SendingGate:
    """Notes the requests and sends them."""

    def __init__(self):
        self.requests = []

    async def call(self, lm, request):
        """Send the request."""
        self.requests.append(request)
        return await lm.send(request)


def failure(lm, kind=LMError):
    """Return what a call raises, and all that is chained to it, as one text."""
    with pytest.raises(kind) as caught:
        lm("hi")
    error, texts = caught.value, []
    while error is not None:
        texts.append(f"{error!r} {error}")
        error = error.__cause__ or error.__context__
    return "\n".join(texts)


def test_secrets_of_a_users_model_are_sent_but_not_shown():
    """A key among the parameters reaches `forward`, and no state, repr, request, history or callback."""
    told = []

    class Callback:
        def on_lm_start(self, call_id, instance, inputs):
            told.append(inputs)

    lm, gate = Own("own", api_key=KEY, top_p=0.5, options={"auth": [{"token": KEY}], "k": 3}), SendingGate()
    with context(gate=gate, callbacks=[Callback()]):
        lm("hi", session_token=KEY)
    assert lm.given == {
        "api_key": KEY,
        "top_p": 0.5,
        "options": {"auth": [{"token": KEY}], "k": 3},
        "session_token": KEY,
    }
    (request,) = gate.requests
    assert request.params == {"top_p": 0.5, "options": {"auth": [{}], "k": 3}}
    assert lm.public_kwargs["options"] == {"auth": [{}], "k": 3}
    shown = [lm, lm.dump_state(), request, vars(request), pickle.dumps(request), lm.history, told]
    assert [value for value in map(repr, shown) if KEY in value] == []


def test_secrets_are_no_part_of_a_requests_key():
    """Another key asks the same question, so that an answer is not paid for again."""
    keys = {Own("own", top_p=0.5, api_key=key).request("hi").key for key in (None, KEY, "sk-other")}
    assert len(keys) == 1
    assert LMRequest("m", (), {"api_key": KEY}).key == LMRequest("m", ()).key


def test_parameters_without_secrets_are_left_alone():
    """A request without secrets is what it always was, its key included."""
    params = {"extra_body": {"top_k": 3}, "stop": ["a@b", "://"], "max_tokens": 5}
    request = LMRequest("m", (), params)
    assert request.params is request.sent_params is params
    assert request.key == "6d7e37a4dd3f647b0a65d1932d46a0dcbf20c589a343acdceb917d533607ebc4"


def test_fields_of_a_schema_are_no_secrets():
    """A field that the user calls `token` or `password` is a part of what is asked."""
    fields = {"password": {"type": "string"}, "token": {"type": "string"}}
    schema = {"type": "object", "properties": fields, "$defs": {"Token": {"type": "string"}}}
    params = {
        "response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": schema}},
        "tools": [{"type": "function", "function": {"name": "f", "parameters": schema}}],
    }
    assert public(params) is params


def test_secrets_of_tools_are_hidden():
    """The headers that a server is to send to a tool are secrets deep in the parameters."""
    tool = {"type": "mcp", "server_url": f"https://u:{KEY}@h/mcp", "headers": {"Authorization": KEY}}
    request = LMRequest("m", (), {"tools": [tool]})
    assert request.params == {"tools": [{"type": "mcp", "server_url": "https://h/mcp"}]}
    assert request.sent_params == {"tools": [tool]}


def test_a_text_of_colons_is_read_at_once():
    """As a hostile server may describe its tools: half a megabyte took half an hour."""
    params = {"tools": [{"description": f"@ ://{':' * 500_000}"}]}
    assert public(params) == params


def test_secrets_find_their_place_in_changed_parameters():
    """Secrets are put back where there still is a place for them."""
    request = LMRequest("m", (), {"extra_body": {"api_key": KEY}, "tools": [{"token": KEY}]})
    changed = LMRequest("m", (), {"tools": []}, secrets=request.secrets)
    assert (changed.params, changed.sent_params) == ({"tools": []}, {"tools": []})


def test_extra_body_is_sent_whole(serve):
    """A key in `extra_body` is sent, and neither shown nor saved."""
    server = serve("ok")
    lm = LM("openai/m", api_base=server.url, extra_body={"api_key": KEY, "top_k": 3}, cache=False)
    assert lm("hi") == ["ok"]
    assert server.requests[0].body["api_key"] == KEY
    assert "'top_k': 3" in repr(lm)
    shown = [repr(lm), repr(lm.dump_state()), repr(lm.request("hi")), str(lm.history)]
    assert [text for text in shown if KEY in text] == []


ECHOED = {
    "Bearer": {"headers": {"Authorization": f"Bearer {KEY}"}},
    "api_key": {"api_key": KEY},
    "function": {"api_key": lambda: KEY},
    "extra_body": {"extra_body": {"api_key": KEY}},
    "Basic": {"headers": {"Authorization": "Basic " + base64.b64encode(f"user:{KEY}".encode()).decode()}},
}


@pytest.mark.parametrize("options", ECHOED.values(), ids=ECHOED)
@pytest.mark.parametrize("status", [200, 401])
def test_echo_of_a_key_is_hidden(serve, options, status):
    """A server that repeats a key, in plain or in base64, does not get it into errors or their causes."""
    coded = base64.b64encode(KEY.encode()).decode()
    said = f"wrong: {KEY} {coded}"
    server = serve(lambda _: {"choices": said} if status == 200 else Fault(status, said))
    text = failure(LM("openai/m", api_base=server.url, cache=False, num_retries=0, **options))
    assert "wrong: ***" in text
    assert KEY not in text
    assert options is ECHOED["Basic"] or coded not in text


def test_echo_of_a_login_is_hidden(serve):
    """A server that repeats the header made of the address's login does not get it into errors."""
    coded = base64.b64encode(f"user:{KEY}".encode()).decode()
    server = serve(lambda _: Fault(400, f"bad header: Basic {coded}"))
    lm = LM("openai/m", api_base=server.url.replace("://", f"://user:{KEY}@"), cache=False)
    assert coded not in failure(lm)


def test_key_is_hidden_before_the_text_is_cut(serve):
    """A long answer is not cut in the middle of the key, which would then not be found."""
    server = serve(lambda _: Fault(400, "x" * 490 + KEY + "x" * 100))
    assert KEY[:6] not in failure(LM("openai/m", api_base=server.url, api_key=KEY, cache=False))
    page = serve(lambda _: {"choices": "x" * 180 + KEY + "x" * 100})
    assert KEY[:6] not in failure(
        LM("openai/m", api_base=page.url, api_key=KEY, cache=False, num_retries=0), LMServerError
    )


def _answer_once(listening, status):
    connection, _ = listening.accept()
    with connection:
        connection.recv(4096)
        connection.sendall(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\n\r\n")


@pytest.mark.parametrize(
    ("status", "kind", "told"),
    [
        (b"403 No", LMConnectionError, "http://127.0.0.1"),
        # No waiting helps, so it is an error of the kind that ends a run at once.
        (b"407 No", LMAuthError, "the proxy asks for a user and a password"),
    ],
)
def test_password_of_a_proxy_is_hidden(serve, monkeypatch, status, kind, told):
    """A proxy that refuses is named without its login, in the error and in its causes."""
    # Proxies are read with the first call only.
    LM("openai/m", api_base=serve("ok").url, cache=False)("hi")
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        thread = threading.Thread(target=_answer_once, args=(proxy, status), daemon=True)
        thread.start()
        monkeypatch.setattr(
            "mipro.lm._wire._proxies", {"https": f"http://user:{KEY}@127.0.0.1:{proxy.getsockname()[1]}"}
        )
        monkeypatch.setattr("urllib.request.proxy_bypass", lambda _: False)
        lm = LM("openai/m", api_base="https://example.invalid/v1", api_key="k", cache=False, num_retries=0)
        text = failure(lm, kind)
        thread.join(10)
    assert told in text
    assert KEY not in text


def test_urls_lose_logins_and_keys():
    """In the text of an error no URL has a login, nor a key in its query."""
    text = redact("GET https://u:p@h/v1?key=abc&n=1 failed, see http://h/a@b", ())
    assert text == "GET https://h/v1?key=***&n=1 failed, see http://h/a@b"


def test_key_of_a_function_is_fetched_for_every_call(serve):
    """`api_key` may be a function, for keys that change; nothing shows what it returns."""
    keys = iter(["wrong-key", KEY, "wrong-again"])
    lm = LM("openai/m", api_base=serve("ok", api_key=KEY).url, api_key=lambda: next(keys), cache=False)
    assert "wrong-key" not in failure(lm, LMAuthError)
    assert lm("hi") == ["ok"]
    assert KEY not in str(vars(lm))


def test_function_for_a_key_needs_no_other_key():
    """A function counts as a key, and is not called before a call is made."""
    LM("openai/m", api_key=lambda: pytest.fail("called")).check()


@pytest.mark.parametrize(
    ("fetch", "kind"),
    [
        (lambda: None, UserError),
        (lambda: "", UserError),
        (lambda: 5, UserError),
        (lambda: 1 // 0, LMAuthError),
        (lambda: socket.create_connection(("127.0.0.1", 9), 1), LMConnectionError),
    ],
)
def test_function_that_gives_no_key(serve, fetch, kind):
    """A function that fails is told from one that can't reach where the key comes from."""
    server = serve("ok")
    with pytest.raises(kind):
        LM("openai/m", api_base=server.url, api_key=fetch, cache=False, num_retries=0)("hi")
    assert server.count == 0


@pytest.mark.parametrize(
    "code",
    [
        "os.environ['OPENAI_API_KEY'] = '{}'",
        'os.getenv("OPENAI_API_KEY", "{}")',
        'os.environ.setdefault("OPENAI_API_KEY","{}")',
        "def f(api_key: str | None = '{}', steps: int = 3): ...",
        "password: Optional[str] = '{}'",
        "LM('openai/m', api_key=SecretStr('{}'))",
        'api_key = """{}"""',
    ],
)
def test_secrets_written_out_in_a_program_are_hidden(code):
    """However it comes to its name: a subscript, a default, an annotation, a wrapper."""
    assert without_literals(code.format(KEY)) == code.format("***")


@pytest.mark.parametrize(
    "code",
    [
        "LM('openai/m', api_key=os.environ['OPENAI_API_KEY'])",
        "Predict('question, password -> answer')",
        "def f(api_key: str, style: str = 'short'): ...",
        "max_tokens: int = int('5')",
    ],
)
def test_a_program_without_secrets_is_shown_as_it_is(code):
    """The name of a variable, of a field, and what belongs to another name are no secrets."""
    assert without_literals(code) == code
