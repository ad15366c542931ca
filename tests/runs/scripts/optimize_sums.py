"""Optimize a program against a server: URL, run folder, output file, threads, search [, rounds [, tally]]."""

import logging
import sys

import mipro
from mipro.testing.kills import Tally
from mipro.testing.sums import right, sums


class TalliedLM(mipro.LM):
    """Notes every call that it makes where another process can read it after a kill -9."""

    tally = None

    async def send(self, request):
        """Note the call before it is sent."""
        self.tally.note_sent()
        return await super().send(request)

    def _finish(self, prompt, messages, kwargs, request, response, shown):
        """Note that the caller has the answer; what the ledger answered was never sent."""
        if not response.cached:
            self.tally.note_ended()
        return super()._finish(prompt, messages, kwargs, request, response, shown)


def main(url, run_dir, output, threads, search, rounds="0", tally=None):
    """Run the whole job and save the program."""
    logging.basicConfig(level=logging.INFO)
    make = TalliedLM if tally else mipro.LM
    lm = make("openai/adder", api_base=url, api_key="none", cache=False)
    lm.tally = Tally(tally) if tally else None
    mipro.configure(lm=lm)
    examples = sums()
    optimizer = mipro.MIPROv2(
        right,
        num_candidates=4,
        num_threads=int(threads),
        seed=0,
        run_dir=run_dir,
        search=search,
        propose_rounds=int(rounds),
    )
    best = optimizer.compile(
        mipro.ChainOfThought("a, b -> sum"),
        trainset=examples[:24],
        valset=examples[24:],
        num_trials=6,
        minibatch_size=10,
    )
    best.save(output)


if __name__ == "__main__":
    main(*sys.argv[1:])
