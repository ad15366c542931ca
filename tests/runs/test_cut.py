"""A run cut after any record of its ledger goes on as if nothing had happened."""

import pytest

import mipro
from mipro.runs import CallRecord, SQLStore
from mipro.testing.lms import ScriptedLM
from mipro.testing.sums import answer, right, sums


@pytest.fixture
def optimize(tmp_path):
    """Return a function that runs a tiny optimization; returns the saved program and the calls paid."""

    def run(run_dir, threads):
        lm = ScriptedLM(lambda messages: answer({"messages": messages}))
        optimizer = mipro.MIPROv2(
            right, num_candidates=3, num_threads=threads, seed=1, run_dir=str(run_dir), search="random"
        )
        with mipro.context(lm=lm):
            best = optimizer.compile(
                mipro.Predict("a, b -> sum"),
                trainset=sums()[:6],
                valset=sums()[20:26],
                num_trials=3,
                minibatch_size=3,
            )
        best.save(tmp_path / "saved.json")
        return (tmp_path / "saved.json").read_bytes(), len(lm.history), best.optimization.trials

    return run


@pytest.mark.parametrize("threads", [pytest.param(1, marks=pytest.mark.slow), 4])
def test_run_is_cut_after_every_record(optimize, tmp_path, monkeypatch, threads):
    """Resumed from the first n records, for every n, a run pays for the rest only and ends the same."""
    records, append = [], SQLStore.append

    def note(store, batch):
        append(store, batch)
        records.extend(batch)

    with monkeypatch.context() as patch:
        patch.setattr(SQLStore, "append", note)
        whole = optimize(tmp_path / "whole", threads)
    with mipro.runs.open(str(tmp_path / "whole")) as run:
        facts, paid = run.facts(), len(list(run.calls()))
    kept = 0
    for n, record in enumerate([None, *records]):
        kept += isinstance(record, CallRecord)
        folder = tmp_path / f"cut{n}"
        folder.mkdir()
        store = SQLStore(f"sqlite:///{folder / 'ledger.sqlite'}")
        store.state(facts)
        store.append(records[:n])
        store.close()
        program, _, trials = optimize(folder, threads)
        with mipro.runs.open(str(folder)) as run:
            assert len(list(run.calls())) - kept == paid - kept
        assert program == whole[0], n
        assert trials == whole[2], n
