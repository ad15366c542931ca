"""Latency servers: OpenAI's chat API on loopback, in processes of their own, several on one port.

`mipro.testing.server` speaks more of the API and plans more faults; this one does as little as can be
done for each request, so that on two cores it takes next to nothing from the client that is measured.
Answers and latencies follow the request alone. Every exchange is kept, so that the load can be counted.
"""

from __future__ import annotations

import array
import asyncio
import json
import math
import random
import re
import socket
import subprocess
import sys
import time
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from typing_extensions import Self

if TYPE_CHECKING:
    from types import TracebackType

_ASKED = re.compile(r"`\[\[ ## (\w+) ## \]\]`")
_NUMBERS = re.compile(r"What is (\d+) plus (\d+)\?")
_VOCABULARY = (
    "add sum digits carefully precisely number total result compute answer both values exactly plain "
    "check twice column carry place ones tens hundreds write only final brief direct steps verify "
    "figure quantity combine join merge count tally reckon amount expression arithmetic whole "
    "integer positive shown given above question text read find state report return deliver "
)


@dataclass(frozen=True, slots=True)
class Plan:
    """How the servers behave."""

    latency_s: float = 0.2
    """Median time to answer; log-normal."""
    sigma: float = 0.5
    error_rate: float = 0.0
    """Part of the requests answered 503."""
    rate_limit_per_s: float = 0.0
    """Requests a second above which the answer is 429, shared out among the processes; 0 for none."""
    lost_rate: float = 0.0
    """Part of the requests that are never answered, the connection held open."""


@dataclass(frozen=True, slots=True)
class Load:
    """What a server has seen between two readings."""

    calls: int
    """Requests answered 200."""
    failed: int
    latency_s: float
    """Sum of the latencies of the answered."""
    peak: int
    """Most requests at once, over all processes."""


class LatencyServers:
    """Servers on one port; a context manager.

    Args:
        plan: How they behave.
        processes: How many; the system spreads connections over them.
    """

    def __init__(self, plan: Plan, *, processes: int = 2) -> None:
        self._plan = plan
        self._count = processes
        self._processes: list[subprocess.Popen[str]] = []
        self.url = ""

    def __enter__(self) -> Self:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
            config = {**asdict(self._plan), "port": port}
            config["rate_limit_per_s"] /= self._count
            for _ in range(self._count):
                self._processes.append(
                    subprocess.Popen(
                        [sys.executable, str(Path(__file__)), json.dumps(config)],
                        stdin=subprocess.PIPE,
                        stdout=subprocess.PIPE,
                        text=True,
                    )
                )
            for process in self._processes:
                _line(process)
        self.url = f"http://127.0.0.1:{port}/v1"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for process in self._processes:
            process.communicate("\n")

    def read(self) -> Load:
        """Return the load since the last reading."""
        seen = []
        for process in self._processes:
            process.stdin.write("read\n")
            process.stdin.flush()
        seen = [json.loads(_line(process)) for process in self._processes]
        edges = sorted(
            edge for part in seen for begin, end in part["spans"] for edge in ((begin, 1), (end, -1))
        )
        now = peak = 0
        for _, step in edges:
            now += step
            peak = max(peak, now)
        return Load(
            sum(part["calls"] for part in seen),
            sum(part["failed"] for part in seen),
            sum(part["latency_s"] for part in seen),
            peak,
        )


def _line(process: subprocess.Popen[str]) -> str:
    line = process.stdout.readline()
    if not line:
        raise SystemExit("a latency server has ended; its error stands above")
    return line


def answer(body: dict[str, Any]) -> str:
    """Answer what is asked for, the same for the same request.

    Sums are right more or less often, depending on the system message and the number of demos, so
    that there is something for an optimizer to find. Every other field gets a text of its own.
    """
    messages = body["messages"]
    last = messages[-1]["content"]
    names = [name for name in _ASKED.findall(last) if name != "completed"]
    seed = zlib.crc32(json.dumps([messages, body.get("rollout_id")]).encode())
    words = random.Random(seed)
    parts = []
    for name in names or ["answer"]:
        if name == "answer" and (sums := _NUMBERS.findall(last)):
            a, b = map(int, sums[-1])
            quality = zlib.crc32(messages[0]["content"].encode()) % 1000 / 1000
            share = min(0.97, 0.35 + 0.4 * quality + 0.01 * len(messages))
            dice = zlib.crc32(f"{a} {b} {quality}".encode()) % 1000 / 1000
            text = str(a + b + (dice >= share))
        else:
            text = " ".join(words.sample(_VOCABULARY.split(), 14)).capitalize() + "."
        parts.append(f"[[ ## {name} ## ]]\n{text}")
    return "\n\n".join([*parts, "[[ ## completed ## ]]"])


class _Connection(asyncio.Protocol):
    """One connection; requests on it come one after the other."""

    def __init__(self, desk: _Desk) -> None:
        self._desk = desk
        self._buffer = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end].lower()
            at = head.find(b"content-length:")
            size = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(self._buffer) < end + 4 + size:
                return
            raw, self._buffer = self._buffer[end + 4 : end + 4 + size], self._buffer[end + 4 + size :]
            self._desk.serve(raw, self._transport)


class _Desk:
    """Answers requests when their time has come, and counts them."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._arrivals: dict[int, int] = {}
        self._tokens = self._burst = max(1.0, 0.1 * plan.rate_limit_per_s)
        self._refilled = time.monotonic()
        self._forget()

    def _forget(self) -> None:
        self._calls = self._failed = 0
        self._latency_s = 0.0
        self._spans = array.array("d")

    def read(self) -> dict[str, Any]:
        """Return what was counted, and begin anew."""
        spans = self._spans
        seen = {
            "calls": self._calls,
            "failed": self._failed,
            "latency_s": self._latency_s,
            "spans": list(zip(spans[::2], spans[1::2], strict=True)),
        }
        self._forget()
        return seen

    def serve(self, raw: bytes, transport: asyncio.Transport) -> None:
        """Take a request in."""
        began = time.monotonic()
        digest = zlib.crc32(raw)
        arrival = self._arrivals[digest] = self._arrivals.get(digest, -1) + 1
        dice = random.Random(digest * 1009 + arrival)
        status = self._refusal(dice)
        if status:
            self._failed += 1
            self._send(transport, status, {"error": {"message": "planned", "code": status}})
            return
        if self._plan.lost_rate and dice.random() < self._plan.lost_rate:
            return
        latency_s = self._plan.latency_s * math.exp(self._plan.sigma * dice.gauss(0.0, 1.0))
        loop = asyncio.get_running_loop()
        loop.call_later(latency_s, self._finish, raw, transport, began, latency_s)

    def _refusal(self, dice: random.Random) -> int:
        limit = self._plan.rate_limit_per_s
        if limit:
            now = time.monotonic()
            self._tokens = min(self._burst, self._tokens + (now - self._refilled) * limit)
            self._refilled = now
            if self._tokens < 1.0:
                return 429
            self._tokens -= 1.0
        return 503 if dice.random() < self._plan.error_rate else 0

    def _finish(self, raw: bytes, transport: asyncio.Transport, began: float, latency_s: float) -> None:
        body = json.loads(raw)
        text = answer(body)
        prompt = len(raw) // 4
        data = {
            "id": "chatcmpl-0",
            "object": "chat.completion",
            "created": 0,
            "model": body.get("model"),
            "choices": [
                {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
            ]
            * int(body.get("n") or 1),
            "usage": {
                "prompt_tokens": prompt,
                "completion_tokens": len(text) // 4,
                "total_tokens": prompt + len(text) // 4,
            },
        }
        self._calls += 1
        self._latency_s += latency_s
        self._spans.extend((began, time.monotonic()))
        self._send(transport, 200, data)

    @staticmethod
    def _send(transport: asyncio.Transport, status: int, data: dict[str, Any]) -> None:
        body = json.dumps(data).encode("ascii")
        head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        if not transport.is_closing():
            transport.write(head.encode("ascii") + body)


async def _main(config: dict[str, Any]) -> None:
    port = config.pop("port")
    desk = _Desk(Plan(**config))
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: _Connection(desk), "127.0.0.1", port, reuse_port=True, backlog=1024
    )
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    while (await reader.readline()).strip() == b"read":
        sys.stdout.write(json.dumps(desk.read()) + "\n")
        sys.stdout.flush()
    server.close()


if __name__ == "__main__":
    asyncio.run(_main(json.loads(sys.argv[1])))
