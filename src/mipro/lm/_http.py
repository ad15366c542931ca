"""Models behind an OpenAI-compatible server."""

from __future__ import annotations

import base64
import json
import re
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from mipro.errors import LMAuthError, LMConnectionError, LMNotConfiguredError, LMTimeoutError, UserError
from mipro.lm import _openai as openai
from mipro.lm import _prices, _wire
from mipro.lm._failures import Call, error_from_answer, error_from_no_completion, key_from
from mipro.lm._secrets import Secret, public_url, redact, split_login
from mipro.lm._types import Usage

if TYPE_CHECKING:
    from mipro.lm._prices import Prices
    from mipro.lm._providers import Provider
    from mipro.lm._types import LMRequest, LMResponse

DEFAULT_TIMEOUT_S = 600.0  # as the OpenAI SDK; reasoning models take minutes
_OK = range(200, 300)  # some gateways say 201: something was made
# Models of OpenAI that can't be held to a JSON schema.
_NO_SCHEMA = re.compile(r"gpt-3\.5.*|gpt-4(?:-.*)?|chatgpt-.*|o1-(?:mini|preview).*|davinci.*|babbage.*")


@dataclass(frozen=True, slots=True)
class HTTPBackend:
    """One model behind one address."""

    model: str
    """Name as given to `LM`."""
    name: str
    """Name as the server knows it."""
    provider: Provider
    api_base: str = field(default="", repr=False)
    """Address as given to `LM`, or ""."""
    api_key: Secret = field(default_factory=lambda: Secret(None))
    login: Secret = field(default_factory=lambda: Secret(None))
    """ "user:password" of the address, or nothing."""
    headers: dict[str, Secret] = field(default_factory=dict)
    """More headers to send; their values may be secrets."""
    timeout_s: float = DEFAULT_TIMEOUT_S
    prices: Prices | None = None

    @property
    def base_url(self) -> str:
        """Address in force: the argument, the environment variable, or the provider's own."""
        base = self.api_base or self.provider.base_from_environment() or self.provider.base_url
        return base.rstrip("/")

    @property
    def endpoint(self) -> str:
        """Address without secrets, or "" for the provider's own."""
        base = self.base_url
        return "" if base == self.provider.base_url else public_url(base)

    @property
    def supports_response_schema(self) -> bool:
        """Whether answers can be held to a JSON schema; other servers than OpenAI's are taken to."""
        return bool(self.endpoint) or self.provider.name != "openai" or not _NO_SCHEMA.fullmatch(self.name)

    @property
    def supports_function_calling(self) -> bool:
        """Whether the model can be given tools; taken for granted with this API."""
        return True

    @property
    def supports_reasoning(self) -> bool:
        """Whether this is one of OpenAI's reasoning models."""
        return openai.is_reasoning_model(self.name)

    def check(self) -> None:
        """Refuse a call without an address, or without a key where the provider surely needs one."""
        if not self.base_url:
            raise UserError(f"`{self.model}` must be told where its server is; pass `api_base=`.")
        if not self.base_url.lower().startswith(("http://", "https://")):
            # Without a user, a password and a query, wherever a text that is no URL holds them.
            shown = self.base_url.partition("?")[0].rpartition("@")[2]
            raise UserError(
                f"the address of `{self.model}` must begin with http:// or https://, but got {shown!r}; "
                "pass it whole, for example api_base='http://localhost:8000/v1'."
            )
        needs_key = bool(self.provider.key_variables) and self.base_url == self.provider.base_url
        local = self.base_url.startswith(("http://localhost", "http://127."))
        has_key = self.api_key or self.provider.key_from_environment() or self.headers
        if needs_key and not local and not has_key:
            raise LMNotConfiguredError(
                f"`{self.model}` needs an API key, but none was given; "
                f"set {self.provider.key_variables[0]} or pass `api_key=`.",
                model=self.model,
            )

    def load(self) -> None:
        """Load the HTTP client and the list of prices: a tenth of a second each."""
        _wire.load()
        self.price_usd(Usage())

    def price_usd(self, usage: Usage) -> float | None:
        """Return the price of a call, from the caller's prices or the public list."""
        return _prices.cost_usd(self.provider.name, self.name, usage, self.prices)

    async def send(self, request: LMRequest) -> LMResponse:
        """Post `request` and read the answer; see `Backend.send`."""
        self.check()
        key = await key_from(self.api_key, self.model) or self.provider.key_from_environment()
        key = key.strip()  # one that was read from a file ends in a line feed
        base, login = split_login(self.base_url)
        login = self.login.reveal() or login
        base, mark, query = base.partition("?")
        url = base.rstrip("/") + openai.PATHS[request.params.get("model_type", "chat")] + mark + query
        own = {name: (await key_from(value, self.model)).strip() for name, value in self.headers.items()}
        call = Call(
            self.model,
            public_url(url),
            self.provider.key_variables[0] if self.provider.key_variables else "",
            (key, login, login.partition(":")[2], *own.values(), *request.secrets.texts()),
        )
        headers = {"Content-Type": "application/json", "User-Agent": "mipro"}
        if key:
            headers["Authorization"] = f"Bearer {key}"
        elif login:
            headers["Authorization"] = f"Basic {base64.b64encode(login.encode()).decode()}"
        headers.update(own)
        for name, value in headers.items():
            if not value.isprintable():
                raise LMAuthError(
                    f"The header {name!r} to `{self.model}` must be one line of characters that can be seen, "
                    "but it is not; look for a line feed or an odd blank in the key or header that you pass.",
                    model=self.model,
                )
        data = openai.encode(openai.body(request, self.name), self.model)
        start_s = time.perf_counter()
        try:
            reply = await _wire.post(url, data, headers=headers, timeout_s=self.timeout_s)
        except _wire.NoReplyError as error:
            kind = LMTimeoutError if isinstance(error, _wire.LateReplyError) else LMConnectionError
            raise kind(
                f"The model `{self.model}` at {call.url} gave no answer: {redact(str(error), call.secrets)}; "
                "check that the server runs and `api_base=` is its address, or pass a longer `timeout=`.",
                model=self.model,
            ) from error
        return self._read(call, reply, time.perf_counter() - start_s)

    def _read(self, call: Call, reply: _wire.Reply, latency_s: float) -> LMResponse:
        text = reply.body.decode("utf-8-sig", "replace")  # a byte order mark is no JSON
        if reply.status not in _OK:
            raise error_from_answer(call, reply.status, text, reply.headers)
        try:
            data = json.loads(text)
            response = openai.response_from(data, latency_s=latency_s)
        except (ValueError, RecursionError) as error:
            raise error_from_no_completion(call, text, reply.headers) from error
        return replace(response, cost_usd=self._cost_usd(data, response.usage))

    def _cost_usd(self, data: dict[str, Any], usage: Usage) -> float | None:
        told = openai.cost_from(data.get("usage")) if self.provider.tells_cost and not self.prices else None
        return _prices.cost_of_answer(self.price_usd, usage) if told is None else told
