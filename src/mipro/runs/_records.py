"""What a ledger holds, as plain values. One class, one table."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from mipro.errors import StateError
from mipro.lm import Usage


@dataclass(frozen=True, slots=True)
class CallRecord:
    """One answered call to a language model."""

    key: str
    """`LMRequest.key`: SHA-256 of the whole request. Unique in a ledger."""
    stage: str
    """Stage of the optimizer that asked: "demos", "instructions", "search", ..."""
    model: str
    """Name of the model as given to `LM`."""
    response: str
    """`LMResponse.to_json()`."""
    prompt_tokens: int
    completion_tokens: int
    cost_usd: float | None
    latency_s: float
    """Seconds from sending to the whole answer, of the attempt that succeeded."""
    attempts: int
    """Requests sent for this answer, the failed ones included; 0 where the model asked others for it,
    whose calls are kept themselves."""


@dataclass(frozen=True, slots=True)
class SentRecord:
    """One request about to be sent, where there is a budget: what it may use at most."""

    key: str
    """`LMRequest.key`; several requests may have the same."""
    tokens: int
    cost_usd: float


@dataclass(frozen=True, slots=True)
class FailureRecord:
    """One request to a language model that got no answer."""

    key: str
    """`LMRequest.key`; several failures may have the same."""
    stage: str
    model: str
    kind: str
    """Class of the error: "LMServerError", "LMRateLimitError", ...; or `MADE_OF_CALLS`."""
    error: str
    """The error's text."""


@dataclass(frozen=True, slots=True)
class EvaluationRecord:
    """One candidate measured on one example."""

    candidate: str
    """Digest of the program with the candidate's instructions and demos."""
    split: str
    """Which data set the example is of: "val", "test", or "train" in rounds of learning."""
    example: int
    """Index of the example in that data set."""
    score: float | None
    """What the metric returned, or None where infrastructure failed: missing, not zero."""
    failure: str = ""
    """"" or the kind of failure: "parse", "request", "program", "metric", "lm"."""
    error: str = ""
    """The error's text, with the traceback where the program or the metric raised."""
    prediction: str = "null"
    """The prediction's fields as JSON."""
    feedback: str = ""
    """What the metric said beside the score."""


@dataclass(frozen=True, slots=True)
class DecisionRecord:
    """One decision of the search: what was asked."""

    number: int
    jobs: str
    """JSON list of [candidate, examples, reason]."""
    state: str = ""
    """JSON list of the rounds of learning held before it, and of what the search needs to recall the
    decision instead of making it again; "" where it can't."""


@dataclass(frozen=True, slots=True)
class EventRecord:
    """Something that happened: a stage began, a call failed, the run stopped."""

    kind: str
    data: str
    """JSON object."""
    at: float
    """Seconds since the epoch."""


MADE_OF_CALLS = "made of calls"
"""Kind of the failure that is none: the model asked others instead, whose calls are kept themselves. Such
a request has ended, for nothing."""
SESSION_BEGAN = "session began"
STAGE_BEGAN = "stage began"
STAGE_ENDED = "stage ended"
ALIVE = "alive"
"""Kind of the event that a running session leaves every few seconds."""
PASSED_OVER = "passed over"
"""Kind of the event that comes before anything is built on a call that was never answered; data: stage,
key, error."""
UNCOUNTED = "answered without a count of tokens"
"""Kind of the event that comes before an answer that a budget has to take for as dear as it can have been;
data: tokens, cost_usd."""
UNKNOWN = "told as missing"
"""Kind of the event that comes before the search is told of missing scores; data: decision, cells."""

Record: TypeAlias = CallRecord | SentRecord | FailureRecord | EvaluationRecord | DecisionRecord | EventRecord


@dataclass(frozen=True, slots=True)
class Spent:
    """What one stage paid to one model."""

    stage: str
    model: str
    calls: int = 0
    """Requests sent, failed ones included."""
    usage: Usage = field(default_factory=Usage)
    cost_usd: float = 0.0
    """US dollars of the calls whose price is known."""
    unpriced_calls: int = 0
    """Calls whose price is not known."""


def damaged(what: str, error: Exception) -> StateError:
    """Return the error of a record that can't be read.

    Args:
        what: What it is one of, such as "events".
        error: What reading it raised.
    """
    return StateError(
        f"the {what} of a ledger must be as they were written, but one is not: {error!r}. The file is "
        "damaged; take a copy of it from before, or give another run_dir."
    )
