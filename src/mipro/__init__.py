"""mipro: MIPROv2, standalone.

Improves the prompts (instructions and few-shot demos, jointly) of a program made
of language-model calls, by measuring candidate prompts on your data with your metric.

Names are loaded on first use, so that `import mipro` costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from mipro._version import __version__ as __version__

# Not lazy: the module `mipro.context`, once imported, would hide the function of that name.
from mipro.context import configure, context, settings

if TYPE_CHECKING:
    from mipro import (
        adapters as adapters,
        callback as callback,
        cli as cli,
        clients as clients,
        datasets,
        dsp as dsp,
        errors as errors,
        evaluate,
        example as example,
        experimental as experimental,
        fetch as fetch,
        lm as lm,
        modules as modules,
        optimize as optimize,
        predict as predict,
        primitives as primitives,
        propose as propose,
        runs,
        search,
        signature as signature,
        signatures as signatures,
        teleprompt,
        testing as testing,
        utils as utils,
    )
    from mipro.adapters import (
        Adapter,
        Audio,
        ChatAdapter,
        Citations as Citations,
        Code,
        Document as Document,
        File,
        History,
        Image,
        JSONAdapter,
        Reasoning,
        ToolCallResults,
        ToolCalls,
        Type,
        XMLAdapter,
    )
    from mipro.errors import (
        AdapterParseError,
        ContextWindowExceededError as ContextWindowExceededError,
        DSPyError as DSPyError,
        LMAuthError as LMAuthError,
        LMBillingError as LMBillingError,
        LMConfigurationError as LMConfigurationError,
        LMError as LMError,
        LMInvalidRequestError as LMInvalidRequestError,
        LMNotConfiguredError as LMNotConfiguredError,
        LMProviderError as LMProviderError,
        LMRateLimitError as LMRateLimitError,
        LMServerError as LMServerError,
        LMTimeoutError as LMTimeoutError,
        LMTransportError as LMTransportError,
        LMUnexpectedError as LMUnexpectedError,
        LMUnsupportedFeatureError as LMUnsupportedFeatureError,
        LMUnsupportedModelError as LMUnsupportedModelError,
        MiproError,
        is_retryable_lm_error as is_retryable_lm_error,
    )
    from mipro.evaluate import Evaluate, ScoreWithFeedback
    from mipro.example import Completions as Completions, Example, Prediction
    from mipro.lm import LM, BaseLM, ResponseCache, configure_cache, inspect_history, track_usage
    from mipro.modules import (
        BestOfN,
        ChainOfThought,
        Module,
        MultiChainComparison,
        Parallel,
        Predict,
        ReAct,
        Retrieve,
        Tool,
        asyncify,
        majority,
        syncify,
    )
    from mipro.optimize import (
        BootstrapFewShot,
        BootstrapFewShotWithRandomSearch,
        LabeledFewShot,
        MIPROv2,
    )
    from mipro.primitives import BaseModule as BaseModule
    from mipro.propose import Refine
    from mipro.runs import Budget
    from mipro.signature import (
        InputField,
        OutputField,
        Signature,
        SignatureMeta as SignatureMeta,
        ensure_signature as ensure_signature,
        infer_prefix as infer_prefix,
        make_signature as make_signature,
    )

    BootstrapRS = BootstrapFewShotWithRandomSearch
    cache: ResponseCache
    """Where answers are kept, as `configure_cache` has said."""

_ROOMS = {
    "adapters": (
        "Adapter",
        "Audio",
        "ChatAdapter",
        "Code",
        "File",
        "History",
        "Image",
        "JSONAdapter",
        "Reasoning",
        "ToolCallResults",
        "ToolCalls",
        "Type",
        "XMLAdapter",
    ),
    "errors": ("AdapterParseError", "MiproError"),
    "evaluate": ("Evaluate", "ScoreWithFeedback"),
    "example": ("Example", "Prediction"),
    "lm": ("LM", "BaseLM", "configure_cache", "inspect_history", "track_usage"),
    "modules": (
        "BestOfN",
        "ChainOfThought",
        "Module",
        "MultiChainComparison",
        "Parallel",
        "Predict",
        "ReAct",
        "Retrieve",
        "Tool",
        "asyncify",
        "majority",
        "syncify",
    ),
    "optimize": ("BootstrapFewShot", "BootstrapFewShotWithRandomSearch", "LabeledFewShot", "MIPROv2"),
    "propose": ("Refine",),
    "runs": ("Budget",),
    "signature": ("InputField", "OutputField", "Signature"),
}
_MODULES = ("datasets", "evaluate", "runs", "search", "teleprompt")
# The other rooms, and the paths under which programs for DSPy import what mipro has elsewhere.
_PATHS = (
    "adapters",
    "callback",
    "cli",
    "clients",
    "dsp",
    "errors",
    "example",
    "experimental",
    "fetch",
    "lm",
    "modules",
    "optimize",
    "predict",
    "primitives",
    "propose",
    "signature",
    "signatures",
    "testing",
    "utils",
)
_ROOM_OF = {name: room for room, names in _ROOMS.items() for name in names}

__all__ = [
    "LM",
    "Adapter",
    "AdapterParseError",
    "Audio",
    "BaseLM",
    "BestOfN",
    "BootstrapFewShot",
    "BootstrapFewShotWithRandomSearch",
    "Budget",
    "ChainOfThought",
    "ChatAdapter",
    "Code",
    "Evaluate",
    "Example",
    "File",
    "History",
    "Image",
    "InputField",
    "JSONAdapter",
    "LabeledFewShot",
    "MIPROv2",
    "MiproError",
    "Module",
    "MultiChainComparison",
    "OutputField",
    "Parallel",
    "Predict",
    "Prediction",
    "ReAct",
    "Reasoning",
    "Refine",
    "Retrieve",
    "ScoreWithFeedback",
    "Signature",
    "Tool",
    "ToolCallResults",
    "ToolCalls",
    "Type",
    "XMLAdapter",
    "asyncify",
    "configure",
    "configure_cache",
    "context",
    "datasets",
    "evaluate",
    "inspect_history",
    "majority",
    "runs",
    "search",
    "settings",
    "syncify",
    "teleprompt",
    "track_usage",
]


def _load(name: str) -> Any:
    if name == "cache":  # never kept here: `configure_cache` puts another in its place
        return importlib.import_module("mipro.lm").response_cache()
    if name in _ROOM_OF:
        value = getattr(importlib.import_module(f"mipro.{_ROOM_OF[name]}"), name)
    elif name in _MODULES or name in _PATHS:
        value = importlib.import_module(f"mipro.{name}")
    else:
        names = importlib.import_module("mipro._names")
        if name not in names.ALIASES:
            raise names.absent("mipro", name)
        room, known_as = names.ALIASES[name]
        value = getattr(importlib.import_module(f"mipro.{room}"), known_as)
    globals()[name] = value
    return value


if not TYPE_CHECKING:  # a type checker has the names above and no others, so that it tells of misspelt ones
    __getattr__ = _load


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
