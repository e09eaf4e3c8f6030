"""A scalar formula as straight-line arithmetic: machine code of a function that is declared by its formula alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import reduce

import sympy
from llvmlite import ir
from sympy import Expr, S

from graphc.ir.scalar import scalar_of
from graphc.primitives.vector_math.builder import FloatBuilder

_LARGEST = 64  # whole powers up to here are products


class Straight:
    """Emits the value of expressions, each once.

    Parameters
    ----------
    k
        Emits arithmetic.
    functions
        Emitters of the functions an expression may name, and of ``power``.
    known
        The values of symbols; sub-expressions are added.
    """

    def __init__(
        self, k: FloatBuilder, functions: Mapping[str, Callable[..., ir.Value]], known: dict[Expr, ir.Value]
    ) -> None:
        self.k, self.functions, self.known = k, functions, known

    def value(self, e: Expr) -> ir.Value:
        """The value of an expression."""
        if e not in self.known:
            self.known[e] = self._fresh(e)
        return self.known[e]

    def _fresh(self, e: Expr) -> ir.Value:
        if not e.free_symbols and e.is_comparable:
            return self.k.const(float(e))
        if e.is_Add:
            return self._sum(e)
        if e.is_Mul:
            return self._product(e)
        if e.is_Pow and not isinstance(e, sympy.exp):
            return self._power(e)
        entry = scalar_of(e)
        if entry is None:
            raise ValueError(f"{e.func} is no scalar function")
        args = [self.value(a) for a in e.args]
        if entry.name in self.functions:
            return self.functions[entry.name](self.k, *args)
        if entry.name == "stop_gradient" or entry.formula is None:
            return args[0]
        return self.value(entry.formula(*e.args))

    def _sum(self, e: Expr) -> ir.Value:
        """a*b + c with one rounding where a term is a product."""
        plain = [t for t in e.args if not t.is_Mul or t.is_number]
        products = [t for t in e.args if t not in plain]
        start = plain or products[:1]
        total = reduce(self.k.add, [self.value(t) for t in start])
        for t in products if plain else products[1:]:
            first, rest = t.args[0], sympy.Mul(*t.args[1:])
            total = self.k.fma(self.value(first), self.value(rest), total)
        return total

    def _product(self, e: Expr) -> ir.Value:
        above, below = [], []
        for f in e.args:
            inverse = f.is_Pow and f.exp.is_number and f.exp.is_negative
            (below if inverse else above).append(f**-1 if inverse else f)
        if above[:1] == [S.NegativeOne]:
            top = self.k.neg(reduce(self.k.mul, map(self.value, above[1:])) if above[1:] else self.k.const(1.0))
        else:
            top = reduce(self.k.mul, map(self.value, above)) if above else self.k.const(1.0)
        return reduce(self.k.div, map(self.value, below), top)

    def _power(self, e: Expr) -> ir.Value:
        base, exponent = e.as_base_exp()
        if exponent.is_number and exponent.is_negative:
            return self.k.div(1.0, self.value(base**-exponent))
        if exponent is S.Half:
            return self.functions["sqrt"](self.k, self.value(base))
        if exponent.is_Integer and exponent <= _LARGEST:
            return self._whole(self.value(base), int(exponent))
        return self.functions["power"](self.k, self.value(base), self.value(exponent))

    def _whole(self, base: ir.Value, n: int) -> ir.Value:
        if n == 1:
            return base
        half = self._whole(base, n // 2)
        square = self.k.mul(half, half)
        return self.k.mul(square, base) if n % 2 else square
