"""Runs the programs on one library: `python _worker.py dspy FOLDER` prints the results as JSON."""

import importlib
import importlib.util
import json
import logging
import os
import pathlib
import sys

from mipro.testing.server import OpenAIServer

HERE = pathlib.Path(__file__).parent


def load_programs():
    """Return the module of programs."""
    programs = _loaded("compat_programs", "_programs.py")
    _loaded("compat_more_programs", "_more_programs.py")  # registers its own there
    return programs


def _loaded(name, file):
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, HERE / file)
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


def run(library, name):
    """Return what a program returns, or the error it ends with."""
    programs = load_programs()
    answer, function = programs.PROGRAMS[name]
    asked = []

    def reply(body):
        asked.append(body)
        if callable(answer):
            return answer(body)
        return answer[min(len(asked), len(answer)) - 1] if isinstance(answer, list) else answer

    with OpenAIServer(reply) as server:
        lm = library.LM("openai/any", api_base=server.url, api_key="none", cache=False, num_retries=0)
        try:
            with library.context(lm=lm):
                return {"result": programs.any_value(function(library, lm, asked))}
        except Exception as error:  # noqa: BLE001 - compared like a result
            return {"error": f"{type(error).__name__}: {error}"}


def exchange_files(library, folder):
    """Save a program to `dspy.json`; load `mipro.json`, and return its state."""
    programs = load_programs()
    program = programs.hops(library)
    program.answer.demos = [library.Example(question="Q", found=["F"], answer="A", augmented=True)]
    program.answer.signature = program.answer.signature.with_instructions("From there.")
    program.save(str(folder / "dspy.json"))
    other = programs.hops(library)
    other.load(str(folder / "mipro.json"))
    return other.dump_state()


def loaded_parameters(library, folder):
    """Load `with_model.json`, and return the parameters that its model sends."""
    program = library.Predict("question -> answer")
    program.load(str(folder / "with_model.json"))
    return program.lm.kwargs


def main():
    """Run all programs on DSPy."""
    folder = pathlib.Path(sys.argv[1])
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # it would ask the network
    os.environ["DSPY_CACHEDIR"] = str(folder)
    logging.disable(logging.ERROR)
    dspy = importlib.import_module("dspy")
    dspy.teleprompt = importlib.import_module("dspy.teleprompt")
    results = {name: run(dspy, name) for name in load_programs().PROGRAMS}
    results["files"] = exchange_files(dspy, folder)
    results["parameters"] = loaded_parameters(dspy, folder)
    (folder / "results.json").write_text(json.dumps(results))


if __name__ == "__main__":
    main()
