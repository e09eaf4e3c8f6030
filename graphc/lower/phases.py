"""Phases and shares: which kernels may run side by side in several threads, and how each is divided.

Threads run the same program; every kernel gives each thread a part:

rows   row i of the result needs row i of everything that has rows: a thread keeps its rows from the batch to the
       adjoints, without waiting for anybody; of several free extents it keeps rows of each
split  a part of the rows (or columns) of the result, which reads all rows of the batch: gradients of parameters
one    too small to divide: one thread computes it

A kernel that reads what other threads computed belongs to the next phase; between two phases all threads meet.  Every
element is computed by the same instructions in the same order for any number of threads, so the bits are the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from graphc.ir.affine import Extent, gathers
from graphc.ir.node import Equation, Node, Read, operand_maps
from graphc.lower.kernels import (
    Contraction,
    Kernel,
    Nest,
    Pack,
    Product,
    Share,
    Steps,
    equations_of,
    results_of,
    sources_of,
    work_of,
)  # fmt: skip
from graphc.lower.layout import Buffer, root_of

ROWS_AT_ONCE = 48  # rows that go through the kernels of a phase together; whole blocks of rows of all tiles
SMALL = 1 << 14  # operations below which a kernel is not worth dividing
SMALL_COPY = 1 << 12  # elements below which a transposed copy is not


def assign_phases(
    kernels: Sequence[Kernel],
    buffers: Mapping[Node, Buffer],
    given: Sequence[Buffer],
    batches: Sequence[str],
    capacity: Mapping[str, int],
) -> list[Kernel]:
    """Give every kernel its share and phase; returns them in the order of phases.

    ``given`` are the buffers of the batch, which every thread fills for its own rows at the start of phase 0.
    """
    made: dict[int, tuple[int, Share, Extent]] = {id(b): (0, "rows", b.extents[0]) for b in given}
    owner = 0
    for kernel in kernels:
        kernel.share = _share(kernel, batches, capacity)
        for source in sources_of(kernel):
            phase, share, extent = made.get(id(root_of(buffers[source])), (-1, "one", 1))
            local = kernel.share == share == "rows" and extent == rows_along(kernel)
            kernel.phase = max(kernel.phase, phase if local else phase + 1)
        for packed in packed_for(kernel):
            kernel.phase = max(kernel.phase, made[id(packed)][0] + 1)
        if kernel.share == "one":
            kernel.owner, owner = owner, owner + 1
        made |= {id(b): (kernel.phase, kernel.share, rows_along(kernel)) for b in results_of(kernel)}
    return sorted(kernels, key=lambda k: k.phase)


def rows_along(kernel: Kernel) -> Extent:
    """The extent that a kernel is divided by, where that is by rows."""
    return kernel.out.extents[0] if kernel.out.extents else 1


def packed_for(kernel: Kernel) -> list[Buffer]:
    """The copies of right factors that a kernel reads."""
    if isinstance(kernel, Steps):
        inner = [b for k in kernel.kernels for b in packed_for(k)]
        return [b for b in inner if not any(b is k.out for k in kernel.kernels)]
    packed = kernel.packed if isinstance(kernel, Product | Contraction) else None
    return [] if packed is None else [packed]


def _share_steps(kernel: Steps, batches: Sequence[str], capacity: Mapping[str, int]) -> Share:
    """Every thread does the steps of its own rows where no row needs another; else one thread does all."""
    inner = [*kernel.before, *kernel.kernels]
    for k in inner:
        k.share = _share(k, batches, capacity)
        k.phase = 0
    if all(k.share == "rows" for k in inner) and len({rows_along(k) for k in inner}) < 2:
        return "split"
    for k in inner:
        k.share = "one"
    return "one"


def _share(kernel: Kernel, batches: Sequence[str], capacity: Mapping[str, int]) -> Share:
    if isinstance(kernel, Steps):
        return _share_steps(kernel, batches, capacity)
    if not batches:
        return "one"
    if isinstance(kernel, Pack):
        return "split" if kernel.is_dense and work_of(kernel, capacity) >= SMALL_COPY else "one"
    if any(all(is_row_local(y, batch) for y in equations_of(kernel)) for batch in batches):
        return "rows" if not isinstance(kernel, Nest) or kernel.how != "scatter" else "one"
    if work_of(kernel, capacity) < SMALL:
        return "one"
    return "split" if _can_split(kernel) else "one"


def is_row_local(y: Equation, batch: str) -> bool:
    """True when row i of the result reads row i only of everything that has rows."""
    if y.n_free == 0 or y.extents[0] != batch or batch in y.extents[1:]:
        return False
    reads = [*y.reads]
    maps = [m for op in y.operands for m in operand_maps(op)] + [m.map for m in y.masks]
    reads += [Read(g.node, g.at) for m in maps for g in gathers(m)]
    return all(_reads_own_row(r, batch) for r in reads)


def sums_of_rows(y: Equation, batches: Sequence[str]) -> Equation | None:
    """The sums over single rows that a sum over the whole batch is made of, None where it is not."""
    batch = next((e for e in batches if y.extents[:1] == (e,)), None)
    if batch is None or y.reducer != "sum" or y.n_free or all(e == 1 for e in y.extents[1:]):
        return None
    rows = Equation(y.extents, 1, y.reducer, y.body, y.operands, y.masks)
    return rows if is_row_local(rows, batch) else None


def _reads_own_row(read: Read, batch: str) -> bool:
    shape = read.node.shape
    if batch not in shape:
        return True
    return shape[0] == batch and batch not in shape[1:] and read.at[0].plain_index == 0


def _can_split(kernel: Kernel) -> bool:
    if isinstance(kernel, Product):
        return kernel.m != 1
    if isinstance(kernel, Contraction):
        return kernel.divided.size > 1
    if not isinstance(kernel, Nest) or kernel.how == "scatter" or not kernel.order:
        return False
    return kernel.order[-1 if kernel.how == "memory" else 0] < kernel.node.n_free
