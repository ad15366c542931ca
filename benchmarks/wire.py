"""CPU and rate of one model call through the wire, against a local server.

    python benchmarks/wire.py [--threads 32 100] [--calls 2000] [--latency 0.05]

Compares `mipro.LM` with the bare libraries that are installed: aiohttp on a background
loop, httpx, the OpenAI SDK. The server runs in a process of its own. CPU is that of
the calling process, all threads; the ideal rate is threads / latency.
"""

from __future__ import annotations

import argparse
import asyncio
import atexit
import json
import statistics
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from _worker import peak_mb
from mipro.lm import LM
from mipro.testing.server import OpenAIServer

if TYPE_CHECKING:
    from collections.abc import Callable

MESSAGES = [{"role": "system", "content": "x" * 3000}, {"role": "user", "content": "hello"}]


def through_mipro(url: str) -> Callable[[int], object]:
    """`mipro.LM`, as programs use it."""
    lm = LM("openai/m", api_base=url, cache=False)
    return lambda index: lm(messages=MESSAGES, seed=index)


def through_openai(url: str) -> Callable[[int], object]:
    """The OpenAI SDK, one client."""
    import openai  # noqa: PLC0415 - may be absent

    client = openai.OpenAI(api_key="none", base_url=url)
    return lambda index: client.chat.completions.create(model="m", messages=MESSAGES, seed=index)


def through_httpx(url: str) -> Callable[[int], object]:
    """Bare httpx, one client."""
    import httpx  # noqa: PLC0415 - may be absent

    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    client = httpx.Client(limits=limits, timeout=60)

    def call(index: int) -> object:
        body = {"model": "m", "messages": MESSAGES, "seed": index}
        return client.post(f"{url}/chat/completions", json=body).json()

    return call


def through_aiohttp(url: str) -> Callable[[int], object]:
    """Bare aiohttp on a loop in a background thread, nothing around it: the floor."""
    import aiohttp  # noqa: PLC0415 - may be absent

    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()

    async def open_session() -> aiohttp.ClientSession:
        return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))

    session = asyncio.run_coroutine_threadsafe(open_session(), loop).result()

    async def post(body: dict[str, object]) -> bytes:
        data = json.dumps(body).encode()
        async with session.post(f"{url}/chat/completions", data=data) as answer:
            return await answer.read()

    def call(index: int) -> object:
        body = {"model": "m", "messages": MESSAGES, "seed": index}
        return json.loads(asyncio.run_coroutine_threadsafe(post(body), loop).result())

    atexit.register(lambda: asyncio.run_coroutine_threadsafe(session.close(), loop).result())
    return call


CLIENTS = {
    "mipro.LM": through_mipro,
    "aiohttp, bare": through_aiohttp,
    "httpx, bare": through_httpx,
    "OpenAI SDK": through_openai,
}


def measure(call: Callable[[int], object], *, threads: int, calls: int) -> tuple[float, float]:
    """Return CPU milliseconds per call and calls per second."""
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(call, range(threads)))
        start_s, start_cpu_s = time.perf_counter(), time.process_time()
        list(pool.map(call, range(calls)))
        wall_s, cpu_s = time.perf_counter() - start_s, time.process_time() - start_cpu_s
    return 1000 * cpu_s / calls, calls / wall_s


def main() -> None:
    """Measure every client that is installed, several times, and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, nargs="+", default=[32, 100])
    parser.add_argument("--calls", type=int, default=2000)
    parser.add_argument("--latency", type=float, default=0.05, help="seconds")
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    print(f"{'client':16} {'threads':>7} {'CPU ms/call':>22} {'calls/s':>8} {'of ideal':>8}")
    with OpenAIServer("hello", process=True, latency_s=options.latency) as server:
        for name, connect in CLIENTS.items():
            try:
                call = connect(server.url)
            except ImportError:
                print(f"{name:16} not installed")
                continue
            for threads in options.threads:
                runs = [measure(call, threads=threads, calls=options.calls) for _ in range(options.repeat)]
                cpu_ms = sorted(run[0] for run in runs)
                rate = statistics.median(run[1] for run in runs)
                shown = f"{statistics.median(cpu_ms):.2f} ({cpu_ms[0]:.2f}-{cpu_ms[-1]:.2f})"
                ideal = threads / options.latency
                print(f"{name:16} {threads:7} {shown:>22} {rate:8.0f} {rate / ideal:8.0%}")
    print(f"peak memory {peak_mb():.0f} MB")


if __name__ == "__main__":
    main()
