"""The gate of a run as one stage sees it."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, TypeVar

from mipro.errors import LMError, LMTransientError, RunStopped, StateError, UserError

if TYPE_CHECKING:
    from mipro.lm import BaseLM, LMRequest, LMResponse
    from mipro.runs._call import Send
    from mipro.runs._gate import GateCore, Reason

E = TypeVar("E", bound=BaseException)


def copy_of(error: E) -> E:
    """Return a copy of what ended a run, for one of those who are told.

    They raise it in threads of their own. Were it the same for all, each would write its way to the same
    traceback, which came to thousands of lines.
    """
    copied = copy.copy(error)
    copied.__cause__ = error.__cause__
    return copied


class StageGate:
    """The gate as one stage, or one evaluation of it, sees it; what `context(gate=...)` is given.

    Attributes:
        failure: The last failure of infrastructure that a caller was told, or None. A program
            may catch it; what it answers then is still no measurement. A ledger that can't be
            written is one, too, and so is whatever else ended the run.
    """

    def __init__(
        self, core: GateCore, stage: str, *, subject: str, patient: bool, within: Send | None = None
    ) -> None:
        self.failure: Reason | None = None
        self._core = core
        self._stage = stage
        self._subject = subject
        self._patient = patient
        self._within = within

    async def call(self, lm: BaseLM, request: LMRequest) -> LMResponse:
        """Answer `request`; see `mipro.context.Gate`."""
        # What a model left running when it had answered is made inside of nothing.
        within = self._within if self._within is not None and self._within.is_open else None
        try:
            return await self._core.answer(
                lm, request, self._stage, subject=self._subject, patient=self._patient, within=within
            )
        except (LMError, RunStopped, UserError) as error:
            ends_the_run = isinstance(error, (RunStopped, StateError)) or error is self._core.stopped
            if ends_the_run or isinstance(error, LMTransientError):
                self.failure = error
            if ends_the_run:
                raise copy_of(error)  # noqa: B904 - has the cause of the one that it is a copy of
            raise
