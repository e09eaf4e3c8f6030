"""Matrix products by NVIDIA's library, called through ctypes (cublasLt; its C header is the source of all numbers).

Not captured is the choice of an algorithm: it is made on the CPU when a product is first seen, and then stays.
"""

from __future__ import annotations

import ctypes
from ctypes import c_float, c_int32, c_int64, c_size_t, c_uint32, c_uint64, c_void_p
from dataclasses import field
from typing import Any

from graphc.cuda.arrays import DeviceArray
from graphc.cuda.products import ColumnMajor, MatrixProduct, column_major
from graphc.errors import DeviceError
from graphc.records import record

WORKSPACE = 32 * 2**20  # bytes: what cuBLAS itself takes on Hopper

COMPUTE = {"float32": 68, "tf32": 77, "bf16": 75, "float64": 70}  # cublasComputeType_t
ELEMENT = {"float32": 0, "float64": 1}  # cudaDataType_t
TRANSPOSE_A, TRANSPOSE_B, EPILOGUE, BIAS_POINTER = 3, 4, 7, 8  # cublasLtMatmulDescAttributes_t
WORKSPACE_BYTES, ALIGNMENT = 1, (5, 6, 7, 8)  # cublasLtMatmulPreferenceAttributes_t: of A, B, C, D
EPILOGUE_BIAS = 4  # cublasLtEpilogue_t: bias[row] for every row of the column-major result


class Heuristic(ctypes.Structure):
    """cublasLtMatmulHeuristicResult_t: an algorithm, the workspace it wants, its verdict."""

    _fields_ = (
        ("algorithm", c_uint64 * 8),
        ("workspace", c_size_t),
        ("state", c_int32),
        ("waves", c_float),
        ("reserved", c_int32 * 4),
    )


@record
class Planned:
    """A product with its descriptors and its algorithm."""

    call: ColumnMajor
    description: c_void_p
    layouts: tuple[c_void_p, c_void_p, c_void_p]
    alpha: Any
    beta: Any
    heuristic: Heuristic = field(default_factory=Heuristic)


class Library:
    """cublasLt on one stream.

    Parameters
    ----------
    path
        Where the shared library lies.
    workspace
        Memory that it may use during a product.
    stream
        The stream on which it works.
    """

    def __init__(self, path: str, workspace: DeviceArray, stream: int) -> None:
        self._library = ctypes.CDLL(path)
        self._workspace = workspace
        self._stream = stream
        self._handle = c_void_p()
        self._planned: dict[tuple, Planned] = {}
        self._do("cublasLtCreate", ctypes.byref(self._handle))

    def multiply(self, product: MatrixProduct, a: int, b: int, c: int, bias: int = 0) -> None:
        """Ask for a product of the matrices at these addresses; may be recorded in a graph.

        Raises
        ------
        DeviceError
            When the library refuses.
        """
        key = product, *map(alignment, (a, b, c, bias))
        planned = self._planned.get(key)
        if planned is None:
            planned = self._planned[key] = self._plan(product, a, b, c, bias)
        if product.bias:
            self._set("cublasLtMatmulDesc", planned.description, BIAS_POINTER, c_void_p(bias))
        first, second = (b, a) if planned.call.swapped else (a, b)
        lay_a, lay_b, lay_c = planned.layouts
        self._do(
            "cublasLtMatmul",
            *(self._handle, planned.description, ctypes.byref(planned.alpha)),
            *(c_void_p(first), lay_a, c_void_p(second), lay_b, ctypes.byref(planned.beta)),
            *(c_void_p(c), lay_c, c_void_p(c), lay_c, ctypes.byref(planned.heuristic)),
            *(c_void_p(self._workspace.address), c_size_t(self._workspace.nbytes), c_void_p(self._stream)),
        )

    def _plan(self, product: MatrixProduct, a: int, b: int, c: int, bias: int) -> Planned:
        call, kind = column_major(product), ELEMENT[product.dtype]
        number = ctypes.c_double if product.dtype == "float64" else c_float
        stored = (call.stored_a, call.stored_b, call.stored_c)
        lay_a, lay_b, lay_c = (self._layout(kind, *extents) for extents in stored)
        description = self._description(product, call, kind, bias)
        planned = Planned(call, description, (lay_a, lay_b, lay_c), number(product.scale), number(product.beta))
        first, second = (b, a) if call.swapped else (a, b)
        self._choose(planned, (first, second, c, c))
        return planned

    def _description(self, product: MatrixProduct, call: ColumnMajor, kind: int, bias: int) -> c_void_p:
        made = self._create("cublasLtMatmulDesc", COMPUTE[product.precision], kind)
        self._set("cublasLtMatmulDesc", made, TRANSPOSE_A, c_int32(call.transpose_a))
        self._set("cublasLtMatmulDesc", made, TRANSPOSE_B, c_int32(call.transpose_b))
        if product.bias:
            self._set("cublasLtMatmulDesc", made, EPILOGUE, c_uint32(EPILOGUE_BIAS))
            self._set("cublasLtMatmulDesc", made, BIAS_POINTER, c_void_p(bias))
        return made

    def _layout(self, kind: int, rows: int, columns: int, leading: int) -> c_void_p:
        return self._create("cublasLtMatrixLayout", kind, c_uint64(rows), c_uint64(columns), c_int64(leading))

    def _choose(self, planned: Planned, addresses: tuple[int, int, int, int]) -> None:
        """The algorithm that the library holds best for these extents and alignments."""
        wish = self._create("cublasLtMatmulPreference")
        self._set("cublasLtMatmulPreference", wish, WORKSPACE_BYTES, c_uint64(self._workspace.nbytes))
        for attribute, address in zip(ALIGNMENT, addresses):
            self._set("cublasLtMatmulPreference", wish, attribute, c_uint32(alignment(address)))
        lay_a, lay_b, lay_c = planned.layouts
        found = c_int32()
        self._do(
            "cublasLtMatmulAlgoGetHeuristic",
            *(self._handle, planned.description, lay_a, lay_b, lay_c, lay_c, wish),
            *(c_int32(1), ctypes.byref(planned.heuristic), ctypes.byref(found)),
        )
        self._do("cublasLtMatmulPreferenceDestroy", wish)
        if not found.value:
            raise DeviceError(f"cublasLt knows no way to compute {planned.call}")

    def _create(self, what: str, *arguments: Any) -> c_void_p:
        made = c_void_p()
        self._do(f"{what}Create", ctypes.byref(made), *arguments)
        return made

    def _set(self, what: str, target: c_void_p, attribute: int, value: Any) -> None:
        size = c_size_t(ctypes.sizeof(value))
        self._do(f"{what}SetAttribute", target, c_int32(attribute), ctypes.byref(value), size)

    def _do(self, function: str, *arguments: Any) -> None:
        status = self._library[function](*arguments)
        if status:
            raise DeviceError(f"the GPU refused a matrix product: {function} returned status {status}")


def alignment(address: int) -> int:
    """The largest power of two up to 256 that divides an address."""
    return min(256, address & -address) if address else 256
