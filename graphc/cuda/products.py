"""Matrix products that are left to a library: in numbers, and as the column-major call that computes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from graphc.errors import DomainError
from graphc.lower.kernels import Product, View
from graphc.records import record

Precision = Literal["float32", "tf32", "bf16", "float64"]


@record(frozen=True)
class MatrixProduct:
    """c[m, n] = scale * sum_k a[m, k]*b[k, n] + bias[n] + beta*c[m, n].

    Attributes
    ----------
    m, n, k : int
        Extents.
    a, b, c : (int, int)
        Strides of each matrix in elements: from row to row, from column to column.
    precision : str
        How a factor is rounded before it is multiplied; ``"float64"`` for double precision throughout, else all
        operands are float32. ``"tf32"`` keeps 11 bits of a factor, ``"bf16"`` 8.
    bias : bool
        Whether there is one.
    """

    m: int
    n: int
    k: int
    a: tuple[int, int]
    b: tuple[int, int]
    c: tuple[int, int]
    precision: Precision = "float32"
    scale: float = 1.0
    beta: float = 0.0
    bias: bool = False

    @property
    def dtype(self) -> str:
        """Type of every element in memory."""
        return "float64" if self.precision == "float64" else "float32"


@record(frozen=True)
class ColumnMajor:
    """C[m, n] = op(A) op(B) as a BLAS with column-major matrices takes it.

    ``swapped`` says that A is the right factor of the product, B the left one: a row-major C is the transposed one.
    ``stored_a`` and so on are rows, columns and leading dimension of the matrices as they lie in memory.
    """

    m: int
    n: int
    k: int
    transpose_a: bool
    transpose_b: bool
    stored_a: tuple[int, int, int]
    stored_b: tuple[int, int, int]
    stored_c: tuple[int, int, int]
    swapped: bool


def column_major(product: MatrixProduct) -> ColumnMajor:
    """The call that computes a product: C[m, n] row-major is Cᵀ[n, m] = BᵀAᵀ column-major.

    Raises
    ------
    DomainError
        When neither stride of a matrix is 1, which no BLAS takes, or a bias would run along a column-major result.
    """
    m, n, k = product.m, product.n, product.k
    told_a, told_b = f"a with the strides {product.a}", f"b with the strides {product.b}"
    columns_first = _leading(n, m, _turned(product.c))
    if columns_first is not None:
        a, b = _stored(n, k, _turned(product.b), told_b), _stored(k, m, _turned(product.a), told_a)
        return ColumnMajor(n, m, k, a[0], b[0], a[1], b[1], (n, m, columns_first), swapped=True)
    rows_first = _leading(m, n, product.c)
    if rows_first is None or product.bias:
        raise DomainError(f"a library cannot write a matrix of {m} rows, {n} columns with the strides {product.c}")
    a, b = _stored(m, k, product.a, told_a), _stored(k, n, product.b, told_b)
    return ColumnMajor(m, n, k, a[0], b[0], a[1], b[1], (m, n, rows_first), swapped=False)


def _turned(strides: tuple[int, int]) -> tuple[int, int]:
    """The strides of the transposed matrix."""
    return strides[1], strides[0]


def _leading(rows: int, columns: int, strides: tuple[int, int]) -> int | None:
    """The leading dimension of a column-major matrix, None for others. The stride of a single row or column is free."""
    row, column = strides
    if rows > 1 and row != 1:
        return None
    if columns == 1:
        return rows
    return column if column >= rows else None


def _stored(rows: int, columns: int, strides: tuple[int, int], told: str) -> tuple[bool, tuple[int, int, int]]:
    """Whether a factor lies transposed in memory, and rows, columns and leading dimension of what lies there."""
    plain = _leading(rows, columns, strides)
    if plain is not None:
        return False, (rows, columns, plain)
    turned = _leading(columns, rows, _turned(strides))
    if turned is None:
        raise DomainError(f"a library cannot read {told}: one of them must be 1")
    return True, (columns, rows, turned)


def in_numbers(product: Product, capacity: Mapping[str, int], precision: Precision) -> MatrixProduct:
    """A product of a plan, for given sizes of its free extents. Its scale must be a number."""
    m, n, k = (e if isinstance(e, int) else capacity[e] for e in (product.m, product.n, product.k))
    a, b, c = (_strides(view, capacity) for view in (product.a, product.b, product.c))
    return MatrixProduct(m, n, k, a, b, c, precision, scale=float(product.scale), bias=product.bias is not None)


def _strides(view: View, capacity: Mapping[str, int]) -> tuple[int, int]:
    return view.row.at(capacity), view.column.at(capacity)
