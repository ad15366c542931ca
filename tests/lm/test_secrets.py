"""A key appears nowhere: searched for in everything that can be looked at or saved."""

import copy
import io
import json
import logging
import pickle

import pytest

from mipro.errors import LMAuthError
from mipro.lm import LM, inspect_history
from mipro.lm._cache import response_cache
from mipro.lm._secrets import Secret, is_secret_name, public_url, redact
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


def test_public_url():
    """User, password and query of an address are not shown."""
    assert public_url("https://u:p@host:1/v1?key=k") == "https://host:1/v1"
