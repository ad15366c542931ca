"""`mipro demo`: the main job, on an embedded model and a public data set."""

from __future__ import annotations

import random
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from mipro._terminal import printable
from mipro.adapters import JSONAdapter
from mipro.context import context
from mipro.datasets import big_bench, split
from mipro.errors import UserError
from mipro.evaluate import Evaluate, normalize_text
from mipro.evaluate._report import check_file
from mipro.lm import LM
from mipro.modules import Predict
from mipro.optimize import Bars, MIPROv2
from mipro.runs import Budget

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mipro.example import Example
    from mipro.optimize import OptimizationResult

TASK = "intent_recognition"
SIZES = {"train": 60, "val": 100, "test": 120}
PROPOSAL_TEMPERATURE = 0.7
"""A model of half a billion parameters loses the thread at the usual 1.0."""
OPTIMIZE_S = 300
"""Seconds for the optimization, so that the whole ends in under ten minutes on two slow cores."""
CHECKED = 10
"""Test utterances on which the loaded program must answer as the saved one."""


def same_intent(example: Example, prediction: Any, trace: object = None) -> bool:
    """Whether the predicted intent is the expected one, case and punctuation aside."""
    del trace
    return normalize_text(str(prediction.intent)) == normalize_text(example.intent)


def run_demo(
    *,
    model: str,
    seed: int,
    search: str,
    out: str,
    run_dir: str | None = None,
    picture: str | None = None,
) -> None:
    """Optimize, measure on unseen examples, save, load and compare."""
    _check_files(out=out, picture=picture)
    console = Console(record=True)
    began = time.monotonic()
    rng = random.Random(seed)  # noqa: S311 - a split, no secret
    data = split(big_bench(TASK, progress=True), SIZES, rng=rng, stratify="intent")
    console.print(
        f"BIG-bench {TASK}: {SIZES['train']} train, {SIZES['val']} val, {SIZES['test']} test examples, "
        f'no overlap\nprogram: mipro.Predict("utterance -> intent")\nmodel: {model}',
        markup=False,
    )
    program = Predict("utterance -> intent")
    with context(lm=LM(f"local/{model}"), adapter=JSONAdapter()):
        with Bars(console) as bars:
            optimizer = MIPROv2(
                metric=same_intent,
                auto="light",
                init_temperature=PROPOSAL_TEMPERATURE,
                seed=seed,
                search=search,
                budget=Budget(seconds=OPTIMIZE_S),
                run_dir=run_dir,
                callbacks=[bars],
            )
            best = optimizer.compile(program, trainset=data["train"], valset=data["val"])
        measure = Evaluate(devset=data["test"], metric=same_intent, display_progress=True)
        before, after = measure(program).score, measure(best).score
        console.print(_table(best, before, after, time.monotonic() - began))
        if picture is not None:
            # Without the fonts that Rich would load from elsewhere.
            svg = re.sub(r"@font-face \{.*?\}", "", console.export_svg(title="make demo"), flags=re.DOTALL)
            Path(picture).expanduser().write_text(svg, encoding="utf-8")
        same = _save_and_compare(best, out, data["test"][:CHECKED])
    console.print(
        f"saved as {out}; loaded again it gives the same answer on {same} of {CHECKED} test examples\n"
        f"the run is kept in {best.optimization.run_dir}",
        markup=False,
    )


def _check_files(**files: str | None) -> None:
    """Refuse files that can't be written, before minutes are spent on what is to be in them."""
    for name, file in files.items():
        if file is not None:
            path = Path(file).expanduser()
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise UserError(
                    f"`--{name}` must be a file that can be written, but got {file!r}: {error}."
                ) from error
            check_file(f"--{name}", path)


def _save_and_compare(best: Any, out: str, examples: Sequence[Example]) -> int:
    """Save the program, load it into a new one and count equal answers."""
    best.save(out)
    loaded = Predict("utterance -> intent")
    loaded.load(out)
    return sum(best(**e.inputs()).toDict() == loaded(**e.inputs()).toDict() for e in examples)


def _table(best: Any, before: float, after: float, seconds: float) -> Table:
    result: OptimizationResult = best.optimization
    predictor = best.predictors()[0]
    low, high = result.interval
    demos = [f"{demo['utterance']}  ->  {demo['intent']}" for demo in predictor.demos]
    table = Table(title=f"MIPROv2 on {TASK}", show_header=False, title_justify="left")
    table.add_row("test accuracy before", f"{before / 100:.2f} on {SIZES['test']} examples that no stage saw")
    table.add_row("test accuracy after", f"[bold green]{after / 100:.2f}[/bold green] on the same")
    # On a slow machine the time may be over before anything was measured.
    is_known = result.estimate is not None
    expected = f"{result.estimate:.2f} (95 % interval {low:.2f} to {high:.2f})" if is_known else "not known"
    table.add_row("expected by the search", expected)
    table.add_row("better than before", f"{100 * result.p_better:.0f} % sure")
    table.add_row("instruction", Panel.fit(Text(printable(predictor.signature.instructions))))
    table.add_row("demos", Text(printable("\n".join(demos)) or "none"))
    table.add_row("LM calls", f"{_calls(result)}; {2 * SIZES['test']} more for the two test accuracies")
    usage = result.usage
    table.add_row("tokens", f"{usage.prompt_tokens:,} prompt, {usage.completion_tokens:,} completion")
    table.add_row("seconds", _seconds(result, seconds))
    table.add_row("search ended", Text(result.stop_reason))
    return table


def _calls(result: OptimizationResult) -> str:
    by_stage = ", ".join(f"{spent.calls} {spent.stage}" for spent in result.spent)
    return f"{result.lm_calls} ({by_stage})"


def _seconds(result: OptimizationResult, total: float) -> str:
    by_stage = ", ".join(f"{seconds:.0f} {stage}" for stage, seconds in result.seconds.items())
    return f"{total:.0f} in all ({by_stage}, the rest for the test accuracies)"
