"""Questions to the prompt model: asked in parallel, a bad answer is no exception."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mipro.context import context, settings
from mipro.errors import AdapterParseError, ContextWindowError, LMRequestError, LMUnansweredError
from mipro.evaluate._threads import parallel_map
from mipro.lm._backends import is_local

if TYPE_CHECKING:
    from mipro.lm import BaseLM
    from mipro.signature import Signature

OnProgress = Callable[[int, int], None]
"""Called with the number of answers there and the number known to be needed so far."""

# What a small model writes beyond this is repetition, and takes seconds to write.
_LOCAL_MAX_TOKENS = 256


@dataclass(frozen=True, slots=True)
class Question:
    """One call of the prompt model."""

    signature: type[Signature]
    """The prompt; its only output is the answer."""
    inputs: Mapping[str, str]
    """Values of its input fields; a field that is absent is left out of the prompt."""
    worked: Sequence[Mapping[str, str]] = ()
    """Worked examples of the prompt; a field that one lacks is "none" in it."""
    rollout_id: int | None = None
    """Makes the draw a fresh one; None takes what the model's cache may have."""
    temperature: float | None = None
    """Sampling temperature, or None for the model's own."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    text: str
    """The text of the output field, "" where there is none."""
    fault: str = ""
    """"malformed" if it could not be read, "too long" if the prompt exceeds the
    model's context, "refused request" if the server refuses it (a filter of contents),
    "unanswered" if the model never answered it, else ""."""
    error: LMRequestError | None = None
    """Why the server refuses it."""


class Asker:
    """Asks the prompt model.

    Args:
        lm: The prompt model.
        num_threads: Questions under way at the same time.
        on_progress: Called after each answer.
        num_calls: Questions asked before.
    """

    def __init__(
        self, lm: BaseLM, *, num_threads: int, on_progress: OnProgress | None = None, num_calls: int = 0
    ) -> None:
        self._lm = lm
        self._num_threads = num_threads
        self._on_progress = on_progress
        self._num_planned = num_calls
        self.num_calls = num_calls
        """Questions asked so far."""

    @property
    def is_local(self) -> bool:
        """Whether the model runs in this process: small, so every call takes seconds."""
        return is_local(self._lm.model)

    def ask(self, questions: Sequence[Question]) -> list[Answer]:
        """Ask all questions at once and return the answers in order.

        Raises:
            LMError: The model can't be reached; a run has tried again by then.
            RunStopped: The run may make no more calls.
        """
        self._num_planned += len(questions)

        def report(*_: Any) -> None:
            self.num_calls += 1
            if self._on_progress is not None:
                self._on_progress(self.num_calls, self._num_planned)

        return parallel_map(self._ask_one, questions, num_threads=self._num_threads, on_done=report)

    def _ask_one(self, question: Question) -> Answer:
        from mipro.modules import Predict  # noqa: PLC0415 - the layer of programs loads when it is used

        signature = question.signature
        for name in signature.input_fields:
            if name not in question.inputs:
                signature = signature.delete(name)
        [output] = signature.output_fields
        with context(lm=self._lm, trace=[], adapter=self._adapter()):
            try:
                prediction = Predict(signature)(
                    config=self._config(question),
                    demos=[
                        {name: row.get(name, "none") for name in signature.fields} for row in question.worked
                    ],
                    **question.inputs,
                )
            except AdapterParseError:
                return Answer("", "malformed")
            except ContextWindowError:
                return Answer("", "too long")
            except LMRequestError as error:
                return Answer("", "refused request", error)
            except LMUnansweredError:
                return Answer("", "unanswered")
        text = prediction.get(output)
        return Answer(text) if isinstance(text, str) and text.strip() else Answer("", "malformed")

    def _adapter(self) -> Any:
        """Return the user's adapter; else JSON for a model in this process, held to its schema."""
        if settings.adapter is None and self.is_local:
            from mipro.adapters import JSONAdapter  # noqa: PLC0415 - the layer of programs loads when it is used

            return JSONAdapter()
        return settings.adapter

    def _config(self, question: Question) -> dict[str, Any]:
        config: dict[str, Any] = {}
        if question.rollout_id is not None:
            config["rollout_id"] = question.rollout_id
        if self.is_local:
            config["max_tokens"] = _LOCAL_MAX_TOKENS
        # Reasoning models refuse a temperature.
        if question.temperature is not None and not self._lm.supports_reasoning:
            config["temperature"] = question.temperature
        return config
