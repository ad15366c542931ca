"""Responses to what a caller sees: a list of texts or dicts, or an OpenAI-like object."""

from __future__ import annotations

from typing import Any

from mipro.lm._openai import plain, response_from
from mipro.lm._types import Completion, LMResponse, Usage


def outputs_of(response: LMResponse, model_type: str = "chat") -> list[Any]:
    """Return one output for each completion.

    A list of texts; where any completion holds more than text, or was asked for through the Responses
    API, a list of dicts with `text` and what else there is: `reasoning_content`, `tool_calls`, `logprobs`.
    They are copies, which the caller may change: a cached answer is given to others too.
    """
    outputs = []
    for completion in response.completions:
        # As OpenAI: an answer that only calls tools has no text, rather than an empty one.
        text = None if completion.tool_calls and not completion.text else completion.text
        output: dict[str, Any] = {"text": text}
        if completion.reasoning:
            output["reasoning_content"] = completion.reasoning
        if completion.logprobs is not None:
            output["logprobs"] = plain(completion.logprobs)
        if completion.tool_calls:
            output["tool_calls"] = plain(completion.tool_calls)
        outputs.append(output)
    # Programs written for DSPy read `["text"]` of every answer through the Responses API.
    if model_type != "responses" and all(len(output) == 1 for output in outputs):
        return [output["text"] for output in outputs]
    return outputs


def usage_dict(usage: Usage) -> dict[str, Any]:
    """Return token counts under OpenAI's names; an empty dict where nothing was counted."""
    if usage == Usage():
        return {}
    counts: dict[str, Any] = {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
    }
    if usage.cached_tokens:
        counts["prompt_tokens_details"] = {"cached_tokens": usage.cached_tokens}
    if usage.reasoning_tokens:
        counts["completion_tokens_details"] = {"reasoning_tokens": usage.reasoning_tokens}
    return counts


class OpenAIResponse(dict[str, Any]):
    """An OpenAI-like response, read as a dict or by attribute.

    What `LM.forward` returns, since programs written against OpenAI's form expect
    `response.choices[0].message.content`.
    """

    lm_response: LMResponse | None = None
    """The response that this one was made from."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError as error:
            raise AttributeError(name) from error


def openai_response(response: LMResponse) -> OpenAIResponse:
    """Return `response` in OpenAI's form."""
    choices = []
    for index, completion in enumerate(response.completions):
        message = OpenAIResponse(role="assistant", content=completion.text)
        if completion.reasoning:
            message["reasoning_content"] = completion.reasoning
        if completion.tool_calls:
            message["tool_calls"] = plain(completion.tool_calls)
        choices.append(
            OpenAIResponse(
                index=index,
                message=message,
                finish_reason=completion.finish_reason,
                logprobs=plain(completion.logprobs),
            )
        )
    result = OpenAIResponse(model=response.model, choices=choices, usage=usage_dict(response.usage))
    result.lm_response = response
    return result


def lm_response(value: Any, latency_s: float = 0.0) -> LMResponse:
    """Read what a user's `forward` returned.

    Args:
        value: An `LMResponse`, an OpenAI-like response, or simply the text or texts.
        latency_s: Seconds the call took.

    Raises:
        ValueError: `value` is none of these.
    """
    if isinstance(value, LMResponse):
        return value
    if isinstance(value, OpenAIResponse) and value.lm_response is not None:
        return value.lm_response
    if isinstance(value, str):
        value = [value]
    if isinstance(value, list) and value and all(isinstance(text, str) for text in value):
        return LMResponse(
            model="", completions=tuple(Completion(text) for text in value), latency_s=latency_s
        )
    return response_from(value, latency_s=latency_s)
