"""A run cut after any record of its ledger goes on as if nothing had happened."""

import json

import pytest

import mipro
from mipro.runs import STAGE_BEGAN, CallRecord, SQLStore
from mipro.testing.lms import ScriptedLM
from mipro.testing.sums import answer, right, sums


@pytest.fixture
def optimize(tmp_path):
    """Return a function that runs a tiny optimization; returns saved program, trials and calls paid."""

    def run(run_dir, threads, search, budget):
        paid = []

        def pay(messages):
            paid.append(messages)
            return answer({"messages": messages})

        optimizer = mipro.MIPROv2(
            right,
            num_candidates=3,
            num_threads=threads,
            seed=1,
            run_dir=str(run_dir),
            search=search,
            budget=budget,
        )
        with mipro.context(lm=ScriptedLM(pay)):
            best = optimizer.compile(
                mipro.Predict("a, b -> sum"),
                trainset=sums()[:6],
                valset=sums()[20:26],
                num_trials=3,
                minibatch_size=3,
            )
        best.save(tmp_path / "saved.json")
        return (tmp_path / "saved.json").read_bytes(), best.optimization.trials, len(paid)

    return run


@pytest.mark.parametrize(
    ("threads", "search", "budget", "step"),
    [
        pytest.param(1, "random", None, 1, marks=pytest.mark.slow),
        pytest.param(4, "bayes", None, 3, marks=pytest.mark.slow),  # a recommendation takes its time
        (4, "random", mipro.Budget(lm_calls=1000), 1),
    ],
)
def test_run_is_cut_after_every_record(optimize, tmp_path, monkeypatch, threads, search, budget, step):
    """Resumed from the first n records, for every n, a run pays for the rest only and ends the same."""
    records, append = [], SQLStore.append

    def note(store, batch):
        append(store, batch)
        records.extend(batch)

    with monkeypatch.context() as patch:
        patch.setattr(SQLStore, "append", note)
        program, trials, paid = optimize(tmp_path / "whole", threads, search, budget)
    assert {json.loads(r.data)["stage"] for r in records if getattr(r, "kind", "") == STAGE_BEGAN} == {
        "demos",
        "instructions",
        "search",
    }
    with mipro.runs.open(str(tmp_path / "whole")) as run:
        facts = run.facts()
    kept = 0
    for n, record in enumerate([None, *records]):
        kept += isinstance(record, CallRecord)
        if n % step:
            continue
        folder = tmp_path / f"cut{n}"
        folder.mkdir()
        store = SQLStore(f"sqlite:///{folder / 'ledger.sqlite'}")
        store.state(facts)
        store.append(records[:n])
        store.close()
        assert optimize(folder, threads, search, budget) == (program, trials, paid - kept), n
