"""Names that users of DSPy look for: what they are called here, or what there is instead."""

from __future__ import annotations

import sys
from typing import Any

ALIASES = {
    "BaseModule": ("primitives", "BaseModule"),
    "BootstrapRS": ("optimize", "BootstrapFewShotWithRandomSearch"),
    "Completions": ("example", "Completions"),
    "Citations": ("adapters", "Citations"),
    "Document": ("adapters", "Document"),
    "SignatureMeta": ("signature", "SignatureMeta"),
    "ensure_signature": ("signature", "ensure_signature"),
    "infer_prefix": ("signature", "infer_prefix"),
    "make_signature": ("signature", "make_signature"),
    **{
        name: ("errors", name)
        for name in (
            "ContextWindowExceededError",
            "DSPyError",
            "LMAuthError",
            "LMBillingError",
            "LMConfigurationError",
            "LMError",
            "LMInvalidRequestError",
            "LMNotConfiguredError",
            "LMProviderError",
            "LMRateLimitError",
            "LMServerError",
            "LMTimeoutError",
            "LMTransportError",
            "LMUnexpectedError",
            "LMUnsupportedFeatureError",
            "LMUnsupportedModelError",
            "is_retryable_lm_error",
        )
    },
}
"""Room and name of what can be had under its name in DSPy too."""

_OPTIMIZERS = "BootstrapFewShot, BootstrapFewShotWithRandomSearch, LabeledFewShot and MIPROv2"
_ABSENT = {
    (
        "AvatarOptimizer",
        "BetterTogether",
        "BootstrapFewShotWithOptuna",
        "BootstrapFinetune",
        "COPRO",
        "Ensemble",
        "GEPA",
        "InferRules",
        "KNNFewShot",
        "SIMBA",
    ): f"the optimizers are {_OPTIMIZERS}",
    ("BayesianSignatureOptimizer", "MIPRO", "SignatureOptimizer"): "use `mipro.MIPROv2`",
    ("BAMLAdapter", "TwoStepAdapter"): "the adapters are ChatAdapter, JSONAdapter and XMLAdapter",
    ("Assert", "Retry", "Suggest", "assert_transform_module", "backtrack_handler"): (
        "check answers in the metric, or ask again with `mipro.Refine` or `mipro.BestOfN`"
    ),
    ("TypedChainOfThought", "TypedPredictor"): (
        "`mipro.Predict` and `mipro.ChainOfThought` read the types of a signature themselves"
    ),
    ("ChainOfThoughtWithHint",): "use `mipro.ChainOfThought` and give the signature an input `hint`",
    ("OldField", "OldInputField", "OldOutputField"): "use `mipro.InputField` and `mipro.OutputField`",
    (
        "CodeAct",
        "CodeInterpreter",
        "LocalInterpreter",
        "LocalSandbox",
        "ProgramOfThought",
        "PythonInterpreter",
        "RLM",
        "SandboxSerializable",
    ): ("give `mipro.ReAct` a tool that runs code where you want it run"),
    ("ColBERTv2", "Embedder", "Embeddings", "EmbeddingsWithScores", "KNN", "retrieve", "retrievers"): (
        "any function can be the retriever: call it in `forward`, give it to `mipro.ReAct` as a tool, or to "
        "`configure(rm=...)` for `mipro.Retrieve`"
    ),
    ("ReActV2",): "use `mipro.ReAct`",
    ("Flex",): "use `mipro.Predict` or `mipro.ChainOfThought`, whose prompts mipro improves",
    ("GroundedProposer",): "call `mipro.propose.propose_instructions`, which returns those of all predictors",
    ("CompleteAndGrounded", "SemanticF1"): "LM judges are in `mipro.evaluate`",
    ("answer_exact_match_str",): "call `mipro.evaluate.metrics.EM`, which takes texts",
    (
        "AWSAnthropic",
        "AWSMeta",
        "AWSMistral",
        "Anyscale",
        "AzureOpenAI",
        "Bedrock",
        "Claude",
        "Cohere",
        "Databricks",
        "GROQ",
        "Google",
        "GoogleVertexAI",
        "HFClientSGLang",
        "HFClientTGI",
        "HFClientVLLM",
        "HFModel",
        "Mistral",
        "MultiOpenAI",
        "OllamaLocal",
        "OpenAI",
        "Sagemaker",
        "Together",
    ): (
        "a model is `mipro.LM('PROVIDER/NAME')`, for example `mipro.LM('openai/gpt-4o-mini')`, and one on a "
        "server of your own `mipro.LM('openai/NAME', api_base=...)`"
    ),
    ("AlfWorld", "Colors"): (
        "the data sets are GSM8K, HotPotQA, MATH and `big_bench`; others are read by "
        "`mipro.datasets.DataLoader`"
    ),
    ("Cache",): (
        "the cache is set up with `mipro.configure_cache`; `mipro.cache` is that in force, and not replaced"
    ),
    ("Provider", "TrainingJob"): "mipro improves prompts and trains no models",
    ("load",): (
        "a whole program would be a pickle, which runs code when it is loaded; build the program and call "
        "its `load(path)`"
    ),
    ("load_settings",): "settings hold live objects; call `mipro.configure` where the program starts",
    ("streamify", "streaming"): "an answer comes whole; show progress with `callbacks` (`on_lm_end`)",
    ("configure_dspy_loggers", "disable_logging", "enable_logging", "logger"): (
        'mipro logs to `logging.getLogger("mipro")` and sets nothing up; use the `logging` module'
    ),
    ("disable_litellm_logging", "enable_litellm_logging"): (
        "litellm is only loaded for providers that need it; use its own settings"
    ),
}
_HINTS = {name: hint for names, hint in _ABSENT.items() for name in names}


def of_dspy(value: Any) -> str:
    """Return what to say of an object, or a class, that is made with DSPy itself; "" for all others.

    Its repr is that of mipro's, so that an error which shows it would seem to refuse what it asks for.
    """
    kind = value if isinstance(value, type) else type(value)
    if not any(base.__module__.partition(".")[0] == "dspy" for base in kind.__mro__):
        return ""
    return f"{kind.__name__} of DSPy; make it with mipro, for example by `import mipro as dspy`"


def absent(module: str, name: str) -> AttributeError | ImportError:
    """Return the error to raise for a name that a module has not: why not, and what to do.

    To be called by the `__getattr__` of the module. `from mipro import NAME` first looks whether there is
    such an attribute; of an AttributeError it would tell no more than that the name can't be imported.
    """
    text = f"module {module!r} has no attribute {name!r}"
    if name not in _HINTS:
        return AttributeError(text)
    text = f"{text}: {_HINTS[name]}."
    imported = sys._getframe(2).f_code.co_name == "_handle_fromlist"  # noqa: SLF001 - the import system's own
    return ImportError(text, name=module) if imported else AttributeError(text)


def absent_module(module: str) -> ModuleNotFoundError:
    """Return the error for an import from a module that is not there: what there is instead."""
    return ModuleNotFoundError(
        f"No module named {module!r}: {_HINTS[module.rpartition('.')[2]]}.", name=module
    )
