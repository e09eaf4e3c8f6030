"""Small windows written out, so that what is left is loops whose innermost one LLVM makes vectors of.

    for l in range(12):                                 for l in range(12):
        s = -INF                                            wide()
        for m in range(2):                       ->         s = -INF
            s = rmax(s, A[H0 + l*2 + m])                    s = rmax(s, A[H0 + l*2])
        A[M0 + l] = s                                       s = rmax(s, A[H0 + l*2 + 1])
                                                            A[M0 + l] = s

A window is what bound indices of literal extent add to the innermost free one.  Elementwise, an index that is read by
its quotient is as many turns as the divisor: l = 2p and l = 2p + 1, p = l // 2, for all p at a time.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping

from graphc.ir.affine import Affine, Extent, FloorDiv, Modulo, constant, gathers, index, indices, substitute
from graphc.ir.node import Equation, Node, Operand, Read
from graphc.ir.scalar import cost
from graphc.lower.kernels import Nest
from graphc.lower.layout import Buffer
from graphc.lower.loop_fusion import guarded
from graphc.lower.norms import rare_part
from graphc.records import record

TURNS = 25  # of a window, that are written out
CHEAP = 20  # operations of a body: without a transcendental function
NARROWEST, LONG = 4, 16  # turns of a loop that vectors are made of; so many that some may be left over


@record(frozen=True)
class Turn:
    """What one turn reads, and where it writes."""

    operands: tuple[Operand, ...]
    place: tuple[Affine, ...]


@record(frozen=True)
class Windows:
    """The loops that are left, as pairs of index and extent, and the turns inside them."""

    loops: tuple[tuple[int, Extent], ...]
    turns: tuple[Turn, ...]


def windows_of(nest: Nest, divided: int) -> Windows | None:
    """The loops of a nest with its windows written out, None where it has none; ``divided`` is the index of which a
    thread, or a block of rows, has a part."""
    y, bound = nest.equation, [i for i in nest.order if i >= nest.equation.n_free]
    free = sorted(i for i in nest.order if i < y.n_free)
    if len(free) < 2 or free[-1] == divided or nest.how not in ("map", "register", "memory") or nest.log is not None:
        return None
    if not _plain(y) or rare_part(y) is not None or y.reducer == "logsumexp":
        return None
    steps = _divisors(y, free, divided) if not bound else {}
    if not steps and not (bound and _moves_together(y, free[-1], bound)):
        return None
    counts = [y.extents[i] for i in bound] + list(steps.values())
    last = y.extents[free[-1]]
    if any(isinstance(e, str) for e in (*counts, last)) or math.prod(map(int, counts)) > TURNS:
        return None
    width = int(last) // steps.get(free[-1], 1)
    if width < NARROWEST or width % NARROWEST and width < LONG:
        return None
    extents = _left(y, steps)
    return Windows(tuple((i, extents[i]) for i in free), tuple(_turns(y, bound, steps)))


def _plain(y: Equation) -> bool:
    """True where all operands are reads at places that no data decide, and the body is cheap."""
    reads = [op for op in y.operands if isinstance(op, Read)]
    plain = len(reads) == len(y.operands) and not any(True for r in reads for a in r.at for _ in gathers(a))
    return plain and not y.masks and not guarded(y) and cost(y.body) < CHEAP


def _moves_together(y: Equation, last: int, bound: list[int]) -> bool:
    """True where a bound index adds to the innermost free one in some read."""
    return any(last in (found := indices(a)) and found & {*bound} for r in y.reads for a in r.at)


def _divisors(y: Equation, free: list[int], divided: int) -> dict[int, int]:
    """Indices that are read by a quotient or a remainder, and the divisor; none where they cannot be split so."""
    found: dict[int, int] = {}
    for atom in (atom for r in y.reads for a in r.at for atom in _quotients(a)):
        [(i, coef), *others] = atom.inner.terms
        if others or coef != 1 or not isinstance(i, int):
            return {}
        e = y.extents[i]
        if i not in free or i == divided or not isinstance(e, int) or e % atom.divisor:
            return {}
        if found.setdefault(i, atom.divisor) != atom.divisor:
            return {}
    return found


def _quotients(a: Affine) -> Iterator[FloorDiv | Modulo]:
    for atom, _ in a.terms:
        if isinstance(atom, FloorDiv | Modulo):
            yield atom


def _left(y: Equation, steps: dict[int, int]) -> tuple[Extent, ...]:
    """The extents of the loops that are left."""
    return tuple(e // steps.get(i, 1) if isinstance(e, int) else e for i, e in enumerate(y.extents))


def _turns(y: Equation, bound: list[int], steps: dict[int, int]) -> Iterator[Turn]:
    written = [*bound, *steps]
    extents = _left(y, steps)
    for values in itertools.product(*(range(int(y.extents[i]) if i in bound else steps[i]) for i in written)):
        now = dict(zip(written, values, strict=True))

        def move(i: int, now: dict[int, int] = now) -> Affine:
            return constant(now[i]) if i in bound else index(i) * steps.get(i, 1) + now.get(i, 0)

        moved = tuple(Read(r.node, tuple(substitute(a, move, extents) for a in r.at)) for r in y.reads)
        place = tuple(constant(0) if e == 1 else move(i) for i, e in zip(range(y.n_free), y.shape, strict=True))
        yield Turn(moved, place)


def in_one_piece(y: Equation, bound: list[int], buffers: Mapping[Node, Buffer]) -> tuple[Equation, list[int]]:
    """The same sum with one loop instead of two where the inner one's turns end where the outer one's next begin."""
    for outer, inner in itertools.pairwise(bound):
        e, f = y.extents[outer], y.extents[inner]
        steps = [_steps(r, buffers[r.node], (outer, inner)) for r in y.operands if isinstance(r, Read)]
        if y.masks or not isinstance(e, int) or not isinstance(f, int) or len(steps) < len(y.operands):
            continue
        if all(s is not None and s[0] == s[1] * f for s in steps):
            extents = tuple(e * f if i == inner else 1 if i == outer else x for i, x in enumerate(y.extents))
            move = lambda i, outer=outer: constant(0) if i == outer else index(i)
            reads = tuple(Read(r.node, tuple(substitute(a, move) for a in r.at)) for r in y.reads)
            whole = Equation(extents, y.n_free, y.reducer, y.body, reads, ())
            return in_one_piece(whole, [i for i in bound if i != outer], buffers)
    return y, bound


def _steps(read: Read, buffer: Buffer, of: tuple[int, int]) -> tuple[int, ...] | None:
    """How far a step of each of two indices goes, None where that is no number or changes."""
    total = dict.fromkeys(of, 0)
    for a, stride in zip(read.at, buffer.strides, strict=True):
        for atom, coef in a.terms:
            if isinstance(atom, int) and atom in total:
                if any(names for names, _ in stride.terms):
                    return None
                total[atom] += coef * stride.at({})
            elif not isinstance(atom, int) and {*of} & indices(Affine(0, ((atom, 1),))):
                return None
    return tuple(total.values())
