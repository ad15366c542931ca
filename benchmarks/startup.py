"""How long one waits before anything is done: import and help, against an empty interpreter.

    python benchmarks/startup.py [--repeat 20]

Printed: the median and the range of `python -c pass`, `import mipro`, `mipro --help` and, for comparison,
`import dspy`, taking turns, and what each takes longer than the first.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import subprocess
import sys
import time

COMMANDS = {
    "python -c pass": "pass",
    "import mipro": "import mipro",
    "mipro --help": "import sys; from mipro.cli import main; sys.argv = ['mipro', '--help']; main()",
    "mipro.MIPROv2": "import mipro; mipro.MIPROv2",
    "import dspy": "import dspy",
}


def seconds(code: str) -> float:
    """Return how long a fresh interpreter takes for `code`."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL, check=False)
    return time.perf_counter() - began


def main() -> None:
    """Measure all and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeat", type=int, default=20)
    repeat = parser.parse_args().repeat
    commands = {name: code for name, code in COMMANDS.items() if "dspy" not in code or _has("dspy")}
    for code in commands.values():
        seconds(code)  # writes the byte code
    taken: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(repeat):
        for name, code in commands.items():
            taken[name].append(1000 * seconds(code))
    base = statistics.median(taken["python -c pass"])
    for name, times in taken.items():
        middle = statistics.median(times)
        print(f"{name:15} {middle:6.0f} ms ({min(times):.0f}-{max(times):.0f}), {middle - base:+6.0f} ms")


def _has(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


if __name__ == "__main__":
    main()
