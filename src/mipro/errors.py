"""Every exception that mipro raises on purpose.

MiproError
├── UserError                     the caller's mistake; also a ValueError
│   ├── SignatureError            a signature that can't be read
│   ├── StateError                a saved program or run that does not fit; also a KeyError
│   │   └── RunMismatchError      a run directory of another program, data set, ...
│   ├── NoModelError              no language model is configured, or what is configured is none
│   └── ProgramError              the user's program or metric raised too often
├── MissingExtraError             an optional dependency is absent; also an ImportError
├── AdapterParseError             an answer of an LM that can't be read
├── LMError                       a call to a model failed
│   ├── LMProviderError           whoever runs the model refused or failed: all with a status, and time-outs
│   │   ├── LMAuthError           401, 403: the key
│   │   │   ├── LMBillingError    402, ...: the account has no credit
│   │   │   └── LMConfigurationError
│   │   │       └── LMNotConfiguredError      there is no key
│   │   ├── LMNotFoundError       404: the model or the address
│   │   └── LMRequestError        400, 422, ...: the request itself is refused
│   │       ├── ContextWindowError            the prompt is longer than the model takes
│   │       └── LMUnsupportedFeatureError     raised by models of the user's own
│   ├── LMUnexpectedError         raised by models of the user's own
│   └── LMTransientError          may pass: try again
│       ├── LMRateLimitError      429; an LMProviderError too
│       ├── LMServerError         408, 409, 425, 5xx; an LMProviderError too
│       ├── LMConnectionError     no answer: refused, reset, timed out
│       │   └── LMTimeoutError    time ran out; an LMProviderError too
│       └── LMUnansweredError     others are answered, this call never
├── IntegrityError                a downloaded file is not what it should be
├── DownloadError                 no source could deliver a file
└── RunStopped                    a run ended early, everything kept
    ├── BudgetExhausted           the next call would exceed the budget
    └── RunInterrupted            infrastructure stays dead, or Ctrl-C
"""

from __future__ import annotations

import pickle
import traceback
from typing import Any


class MiproError(Exception):
    """Base of all errors of this package; they can be pickled, as those of a worker process are."""

    @property
    def message(self) -> str:
        """The text of the error, under DSPy's name."""
        return str(self)

    def __reduce__(self) -> tuple[Any, ...]:
        # An exception is made again of its text alone, which is not what ours are made of.
        return _made_again, (type(self), self.args), dict(self.__dict__)


def _made_again(kind: type[MiproError], args: tuple[Any, ...]) -> MiproError:
    return kind.__new__(kind, *args)


class UserError(MiproError, ValueError):
    """An argument, a data set or a program is not what it must be."""


class SignatureError(UserError):
    """A signature can't be read; the message names the place."""


class StateError(UserError, KeyError):
    """A saved program or run does not fit what it is loaded into; a KeyError too, as DSPy raises there."""

    __str__ = Exception.__str__  # a KeyError shows its text in quotes


class RunMismatchError(StateError):
    """A run directory belongs to another program, data set, metric or setting.

    Attributes:
        differences: One line for each thing that differs.
    """

    def __init__(self, message: str, *, differences: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.differences = differences


class NoModelError(UserError):
    """A predictor was called where no language model is configured, or something that is none."""


class ProgramError(UserError):
    """The user's program or metric raised on more examples than `max_errors` allows.

    Attributes:
        count: On how many examples.
    """

    def __init__(self, message: str, *, count: int = 1) -> None:
        super().__init__(message)
        self.count = count


class MissingExtraError(MiproError, ImportError):
    """An optional dependency is absent; the message says how to install it."""

    def __init__(self, package: str, *, extra: str, purpose: str) -> None:
        super().__init__(
            f"{purpose} needs the package `{package}`, which is not installed; "
            f"run `pip install 'mipro[{extra}]'`."
        )
        self.package = package
        self.extra = extra


class AdapterParseError(MiproError, ValueError):
    """The answer of an LM does not hold the fields of the signature.

    Attributes:
        adapter_name: Class name of the adapter that tried.
        signature: The signature whose outputs were looked for; None after a pickle that can't hold it, as
            of one made from a text.
        lm_response: The raw answer.
        parsed_result: What could be read, if anything.
        missing: Names of the output fields that are missing or wrongly typed.
        code: What kind of failure it is, in DSPy's words.
    """

    code = "adapter_parse_error"

    def __init__(
        self,
        adapter_name: str,
        signature: Any,
        lm_response: str,
        message: str | None = None,
        parsed_result: dict[str, Any] | None = None,
        missing: tuple[str, ...] = (),
    ) -> None:
        expected = list(getattr(signature, "output_fields", {}))
        lines = [
            message or "",
            f"`{adapter_name}` could not read the answer of the LM.",
            f"Expected the output fields {expected}, missing or wrong: {list(missing)}."
            if missing
            else f"Expected the output fields {expected}.",
            f"Raw answer: {lm_response!r}",
        ]
        if parsed_result is not None:
            lines.append(f"Fields found: {list(parsed_result)}")
        super().__init__("\n".join(line for line in lines if line))
        self.adapter_name = adapter_name
        self.signature = signature
        self.lm_response = lm_response
        self.parsed_result = parsed_result
        self.missing = missing

    def __reduce__(self) -> tuple[Any, ...]:
        made, given, state = super().__reduce__()
        try:
            pickle.dumps(self.signature)
        except (pickle.PicklingError, AttributeError, TypeError):
            state["signature"] = None
        return made, given, state


class LMError(MiproError):
    """A call to a language model failed.

    Models of one's own that are written for DSPy raise these errors with `retry_after` and what their
    provider said.

    Attributes:
        model: Name of the model as given to `LM`, or None where it is not known.
        status: HTTP status, or None where there was no answer.
        retry_after_s: Seconds the server asks to wait, or None; `retry_after` is the same.
        code: What kind of failure it is, in DSPy's words.
        provider: Who was asked, `provider_code` the code and `request_id` the number that it gave, each as
            the raising model told it, or None.
    """

    code = "lm_error"

    def __init__(  # noqa: PLR0913 - DSPy's call form
        self,
        message: str = "",
        *,
        model: str | None = None,
        status: int | None = None,
        retry_after_s: float | None = None,
        retry_after: float | None = None,
        code: str | None = None,
        provider: str | None = None,
        provider_code: str | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(message or code or self.code)
        self.model = model
        self.status = status
        self.retry_after_s = retry_after if retry_after_s is None else retry_after_s
        self.code = code or self.code
        self.provider = provider
        self.provider_code = provider_code
        self.request_id = request_id

    @property
    def retry_after(self) -> float | None:
        """Seconds the server asks to wait, under DSPy's name."""
        return self.retry_after_s


class LMProviderError(LMError):
    """Whoever runs the model refused the request or failed at it."""

    code = "provider"


class LMUnexpectedError(LMError):
    """A model of the user's own failed in a way that it has no other name for."""

    code = "unexpected"


class LMAuthError(LMProviderError):
    """The key is missing, wrong or not allowed to use the model (401, 403)."""

    code = "auth"


class LMBillingError(LMAuthError):
    """The account has no credit left (402, or what the provider writes under another status)."""

    code = "billing"


class LMConfigurationError(LMAuthError):
    """The model can't be asked as it is set up."""

    code = "configuration"


class LMNotConfiguredError(LMConfigurationError):
    """The model needs a key and none was given."""

    code = "not_configured"


class LMNotFoundError(LMProviderError):
    """The server does not know the model or the path (404)."""

    code = "unsupported_model"


class LMRequestError(LMProviderError):
    """The server refuses the request itself (400, 413, 422)."""

    code = "invalid_request"


class ContextWindowError(LMRequestError):
    """The prompt is longer than the model's context window."""

    code = "context_window_exceeded"


class LMUnsupportedFeatureError(LMRequestError):
    """A model of the user's own has not what it was asked for.

    Attributes:
        features: Names of what was asked for, `feature` the one that was given alone.
        issues: Why each could not be had.
    """

    code = "unsupported_feature"

    def __init__(
        self,
        message: str = "",
        *,
        features: list[str] | None = None,
        feature: str | None = None,
        issues: list[str] | None = None,
        **details: Any,
    ) -> None:
        super().__init__(message, **details)
        self.feature = feature
        self.features = list(features if features is not None else [feature] if feature else [])
        self.issues = list(issues or [])


class LMTransientError(LMError):
    """A failure that may pass; the same call can be tried again."""


class LMRateLimitError(LMTransientError, LMProviderError):
    """Too many requests (429)."""

    code = "rate_limit"


class LMServerError(LMTransientError, LMProviderError):
    """The server failed (408, 409, 425, 5xx)."""

    code = "server"


class LMConnectionError(LMTransientError):
    """No answer: connection refused or reset, or timed out."""

    code = "transport"


class LMTimeoutError(LMConnectionError, LMProviderError):
    """No answer in the time that there was."""

    code = "timeout"


class LMUnansweredError(LMTransientError):
    """The model answers other calls, but this one never; a run has passed over it."""


class IntegrityError(MiproError):
    """A file's SHA-256 is not the expected one; the file is not kept."""


class DownloadError(MiproError):
    """No source could deliver a file; the message says what each answered."""


class RunStopped(MiproError):
    """A run ended before it was complete; everything paid for is kept."""


class BudgetExhausted(RunStopped):
    """The next call would exceed the budget.

    Attributes:
        resource: Which limit: "lm_calls", "tokens", "cost_usd" or "seconds".
    """

    def __init__(self, message: str, *, resource: str) -> None:
        super().__init__(message)
        self.resource = resource


class RunInterrupted(RunStopped):
    """The infrastructure stays dead or the user pressed Ctrl-C; the run can be resumed.

    Attributes:
        run_dir: Where the run is kept.
    """

    def __init__(self, message: str, *, run_dir: str | None = None) -> None:
        super().__init__(message)
        self.run_dir = run_dir


def format_error_for_lm(error: BaseException, *, traceback_frames: int = 0) -> str:
    """Return what a program of the user's own tells a model of an error.

    Args:
        error: The error.
        traceback_frames: Frames of its traceback to show at most; 0 for the message alone.
    """
    if traceback_frames <= 0:
        return str(error)
    shown = traceback.format_exception(type(error), error, error.__traceback__, limit=traceback_frames)
    return "\n" + "".join(shown).strip()


def is_retryable_lm_error(error: BaseException) -> bool:
    """Return whether the same call may succeed when it is made again."""
    return isinstance(error, LMTransientError)


# Names under which DSPy has them.
DSPyError = MiproError
LMInvalidRequestError = LMRequestError
LMUnsupportedModelError = LMNotFoundError
LMTransportError = LMConnectionError
ContextWindowExceededError = ContextWindowError
