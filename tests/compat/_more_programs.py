"""More of the same: import paths, callbacks, media, further modules and adapters."""

import importlib

from compat_programs import program


def module(d, path):
    """Return a module of the library by the path that programs import it from."""
    return importlib.import_module(f"{d.__name__}.{path}")


@program({"answer": "A"})
def import_paths(d, lm, asked):
    """The same names under the same paths."""
    names = {
        "adapters.chat_adapter": "ChatAdapter",
        "adapters.json_adapter": "JSONAdapter",
        "adapters.types": "History",
        "clients.base_lm": "BaseLM",
        "datasets.hotpotqa": "HotPotQA",
        "dsp.utils": "deduplicate",
        "dsp.utils.settings": "settings",
        "evaluate.metrics": "answer_exact_match",
        "predict.aggregation": "majority",
        "primitives.prediction": "Completions",
        "signatures.signature": "ensure_signature",
        "teleprompt.random_search": "BootstrapFewShotWithRandomSearch",
        "teleprompt.vanilla": "LabeledFewShot",
        "utils.callback": "BaseCallback",
        "utils.dummies": "DummyLM",
        "utils.exceptions": "AdapterParseError",
    }
    predict = module(d, "predict.predict").Predict
    found = [getattr(module(d, path), name) for path, name in names.items()]
    return [predict is d.Predict, [getattr(value, "__name__", "settings") for value in found]]


@program(None)
def dummy_lm(d, lm, asked):
    """Scripted answers in order, by content, and when there are no more."""
    dummy = module(d, "utils").DummyLM
    predictor = d.Predict("question -> answer")
    by_order, by_content = dummy([{"answer": "1"}, {"answer": "2"}]), dummy({"sky": {"answer": "blue"}})
    answers = [predictor(question="Q", lm=by_order).answer for _ in range(3)]
    return [*answers, predictor(question="the sky", lm=by_content).answer, len(by_order.history)]


@program({"reasoning": "R", "answer": "A"})
def callbacks(d, lm, asked):
    """Who is told what, in which order, and which call is inside which."""
    events = []
    callback_module = module(d, "utils.callback")

    class Listener(callback_module.BaseCallback):
        def on_module_start(self, call_id, instance, inputs):
            events.append(("module", callback_module.ACTIVE_CALL_ID.get() is None, inputs["kwargs"]))

        def on_module_end(self, call_id, outputs, exception):
            events.append(("module end", outputs.answer, exception))

        def on_adapter_format_start(self, call_id, instance, inputs):
            events.append(("format", type(instance).__name__, inputs["inputs"]))

        def on_adapter_parse_end(self, call_id, outputs, exception):
            events.append(("parsed", outputs, exception))

        def on_lm_start(self, call_id, instance, inputs):
            events.append(("lm", [message["role"] for message in inputs["messages"]]))

    with d.context(callbacks=[Listener()]):
        d.ChainOfThought("question -> answer")(question="Q")
    return events


@program({"answer": "A"})
def faulty_callback(d, lm, asked):
    """What a callback raises ends nothing."""

    class Faulty(module(d, "utils.callback").BaseCallback):
        def on_lm_start(self, call_id, instance, inputs):
            raise ZeroDivisionError

    with d.context(callbacks=[Faulty()]):
        return d.Predict("question -> answer")(question="Q").answer


@program([{"code": "```python\nx = 1\n```"}, {"code": "x = 2"}])
def code_output(d, lm, asked):
    """Program text out of its fence."""
    predictor = d.Predict(d.Signature("question -> code: Code", custom_types={"Code": d.Code}))
    return [predictor(question="Q").code.code for _ in range(2)]


@program({"answer": "A"})
def file_and_audio_inputs(d, lm, asked):
    """Content blocks in the server's form."""
    types = {"File": d.File, "Audio": d.Audio}
    predictor = d.Predict(d.Signature("paper: File, sound: Audio -> answer", custom_types=types))
    predictor(
        paper=d.File.from_bytes(b"abc", filename="a.txt"), sound=d.Audio(data="QUJD", audio_format="wav")
    )
    return [block for block in asked[0]["messages"][-1]["content"] if block["type"] != "text"]


@program("<answer>\nParis\n</answer>\n<score>3</score>")
def xml_adapter(d, lm, asked):
    """Fields in elements."""
    with d.context(adapter=d.XMLAdapter()):
        found = d.Predict("question -> answer, score: int")(question="Q")
    return [found.toDict(), "<question>\nQ\n</question>" in asked[0]["messages"][-1]["content"]]


@program([{"answer": "a"}, {"answer": "ccc"}, {"answer": "bb"}])
def best_of_n(d, lm, asked):
    """The highest reward of three attempts."""
    best = d.BestOfN(d.Predict("question -> answer"), N=3, reward_fn=lambda _, p: len(p.answer), threshold=9)
    return [best(question="Q").answer, len(asked), [body["temperature"] for body in asked]]


@program([{"answer": "a"}, {"discussion": "D", "advice": {"self": "Write more."}}, {"answer": "bb"}])
def refine(d, lm, asked):
    """A second attempt with advice on the first."""
    better = d.Refine(d.Predict("question -> answer"), N=2, reward_fn=lambda _, p: len(p.answer), threshold=9)
    answer = better(question="Q").answer
    hinted = ["[[ ## hint_ ## ]]\nWrite more.\n" in body["messages"][-1]["content"] for body in asked]
    return [answer, hinted, [name for name, _ in better.named_predictors()]]


@program({"rationale": "R", "answer": "blue"})
def multi_chain_comparison(d, lm, asked):
    """Attempts compared."""
    attempts = [d.Prediction(reasoning=f"r{n}", answer="blue") for n in range(3)]
    compare = d.MultiChainComparison("question -> answer")
    return [compare(attempts, question="Q").toDict(), list(compare.predict.signature.input_fields)]


@program(None)
def tool_schema(d, lm, asked):
    """Arguments of a tool that a JSON schema describes."""
    schema = {
        "properties": {"a": {"type": "string", "description": "A."}, "b": {"type": "array"}},
        "required": ["b"],
    }
    args, types, described = module(d, "adapters.types.tool").convert_input_schema_to_tool_args(schema)
    return [args, {name: kind.__name__ for name, kind in types.items()}, described]


@program(None)
def set_by_name(d, lm, asked):
    """What a path names is replaced."""
    program_ = d.Module()
    program_.hops = [d.Predict("a -> b")]
    module(d, "primitives.module").set_attribute_by_name(program_, "hops[0]", d.Predict("a -> c"))
    return [predictor.signature.signature for predictor in program_.predictors()]


@program({"answer": "A"})
def retriever(d, lm, asked):
    """Passages from the configured function."""

    class Hop(d.Module):
        def __init__(self):
            super().__init__()
            self.retrieve = d.Retrieve(k=2)
            self.answer = d.Predict("passages: list[str], question -> answer")

        def forward(self, question):
            found = self.retrieve(question).passages
            answer = self.answer(passages=found, question=question).answer
            return d.Prediction(passages=found, answer=answer)

    passage = module(d, "dsp.utils").dotdict
    with d.context(rm=lambda query, k: [passage(long_text=f"{query} {n}") for n in range(k)]):
        return Hop()(question="Q").toDict()


@program(None)
def errors_of_a_model_of_ones_own(d, lm, asked):
    """What it tells of a failure, and what can be read from it."""
    told = {"provider": "acme", "provider_code": "quota", "status": 429, "request_id": "r-1"}

    class Busy(d.BaseLM):
        def forward(self, prompt=None, messages=None, **kwargs):
            raise d.LMRateLimitError("slower", model=self.model, retry_after=2.5, **told)

    try:
        Busy("acme/busy", num_retries=0)("Q")
    except d.LMRateLimitError as error:
        found = [error.code, error.model, error.retry_after, {name: getattr(error, name) for name in told}]
    unread = d.AdapterParseError("ChatAdapter", d.Signature("q -> a"), "raw")
    return [*found, d.ContextWindowExceededError(model="m").code, unread.code]


@program({"answer": "A"})
def parallel_executor(d, lm, asked):
    """One function for many items, two of which fail."""
    executor = module(d, "utils.parallelizer").ParallelExecutor(
        num_threads=3, max_errors=3, disable_progress_bar=True
    )
    predictor = d.Predict("question -> answer")

    def ask(number):
        return 12 // number, predictor(question=f"Q{number}", lm=lm).answer

    found = executor.execute(ask, [1, 0, 3, 0])
    failed = {index: str(error) for index, error in sorted(executor.exceptions_map.items())}
    return [found, sorted(executor.failed_indices), failed, len(asked)]
