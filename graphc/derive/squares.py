"""A loss read as a sum of squares: J = Σ_t c_t Σ r_t², each r_t an equation, each c_t a formula of n and of inputs
without axes, such as the factor of a penalty."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import sympy
from sympy import Expr

from graphc.ir.affine import Extent, index, substitute
from graphc.ir.build import equation
from graphc.ir.contract import map_operand
from graphc.ir.node import Equation, Leaf, Node, Read, extent_symbols
from graphc.ir.parts import symbols_of
from graphc.ir.scalar import placeholder_index
from graphc.records import record


class NoSquaresError(Exception):
    """The loss is no sum of squares; ``node`` is the part that is none."""

    def __init__(self, node: Node) -> None:
        super().__init__(f"{node!r} is no sum of squares")
        self.node = node


@record(frozen=True)
class Squares:
    """c Σ r²; ``rows`` is the free extent that is the first of r, if it has one. In c inputs are positive symbols of
    their names."""

    weight: Expr
    residual: Node
    rows: str | None


def sum_of_squares(loss: Node) -> list[Squares]:
    """The terms of a scalar in normal form.

    Raises
    ------
    NoSquaresError
        Where a part is no square, or has a negative factor.
    """
    return [*_terms(loss, sympy.S.One)]


def _terms(y: Node, weight: Expr) -> Iterator[Squares]:
    if not isinstance(y, Equation) or y.reducer != "sum" or y.masks:
        raise NoSquaresError(y)
    parts = [*sympy.Add.make_args(y.body)]
    for part in parts:
        given, own = _given(y, part)
        factor, rest = own.as_independent(*_placeholders(own), as_Add=False)
        read = placeholder_index(rest)
        inner = y.operands[read] if read is not None else None
        if isinstance(inner, Read) and y.elementwise and inner.node.rank == 0:
            yield from _terms(inner.node, weight * given * factor)
            continue
        try:
            yield _square(y, own, weight * given)
        except NoSquaresError:
            if len(parts) == 1:
                raise
            yield _square(y, sympy.factor(y.body), weight)  # (a - b)² written out
            return


def _given(y: Equation, part: Expr) -> tuple[Expr, Expr]:
    """The factors of a part that are formulas of inputs without axes, by these inputs' names; and the others."""
    names = {s: _input(y, s) for s in _placeholders(part)}
    factors = [*sympy.Mul.make_args(part)]
    given = [f for f in factors if _placeholders(f) and all(names[s] for s in _placeholders(f))]
    if len(given) == len(factors):
        return sympy.S.One, part
    symbols = {s: sympy.Symbol(name, positive=True) for s, name in names.items() if name}
    return sympy.Mul(*given).xreplace(symbols), sympy.Mul(*(f for f in factors if f not in given))


def _input(y: Equation, placeholder: sympy.Basic) -> str | None:
    """The name of the input without axes that a placeholder stands for."""
    read = y.operands[int(placeholder_index(placeholder) or 0)]
    leaf = read.node if isinstance(read, Read) else None
    return str(leaf.name) if isinstance(leaf, Leaf) and leaf.kind == "input" and leaf.shape == () else None


def _placeholders(body: Expr) -> list[sympy.Basic]:
    return [s for s in symbols_of(body) if placeholder_index(s) is not None]


def _square(y: Equation, term: Expr, weight: Expr) -> Squares:
    """c Π b^(2k)  ->  c, Π b^k."""
    root = sympy.S.One
    for factor in sympy.Mul.make_args(term):
        if not _placeholders(factor):
            weight = weight * factor
            continue
        base, power = factor.as_base_exp()
        if not (power.is_Integer and power.is_even):
            raise NoSquaresError(y)
        root = root * base ** (power // 2)
    if not weight.is_positive:
        raise NoSquaresError(y)
    return _with_rows_first(y, root, weight)


def _with_rows_first(y: Equation, body: Expr, weight: Expr) -> Squares:
    free = [e for e in y.extents if isinstance(e, str)]
    order = sorted(range(len(y.extents)), key=lambda t: not isinstance(y.extents[t], str))
    extents: tuple[Extent, ...] = tuple(y.extents[t] for t in order)
    move = lambda a: substitute(a, lambda i: index(order.index(i)))
    residual = equation(extents, len(extents), "sum", body, [map_operand(op, move) for op in y.operands], [])
    return Squares(weight, residual, free[0] if len(free) == 1 else None)


def value_of(weight: Expr, sizes: Mapping[str, int], inputs: Mapping[str, float]) -> float:
    """The number that a factor is for given free extents and inputs without axes."""
    missing = extent_symbols(weight) - set(sizes)
    assert not missing, missing
    symbols = [s for s in weight.free_symbols if isinstance(s, sympy.Symbol)]
    return float(weight.subs({s: sizes[s.name] if s.is_integer else inputs[s.name] for s in symbols}))
