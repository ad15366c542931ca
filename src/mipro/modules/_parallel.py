"""`Parallel`: pairs of program and inputs, run in threads."""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
import time
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

from mipro._terminal import drawn, error_console, is_watched
from mipro._workers import workers
from mipro.context import context, settings
from mipro.errors import NoModelError, ProgramError, RunStopped, UserError
from mipro.example import Example
from mipro.modules._trace import place_in_trace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from concurrent.futures import Future

_log = logging.getLogger("mipro.modules")
# How often stragglers are looked for.
_TICK_S = 1.0


class Parallel:
    """Runs pairs of a program and its inputs in threads that share the caller's settings.

    Inputs are an `Example`, a dict, a tuple of positional arguments or, for a program
    that is a `Parallel` itself, a list of pairs.

    Args:
        num_threads: Threads; by default the setting `num_threads`. One means the caller's own.
        max_errors: So many failures end it; by default the setting `max_errors`.
        access_examples: Whether an `Example` is given as its inputs, or whole.
        return_failed_examples: Whether to return failed inputs and errors too.
        provide_traceback: Whether failures are logged with their traceback.
        disable_progress_bar: Whether to show no progress.
        timeout: Seconds after which one of the last few calls is made again beside the
            first, and the first answer taken; 0 for never.
        straggler_limit: How few calls must be left for that.
    """

    def __init__(
        self,
        num_threads: int | None = None,
        max_errors: int | None = None,
        access_examples: bool = True,
        return_failed_examples: bool = False,
        provide_traceback: bool | None = None,
        disable_progress_bar: bool = False,
        timeout: float = 120,
        straggler_limit: int = 3,
    ) -> None:
        self.num_threads: int = num_threads or settings.num_threads
        self.max_errors: int = settings.max_errors if max_errors is None else max_errors
        self.access_examples = access_examples
        self.return_failed_examples = return_failed_examples
        self.provide_traceback: bool = (
            settings.provide_traceback if provide_traceback is None else provide_traceback
        )
        self.disable_progress_bar = disable_progress_bar
        self.timeout = timeout
        self.straggler_limit = straggler_limit
        self.failed_examples: list[Any] = []
        self.exceptions: list[BaseException] = []

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the pairs; see `forward`."""
        return self.forward(*args, **kwargs)

    def forward(self, exec_pairs: Sequence[tuple[Any, Any]], num_threads: int | None = None) -> Any:
        """Run the pairs and return the results in their order, None for those that failed.

        Args:
            exec_pairs: Pairs of program and inputs.
            num_threads: Threads, in place of the constructor's.

        Returns:
            The results; with `return_failed_examples` results, failed inputs and errors of this call.

        Raises:
            UserError: An item of `exec_pairs` is no pair of program and inputs.
            ProgramError: `max_errors` calls failed.
            NoModelError: No model is configured, so that no call can succeed.
            RunStopped: The run that the calls belong to has ended.
        """
        pairs = list(exec_pairs)
        for index, pair in enumerate(pairs):
            if not (isinstance(pair, (tuple, list)) and len(pair) == 2 and callable(pair[0])):  # noqa: PLR2004
                raise UserError(
                    "every item of `exec_pairs` must be a pair of program and inputs, such as "
                    f"(program, {{'question': ...}}), but item {index} is {pair!r}."
                )
        run = _Run(self, pairs, num_threads or self.num_threads)
        results, errors = run.results(), run.errors
        if not self.return_failed_examples:
            return results
        # New lists: those of the last call are its caller's, and say nothing of this one.
        failed = self.failed_examples = [run.pairs[index][1] for index in sorted(errors)]
        raised = self.exceptions = [errors[index] for index in sorted(errors)]
        return results, failed, raised

    def call(self, program: Any, inputs: Any) -> Any:
        """Run one program on its inputs.

        Raises:
            UserError: The inputs are no `Example`, dict or tuple, nor a list for another `Parallel`.
        """
        if isinstance(inputs, Example):
            return program(**inputs.inputs()) if self.access_examples else program(inputs)
        if isinstance(inputs, dict):
            return program(**inputs)
        if isinstance(inputs, list) and isinstance(program, Parallel):
            return program(inputs)
        if isinstance(inputs, tuple):
            return program(*inputs)
        raise UserError(
            "the inputs of a call must be an Example, a dict or a tuple, or a list of pairs for another "
            f"Parallel, but got {type(inputs).__name__}: {inputs!r}."
        )


class ParallelExecutor:
    """Calls one function with each of many items, in threads that share the caller's settings.

    Args:
        num_threads: As for `Parallel`, and so are the others that it has.
        compare_results: Taken for programs that give it; the progress shows no average.

    Attributes:
        failed_indices: Where in the data of the last call those stand that failed.
        exceptions_map: What each of them raised, by its index.
    """

    def __init__(
        self,
        num_threads: int | None = None,
        max_errors: int | None = None,
        disable_progress_bar: bool = False,
        provide_traceback: bool | None = None,
        compare_results: bool = False,
        timeout: float = 120,
        straggler_limit: int = 3,
    ) -> None:
        del compare_results
        self._parallel = Parallel(
            num_threads=num_threads,
            max_errors=max_errors,
            provide_traceback=provide_traceback,
            disable_progress_bar=disable_progress_bar,
            timeout=timeout,
            straggler_limit=straggler_limit,
        )
        self.failed_indices: list[int] = []
        self.exceptions_map: dict[int, BaseException] = {}

    def execute(self, function: Callable[[Any], Any], data: Iterable[Any]) -> list[Any]:
        """Return `function(item)` of each item in order, None for those that failed.

        Raises:
            ProgramError: `max_errors` calls failed.
            NoModelError: No model is configured, so that no call can succeed.
            RunStopped: The run that the calls belong to has ended.
        """
        run = _Run(self._parallel, [(function, (item,)) for item in data], self._parallel.num_threads)
        try:
            return run.results()
        finally:
            self.exceptions_map = run.errors
            self.failed_indices = sorted(run.errors)


class _Run:
    """One run over pairs: hands them out, collects, and stops when too many fail."""

    def __init__(self, parallel: Parallel, pairs: list[tuple[Any, Any]], num_threads: int) -> None:
        self.parallel = parallel
        self.pairs = pairs
        self.is_traced = False
        self.pool = workers(num_threads, "mipro-parallel")
        # Not `wait`, which looks at all that are left for every one that ends.
        self.ended: queue.SimpleQueue[Future[Any]] = queue.SimpleQueue()
        self.done: dict[int, Any] = {}
        self.errors: dict[int, BaseException] = {}
        self.index_of: dict[Future[Any], int] = {}
        # Of every try its own, so that neither the order nor what a straggler still does can show.
        self.traces: dict[Future[Any], list[Any]] = {}
        self.taken: dict[int, list[Any]] = {}
        self.started_s: dict[int, float] = {}
        self.retried: set[int] = set()
        self.stop = threading.Event()

    def results(self) -> list[Any]:
        """Return the results in order, None for failures, which are then in `errors` by their index."""
        with place_in_trace() as place:
            self.is_traced = place is not None
            try:
                self._run_all()
            finally:
                if place is not None:
                    place.fill(self.trace())
        return [self.done.get(index) for index in range(len(self.pairs))]

    def _run_all(self) -> None:
        total = len(self.pairs)
        try:
            pending = {self._submit(index) for index in range(total)}
            with _progress(total, hidden=self.parallel.disable_progress_bar) as advance:
                while len(self.done) + len(self.errors) < total:
                    self.pool.work()
                    with contextlib.suppress(queue.Empty):
                        future = self.ended.get(timeout=_TICK_S)
                        pending.remove(future)
                        self._collect(future)
                        advance(len(self.done) + len(self.errors))
                    pending |= self._stragglers(pending)
        finally:
            self.stop.set()
            self.pool.shutdown(wait=False, cancel_futures=True)

    def trace(self) -> list[Any]:
        """Return what the pairs that have ended did, in the order of the pairs."""
        return [entry for index in sorted(self.taken) for entry in self.taken[index]]

    def _submit(self, index: int) -> Future[Any]:
        trace: list[Any] = []
        future = self.pool.submit(copy_context().run, self._one, index, trace)
        self.index_of[future] = index
        self.traces[future] = trace
        future.add_done_callback(self.ended.put)
        return future

    def _one(self, index: int, trace: list[Any]) -> Any:
        self.started_s.setdefault(index, time.monotonic())
        if self.stop.is_set():
            return None
        with context(trace=trace) if self.is_traced else contextlib.nullcontext():
            return self.parallel.call(*self.pairs[index])

    def _collect(self, future: Future[Any]) -> None:
        index = self.index_of[future]
        error = future.exception()
        if index in self.done or index in self.errors:
            return  # the other of two made of a straggler
        self.taken[index] = self.traces[future]
        if error is None:
            self.done[index] = future.result()
            return
        if isinstance(error, (RunStopped, NoModelError)) or not isinstance(error, Exception):
            raise error
        self.errors[index] = error
        shown = error if self.parallel.provide_traceback else None
        _log.error("Error for %r: %s", self.pairs[index][1], error, exc_info=shown)
        if len(self.errors) >= self.parallel.max_errors:
            raise ProgramError(
                f"Execution cancelled due to errors: {len(self.errors)} calls failed, as many as "
                f"`max_errors` allows; the last: {type(error).__name__}: {error}",
                count=len(self.errors),
            ) from error

    def _stragglers(self, pending: set[Future[Any]]) -> set[Future[Any]]:
        """Start a second try of calls that take very long, when few are left."""
        if self.parallel.timeout <= 0 or len(pending) > self.parallel.straggler_limit:
            return set()
        now_s = time.monotonic()
        late = {
            index
            for index in (self.index_of[future] for future in pending)
            if now_s - self.started_s.get(index, now_s) >= self.parallel.timeout
        }
        late -= self.retried
        self.retried |= late
        return {self._submit(index) for index in sorted(late)}


@contextlib.contextmanager
def _progress(total: int, *, hidden: bool) -> Iterator[Callable[[int], None]]:
    """Show a progress bar where there is a terminal or a notebook to show it."""
    if hidden or not is_watched():
        yield lambda _: None
        return
    from rich.progress import Progress  # noqa: PLC0415 - heavy, and only where it is seen

    with drawn(Progress(console=error_console())) as bar:
        task = bar.add_task("Calls", total=total)
        yield lambda done: bar.update(task, completed=done)
