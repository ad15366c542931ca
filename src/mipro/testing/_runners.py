"""Where the test server runs: in a thread, or in a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from mipro.errors import UserError
from mipro.testing._service import Behaviour, Service, answering

_START_TIMEOUT_S = 30.0


class ThreadRunner:
    """A service on a loop in a thread of this process."""

    def __init__(self, answer: Any, behaviour: Behaviour) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._stopping: asyncio.Event | None = None
        self._answer = answering(answer)
        self._behaviour = behaviour
        self._service: Service | None = None
        self._port = 0

    def start(self) -> int:
        if self._thread is not None:
            raise UserError("The server must be stopped before it is started again, but it is running.")
        started: list[int | OSError] = []
        ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(started, ready), daemon=True)
        self._thread.start()
        ready.wait(_START_TIMEOUT_S)
        if not started or isinstance(started[0], OSError):
            self._thread = None
            raise UserError(f"The test server could not listen on port {self._port}: {started}.")
        self._port = started[0]
        return self._port

    def stop(self) -> None:
        if self._thread is None or self._loop is None or self._stopping is None:
            return
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join()
        self._thread = self._loop = None

    def command(self, name: str) -> Any:
        if self._service is None:
            raise UserError("The server must be started first, but it was not; use it in a `with` block.")
        service = self._service
        if self._loop is None:
            return getattr(service, name)()

        async def call() -> Any:
            return getattr(service, name)()

        return asyncio.run_coroutine_threadsafe(call(), self._loop).result()

    def _run(self, started: list[int | OSError], ready: threading.Event) -> None:
        asyncio.run(self._serve(started, ready))

    async def _serve(self, started: list[int | OSError], ready: threading.Event) -> None:
        if self._service is None:
            self._service = Service(self._answer, self._behaviour)
        service = self._service
        try:
            server = await asyncio.start_server(
                service.connection, "127.0.0.1", self._port, limit=2**26, backlog=1024
            )
        except OSError as error:
            started.append(error)
            ready.set()
            return
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        started.append(server.sockets[0].getsockname()[1])
        ready.set()
        await self._stopping.wait()
        server.close()
        service.cut()
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)


class ProcessRunner:
    """A service in a process of its own, which ends with this one."""

    def __init__(self, answer: Any, behaviour: dict[str, Any]) -> None:
        self._process: subprocess.Popen[str] | None = None
        if callable(answer):
            raise UserError(
                "With `process=True` `answer` must be a text, a dict, a list, the name of a function as "
                f"'module:function' or the path of a JSON file, but got {answer!r}."
            )
        if isinstance(answer, Path):
            answer = json.loads(answer.read_text(encoding="utf-8"))
        self._config = json.dumps({"answer": answer, **behaviour})
        self._lock = threading.Lock()
        self._stopped = False

    def start(self) -> int:
        if self._process is None:
            path = os.pathsep.join(entry for entry in sys.path if entry)
            self._process = subprocess.Popen(
                [sys.executable, "-c", "from mipro.testing._runners import obey; obey()"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env={**os.environ, "PYTHONPATH": path},
            )
            self._write(self._config)
        self._stopped = False
        return int(self.command("start"))

    def stop(self) -> None:
        if self._process is None or self._stopped:
            return
        self._stopped = True
        self.command("stop")

    def command(self, name: str) -> Any:
        with self._lock:
            self._write(name)
            if self._process is None or self._process.stdout is None:
                raise UserError("The server must be started first, but it was not; use it in a `with` block.")
            line = self._process.stdout.readline()
        if not line:
            raise UserError("The test server's process has ended; its error stands on stderr.")
        return json.loads(line)

    def _write(self, line: str) -> None:
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()

    def __del__(self) -> None:
        process = self._process
        if process is not None:
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    with contextlib.suppress(OSError):
                        stream.close()
            process.wait()


def _named(answer: Any) -> Any:
    """Return the function that "module:function" names; anything else is the answer itself."""
    module, colon, name = answer.partition(":") if isinstance(answer, str) else ("", "", "")
    if not (colon and name.isidentifier() and module.replace(".", "_").isidentifier()):
        return answer
    return getattr(importlib.import_module(module), name)


def obey() -> None:
    """Serve in this process as the lines on stdin say; ends when stdin does."""
    config = json.loads(sys.stdin.readline())
    server = ThreadRunner(_named(config.pop("answer")), Behaviour(**config))
    for line in sys.stdin:
        name = line.strip()
        reply: Any = None
        if name == "start":
            reply = server.start()
        elif name == "stop":
            server.stop()
        else:
            reply = server.command(name)
        sys.stdout.write(json.dumps(reply) + "\n")
        sys.stdout.flush()
    server.stop()
