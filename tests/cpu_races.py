"""A search for races in the text of CPU training programs: every thread in Python, every access on record.

The function that all threads execute becomes a generator that pauses where threads meet.  So they run one after the
other from meeting to meeting, in an order drawn anew each time; within such an interval nothing orders them.  What one
thread writes there and another reads or writes is a race, whatever values it has.  Nothing is compiled.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from itertools import permutations
from types import FrameType
from typing import Any

import numpy as np
import pytest
from numpy.typing import ArrayLike, NDArray

from graphc.emit import control
from graphc.emit.cpu import Program
from graphc.emit.shared import expanded
from graphc.ir import drawing
from graphc.ir.scalar import FUNCTIONS
from graphc.native.build import Compiling
from graphc.primitives import noise, philox
from graphc.run.thread_team import Arguments, arguments_of

IMPORTS = re.compile(r"from graphc\.primitives\.names import \([^)]*\)")
Lines = dict[int, int]  # element -> the line of the text that touched it last
Thread = Generator[tuple[Any, int, int], None, int]


class Accesses:
    """What one thread did to one array in one interval; ``stored`` are atomic stores."""

    def __init__(self, thread: int, frame: FrameType) -> None:
        self.thread, self.frame = thread, frame
        self.read: Lines = {}
        self.written: Lines = {}
        self.stored: Lines = {}

    def note(self, lines: Lines, at: NDArray) -> None:
        """Many elements at once."""
        lines.update(dict.fromkeys(at.ravel().tolist(), self.frame.f_lineno))


class Watched:
    """An array that knows who touched what since the last meeting."""

    def __init__(self, name: str, values: NDArray) -> None:
        self.name, self.values = name, values.reshape(-1)
        self.log: list[Accesses] = []
        self.now: Accesses

    def begin(self, thread: int, frame: FrameType) -> None:
        """From now on another thread is at work."""
        self.now = Accesses(thread, frame)
        self.log.append(self.now)

    def __getitem__(self, at: int) -> Any:
        self.now.read[at] = self.now.frame.f_lineno
        return self.values[at]

    def __setitem__(self, at: int, value: Any) -> None:
        self.now.written[at] = self.now.frame.f_lineno
        self.values[at] = value

    def take(self, at: NDArray) -> NDArray:
        self.now.note(self.now.read, at)
        return self.values[at]

    def put(self, at: NDArray, values: ArrayLike) -> None:
        self.now.note(self.now.written, at)
        self.values[at] = values

    def meet(self) -> Iterator[tuple[int, str, Accesses, int, Accesses, int]]:
        """End the interval: an element, what happened to it, the two threads and lines, once for a pair of lines."""
        for one, other in permutations(self.log, 2):
            pairs = [(one.written, other.read, "reads"), (one.stored, other.read, "reads")]
            pairs += [(one.written, other.stored, "stores")]
            pairs += [(one.written, other.written, "writes")] if one.thread < other.thread else []
            for ours, theirs, verb in pairs:
                clashes = sorted(ours.keys() & theirs.keys(), reverse=True)
                for (a, b), at in {(ours[at], theirs[at]): at for at in clashes}.items():
                    yield at, verb, one, a, other, b
        assert all(min({**a.read, **a.written}, default=0) >= 0 for a in self.log), f"{self.name}: a negative index"
        self.log.clear()


# ---------------------------------------------------------------- what a program calls


def _gemm(
    a: Watched, oa: int, rsa: int, csa: int, b: Watched, ob: int, rsb: int, csb: int,
    c: Watched, oc: int, ldc: int, m: int, n: int, k: int, bias: Watched, obias: int, mode: int,
) -> None:  # fmt: skip
    """The arguments are those of :func:`graphc.primitives.matmul.gemm.gemm`; every element sums k upwards."""
    i, j, t = np.arange(m)[:, None], np.arange(n), np.arange(k)
    left, right = a.take(oa + i * rsa + t * csa), b.take(ob + t[:, None] * rsb + j * csb)
    out = oc + i * ldc + j
    total = np.zeros((m, n), left.dtype)
    if mode:
        total += bias.take(obias + j) if mode == 2 else c.take(out)
    for p in range(k):
        total += left[:, p, None] * right[p]
    c.put(out, total)


def _contract(
    a: Watched, oa: int, rsa: int, csa2: int, csa1: int, csa: int, b: Watched, ob: int, rsb2: int, rsb1: int, rsb: int,
    c: Watched, oc: int, ldc: int, m: int, n: int, k2: int, k1: int, k: int,
) -> None:  # fmt: skip
    """The arguments are those of :func:`graphc.primitives.matmul.gemm.contract`; terms come in order."""
    i, j = np.arange(m)[:, None], np.arange(n)
    total = np.zeros((m, n), a.values.dtype)
    for p, q, t in np.ndindex(k2, k1, k):
        left, right = oa + i * rsa + p * csa2 + q * csa1 + t * csa, ob + p * rsb2 + q * rsb1 + t * rsb + j
        total += a.take(left) * b.take(right)
    c.put(oc + i * ldc + j, total)


def _contract_lines(
    a: Watched, oa: int, rsa: int, csa2: int, csa1: int, csa: int, b: Watched, ob: int, rsb2: int, rsb1: int, rsb: int,
    lsb: int, c: Watched, oc: int, ldc: int, lsc: int, m: int, lines: int, n: int, k2: int, k1: int, k: int, mode: int,
) -> None:  # fmt: skip
    """The arguments are those of :func:`graphc.primitives.matmul.lines.contract_lines`; terms come in order."""
    i, t, j = np.arange(m)[:, None, None], np.arange(lines)[:, None], np.arange(n)
    out = oc + i * ldc + t * lsc + j
    total = c.take(out) if mode else np.zeros(out.shape, a.values.dtype)
    for p, q, s in np.ndindex(k2, k1, k):
        left, right = oa + i * rsa + p * csa2 + q * csa1 + s * csa, ob + p * rsb2 + q * rsb1 + s * rsb + t * lsb + j
        total = total + a.take(left) * b.take(right)
    c.put(out, total)


def _contract_dots(
    a: Watched, oa: int, rsa: int, csa2: int, csa1: int, b: Watched, ob: int, rsb: int, csb2: int, csb1: int,
    c: Watched, oc: int, rsc: int, csc: int, m: int, n: int, k2: int, k1: int, k: int, mode: int,
) -> None:  # fmt: skip
    """The arguments are those of :func:`graphc.primitives.matmul.dots.contract_dots`; terms come in order."""
    i, j = np.arange(m)[:, None], np.arange(n)
    total = np.zeros((m, n), a.values.dtype)
    for p, q, t in np.ndindex(k2, k1, k):
        total += a.take(oa + i * rsa + p * csa2 + q * csa1 + t) * b.take(ob + j * rsb + p * csb2 + q * csb1 + t)
    out = oc + i * rsc + j * csc
    c.put(out, c.take(out) + total if mode else total)


def _transpose(to: Watched, at: int, source: Watched, start: int, rows: int, columns: int, width: int) -> None:
    i, j = np.arange(rows)[:, None], np.arange(columns)
    to.put(at + j * rows + i, source.take(start + i * width + j))


def _copy(to: Watched, at: int, source: Watched, start: int, n: int) -> None:
    to.put(at + np.arange(n), source.take(start + np.arange(n)))


def _atomic_load(words: Watched, at: int) -> int:
    return int(words[at])


def _atomic_store(words: Watched, at: int, value: int) -> None:
    words.now.stored[at] = words.now.frame.f_lineno
    words.values[at] = value


def _random(kind: str) -> Any:
    def draw(to: Watched, at: int, first: int, n: int, limit: int, *place: int) -> None:
        key0, key1, position, epoch, number = map(int, place)
        values = noise.draw(kind, (int(first + n),), (key0, key1), position, epoch, number, int(limit))
        to.put(at + np.arange(n), values[int(first) :])

    return draw


def _permuted(n: int, index: int, key0: int, key1: int, epoch: int) -> int:
    return int(philox.permuted(int(n), int(index), int(key0), int(key1), int(epoch)))


NAMES: dict[str, Any] = {name: function.numpy for name, function in FUNCTIONS.items()} | {
    "gemm": _gemm, "packed_gemm": _gemm, "blas_gemm": _gemm, "contract": _contract,
    "contract_lines": _contract_lines, "contract_dots": _contract_dots, "transpose": _transpose, "wide": lambda: None,
    "chains": lambda: None,
    "copy": _copy,
    "fill": lambda to, at, value, n: to.put(at + np.arange(n), value), "permuted": _permuted,
    "atomic_load": _atomic_load, "atomic_store": _atomic_store, "noalias": lambda: None,
    "nonfinite": lambda x, at, n: int(not np.isfinite(x.take(at + np.arange(n))).all()),
    "radd": lambda acc, x: acc + x, "rmax": np.maximum, "rmin": np.minimum, "rtop": np.fmax, "power": np.power,
    **{f"random_{kind}": _random(kind) for kind in drawing.KINDS},
    "rlargest": lambda acc, x: acc if acc >= abs(x) else max(abs(x), acc) if acc == acc else acc,
}  # fmt: skip


# ---------------------------------------------------------------- the machine


class Machine:
    """Runs training programs under observation; ``change`` edits their text first, to plant a fault; with ``verify``
    they are checked against their formulas before, as programs are.

    Attributes
    ----------
    found : list of str
        The races, each with its array, element, threads, and the two lines.
    texts : set of str
        The programs that ran.
    """

    kind = Watched

    def __init__(self, change: Callable[[str], str] = str, seed: int = 0, verify: bool = False) -> None:
        self.change, self.rng, self.verify = change, np.random.default_rng(seed), verify
        self.found: list[str] = []
        self.texts: set[str] = set()

    def run(self, program: Program, entry: str, arguments: Arguments, team: int) -> None:
        """One call of all threads, until all have returned; an array that two threads are given is one array."""
        text = self.change(expanded(program.text))
        self.texts.add(text)
        names = dict(NAMES)
        body = IMPORTS.sub(lambda m: "\n" * m[0].count("\n"), text).replace("meet(", "yield (")
        exec(compile(body, "<program>", "exec"), names)  # noqa: S102  text of our own emitter
        lists, arrays = [arguments_of(me, arguments) for me in range(team)], {}
        for given in lists:
            named = zip((name for name, _ in program.arguments), given)
            arrays |= {id(x): self.kind(name, x) for name, x in named if id(x) not in arrays}
        memory = list(arrays.values())
        for arena in (array.values for array in memory if array.name == "A"):
            if not np.isnan(arena).any():
                arena[:] = self.rng.normal(size=arena.size)  # what is read before it is written differs from run to run
        threads = [names[entry](*(arrays[id(x)] for x in given), me, team) for me, given in enumerate(lists)]
        with np.errstate(all="ignore"):
            self._run(threads, memory, text.splitlines())

    def _run(self, threads: list[Thread], memory: list[Watched], lines: list[str]) -> None:
        words = next(array for array in memory if array.name == "C")
        arrived, ended = 0, False
        while not ended:
            arrived += len(threads)
            places = {self._interval(threads[me], int(me), memory) for me in self.rng.permutation(len(threads))}
            for array in memory:
                self.found += [_report(array, race, lines) for race in array.meet()]
            ended = places == {None}
            assert ended or places == {(words, control.MEET, arrived)}, "not all threads meet"

    @staticmethod
    def _interval(thread: Thread, me: int, memory: list[Watched]) -> tuple[Watched, int, int] | None:
        """Run a thread to its next meeting, which is returned, or to its end."""
        for array in memory:
            array.begin(me, thread.gi_frame)
        return next(thread, None)


def _report(array: Watched, race: tuple[int, str, Accesses, int, Accesses, int], lines: list[str]) -> str:
    at, verb, one, a, other, b = race
    here, there = (f"line {line}, {lines[line - 1].strip()}" for line in (a, b))
    return f"{array.name}[{at}]: thread {one.thread} writes ({here}) what thread {other.thread} {verb} ({there})"


class _Text(Program):
    """A text in place of its program."""

    told = None

    @classmethod
    def of(cls, text: Program, compiling: Compiling = None) -> _Text:
        if compiling is not None:
            compiling()()
        return cls(text.name, text.text, text.entry, text.arguments, text.numbers)


@contextmanager
def watching(machine: Machine) -> Iterator[Machine]:
    """Training on the CPU takes place on that machine, and leaves nothing in the cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("graphc.facade.programs.recall", lambda found: None)
        patch.setattr("graphc.facade.programs.remember", lambda found, facts: None)
        patch.setattr("graphc.facade.programs.build_text", _Text.of)
        patch.setattr("graphc.facade.checking.is_verified", lambda key: not machine.verify)
        patch.setattr("graphc.facade.verifying._keep", lambda key: None)
        for place in ("run.training", "native.buffers"):
            patch.setattr(f"graphc.{place}.address", lambda array: array)
        patch.setattr("graphc.run.training.call_together", machine.run)
        yield machine
