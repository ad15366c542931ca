"""Programs for DSPy find their names under the paths that they import from."""

import importlib
import json
import subprocess
import sys

import pytest

import mipro
from mipro import errors

PATHS = {
    "adapters": ("ChatAdapter", "JSONAdapter", "XMLAdapter", "Image", "Tool"),
    "adapters.base": ("Adapter",),
    "adapters.chat_adapter": ("ChatAdapter", "FieldInfoWithName"),
    "adapters.json_adapter": ("JSONAdapter",),
    "adapters.types": ("History", "Image", "Type"),
    "adapters.types.image": ("Image",),
    "adapters.types.tool": ("Tool", "ToolCalls", "ToolCallResults"),
    "adapters.utils": ("format_field_value", "parse_value", "serialize_for_json"),
    "adapters.xml_adapter": ("XMLAdapter",),
    "clients": ("LM", "BaseLM"),
    "clients.base_lm": ("BaseLM", "GLOBAL_HISTORY"),
    "clients.lm": ("LM",),
    "datasets": ("HotPotQA", "DataLoader"),
    "datasets.dataset": ("Dataset",),
    "datasets.dataloader": ("DataLoader",),
    "datasets.gsm8k": ("GSM8K", "gsm8k_metric", "parse_integer_answer"),
    "datasets.hotpotqa": ("HotPotQA",),
    "datasets.math": ("MATH",),
    "dsp.utils": ("deduplicate", "dotdict", "settings"),
    "dsp.utils.settings": ("settings", "DEFAULT_CONFIG"),
    "evaluate": ("Evaluate", "SemanticF1", "answer_exact_match"),
    "evaluate.evaluate": ("Evaluate", "EvaluationResult"),
    "evaluate.metrics": ("answer_exact_match",),
    "evaluate.auto_evaluation": ("SemanticF1",),
    "experimental": ("Citations", "Document"),
    "predict": ("Predict", "ChainOfThought", "ReAct", "majority"),
    "predict.aggregation": ("majority",),
    "predict.chain_of_thought": ("ChainOfThought",),
    "predict.parallel": ("Parallel",),
    "predict.parameter": ("Parameter",),
    "predict.predict": ("Predict",),
    "predict.react": ("ReAct",),
    "primitives": ("Example", "Module", "Prediction"),
    "primitives.base_module": ("BaseModule",),
    "primitives.example": ("Example",),
    "primitives.module": ("Module", "set_attribute_by_name"),
    "primitives.prediction": ("Prediction", "Completions"),
    "signatures": ("Signature", "InputField"),
    "signatures.field": ("InputField", "OutputField"),
    "signatures.signature": ("Signature", "make_signature", "ensure_signature"),
    "teleprompt": ("MIPROv2", "BootstrapFewShot"),
    "teleprompt.bootstrap": ("BootstrapFewShot",),
    "teleprompt.gepa.gepa_utils": ("ScoreWithFeedback",),
    "teleprompt.mipro_optimizer_v2": ("MIPROv2",),
    "teleprompt.random_search": ("BootstrapFewShotWithRandomSearch",),
    "teleprompt.teleprompt": ("Teleprompter",),
    "teleprompt.vanilla": ("LabeledFewShot",),
    "utils": ("DummyLM", "BaseCallback"),
    "utils.asyncify": ("asyncify",),
    "utils.callback": ("BaseCallback", "ACTIVE_CALL_ID"),
    "utils.dummies": ("DummyLM",),
    "utils.exceptions": ("AdapterParseError", "ContextWindowExceededError", "format_error_for_lm"),
    "utils.inspect_history": ("pretty_print_history",),
    "utils.langchain_tool": ("convert_langchain_tool",),
    "utils.mcp": ("convert_mcp_tool",),
    "utils.parallelizer": ("ParallelExecutor",),
    "utils.usage_tracker": ("track_usage", "UsageTracker"),
}


@pytest.mark.parametrize("path", PATHS)
def test_names_are_under_their_paths(path):
    """The module imports and has the names."""
    module = importlib.import_module(f"mipro.{path}")
    assert [name for name in PATHS[path] if not hasattr(module, name)] == []


@pytest.mark.parametrize("path", ["utils.dummies", "dsp.utils.settings", "primitives.prediction"])
def test_a_path_is_the_first_that_is_imported(path):
    """It does not depend on what was imported before."""
    code = f"from mipro.{path} import {PATHS[path][0]}; import mipro; mipro.{path.split('.')[0]}"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_the_same_class_under_every_path():
    """A path is another way to a module and no copy of it."""
    places = ["predict", "predict.predict", "modules"]
    assert {importlib.import_module(f"mipro.{place}").Predict for place in places} == {mipro.Predict}
    assert mipro.ContextWindowExceededError is errors.ContextWindowError
    assert mipro.BaseModule is importlib.import_module("mipro.primitives").BaseModule
    assert mipro.BootstrapRS is mipro.BootstrapFewShotWithRandomSearch
    assert issubclass(mipro.Predict, importlib.import_module("mipro.primitives").BaseModule)


@pytest.mark.parametrize(
    ("name", "others"),
    [
        ("LMBillingError", ["LMTimeoutError", "LMNotConfiguredError", "LMUnexpectedError"]),
        ("LMConfigurationError", ["LMBillingError", "LMInvalidRequestError", "LMProviderError"]),
        ("LMProviderError", ["LMTransportError", "LMUnexpectedError"]),
        ("LMTimeoutError", ["LMTransportError", "LMServerError", "LMRateLimitError"]),
        ("LMUnexpectedError", ["LMRateLimitError", "LMAuthError", "LMTimeoutError", "LMInvalidRequestError"]),
        ("LMUnsupportedFeatureError", ["ContextWindowExceededError", "LMInvalidRequestError"]),
    ],
)
def test_an_error_of_dspy_s_is_caught_by_its_own_name(name, others):
    """An `except` clause that stands before others takes nothing that is meant for them."""
    kind = getattr(mipro, name)
    assert issubclass(kind, errors.LMError)
    assert not [other for other in others if issubclass(getattr(mipro, other), kind)]


@pytest.mark.parametrize("name", ["LMAuthError", "LMRateLimitError", "LMServerError", "LMTimeoutError"])
def test_what_a_provider_answers_is_its_error(name):
    """Programs catch all of them by one name, as with DSPy."""
    assert issubclass(getattr(mipro, name), mipro.LMProviderError)


def test_an_error_is_formatted_for_a_model():
    """Its message alone, or with as many frames at most as are asked for."""
    with pytest.raises(ValueError, match="Expecting") as raised:
        json.loads("{")
    assert errors.format_error_for_lm(raised.value) == str(raised.value)
    shown = errors.format_error_for_lm(raised.value, traceback_frames=1)
    assert shown.startswith("\nTraceback (most recent call last):\n")
    assert shown.count('File "') == 1


def test_an_unsupported_feature_is_named():
    """Models of one's own that are written for DSPy say what they have not."""
    error = mipro.LMUnsupportedFeatureError("no tools", feature="tools", issues=["old"], model="mine/m")
    assert (error.features, error.issues, error.model) == (["tools"], ["old"], "mine/m")
    assert (error.message, error.code) == ("no tools", "unsupported_feature")


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("GEPA", "MIPROv2"),
        ("TwoStepAdapter", "XMLAdapter"),
        ("load", "load(path)"),
        ("streamify", "on_lm_end"),
        ("ProgramOfThought", "ReAct"),
        ("Embedder", "retriever"),
        ("SemanticF1", "mipro.evaluate"),
        ("Flex", "ChainOfThought"),
        ("logger", "logging.getLogger"),
    ],
)
def test_an_absent_name_says_what_there_is(name, hint):
    """The error for a name of DSPy's that mipro lacks names the way out."""
    with pytest.raises(AttributeError, match=name) as caught:
        getattr(mipro, name)
    assert hint in str(caught.value)


@pytest.mark.parametrize(
    ("statement", "hint"),
    [
        ("from mipro import GEPA", "MIPROv2"),
        ("from mipro.teleprompt import COPRO", "MIPROv2"),
        ("from mipro.predict import CodeAct", "ReAct"),
        ("from mipro.evaluate import Suggest", "BestOfN"),
        ("from mipro.evaluate import answer_exact_match_str", "metrics.EM"),
        ("from mipro.predict import Retry", "BestOfN"),
        ("from mipro.primitives.assertions import backtrack_handler", "BestOfN"),
        ("from mipro.teleprompt.gepa import GEPA", "MIPROv2"),
        ("from mipro.teleprompt.gepa.gepa import GEPA", "MIPROv2"),
        ("from mipro.clients import Cache", "configure_cache"),
        ("from mipro.datasets import Colors", "DataLoader"),
        ("from mipro.propose import GroundedProposer", "propose_instructions"),
        ("from mipro import OpenAI", "mipro.LM"),
        ("from mipro.streaming import StreamListener", "on_lm_end"),
        ("from mipro.retrieve.chromadb_rm import ChromadbRM", "configure"),
        ("from mipro.retrievers import Embeddings", "configure"),
    ],
)
def test_an_import_of_an_absent_name_says_what_there_is(statement, hint):
    """Most programs ask for names in this way, in which Python drops what an AttributeError says."""
    with pytest.raises(ImportError, match=hint):
        exec(statement, {})


def test_a_path_whose_names_are_absent_can_be_looked_for():
    """As programs do that have another way where an optimizer is not there."""
    code = (
        "import importlib.util as u, mipro.primitives\n"
        "assert u.find_spec('mipro.primitives.assertions') and not u.find_spec('mipro.primitives.none')\n"
        "assert not hasattr(mipro.primitives, 'assertions')"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_value_is_formatted_by_the_names_that_adapters_for_dspy_give():
    """Adapters of one's own call it by keyword."""
    fields = mipro.Signature("passages: list[str] -> answer").fields
    text = importlib.import_module("mipro.adapters.utils").format_field_value(
        field_info=fields["passages"], value=["a", "b"]
    )
    assert text == '["a", "b"]'


def test_an_absent_name_of_a_path_can_be_looked_for():
    """`hasattr` is False and the error an AttributeError, with the hint, as for the package itself."""
    assert not hasattr(mipro.teleprompt, "COPRO")
    assert not hasattr(mipro.teleprompt, "no_such_name")
    with pytest.raises(AttributeError, match="MIPROv2"):
        _ = mipro.teleprompt.COPRO


def test_settings_can_be_put_back_as_programs_for_dspy_do_it():
    """`DEFAULT_CONFIG` is what `configure` takes."""
    defaults = importlib.import_module("mipro.dsp.utils.settings").DEFAULT_CONFIG
    before = mipro.settings.copy()
    try:
        mipro.configure(num_threads=3)
        mipro.configure(**defaults)
        assert mipro.settings.num_threads == 8
    finally:
        mipro.configure(**before)


def test_small_helpers():
    """`deduplicate` keeps the first of each; a `dotdict` is read and set by attribute."""
    utils = importlib.import_module("mipro.dsp.utils")
    assert utils.deduplicate(["b", "a", "b"]) == ["b", "a"]
    passage = utils.dotdict(long_text="x")
    passage.score = 1
    del passage.long_text
    assert passage == {"score": 1}
    with pytest.raises(AttributeError, match="long_text"):
        _ = passage.long_text


def test_a_file_is_downloaded_once(tmp_path, monkeypatch):
    """Into the current folder; one that is there in part is fetched anew."""
    utils = importlib.import_module("mipro.utils")
    (tmp_path / "there").mkdir()
    (tmp_path / "here").mkdir()
    (tmp_path / "there" / "rows.jsonl").write_text("rows")
    monkeypatch.chdir(tmp_path / "here")
    here, url = tmp_path / "here" / "rows.jsonl", (tmp_path / "there" / "rows.jsonl").as_uri()
    here.write_text("ro")
    utils.download(url)
    assert here.read_text() == "rows"
    here.write_text("mine")
    utils.download(url)
    assert here.read_text() == "mine"
    assert [path.name for path in here.parent.iterdir()] == ["rows.jsonl"]


def test_a_download_that_fails_says_so(tmp_path, monkeypatch):
    """An address without a name is refused; of an absent file nothing is left."""
    utils = importlib.import_module("mipro.utils")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(errors.DownloadError, match=r"absent\.jsonl.*check address"):
        utils.download((tmp_path / "absent.jsonl").as_uri())
    with pytest.raises(mipro.MiproError, match="must end in the name of a file"):
        utils.download("https://example.org/data/")
    assert list(tmp_path.iterdir()) == []


def test_set_attribute_by_name():
    """Paths as in `named_parameters` lead to their places, items of lists and dicts included."""
    root = mipro.Module()
    root.hops = [mipro.Module(), {"key": mipro.Module()}]
    set_by_name = importlib.import_module("mipro.primitives.module").set_attribute_by_name
    set_by_name(root, "hops[1]['key'].done", value=True)
    set_by_name(root, "hops[0]", value="new")
    set_by_name(root, "उत्तर", value="new")
    assert root.उत्तर == "new"
    assert root.hops[1]["key"].done
    assert root.hops[0] == "new"
    for bad in ("", "a b", "hops[", "hops..x"):
        with pytest.raises(mipro.MiproError, match="path"):
            set_by_name(root, bad, value=1)


def test_settings_are_not_pickled():
    """`save` and `load` of settings say why not."""
    for name in ("save", "load"):
        with pytest.raises(mipro.MiproError, match="configure"):
            getattr(mipro.settings, name)("settings.pkl")
