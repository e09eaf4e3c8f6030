"""The scalar functions beside NumPy (with SciPy) and PyTorch, one thread each; prints the table of docs/vector_math.md.

``python -m tests.benchmarks.vector_math [--peer-python PYTHON] [--functions sin log] [--rounds 15]``

Nanoseconds an element over rows that stay in the L2 cache, written to an existing row. The contestants take turns, a
block of about two milliseconds each; the figure is the median of the rounds. graphc's loops are compiled by graphc's
own pipeline, as in a program, and repeat inside the program; the others pay a call a row of 16384 elements.
"""

from __future__ import annotations

import argparse
import functools
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median

import numpy as np
from scipy import special

from graphc.native.build import Program, build
from tests.benchmarks.contestants import ROOT, Contestant, environment
from tests.benchmarks.vector_math_cases import (
    LENGTH,
    PRECISIONS,
    RANGES,
    arguments,
    block,
    passes_per_block,
    repeated,
)

NUMPY: dict[str, Callable[..., np.ndarray]] = {
    **{name: getattr(np, name) for name in RANGES if hasattr(np, name)},
    **{"erf": special.erf, "sigmoid": special.expit, "softplus": functools.partial(np.logaddexp, 0)},
}
Ask = Callable[[str, str], float]


def source(names: list[str]) -> tuple[str, list[str]]:
    """One entry for each function and precision: ``times`` passes over a row."""
    text, entries = f"from graphc.primitives.vector_math.functions import {', '.join(names)}\n", []
    for name in names:
        for precision in PRECISIONS:
            entries.append(f"{name}_{precision}")
            call = f"{name}(x[i], y[i])" if name == "power" else f"{name}(x[i])"
            text += f"def {entries[-1]}(x, y, out, n, times):\n    for t in range(times):\n"
            text += f"        for i in range(n):\n            out[i] = {call}\n    return 0\n"
    return text, entries


def compiled(names: list[str]) -> Program:
    """All entries in one program, compiled afresh."""
    text, entries = source(names)
    words = {e: (f"{e.split('_')[1]}*",) * 3 + ("int64", "int64") for e in entries}
    with tempfile.TemporaryDirectory() as folder:
        return build(text, words, name="vector_math", folder=folder)


def graphc_block(program: Program) -> Ask:
    """Nanoseconds an element of one block of graphc's loop."""

    @functools.cache
    def prepared(name: str, precision: str) -> tuple[Callable[[int], object], int]:
        rows = arguments(name, precision)
        rows = [rows[0], rows[-1], np.empty_like(rows[0])]
        addresses = [row.ctypes.data for row in rows]
        # The default keeps the rows alive as long as their addresses are used.
        run = lambda passes, rows=rows: program.call(f"{name}_{precision}", *addresses, LENGTH, passes)
        return run, passes_per_block(run)

    return lambda name, precision: block(*prepared(name, precision))


def numpy_block() -> Ask:
    """The same of NumPy's or SciPy's function."""

    @functools.cache
    def prepared(name: str, precision: str) -> tuple[Callable[[int], object], int]:
        rows = arguments(name, precision)
        run = repeated(functools.partial(NUMPY[name], *rows, out=np.empty_like(rows[0])))
        return run, passes_per_block(run)

    return lambda name, precision: block(*prepared(name, precision))


@contextmanager
def torch_block(python: str) -> Iterator[tuple[str, Ask]]:
    """PyTorch's version, and the same of its function, in a process of its own."""
    command = [python, "-m", "tests.benchmarks.vector_math_torch"]
    alone = environment(Contestant("torch", "eager", 1, python), None)
    with subprocess.Popen(
        command, cwd=ROOT, env=alone, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdin and child.stdout

        def ask(name: str, precision: str) -> float:
            print(name, precision, file=child.stdin, flush=True)
            return float(child.stdout.readline())

        yield child.stdout.readline().strip(), ask
        child.stdin.close()


def medians(peers: dict[str, Ask], names: list[str], rounds: int) -> dict[tuple[str, str, str], float]:
    """(function, precision, peer) -> the median of the rounds, in which the peers take turns."""
    result = {}
    for name in names:
        for precision in PRECISIONS:
            turns = [{peer: ask(name, precision) for peer, ask in peers.items()} for _ in range(rounds)]
            result |= {(name, precision, peer): median(t[peer] for t in turns) for peer in peers}
    return result


def print_table(figures: dict[tuple[str, str, str], float], peers: list[str], names: list[str]) -> None:
    heads = [f"{precision} {peer}" for precision in PRECISIONS for peer in peers]
    print("| function | " + " | ".join(heads) + " |\n|" + "---|" * (len(heads) + 1))
    for name in names:
        row = [f"{figures[name, precision, peer]:.2f}" for precision in PRECISIONS for peer in peers]
        print(f"| {name} | " + " | ".join(row) + " |")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--peer-python", help="a Python with PyTorch; without it PyTorch is left out")
    parser.add_argument("--functions", nargs="+", default=list(RANGES), choices=list(RANGES))
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    peers = {"graphc": graphc_block(compiled(options.functions)), "NumPy": numpy_block()}
    if options.peer_python is None:
        print_table(medians(peers, options.functions, options.rounds), list(peers), options.functions)
        return
    with torch_block(options.peer_python) as (version, ask):
        peers["torch"] = ask
        print_table(medians(peers, options.functions, options.rounds), list(peers), options.functions)
        print(f"\nNumPy {np.__version__}, PyTorch {version}.")


if __name__ == "__main__":
    main()
