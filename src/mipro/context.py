"""Settings of the caller: `configure()` for the process, `context()` for a block.

The only ambient state of the package. Everything below takes what it needs as
arguments or reads it here once, at its entrance.
"""

from __future__ import annotations

import contextlib
import operator
from contextvars import ContextVar
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

from mipro.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextvars import Token

    from mipro.lm import BaseLM, LMRequest, LMResponse


class Gate(Protocol):
    """What every call to a language model passes while a run is under way.

    A run puts itself into the context for the time of a `compile`, so that calls
    made anywhere below (a program, a tool, an LM judge in the metric) pass it.
    Without a gate the same calls go straight to the model.
    """

    async def call(self, lm: BaseLM, request: LMRequest) -> LMResponse:
        """Answer `request`, from the ledger or from `lm`, on the I/O loop.

        Raises:
            LMError: The model failed and trying again did not help.
            RunStopped: The run may not or can't make the call.
        """


DEFAULT_CONFIG: dict[str, Any] = {
    "lm": None,
    "adapter": None,
    "rm": None,
    "trace": None,
    "gate": None,
    "callbacks": (),
    "track_usage": False,
    "usage_tracker": None,
    "num_threads": 8,
    "max_errors": 10,
    "async_max_workers": 8,
    "disable_history": False,
    "max_history_size": 3000,  # 15 MB; a medium run of one predictor makes 2,200 calls
    "max_trace_size": 10_000,
    "provide_traceback": False,
    "warn_on_type_mismatch": True,
    "allow_tool_async_sync_conversion": False,
    "strict": False,
}
"""The settings before anything is configured."""

# What `configure` set, for all threads. Replaced as a whole, never changed in
# place, so that a reader in another thread sees the old or the new, not a mixture.
_process_wide: Mapping[str, Any] = MappingProxyType(DEFAULT_CONFIG)
# What `context` set, for this thread or task and those that copy its context.
_overrides: ContextVar[Mapping[str, Any] | None] = ContextVar("mipro_overrides", default=None)


# Told of each call to a model that passes no gate, one for each run under way in the process.
_watchers: list[Callable[[], None]] = []


@contextlib.contextmanager
def watching(notice: Callable[[], None]) -> Iterator[None]:
    """Have `notice` called for every call to a model that passes no gate, in whatever thread.

    Threads that a program starts by itself do not have the context of the one that started them, so
    that their calls pass by the run that the program is a part of.
    """
    _watchers.append(notice)
    try:
        yield
    finally:
        _watchers.remove(notice)


def passed_by() -> None:
    """Tell the runs under way that a call to a model passes no gate."""
    for notice in tuple(_watchers):
        notice()


class Settings:
    """The settings in force here, read as attributes, keys or with `get`.

    Example:
        >>> settings.num_threads
        8
        >>> with settings.context(num_threads=2):
        ...     settings["num_threads"]
        2
    """

    __slots__ = ()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        try:
            return self[name]
        except KeyError as error:
            raise AttributeError(f"no setting named `{name}`; known: {sorted(self.keys())}") from error

    def __setattr__(self, name: str, value: Any) -> None:
        configure(**{name: value})

    def __getitem__(self, name: str) -> Any:
        overrides = _overrides.get()
        if overrides is not None and name in overrides:
            return overrides[name]
        return _process_wide[name]

    def __setitem__(self, name: str, value: Any) -> None:
        configure(**{name: value})

    def __contains__(self, name: object) -> bool:
        return name in self.copy()

    def __repr__(self) -> str:
        return f"Settings({', '.join(f'{k}={v!r}' for k, v in self.copy().items())})"

    def get(self, name: str, default: Any = None) -> Any:
        """Return the setting, or `default` where there is none of that name."""
        try:
            return self[name]
        except KeyError:
            return default

    def keys(self) -> list[str]:
        """Return the names of all settings."""
        return list(self.copy())

    def copy(self) -> dict[str, Any]:
        """Return all settings in force here as a dict."""
        return {**_process_wide, **(_overrides.get() or {})}

    @property
    def config(self) -> dict[str, Any]:
        """All settings in force here, as a dict."""
        return self.copy()

    def configure(self, **values: Any) -> None:
        """Set values for the whole process; see `configure`."""
        configure(**values)

    def context(self, **values: Any) -> contextlib.AbstractContextManager[None]:
        """Set values for a block; see `context`."""
        return context(**values)

    def save(self, path: Any = None, **options: Any) -> NoReturn:
        """Refuse: settings hold live objects, which only a pickle could keep.

        Raises:
            UserError: Always.
        """
        del path, options
        raise UserError(
            "settings are not saved or loaded: models and callbacks could only be kept as a pickle, which "
            "runs code when it is loaded; call `mipro.configure(...)` where the program starts."
        )

    load = save


# Read a dozen times a call: what is found on the class takes a tenth of the time of `__getattr__`.
for _name in DEFAULT_CONFIG:
    setattr(Settings, _name, property(operator.itemgetter(_name)))

settings: Settings = Settings()


def configure(**values: Any) -> None:
    """Set values for the whole process, for example `configure(lm=LM("openai/gpt-4o-mini"))`.

    Inside a `context(...)` block the block's own values stay in force until it ends.

    Args:
        values: Settings by name; names not known to mipro are kept for the caller.
    """
    global _process_wide  # noqa: PLW0603 - the one place that owns it
    _process_wide = MappingProxyType({**_process_wide, **values})


def context(**values: Any) -> Override:
    """Set values for a `with` block, in this thread or task only.

    Threads that mipro starts (`Evaluate`, `Parallel`, optimizers) copy the context
    of their caller. Blocks nest.

    Args:
        values: Settings by name.
    """
    return Override(values)


class Override(contextlib.ContextDecorator):
    """Settings for one `with` block or, as a decorator, for every call of a function."""

    # Not a generator: three blocks for each call of a program make that a part of what a call costs.

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values
        self._token: Token[Mapping[str, Any] | None] | None = None

    def _recreate_cm(self) -> Override:  # what a decorated function enters, once for each call
        return Override(self._values)

    def __enter__(self) -> None:
        self._token = _overrides.set({**(_overrides.get() or {}), **self._values})

    def __exit__(self, *_: object) -> None:
        if self._token is not None:
            _overrides.reset(self._token)
