"""What the ledger costs: the script keeps up with the run that it measures."""

import ledger


def test_recorded_search_is_taken_up_again(tmp_path, capsys):
    """A search that a ledger holds is back where it was, and goes on."""
    ledger.resume(str(tmp_path / "run"), 500)
    said = capsys.readouterr().out
    assert said.startswith("ledger of 500 evaluations, ")
    assert "the next 0 decisions" not in said
