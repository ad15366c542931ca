"""Proposing instructions: grounded in data and program, guarded, all at the same time."""

from mipro._paths import lend
from mipro.adapters._media import MEDIA_TOKENS
from mipro.propose._facts import FieldFacts, observe
from mipro.propose._grounding import Grounding
from mipro.propose._guards import Guard, Verdict
from mipro.propose._leaks import Corpus, LeakCheck
from mipro.propose._propose import Groundwork, lay_groundwork, propose_instructions, propose_more
from mipro.propose._records import (
    COMPONENTS,
    Lessons,
    Mistake,
    Origin,
    Proposals,
    ProposalSettings,
    ScoredInstruction,
)
from mipro.propose._refine import Refine
from mipro.propose._text import token_estimate
from mipro.propose._tips import TIPS
from mipro.propose._tokens import content_tokens, value_tokens

__all__ = [
    "COMPONENTS",
    "MEDIA_TOKENS",
    "TIPS",
    "Corpus",
    "FieldFacts",
    "Grounding",
    "Groundwork",
    "Guard",
    "LeakCheck",
    "Lessons",
    "Mistake",
    "Origin",
    "ProposalSettings",
    "Proposals",
    "Refine",
    "ScoredInstruction",
    "Verdict",
    "content_tokens",
    "lay_groundwork",
    "observe",
    "propose_instructions",
    "propose_more",
    "token_estimate",
    "value_tokens",
]

lend(__name__)  # no paths: DSPy's names that are not here say what there is instead
