"""Language models that answer from a script, for tests of programs."""

from __future__ import annotations

import inspect
import json
import re
import threading
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from mipro.errors import UserError
from mipro.lm import BaseLM
from mipro.signature import FIELD_NAME

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from typing_extensions import Self

_MARKER = re.compile(rf"\[\[ ## ({FIELD_NAME}) ## \]\]")
_CHARS_PER_TOKEN = 4
_drawing = threading.Lock()  # of no model, since one that holds a lock can be neither copied nor pickled


class ScriptedLM(BaseLM):
    """A model that answers from a script and keeps what it was asked.

    Safe to call from many threads; a list is then handed out in the order of arrival.

    Args:
        answers: A list, one answer for each call; or a function of the messages. An answer
            is a text, a dict of output fields (written in the format that the prompt asks
            for), a list of these (one for each of `n`), a whole OpenAI-like response, or an
            exception, which is raised. A function that takes `**kwargs` gets the parameters.
        model: Name of the model.
        repeat: Start again at the first answer when the list is used up; else that is an error.
        kwargs: Default parameters of requests.

    Attributes:
        calls: One dict for each call: `messages` and `kwargs`.
    """

    def __init__(
        self,
        answers: Sequence[Any] | Callable[..., Any],
        model: str = "scripted",
        *,
        repeat: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(model, **kwargs)
        self.calls: list[dict[str, Any]] = []
        self._script = _Script(answers, repeat=repeat)

    def forward(
        self, prompt: str | None = None, messages: list[dict[str, Any]] | None = None, **kwargs: Any
    ) -> Any:
        """Return the next answer as an OpenAI-like response."""
        asked = messages if messages is not None else [{"role": "user", "content": prompt}]
        self.calls.append({"messages": asked, "kwargs": kwargs})
        answer = self._script.next(asked, kwargs)
        if isinstance(answer, BaseException):
            raise answer
        if isinstance(answer, dict) and "choices" in answer:
            return answer
        count = int({**self.kwargs, **kwargs}.get("n") or 1)
        texts = list(answer) if isinstance(answer, (list, tuple)) else [answer] * count
        form = kwargs.get("response_format")
        return _response(self.model, asked, [_text(value, asked, form) for value in texts])


class DummyLM(BaseLM):
    """A model for unit tests with DSPy's interface.

    Args:
        answers: A list of dicts of output fields, one for each call; or a dict from a
            text that the last message holds to the fields to answer.
        follow_examples: Answer with a demo's output where a demo has the same input.
        reasoning: Add a native reasoning content to every answer.
        adapter: Writes the fields; the format that the prompt asks for by default.
    """

    def __init__(
        self,
        answers: list[dict[str, Any]] | dict[str, dict[str, Any]],
        follow_examples: bool = False,
        reasoning: bool = False,
        adapter: Any = None,
    ) -> None:
        super().__init__("dummy", "chat", 0.0, 1000, cache=True)
        self.answers = answers
        self.follow_examples = follow_examples
        self.reasoning = reasoning
        self.adapter = adapter
        self._given = iter(answers) if isinstance(answers, list) else iter(())

    def forward(
        self, prompt: str | None = None, messages: list[dict[str, Any]] | None = None, **kwargs: Any
    ) -> Any:
        """Return the next answer as an OpenAI-like response."""
        asked = messages if messages is not None else [{"role": "user", "content": prompt}]
        count = int({**self.kwargs, **kwargs}.get("n") or 1)
        texts = [self._one(asked, kwargs.get("response_format")) for _ in range(count)]
        return _response(self.model, asked, texts, reasoning="Some reasoning" if self.reasoning else None)

    def get_convo(self, index: int) -> tuple[Any, Any]:
        """Return messages and outputs of one call."""
        return self.history[index]["messages"], self.history[index]["outputs"]

    def _one(self, messages: list[dict[str, Any]], form: Any) -> str:
        if self.follow_examples:
            return _followed(messages)
        if isinstance(self.answers, dict):
            last = str(messages[-1]["content"])
            fields = next((v for k, v in self.answers.items() if k in last), None)
            if fields is None:
                return "No more responses"
        else:
            with _drawing:
                fields = next(self._given, {"answer": "No more responses"})
        return format_fields(fields, messages, response_format=form, adapter=self.adapter)


class _Script:
    """The answers of a model and of its copies."""

    def __init__(self, answers: Any, *, repeat: bool) -> None:
        if not callable(answers) and (isinstance(answers, (str, dict)) or not hasattr(answers, "__iter__")):
            raise UserError(f"`answers` must be a list or a function, but got {answers!r}; put it in a list.")
        self._function = answers if callable(answers) else None
        self._list = None if callable(answers) else list(answers)
        self._repeat = repeat
        self._used = 0
        self._lock = threading.Lock()

    def next(self, messages: list[dict[str, Any]], kwargs: dict[str, Any]) -> Any:
        if self._function is not None:
            return _call(self._function, messages, kwargs)
        answers = self._list or []
        with self._lock:
            index = self._used
            self._used += 1
        if self._repeat and answers:
            index %= len(answers)
        if index >= len(answers):
            raise UserError(
                f"The script has {len(answers)} answers, but this is call {index + 1}; "
                "give more answers, a function, or `repeat=True`."
            )
        return answers[index]

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self


def _call(function: Callable[..., Any], messages: list[dict[str, Any]], kwargs: dict[str, Any]) -> Any:
    parameters = inspect.signature(function).parameters.values()
    takes_more = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)
    return function(messages, **kwargs) if takes_more else function(messages)


_FORMS = {"ChatAdapter": "chat", "JSONAdapter": "json", "XMLAdapter": "xml"}
# By us and by DSPy.
_XML_ASKED = ("as XML elements", "wrapped in XML tags")


def format_fields(
    fields: Mapping[str, Any],
    messages: Iterable[Mapping[str, Any]],
    *,
    response_format: Any = None,
    adapter: Any = None,
) -> str:
    """Write output fields as a model would that was asked for them.

    Args:
        fields: Values by name of the field.
        messages: The prompt, which says whether field markers, XML elements or JSON are wanted.
        response_format: The request's; where there is one, the answer is JSON.
        adapter: Whose format it is, in place of the prompt's.

    Returns:
        The text of the answer.

    Example:
        >>> format_fields({"n": 1}, [{"role": "user", "content": "Answer as JSON."}])
        '{"n": 1}'
    """
    form = _form(messages, response_format, adapter)
    if form == "json":
        return json.dumps(dict(fields), ensure_ascii=False, default=str)
    if form == "xml":
        return "\n".join(f"<{key}>\n{_value(value)}\n</{key}>" for key, value in fields.items())
    sections = [f"[[ ## {key} ## ]]\n{_value(value)}" for key, value in fields.items()]
    return "\n\n".join([*sections, "[[ ## completed ## ]]"])


def _form(messages: Iterable[Mapping[str, Any]], response_format: Any, adapter: Any) -> str:
    if adapter is not None:
        kinds = (kind.__name__ for kind in type(adapter).__mro__)
        return next((_FORMS[name] for name in kinds if name in _FORMS), "json")
    if response_format is not None:
        return "json"
    texts = [str(message.get("content")) for message in messages]
    # All prompts may mark their input fields, so what counts is how the answer is asked for.
    if any("[[ ## completed ## ]]" in text for text in texts):
        return "chat"
    if any(asked in text for text in texts for asked in _XML_ASKED):
        return "xml"
    return "json" if any("JSON" in text for text in texts) else "chat"


def _value(value: Any) -> str:
    if isinstance(value, str):
        return value
    dump = getattr(value, "model_dump", None)
    return json.dumps(dump(mode="json") if callable(dump) else value, ensure_ascii=False, default=str)


def _text(value: Any, messages: list[dict[str, Any]], form: Any) -> str:
    return format_fields(value, messages, response_format=form) if isinstance(value, dict) else str(value)


def _followed(messages: list[dict[str, Any]]) -> str:
    """Return the output of the demo whose input the last message repeats."""
    counts: dict[str, int] = defaultdict(int)
    for message in messages:
        found = _MARKER.match(str(message.get("content")))
        if found:
            counts[found.group()] += 1
    most = max(counts.values(), default=0)
    outputs = [field for field, count in counts.items() if count != most]
    wanted = str(messages[-1]["content"]).split("\n\n", maxsplit=1)[0]
    for asked, answered in zip(reversed(messages[:-1]), reversed(messages), strict=False):
        text = str(answered["content"])
        if any(field in text for field in outputs) and wanted in str(asked["content"]):
            return text
    return "No more responses"


def _response(
    model: str, messages: list[dict[str, Any]], texts: list[str], *, reasoning: str | None = None
) -> dict[str, Any]:
    prompt = sum(len(str(message.get("content") or "")) for message in messages) // _CHARS_PER_TOKEN
    output = sum(map(len, texts)) // _CHARS_PER_TOKEN
    extra = {} if reasoning is None else {"reasoning_content": reasoning}
    return {
        "model": model,
        "choices": [
            {"message": {"role": "assistant", "content": text, **extra}, "finish_reason": "stop"}
            for text in texts
        ],
        "usage": {"prompt_tokens": prompt, "completion_tokens": output, "total_tokens": prompt + output},
    }
