"""Models in this process, through llama.cpp (`xllamacpp`).

A model file has one engine, shared by all `LM`s that name it. The engine keeps the
state of recent prompts in memory, so that prompts with a common beginning (the
instruction and the demos of a candidate) are evaluated once. Its calls block; they
run in threads, at most `parallel` at once, first come first served.
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
import zlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mipro.errors import (
    LMConnectionError,
    LMNotFoundError,
    LMRequestError,
    MissingExtraError,
    UserError,
)
from mipro.lm._failures import Call, error_from_answer
from mipro.lm._openai import flat_prompt, response_from
from mipro.lm._slots import Slots
from mipro.lm._types import LMResponse, Usage

if TYPE_CHECKING:
    from collections.abc import Callable

    from mipro.lm._types import LMRequest

DEFAULT_CONTEXT_SIZE = 4096
# Measured on 2 cores with Qwen2.5-Coder-0.5B Q4_K_M, prompts of 700 tokens whose beginnings
# are in the slots' caches, answers of 9 tokens: 1 slot 609 ms a call, 2 slots 494, 4 slots 434.
DEFAULT_PARALLEL = 4
# Host memory for the state of prompts that left their slot; 12 KB a token for a model of
# 0.5B parameters, so this holds more than a hundred candidates' prompts.
PROMPT_CACHE_MIB = 1024
_CHARS_PER_TOKEN = 4  # of English
_FEWEST_CHARS_PER_TOKEN = 2  # hardly any text has fewer
# Separators as in Python's and most training data's JSON, and no other white space:
# 9 tokens instead of 17 for {"intent": "play_music"}, so answers come almost twice as fast.
_COMPACT = {"whitespace_flexible": False, "key_separator": ": ", "item_separator": ", ", "lenient": True}
_PASSED = (
    "temperature", "max_tokens", "top_p", "top_k", "min_p", "stop", "seed", "presence_penalty",
    "frequency_penalty", "repeat_penalty", "logit_bias", "logprobs", "top_logprobs", "grammar",
    "chat_template_kwargs",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class LocalBackend:
    """One model file and how it is run."""

    model: str
    """Name as given to `LM`."""
    name: str
    """Name of a known model, or path of a GGUF file."""
    threads: int | None = None
    """Threads to compute with; as many as there are cores by default."""
    parallel: int = DEFAULT_PARALLEL
    """How many requests are computed together."""
    context_size: int = DEFAULT_CONTEXT_SIZE
    """Tokens that prompt and answer may have together, on average over the requests that
    are computed together; one alone may have more, up to what the model was trained for."""
    timeout_s: float | None = None
    """Limit for computing one answer, waiting for a free slot not counted."""

    def __post_init__(self) -> None:
        for option in ("threads", "parallel", "context_size"):
            value = getattr(self, option)
            if value is not None and (not isinstance(value, int) or value < 1):
                raise UserError(f"`{option}` must be a whole number of at least 1, but got {value!r}.")

    @property
    def endpoint(self) -> str:
        """Nothing: the model is known by its name or path."""
        return ""

    @property
    def supports_response_schema(self) -> bool:
        """Whether answers can be held to a JSON schema: yes."""
        return True

    @property
    def supports_function_calling(self) -> bool:
        """Whether the model can be given tools: too small to be trusted with it."""
        return False

    @property
    def supports_reasoning(self) -> bool:
        """Whether the model reasons by itself before it answers."""
        return False

    def check(self) -> None:
        """Refuse a call without xllamacpp, or without the model file."""
        _import_engine()
        self._path()

    def price_usd(self, usage: Usage) -> float | None:
        """Return 0: the machine is paid for."""
        del usage
        return 0.0

    async def send(self, request: LMRequest) -> LMResponse:
        """Compute the answer in a thread; see `Backend.send`."""
        if request.params.get("model_type", "chat") == "responses":
            raise LMRequestError(
                f"`{self.model}` runs in this process, which has no responses API; leave `model_type` out.",
                model=self.model,
            )
        engine = await asyncio.get_running_loop().run_in_executor(None, self._engine)
        count = int(request.params.get("n") or 1)
        responses = await asyncio.gather(
            *(engine.answer(self, _body(request, index)) for index in range(count))
        )
        usage = functools.reduce(Usage.__add__, (response.usage for response in responses))
        return replace(
            responses[0],
            completions=tuple(c for response in responses for c in response.completions),
            usage=usage,
            cost_usd=0.0,
            latency_s=max(response.latency_s for response in responses),
        )

    def _engine(self) -> Engine:
        threads = self.threads or _cores()
        return _shared_engine(str(self._path()), threads, self.parallel, self.context_size)

    def _path(self) -> Path:
        if self.name.endswith(".gguf"):
            path = Path(self.name).expanduser()
            if not path.is_file():
                raise LMNotFoundError(
                    f"`{self.model}` must name a GGUF file, but there is no {str(path)!r}; check the path.",
                    model=self.model,
                )
            return path.resolve()
        from mipro.fetch import model_path  # noqa: PLC0415 - only for named models

        return Path(model_path(self.name))


class Engine:
    """A loaded model; `close` frees it."""

    def __init__(self, path: str, threads: int, parallel: int, context_size: int) -> None:
        xllamacpp = _import_engine()
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

    async def answer(self, backend: LocalBackend, body: dict[str, Any]) -> LMResponse:
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
            compute = functools.partial(self._compute, backend, body, stop)
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

    def _compute(self, backend: LocalBackend, body: dict[str, Any], stop: threading.Event) -> dict[str, Any]:
        limit_s = backend.timeout_s
        deadline_s = None if limit_s is None else time.perf_counter() + limit_s
        answer = _Answer(backend.model)
        late = False

        def take(chunk: dict[str, Any]) -> bool:
            nonlocal late
            answer.add(chunk)
            late = deadline_s is not None and time.perf_counter() > deadline_s
            leaving = self._closing.is_set() or not threading.main_thread().is_alive()
            return late or leaving or stop.is_set()

        call = Call(backend.model, "this process")
        is_text = "prompt" in body
        handle = self._server.handle_completions if is_text else self._server.handle_chat_completions
        try:
            handle(self._constrained(body), take)
        except (RuntimeError, ValueError) as error:
            raise LMRequestError(
                f"The model `{backend.model}` refused the request: {error}", model=backend.model
            ) from error
        if answer.error is not None:
            status = int(answer.error.get("code") or 500)
            raise error_from_answer(call, status, json.dumps({"error": answer.error}), {})
        if late:
            raise LMConnectionError(
                f"The model `{backend.model}` did not end its answer within {limit_s:g} s; "
                "pass a longer `timeout=` or a smaller `max_tokens`.",
                model=backend.model,
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


def _body(request: LMRequest, index: int) -> dict[str, Any]:
    """Return the engine's body for the `index`-th of the `n` answers to `request`."""
    params = request.params
    body = {name: params[name] for name in _PASSED if params.get(name) is not None}
    if index or params.get("rollout_id") is not None:
        # Answers drawn afresh differ, and each of them can be had again.
        body["seed"] = int(params.get("seed") or 0) + index + 1000 * _number(params.get("rollout_id"))
    else:
        body.setdefault("seed", 0)
    if params.get("response_format") is not None:
        body["response_format"] = params["response_format"]
    body |= {"stream": True, "stream_options": {"include_usage": True}, "cache_prompt": True}
    if params.get("model_type") == "text":
        return {**body, "prompt": flat_prompt(request.messages)}
    return {**body, "messages": list(request.messages)}


def _number(rollout_id: Any) -> int:
    if rollout_id is None:
        return 0
    return rollout_id if isinstance(rollout_id, int) else zlib.crc32(str(rollout_id).encode())


_engines: dict[tuple[str, int, int, int], Engine] = {}
_engines_lock = threading.Lock()
_owner_pid = 0


def _shared_engine(path: str, threads: int, parallel: int, context_size: int) -> Engine:
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


def _import_engine() -> Any:
    # Threads that wait for work must not take the cores from the program that feeds them.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    try:
        import xllamacpp  # noqa: PLC0415 - an extra, and heavy
    except ImportError as error:
        raise MissingExtraError("xllamacpp", extra="local", purpose="A model in this process") from error
    return xllamacpp


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
