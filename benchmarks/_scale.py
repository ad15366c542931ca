"""Time per decision and memory of the Bayesian search at scale, and the picture of one run."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

from _plot import plot_run
from _racers import run_search
from _tables import SETTINGS, Synthetic
from _worker import peak_mb
from mipro.search import Job, Search, Space, create
from mipro.search._bayes import BayesSearch
from mipro.search._design import design_of
from mipro.search._evidence import evidence_of
from mipro.search._hyper import VarianceChain

if TYPE_CHECKING:
    from pathlib import Path


def print_scale() -> None:
    """Print the time of a decision at 500 and 3,000 candidates seen of 1,000 examples."""
    columns = ["candidates seen", "space", "decisions", "mean ms", "median ms", "95 % ms", "recommend ms"]
    print("CPU time of decisions, one core\n\n| " + " | ".join([*columns, "peak MB"]) + " |")
    print("|---" * 8 + "|")
    for seen, sizes, limit in ((500, (25, 20), 30.0), (3000, (60, 50), 150.0), (3000, (14,) * 8, 150.0)):
        names = [
            f"{variable // 2}.{('instruction', 'demos')[variable % 2]}" for variable in range(len(sizes))
        ]
        search = _filled(Space(dict(zip(names, sizes, strict=True))), seen)
        times = []
        for _ in range(40):
            started = time.process_time()
            jobs = search.ask()
            times.append(1000 * (time.process_time() - started))
            if not jobs:
                break
            _answer(search, jobs)
        started = time.process_time()
        search.recommend()
        final = 1000 * (time.process_time() - started)
        size = f"{float(np.prod(sizes)):.0e}"
        figures = f"{np.mean(times):.0f} | {np.median(times):.0f} | {np.quantile(times, 0.95):.0f}"
        label = f"{seen} (at most {limit:.0f} ms)"
        print(f"| {label} | {size} | {len(times)} | {figures} | {final:.0f} | {peak_mb():.0f} |", flush=True)


def _answer(search: Search, jobs: list[Job]) -> None:
    def row(job: Job) -> list[float]:
        rng = np.random.default_rng([*job.candidate])
        level = 0.3 + 0.5 * rng.random()
        return (rng.random(len(job.examples)) < level).astype(float).tolist()

    search.tell(jobs, [row(job) for job in jobs])


def _filled(space: Space, seen: int) -> BayesSearch:
    """Make a search that has met many candidates, most on one block, some on all examples."""
    search = create("bayes", space, num_examples=1000, budget=10_000_000)
    if not isinstance(search, BayesSearch):
        raise TypeError(search)
    _answer(search, search.ask())
    rng = np.random.default_rng(0)
    book = search._book  # noqa: SLF001 - the scene is set by hand
    ladder = [8]
    while ladder[-1] < 1000:
        ladder.append(min(1000, ladder[-1] + max(8, ladder[-1] // 4)))
    met = set(book.everything().rows)
    while len(met) < seen:
        candidate = tuple(int(rng.integers(size)) for size in space.sizes)
        if candidate in met:
            continue
        met.add(candidate)
        count = ladder[min(len(ladder) - 1, int(rng.exponential(1.5)))]
        book.advance()
        _answer(search, book.record([Job(candidate, tuple(range(count)))]))
    return search


def draw_run(path: Path, setting: str = "medium", seed: int = 3) -> None:
    """Run the Bayesian search once and draw what it learned and where it spent."""
    table = Synthetic(SETTINGS[setting], seed)
    search = create(
        "bayes", table.space, num_examples=table.num_examples, budget=table.budget, order=table.order.tolist()
    )
    if not isinstance(search, BayesSearch):
        raise TypeError(search)
    spent = run_search(table, search)
    recommendation = search.recommend()
    design = design_of(table.space)
    data = evidence_of(search._book.table, design)  # noqa: SLF001 - a look inside
    if data is None:
        return
    fit = VarianceChain(design, data, search._prior, search._logs, tails=False).fit()  # noqa: SLF001 - a look inside
    draws = fit.sample(np.random.default_rng(0), 2000)
    effects = [
        (data.scale * term.mean(axis=1), data.scale * term.std(axis=1))
        for term in draws.terms[: len(table.space)]
    ]
    cells = np.zeros(table.space.sizes)
    for candidate, row in search._book.table.rows.items():  # noqa: SLF001 - a look inside
        cells[candidate] = (~np.isnan(search._book.table.values[row])).sum()  # noqa: SLF001 - a look inside
    best = recommendation.candidate
    path.write_text(
        plot_run(table.space.sizes, table.space.names, effects, cells, (best[0], best[1])), encoding="utf-8"
    )
    print(f"{spent} of {table.budget} evaluations; best {best}, estimate {recommendation.mean:.3f},")
    print(f"95 % interval {recommendation.interval}")
    print(f"truth {table.truth(best):.3f}, best possible {table.best:.3f}")
