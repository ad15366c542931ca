"""A run that is killed and started again ends as if nothing had happened."""

from pathlib import Path

import pytest

import mipro
from mipro.testing.kills import run_with_kills
from mipro.testing.server import OpenAIServer
from mipro.testing.sums import answer

SCRIPT = str(Path(__file__).parent / "scripts" / "optimize_sums.py")
THREADS = 8


def finish(tmp_path, name, kill_at, search, rounds="0"):
    """Run the script in a folder of its own, killed at these counts of requests."""
    output = tmp_path / f"{name}.json"
    with OpenAIServer(answer, latency_s=0.005) as server:
        command = [SCRIPT, server.url, str(tmp_path / name), str(output), str(THREADS), search, rounds]
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


@pytest.mark.slow
def test_killed_in_a_round_of_learning(tmp_path):
    """Kills before, in and after a round of learning change neither the round nor the program."""
    whole = finish(tmp_path, "whole", [], "bayes", "1")
    with mipro.runs.open(str(tmp_path / "whole")) as run:
        stages = [call.stage for call in run.calls()]
    begins, ends = stages.index("rounds"), len(stages) - stages[::-1].index("rounds")
    # Killed runs have sent more, since what was in flight is sent again.
    kill_at = [begins, begins + THREADS, (begins + ends) // 2 + 2 * THREADS, ends + 3 * THREADS]
    killed = finish(tmp_path, "killed", kill_at, "bayes", "1")
    assert killed.starts == len(kill_at) + 1
    assert killed.output == whole.output
    # The evaluations of the search go on while a round asks for its proposals.
    assert killed.requests <= whole.requests + 2 * THREADS * len(kill_at)
