"""Which backend answers a model's name, and which arguments configure it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mipro.errors import UserError
from mipro.lm._prices import as_prices
from mipro.lm._providers import PROVIDERS
from mipro.lm._secrets import Secret, is_secret_name, public_url, split_login

if TYPE_CHECKING:
    from collections.abc import Callable

    from mipro.lm._backend import Backend

LOCAL = "local"
# What `LM` takes for the way to a model rather than for a parameter of requests.
_ALIASES = {
    "api_base": "api_base",
    "base_url": "api_base",
    "api_key": "api_key",
    "timeout": "timeout_s",
    "request_timeout": "timeout_s",
    "timeout_s": "timeout_s",
    "headers": "headers",
    "extra_headers": "headers",
    "default_headers": "headers",
    "threads": "threads",
    "parallel": "parallel",
    "context_size": "context_size",
    "use_developer_role": "use_developer_role",
}
# DSPy's arguments for fine-tuning and for its engines, which have no meaning here.
_OF_DSPY = frozenset(
    {
        "provider",
        "finetuning_model",
        "launch_kwargs",
        "train_kwargs",
        "engine",
        "async_engine",
        "prompt_cache",
    }
)
# litellm's arguments for how it makes a call. Servers that are asked without it would be sent them, and
# OpenAI's refuses every request with a parameter that it does not know.
_OF_LITELLM = frozenset(
    {
        "additional_drop_params",
        "allowed_openai_params",
        "caching",
        "context_window_fallback_dict",
        "custom_llm_provider",
        "drop_params",
        "fallbacks",
        "input_cost_per_token",
        "max_retries",
        "mock_response",
        "model_info",
        "output_cost_per_token",
        "retry_strategy",
        "rpm",
        "ssl_verify",
        "tpm",
    }
)
# Arguments of OpenAI's client, and litellm's, that are headers on the wire.
_HEADERS = {"organization": "OpenAI-Organization", "project": "OpenAI-Project"}
# A small local model that rambles must not hold up a run for minutes.
LOCAL_MAX_TOKENS = 512


def is_local(model: str) -> bool:
    """Tell whether a model runs in this process, where calls gain nothing from being made at once."""
    return _provider_of(model) == LOCAL


def split_options(
    model: str, kwargs: dict[str, Any], warn: Callable[..., None]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Split arguments into options of the backend and parameters of requests.

    Values that may be secrets come out as `Secret`, whatever parameter holds them.

    Args:
        model: Whom they are for.
        kwargs: As the caller gave them; not modified.
        warn: Called with a topic, a message and its arguments about what is left out.

    Returns:
        Options under one name each, and parameters.

    Raises:
        UserError: Answers are to be streamed.
    """
    options: dict[str, Any] = {}
    params: dict[str, Any] = {}
    for name, value in _without_client(model, kwargs, warn).items():
        option = _ALIASES.get(name)
        if option == "headers":
            # Under several names, they are sent together.
            options.setdefault(option, {}).update({k: _hidden(v) for k, v in dict(value or {}).items()})
        elif option == "api_base" and value:
            options[option], login = split_login(str(value))
            if login:
                options["login"] = Secret(login)
        elif option is not None:
            options[option] = _hidden(value) if is_secret_name(option) else value
        elif is_secret_name(name):
            # A function that fetches a token is litellm's to call, and shows none by itself.
            options.setdefault("credentials", {})[name] = value if callable(value) else _hidden(value)
        else:
            params[name] = value
    return options, params


def _without_client(model: str, kwargs: dict[str, Any], warn: Callable[..., None]) -> dict[str, Any]:
    """Return `kwargs` without what is said to a client rather than to a server."""
    if kwargs.get("stream"):
        raise UserError("`stream` must be False, since answers are read whole; leave it out.")
    rest = {name: value for name, value in kwargs.items() if name != "stream"}
    asks_litellm = not is_local(model) and _provider_of(model) not in PROVIDERS
    for name in kwargs:
        if name in _OF_DSPY or (name in _OF_LITELLM and not asks_litellm):
            value = rest.pop(name)
            if value and value != "auto":
                warn(name, "`%s` has no meaning in mipro for %s and is left out.", name, model)
    if asks_litellm:
        return rest
    for name, header in _HEADERS.items():
        value = rest.pop(name, None)
        if value:
            rest["extra_headers"] = {**dict(rest.get("extra_headers") or {}), header: value}
    return rest


def default_params(model: str) -> dict[str, Any]:
    """Return parameters that a model gets where the caller says nothing."""
    if is_local(model):
        return {"temperature": 0.0, "max_tokens": LOCAL_MAX_TOKENS}
    return {}


def public_options(options: dict[str, Any]) -> dict[str, Any]:
    """Return the options that may be saved: no key, no headers, no password in an address."""
    kept: dict[str, Any] = {
        name: options[name]
        for name in ("timeout_s", "threads", "parallel", "context_size", "use_developer_role")
        if name in options
    }
    if options.get("api_base"):
        kept["api_base"] = public_url(options["api_base"])
    return kept


def create(model: str, options: dict[str, Any]) -> Backend:
    """Return what answers for `model`; nothing is connected, loaded or imported yet.

    Args:
        model: Provider and name; without a provider it is OpenAI's.
        options: As `split_options` returns them, and `prices`.

    Raises:
        UserError: The name or an option is not what it must be.
    """
    provider = _provider_of(model)
    name = model[len(provider) + 1 :] if model.startswith(f"{provider}/") else model
    if not name:
        raise UserError(f"`model` must have a name after the provider, but got {model!r}.")
    given = {k: v for k, v in options.items() if v is not None}
    timeout_s = given.get("timeout_s")
    if timeout_s is not None and not (isinstance(timeout_s, (int, float)) and timeout_s > 0):
        raise UserError(f"`timeout` must be a number of seconds above 0, but got {timeout_s!r}.")
    if provider == LOCAL:
        from mipro.lm._local import LocalBackend  # noqa: PLC0415 - rarely needed

        own = {k: given[k] for k in ("threads", "parallel", "context_size", "timeout_s") if k in given}
        return LocalBackend(model, name, **own)
    prices = as_prices(given.get("prices"))
    shared = {k: given[k] for k in ("api_base", "api_key", "headers", "timeout_s") if k in given}
    if provider in PROVIDERS:
        from mipro.lm._http import HTTPBackend  # noqa: PLC0415 - not needed by local models

        login = given.get("login", Secret(None))
        return HTTPBackend(model, name, PROVIDERS[provider], prices=prices, login=login, **shared)
    from mipro.lm._litellm import LiteLLMBackend  # noqa: PLC0415 - rarely needed

    return LiteLLMBackend(model, prices=prices, credentials=given.get("credentials", {}), **shared)


def _provider_of(model: str) -> str:
    provider, slash, _ = model.partition("/")
    return provider if slash else "openai"


def _hidden(value: Any) -> Secret:
    if isinstance(value, Secret):
        return value
    return Secret(value if value is None or callable(value) else str(value))
