"""A tensor as SymPy says it: with IndexedBase and Sum, or element by element in plain scalars.

One walk for both.  The indices of a node are SymPy expressions: letters, or whole numbers where the extents are given;
then sums are written out.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NoReturn

import numpy as np
import sympy as sp
from sympy import Expr, S
from sympy.matrices.expressions.matexpr import MatrixElement

from graphc.declare.names import node_text
from graphc.declare.origin import fail, located
from graphc.errors import DomainError, FormulaError, NameClashError
from graphc.ir.affine import Affine, Atom, Extent, FloorDiv, Gather, Modulo
from graphc.ir.functions.choices import guarded, where
from graphc.ir.letters import LETTERS
from graphc.ir.node import Equation, Indicator, Leaf, Mask, Node, Operand, Read, Reducer, extent_symbol
from graphc.ir.scalar import number, placeholder
from graphc.ir.scalar_table import BY_CLASS
from graphc.ir.scan import Unrolled
from graphc.ir.walk import free_extents, leaves, topological

MOST_TERMS = 20_000  # some ten seconds of SymPy
MOST_ROWS = 6  # of a determinant, which has n! terms
_EMPTY: dict[Reducer, Expr] = {
    "sum": S.Zero, "prod": S.One, "max": S.NegativeInfinity, "min": S.Infinity, "logsumexp": S.NegativeInfinity
}  # fmt: skip
_WRITTEN_OUT: dict[Reducer, Callable[..., Expr]] = {
    "sum": sp.Add,
    "prod": sp.Mul,
    "max": sp.Max,
    "min": sp.Min,
    "logsumexp": lambda *terms: sp.log(sp.Add(*map(sp.exp, terms))),
}


@located
def equation_of(node: Node, name: str, letters: Sequence[str]) -> sp.Eq:
    """``Y[i, j] = ..`` over the inputs and parameters, with sums as Sum.

    Raises
    ------
    FormulaError
        When an operation has no words in SymPy.
    """
    writer = _Writer(node, None)
    while name in writer.taken and not isinstance(node, Leaf):
        name += "_"
    free = (x for x in _letters() if x not in writer.taken)
    names = list(letters) or [next(free) for _ in node.shape]
    writer.taken |= set(names)
    at = tuple(sp.Symbol(x, integer=True) for x in names)
    return sp.Eq(_element_symbol(name, at), writer.value(node, at), evaluate=False)


@located
def elements_of(node: Node, sizes: Mapping[str, int]) -> Any:
    """The elements as scalar expressions of the symbols ``W_0_1``; ``sizes`` gives the free extents.

    Raises
    ------
    DomainError
        When an extent is missing or no whole number of at least 1, or there are too many elements.
    FormulaError
        When an operation has no words in SymPy.
    NameClashError
        When two elements have the same symbol.
    """
    sizes = _checked_sizes(node, sizes)
    writer = _Writer(node, sizes)
    shape = [e if isinstance(e, int) else sizes[e] for e in node.shape]
    values = [writer.value(node, tuple(map(sp.Integer, at))) for at in itertools.product(*map(range, shape))]
    return values[0] if not shape else sp.Array(values, shape)


def _checked_sizes(node: Node, sizes: Mapping[str, int]) -> dict[str, int]:
    for name, size in sizes.items():
        if not isinstance(size, int) or isinstance(size, bool) or size < 1:
            message = f"to_sympy: the extent {name} is {size!r}"
            fail(DomainError, message, "give whole numbers of at least 1, such as explicit={'n': 2}.")
    missing = sorted(free_extents([node]) - set(sizes))
    if missing:
        hint = f"give it a number: explicit={{{', '.join(f'{e!r}: 2' for e in missing)}}}."
        fail(DomainError, f"to_sympy: {node_text(node)} has the free extent {', '.join(missing)}", hint)
    terms = sum(math.prod(e if isinstance(e, int) else sizes[e] for e in _extents(n)) for n in topological([node]))
    if terms > MOST_TERMS:
        hint = f"at most {MOST_TERMS} are: give smaller extents in explicit=."
        fail(DomainError, f"to_sympy: {terms} terms would be written out", hint)
    return dict(sizes)


def _extents(node: Node) -> Sequence[Extent]:
    return node.extents if isinstance(node, Equation) else node.shape
_OF_DETERMINANT: dict[Reducer, Callable[[Expr], Expr]] = {
    "det": lambda d: d,
    "logabsdet": lambda d: sp.log(sp.Abs(d)),
    "detsign": sp.sign,
}


class _Writer:
    """Writes the nodes that a root needs; ``sizes`` is None where sums stay sums."""

    def __init__(self, root: Node, sizes: dict[str, int] | None) -> None:
        self.root, self.sizes = root, sizes
        self.known: dict[tuple[Node, tuple[Expr, ...], frozenset[str]], Expr] = {}
        self.scope: frozenset[str] = frozenset()  # letters of the sums around
        self.symbols: dict[str, tuple[Leaf, tuple[Expr, ...]]] = {}
        self.taken = free_extents([root]) | {str(leaf.name) for leaf in leaves([root])}

    def value(self, node: Node, at: tuple[Expr, ...]) -> Expr:
        key = node, at, self.scope
        if key not in self.known:
            self.known[key] = self.leaf(node, at) if isinstance(node, Leaf) else self.equation(node, at)
        return self.known[key]

    def leaf(self, leaf: Leaf, at: tuple[Expr, ...]) -> Expr:
        if isinstance(leaf.value, np.ndarray) and leaf.kind == "constant" and all(p.is_Integer for p in at):
            found = float(leaf.value[tuple(map(int, at))])
            return number(found) if math.isfinite(found) else sp.Float(found)
        symbol = _element_symbol(str(leaf.name), at, leaf.dtype == "int", self.sizes is not None)
        place = leaf, at if self.sizes is not None else ()
        if self.symbols.setdefault(symbol.name if self.sizes is not None else str(leaf.name), place) != place:
            message = f"to_sympy: the symbol {symbol} would stand for two different elements"
            fail(NameClashError, message, "give inputs and parameters different names.")
        return symbol

    def extent(self, extent: Extent) -> Expr:
        return extent_symbol(extent if isinstance(extent, int) or self.sizes is None else self.sizes[extent])

    def equation(self, y: Node, at: tuple[Expr, ...]) -> Expr:
        if isinstance(y, Unrolled):
            message = "to_sympy: SymPy has no word for the steps of gc.scan"
            fail(FormulaError, message, "write the steps as a loop in Python, which makes an expression of each.")
        assert isinstance(y, Equation)
        if y.dense:
            return self.of_matrix(y, at)
        if y.elementwise:
            return self.term(y, at)
        if self.sizes is None:
            return self.symbolic(y, at)
        inner = itertools.product(*(range(int(self.extent(e))) for e in y.bound))
        terms = [self.term(y, (*at, *map(sp.Integer, k))) for k in inner]
        if y.reducer in ("max", "min", "logsumexp"):
            terms = [t for t in terms if t != _EMPTY[y.reducer]]
        return _WRITTEN_OUT[y.reducer](*terms) if terms else _EMPTY[y.reducer]

    # ------------------------------------------------------------ functions of matrices

    def of_matrix(self, y: Equation, at: tuple[Expr, ...]) -> Expr:
        """An element of an inverse or Cholesky factor, or a determinant, of one matrix of a stack."""
        source, lead = y.reads[0].node, at[: y.reads[0].node.rank - 2]
        if self.sizes is not None:
            n = int(self.extent(source.shape[-1]))
            if n > MOST_ROWS:
                message = f"to_sympy: {node_text(y)} would be written out with determinants of {n} rows"
                fail(DomainError, message, f"at most {MOST_ROWS} rows are.")
            return self.written_matrix(y, sp.Matrix(n, n, lambda r, c: self.value(source, (*lead, r, c))), at[-2:])
        if y.reducer == "cholesky":
            hint = "give the extents, such as to_sympy(explicit={'n': 2}): then its elements are written out."
            self.refuse(y, "a Cholesky factor", hint)
        matrix = self.symbolic_matrix(source, lead)
        if y.reducer == "inverse":
            return MatrixElement(sp.Inverse(matrix), *at[-2:])
        return _OF_DETERMINANT[y.reducer](sp.Determinant(matrix))

    def symbolic_matrix(self, source: Node, lead: tuple[Expr, ...]) -> Any:
        """A matrix by its name; what has none by its entries."""
        rows, columns = (self.extent(e) for e in source.shape[-2:])
        if isinstance(source, Leaf) and not lead:
            return sp.MatrixSymbol(str(source.name), rows, columns)
        outside = self.scope
        free = (x for x in _letters() if x not in self.taken | outside)
        places = tuple(sp.Symbol(next(free), integer=True) for _ in range(2))
        self.scope = outside | {p.name for p in places}
        entry = self.value(source, (*lead, *places))
        self.scope = outside
        return sp.FunctionMatrix(rows, columns, sp.Lambda(places, entry))

    def written_matrix(self, y: Equation, a: Any, at: tuple[Expr, ...]) -> Expr:
        """The same of a matrix of scalars, by its adjugate or by columns."""
        if y.reducer == "cholesky":
            return _cholesky(a)[at]
        if y.reducer == "inverse":
            return a.cofactor(int(at[1]), int(at[0]), method="berkowitz") / a.det(method="berkowitz")
        return _OF_DETERMINANT[y.reducer](a.det(method="berkowitz"))

    def symbolic(self, y: Equation, at: tuple[Expr, ...]) -> Expr:
        outside = self.scope
        free = (x for x in _letters() if x not in self.taken | outside)
        bound = [sp.Symbol(next(free), integer=True) for _ in y.bound]
        limits = [(k, 0, self.extent(e) - 1) for k, e in zip(bound, y.bound, strict=True)]
        self.scope = outside | {k.name for k in bound}
        body = self.term(y, (*at, *bound))
        self.scope = outside
        if y.reducer == "logsumexp":
            return sp.log(sp.Sum(sp.exp(body), *limits))
        if y.reducer not in ("sum", "prod"):
            hint = "give the extents, such as to_sympy(explicit={'n': 2}): then it is Max of all elements."
            self.refuse(y, f"a {y.reducer} over an index", hint)
        if y.reducer == "prod":
            return sp.Product(body, *limits)
        factors = body.as_independent(*bound, as_Add=False)
        return factors[0] * sp.Sum(factors[1], *limits)

    def term(self, y: Equation, place: tuple[Expr, ...]) -> Expr:
        """The body at one place: 0 (what an empty reduction is) where a mask does not hold."""
        holds = sp.And(*(self.mask(m, place) for m in y.masks))
        empty = _EMPTY[y.reducer]
        if holds is S.false:
            return empty
        values: dict[Expr, Expr] = {placeholder(j): self.operand(op, place) for j, op in enumerate(y.operands)}
        if self.sizes is not None:
            values |= {extent_symbol(e): sp.Integer(n) for e, n in self.sizes.items()}
        body = self.body(y, y.body, values)
        return body if holds is S.true else sp.Piecewise((body, holds), (empty, True))

    # ------------------------------------------------------------ indices

    def map(self, x: Affine, place: tuple[Expr, ...]) -> Expr:
        return sp.Add(x.const, *(coef * self.atom(atom, place) for atom, coef in x.terms))

    def atom(self, atom: Atom, place: tuple[Expr, ...]) -> Expr:
        if isinstance(atom, int):
            return place[atom]
        if isinstance(atom, FloorDiv):
            return sp.floor(self.map(atom.inner, place) / atom.divisor)
        if isinstance(atom, Modulo):
            return sp.Mod(self.map(atom.inner, place), atom.divisor)
        if isinstance(atom, Gather):
            return self.read(atom.node, tuple(self.map(a, place) for a in atom.at))
        return self.extent(atom.name)

    def mask(self, mask: Mask, place: tuple[Expr, ...]) -> Any:
        x = self.map(mask.map, place)
        if mask.kind == "divides":
            return sp.Eq(sp.Mod(x, mask.modulus), 0)
        positive = sp.Add(*(t for t in sp.Add.make_args(x) if not t.could_extract_minus_sign()))
        relation: Any = {"ge": sp.Ge, "eq": sp.Eq, "ne": sp.Ne}[mask.kind]
        return relation(positive, positive - x)

    def operand(self, op: Operand, place: tuple[Expr, ...]) -> Expr:
        if isinstance(op, Read):
            return self.read(op.node, tuple(self.map(a, place) for a in op.at))
        if isinstance(op, Indicator):
            return sp.Piecewise((S.One, self.mask(op.mask, place)), (S.Zero, True))
        return self.map(op.map, place)

    def read(self, node: Node, at: tuple[Expr, ...]) -> Expr:
        """An element; where written-out indices are data, a choice among all elements."""
        if self.sizes is None:
            return self.value(node, at)
        for t, x in enumerate(at):
            last = int(self.extent(node.shape[t])) - 1
            if x.is_Integer:
                at = (*at[:t], sp.Integer(min(max(int(x), 0), last)), *at[t + 1 :])  # outside of a mask
                continue
            chosen = [(self.read(node, (*at[:t], sp.Integer(p), *at[t + 1 :])), sp.Eq(x, p)) for p in range(last)]
            return sp.Piecewise(*chosen, (self.read(node, (*at[:t], sp.Integer(last), *at[t + 1 :])), True))
        return self.value(node, at)

    # ------------------------------------------------------------ bodies

    def body(self, y: Equation, expr: Expr, values: dict[Expr, Expr]) -> Expr:
        """A body in SymPy's own functions, with the values of its symbols."""
        if expr not in values:
            values[expr] = self.written(y, expr, values) if expr.args else expr
        return values[expr]

    def written(self, y: Equation, expr: Expr, values: dict[Expr, Expr]) -> Expr:
        if isinstance(expr, guarded):
            _, a, b = expr.args
            return self.body(y, a if b == 0 else b, values)
        args = [self.body(y, a, values) for a in expr.args]
        entry = None if expr.is_Pow else BY_CLASS.get(expr.func)
        if isinstance(expr, where):
            return sp.Piecewise((args[1], _truth(args[0])), (args[2], True))
        if entry is None or expr.func.__module__.startswith("sympy."):
            return expr.func(*args)
        if entry.plain is not None:
            return entry.plain(*args)
        if entry.means:
            return entry.means[0](*args)
        if entry.paper is None:
            self.refuse(y, entry.name.rstrip("_"), "")
        slots = [sp.Dummy(real=True) for _ in args]
        return self.body(y, entry.paper(*slots), {**dict(zip(slots, args, strict=True))})

    def refuse(self, y: Equation, what: str, hint: str) -> NoReturn:
        message = f"to_sympy: SymPy has no word for {what} in {node_text(y)}"
        fail(FormulaError, message, hint or "take the part before it, or write it with other functions.")


def _cholesky(a: Any) -> Any:
    """The lower triangular L with L Lᵀ = a, column by column."""
    factor = sp.zeros(*a.shape)
    for j in range(a.rows):
        factor[j, j] = sp.sqrt(a[j, j] - sum(factor[j, k] ** 2 for k in range(j)))
        for i in range(j + 1, a.rows):
            factor[i, j] = (a[i, j] - sum(factor[i, k] * factor[j, k] for k in range(j))) / factor[j, j]
    return factor


def _truth(c: Expr) -> Any:
    """The condition of which c is the number 1 or 0."""
    if c.is_Mul and not c.is_number:
        return sp.And(*map(_truth, c.args))
    if isinstance(c, sp.Piecewise) and len(c.args) == 2 and (c.args[0][0], c.args[1][0]) == (1, 0):
        return c.args[0][1]
    rest = 1 - c
    return sp.Not(_truth(rest)) if c.is_Add and not rest.is_Add else sp.Ne(c, 0)


def _element_symbol(name: str, at: tuple[Expr, ...], whole: bool = False, plain: bool = False) -> Any:
    """``W[i, k]``; the scalar ``W_0_1`` where it is plain."""
    kind: dict[str, bool] = {"integer": True} if whole else {"real": True}
    if not at or plain:
        return sp.Symbol("_".join([name, *map(str, at)]), **kind)
    return sp.IndexedBase(name, **kind)[at]


def _letters() -> Iterator[str]:
    yield from LETTERS
    yield from (f"i{n}" for n in itertools.count())
