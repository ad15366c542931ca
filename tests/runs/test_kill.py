"""A run that is killed and started again ends as if nothing had happened."""

from pathlib import Path

import pytest

from mipro.testing.kills import run_with_kills
from mipro.testing.server import OpenAIServer
from mipro.testing.sums import answer

SCRIPT = str(Path(__file__).parent / "scripts" / "optimize_sums.py")
THREADS = 8


def finish(tmp_path, name, kill_at, search):
    """Run the script in a folder of its own, killed at these counts of requests."""
    output = tmp_path / f"{name}.json"
    with OpenAIServer(answer, latency_s=0.005) as server:
        command = [SCRIPT, server.url, str(tmp_path / name), str(output), str(THREADS), search]
        return run_with_kills(command, output, lambda: server.count, kill_at)


@pytest.mark.slow
@pytest.mark.parametrize("search", ["bayes", "tpe"])
def test_killed_run_ends_as_if_nothing_had_happened(tmp_path, search):
    """The saved program is the same to the byte, and only calls in flight are paid twice."""
    whole = finish(tmp_path, "whole", [], search)
    kill_at = [5, 31, whole.requests // 2, whole.requests - 3]
    killed = finish(tmp_path, "killed", kill_at, search)
    assert killed.starts == len(kill_at) + 1
    assert killed.output == whole.output
    assert killed.requests <= whole.requests + THREADS * len(kill_at)
