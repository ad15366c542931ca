"""Data sets, readers of files, and splits without overlap."""

from __future__ import annotations

from mipro._paths import lend
from mipro.datasets import _dataset, _gsm8k, _hotpotqa, _math, _readers
from mipro.datasets._big_bench import big_bench
from mipro.datasets._dataset import Dataset
from mipro.datasets._gsm8k import GSM8K, gsm8k_metric
from mipro.datasets._hotpotqa import HotPotQA
from mipro.datasets._math import MATH
from mipro.datasets._readers import DataLoader, from_csv, from_json, from_jsonl, from_records
from mipro.datasets._split import split

__all__ = [
    "GSM8K",
    "MATH",
    "DataLoader",
    "Dataset",
    "HotPotQA",
    "big_bench",
    "from_csv",
    "from_json",
    "from_jsonl",
    "from_records",
    "gsm8k_metric",
    "split",
]

# The paths that users of DSPy import from.
lend(__name__, dataloader=_readers, dataset=_dataset, gsm8k=_gsm8k, hotpotqa=_hotpotqa, math=_math)
