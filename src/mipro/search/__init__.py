"""Searching for the best candidate with few evaluations; pure: knows no LM, no program, no I/O."""

from mipro.search._base import Job, Recallable, Recommendation, Scores, Search
from mipro.search._beliefs import Beliefs, Believes, beliefs
from mipro.search._create import create, default_budget, default_lookahead, default_num_trials
from mipro.search._replay import replay
from mipro.search._space import Candidate, Space

__all__ = [
    "Beliefs",
    "Believes",
    "Candidate",
    "Job",
    "Recallable",
    "Recommendation",
    "Scores",
    "Search",
    "Space",
    "beliefs",
    "create",
    "default_budget",
    "default_lookahead",
    "default_num_trials",
    "replay",
]
