"""A real OpenAI-compatible HTTP server with scripted answers and planned faults.

    with OpenAIServer(answer=lambda request: "blue", latency_s=0.2, error_rate=0.1) as server:
        lm = LM("openai/any", api_base=server.url)

It listens on the loopback device only, in a thread, or in a process of its own.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from mipro.errors import UserError
from mipro.testing._runners import ProcessRunner, ThreadRunner
from mipro.testing._service import Behaviour, Fault, ServedRequest

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

__all__ = ["Behaviour", "Fault", "OpenAIServer", "ServedRequest"]


class OpenAIServer:
    """The server; use it in a `with` block, or call `start` and `stop`.

    Args:
        answer: What is answered. A text or dict, always the same; a list, one after the
            other, the last one for good; a function of the request's body; with
            `process=True` the name "module:function" or the path of a JSON file with such a
            text, dict or list. A text is the content; a dict with `choices` the whole
            body; one with `content`, `tool_calls` or `reasoning_content` the message; any
            other dict names output fields, written in the format that the prompt asks for.
            A list from a function gives one answer for each of `n`. A function may raise `Fault`.
        process: Run in a process of its own, so that its work does not slow the caller.
        behaviour: Fields of `Behaviour`.

    Attributes:
        url: Address for `api_base=`, ending in /v1.
    """

    def __init__(self, answer: Any = "ok", *, process: bool = False, **behaviour: Any) -> None:
        try:
            self.behaviour: Behaviour = Behaviour(**behaviour)
        except TypeError as error:
            known = [field.name for field in dataclasses.fields(Behaviour)]
            raise UserError(f"`OpenAIServer` takes {known}, but: {error}.") from error
        self._runner: ThreadRunner | ProcessRunner = (
            ProcessRunner(answer, behaviour) if process else ThreadRunner(answer, self.behaviour)
        )
        self.url: str = ""

    def start(self) -> Self:
        """Start to listen; after `stop` again, on the same port."""
        self.url = f"http://127.0.0.1:{self._runner.start()}/v1"
        return self

    def stop(self) -> None:
        """Cut all connections and stop listening: the server is dead. Counts are kept."""
        self._runner.stop()

    def pause(self) -> None:
        """Leave requests without an answer until `resume`."""
        self._runner.command("pause")

    def resume(self) -> None:
        """Answer again, those first that have been waiting."""
        self._runner.command("resume")

    def reset(self) -> None:
        """Set all counts to zero and forget the logged requests."""
        self._runner.command("reset")

    @property
    def requests(self) -> list[ServedRequest]:
        """The last requests for completions, oldest first."""
        return [ServedRequest(**entry) for entry in self._runner.command("requests")]

    @property
    def stats(self) -> dict[str, Any]:
        """Counts since the start or `reset`.

        `count` requests for completions received, `answered` with 200, `statuses` by
        status, `peak_concurrency` most requests at once, `latency_s` sum of the latencies
        of the answered.
        """
        return dict(self._runner.command("stats"))

    @property
    def count(self) -> int:
        """How many requests for completions have arrived."""
        return int(self.stats["count"])

    @property
    def answered(self) -> int:
        """How many of them were answered with 200: what a provider would charge for."""
        return int(self.stats["answered"])

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()
