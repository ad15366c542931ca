"""Optimize a small program against a server: URL, run folder, output file, threads, search."""

import logging
import sys

import mipro
from mipro.testing.sums import right, sums


def main(url, run_dir, output, threads, search):
    """Run the whole job and save the program."""
    logging.basicConfig(level=logging.INFO)
    mipro.configure(lm=mipro.LM("openai/adder", api_base=url, api_key="none", cache=False))
    examples = sums()
    optimizer = mipro.MIPROv2(
        right, num_candidates=4, num_threads=int(threads), seed=0, run_dir=run_dir, search=search
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
