"""Convolutions as ``K * X + b``: which printed equations are one, whose index form is a sum over places of a window."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import sympy
from sympy import Expr, Symbol

from graphc.ir.affine import Affine, constant, index, size
from graphc.ir.node import Mask
from graphc.show.reading import Ref, Shown, Sum

Convolution = tuple[Ref, Ref, Ref | None]  # the kernel, what it runs over, and the bias


def convolution_of(shown: Shown) -> Convolution | None:
    """The reads of sum_{c, k..} X[.., c, i + k - before..] K[k.., c, o] + b[o], zeros standing around X; else None.

    A stride, a dilation or groups have no sign of their own, and such sums stay as they are.
    """
    terms = [shown.pieces.get(t) if isinstance(t, Symbol) else None for t in sympy.Add.make_args(shown.expr)]
    sums = [t for t in terms if isinstance(t, Sum) and t.reducer == "sum"]
    biases = [t for t in terms if isinstance(t, Ref)]
    if len(sums) != 1 or len(biases) > 1 or len(terms) != 1 + len(biases):
        return None
    found = _pair(shown, sums[0])
    if found is None:
        return None
    kernel, x = found
    out = kernel.at[-1].plain_index
    fits = all(b.node.rank == 1 and b.at[0].plain_index == out for b in biases)
    return (kernel, x, biases[0] if biases else None) if fits else None


def _pair(shown: Shown, total: Sum) -> tuple[Ref, Ref] | None:
    factors: Sequence[Expr] = sympy.Mul.make_args(total.body)
    reads = [shown.pieces.get(f) if isinstance(f, Symbol) else None for f in factors]
    if len(reads) != 2 or not all(isinstance(r, Ref) for r in reads):
        return None
    pairs = [(k, x) for k, x in (reads, reads[::-1]) if isinstance(k, Ref) and isinstance(x, Ref)]
    return next((pair for pair in pairs if _convolves(shown, total, *pair)), None)


def _convolves(shown: Shown, total: Sum, kernel: Ref, x: Ref) -> bool:
    """Whether every place of x is one of the result plus one of the kernel, channels being summed over."""
    n = kernel.node.rank - 2
    if n < 1:
        return False
    taps = {a.plain_index for a in kernel.at[:n]}
    channel, out = (a.plain_index for a in kernel.at[n:])
    places, within = [], []
    for a, extent in zip(x.at, x.node.shape, strict=True):
        if channel is not None and a.plain_index == channel:
            places.append(out)
        elif extent != 1 or a != constant(0):
            own = [i for i, _ in a.terms if isinstance(i, int) and i in taps]
            places.append((a - sum(map(index, own), constant(a.const))).plain_index)
            within += [a, size(extent) - 1 - a] if own else []
    summed = taps | {channel} - {None} == {*total.bound} and len(within) == 2 * n
    return summed and _same_axes(places, shown, out, channel) and _only(total.masks, within)


def _same_axes(places: Sequence[int | None], shown: Shown, out: int | None, channel: int | None) -> bool:
    """Whether the result has the axes of x in their order, with its channels in place of those of x."""
    free = [i for i in shown.free if shown.extents[i] != 1]
    if channel is None:  # one channel has no axis among those that count
        free, known = [i for i in free if i != out], out in free
        return known and [*places] == free
    return out is not None and [*places] == free


def _only(masks: Collection[Mask], places: Collection[Affine]) -> bool:
    """Whether masks say nothing but that places are within x."""
    return all(m.kind == "ge" and m.map in places for m in masks)
