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
    answer: Mapping[str, Any] | None
    """What the program answered, or None where it failed."""
    feedback: str = ""
    """What the metric said about it."""


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
    tips: tuple[tuple[str, ...], ...]
    """How each came about: "original", the name of a tip, "+labels" after it where a
    closed set of labels was stated."""
    refused: int = 0
    """Answers of the prompt model that could not be used."""
    refusals: Mapping[str, int] = field(default_factory=dict)
    """The same by reason: "malformed", "refusal", "leak", "duplicate", "echo",
    "too long", "empty"."""
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
        return cls(tuple(originals), ((ORIGINAL,),) * len(originals))

    @property
    def summary(self) -> str | None:
        """What the prompt model says about the training data."""
        return self.grounding.summary or None

    @property
    def program_description(self) -> str | None:
        """What the prompt model says about the program."""
        return self.grounding.program_description or None
