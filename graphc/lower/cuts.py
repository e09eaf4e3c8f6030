"""Kernels inside of loops that others share: which indices these are, and products that are cut into blocks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from graphc.ir.affine import Affine, identity, indices
from graphc.ir.node import Equation, Node, Read
from graphc.lower.kernels import Contraction, Cut, Kernel, Nest, Placed, Product, results_of
from graphc.lower.layout import Buffer
from graphc.lower.products import as_product
from graphc.lower.stages import reads_of

Member = Nest | Product | Contraction
Own = tuple["int | None", ...]  # a kernel's index for each of the loops
Signature = tuple["int | None", ...]  # of each axis of an array, the number of the loop that moves along it
Buffers = Mapping[Node, Buffer]


def writes_of(kernel: Member) -> list[tuple[Buffer, Sequence[Affine]]]:
    """What a kernel writes, and at which of its indices."""
    terms = kernel.terms if isinstance(kernel, Nest) else None
    y = kernel.equation if isinstance(kernel, Nest) else kernel.node
    straight = identity(y.n_free)
    return [(b, terms.at if terms is not None and b is terms.out else straight) for b in results_of(kernel)]


def accesses_of(kernel: Member, buffers: Buffers) -> Iterator[tuple[Buffer, Sequence[Affine], bool]]:
    """What a kernel reads or writes, at which of its indices, and whether it writes."""
    reads = reads_of(kernel.equation) if isinstance(kernel, Nest) else factors_of(kernel) or ()
    yield from ((buffers[r.node], r.at, False) for r in reads if r.node in buffers)
    yield from ((b, at, True) for b, at in writes_of(kernel))


def signature_of(at: Sequence[Affine], own: Own) -> Signature:
    """Of each axis, the number of the loop whose index moves along it; -1 where one moves along it in another way."""
    inside = {i for i in own if i is not None}
    plain = lambda a: own.index(a.plain_index) if a.plain_index in inside else -1
    return tuple(plain(a) if indices(a) & inside else None for a in at)


def own_of(at: Sequence[Affine], signature: Signature, loops: int) -> Own | None:
    """A kernel's index for each of the loops, from the places at which it has an array of some signature."""
    own: list[int | None] = [None] * loops
    for a, t in zip(at, signature, strict=True):
        if t is not None:
            own[t] = a.plain_index
            if own[t] is None:
                return None
    found = [i for i in own if i is not None]
    return tuple(own) if len({*found}) == len(found) else None


def fits(nest: Nest, own: Own) -> bool:
    """Whether the loops of a nest begin with those that it shares, and a sum has no other ones around it."""
    shared = tuple(i for i in own if i is not None)
    rest = nest.order[len(shared) :]
    bound = nest.equation.n_free
    inner = nest.how == "map" or (nest.how == "register" and all(i >= bound for i in rest))
    return inner and nest.order[: len(shared)] == shared and all(i < bound for i in shared)


def cut_of(kernel: Product | Contraction, own: Own, buffers: Buffers) -> Cut | None:
    """What a product is inside of the loops: one of two matrices, of which the last loop takes some rows or terms."""
    y, reads = kernel.node, factors_of(kernel)
    found = [_placed(buffers[r.node], r.at, y) for r in reads or ()] + [_placed(kernel.out, identity(y.n_free), y)]
    left = [i for i, e in enumerate(y.extents) if e != 1 and i not in own[:-1]]
    free = [i for i in left if i < y.n_free]
    if reads is None or len(left) != 3 or len(free) != 2 or not all(isinstance(y.extents[i], int) for i in left):
        return None
    a, b, c = (_copied(kernel, r, p) if r is not None else p for r, p in zip((*reads, None), found, strict=True))
    if a is None or b is None or c is None:
        return None
    column, term = c.at[-1], left[-1]
    row = free[0] if free[1] == column else free[1]
    if row in b.at:
        a, b = b, a
    has = [[i for i in (row, column, term) if i in matrix.at] for matrix in (a, b, c)]
    if column is None or column == own[-1] or has != [[row, term], [column, term], [row, column]] or b.at[-1] != column:
        return None
    around = [i for i in own[:-1] if i is not None]
    scale = kernel.tiles.scale if isinstance(kernel, Contraction) else kernel.scale
    if own[-1] == term and around and c.at[0] != around[0]:
        return None
    return Cut(a, b, c, row, column, term, scale)


def factors_of(kernel: Kernel) -> tuple[Read, Read] | None:
    """The two reads of a product without masks or bias."""
    if isinstance(kernel, Contraction):
        return (kernel.tiles.a, kernel.tiles.b) if not kernel.node.masks else None
    if not isinstance(kernel, Product) or kernel.contraction is not kernel.node:
        return None
    match = as_product(kernel.node)
    return (match.a, match.b) if match else None


def _placed(buffer: Buffer, at: Sequence[Affine], y: Equation) -> Placed | None:
    """Which index moves along each axis, None where it is none of its own or does not go from end to end."""
    own = [None if e == 1 else a.plain_index for a, e in zip(at, buffer.extents, strict=True)]
    whole = all(e == 1 or (i is not None and y.extents[i] == e) for i, e in zip(own, buffer.extents, strict=True))
    return Placed(buffer, tuple(own)) if whole and all(isinstance(e, int) for e in buffer.extents[1:]) else None


def _copied(kernel: Product | Contraction, read: Read, found: Placed | None) -> Placed | None:
    """A factor where the product reads it: a transposed copy has the indices of the matrix the other way round."""
    right = factors_of(kernel)
    if found is None or kernel.packed is None or right is None or read != right[1]:
        return found
    return Placed(kernel.packed, tuple(i for i in reversed(found.at) if i is not None))
