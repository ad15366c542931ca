"""What all tests share: nothing is written outside of temporary folders, no network but loopback."""

import gc
import signal
import socket

import pytest

from mipro.lm import configure_cache

LOOPBACK = ("127.", "::1", "localhost")


@pytest.fixture(autouse=True)
def _answers_are_not_kept():
    """Keep no answers on disk, where a later test run would find them."""
    configure_cache(enable_disk_cache=False)


@pytest.fixture(autouse=True)
def _runs_are_temporary(monkeypatch, tmp_path_factory):
    """Keep runs without a `run_dir` in a temporary folder."""
    monkeypatch.setenv("MIPRO_DATA_DIR", str(tmp_path_factory.getbasetemp() / "data"))


@pytest.fixture(autouse=True)
def _only_loopback(monkeypatch):
    """Refuse connections to other machines."""
    connect = socket.socket.connect

    def guarded(self, address):
        if isinstance(address, tuple) and not str(address[0]).startswith(LOOPBACK):
            raise AssertionError(f"a test must not reach the network, but tried {address}")
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)


@pytest.fixture
def heeds_hangups():
    """Heed SIGHUP in the processes that a test starts, also where `nohup` started the tests."""
    number = getattr(signal, "SIGHUP", signal.SIGTERM)  # which Windows has not
    before = signal.signal(number, signal.SIG_DFL)
    yield
    signal.signal(number, before)


@pytest.fixture
def heeds_interrupts():
    """Heed Ctrl-C, also where the tests run in the background of a shell, which ignores it.

    Nothing is collected in the meantime: hypothesis looks on as it is, and an interrupt that is raised in
    there is printed and lost.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    gc.disable()
    yield
    gc.enable()
    signal.signal(signal.SIGINT, before)
