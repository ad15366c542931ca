"""Runs: the gate that every paid call passes, and the ledger that keeps what was paid for."""

from mipro._canonical import canonical, digest
from mipro.runs._budget import Budget
from mipro.runs._evaluation import Evaluator, Measurement
from mipro.runs._fingerprint import (
    of_examples,
    of_function,
    of_metric,
    of_model,
    of_predictors,
    of_program,
    state_of,
)
from mipro.runs._interrupt import interruptible
from mipro.runs._place import choose_run_dir
from mipro.runs._reading import RecordedRun, open  # noqa: A004 - mipro.runs.open
from mipro.runs._records import (
    MADE_OF_CALLS,
    STAGE_BEGAN,
    CallRecord,
    DecisionRecord,
    EvaluationRecord,
    EventRecord,
    FailureRecord,
    Record,
    SentRecord,
    Spent,
    damaged,
)
from mipro.runs._run import Run, versions
from mipro.runs._sql import SQLStore
from mipro.runs._stage_gate import StageGate
from mipro.runs._store import Store

__all__ = [
    "MADE_OF_CALLS",
    "STAGE_BEGAN",
    "Budget",
    "CallRecord",
    "DecisionRecord",
    "EvaluationRecord",
    "Evaluator",
    "EventRecord",
    "FailureRecord",
    "Measurement",
    "Record",
    "RecordedRun",
    "Run",
    "SQLStore",
    "SentRecord",
    "Spent",
    "StageGate",
    "Store",
    "canonical",
    "choose_run_dir",
    "damaged",
    "digest",
    "interruptible",
    "of_examples",
    "of_function",
    "of_metric",
    "of_model",
    "of_predictors",
    "of_program",
    "open",
    "state_of",
    "versions",
]
