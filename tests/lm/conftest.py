"""No test of this room touches the user's cache, keys or addresses."""

import pytest

from mipro.lm import configure_cache
from mipro.testing.server import OpenAIServer


@pytest.fixture(autouse=True)
def own_environment(monkeypatch, tmp_path):
    """Give every test a cache on disk in a folder of its own, and no key."""
    configure_cache()
    monkeypatch.setenv("MIPRO_CACHE_DIR", str(tmp_path / "cache"))
    for name in ("OPENAI_API_KEY", "OPENAI_API_BASE", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def serve():
    """Return a function that starts a server; all are stopped at the end."""
    servers = []

    def start(answer="ok", **behaviour):
        servers.append(OpenAIServer(answer, **behaviour).start())
        return servers[-1]

    yield start
    for server in servers:
        server.stop()
