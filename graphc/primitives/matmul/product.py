"""What a product of matrices is, to the code that writes it, and a panel of its columns."""

from __future__ import annotations

from llvmlite import ir

from graphc.primitives.matmul.vector_ir import Int, Vectors
from graphc.records import record

SET, ADD, BIAS = 0, 1, 2
"""Modes: C = A B, C += A B, C = A B + bias."""


@record(frozen=True)
class Matrix:
    """Where element (i, j) lies: base[i*rows + j*columns]."""

    base: ir.Value
    rows: Int
    columns: Int

    @property
    def transposed(self) -> Matrix:
        return Matrix(self.base, self.columns, self.rows)


@record(frozen=True)
class Product:
    """One product C[m, n] = start + A[m, k] B[k, n]; the bias of column j lies at bias[j*bias_step].

    The panels of a ``shared`` one are functions that other products of the program call, too. ``around`` are loops of
    the sum around that over k: how many steps, and how far each goes in A and in B. Sums that are not ``fresh`` go on
    from what C holds, whatever the mode.
    """

    a: Matrix
    b: Matrix
    c: Matrix
    m: Int
    n: Int
    k: Int
    bias: ir.Value
    bias_step: int
    mode: int
    shared: bool = False
    around: tuple[tuple[Int, int, int], ...] = ()
    fresh: ir.Value | None = None

    @property
    def reads_c(self) -> bool:
        return self.mode == ADD or self.fresh is not None


@record(frozen=True)
class Panel:
    """Columns ``first + t*width`` for t < count, ``width`` being the sum of ``lanes``, the vectors' lane counts.

    ``active`` lanes of the last vector exist; None stands for all. Vectors of several lines say themselves where they
    lie in B and in C, and how many of their lanes exist.
    """

    first: Int
    count: Int
    lanes: tuple[int, ...]
    active: Int | None = None
    places: tuple[tuple[int, int, int], ...] = ()

    @property
    def width(self) -> int:
        return sum(self.lanes)

    def offsets(self) -> list[int]:
        """The column of each vector, counted from the panel's first."""
        return [sum(self.lanes[:t]) for t in range(len(self.lanes))]

    def masks(self, v: Vectors) -> list[ir.Value | None]:
        """The lanes of each vector that exist, None for all."""
        if self.places:
            return [v.mask(width, some) for width, (_, _, some) in zip(self.lanes, self.places, strict=True)]
        return [None] * (len(self.lanes) - 1) + [v.mask(self.lanes[-1], self.active)]
