"""Index arithmetic in 32-bit unsigned numbers, every operation wrapped.

``uint32 + uint32`` is 64 bits wide in Numba, and 64-bit address arithmetic made a one-line kernel 30 times longer
(1240 instructions against 40).  Differences wrap around and come back when something is added; quotients, remainders
and comparisons are printed so that both sides are at least 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from graphc.ir.affine import Affine, Atom, Extent, FloorDiv, Gather, Modulo, lower_bound
from graphc.ir.node import Mask

Term = int | str
FAR = 1 << 20  # more than any index with a free extent lies below 0, in multiples of a stride


def u(x: Term) -> str:
    """The text of a number or of what is already text."""
    return f"U({x})" if isinstance(x, int) else x


def plus(a: Term, b: Term) -> Term:
    """a + b."""
    if isinstance(a, int) and isinstance(b, int):
        return a + b
    if a == 0 or b == 0:
        return b if a == 0 else a
    return f"U({u(a)} + {u(b)})"


def minus(a: Term, b: Term) -> Term:
    """a - b."""
    if isinstance(a, int) and isinstance(b, int) and a >= b:
        return a - b
    return a if b == 0 else f"U({u(a)} - {u(b)})"


def times(a: Term, b: Term) -> Term:
    """a * b."""
    if isinstance(a, int) and isinstance(b, int):
        return a * b
    if a == 0 or b == 0:
        return 0
    if a == 1 or b == 1:
        return b if a == 1 else a
    return f"U({u(a)}*{u(b)})"


def quotient(a: Term, b: int) -> Term:
    """a // b for a of at least 0."""
    if isinstance(a, int):
        return a // b
    return a if b == 1 else f"U({a} // U({b}))"


def remainder(a: Term, b: int) -> Term:
    """a % b for a of at least 0."""
    if isinstance(a, int):
        return a % b
    return 0 if b == 1 else f"U({a} % U({b}))"


class Maps:
    """Texts of index maps; ``names`` are the texts of the indices, ``size`` that of the free extent.

    ``gathered`` gives the text of a whole number read from data.
    """

    def __init__(
        self, names: Sequence[Term], extents: Sequence[Extent], size: str, gathered: Callable[[Gather], str]
    ) -> None:
        self.names, self.extents, self.size, self.gathered = names, extents, size, gathered

    def text(self, x: Affine) -> Term:
        """The value of a map that is at least 0 where it is used."""
        above, below = self._sides(x)
        return minus(above, below)

    def condition(self, mask: Mask) -> str:
        """A predicate, without a negative number on either side."""
        if mask.kind == "divides":
            return f"{u(remainder(self._lifted(mask.map, mask.modulus)[0], mask.modulus))} == U(0)"
        above, below = self._sides(mask.map)
        return f"{u(above)} {({'ge': '>=', 'eq': '==', 'ne': '!='})[mask.kind]} {u(below)}"

    def _sides(self, x: Affine) -> tuple[Term, Term]:
        """(terms that count up, terms that count down)."""
        above: Term = max(x.const, 0)
        below: Term = max(-x.const, 0)
        for atom, coef in x.terms:
            term = times(self._atom(atom), abs(coef))
            if coef > 0:
                above = plus(above, term)
            else:
                below = plus(below, term)
        return above, below

    def _lifted(self, x: Affine, divisor: int) -> tuple[Term, int]:
        """x + divisor*lift, which is at least 0, and lift."""
        low = lower_bound(x, self.extents)
        lift = 0 if low >= 0 else FAR if math.isinf(low) else -int(low // divisor)
        return self.text(x + divisor * lift), lift

    def _atom(self, atom: Atom) -> Term:
        if isinstance(atom, int):
            return self.names[atom]
        if isinstance(atom, FloorDiv):
            inside, lift = self._lifted(atom.inner, atom.divisor)
            return minus(quotient(inside, atom.divisor), lift)
        if isinstance(atom, Modulo):
            return remainder(self._lifted(atom.inner, atom.divisor)[0], atom.divisor)
        if isinstance(atom, Gather):
            return f"U({self.gathered(atom)})"
        return self.size
