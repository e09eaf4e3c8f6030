"""A derivation with numbers put in: one row of the data, the first element of every other axis."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import sympy
from numpy.typing import ArrayLike
from sympy import Expr

from graphc.emit.reference import evaluate_all
from graphc.errors import DataError, UnknownNameError
from graphc.ir.affine import Affine, Atom, FloorDiv, Gather, Modulo
from graphc.ir.node import Leaf, Mask, Node, extent_symbol
from graphc.ir.walk import leaves
from graphc.show.formulas import ADD, ATOM, MUL, Printer, Text
from graphc.show.names import Names
from graphc.show.outline import Line, Outline
from graphc.show.reading import Iverson, Piece, Place, Ref, Shown, Softmax, Sum, Whole
from graphc.show.styles import Unicode

MOST_TERMS = 4
Values = dict[Node, np.ndarray]


def fill_in(out: Outline, arrays: Mapping[str, ArrayLike], row: int) -> str:
    """Every line as ``name = formula with numbers = value``.

    Raises
    ------
    UnknownNameError
        When an input or parameter has no array.
    DataError
        When the row lies outside the data.
    """
    roots = [line.node for line in out.lines]
    feed = {leaf: _array(leaf, arrays) for leaf in leaves(roots) if leaf.kind != "constant"}
    sizes = {e: n for leaf, a in feed.items() for e, n in zip(leaf.shape, a.shape, strict=True) if isinstance(e, str)}
    if sizes and not 0 <= row < min(sizes.values()):
        raise DataError(f"row {row} lies outside the data, which have {min(sizes.values())} rows.")
    values = evaluate_all(roots, feed)
    return "\n".join(_line(out, line, values, sizes, row) for line in out.lines)


def _array(leaf: Leaf, arrays: Mapping[str, ArrayLike]) -> np.ndarray:
    if leaf.name is None or leaf.name not in arrays:
        raise UnknownNameError(f"numbers: there is no array for {leaf!r}; given are {', '.join(arrays) or 'none'}.")
    array = np.asarray(arrays[leaf.name])
    if array.ndim != leaf.rank:
        raise DataError(f"numbers: {leaf!r} has {leaf.rank} axes, its array has the shape {array.shape}.")
    return array


def _line(out: Outline, line: Line, values: Values, sizes: Mapping[str, int], row: int) -> str:
    shown = _with_sizes(line.shown, sizes)
    place = {i: row if isinstance(shown.extents[i], str) else 0 for i in shown.free}
    printer = _Filled(shown, out.names, values, place, sizes)
    where = [str(place[i]) for i in shown.free]
    target = line.target if isinstance(line.target, Leaf) else None
    name = Printer(shown, out.names, Unicode()).place(target or line.node, where)
    name = Unicode().partial(out.names.loss, name) if target else name
    value = values[line.node][tuple(place[i] for i in shown.free)]
    right, shortened = printer.right(), _number(float(value))
    return f"{name} = {right} = {shortened}" if right != shortened else f"{name} = {right}"


def _with_sizes(shown: Shown, sizes: Mapping[str, int]) -> Shown:
    known = {extent_symbol(e): sympy.Integer(n) for e, n in sizes.items()}
    pieces: dict = {}
    for symbol, piece in shown.pieces.items():
        pieces[symbol] = replace(piece, body=piece.body.xreplace(known)) if isinstance(piece, Sum | Softmax) else piece
    return replace(shown, expr=shown.expr.xreplace(known), pieces=pieces)


def _number(value: float) -> str:
    return f"{value:.4g}".replace("-inf", "−∞").replace("inf", "∞")


class _Filled(Printer):
    """Prints numbers where a :class:`Printer` prints reads; sums are written out."""

    def __init__(
        self, shown: Shown, names: Names, values: Values, place: dict[int, int], sizes: Mapping[str, int]
    ) -> None:
        super().__init__(shown, names, Unicode())
        self.values, self.at, self.sizes = values, place, sizes

    def piece(self, piece: Piece) -> Text:
        if isinstance(piece, Sum):
            return self.written_sum(piece)
        value = self.value(piece)
        return _number(value), ADD if value < 0 else ATOM

    def added(self, term: Expr) -> str:
        return self.text(term)[0] if isinstance(self.shown.pieces.get(term), Sum) else super().added(term)

    def is_reduction(self, expr: Expr) -> bool:
        return False  # what was a sum is a parenthesis now

    def value(self, piece: Piece) -> float:
        if isinstance(piece, Ref | Whole):
            return float(self.values[piece.node][tuple(self.map(a) for a in piece.at)])
        if isinstance(piece, Iverson):
            return float(self.holds(piece.mask))
        if isinstance(piece, Place):
            return float(self.map(piece.map))
        assert isinstance(piece, Softmax)
        return self.softmax_value(piece)

    def softmax_value(self, piece: Softmax) -> float:
        kept = dict(self.at)
        powers = []
        for i in range(self.length(piece.over)):
            self.at[piece.over] = i
            powers.append(self.evaluate(piece.body))
        self.at = kept
        powers = np.exp(np.array(powers) - np.max(powers))
        return float(powers[kept[piece.over]] / powers.sum())

    def evaluate(self, body: Expr) -> float:
        symbols = [s for s in body.free_symbols if s in self.shown.pieces]
        return float(body.xreplace({s: sympy.Float(self.value(self.shown.pieces[s])) for s in symbols}))

    def written_sum(self, piece: Sum) -> Text:
        places = itertools.product(*(range(self.length(b)) for b in piece.bound))
        kept, terms = dict(self.at), []
        for place in places:
            self.at.update(zip(piece.bound, place, strict=True))
            if all(self.holds(m) for m in piece.masks):
                terms.append(self.grouped(piece.body, MUL) if piece.reducer == "sum" else self.text(piece.body)[0])
            if len(terms) > MOST_TERMS:
                break
        self.at = kept
        if len(terms) > MOST_TERMS:
            terms[MOST_TERMS - 1 :] = ["…"]
        if piece.reducer == "sum":
            return " + ".join(terms) or "0", ADD if len(terms) > 1 else MUL
        return f"{piece.reducer}({', '.join(terms)})", ATOM

    def length(self, i: int) -> int:
        extent = self.shown.extents[i]
        return self.sizes[extent] if isinstance(extent, str) else extent

    def map(self, x: Affine) -> int:
        return x.const + sum(coef * self.atom_value(a) for a, coef in x.terms)

    def atom_value(self, atom: Atom) -> int:
        if isinstance(atom, int):
            return self.at[atom]
        if isinstance(atom, FloorDiv):
            return self.map(atom.inner) // atom.divisor
        if isinstance(atom, Modulo):
            return self.map(atom.inner) % atom.divisor
        if isinstance(atom, Gather):
            return int(self.values[atom.node][tuple(self.map(a) for a in atom.at)])
        return self.sizes[atom.name]

    def holds(self, mask: Mask) -> bool:
        x = self.map(mask.map)
        return {"ge": x >= 0, "eq": x == 0, "ne": x != 0, "divides": x % (mask.modulus or 1) == 0}[mask.kind]
