"""What identifies a run, and what its ledger must not hold."""

import mipro
from mipro.testing.lms import ScriptedLM

KEY = "sk-test-7d1f9c"


def test_key_of_a_users_model_is_in_no_ledger_and_no_part_of_the_run(tmp_path, fruit, same_colour):
    """A model made with `api_key=` leaves it nowhere, and a run is resumed with another key for nothing."""

    def compile_with(key, run_dir):
        lm = ScriptedLM(lambda messages: {"colour": "red", "proposed_instruction": "Say it."}, api_key=key)
        optimizer = mipro.MIPROv2(same_colour, run_dir=str(run_dir), search="random", seed=0)
        with mipro.context(lm=lm):
            optimizer.compile(mipro.Predict("fruit -> colour"), trainset=fruit[:5], valset=fruit[5:15])
        return lm.calls

    calls = compile_with(KEY, tmp_path / "run")
    assert {call["kwargs"]["api_key"] for call in calls} == {KEY}
    assert compile_with("sk-another", tmp_path / "run") == []
    files = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert files
    assert [data for data in files if KEY.encode() in data] == []
