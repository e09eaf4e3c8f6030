"""Scores of long sequences in blocks of queries: computed, used and forgotten while a cache holds them.

    S[i, q, k] = Σ_m Q[i, q, m]·K[i, k, m];  P[i, q, k] = softmax_k S[i, q, k];  O[i, q, v] = Σ_k P[i, q, k]·V[i, k, v]

A product gives scores, nests go through their rows, further products sum over keys or queries: nothing but these reads
scores, softmax or their adjoints, so that there is room for one block of queries.  Blocks of the backward pass begin
with the scores and exponentials of their queries once more, from queries, keys and what the logsumexp left.  A sum over
queries goes on from block to block: every element is summed in the order it was, so that bits stay what they were.

A chain begins at a sum (maximum, logsumexp) of long rows, the anchor, whose free indices are the loops around, and
takes whatever gives or reads its large arrays.  By size: scores of one row of the batch that a cache holds stay whole.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import field, replace

from graphc.ir.affine import Extent
from graphc.ir.node import Leaf, Node, Read
from graphc.lower.cuts import (
    Member,
    Own,
    Signature,
    accesses_of,
    cut_of,
    factors_of,
    fits,
    own_of,
    signature_of,
    writes_of,
)
from graphc.lower.kernels import Blocks, Contraction, Inside, Kernel, Nest, Product, results_of, sources_of
from graphc.lower.layout import Buffer
from graphc.lower.row_loops import HELD, Rows, rows_of
from graphc.lower.unseen import without_unseen
from graphc.records import record

BLOCK_BYTES = 1 << 16  # of the scores of a block: a level-2 cache holds them with their adjoints
FEWEST = 8  # queries of a block

Same = Callable[[Buffer, Buffer], bool]


def in_blocks(plan: Uses) -> list[Kernel]:
    """The kernels, with those of large scores in blocks."""
    chains = _chains(plan)
    for chain in chains:
        _keep_tops(plan, chain)
        _give_room(plan, chain, chains)
    found = [*plan.kernels]
    for chain in chains:
        around = _around(plan, found, chain.kernels(plan))
        assert around is not None  # asked for when the chain was found, and others take kernels away alone
        found = [*around[0], _blocks(plan, chain), *around[1]]
    if chains and not plan.team:
        for position, kernel in enumerate(found):
            kernel.phase = position
    return found


def _blocks(plan: Uses, chain: _Chain) -> Blocks:
    """The kernels of a chain as one, with as many keys as count."""
    loops = tuple((e, letter) for _, e, letter in chain.rows)
    blocks = Blocks(chain.inside, loops, chain.size, phase=chain.phase, share=chain.share)
    seen = without_unseen(chain.inside, [b for b, _ in chain.large.values()], plan.buffers)
    if seen is not None:
        blocks.keys, (blocks.behind, blocks.inside) = chain.length, seen
    return blocks


class Uses:
    """The kernels, who writes and reads each array, and which kernels chains have taken.

    All of ``kept`` stays; ``same`` tells whether two buffers have one memory. Threads of a ``team`` compute rows of the
    batch, each row with a block of its own.
    """

    def __init__(
        self,
        kernels: Sequence[Kernel],
        buffers: dict[Node, Buffer],
        kept: Sequence[Buffer],
        same: Same,
        itemsize: int,
        team: bool,
    ) -> None:
        self.kernels, self.buffers, self.same, self.itemsize, self.team = kernels, buffers, same, itemsize, team
        self.kept = {id(b) for b in kept}
        self.taken: set[int] = set()
        self.reads = [[buffers[s] for s in sources_of(kernel) if s in buffers] for kernel in kernels]
        self.writes = [results_of(kernel) for kernel in kernels]
        self.writers: dict[int, list[int]] = {}
        self.readers: dict[int, list[int]] = {}
        for at in range(len(kernels)):
            for found, own in ((self.writers, self.writes[at]), (self.readers, self.reads[at])):
                for b in own:
                    found.setdefault(id(b), []).append(at)


@record
class _Chain:
    """Kernels of one :class:`Blocks` by their places in the plan; those ``again`` come first and compute once more what
    is computed elsewhere. ``large`` are the arrays of which there is room for a block; a cache that has ``held`` one of
    them, for a row of the batch, needs no blocks."""

    rows: Rows
    length: int
    size: int
    held: bool
    anchor: Nest
    members: dict[int, Inside] = field(default_factory=dict)
    again: dict[int, Inside] = field(default_factory=dict)
    large: dict[int, tuple[Buffer, Signature]] = field(default_factory=dict)

    @property
    def phase(self) -> int:
        return self.anchor.phase

    @property
    def share(self):
        return self.anchor.share

    @property
    def inside(self) -> list[Inside]:
        return [*self.again.values(), *(self.members[at] for at in sorted(self.members))]

    @property
    def query(self) -> int:
        """The number of the loop that goes block by block."""
        return len(self.rows) - 1

    def kernels(self, plan: Uses) -> list[Kernel]:
        """The kernels of the plan that it takes away."""
        return [plan.kernels[at] for at in sorted(self.members)]


# ---------------------------------------------------------------------------------------------- which kernels
def _chains(plan: Uses) -> list[_Chain]:
    """The chains with scores whose large arrays nothing else reads, and those without that share one with these."""
    begun = [_begun(plan, kernel) if isinstance(kernel, Nest) else None for kernel in plan.kernels]
    if all(chain is None or chain.held for chain in begun):
        return []
    found: list[_Chain] = []
    for at, chain in enumerate(begun):
        if chain is None or at in plan.taken or not _grown(plan, chain, at):
            continue
        scores, cuts = not chain.held and _has_scores(chain), any(x.cut for x in chain.inside)
        if (scores or not cuts) and _in_order(plan, chain) and _may_wait(plan, chain):
            found.append(chain)
            plan.taken.update(chain.members)
    while True:
        wanted = {key for c in found if _has_scores(c) for key in c.large}
        left = [c for c in found if not (c.large.keys() & wanted and _alone(plan, c, found))]
        if not left:
            return found
        found = [c for c in found if c not in left]


def _begun(plan: Uses, anchor: Nest) -> _Chain | None:
    """The chain of a sum over long rows, None where it is none."""
    rows = rows_of(anchor)
    if rows is None or anchor.share != ("rows" if plan.team else "one"):
        return None
    bound = [anchor.equation.extents[i] for i in anchor.order[len(rows) :]]
    around = [e for _, e, _ in rows[isinstance(rows[0][1], str) :]]
    if not around or not all(isinstance(e, int) for e in (*around, *bound)):
        return None
    width = math.prod(map(int, bound)) * plan.itemsize
    size = max(FEWEST, 1 << max(1, BLOCK_BYTES // width).bit_length() - 1)
    held = math.prod(map(int, around)) * width <= HELD
    return _Chain(rows, width // plan.itemsize, min(size, int(around[-1])), held, anchor)


def _grown(plan: Uses, chain: _Chain, at: int) -> bool:
    """Take the anchor, and what gives or reads large arrays, until nothing is left; False where one has no source."""
    if not _takes(plan, chain, at, tuple(i for i, _, _ in chain.rows)):
        return False
    count = -1
    while count != len(chain.members):
        count = len(chain.members)
        if not all(_has_source(plan, chain, key) for key in [*chain.large]):
            return False
        for reader, own in [*_readers(plan, chain)]:
            _takes(plan, chain, reader, own)
    return True


def _takes(plan: Uses, chain: _Chain, at: int, own: Own) -> bool:
    """Take a kernel into a chain, where it fits."""
    inside = _inside(plan, chain, plan.kernels[at], own)
    if inside is not None and at not in chain.members:
        chain.members[at] = inside
    return inside is not None


def _inside(plan: Uses, chain: _Chain, kernel: Kernel, own: Own) -> Inside | None:
    """A kernel inside of the loops, its large arrays noted; None where it cannot go block by block."""
    if own[-1] is None or not isinstance(kernel, Nest | Product | Contraction):
        return None
    cut = None if isinstance(kernel, Nest) else cut_of(kernel, own, plan.buffers)
    if not (fits(kernel, own) if isinstance(kernel, Nest) else cut):
        return None
    large = {id(b): (b, signature) for b, signature in _large(plan, chain, kernel, own)}
    if any(chain.large.get(key, found)[1] != found[1] for key, found in large.items()):
        return None
    chain.large |= large
    return Inside(kernel, own, cut)


def _large(plan: Uses, chain: _Chain, kernel: Member, own: Own) -> Iterator[tuple[Buffer, Signature]]:
    """What kernels compute for every query and key, of all that one kernel touches."""
    for b, at, _ in accesses_of(kernel, plan.buffers):
        signature = signature_of(at, own)
        left = [e if isinstance(e, int) else 0 for e, t in zip(b.extents, signature, strict=True) if t is None]
        computed = b.region == "A" and id(b) in plan.writers
        if computed and signature.count(chain.query) == 1 and math.prod(left) == chain.length:
            yield b, signature


def _has_source(plan: Uses, chain: _Chain, key: int) -> bool:
    """Whether a large array is computed in the chain: by the kernel that does, or by one that does it once more."""
    buffer, signature = chain.large[key]
    at, *others = plan.writers[key]
    if others or at in chain.members or at in chain.again:
        return not others
    kernel = plan.kernels[at]
    if not isinstance(kernel, Nest | Product | Contraction):
        return False
    here = at not in plan.taken and (kernel.phase == chain.phase or not plan.team)
    made = kernel if here else _once_more(kernel, buffer, chain.phase)
    own = own_of(next(p for b, p in writes_of(made) if b is buffer), signature, len(chain.rows)) if made else None
    if here:
        return own is not None and _takes(plan, chain, at, own)
    inside = _inside(plan, chain, made, own) if made is not None and own is not None else None
    if inside is None:
        return False
    needed = [id(b) for b, _ in _large(plan, chain, inside.kernel, inside.own) if b is not buffer]
    if all(_has_source(plan, chain, k) for k in needed):
        chain.again[at] = inside
    return at in chain.again


def _once_more(kernel: Member, buffer: Buffer, phase: int) -> Member | None:
    """A kernel that computes a large array again: a product, or element after element."""
    if isinstance(kernel, Nest) and kernel.terms is not None and buffer is kernel.terms.out:
        y = kernel.terms.node
        order = tuple(i for i, e in enumerate(y.shape) if e != 1)
        return Nest(y, buffer, "map", order, phase=phase, share=kernel.share)
    if isinstance(kernel, Nest):
        return replace(kernel, phase=phase, run=0, around=0) if kernel.how == "map" else None
    return replace(kernel, phase=phase)


def _readers(plan: Uses, chain: _Chain) -> Iterator[tuple[int, Own]]:
    """Kernels that read large arrays, and nothing that others compute from results of the chain."""
    behind = _behind(plan, chain)
    for buffer, signature in chain.large.values():
        for at in plan.readers.get(id(buffer), ()):
            kernel = plan.kernels[at]
            near = kernel.share == chain.share and (kernel.phase == chain.phase or not plan.team)
            away = at in plan.taken or at in chain.members or any(id(b) in behind for b in plan.reads[at])
            if away or not near or not isinstance(kernel, Nest | Product | Contraction):
                continue
            places = (p for b, p, _ in accesses_of(kernel, plan.buffers) if b is buffer)
            own = own_of(next(places), signature, len(chain.rows))
            if own is not None and None not in own:
                yield at, own


def _behind(plan: Uses, chain: _Chain) -> set[int]:
    """The arrays that others compute from results of a chain."""
    own = {id(b) for at in chain.members for b in plan.writes[at]}
    found: set[int] = set()
    for at in range(len(plan.kernels)):
        if at not in chain.members and any(id(b) in own or id(b) in found for b in plan.reads[at]):
            found |= {id(b) for b in plan.writes[at]}
    return found


# ---------------------------------------------------------------------------------------------- whether they may
def _has_scores(chain: _Chain) -> bool:
    """Whether a product of two matrices that belong to rows, none of them a parameter, gives a large array."""
    for x in chain.inside:
        if x.cut is None or id(x.kernel.out) not in chain.large or x.last != x.cut.row:
            continue
        around = {i for i in x.own[:-1] if i is not None}
        learned = (isinstance(r.node, Leaf) and r.node.kind == "param" for r in factors_of(x.kernel) or ())
        if (not around or around & {*x.cut.b.at}) and not any(learned):
            return True
    return False


def _in_order(plan: Uses, chain: _Chain) -> bool:
    """Whether no kernel needs of another what a later block computes."""
    every = [(x, b, signature_of(at, x.own), writes)
             for x in chain.inside for b, at, writes in accesses_of(x.kernel, plan.buffers)]  # fmt: skip
    for x, b, mine, writes in every:
        for z, other, theirs, too in every:
            if x is not z and (writes or too) and plan.same(b, other) and (mine != theirs or chain.query not in mine):
                return False
    return True


def _may_wait(plan: Uses, chain: _Chain) -> bool:
    """Whether kernels may wait for the last of a chain, and what is computed once more finds what it is made of."""
    if _around(plan, plan.kernels, chain.kernels(plan)) is None:
        return False
    own = [plan.buffers[s] for x in chain.again.values() for s in sources_of(x.kernel) if s in plan.buffers]
    for b in own:
        first = plan.writers.get(id(b), [-1])[0]
        later = (other for at in range(first + 1, len(plan.kernels)) for other in plan.writes[at])
        if id(b) not in chain.large and any(other is not b and plan.same(other, b) for other in later):
            return False
    return True


def _alone(plan: Uses, chain: _Chain, chains: Sequence[_Chain]) -> bool:
    """Whether chains alone touch the large arrays of one, in the same blocks."""
    members = {at for c in chains for at in c.members}
    large = {key for c in chains for key in c.large}
    every = [b for own in plan.writes for b in own]
    for key, (buffer, _) in chain.large.items():
        touching = {*plan.writers[key], *plan.readers.get(key, ())}
        shapes = {_room(plan, c, key, c.size) for c in chains if key in c.large}
        if key in plan.kept or not touching <= members or len(shapes) > 1:
            return False
        if any(plan.same(b, buffer) and id(b) not in large for b in every):
            return False
    return True


# ---------------------------------------------------------------------------------------------- the new plan
def _around(
    plan: Uses, kernels: Sequence[Kernel], members: Sequence[Kernel]
) -> tuple[list[Kernel], list[Kernel]] | None:
    """The kernels before and behind some that go together, None where one of these needs one behind them."""
    own = {id(m) for m in members}
    waiting: list[Kernel] = []
    before: list[Kernel] = []
    after: list[Kernel] = []
    for kernel in kernels:
        if id(kernel) in own:
            if any(_conflict(plan, kernel, k) for k in after):
                return None
            waiting.append(kernel)
        elif len(waiting) == len(members) or any(_conflict(plan, kernel, k) for k in (*waiting, *after)):
            after.append(kernel)
        else:
            before.append(kernel)
    return before, after


def _conflict(plan: Uses, a: Kernel, b: Kernel) -> bool:
    """Whether one writes what the other touches."""
    reads = [[plan.buffers[s] for s in sources_of(k) if s in plan.buffers] for k in (a, b)]
    writes = [results_of(a), results_of(b)]
    pairs = ((writes[0], [*reads[1], *writes[1]]), (reads[0], writes[1]))
    return any(plan.same(x, z) for xs, zs in pairs for x in xs for z in zs)


def _room(plan: Uses, chain: _Chain, key: int, size: int) -> tuple[Extent, ...]:
    """So many queries; of the rows of a batch all that threads divide, else one."""
    buffer, signature = chain.large[key]
    kept = lambda t: t is None or (plan.team and t == 0)
    one = lambda e, t: size if t == chain.query else e if kept(t) else 1
    return tuple(one(e, t) for e, t in zip(buffer.extents, signature, strict=True))


def _give_room(plan: Uses, chain: _Chain, chains: Sequence[_Chain]) -> None:
    """Room for one block of queries, for one query where one loop over them writes and reads an array alone."""
    for key, (buffer, _) in chain.large.items():
        touching = (plan.kernels[at] for at in (*plan.writers[key], *plan.readers.get(key, ())))
        runs = {kernel.run if isinstance(kernel, Nest) else 0 for kernel in touching}
        alone = not plan.team and len(runs) == 1 and 0 not in runs and sum(key in c.large for c in chains) == 1
        buffer.room = _room(plan, chain, key, 1 if alone else chain.size)


def _keep_tops(plan: Uses, chain: _Chain) -> None:
    """Let logsumexps whose exponentials are computed again store the top of every row."""
    for at, x in chain.again.items():
        lse = plan.kernels[at]
        if not isinstance(lse, Nest) or lse.terms is None or x.kernel.out is not lse.terms.out:
            continue
        top = x.kernel.node.operands[-1]
        assert isinstance(top, Read)
        if top.node not in plan.buffers:
            name = f"{lse.terms.out.name.removesuffix('_exp')}_top"
            found = plan.buffers[top.node] = Buffer(name, "A", top.node.shape, node=top.node)
            lse.terms = replace(lse.terms, top=found)
