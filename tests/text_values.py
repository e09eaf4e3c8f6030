"""What expressions of a program's text are worth, and what they read and write, on whole iteration spaces at once.

The index of a loop is an array of all its values, an address an array of all addresses, a condition an array of truth
values, behind which only those count where it holds.  Numbers of floating point have no value at all.
"""

from __future__ import annotations

import ast
import functools
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.text_memory import Access, Place, Region, Step

AXES = 10  # nested loops, and the rows and columns of a primitive inside them
MANY = 500_000  # addresses of one read; of more, the extremes of every index and some between
FLOAT = type("Float", (), {"__repr__": lambda _: "a number"})()
BINARY = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}  # fmt: skip
COMPARED = {
    ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge, ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}  # fmt: skip
BLOCKS = ("contract", "contract_lines", "contract_dots", "gemm", "packed_gemm", "blas_gemm", "transpose", "nonfinite")

Value = Any  # a whole number, a truth value, an array of them, or FLOAT


class UnknownText(Exception):
    """The text says something that this machine was not taught."""


@dataclass
class Axis:
    """A loop: its length, and the statements that one turn takes."""

    length: int
    turn: int


class Memory:
    """The memory, shared by all threads, and what was found wrong.

    Attributes
    ----------
    found : dict
        The first element of every kind of fault: (line, buffer, fault) -> a sentence.
    """

    def __init__(self, text: str, regions: Mapping[str, Region]) -> None:
        self.lines, self.regions = text.splitlines(), regions
        self.now, self.clock, self.steps = Step(), 1, 0
        self.found: dict[tuple[int, str, str], str] = {}
        self.rng = np.random.default_rng(0)

    def begin_step(self, number: int) -> None:
        """A thread begins a step; the first to do so makes what was written before it old."""
        if number > self.steps:
            self.steps, self.now.step, self.now.interval = number, self.clock, self.clock

    def begin_nest(self) -> None:
        """What follows is ordered by statements."""
        self.now.nest = self.clock
        for region in self.regions.values():
            region.reads.clear()

    def report(self, line: int, place: Place, at: int, what: str) -> None:
        text = f"line {line}, {self.lines[line - 1].strip()}: {place.name}[{at - place.start}] {what}"
        self.found.setdefault((line, place.name, what), text)


class Values:
    """The names of one thread, the loops it is in, and the condition under which it goes on."""

    def __init__(self, machine: Memory, names: dict[str, Value], me: int) -> None:
        self.machine, self.names, self.me = machine, names, me
        self.axes: list[Axis] = []
        self.mask: NDArray | bool = True
        self.moment, self.trial = 0, False
        self.chosen: list[NDArray] = []
        self.primitives: dict[str, Callable[..., Value]] = {
            "gemm": self._product, "packed_gemm": self._product, "blas_gemm": self._product,
            "contract": self._contract, "contract_lines": self._contract_lines, "contract_dots": self._contract_dots,
            "copy": self._copy,
            "transpose": self._transpose, "fill": self._fill, "nonfinite": self._nonfinite, "int64": self._whole,
            "atomic_load": self._atomic_load, "atomic_store": self._atomic_store, "permuted": self._permuted,
            "min": self._least, "random_normal": self._random, "random_uniform": self._random,
            "random_bernoulli": self._random,
        }  # fmt: skip

    # ------------------------------------------------------------------ expressions
    def value(self, e: ast.expr) -> Value:
        """The value of an expression; what it reads is checked."""
        if isinstance(e, ast.Name):
            return self._name(e)
        if isinstance(e, ast.Constant):
            return FLOAT if isinstance(e.value, float) else e.value
        if isinstance(e, ast.BinOp):
            a, b = self.value(e.left), self.value(e.right)
            f = BINARY.get(type(e.op))
            return FLOAT if a is FLOAT or b is FLOAT or f is None else f(a, b)
        if isinstance(e, ast.Subscript):
            return self._load(e)
        if isinstance(e, ast.Call):
            return self._call(e)
        return self._logic(e)

    def _logic(self, e: ast.expr) -> Value:
        if isinstance(e, ast.UnaryOp):
            x = self.value(e.operand)
            return negated(x) if isinstance(e.op, ast.Not) else x if x is FLOAT else -x
        if isinstance(e, ast.Compare):
            a, b = self.value(e.left), self.value(e.comparators[0])
            return FLOAT if a is FLOAT or b is FLOAT else COMPARED[type(e.ops[0])](a, b)
        if isinstance(e, ast.BoolOp):
            return self._bool(e)
        if isinstance(e, ast.IfExp):
            return self._choice(e)
        raise UnknownText(ast.unparse(e))

    def _name(self, e: ast.Name) -> Value:
        if e.id not in self.names:
            self.machine.report(e.lineno, Place(e.id, 0, 0), 0, "is read, but the name was never assigned")
            return FLOAT
        return self.names[e.id]

    def _bool(self, e: ast.BoolOp) -> Value:
        """``and`` and ``or``: what stands behind is looked at where what stands before lets it."""
        before, total, every = self.mask, self.value(e.values[0]), isinstance(e.op, ast.And)
        for part in e.values[1:]:
            if total is not FLOAT:
                self.mask = both(self.mask, total if every else negated(total))
            if not np.any(self.mask):
                break
            value = self.value(part)
            unknown = value is FLOAT or total is FLOAT
            total = FLOAT if unknown else both(total, value) if every else np.logical_or(total, value)
        self.mask = before
        return total if total is FLOAT or isinstance(total, np.ndarray) else bool(total)

    def _choice(self, e: ast.IfExp) -> Value:
        test, before = self.value(e.test), self.mask
        found = []
        for holds, part in ((test, e.body), (negated(test), e.orelse)):
            self.mask = before if holds is FLOAT else both(before, holds)
            if np.any(self.mask):
                found.append(self.value(part))
        self.mask = before
        if len(found) == 1:
            return found[0]
        return np.where(test, *found) if test is not FLOAT and FLOAT not in found else FLOAT

    def _call(self, e: ast.Call) -> Value:
        assert isinstance(e.func, ast.Name)
        primitive = self.primitives.get(e.func.id)
        if primitive is not None:
            return primitive(*e.args)
        for a in e.args:
            self.value(a)
        return FLOAT

    # ------------------------------------------------------------------ memory
    def _region(self, e: ast.expr) -> Region:
        assert isinstance(e, ast.Name)
        return self.machine.regions[e.id]

    def _place(self, region: Region, at: ast.expr) -> Place:
        """The buffer that an address belongs to: its offset is a term of the address."""
        names = [n for n in _terms(at) if n in region.places]
        if len(names) > 1 or (region.places and not names and region.bare is None):
            wrong = f"is addressed by {' and '.join(names) or 'no buffer'}"
            self.machine.report(at.lineno, Place(region.name, 0, 0), 0, wrong)
        return region.place(names[0] if names else None)

    def _load(self, e: ast.Subscript) -> Value:
        region = self._region(e.value)
        place = self._place(region, e.slice)
        if region.values is None:
            with self._fewer(e.slice):
                self.touch(region, place, self.value(e.slice), e.lineno, write=False)
            return FLOAT
        at = self.value(e.slice)
        if not self.touch(region, place, at, e.lineno, write=False) and at is FLOAT:
            return FLOAT
        found = region.values[np.clip(at, 0, region.size - 1)]
        return found if isinstance(at, np.ndarray) else int(found)

    def _store(self, e: ast.Subscript, value: Value) -> None:
        region, at = self._region(e.value), self.value(e.slice)
        inside = self.touch(region, self._place(region, e.slice), at, e.lineno, write=True)
        if region.values is None or self.trial or not inside:
            return
        shape = np.broadcast_shapes(np.shape(at), np.shape(value), np.shape(self.mask))
        at, value, mask = (np.broadcast_to(x, shape) for x in (at, value, self.mask))
        region.values[at[mask]] = value[mask]

    @contextmanager
    def _fewer(self, e: ast.expr) -> Iterator[None]:
        """Where an expression has very many values: only those at the extremes of every index, and some between."""
        names = _names(e) & self.names.keys()
        shape = np.broadcast_shapes(*(np.shape(self.names[n]) for n in names), np.shape(self.mask))
        if np.prod(shape, dtype=float) <= MANY:
            yield
            return
        before = self.names, self.mask
        most = int(MANY ** (1 / sum(n > 1 for n in shape)))
        self.chosen = [_some(n, most, self.machine.rng) for n in shape]
        self.names = {n: _taken(x, self.chosen) if n in names else x for n, x in self.names.items()}
        self.mask = _taken(self.mask, self.chosen)
        yield
        (self.names, self.mask), self.chosen = before, []

    def touch(self, region: Region, place: Place, at: Value | slice, line: int, write: bool) -> bool:
        """Check a read or a write of all these addresses; False when some are not inside the buffer."""
        if at is FLOAT:
            self.machine.report(line, place, place.start, "is meant, or another element: the address is not known")
            return False
        access = self._access(at)
        if access is None:
            return True
        verb = "written" if write else "read"
        if access.low < place.start or access.high >= place.start + place.size:
            outside = access.low if access.low < place.start else access.high
            self.machine.report(line, place, outside, f"is {verb}, but the buffer has {place.size} elements")
            return False
        if write and self.trial:
            return True
        wrong = (region.write if write else region.read)(place, access, self.machine.now, self.me)
        if wrong is not None:
            self.machine.report(line, place, wrong[0], f"is {verb}, but {wrong[1]}")
        return True

    def _access(self, at: Value | slice) -> Access | None:
        """The addresses for which the condition holds, and the moments of their first use."""
        now = self.moment
        if isinstance(at, slice) and self.mask is True:
            return Access(at, lambda: now, at.start, at.stop - 1) if at.stop > at.start else None
        if isinstance(at, slice):
            at = along(0, np.arange(at.start, at.stop))
        if not isinstance(at, np.ndarray):
            return Access(slice(at, at + 1), lambda: now, at, at) if np.any(self.mask) else None
        if self.mask is True:
            return Access(at.ravel(), self._moments(at.shape), int(at.min()), int(at.max())) if at.size else None
        mask = np.asarray(self.mask).reshape(np.shape(self.mask) or (1,) * AXES)
        unused = tuple(t for t in range(AXES) if at.shape[t] == 1 and mask.shape[t] > 1)
        mask = np.broadcast_to(mask.any(axis=unused, keepdims=True), at.shape)
        flat = at[mask]
        return Access(flat, self._moments(at.shape, mask), int(flat.min()), int(flat.max())) if flat.size else None

    def _moments(self, shape: Sequence[int], mask: NDArray | None = None) -> Callable[[], NDArray]:
        """When a statement touches each address: in the first turn of the loops that do not move it."""
        now, axes, chosen = self.moment, [*self.axes], self.chosen

        def moments() -> NDArray:
            total = np.full((1,) * AXES, now)
            for t, axis in enumerate(axes):
                if shape[t] > 1:
                    total = total + along(t, (chosen[t] if chosen else np.arange(axis.length)) * axis.turn)
            total = np.broadcast_to(total, shape)
            return total.ravel() if mask is None else total[mask]

        return moments

    # ------------------------------------------------------------------ primitives
    def _block(self, name: ast.expr, offset: ast.expr, *sides: tuple[int, int], write: bool = False) -> None:
        """Touch offset + r*step + c*step' ..; ``sides`` are (step, count)."""
        region, at = self._region(name), self.value(offset)
        place, sides = self._place(region, offset), tuple(sorted(side for side in sides if side[1] != 1))
        if any(count <= 0 for _, count in sides):
            return
        while len(sides) > 1 and sides[0][0] * sides[0][1] == sides[1][0]:
            sides = ((sides[0][0], sides[0][1] * sides[1][1]), *sides[2:])
        if not isinstance(at, np.ndarray) and [step for step, _ in sides] == [1]:
            self.touch(region, place, slice(at, at + sides[0][1]), offset.lineno, write)
            return
        for t, (step, count) in enumerate(sides, len(self.axes)):
            at = at + along(t, np.arange(count) * step)
        self.touch(region, place, at, offset.lineno, write)

    def _write(self, name: ast.expr, offset: ast.expr, *sides: tuple[int, int]) -> None:
        self.moment += 1
        self._block(name, offset, *sides, write=True)
        self.moment -= 1

    def _product(self, *e: ast.expr) -> Value:
        """The arguments are those of :func:`graphc.primitives.matmul.gemm.gemm`."""
        a, at, b, bt, c, ct, bias, biast = (e[t] for t in (0, 1, 4, 5, 8, 9, 14, 15))
        rsa, csa, rsb, csb, ldc, m, n, k, mode = (self.value(e[t]) for t in (2, 3, 6, 7, 10, 11, 12, 13, 16))
        if m <= 0 or n <= 0:
            return FLOAT
        self._block(a, at, (rsa, m), (csa, k))
        self._block(b, bt, (rsb, k), (csb, n))
        if mode == 1:
            self._block(c, ct, (ldc, m), (1, n))
        if mode == 2:
            self._block(bias, biast, (1, n))
        self._write(c, ct, (ldc, m), (1, n))
        return FLOAT

    def _contract(self, *e: ast.expr) -> Value:
        """The arguments are those of :func:`graphc.primitives.matmul.gemm.contract`."""
        a, at, b, bt, c, ct = (e[t] for t in (0, 1, 6, 7, 11, 12))
        rsa, *down, ldc, m, n = (self.value(e[t]) for t in (2, 3, 4, 5, 8, 9, 10, 13, 14, 15))
        terms = [self.value(x) for x in e[16:]]
        if m <= 0 or n <= 0:
            return FLOAT
        self._block(a, at, (rsa, m), *zip(down[:3], terms, strict=True))
        self._block(b, bt, *zip(down[3:], terms, strict=True), (1, n))
        self._write(c, ct, (ldc, m), (1, n))
        return FLOAT

    def _contract_lines(self, *e: ast.expr) -> Value:
        """The arguments are those of :func:`graphc.primitives.matmul.lines.contract_lines`."""
        a, at, b, bt, c, ct = (e[t] for t in (0, 1, 6, 7, 12, 13))
        rsa, *down, lsb, ldc, lsc, m, lines, n = (self.value(e[t]) for t in (2, 3, 4, 5, 8, 9, 10, 11, *range(14, 19)))
        *terms, mode = (self.value(x) for x in e[19:])
        if m <= 0:
            return FLOAT
        self._block(a, at, (rsa, m), *zip(down[:3], terms, strict=True))
        self._block(b, bt, *zip(down[3:], terms, strict=True), (lsb, lines), (1, n))
        if mode:
            self._block(c, ct, (ldc, m), (lsc, lines), (1, n))
        self._write(c, ct, (ldc, m), (lsc, lines), (1, n))
        return FLOAT

    def _contract_dots(self, *e: ast.expr) -> Value:
        """The arguments are those of :func:`graphc.primitives.matmul.dots.contract_dots`."""
        a, at, b, bt, c, ct = (e[t] for t in (0, 1, 5, 6, 10, 11))
        rsa, *left, rsb, csb2, csb1, rsc, csc, m, n = (self.value(e[t]) for t in (2, 3, 4, 7, 8, 9, *range(12, 16)))
        *terms, mode = (self.value(x) for x in e[16:])
        self._block(a, at, (rsa, m), *zip((*left, 1), terms, strict=True))
        self._block(b, bt, (rsb, n), *zip((csb2, csb1, 1), terms, strict=True))
        if mode:
            self._block(c, ct, (rsc, m), (csc, n))
        self._write(c, ct, (rsc, m), (csc, n))
        return FLOAT

    def _copy(self, to: ast.expr, at: ast.expr, source: ast.expr, start: ast.expr, n: ast.expr) -> Value:
        count = self.value(n)
        self._block(source, start, (1, count))
        self._write(to, at, (1, count))
        return FLOAT

    def _transpose(self, to: ast.expr, at: ast.expr, source: ast.expr, start: ast.expr, *e: ast.expr) -> Value:
        rows, columns, width = map(self.value, e)
        self._block(source, start, (width, rows), (1, columns))
        self._write(to, at, (1, rows), (rows, columns))
        return FLOAT

    def _fill(self, to: ast.expr, at: ast.expr, value: ast.expr, n: ast.expr) -> Value:
        self.value(value)
        self._write(to, at, (1, self.value(n)))
        return FLOAT

    def _random(self, to: ast.expr, at: ast.expr, first: ast.expr, n: ast.expr, *e: ast.expr) -> Value:
        for number in (first, *e):
            self.value(number)
        self._write(to, at, (1, self.value(n)))
        return FLOAT

    def _nonfinite(self, x: ast.expr, at: ast.expr, n: ast.expr) -> Value:
        self._block(x, at, (1, self.value(n)))
        return FLOAT

    def _whole(self, x: ast.expr) -> Value:
        """int64 of a constant, whose whole numbers are known."""
        self.value(x)
        if not isinstance(x, ast.Subscript) or self._region(x.value).known is None:
            raise UnknownText(ast.unparse(x))
        known = self._region(x.value).known
        return known[np.clip(self.value(x.slice), 0, len(known) - 1)]

    def _atomic_load(self, words: ast.expr, at: ast.expr) -> Value:
        return self._load(ast.copy_location(ast.Subscript(words, at), at))

    def _atomic_store(self, words: ast.expr, at: ast.expr, value: ast.expr) -> Value:
        self._store(ast.copy_location(ast.Subscript(words, at), at), self.value(value))
        return FLOAT

    def _permuted(self, *e: ast.expr) -> Value:
        rows, index, *_ = map(self.value, e)
        order = np.arange(rows)[::-1]
        self.touch(Region("row", rows, state=True), Place("row", 0, rows), index, e[1].lineno, write=False)
        return order[np.clip(index, 0, rows - 1)]

    def _least(self, *e: ast.expr) -> Value:
        return functools.reduce(np.minimum, map(self.value, e))


@functools.lru_cache(4096)
def _names(e: ast.AST) -> frozenset[str]:
    return frozenset(n.id for n in ast.walk(e) if isinstance(n, ast.Name))


def along(axis: int, values: NDArray) -> NDArray:
    """A vector as the values of one index."""
    return values.reshape([-1 if t == axis else 1 for t in range(AXES)])


def both(a: Value, b: Value) -> Value:
    return b if a is True else a if b is True else np.logical_and(a, b)


def negated(x: Value) -> Value:
    return x if x is FLOAT else np.logical_not(x) if isinstance(x, np.ndarray) else not x


def _some(count: int, most: int, rng: np.random.Generator) -> NDArray:
    """Numbers below count in order, at most so many, the first and the last among them."""
    if count <= most:
        return np.arange(count)
    return np.sort(np.concatenate([[0, count - 1], rng.integers(0, count, max(most - 2, 0))]))


def _taken(x: Value, chosen: Sequence[NDArray]) -> Value:
    """The values of x at the chosen values of every index."""
    for t, some in enumerate(chosen if isinstance(x, np.ndarray) else ()):
        x = x.take(some, t) if x.shape[t] > 1 else x
    return x


def _terms(e: ast.expr) -> Iterator[str]:
    """The names that are added in an address."""
    if isinstance(e, ast.Name):
        yield e.id
    elif isinstance(e, ast.BinOp) and isinstance(e.op, ast.Add | ast.Sub):
        yield from _terms(e.left)
        yield from _terms(e.right)
