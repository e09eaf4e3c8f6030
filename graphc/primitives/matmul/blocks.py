"""Products whose left factor lies transposed, in blocks of their sum: gradients of weights over a batch.

The terms of a tile are rows of both factors, a line of a cache or two of each, which lie far apart: a long sum goes
through more lines than the nearest cache holds, and every tile fetches them again. So all tiles take so many terms as
stay there, and go on where they were: a sum is the same chain of operations, C holds what it has come to.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from llvmlite import ir

from graphc.primitives.matmul.product import Product
from graphc.primitives.matmul.vector_ir import Int, Vectors, vector_unit

TERMS, ROWS = 32, 96
"""Terms of a block, whose lines of B are 32 where they lie a multiple of 1 KiB apart, as many as fit the eight ways of
four sets; rows of a block, of which A's take a third of that cache."""

REGISTERS = 16
"""Vector registers of the processors where this was measured (docs/cost_model.md)."""


def has_blocks(p: Product) -> bool:
    """Whether a product has a sum long enough, over rows of both factors."""
    apart = p.a.rows == 1 and p.a.columns != 1 and p.b.columns == 1
    enough = not isinstance(p.k, int) or p.k >= (TERMS // 2 if p.around else 2 * TERMS)
    return apart and enough and p.fresh is None and vector_unit()[1] == REGISTERS


def in_blocks(v: Vectors, p: Product, emit: Callable[[Product], None]) -> None:
    """Write a product as products of its blocks, which ``emit`` writes."""
    if isinstance(p.m, int) and p.m < 2 * ROWS:
        _sums(v, p, emit)
        return

    def rows(i: Int, _: list[ir.Value]) -> list[ir.Value]:
        a, c = (replace(x, base=v.at(x.base, v.mul(i, x.rows))) for x in (p.a, p.c))
        _sums(v, replace(p, a=a, c=c, m=_part(v, p.m, i, ROWS)), emit)
        return []

    v.loop(p.m, [], rows, step=ROWS)


def _sums(v: Vectors, p: Product, emit: Callable[[Product], None], begun: ir.Value | None = None) -> None:
    """The blocks of the outermost sum, one after another; ``begun`` says whether C holds what came before."""
    counts = [count for count, _, _ in p.around]
    p = replace(p, k=_none_without(v, p.k, counts))
    if p.around:
        (count, down, across), *inner = p.around
        p = replace(p, around=tuple(inner))
        step = 1
    else:
        count, down, across, step = p.k, p.a.columns, p.b.rows, TERMS

    def block(t: Int, _: list[ir.Value]) -> list[ir.Value]:
        a, b = replace(p.a, base=v.at(p.a.base, v.mul(t, down))), replace(p.b, base=v.at(p.b.base, v.mul(t, across)))
        later = v.ir.icmp_signed(">", v.int(t), v.int(0))
        later = later if begun is None else v.ir.or_(later, begun)
        part = replace(p, a=a, b=b)
        if step == 1:
            _sums(v, part, emit, later)
        else:
            emit(replace(part, k=_part(v, p.k, t, step), fresh=v.ir.not_(later)))
        return []

    v.loop(count if isinstance(count, int) else v.most(count, v.int(1)), [], block, step=step)


def _none_without(v: Vectors, k: Int, counts: list[Int]) -> Int:
    """``k``, but 0 where there is no step of a sum around it, since every sum is begun."""
    for count in counts:
        if not isinstance(count, int):
            k = v.ir.select(v.ir.icmp_signed(">", count, v.int(0)), v.int(k), v.int(0))
    return k


def _part(v: Vectors, whole: Int, start: Int, step: int) -> Int:
    """The length of the part that begins at ``start``."""
    if isinstance(whole, int) and whole % step == 0:
        return step
    left = v.add(whole, v.mul(start, -1))
    return min(step, left) if isinstance(left, int) else v.least(v.int(step), left)
