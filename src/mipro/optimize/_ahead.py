"""What the second stage does not need the first one for, done meanwhile."""

from __future__ import annotations

import contextvars
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mipro.context import context
from mipro.lm._backends import is_local
from mipro.propose import lay_groundwork

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future
    from random import Random

    from mipro.optimize._job import Job
    from mipro.propose import Groundwork
    from mipro.runs import Run

THREADS = 4
"""Threads of a run that the groundwork may have: it looks at three views and the program at once."""


def load_ahead(job: Job) -> None:
    """Let the models load what their first call needs, while the run is prepared and answers are awaited."""
    models = dict.fromkeys(lm for lm in (job.task_lm, job.prompt_lm) if lm is not None)

    def load() -> None:
        with suppress(Exception):  # the first call meets it and says so
            for lm in models:
                lm.load()

    threading.Thread(target=load, name="mipro-load", daemon=True).start()


@dataclass(frozen=True, slots=True)
class Ahead:
    """The groundwork of the proposals on its way."""

    rng: Random
    """The stream of the proposals, advanced as far as the groundwork advances it."""
    threads: int = 0
    """Threads that it takes from the first stage."""
    future: Future[Groundwork] | None = None
    """None where nothing is done ahead."""

    def groundwork(self) -> Groundwork | None:
        """Wait for the groundwork; None where it is still to be laid."""
        return None if self.future is None else self.future.result()


@contextmanager
def begun_ahead(job: Job, run: Run) -> Iterator[Ahead]:
    """Begin the groundwork; at the end of the block it is done, whatever happened in the block.

    The calls are the same as one after the other, only sooner, so the run is the same. Where a
    budget may end it before all stages are through, the order counts, and nothing is done ahead;
    nor with few threads, or with a model in this process, which gains nothing.
    """
    rng = job.plan.stream("proposals")
    worthwhile = (
        job.num_threads >= 2 * THREADS
        and job.plan.num_instructions > 1
        and not run.limited
        and not is_local(job.prompt_lm.model)
    )
    if not worthwhile:
        yield Ahead(rng)
        return
    names = ("view_data_batch_size", "data_aware", "program_aware")
    wanted = {name: job.proposer[name] for name in names if name in job.proposer}

    def lay() -> Groundwork:
        with context(gate=run.gate("instructions", patient=True)):
            return lay_groundwork(
                job.student,
                job.plan.trainset,
                prompt_lm=job.prompt_lm,
                rng=rng,
                num_threads=THREADS,
                frozen=job.frozen,
                **wanted,
            )

    with ThreadPoolExecutor(1, thread_name_prefix="mipro-ahead") as pool:
        yield Ahead(rng, THREADS, pool.submit(contextvars.copy_context().run, lay))
