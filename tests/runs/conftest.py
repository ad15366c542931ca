"""One small optimization over HTTP, in this process or as a script."""

from pathlib import Path

import pytest

import mipro
from mipro.testing.sums import right, sums


@pytest.fixture
def script():
    """Return the path of the script that does the same; see its first line for the arguments."""
    return str(Path(__file__).parent / "scripts" / "optimize_sums.py")


@pytest.fixture
def optimize(tmp_path):
    """Return a function that optimizes against a server; returns the best program and its saved bytes."""

    def run(
        server, run_dir="run", *, metric=right, program=None, lm=None, threads=8, testset=None, **options
    ):
        options = {"search": "random", "num_candidates": 4, "seed": 0, **options}
        place = run_dir if "://" in run_dir else str(tmp_path / run_dir)
        optimizer = mipro.MIPROv2(metric, num_threads=threads, run_dir=place, **options)
        model = mipro.LM("openai/adder", api_base=server.url, api_key="none", cache=False, **(lm or {}))
        examples = sums()
        with mipro.context(lm=model):
            best = optimizer.compile(
                program or mipro.Predict("a, b -> sum"),
                trainset=examples[:24],
                valset=examples[24:],
                testset=testset,
                num_trials=6,
                minibatch_size=10,
            )
        saved = tmp_path / "saved.json"
        best.save(saved)
        return best, saved.read_bytes()

    return run
