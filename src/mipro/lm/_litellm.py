"""All other providers, through the extra `litellm`, which is imported only here and only then."""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from mipro.errors import LMConnectionError, LMNotFoundError, LMServerError, LMTimeoutError, MissingExtraError
from mipro.lm import _prices
from mipro.lm._failures import Call, error_from_answer, error_from_no_completion, key_from
from mipro.lm._openai import asked, plain, response_from
from mipro.lm._secrets import Secret, public_url, redact

if TYPE_CHECKING:
    from mipro.lm._prices import Prices
    from mipro.lm._types import LMRequest, LMResponse, Usage

_REASONING = re.compile(
    r"claude-(?:3-7|[a-z]+-[4-9])|gemini-(?:2\.5|[3-9])|reasoner|thinking|/o[1-9]|gpt-[5-9]"
)
# What litellm calls the APIs.
_FUNCTIONS = {"chat": "acompletion", "text": "atext_completion", "responses": "aresponses"}


@dataclass(frozen=True, slots=True)
class LiteLLMBackend:
    """One model of a provider that litellm knows."""

    model: str
    """Name as given to `LM`, which is litellm's."""
    api_base: str = field(default="", repr=False)
    api_key: Secret = field(default_factory=lambda: Secret(None))
    headers: dict[str, Secret] = field(default_factory=dict)
    credentials: dict[str, Any] = field(default_factory=dict)
    """Secrets, or functions that fetch them, under the provider's own names, such as
    `aws_secret_access_key`."""
    timeout_s: float = 600.0
    prices: Prices | None = None

    @property
    def endpoint(self) -> str:
        """Address without secrets, or "" for the provider's own."""
        return public_url(self.api_base) if self.api_base else ""

    @property
    def supports_response_schema(self) -> bool:
        """Whether answers can be held to a JSON schema, as litellm's table has it."""
        return bool(_import_litellm(self.model).supports_response_schema(self.model))

    @property
    def supports_function_calling(self) -> bool:
        """Whether the model can be given tools, as litellm's table has it."""
        return bool(_import_litellm(self.model).supports_function_calling(self.model))

    @property
    def supports_reasoning(self) -> bool:
        """Whether the model reasons by itself before it answers."""
        return _REASONING.search(self.model) is not None

    def check(self) -> None:
        """Refuse a call without litellm; the key is litellm's business."""
        _import_litellm(self.model)

    async def send(self, request: LMRequest) -> LMResponse:
        """Have litellm make the call, once; see `Backend.send`."""
        litellm = _import_litellm(self.model)
        ours = ("rollout_id", "model_type")
        params = {k: v for k, v in request.sent_params.items() if k not in ours and v is not None}
        secrets = {
            name: value.reveal() if isinstance(value, Secret) else value
            for name, value in self.credentials.items()
            if value
        }
        if self.api_key:
            secrets["api_key"] = await key_from(self.api_key, self.model)
        headers = {name: await key_from(value, self.model) for name, value in self.headers.items()}
        send = getattr(litellm, _FUNCTIONS[request.params.get("model_type", "chat")])
        params = asked(request, params)
        if headers:
            params["extra_headers"] = headers
        if self.api_base:
            params["api_base"] = self.api_base
        texts = (value for value in secrets.values() if isinstance(value, str))
        hidden = (*texts, *headers.values(), *request.secrets.texts())
        start_s = time.perf_counter()
        try:
            data = await send(
                model=self.model,
                timeout=self.timeout_s,
                num_retries=0,
                max_retries=0,
                drop_params=True,
                **params,
                **secrets,
            )
        except Exception as error:  # noqa: BLE001 - litellm's errors have no common base
            raise _error(self, error, hidden) from None
        try:
            response = response_from(data, latency_s=time.perf_counter() - start_s)
        except ValueError as error:
            call = Call(self.model, self.endpoint or "its provider", secrets=hidden)
            raise error_from_no_completion(call, json.dumps(plain(data), default=str), {}) from error
        return replace(response, cost_usd=self._cost(data, response))

    def _cost(self, data: Any, response: LMResponse) -> float | None:
        listed = (
            None
            if self.prices is not None
            else (getattr(data, "_hidden_params", None) or {}).get("response_cost")
        )
        if listed is not None:
            return float(listed)
        return _prices.cost_of_answer(self.price_usd, response.usage)

    def load(self) -> None:
        """Load nothing: it reaches for the network."""

    def price_usd(self, usage: Usage) -> float | None:
        """Return the price of a call, from the caller's prices or the public list."""
        provider, _, name = self.model.partition("/")
        return _prices.cost_usd(provider, name, usage, self.prices)


def _error(backend: LiteLLMBackend, error: Exception, secrets: tuple[str, ...]) -> Exception:
    call = Call(backend.model, backend.endpoint or "its provider", secrets=secrets)
    status = getattr(error, "status_code", None)
    kind = type(error).__name__
    if "LLM Provider NOT provided" in str(error):
        return LMNotFoundError(
            f"the name of a model must begin with a provider that litellm knows, but got {backend.model!r}; "
            "for any other server that speaks OpenAI's API use 'openai/NAME' with `api_base=`.",
            model=backend.model,
        )
    if status is None and not kind.startswith(("APIConnection", "Timeout")):
        return LMServerError(f"litellm failed for `{backend.model}`: {kind}: {redact(str(error), secrets)}")
    if status is None or kind.startswith(("APIConnection", "Timeout")):
        late = LMTimeoutError if kind.startswith("Timeout") else LMConnectionError
        return late(
            f"The model `{backend.model}` gave no answer: {redact(str(error), secrets)}", model=backend.model
        )
    headers = getattr(getattr(error, "response", None), "headers", None) or {}
    return error_from_answer(call, int(status), str(error), headers)


def _import_litellm(model: str) -> Any:
    try:
        import litellm  # noqa: PLC0415 - an extra, slow, and it reaches for the network
    except ImportError as error:
        raise MissingExtraError("litellm", extra="litellm", purpose=f"The model `{model}`") from error
    litellm.suppress_debug_info = True  # it prints to stdout otherwise
    return litellm
