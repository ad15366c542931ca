"""The inside of the test server: HTTP/1.1, OpenAI's paths, and faults as planned."""

from __future__ import annotations

import asyncio
import collections
import inspect
import json
import math
import random
import time
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mipro.errors import UserError
from mipro.testing.lms import format_fields

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_REASONS = {200: "OK", 400: "Bad Request", 401: "Unauthorized", 404: "Not Found", 429: "Too Many Requests"}
_PATHS = {"/v1/chat/completions": "chat", "/v1/completions": "text", "/v1/responses": "responses"}
_REMEMBERED_BODIES = 100_000
_CHARS_PER_TOKEN = 4  # rough, but counted the same way for every request


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How a server behaves, besides its answers. Everything random follows `seed`."""

    latency_s: float = 0.0
    """Median time to answer."""
    latency_sigma: float = 0.0
    """Spread of the latency, which is log-normal; 0 for a constant."""
    error_rate: float = 0.0
    """Part of the requests that fail, 0 to 1."""
    errors: Sequence[int | str] = (500, 502, 503, 429)
    """What they fail with: HTTP statuses, "reset" (connection cut) or "hang" (no answer)."""
    rate_limit_per_s: float | None = None
    """Requests a second above which the server answers 429."""
    retry_after_s: float | None = None
    """Retry-After to send with every 429 and 503; by default a rate limit says when it clears."""
    api_key: str | None = field(default=None, repr=False)
    """Key that requests must carry; others get 401."""
    models: Sequence[str] | None = None
    """Models there are; others get 404. Any name will do by default."""
    context_size: int | None = None
    """Prompt tokens (4 characters each) above which a request gets 400."""
    seed: int = 0
    max_log: int = 1000
    """How many of the last requests `requests` keeps."""


@dataclass(frozen=True, slots=True)
class ServedRequest:
    """One request as it arrived and how it ended."""

    path: str
    body: dict[str, Any]
    status: int
    """HTTP status of the answer; 0 for a connection cut or left hanging."""
    headers: dict[str, str]
    """Names in lower case; the value of Authorization is left out."""
    latency_s: float
    """How long the answer was held back."""


class Fault(Exception):
    """What an answer function raises or returns to have a request fail.

    Args:
        status: HTTP status, or "reset" or "hang".
        message: Text of the error.
        retry_after: Value of the Retry-After header, seconds or an HTTP date.
        code: OpenAI's error code, such as "context_length_exceeded".
    """

    def __init__(
        self,
        status: int | str,
        message: str = "planned fault",
        *,
        retry_after: float | str | None = None,
        code: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.retry_after = retry_after
        self.code = code


class Service:
    """Answers on one event loop."""

    def __init__(self, answer: Callable[[dict[str, Any]], Any], behaviour: Behaviour) -> None:
        self._answer = answer
        self._behaviour = behaviour
        self._arrivals: collections.OrderedDict[int, int] = collections.OrderedDict()
        self._going = asyncio.Event()
        self._going.set()
        self._tokens = _burst(behaviour)
        self._refilled_s = time.monotonic()
        self._active = 0
        self._writers: set[asyncio.StreamWriter] = set()
        self.reset()

    def reset(self) -> None:
        self._log: collections.deque[dict[str, Any]] = collections.deque(maxlen=self._behaviour.max_log)
        self._count = self._answered = self._peak = 0
        self._statuses: collections.Counter[int] = collections.Counter()
        self._latency_s = 0.0

    def pause(self) -> None:
        self._going.clear()

    def resume(self) -> None:
        self._going.set()

    def requests(self) -> list[dict[str, Any]]:
        return list(self._log)

    def stats(self) -> dict[str, Any]:
        return {
            "count": self._count,
            "answered": self._answered,
            "statuses": dict(self._statuses),
            "peak_concurrency": self._peak,
            "latency_s": self._latency_s,
        }

    def cut(self) -> None:
        """Cut all connections."""
        for writer in list(self._writers):
            writer.transport.abort()

    async def connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection until it is closed."""
        self._writers.add(writer)
        try:
            while await self._exchange(reader, writer):
                pass
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError, ValueError):
            pass  # the client left, or does not speak HTTP
        except asyncio.CancelledError:
            pass  # the server stops; asyncio.streams would log this as an error
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, path, _ = head[0].split(" ", 2)
        headers = {
            k.strip().lower(): v.strip() for k, _, v in (line.partition(":") for line in head[1:] if line)
        }
        raw = await reader.readexactly(int(headers.get("content-length") or 0))
        path = path.partition("?")[0]
        kind = _PATHS.get(path)
        if method == "GET" and path == "/v1/models":
            names = self._behaviour.models or ()
            listed = [{"id": name, "object": "model"} for name in names]
            writer.write(_message(200, {"object": "list", "data": listed}))
        elif kind is None or method != "POST":
            writer.write(_message(404, _error(f"no such path: {method} {path}", "not_found")))
        else:
            message = await self._completion(path, raw, headers)
            if message is None:
                writer.transport.abort()
                return False
            writer.write(message)
        await writer.drain()
        return headers.get("connection", "").lower() != "close"

    async def _completion(self, path: str, raw: bytes, headers: dict[str, str]) -> bytes | None:
        """Return the message to send, or None to cut the connection."""
        self._count += 1
        self._active += 1
        self._peak = max(self._peak, self._active)
        status, latency_s = 0, 0.0
        body: dict[str, Any] = {}
        try:
            rng = self._rng(raw)
            await self._going.wait()
            body = json.loads(raw)
            try:
                self._refuse(body, headers, rng)
                latency_s = _latency_s(self._behaviour, rng)
                if latency_s:
                    await asyncio.sleep(latency_s)
                data = await self._data(_PATHS[path], body)
            except Fault as fault:
                if fault.status == "hang":
                    await asyncio.Event().wait()
                if fault.status == "reset":
                    return None
                status = int(fault.status)
                return self._fault_message(fault)
            status = 200
            self._answered += 1
            self._latency_s += latency_s
            return _message(200, data)
        finally:
            self._active -= 1
            self._statuses[status] += 1
            shown = {k: v for k, v in headers.items() if k != "authorization"}
            self._log.append(
                {"path": path, "body": body, "status": status, "headers": shown, "latency_s": latency_s}
            )

    def _rng(self, raw: bytes) -> random.Random:
        """Return the dice of one request: they depend on its body and on how often it came, not on timing."""
        digest = zlib.crc32(raw)
        arrival = self._arrivals.pop(digest, 0)
        self._arrivals[digest] = arrival + 1
        if len(self._arrivals) > _REMEMBERED_BODIES:
            self._arrivals.popitem(last=False)
        return random.Random(f"{self._behaviour.seed}:{digest}:{arrival}")

    def _refuse(self, body: dict[str, Any], headers: dict[str, str], rng: random.Random) -> None:
        plan = self._behaviour
        if plan.api_key is not None and headers.get("authorization") != f"Bearer {plan.api_key}":
            given = headers.get("authorization", "").removeprefix("Bearer ")
            raise Fault(401, f"Incorrect API key provided: {given}.", code="invalid_api_key")
        if plan.models is not None and body.get("model") not in plan.models:
            raise Fault(404, f"The model `{body.get('model')}` does not exist.", code="model_not_found")
        if body.get("stream"):
            raise Fault(400, "this server does not stream")
        if plan.context_size is not None and _tokens(_prompt_of(body)) > plan.context_size:
            raise Fault(
                400,
                f"This model's maximum context length is {plan.context_size} tokens.",
                code="context_length_exceeded",
            )
        self._limit_rate()
        if plan.error_rate and rng.random() < plan.error_rate:
            raise Fault(rng.choice(list(plan.errors)))

    def _limit_rate(self) -> None:
        rate = self._behaviour.rate_limit_per_s
        if rate is None:
            return
        now_s = time.monotonic()
        refilled = self._tokens + (now_s - self._refilled_s) * rate
        self._tokens = min(_burst(self._behaviour), refilled)
        self._refilled_s = now_s
        if self._tokens < 1.0:
            raise Fault(429, "Rate limit reached.", retry_after=(1.0 - self._tokens) / rate)
        self._tokens -= 1.0

    def _fault_message(self, fault: Fault) -> bytes:
        extra = {}
        wait = fault.retry_after
        if fault.status in (429, 503) and self._behaviour.retry_after_s is not None:
            wait = self._behaviour.retry_after_s
        if isinstance(wait, (int, float)):
            # As OpenAI: whole seconds for everybody, the exact time for those who know.
            extra = {"Retry-After": str(math.ceil(wait)), "Retry-After-Ms": f"{wait * 1000:.0f}"}
        elif wait is not None:
            extra = {"Retry-After": wait}
        return _message(int(fault.status), _error(fault.message, fault.code), extra)

    async def _data(self, kind: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = self._answer(body)
        if inspect.isawaitable(answer):
            answer = await answer
        if isinstance(answer, Fault):
            raise answer
        if isinstance(answer, dict) and "choices" in answer:
            return answer
        count = int(body.get("n") or 1)
        answers = answer if isinstance(answer, list) else [answer]
        while len(answers) < count and not isinstance(answer, list):
            more = self._answer(body)
            answers.append(await more if inspect.isawaitable(more) else more)
        return _completion_data(kind, body, [_as_message(value, body) for value in answers])


def answering(answer: Any) -> Callable[[dict[str, Any]], Any]:
    """Return what was given as `answer` as a function of the request."""
    if callable(answer):
        return answer  # type: ignore[no-any-return]
    if not isinstance(answer, list):
        return lambda _request: answer
    if not answer:
        raise UserError("`answer` must hold at least one answer, but got an empty list.")
    script: Iterator[Any] = iter(answer)
    return lambda _request: next(script, answer[-1])


def _as_message(value: Any, body: dict[str, Any]) -> dict[str, Any]:
    if isinstance(value, dict):
        if value.keys() & {"content", "tool_calls", "reasoning_content"}:
            return {"role": "assistant", "content": None, **value}
        form = body.get("response_format") or (body.get("text") or {}).get("format")
        value = format_fields(value, body.get("messages") or (), response_format=form)
    return {"role": "assistant", "content": str(value)}


def _completion_data(kind: str, body: dict[str, Any], messages: list[dict[str, Any]]) -> dict[str, Any]:
    prompt = _tokens(_prompt_of(body))
    output = sum(_tokens(str(message["content"] or "")) for message in messages)
    if kind == "responses":
        parts = [{"type": "output_text", "text": message["content"]} for message in messages]
        return {
            "id": "resp-test",
            "object": "response",
            "model": body.get("model"),
            "output": [{"type": "message", "role": "assistant", "content": parts}],
            "usage": {"input_tokens": prompt, "output_tokens": output, "total_tokens": prompt + output},
        }
    choices: list[dict[str, Any]] = []
    for index, message in enumerate(messages):
        finish = "tool_calls" if message.get("tool_calls") else "stop"
        said = {"text": message["content"]} if kind == "text" else {"message": message}
        choices.append({"index": index, **said, "finish_reason": finish})
    return {
        "id": "chatcmpl-test",
        "object": "text_completion" if kind == "text" else "chat.completion",
        "created": 0,
        "model": body.get("model"),
        "choices": choices,
        "usage": {"prompt_tokens": prompt, "completion_tokens": output, "total_tokens": prompt + output},
    }


def _prompt_of(body: dict[str, Any]) -> str:
    if "prompt" in body:
        return str(body["prompt"])
    messages = body.get("messages", body.get("input", ()))
    return "".join(str(message.get("content") or "") for message in messages)


def _tokens(text: str) -> int:
    return -(-len(text) // _CHARS_PER_TOKEN)


def _latency_s(plan: Behaviour, rng: random.Random) -> float:
    if not plan.latency_sigma:
        return plan.latency_s
    return plan.latency_s * math.exp(rng.gauss(0.0, plan.latency_sigma))


def _burst(plan: Behaviour) -> float:
    """A tenth of a second's requests may come at once."""
    return max(1.0, 0.1 * (plan.rate_limit_per_s or 0.0))


def _error(message: str, code: str | None) -> dict[str, Any]:
    return {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": code}}


def _message(status: int, data: dict[str, Any], extra: dict[str, str] | None = None) -> bytes:
    body = json.dumps(data, separators=(",", ":")).encode("ascii")
    head = [
        f"HTTP/1.1 {status} {_REASONS.get(status, 'Error')}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        *(f"{name}: {value}" for name, value in (extra or {}).items()),
    ]
    return "\r\n".join([*head, "", ""]).encode("latin-1") + body
