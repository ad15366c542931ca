"""llama.cpp's engine: one for each model file of the process.

It keeps the state of recent prompts in memory, so that prompts with a common beginning
(the instruction and the demos of a candidate) are evaluated once.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import functools
import json
import os
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mipro.errors import LMRequestError, LMTimeoutError, MissingExtraError
from mipro.lm._failures import Call, error_from_answer
from mipro.lm._openai import response_from
from mipro.lm._slots import Slots

if TYPE_CHECKING:
    from collections.abc import Callable

    from mipro.lm._types import LMResponse

# Host memory for the state of prompts that left their slot; 12 KB a token for a model of
# 0.5B parameters, so this holds more than a hundred candidates' prompts.
PROMPT_CACHE_MIB = 1024
_CHARS_PER_TOKEN = 4  # of English
_FEWEST_CHARS_PER_TOKEN = 2  # hardly any text has fewer
# Separators as in Python's and most training data's JSON, and no other white space:
# 9 tokens instead of 17 for {"intent": "play_music"}, so answers come almost twice as fast.
_COMPACT = {"whitespace_flexible": False, "key_separator": ": ", "item_separator": ", ", "lenient": True}


class Engine:
    """A loaded model; `close` frees it."""

    def __init__(self, path: str, threads: int, parallel: int, context_size: int) -> None:
        xllamacpp = import_engine()
        params = xllamacpp.CommonParams()
        params.model.path = path
        params.n_parallel = parallel
        params.kv_unified = True
        params.n_ctx = context_size * parallel
        params.cpuparams.n_threads = threads
        params.cpuparams_batch.n_threads = threads
        params.cache_ram_mib = PROMPT_CACHE_MIB
        params.warmup = False
        params.verbosity = 0
        params.ui = False
        try:
            self._server: Any = xllamacpp.Server(params)
        except (RuntimeError, ValueError) as error:
            raise LMRequestError(
                f"The file {path!r} must be a model that llama.cpp can load, but it can't: {error}; "
                "get the file again, or use another one.",
                model=path,
            ) from error
        self._grammar_of = functools.lru_cache(maxsize=256)(xllamacpp.json_schema_to_grammar)
        self._slots = Slots(parallel, params.n_ctx)
        self._threads: set[threading.Thread] = set()
        self._closing = threading.Event()

    async def answer(self, body: dict[str, Any], *, model: str, timeout_s: float | None) -> LMResponse:
        """Compute one answer, once there is a free slot; stops when it is cancelled.

        Raises:
            LMError: The engine refused the request, failed, or took too long.
        """
        prompt = body.get("messages") or [body.get("prompt")]
        # All messages but the last: the instruction and demos of a program.
        common = json.dumps(prompt[:-1], default=str) if len(prompt) > 1 else ""
        last = len(json.dumps(prompt[-1], default=str))
        most = (len(common) + last) // _FEWEST_CHARS_PER_TOKEN + int(body.get("max_tokens") or 0)
        async with self._slots.hold(common, len(common) // _CHARS_PER_TOKEN, most):
            start_s = time.perf_counter()
            stop = threading.Event()
            compute = functools.partial(self._compute, body, stop, model, timeout_s)
            try:
                data = await self._in_thread(compute)
            finally:
                stop.set()
            return response_from(data, latency_s=time.perf_counter() - start_s)

    def close(self) -> None:
        """Stop what is being computed and free the model."""
        self._closing.set()
        for thread in list(self._threads):
            thread.join()
        self._server = None

    async def _in_thread(self, compute: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        # Not an executor: the interpreter waits for an executor's threads before anything
        # tells them that it leaves; for these it waits later, and they look for themselves.
        loop = asyncio.get_running_loop()
        done: asyncio.Future[dict[str, Any]] = loop.create_future()

        def settle(data: dict[str, Any] | None, error: Exception | None) -> None:
            if done.done():
                return
            if error is not None:
                done.set_exception(error)
            elif data is not None:
                done.set_result(data)

        def work() -> None:
            data, error = None, None
            try:
                data = compute()
            except Exception as raised:  # noqa: BLE001 - raised again where it is awaited
                error = raised
            finally:
                self._threads.discard(threading.current_thread())
            with contextlib.suppress(RuntimeError):  # the loop has been closed meanwhile
                loop.call_soon_threadsafe(settle, data, error)

        thread = threading.Thread(target=work, name="mipro-local")
        self._threads.add(thread)
        thread.start()
        return await done

    def _compute(
        self, body: dict[str, Any], stop: threading.Event, model: str, limit_s: float | None
    ) -> dict[str, Any]:
        deadline_s = None if limit_s is None else time.perf_counter() + limit_s
        answer = _Answer(model)
        late = False

        def take(chunk: dict[str, Any]) -> bool:
            nonlocal late
            answer.add(chunk)
            late = deadline_s is not None and time.perf_counter() > deadline_s
            leaving = self._closing.is_set() or not threading.main_thread().is_alive()
            return late or leaving or stop.is_set()

        call = Call(model, "this process")
        is_text = "prompt" in body
        handle = self._server.handle_completions if is_text else self._server.handle_chat_completions
        try:
            handle(self._constrained(body), take)
        except (RuntimeError, ValueError) as error:
            raise LMRequestError(f"The model `{model}` refused the request: {error}", model=model) from error
        if answer.error is not None:
            status = int(answer.error.get("code") or 500)
            raise error_from_answer(call, status, json.dumps({"error": answer.error}), {})
        if late:
            raise LMTimeoutError(
                f"The model `{model}` did not end its answer within {limit_s:g} s; "
                "pass a longer `timeout=` or a smaller `max_tokens`.",
                model=model,
            )
        return answer.as_openai()

    def _constrained(self, body: dict[str, Any]) -> dict[str, Any]:
        """Turn a JSON schema into a grammar that leaves out needless white space."""
        form = body.pop("response_format", None)
        if form is None or body.get("grammar") is not None:
            return body
        schema = {"type": "object"}
        if form.get("type") == "json_schema":
            schema = form["json_schema"].get("schema", schema)
        elif form.get("type") != "json_object":
            return body
        text = json.dumps({**schema, "x-guidance": _COMPACT})
        return {**body, "grammar": self._grammar_of(text)}


class _Answer:
    """Puts the chunks of one streamed answer together."""

    def __init__(self, model: str) -> None:
        self.error: dict[str, Any] | None = None
        self._model = model
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self._logprobs: list[Any] = []
        self._finish_reason: str | None = None
        self._usage: dict[str, Any] | None = None

    def add(self, chunk: dict[str, Any]) -> None:
        """Take in one chunk."""
        if "error" in chunk:
            self.error = chunk["error"]
            return
        self._usage = chunk.get("usage") or self._usage
        for choice in chunk.get("choices", ()):
            delta = choice.get("delta", choice)
            self._text.append(delta.get("content") or delta.get("text") or "")
            self._reasoning.append(delta.get("reasoning_content") or "")
            self._logprobs += (choice.get("logprobs") or {}).get("content") or ()
            self._finish_reason = choice.get("finish_reason") or self._finish_reason

    def as_openai(self) -> dict[str, Any]:
        """Return the whole answer as a chat completion."""
        message: dict[str, Any] = {"role": "assistant", "content": "".join(self._text)}
        reasoning = "".join(self._reasoning)
        if reasoning:
            message["reasoning_content"] = reasoning
        choice = {
            "message": message,
            "finish_reason": self._finish_reason,
            "logprobs": {"content": self._logprobs} if self._logprobs else None,
        }
        return {"model": self._model, "choices": [choice], "usage": self._usage}


_engines: dict[tuple[str, int, int, int], Engine] = {}
_engines_lock = threading.Lock()
_owner_pid = 0


def shared_engine(path: str, threads: int, parallel: int, context_size: int) -> Engine:
    """Return the engine of a model file, loading it the first time."""
    global _owner_pid  # noqa: PLW0603 - the one place that owns it
    key = (path, threads, parallel, context_size)
    with _engines_lock:
        if _owner_pid != os.getpid():
            if _owner_pid == 0:
                atexit.register(close_engines)
            # A forked child has the parent's memory but none of its threads.
            _of_parents.extend(_engines.values())
            _engines.clear()
            _owner_pid = os.getpid()
        if key not in _engines:
            _engines[key] = Engine(path, threads, parallel, context_size)
        return _engines[key]


_of_parents: list[Engine] = []


def close_engines() -> None:
    """Free all models of this process; they are loaded again when they are asked again."""
    if _owner_pid != os.getpid():
        return
    with _engines_lock:
        while _engines:
            _engines.popitem()[1].close()


def import_engine() -> Any:
    """Return the module `xllamacpp`.

    Raises:
        MissingExtraError: It is not installed.
    """
    # Threads that wait for work must not take the cores from the program that feeds them.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    # They spin for less than a millisecond before that: a step's threads end at almost the same time.
    # Measured (0.5B parameters, 2 idle cores): 0.58 s a call, 0.79 s without, 0.62 s spinning always.
    os.environ.setdefault("GOMP_SPINCOUNT", "300000")
    try:
        import xllamacpp  # noqa: PLC0415 - an extra, and heavy
    except ImportError as error:
        raise MissingExtraError("xllamacpp", extra="local", purpose="A model in this process") from error
    return xllamacpp


def cores() -> int:
    """Return how many cores this process may use, by its affinity and its container's quota."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
        return max(1, min(count, round(int(quota) / int(period))))
    except (OSError, ValueError):  # no such file, or "max": no quota
        return count
