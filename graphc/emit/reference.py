"""The reference interpreter: evaluates equations with NumPy over their whole iteration space, literally as they read.

It is the oracle the compiled backends are held against, and what names the first bad value after a failed step.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import sympy
from numpy.typing import DTypeLike

from graphc.emit.dense import of_matrices
from graphc.ir.affine import Affine, Atom, FloorDiv, Gather, Modulo
from graphc.ir.node import REDUCERS, Equation, Indicator, Leaf, Mask, Node, Operand, Position, Read
from graphc.ir.parts import symbols_of
from graphc.ir.scalar import numpy_function, placeholder_index
from graphc.ir.scan import Scan, Unrolled
from graphc.ir.walk import inside, sources, topological, within_steps
from graphc.lower.norms import SCALES, reading_rescues, rescue_of
from graphc.records import record
from graphc.rewrite.norms import norms_in

SERIAL = 1 << 18  # multiplications for which OpenBLAS begins no threads; on a busy machine these wait for a core
SHORT = 64 * SERIAL  # a product of so many takes one thread some milliseconds
NARROW = 16  # a product of so few rows, terms or columns is not worth threads


@record(frozen=True, eq=False)
class Product:
    """A matrix product that is computed when its rows are asked for: all of it may not fit the cache."""

    left: np.ndarray
    right: np.ndarray

    @property
    def shape(self) -> tuple[int, int]:
        """The shape of the matrix."""
        return len(self.left), self.right.shape[1]

    def rows(self, low: int = 0, high: int | None = None) -> np.ndarray:
        """So many rows of it, or all."""
        left, right = self.left[low:high], self.right
        (rows, inner), columns = left.shape, right.shape[1]
        work = rows * inner * columns
        if work <= SERIAL or (work > SHORT and min(rows, inner, columns) > NARROW):
            return left @ right
        axis = _divided(left, right)
        length = (rows, inner, columns)[axis]
        step = max(1, SERIAL * length // work)
        parts, whole = length // step, length - length % step
        if axis == 0:
            first = (left[:whole].reshape(parts, step, inner) @ right).reshape(whole, columns)
            return np.concatenate([first, left[whole:] @ right])
        if axis == 1:
            factors = left[:, :whole].reshape(rows, parts, step).transpose(1, 0, 2)
            first = factors @ right[:whole].reshape(parts, step, columns)
            return first.sum(axis=0) + left[:, whole:] @ right[whole:]
        first = left @ right[:, :whole].reshape(inner, parts, step).transpose(1, 0, 2)
        return np.hstack([first.transpose(1, 0, 2).reshape(rows, whole), left @ right[:, whole:]])


def _divided(left: np.ndarray, right: np.ndarray) -> int:
    """Rows, terms or columns (0, 1, 2), of which a product is made part by part: all parts in one call of NumPy, which
    asks for the lock of Python once. What lies together in memory stays together where it can."""
    (rows, inner) = left.shape
    if inner <= NARROW:
        return 0
    if rows <= NARROW:
        return 1 if right.flags.c_contiguous else 2
    return 0 if left.flags.c_contiguous else 1


def evaluate(
    roots: Sequence[Node],
    feed: Mapping[Leaf, np.ndarray],
    sizes: Mapping[str, int] | None = None,
    dtype: DTypeLike = np.float64,
    blur: Callable[[np.ndarray], np.ndarray] | None = None,
) -> list[np.ndarray]:
    """The values of ``roots`` for the given leaves; ``sizes`` gives free extents that no fed leaf has.

    ``blur`` is applied to everything that is computed, functions within a body too, not to what is chosen: a maximum is
    one of its operands.
    """
    values = evaluate_all(roots, feed, sizes, dtype, blur)
    return [values[r] for r in roots]


class Values(Sequence["np.ndarray | Product"]):
    """The values of nodes, one after the other, and how large the terms of their sums are."""

    def __init__(self, nodes: Sequence[Node], found: Mapping[Node, np.ndarray | Product], run: _Interpreter) -> None:
        self._nodes, self._found, self._run = nodes, found, run

    def __len__(self) -> int:
        return len(self._nodes)

    def __getitem__(self, place: Any) -> Any:
        return self._found[self._nodes[place]]

    def of(self, places: Iterable[int]) -> Values:
        """Those at some places."""
        return Values([self._nodes[t] for t in places], self._found, self._run)

    def terms(self, place: int) -> np.ndarray | None:
        """The sums of the sizes of the terms, divided by the root of their number: at most the root of the sum of their
        squares, by which rounding errors of their own grow. None for what is no sum."""
        node = self._nodes[place]
        if not isinstance(node, Equation) or node.reducer != "sum" or node.elementwise:
            return None
        with np.errstate(all="ignore"):
            return self._run.equation(node, np.abs) / np.sqrt(self._run.length(node))


def evaluate_in_parts(
    roots: Sequence[Node], feed: Mapping[Leaf, np.ndarray], dtype: DTypeLike = np.float64
) -> Values:
    """The values of ``roots``, where matrix products that nothing else reads, as the gradients of weights, wait."""
    order, run = topological(roots), _Interpreter(feed, {}, np.dtype(dtype))
    run.unrolled, steps = _of_scans(order), within_steps(order)
    read = {source for node in order for source in sources(node)}
    last = set(roots) - read
    found: dict[Node, np.ndarray | Product] = {}
    with np.errstate(all="ignore"):
        for node in order:
            if node in steps:
                continue
            if isinstance(node, Equation) and node in last:
                found[node] = run.product(node) or run.equation(node)
            else:
                found[node] = run.values[node] = run.value(node)
    return Values(roots, found, run)


def evaluate_all(
    roots: Iterable[Node],
    feed: Mapping[Leaf, np.ndarray],
    sizes: Mapping[str, int] | None = None,
    dtype: DTypeLike = np.float64,
    blur: Callable[[np.ndarray], np.ndarray] | None = None,
) -> dict[Node, np.ndarray]:
    """The value of every node that the roots need; NaN and infinity are values like others and warn of nothing."""
    run, order = _Interpreter(feed, dict(sizes or {}), np.dtype(dtype)), topological(roots)
    run.blur = blur
    run.unrolled, steps = _of_scans(order), within_steps(order)
    with np.errstate(all="ignore"):
        for node in order:
            if node in steps:
                continue
            value = run.values[node] = run.value(node)
            if blur is not None and isinstance(node, Equation) and not _chooses(node):
                run.values[node] = blur(value)
    return run.values


def _of_scans(order: Sequence[Node]) -> dict[Scan, list[Unrolled]]:
    """What is wanted of every scan."""
    found: dict[Scan, list[Unrolled]] = {}
    for node in order:
        if isinstance(node, Unrolled):
            found.setdefault(node.scan, []).append(node)
    return found


def _chooses(y: Equation) -> bool:
    """True when every value is one of those that are read: a view, a masked one, a maximum."""
    return placeholder_index(y.body) is not None and (y.elementwise or y.reducer in ("max", "min"))


class _Interpreter:
    def __init__(self, feed: Mapping[Leaf, np.ndarray], sizes: dict[str, int], dtype: np.dtype) -> None:
        self.feed, self.sizes, self.dtype = feed, sizes, dtype
        self.values: dict[Node, np.ndarray] = {}
        self.unrolled: dict[Scan, list[Unrolled]] = {}
        self.blur: Callable[[np.ndarray], np.ndarray] | None = None
        self.scaled = self.dtype.name in SCALES
        self.without_norms: dict[Equation, Equation] = {}  # the steps of a scan ask for the same ones
        for leaf, value in feed.items():
            for extent, found in zip(leaf.shape, np.shape(value), strict=True):
                if isinstance(extent, str):
                    self.sizes.setdefault(extent, found)

    def value(self, node: Node) -> np.ndarray:
        if isinstance(node, Unrolled):
            if node not in self.values:
                self.scan(node.scan, self.unrolled[node.scan])
            return self.values[node]
        return self.equation(node) if isinstance(node, Equation) else self.leaf(node)

    def scan(self, scan: Scan, wanted: Sequence[Unrolled]) -> None:
        """Do the steps one after the other, and keep what is wanted of them."""
        steps = range(*self.shape([scan.length]))[:: -1 if scan.backward else 1]
        own = inside([*scan.nexts, *(node.of for node in wanted)], scan.leaves)
        for node in topological([node.of for node in wanted]):
            if node not in own and node not in self.values:
                self.values[node] = self.value(node)
        now = {c.leaf: self.values[c.start] for c in scan.carries}
        found: dict[Unrolled, list[np.ndarray]] = {node: [] for node in wanted}
        for t in steps:
            self.values |= now | {s.leaf: self.values[s.given][t] for s in scan.slices}
            for node in own:
                if isinstance(node, Equation):
                    value = self.equation(node)
                    self.values[node] = value if self.blur is None or _chooses(node) else self.blur(value)
            for node, kept in found.items():
                kept.append(self.values[node.of])
            now = {c.leaf: self.values[c.next] for c in scan.carries}
        for node, kept in found.items():
            self.values[node] = np.stack(kept[:: -1 if scan.backward else 1])

    def leaf(self, node: Node) -> np.ndarray:
        assert isinstance(node, Leaf)
        value = self.feed.get(node, node.value)
        return np.asarray(value, dtype=np.int64 if node.dtype == "int" else self.dtype)

    def shape(self, extents: Sequence[int | str]) -> tuple[int, ...]:
        return tuple(e if isinstance(e, int) else self.sizes[e] for e in extents)

    def length(self, y: Equation) -> int:
        """Terms of every sum."""
        return math.prod(self.shape(y.extents[y.n_free :]))

    def equation(self, y: Equation, of: Callable[[np.ndarray], np.ndarray] | None = None) -> np.ndarray:
        """The value of an equation; ``of`` is applied to what it adds up, and to the factors of a product instead."""
        if y.dense:
            return of_matrices(y.reducer, self.values[y.reads[0].node])
        y = self._rescued(y)
        contracted = self._einsum(y, of)
        if contracted is not None:
            return contracted
        space = self.shape(y.extents)
        arguments = [self._operand(op, space) for op in y.operands]
        symbols = sorted((s for s in symbols_of(y.body) if placeholder_index(s) is None), key=str)
        extra = [self.dtype.type(self.sizes[s.name]) for s in symbols]
        f = numpy_function(y.body, len(y.operands), tuple(symbols))
        found = f(*arguments, *extra, blur=self.blur)
        value = np.asarray(found if of is None else of(found), dtype=self.dtype)
        value = value if value.shape == space else np.broadcast_to(value, space)
        identity = REDUCERS[y.reducer]
        for mask in y.masks:
            value = np.where(self._mask(mask, space), value, self.dtype.type(identity))
        return self._reduce(y, value)

    def _rescued(self, y: Equation) -> Equation:
        """y with norms that neither overflow nor underflow; see :mod:`graphc.lower.norms`."""
        if not self.scaled:
            return y
        if y in self.without_norms:
            return self.without_norms[y]
        rescues, norms = {}, norms_in(y)
        for total in norms:
            rescue = rescue_of(total, self.dtype)
            factor = self.values[rescue.factor] = self.equation(rescue.factor)
            if factor.any():
                rescues[total] = rescue
                self.values[rescue.total] = self.equation(rescue.total)
                self.values[rescue.root] = self.equation(rescue.root)
        found = reading_rescues(y, rescues, self.dtype)
        if not norms:
            self.without_norms[y] = found
        return found

    def _reduce(self, y: Equation, value: np.ndarray) -> np.ndarray:
        axes = tuple(range(y.n_free, len(y.extents)))
        if not axes:
            return np.asarray(value, order="C")
        if y.reducer == "logsumexp":
            top = value.max(axis=axes, keepdims=True)
            safe = np.where(np.isfinite(top), top, self.dtype.type(0))
            with np.errstate(all="ignore"):
                return np.log(np.exp(value - safe).sum(axis=axes)) + safe.reshape(value.shape[: y.n_free])
        reduce = {"sum": np.sum, "max": np.max, "min": np.min, "prod": np.prod}[y.reducer]
        return reduce(value, axis=axes, initial=self.dtype.type(REDUCERS[y.reducer]))

    def _einsum(self, y: Equation, of: Callable[[np.ndarray], np.ndarray] | None = None) -> np.ndarray | None:
        """A plain contraction as products of matrices, by einsum where it is none: its whole iteration space would not
        fit memory. Einsum takes longer, and lets BLAS begin threads for products that are not worth it."""
        parts = self._factors(y)
        if parts is None:
            return None
        if of is not None:
            parts[::2] = map(of, parts[::2])
        found = _matrices(parts, y.n_free)
        if found is None:
            return np.asarray(np.einsum(*parts, list(range(y.n_free)), optimize=True), dtype=self.dtype)
        left, right, letters = found
        value = left @ right if left.ndim > 2 else Product(left, right).rows()
        value = value.reshape(self.shape([y.extents[i] for i in letters]))
        return np.asarray(value.transpose([letters.index(i) for i in range(y.n_free)]), order="C")

    def product(self, y: Equation) -> Product | None:
        """The equation as a product of two matrices, if it is one."""
        parts = self._factors(y) if y.n_free == 2 else None
        found = None if parts is None else _matrices(parts, y.n_free)
        if found is None or found[0].ndim > 2 or found[2] != [0, 1]:
            return None
        product = Product(*found[:2])
        return product if product.shape == self.shape(y.shape) else None

    def _factors(self, y: Equation) -> list | None:
        """What a sum of products multiplies, as einsum expects it: arrays, each with the indices of its axes."""
        factors = sympy.Mul.make_args(y.body)
        plain = [placeholder_index(f) for f in factors]
        if y.reducer != "sum" or y.masks or y.elementwise or None in plain or len(set(plain)) != len(y.operands):
            return None
        parts: list = []
        for op in y.operands:
            letters = [a.plain_index for a in op.at] if isinstance(op, Read) else [None]
            if not isinstance(op, Read) or [y.extents[i] for i in letters if i is not None] != list(op.node.shape):
                return None
            parts += [self.values[op.node].astype(self.dtype, copy=False), letters]
        if not set(range(y.n_free)) <= {i for letters in parts[1::2] for i in letters}:
            return None
        return parts

    def _operand(self, op: Operand, space: tuple[int, ...]) -> np.ndarray:
        if isinstance(op, Indicator):
            return self._mask(op.mask, space).astype(self.dtype)
        if isinstance(op, Position):
            return np.asarray(self._map(op.map, space)).astype(self.dtype)
        return self._read(op.node, op.at, space)

    def _read(self, node: Node, at: tuple[Affine, ...], space: tuple[int, ...]) -> np.ndarray:
        value = self.values[node]
        runs = [run for run in (_run(a, n, space) for a, n in zip(at, value.shape, strict=True)) if run is not None]
        letters = [i for _, i in runs if i is not None]
        if len(runs) == len(at) and len({*letters}) == len(letters):  # a view
            part = value[tuple(run for run, _ in runs)]
            moved = part.transpose(sorted(range(len(letters)), key=letters.__getitem__))
            return moved.reshape([n if i in letters else 1 for i, n in enumerate(space)])
        places = [self._map(a, space) for a in at]
        return value[tuple(np.clip(p, 0, max(n - 1, 0)) for p, n in zip(places, value.shape, strict=True))]

    def _map(self, x: Affine, space: tuple[int, ...]) -> np.ndarray:
        total = np.asarray(x.const)
        for atom, coef in x.terms:
            total = total + coef * self._atom(atom, space)
        return total

    def _atom(self, atom: Atom, space: tuple[int, ...]) -> np.ndarray:
        if isinstance(atom, int):
            return np.arange(space[atom]).reshape([-1 if t == atom else 1 for t in range(len(space))])
        if isinstance(atom, FloorDiv):
            return self._map(atom.inner, space) // atom.divisor
        if isinstance(atom, Modulo):
            return self._map(atom.inner, space) % atom.divisor
        if isinstance(atom, Gather):
            return self._read(atom.node, atom.at, space)
        return np.asarray(self.sizes[atom.name])

    def _mask(self, mask: Mask, space: tuple[int, ...]) -> np.ndarray:
        x = self._map(mask.map, space)
        if mask.kind == "divides":
            return np.asarray(x % mask.modulus == 0)
        return {"ge": np.greater_equal, "eq": np.equal, "ne": np.not_equal}[mask.kind](x, 0)


def _run(a: Affine, n: int, space: tuple[int, ...]) -> tuple[int | slice, int | None] | None:
    """The places of an axis of n that a map goes through, all within it, and its index if it has one; None for others
    than c + s*i."""
    if a.is_constant:
        return (a.const, None) if 0 <= a.const < n else None
    (atom, step), *others = a.terms
    if others or not isinstance(atom, int) or step < 1 or a.const < 0:
        return None
    end = a.const + step * (space[atom] - 1) + 1
    return (slice(a.const, max(end, 0), step), atom) if end <= n else None


def _matrices(parts: Sequence, n_free: int) -> tuple[np.ndarray, np.ndarray, list[int]] | None:
    """sum_k a[.., i, k]*b[.., k, j] as matrices or stacks of them, each of i, j and k standing for several indices; and
    the indices of their product, whose rows are those of the first index where it is not one of the stack."""
    if len(parts) != 4 or any(len(set(at)) < len(at) for at in parts[1::2]):
        return None
    (a, at), (b, of) = (parts[:2], parts[2:]) if 0 not in parts[3] else (parts[2:], parts[:2])
    both = sorted({*at} & {*of})
    stack, inner = [i for i in both if i < n_free], [i for i in both if i >= n_free]
    rows, columns = (sorted({*letters} - {*both}) for letters in (at, of))
    if max([*rows, *columns], default=-1) >= n_free:
        return None
    return _matrix(a, at, stack, rows, inner), _matrix(b, of, stack, inner, columns), [*stack, *rows, *columns]


def _matrix(x: np.ndarray, at: list[int], *groups: list[int]) -> np.ndarray:
    """The array with its indices in groups: one axis for each of the first group, one for each other group."""
    moved = x.transpose([at.index(i) for group in groups for i in group])
    stack, first = len(groups[0]), len(groups[0]) + len(groups[1])
    shape = moved.shape
    return moved.reshape(*shape[:stack], math.prod(shape[stack:first]), math.prod(shape[first:]))
