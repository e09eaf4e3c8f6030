"""What the primitives of generated text read and write, by the places of their arguments: blocks of a memory."""

from __future__ import annotations

from collections.abc import Mapping

from graphc.records import record

ONE = -1  # a distance of one element


@record(frozen=True)
class Block:
    """Elements ``base[offset + i*step + i'*step' ..]``, every count from 0 on; all by the numbers of arguments.

    ``mode`` is an argument and the value that it has where the block is touched; where one of ``needs`` is not
    positive nothing is.
    """

    base: int
    offset: int
    sides: tuple[tuple[int, int], ...] = ()
    writes: bool = False
    needs: tuple[int, ...] = ()
    mode: tuple[int, int] | None = None


_PRODUCT = (
    Block(0, 1, ((2, 11), (3, 13)), needs=(12,)),
    Block(4, 5, ((6, 13), (7, 12)), needs=(11,)),
    Block(8, 9, ((10, 11), (ONE, 12)), writes=True),
    Block(14, 15, ((ONE, 12),), needs=(11,), mode=(16, 2)),
)
_CONTRACTION = (
    Block(0, 1, ((2, 14), (3, 16), (4, 17), (5, 18)), needs=(15,)),
    Block(6, 7, ((8, 16), (9, 17), (10, 18), (ONE, 15)), needs=(14,)),
    Block(11, 12, ((13, 14), (ONE, 15)), writes=True),
)
_DOTS = (
    Block(0, 1, ((2, 14), (3, 16), (4, 17), (ONE, 18)), needs=(15,)),
    Block(5, 6, ((7, 15), (8, 16), (9, 17), (ONE, 18)), needs=(14,)),
    Block(10, 11, ((12, 14), (13, 15)), writes=True),
)
_LINES = (
    Block(0, 1, ((2, 16), (3, 19), (4, 20), (5, 21)), needs=(17, 18)),
    Block(6, 7, ((8, 19), (9, 20), (10, 21), (11, 17), (ONE, 18)), needs=(16,)),
    Block(12, 13, ((14, 16), (15, 17), (ONE, 18)), writes=True),
)
_DRAWN = (Block(0, 1, ((ONE, 3),), writes=True),)

BLOCKS: Mapping[str, tuple[Block, ...]] = {
    "gemm": _PRODUCT,
    "packed_gemm": _PRODUCT,
    "blas_gemm": _PRODUCT,
    "contract": _CONTRACTION,
    "contract_dots": _DOTS,
    "contract_lines": _LINES,
    "copy": (Block(2, 3, ((ONE, 4),)), Block(0, 1, ((ONE, 4),), writes=True)),
    "transpose": (Block(2, 3, ((6, 4), (ONE, 5))), Block(0, 1, ((4, 5), (ONE, 4)), writes=True)),
    "fill": (Block(0, 1, ((ONE, 3),), writes=True),),
    "nonfinite": (Block(0, 1, ((ONE, 2),)),),
    "random_normal": _DRAWN,
    "random_uniform": _DRAWN,
    "random_bernoulli": _DRAWN,
    "atomic_load": (Block(0, 1),),
    "atomic_store": (Block(0, 1, writes=True),),
    "meet": (Block(0, 1, writes=True),),
}
WHOLE = ("int64", "atomic_load", "permuted")  # what gives whole numbers
