"""The text of CPU programs executed as plain Python: every code generator for any graph, and nothing compiled.

All arithmetic is done in double precision, whatever the program's own: so numbers are held to a narrow tolerance.  What
the arena holds before it is written is NaN, so what was never written is seen.  Threads run one after the other from
meeting to meeting, in an order drawn anew each time.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from graphc.emit.cpu import Program
from graphc.emit.descent import descent_program
from graphc.ir import drawing
from graphc.ir.scalar import FUNCTIONS
from graphc.lower.lengths import Lengths
from graphc.lower.processor import Cuts
from graphc.native.build import Compiling
from graphc.primitives import noise, philox
from graphc.run.sweep import Together, data_of
from graphc.run.thread_team import Arguments, arguments_of
from graphc.run.training import Evaluator

IMPORTS = re.compile(r"from graphc\.primitives\.names import \([^)]*\)|from numpy import .*")
Memory = list[float]
DIVIDING = {name: lambda *args, f=function.numpy: np.float64(f(*args)) for name, function in FUNCTIONS.items()}


LIMITS: dict[str, dict[str, Any]] = {"usual": {}}
LIMITS["divided"] = {"lower.phases.SMALL": 0, "lower.phases.SMALL_COPY": 0, "lower.plan.SMALL": 0}
LIMITS["divided"] |= {"emit.loops.ROWS_AT_ONCE": 2}
LIMITS["divided"] |= {f"lower.contractions.{name}": 0 for name in ("LEAST", "NARROWEST", "FEWEST", "SAVED")}
LIMITS["divided"] |= {"emit.windows.NARROWEST": 1, "lower.row_loops.LONG_ROW": 1, "lower.row_loops.HELD": 0}
LIMITS["packed"] = LIMITS["divided"] | {
    f"lower.cost.{name}": 0 for name in "FEW_ROWS FEW_COLUMNS LONG".split()
} | {"lower.cost.CUTS": Cuts(0, 0, 0, 0, 0, 0, "everything is packed")}
LIMITS["blocks"] = {f"lower.training.{n}": k for n, k in {"LARGE": 1, "BLOCK_BYTES": 1, "FEWEST": 2}.items()}
LIMITS["blocks"] |= {"emit.row_blocks.PARTS": 3}
LIMITS["in place"] = LIMITS["blocks"] | {"facade.preparing.NEAR": 0}
"""Thresholds as they are, and so small that all that can be divided among threads, or packed, or computed in three
parts of blocks of two rows, is; the last reads these rows where the data lie."""
CHUNK = 6  # rows at a time in predict and evaluate


class Numbers(list):
    """Memory: a list without the habit of counting from the end."""

    def __getitem__(self, at: int) -> Any:
        if at < 0:
            raise IndexError(f"read at {at}")
        return super().__getitem__(at)

    def __setitem__(self, at: int, value: Any) -> None:
        if at < 0:
            raise IndexError(f"write at {at}")
        super().__setitem__(at, value)


def _gemm(
    a: Memory, oa: int, rsa: int, csa: int, b: Memory, ob: int, rsb: int, csb: int,
    c: Memory, oc: int, ldc: int, m: int, n: int, k: int, bias: Memory, obias: int, mode: int,
) -> None:  # fmt: skip
    """The arguments are those of :func:`graphc.primitives.matmul.gemm.gemm`."""
    for i in range(m):
        for j in range(n):
            total = sum(a[oa + i * rsa + t * csa] * b[ob + t * rsb + j * csb] for t in range(k))
            start = bias[obias + j] if mode == 2 else c[oc + i * ldc + j] if mode else 0.0
            c[oc + i * ldc + j] = start + total


def _contract(
    a: Memory, oa: int, rsa: int, csa2: int, csa1: int, csa: int, b: Memory, ob: int, rsb2: int, rsb1: int, rsb: int,
    c: Memory, oc: int, ldc: int, m: int, n: int, k2: int, k1: int, k: int,
) -> None:  # fmt: skip
    """The arguments are those of :func:`graphc.primitives.matmul.gemm.contract`."""
    for i, j in np.ndindex(m, n):
        terms = [(oa + i * rsa + p * csa2 + q * csa1 + t * csa, ob + p * rsb2 + q * rsb1 + t * rsb + j)
                 for p, q, t in np.ndindex(k2, k1, k)]  # fmt: skip
        c[oc + i * ldc + j] = sum(a[x] * b[y] for x, y in terms)


def _contract_lines(
    a: Memory, oa: int, rsa: int, csa2: int, csa1: int, csa: int, b: Memory, ob: int, rsb2: int, rsb1: int, rsb: int,
    lsb: int, c: Memory, oc: int, ldc: int, lsc: int, m: int, lines: int, n: int, k2: int, k1: int, k: int, mode: int,
) -> None:  # fmt: skip
    """The arguments are those of :func:`graphc.primitives.matmul.lines.contract_lines`."""
    for i, l, j in np.ndindex(m, lines, n):
        terms = [(oa + i * rsa + p * csa2 + q * csa1 + t * csa, ob + p * rsb2 + q * rsb1 + t * rsb + l * lsb + j)
                 for p, q, t in np.ndindex(k2, k1, k)]  # fmt: skip
        at = oc + i * ldc + l * lsc + j
        c[at] = (c[at] if mode else 0.0) + sum(a[x] * b[y] for x, y in terms)


def _contract_dots(
    a: Memory, oa: int, rsa: int, csa2: int, csa1: int, b: Memory, ob: int, rsb: int, csb2: int, csb1: int,
    c: Memory, oc: int, rsc: int, csc: int, m: int, n: int, k2: int, k1: int, k: int, mode: int,
) -> None:  # fmt: skip
    """The arguments are those of :func:`graphc.primitives.matmul.dots.contract_dots`."""
    for i, j in np.ndindex(m, n):
        terms = [(oa + i * rsa + p * csa2 + q * csa1 + t, ob + j * rsb + p * csb2 + q * csb1 + t)
                 for p, q, t in np.ndindex(k2, k1, k)]  # fmt: skip
        at = oc + i * rsc + j * csc
        c[at] = (c[at] if mode else 0.0) + sum(a[x] * b[y] for x, y in terms)


def _transpose(to: Memory, at: int, source: Memory, start: int, rows: int, columns: int, width: int) -> None:
    for i in range(rows):
        for j in range(columns):
            to[at + j * rows + i] = source[start + i * width + j]


def _copy(to: Memory, at: int, source: Memory, start: int, n: int) -> None:
    for i in range(n):
        to[at + i] = source[start + i]


def _fill(to: Memory, at: int, value: float, n: int) -> None:
    for i in range(n):
        to[at + i] = value


def _random(kind: str, dtype: str) -> Callable[..., None]:
    def draw(to: Memory, at: int, first: int, n: int, limit: int, *place: int) -> None:
        key0, key1, position, epoch, number = map(int, place)
        values = noise.draw(kind, (first + n,), (key0, key1), position, epoch, number, limit, dtype)
        for i in range(n):
            to[at + i] = np.float64(values[first + i])  # what a number of single precision is part of would be rounded

    return draw


def _store(words: Memory, at: int, value: int) -> None:
    words[at] = value


def _largest(acc: float, x: float) -> float:
    return acc if acc >= abs(x) else max(abs(x), acc) if acc == acc else acc


def _scalar(f: Callable[..., Any]) -> Callable[..., float]:
    return lambda *args: float(f(*args))


NAMES: dict[str, Any] = {name: _scalar(function.numpy) for name, function in FUNCTIONS.items()} | {
    "gemm": _gemm, "packed_gemm": _gemm, "blas_gemm": _gemm, "contract": _contract,
    "contract_lines": _contract_lines, "contract_dots": _contract_dots, "transpose": _transpose, "wide": lambda: None,
    "chains": lambda: None,
    "copy": _copy, "fill": _fill,
    "permuted": lambda *args: int(philox.permuted(*map(int, args))), "atomic_load": lambda words, at: int(words[at]),
    "atomic_store": _store, "noalias": lambda: None, "radd": lambda acc, x: acc + x, "rmax": _scalar(np.maximum),
    "rmin": _scalar(np.minimum), "rtop": _scalar(np.fmax), "power": _scalar(np.power), "rlargest": _largest,
    "nonfinite": lambda x, at, n: int(not all(math.isfinite(x[at + i]) for i in range(n))), "f": float, "int64": int,
}  # fmt: skip
RANDOM = {
    dtype: {f"random_{kind}": _random(kind, dtype) for kind in drawing.KINDS} for dtype in ("float32", "float64")
}  # fmt: skip
"""Uniform numbers of single precision are made of fewer bits."""


class Plain:
    """A program in plain Python; ``change`` edits texts first, to plant a fault. With ``divides`` a division by zero
    gives infinity or NaN, as machine code does, at three times the time.

    It stands in for :class:`graphc.native.loader.Program`, and for what runs the threads of a training program.
    """

    uses_blas = False

    def __init__(self, change: Callable[[str], str] = str, seed: int = 0, divides: bool = False) -> None:
        self.change, self.rng, self.divides = change, np.random.default_rng(seed), divides
        self.texts: list[str] = []

    def load(self, text: Program, compiling: Compiling = None) -> _Loaded:
        """What ``build_text`` gives."""
        if compiling is not None:
            compiling()()
        self.texts.append(self.change(text.text))
        return _Loaded(text, self.texts[-1], self)

    def together(self, program: _Loaded, entry: str, arguments: Arguments, team: int) -> None:
        """One call of all threads of a training run."""
        program.run([arguments_of(me, arguments) for me in range(team)], [(me, team) for me in range(team)])


class _Loaded:
    uses_blas, told = False, None

    def __init__(self, program: Program, text: str, machine: Plain) -> None:
        self.program, self.machine = program, machine
        dtype = dict(program.arguments)["A"].rstrip("*")
        names = NAMES | RANDOM[dtype] | (DIVIDING if machine.divides else {})
        body = IMPORTS.sub(lambda m: "\n" * m[0].count("\n"), text).replace("meet(", "yield (")
        with np.errstate(all="ignore"):
            exec(compile(body, f"<{program.name}>", "exec"), names)  # noqa: S102  text of our own emitter
        self.function, self.name = names[program.entry], program.name
        places = re.findall(r"^ *k\d+ = K\[(\d+)\]$", text, re.MULTILINE)
        self.numbers = dict(zip(map(int, places), program.numbers, strict=True))

    def call(self, entry: str, *arguments: NDArray) -> int:
        self.run([arguments], [()])
        return 0

    def run(self, lists: Sequence[Sequence[NDArray]], members: Sequence[tuple[int, ...]]) -> None:
        """All threads, meeting by meeting, each with its arguments; then the arrays hold what the program left."""
        arrays, memory = {}, {}
        for (name, _), x in ((name, x) for given in lists for name, x in zip(self.program.arguments, given)):
            values = [math.nan] * x.size if name == "A" else x.ravel().tolist()
            for place, number in self.numbers.items() if name == "K" else ():
                values[place] = number  # not rounded to the program's precision, as no number of its text is
            if self.machine.divides:
                values = [np.float64(v) if isinstance(v, float) else v for v in values]
            arrays[id(x)], memory[id(x)] = x, memory.get(id(x), Numbers(values))
        with np.errstate(all="ignore"):
            started = [self.function(*(memory[id(x)] for x in given), *member) for given, member in zip(lists, members)]
            running = [thread for thread in started if hasattr(thread, "send")]
            while running:
                places = {next(running[int(t)], None) is None for t in self.machine.rng.permutation(len(running))}
                assert len(places) == 1, "not all threads meet"
                running = [] if True in places else running
        for key, x in arrays.items():
            if x.flags.writeable:  # data may be read-only, as the parameters are that a model hands out
                with np.errstate(over="ignore"):
                    x.reshape(-1)[:] = memory[key]


class Descended:
    """The text of an optimizer with curvature, on the arrays themselves and by one thread: what it calls are functions
    of Python."""

    uses_blas, told = False, None

    def __init__(self, method: str, dtype: str) -> None:
        text = descent_program(method, dtype)
        body = IMPORTS.sub(lambda m: "\n" * m[0].count("\n"), text.text)
        self.names = names = NAMES | {"invoke": lambda bundle: bundle[0](), "meet": lambda *place: None}
        exec(compile(body, f"<{text.name}>", "exec"), names)  # noqa: S102  text of our own emitter
        self.function = names[text.entry]

    def run(self, lists: Sequence[Sequence[Any]], members: Sequence[tuple[int, ...]]) -> None:
        """One call, whatever the number of threads."""
        with np.errstate(all="ignore"):
            self.function(*(x.reshape(-1) if isinstance(x, np.ndarray) else x for x in lists[0]), 0, 1)


def _joined(programs: Sequence[_Loaded], entry: str, lists: Sequence[Arguments], me: int, team: int) -> list[Any]:
    """Bundles that are functions."""
    member = (0, 1) if entry == "train" else ()
    return [None, *(partial(p.run, [arguments_of(me, own)], [member]) for p, own in zip(programs, lists))]


def _run_copies(machine: Plain) -> Callable[..., None]:
    """Instead of native calls: every copy of a sweep by a thread of its own."""

    def run(group: Together, places: NDArray, before: NDArray, shared: Sequence[Any], watch: Any) -> None:
        c = group.copies
        gradients, arena, integers, *partials = group.buffers[0]
        for p, done in zip(places.tolist(), before.tolist()):
            constants, *data = data_of(shared, p)
            rows = [c.parameters[p], gradients, c.states[p], arena, integers, constants, c.hyper[p], c.control[p]]
            books = [c.totals[p], c.history[p], c.losses[p, done:]]
            machine.together(group.program, "train", [*rows, *books, *data, *partials], 1)

    return run


def _evaluate_copies(
    evaluator: Evaluator, parameters: NDArray, shared: Sequence[Any], rows: Lengths, threads: int, seconds: float
) -> NDArray:
    """Instead of native calls: every copy by a call of its own."""
    read = [data_of(shared, place) for place in range(len(parameters))]
    return np.array([evaluator.run(p, data, own, rows, []) for p, (own, *data) in zip(parameters, read)])


@contextmanager
def in_python(machine: Plain, limits: str = "usual") -> Iterator[Plain]:
    """Functions, training, evaluation and sweeps on the CPU run there, and leave nothing in the cache."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in LIMITS[limits].items():
            patch.setattr(f"graphc.{name}", value)
        patch.setattr("graphc.facade.preparing.CHUNK", CHUNK)
        for module in ("calculus", "evaluating"):  # calls are not prepared: what they are given here are arrays
            patch.setattr(f"graphc.facade.{module}.MOST", -1)
        for place in ("facade.programs", "facade.functions"):
            patch.setattr(f"graphc.{place}.build_text", machine.load)
        patch.setattr("graphc.facade.programs.recall", lambda found: None)
        patch.setattr("graphc.facade.programs.remember", lambda found, facts: None)
        patch.setattr("graphc.facade.functions.remembered", lambda found, make: None)
        patch.setattr("graphc.facade.quiet.FEWEST", math.inf)  # a program that calls others calls machine code
        patch.setattr("graphc.run.descent.program_for", Descended)
        for place in ("descent", "least_squares"):
            patch.setattr(f"graphc.run.{place}.joined", _joined)
        for place in ("run.training", "run.descent", "facade.functions", "native.buffers"):
            patch.setattr(f"graphc.{place}.address", lambda array: array)
        patch.setattr("graphc.facade.checking.is_verified", lambda key: False)
        patch.setattr("graphc.facade.verifying._keep", lambda key: None)
        patch.setattr("graphc.run.training.call_together", machine.together)
        patch.setattr("graphc.run.sweep.Together._run", _run_copies(machine))
        patch.setattr("graphc.facade.watched_copies.evaluate_many", _evaluate_copies)
        yield machine
