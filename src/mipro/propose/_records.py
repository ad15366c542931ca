"""What goes into proposing instructions and what comes out of it, as plain values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mipro.propose._grounding import Grounding

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mipro.example import Example
    from mipro.modules import Module

ORIGINAL = "original"
"""In place of a tip: the instruction that the predictor came with."""


@dataclass(frozen=True, slots=True)
class ScoredInstruction:
    """An instruction that the search has tried."""

    predictor: int
    """Place of the predictor in the program."""
    instruction: str
    """Its text."""
    score: float
    """Mean score, as the metric gives it; best a posterior mean, not raw luck."""


@dataclass(frozen=True, slots=True)
class Mistake:
    """A training example that the leading candidate got wrong."""

    example: Example
    """The example, with the expected answer."""
    answer: Any
    """What the program answered: a dict of fields, or a value of another kind; None where it failed."""
    feedback: str = ""
    """What the metric said about it."""


@dataclass(frozen=True, slots=True)
class Lessons:
    """What the search has learned so far."""

    round: int = 0
    """Number of the round of proposals; 0 is the one before the search."""
    history: tuple[ScoredInstruction, ...] = ()
    """Instructions tried, with their scores."""
    mistakes: tuple[Mistake, ...] = ()
    """What the leading candidate got wrong."""
    paid: tuple[tuple[Origin, float], ...] = ()
    """How each instruction tried came about, and what it is worth beside the others of its
    predictor, in standard deviations."""


@dataclass(frozen=True, slots=True)
class Origin:
    """How an instruction came about."""

    tip: str
    """Name of the tip, or "original"."""
    labels: bool = False
    """Whether a closed set of labels was stated after it."""
    left_out: tuple[str, ...] = ()
    """What the proposer was not shown: names of `COMPONENTS`."""
    round: int = 0
    """Number of the round of proposals; 0 is the one before the search."""

    def __str__(self) -> str:
        parts = [self.tip, *(["+labels"] if self.labels else []), *(f"-{name}" for name in self.left_out)]
        return "".join(parts)


COMPONENTS = ("summary", "program", "traces", "history", "failures")
"""What a proposal can be grounded in."""


@dataclass(frozen=True, slots=True)
class ProposalSettings:
    """How instructions are proposed."""

    count: int
    """Instructions per predictor, the original included."""
    init_temperature: float = 1.0
    """Sampling temperature of the proposals."""
    tip_aware: bool = True
    """Whether each proposal gets a tip."""
    fewshot_aware: bool = True
    """Whether demos are shown."""
    keep: tuple[str, ...] = ()
    """Parts of the original instructions that must stay, word for word."""
    max_instruction_tokens: int | None = None
    """Bound on the (estimated) tokens of an instruction."""
    frozen: frozenset[int] = frozenset()
    """Places of predictors that keep their instruction."""


@dataclass(frozen=True, slots=True)
class Proposals:
    """The instructions that the search chooses from."""

    instructions: tuple[tuple[str, ...], ...]
    """`instructions[p][i]`: instruction i of predictor p; i = 0 is the original."""
    origins: tuple[tuple[Origin, ...], ...]
    """How each came about."""
    refused: int = 0
    """Answers of the prompt model that could not be used."""
    refusals: Mapping[str, int] = field(default_factory=dict)
    """The same by reason: "malformed", "refusal", "leak", "duplicate", "echo",
    "too long", "empty", "refused request"."""
    num_calls: int = 0
    """Calls of the prompt model."""
    grounding: Grounding = field(default_factory=Grounding)
    """What was found out about data and program, for later rounds."""
    notes: tuple[str, ...] = ()
    """What the user should know."""

    @classmethod
    def original(cls, program: Module) -> Proposals:
        """Return the instructions that the program came with, and no others."""
        originals = [(predictor.signature.instructions,) for predictor in program.predictors()]
        return cls(tuple(originals), ((Origin(ORIGINAL),),) * len(originals))

    @property
    def tips(self) -> tuple[tuple[str, ...], ...]:
        """How each came about, as text: "original" or the name of a tip, then "+labels", "-summary", ..."""
        return tuple(tuple(map(str, own)) for own in self.origins)

    @property
    def summary(self) -> str | None:
        """What the prompt model says about the training data."""
        return self.grounding.summary or None

    @property
    def program_description(self) -> str | None:
        """What the prompt model says about the program."""
        return self.grounding.program_description or None
