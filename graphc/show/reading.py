"""An equation made ready for reading: unnamed producers put in, softmax recognised, scalar functions written out.

The result is a SymPy expression over symbols that stand for :class:`Ref`, :class:`Sum`, :class:`Softmax`,
:class:`Iverson` and :class:`Place`; all of them share one index space, whose letters come last.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import field
from functools import lru_cache

import sympy
from sympy import Expr, S, Symbol

from graphc.ir.affine import Affine, Extent, constant, index, indices, substitute
from graphc.ir.build import always_true, never_true
from graphc.ir.contract import map_mask, map_operand
from graphc.ir.node import Equation, Indicator, Mask, Node, Operand, Position, Read
from graphc.ir.parts import parts_of_kind, symbols_of
from graphc.ir.scalar import (
    FUNCTIONS,
    canonical,
    guarded,
    is_complex,
    less_equal,
    placeholder,
    placeholder_index,
    step,
    where,
)
from graphc.records import record
from graphc.show.names import choose_letters, plain_letters


@record(frozen=True)
class Ref:
    """A named node at a place: X[i,k]."""

    node: Node
    at: tuple[Affine, ...]


@record(frozen=True)
class Sum:
    """A reduction inside an expression, such as the sum over k of X[i,k]·W[k,j]; `body` has no constant factor."""

    reducer: str
    bound: tuple[int, ...]
    body: Expr
    masks: tuple[Mask, ...] = ()


@record(frozen=True)
class Softmax:
    """exp(body - logsumexp of body over the index `over`)."""

    body: Expr
    over: int


@record(frozen=True)
class Whole:
    """A function of a whole matrix at a place: A⁻¹[i,j], det A."""

    node: Equation
    at: tuple[Affine, ...]


@record(frozen=True)
class Iverson:
    """[condition]: 1 where it holds, else 0."""

    mask: Mask


@record(frozen=True)
class Place:
    """An index map as a number."""

    map: Affine


Logits = tuple[Node, Expr]
Piece = Ref | Sum | Softmax | Whole | Iverson | Place


@record
class Shown:
    """One equation as it is printed: name[free..] = expr, over an index space with letters."""

    node: Node
    free: tuple[int, ...]
    extents: list[Extent]
    expr: Expr = sympy.S.Zero
    letters: list[str] = field(default_factory=list)
    pieces: dict[Symbol, Piece] = field(default_factory=dict)
    inlined: list[Node] = field(default_factory=list)

    def refs(self) -> list[Ref]:
        """What the equation reads, in order of appearance."""
        return [p for p in self.pieces.values() if isinstance(p, Ref)]

    def constant_factor(self, expr: Expr) -> tuple[Expr, Expr]:
        """(c, rest) with expr = c*rest and c free of anything read."""
        return _constant_factor(expr, frozenset(s for s in symbols_of(expr) if s in self.pieces))


@lru_cache(maxsize=4096)
def _constant_factor(expr: Expr, symbols: frozenset[Symbol]) -> tuple[Expr, Expr]:
    """(c, rest) with expr = c*rest and c free of some symbols."""
    return expr.as_independent(*symbols, as_Add=False) if symbols else (expr, sympy.S.One)


def read_equation(node: Node, goes_in: Callable[[Node], bool], softmaxes: Mapping[Logits, Node]) -> Shown:
    """The equation of a node with every producer put in for which ``goes_in`` holds; letters are still missing.

    ``softmaxes`` maps logits, and what they are multiplied by, to the node that is their softmax, which is then read
    instead.
    """
    build = _Builder(Shown(node, tuple(range(node.rank)), list(node.shape)), goes_in, softmaxes)
    at = [index(i) for i in range(node.rank)]
    straight = [constant(0) if e == 1 else a for a, e in zip(at, node.shape, strict=True)]
    inside = isinstance(node, Equation)
    build.shown.expr = build.expand(node, straight) if inside else build.symbol(Ref(node, tuple(straight)))
    return build.shown


def give_letters(
    shown: Shown, own: Sequence[str], hints: Sequence[Callable[[Node], Sequence[str]]], names: Collection[str] = ()
) -> None:
    """Letters for the index space: ``own`` for the free axes, bound ones by how ``hints`` write what is read; none that
    is in ``names``."""
    given = {i: own[t] for t, i in enumerate(shown.free) if own[t]}
    wishes: dict[int, list[str]] = {}
    for hint in hints:
        for ref in shown.refs():
            for a, letter in zip(ref.at, hint(ref.node), strict=False):
                i = a.plain_index
                if i is not None and i not in given and letter:
                    wishes.setdefault(i, []).append(letter)
    shown.letters = choose_letters(shown.extents, given, wishes, names)


def letters_of_reads(shown: Shown) -> dict[Node, list[str]]:
    """How an equation writes the axes of what it reads with plain indices."""
    found: dict[Node, list[str]] = {}
    for ref in shown.refs():
        letters = plain_letters(ref.at, shown.letters)
        if letters is not None:
            found.setdefault(ref.node, letters)
    return found


def softmax_of_whole(shown: Shown) -> Logits | None:
    """The logits Z and the number c when the equation is softmax(c Z) over the last axis, element by element."""
    piece = shown.pieces.get(shown.expr) if isinstance(shown.expr, Symbol) else None
    factor, body = piece.body.as_coeff_Mul() if isinstance(piece, Softmax) else (S.One, S.One)
    logits = shown.pieces.get(body) if isinstance(body, Symbol) else None
    if not isinstance(piece, Softmax) or not isinstance(logits, Ref) or logits.node.shape != shown.node.shape:
        return None
    places = [a.plain_index for a, e in zip(logits.at, logits.node.shape, strict=True) if e != 1]
    straight = [i for i in shown.free if shown.extents[i] != 1]
    return (logits.node, factor) if places == straight and straight[-1] == piece.over else None


class _Builder:
    def __init__(self, shown: Shown, goes_in: Callable[[Node], bool], softmaxes: Mapping[Logits, Node]) -> None:
        self.shown, self.goes_in, self.softmaxes = shown, goes_in, softmaxes
        self.known: dict[Piece, Symbol] = {}

    def symbol(self, piece: Piece) -> Symbol:
        if piece not in self.known:
            self.known[piece] = Symbol(f"p{len(self.known)}", real=True)
            self.shown.pieces[self.known[piece]] = piece
        return self.known[piece]

    def expand(self, y: Equation, at: Sequence[Affine]) -> Expr:
        """The value of y at a place of the index space, as an expression."""
        if y.dense:
            return self.symbol(Whole(y, tuple(at)))
        first = len(self.shown.extents)
        bound = tuple(range(first, first + len(y.bound)))
        self.shown.extents += y.bound
        space = [*at, *(constant(0) if e == 1 else index(b) for b, e in zip(bound, y.bound, strict=True))]

        def move(x: Affine) -> Affine:
            return substitute(x, space.__getitem__, self.shown.extents)

        body, softmaxes = _name_softmax(y, [a.plain_index is not None for a in space])

        def filled(expr: Expr) -> Expr:
            used = [(j, op) for j, op in enumerate(y.operands) if placeholder(j) in symbols_of(expr)]
            values = {placeholder(j): self.operand(map_operand(op, move)) for j, op in used}
            return written_out(_put_in(expr, values), self.shown.pieces)

        places = {s: (inner, space[over].plain_index) for s, (inner, over) in softmaxes.items()}
        named = {s: self.softmax(filled(inner), over) for s, (inner, over) in places.items() if over is not None}
        value = filled(body).xreplace(named)
        masks = tuple(map_mask(m, move) for m in y.masks)
        long = tuple(b for b, e in zip(bound, y.bound, strict=True) if e != 1)
        if not long and y.reducer == "sum":
            return sympy.Mul(value, *[self.symbol(Iverson(m)) for m in masks])
        return self.reduce(y.reducer, long or bound, value, masks)

    def softmax(self, body: Expr, place: int) -> Symbol:
        factor, rest = body.as_coeff_Mul()
        logits = self.shown.pieces.get(rest) if isinstance(rest, Symbol) else None
        if isinstance(logits, Ref) and logits.at and logits.at[-1].plain_index == place:
            known = self.softmaxes.get((logits.node, factor))
            if known is not None:
                return self.symbol(Ref(known, logits.at))
        return self.symbol(Softmax(body, place))

    def reduce(self, reducer: str, bound: tuple[int, ...], value: Expr, masks: tuple[Mask, ...]) -> Expr:
        if reducer != "sum":
            return self.symbol(Sum(reducer, bound, value, masks))
        factor, rest = self.shown.constant_factor(value)
        inner = self.shown.pieces.get(rest) if isinstance(rest, Symbol) else None
        if isinstance(inner, Sum) and inner.reducer == "sum":
            return factor * self.symbol(Sum("sum", bound + inner.bound, inner.body, masks + inner.masks))
        return factor * self.symbol(Sum("sum", bound, rest, masks))

    def operand(self, op: Operand) -> Expr:
        if isinstance(op, Indicator):
            if always_true(op.mask, self.shown.extents) or never_true(op.mask, self.shown.extents):
                return sympy.Integer(always_true(op.mask, self.shown.extents))
            return self.symbol(Iverson(op.mask))
        if isinstance(op, Position):
            return self.symbol(Place(op.map))
        assert isinstance(op, Read)
        if isinstance(op.node, Equation) and self.goes_in(op.node):
            self.shown.inlined.append(op.node)
            return self.expand(op.node, op.at)
        return self.symbol(Ref(op.node, op.at))


def _put_in(expr: Expr, values: Mapping[Symbol, Expr]) -> Expr:
    """The expression with values for symbols; the root of what is negative stays one, as it is computed."""
    found = expr.xreplace(values)
    if not is_complex(found):
        return found
    with sympy.evaluate(False):
        return expr.xreplace(values)


# ---------------------------------------------------------------- scalar functions as they are written on paper


def _not(c: Expr) -> Expr:
    return less_equal(c.args[0], 0) if isinstance(c, step) else 1 - c


def _is_condition(c: Expr, pieces: Mapping[Symbol, Piece]) -> bool:
    return isinstance(c, step) or isinstance(pieces.get(c), Iverson)


def written_out(expr: Expr, pieces: Mapping[Symbol, Piece] | None = None) -> Expr:
    """The fused scalar functions in their paper form: bce(z, t) is softplus(z) - t*z."""
    known = pieces or {}

    def branch(c: Expr, a: Expr, b: Expr) -> Expr:
        if not _is_condition(c, known):
            return where(c, a, b)
        if b == 0:
            return c * a
        if a == 0:
            return _not(c) * b
        return c * a + _not(c) * b if a.is_number and b.is_number and isinstance(c, step) else where(c, a, b)

    forms: dict[type, Callable[..., Expr]] = {
        guarded: lambda c, a, b: a if b == 0 else b,
        **{entry.cls: entry.paper for entry in FUNCTIONS.values() if entry.paper},
        where: branch,
    }
    if not expr.has(*forms, sympy.Abs):
        return expr
    for cls, form in forms.items():
        expr = expr.replace(cls, form)
    return canonical(expr)


# ---------------------------------------------------------------- softmax


def _name_softmax(y: Equation, runs: Sequence[bool]) -> tuple[Expr, dict[Symbol, tuple[Expr, int]]]:
    """exp(n*(u - l)), l = logsumexp_b u  ->  the nth power of a symbol for softmax_b u; returns the body and what the
    symbols stand for.

    ``runs`` tells which indices of y run here: a softmax at one place of its axis is written as the exponential.
    """
    found: dict[Symbol, tuple[Expr, int]] = {}
    body = y.body
    for grown in sorted(parts_of_kind(body, sympy.exp), key=sympy.default_sort_key):
        n, exponent = _whole_multiple(grown.args[0])
        match = _softmax_of(y, exponent)
        if match and runs[match[1]]:
            symbol = next((s for s, known in found.items() if known == match), None)
            symbol = symbol or Symbol(f"softmax{len(found)}", real=True)
            found[symbol] = match
            body = body.xreplace({grown: symbol**n})
    return body, found


@lru_cache(maxsize=4096)
def _whole_multiple(exponent: Expr) -> tuple[int, Expr]:
    """(n, v) of n*v, n the largest whole number that divides all terms and is positive."""
    n, rest = sympy.factor_terms(exponent).as_coeff_Mul()
    return (int(n), sympy.expand_mul(rest)) if n.is_Integer and n > 1 else (1, exponent)


def _softmax_of(y: Equation, exponent: Expr) -> tuple[Expr, int] | None:
    for term in sympy.Add.make_args(exponent):
        j = placeholder_index(-term)
        op = y.operands[j] if j is not None else None
        if isinstance(op, Read) and isinstance(op.node, Equation) and op.node.reducer == "logsumexp":
            over = _normalised_index(y, op.node, op.at, exponent - term)
            if over is not None:
                return exponent - term, over
    return None


def _operands_at(y: Equation, space: Sequence[Affine], extents: Sequence[Extent]) -> list[Operand]:
    return [map_operand(op, lambda x: substitute(x, space.__getitem__, extents)) for op in y.operands]


def _normalised_index(y: Equation, total: Equation, at: Sequence[Affine], body: Expr) -> int | None:
    """The index b of y for which ``total`` at a place is the logsumexp of ``body`` over b."""
    if total.masks or len(total.bound) != 1:
        return None
    fixed = set().union(*(indices(a) for a in at)) if at else set()
    for b in range(len(y.extents)):
        if b in fixed or y.extents[b] != total.bound[0]:
            continue
        moved = _operands_at(total, [*at, index(b)], y.extents)
        if not all(op in y.operands for op in moved):
            continue
        same = {placeholder(t): placeholder(y.operands.index(op)) for t, op in enumerate(moved)}
        if total.body.xreplace(same) == body:
            return b
    return None
