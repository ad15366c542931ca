"""Model weights and data sets that are verified by SHA-256 and kept in a cache folder."""

from __future__ import annotations

from mipro.fetch._catalog import MODELS, TASKS, ModelFile
from mipro.fetch._progress import Progress
from mipro.fetch._pull import is_cached, model_path, pull, task_path, task_paths
from mipro.fetch._store import cache_dir

__all__ = [
    "MODELS",
    "TASKS",
    "ModelFile",
    "Progress",
    "cache_dir",
    "is_cached",
    "model_path",
    "pull",
    "task_path",
    "task_paths",
]
