"""Keys that no query of a block sees: behind a causal mask, whatever is computed of them counts for nothing.

    E[q, k] = exp([q + c >= k] S[q, k] else -∞);   O[q, v] = Σ_k E[q, k]·V[k, v];   δV[k, v] = Σ_q E[q, k]·δO[q, v]

For the queries before ``stop``, E is 0 at the keys from stop + c on, so that every sum over keys may end there, and δV
of these keys gets nothing.  Whether this holds is asked of the equations: with the mask decided, each large array is 0,
-∞ or unknown there; a sum must add 0, a maximum compare with what it is at least: -∞, or 0 where it asks whether a
query sees anything.  One that sees nothing has a score at its first key (:mod:`graphc.declare.empty_rows`), which is no
unseen one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import sympy
from sympy import Expr

from graphc.ir.functions.choices import where
from graphc.ir.node import Equation, Indicator, Leaf, Mask, Node, Operand, Read
from graphc.ir.scalar import placeholder, placeholder_index
from graphc.lower.cuts import accesses_of, factors_of, writes_of
from graphc.lower.exponentials import share_of
from graphc.lower.kernels import Inside, Nest
from graphc.lower.layout import Buffer

NEUTRAL = {"sum": sympy.S.Zero, "max": -sympy.oo, "logsumexp": -sympy.oo}
Values = dict[int, "Expr | None"]  # of a large array, by the id of its buffer: what it is at an unseen key


def without_unseen(
    inside: Sequence[Inside], large: Sequence[Buffer], buffers: Mapping[Node, Buffer]
) -> tuple[int, list[Inside]] | None:
    """How far keys go beyond the last query of a block, and the kernels with their index of the keys; None where every
    key counts. ``large`` are the arrays of queries and keys, which these kernels alone touch."""
    ids = {id(b) for b in large}
    keyed = [_keyed(x, ids, buffers) for x in inside]
    found = [x for x in keyed if x is not None]
    if len(found) < len(inside):
        return None
    shifts = {m.map.const for x in found for m in _masks(x) if _is_causal(m, x)}
    for shift in sorted(c for c in shifts if c >= 0):
        values: Values = {}
        if all(_counts_for_nothing(x, shift, values, ids, buffers) for x in found):
            return shift, found
    return None


def _keyed(x: Inside, large: set[int], buffers: Mapping[Node, Buffer]) -> Inside | None:
    """A kernel with its index of the keys: the one along the axis of a large array that no loop around moves along."""
    keys = {a.plain_index for b, at, _ in accesses_of(x.kernel, buffers) if id(b) in large
            for a, e in zip(at, b.extents, strict=True) if e != 1 and a.plain_index not in x.own}  # fmt: skip
    return replace(x, key=keys.pop()) if len(keys) == 1 and None not in keys else None


def _equation(x: Inside) -> Equation:
    return x.kernel.equation if isinstance(x.kernel, Nest) else x.kernel.node


def _masks(x: Inside) -> Iterator[Mask]:
    yield from _equation(x).masks
    yield from (op.mask for op in _equation(x).operands if isinstance(op, Indicator))


def _is_causal(mask: Mask, x: Inside) -> bool:
    """Whether it says that a key is at most so many behind its query."""
    return mask.kind == "ge" and dict(mask.map.terms) == {x.last: 1, x.key: -1}


def _is_first(mask: Mask, x: Inside) -> bool:
    """Whether it says that a key is the first, which every query of a causal mask sees."""
    return mask.kind == "eq" and not mask.map.const and dict(mask.map.terms) in ({x.key: 1}, {x.key: -1})


def _counts_for_nothing(
    x: Inside, shift: int, values: Values, large: set[int], buffers: Mapping[Node, Buffer]
) -> bool:
    """Whether a kernel needs no unseen key; notes what it leaves there in the large arrays that it writes."""
    y = _equation(x)
    fails = lambda mask: (_is_causal(mask, x) and mask.map.const <= shift) or _is_first(mask, x)
    if isinstance(x.kernel, Nest):
        masked = any(map(fails, y.masks))
        known = {placeholder(j): _operand(op, fails, values, buffers) for j, op in enumerate(y.operands)}
        value = NEUTRAL.get(y.reducer) if masked else _unseen(y.body, known)
    else:
        factors = [values.get(id(buffers[r.node])) for r in factors_of(x.kernel) or () if r.node in buffers]
        value = sympy.S.Zero if sympy.S.Zero in factors else None
    summed = x.key >= y.n_free
    if summed and not _adds_nothing(y, value):
        return False
    for b, _ in writes_of(x.kernel):
        exponentials = isinstance(x.kernel, Nest) and x.kernel.terms is not None and b is x.kernel.terms.out
        if id(b) in large:
            values[id(b)] = sympy.S.Zero if exponentials else value
        elif not summed and not (x.cut is not None and x.last == x.cut.term and value == 0):
            return False
    return True


def _adds_nothing(y: Equation, value: Expr | None) -> bool:
    """Whether a sum is the same without a term of some value; a maximum is, where no term is less than this."""
    if y.reducer == "max" and value is not None:
        return bool(value <= _least(y, y.body))
    return value is not None and value == NEUTRAL.get(y.reducer)


def _least(y: Equation, e: Expr) -> Expr:
    """What a part of a body is at least, as far as numbers that are chosen from say."""
    if e.is_Number:
        return e
    if isinstance(e, where):
        return min(_least(y, chosen) for chosen in e.args[1:])
    op = y.operands[j] if (j := placeholder_index(e)) is not None else None
    chosen = op.node if isinstance(op, Read) else None
    if isinstance(chosen, Equation) and chosen.elementwise and not chosen.masks:
        return _least(chosen, chosen.body)
    return -sympy.oo


def _operand(op: Operand, fails, values: Values, buffers: Mapping[Node, Buffer]) -> Expr | None:
    """What an operand is at an unseen key, as far as that is known."""
    if isinstance(op, Indicator):
        return sympy.S.Zero if fails(op.mask) else None
    if not isinstance(op, Read):
        return None
    if isinstance(op.node, Leaf):
        number = op.node.value if op.node.kind == "constant" and not op.node.shape else None
        return None if number is None else sympy.sympify(float(number))
    return values.get(id(buffers[op.node]))


def _unseen(e: Expr, known: Mapping[Expr, Expr | None]) -> Expr | None:
    """0 or -∞ where a formula is that, with some of its numbers known; other numbers are finite."""
    if e in known:
        return known[e]
    if e.is_Number:
        return e
    parts = [_unseen(a, known) for a in e.args]
    if isinstance(e, where):
        chosen = parts[1:] if parts[0] is None else [parts[2] if parts[0] == 0 else parts[1]]
        return chosen[0] if len({*chosen}) == 1 else None
    if isinstance(e, sympy.exp):
        return sympy.S.Zero if parts[0] == -sympy.oo else None
    if isinstance(e, share_of):
        return sympy.S.Zero if parts[0] == 0 else None
    if e.is_Mul and sympy.S.Zero in parts:
        return sympy.S.Zero
    if e.is_Mul and -sympy.oo in parts:
        return -sympy.oo if all(p == -sympy.oo or (p is not None and p > 0) for p in parts) else None
    if e.is_Add and -sympy.oo in parts:
        return -sympy.oo
    if e.is_Add or (e.is_Pow and e.exp.is_positive):
        return sympy.S.Zero if all(p == 0 for p in parts[: 1 if e.is_Pow else None]) else None
    return None
