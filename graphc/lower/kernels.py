"""What a plan consists of: matrix products and loop nests, each computing one equation into a buffer."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Literal

import sympy

from graphc.ir.affine import Affine, Extent, gathers, indices
from graphc.ir.node import DENSE, Equation, Mask, Node
from graphc.ir.scalar import cost
from graphc.ir.scan import Unrolled
from graphc.ir.text import equation_text
from graphc.ir.walk import sources
from graphc.lower.contractions import Axis, Tiles
from graphc.lower.layout import Buffer, Count
from graphc.lower.norms import rare_part
from graphc.records import record

How = Literal["map", "register", "memory", "scatter", "dense"]
Share = Literal["rows", "split", "one"]  # how threads divide a kernel, see graphc.lower.phases
SEVERAL = 16  # rows of a tile that are worth dividing


@record(frozen=True)
class StoredTerms:
    """Where a logsumexp stores its exponentials, at which of its indices, and the inverse of their sum; ``top`` of a
    row where exponentials are computed again."""

    out: Buffer
    at: tuple[Affine, ...]
    inverse: Buffer
    node: Equation
    top: Buffer | None = None


@record
class Nest:
    """out[free..] = reduce body, as loops over ``order``.

    map       no reduction
    register  bound loops innermost, the accumulator is a scalar
    memory    the last free index is innermost, the result accumulates where it lies
    dense     a function of whole matrices, over the matrices of a stack; ``work`` is the memory it needs
    scatter   the free index ``target`` is not a loop: a gather gives its value

    ``form`` computes the same as ``node`` from values that another loop has stored, ``part_of`` is the node whose
    formula such a stored value belongs to (:mod:`graphc.lower.loop_fusion`).  ``log`` is the second result of a
    logsumexp (:mod:`graphc.lower.logsumexp_parts`), ``terms`` are its exponentials where something reads them
    (:mod:`graphc.lower.exponentials`); without a log ``out`` is the inverse of their sum.  ``copied`` says that it
    copies a factor of a product.  Nests with one number of a ``run`` stand in the same loops over their rows, so many
    ``around`` each (:mod:`graphc.lower.row_loops`).
    """

    node: Equation
    out: Buffer
    how: How
    order: tuple[int, ...]
    target: int = -1
    phase: int = 0
    share: Share = "one"
    owner: int = 0
    form: Equation | None = None
    part_of: Node | None = None
    log: Buffer | None = None
    terms: StoredTerms | None = None
    work: Buffer | None = None
    copied: bool = False
    run: int = 0
    around: int = 0

    @property
    def equation(self) -> Equation:
        """What the loops compute."""
        return self.form or self.node

    @property
    def method(self) -> str:
        return f"loops ({self.how})"


@record(frozen=True)
class View:
    """A matrix inside a buffer: element [r, c] lies at offset + r*row + c*column."""

    buffer: Buffer
    row: Count
    column: Count


@record
class Product:
    """out[m, n] = scale * sum_k a[m, k]*b[k, n] + bias[n], a matrix product; ``node`` is the equation it computes."""

    node: Equation
    contraction: Equation
    out: Buffer
    a: View
    b: View
    c: View
    m: Extent
    n: Extent
    k: Extent
    scale: sympy.Expr
    bias: View | None = None
    packed: Buffer | None = None
    phase: int = 0
    share: Share = "one"
    owner: int = 0

    method = "matrix product"


@record
class Pack:
    """out[k, n] = view[k, n]: the copy of a right factor whose columns do not lie side by side, transposed."""

    node: Node
    view: View
    out: Buffer
    rows: Extent
    columns: Extent
    phase: int = 0
    share: Share = "one"
    owner: int = 0

    method = "transposed copy"

    @property
    def source(self) -> Buffer:
        return self.view.buffer

    @property
    def is_dense(self) -> bool:
        """True when the factor is all of its buffer, row after row of literal length."""
        sizes = isinstance(self.rows, int) and isinstance(self.columns, int)
        return sizes and self.view.row == Count((((), 1),)) and self.view.column == Count.of((self.columns,))


@record
class Contraction:
    """Products of matrices in an equation of any rank, see :mod:`graphc.lower.contractions`; ``a`` and ``b`` are the
    buffers of the factors, ``copies`` equations that hold a factor as the tiles read it."""

    node: Equation
    out: Buffer
    tiles: Tiles
    a: Buffer
    b: Buffer
    packed: Buffer | None = None
    copies: tuple[Equation, ...] = ()
    phase: int = 0
    share: Share = "one"
    owner: int = 0

    @property
    def divided(self) -> Axis:
        """What threads divide: the rows of the batch, else the longest of the rows and loops, or all loops as one."""
        t, axes = self.tiles, (self.tiles.rows, *self.tiles.loops)
        if self.flat:
            return Axis(math.prod(x.size for x in t.loops))
        if t.adds:
            return t.loops[0]
        if self.share == "rows":
            return next(x for x in axes if x.extent == self.node.extents[0])
        return t.rows if t.rows.size >= SEVERAL else max(axes, key=lambda x: x.size)

    @property
    def flat(self) -> bool:
        """Whether all loops are printed as one: that of dots, and where it is the longest that threads may divide."""
        t = self.tiles
        if t.dots or self.share != "split" or t.rows.size >= SEVERAL or t.adds:
            return t.dots
        sizes = [x.size for x in t.loops]
        literal = all(isinstance(x.extent, int) for x in t.loops)
        return literal and math.prod(sizes) > max([t.rows.size, *sizes])

    @property
    def method(self) -> str:
        """ "matrix product", how often it is done, and over how many indices it sums."""
        many = [str(x.extent) for x in self.tiles.loops]
        sums = f", {len(self.tiles.terms)} sums" if len(self.tiles.terms) > 1 else ""
        sums += " of dots" if self.tiles.dots else ""
        return f"matrix product{' for each of ' + ' x '.join(many) if many else ''}{sums}"


@record
class Steps:
    """The steps of a scan, one after the other: ``before`` the first, kernels over the buffers of one step.

    ``moving`` are the buffers whose place depends on the step, ``outside`` the nodes that the steps read.
    """

    node: Unrolled
    before: list[Kernel]
    kernels: list[Kernel]
    moving: list[Buffer]
    results: list[Buffer]
    outside: list[Node]
    phase: int = 0
    share: Share = "one"
    owner: int = 0

    @property
    def out(self) -> Buffer:
        """The first of the buffers that it fills."""
        return self.results[0]

    @property
    def method(self) -> str:
        """How many steps of how many kernels."""
        return f"{self.node.scan.length} steps of {len(self.kernels)} kernels"


@record(frozen=True)
class Placed:
    """A matrix of a product: its buffer, and for each axis the index that moves along it."""

    buffer: Buffer
    at: tuple[int | None, ...]

    def step(self, i: int | None) -> int:
        """How far a step of an index goes, in elements."""
        moved = (s for s, own in zip(self.buffer.strides, self.at, strict=True) if own == i and i is not None)
        return sum((s.at({}) for s in moved), 0)


@record(frozen=True)
class Cut:
    """c[row, column] = scale * sum_term a[row, term]*b[term, column], a product of which rows or terms are cut into
    blocks; the numbers are those of its equation's indices."""

    a: Placed
    b: Placed
    c: Placed
    row: int
    column: int
    term: int
    scale: sympy.Expr


@record(frozen=True)
class Inside:
    """A kernel inside of blocks, and its own index for each of the loops around it, None where it has none; ``key`` is
    the one of the keys, where blocks leave some out."""

    kernel: Nest | Product | Contraction
    own: tuple[int | None, ...]
    cut: Cut | None = None
    key: int = -1

    @property
    def last(self) -> int:
        """Its index for the loop that goes block by block."""
        found = self.own[-1]
        assert found is not None
        return found


@record
class Blocks:
    """Kernels that go block by block through the last of the ``loops``, extents and letters, around all of them; a
    block has ``size`` turns (:mod:`graphc.lower.score_blocks`).

    Where ``keys`` is a number of them, loops over these end so many as ``behind`` the last turn of a block
    (:mod:`graphc.lower.unseen`).
    """

    inside: list[Inside]
    loops: tuple[tuple[Extent, str], ...]
    size: int
    keys: int = 0
    behind: int = 0
    phase: int = 0
    share: Share = "one"
    owner: int = 0

    @property
    def kernels(self) -> list[Kernel]:
        """The kernels, in their order."""
        return [x.kernel for x in self.inside]

    @property
    def node(self) -> Equation:
        """The first equation."""
        return self.inside[0].kernel.node

    @property
    def out(self) -> Buffer:
        """The first of the buffers that it fills."""
        return self.inside[0].kernel.out

    @property
    def method(self) -> str:
        """How many kernels, in how large blocks, and whether with all keys."""
        keys = ", keys as far as the mask goes" if self.keys else ""
        return f"{len(self.inside)} kernels in blocks of {self.size} {self.loops[-1][1]}{keys}"


Kernel = Nest | Product | Pack | Contraction | Steps | Blocks


def equations_of(kernel: Kernel) -> list[Equation]:
    """The equations a kernel computes: one, a contraction and what adds its bias, or those of a step."""
    if isinstance(kernel, Steps):
        return [y for k in (*kernel.before, *kernel.kernels) for y in equations_of(k)]
    if isinstance(kernel, Blocks):
        return [y for k in kernel.kernels for y in equations_of(k)]
    if isinstance(kernel, Product) and kernel.contraction is not kernel.node:
        return [kernel.contraction, kernel.node]
    if isinstance(kernel, Contraction):
        return [kernel.node]
    if isinstance(kernel, Nest):
        return [kernel.equation]
    return [kernel.node] if isinstance(kernel.node, Equation) else []


def results_of(kernel: Kernel) -> list[Buffer]:
    """The buffers a kernel writes."""
    if isinstance(kernel, Steps):
        inner = [b for k in kernel.kernels for b in results_of(k) if b.whole is None]
        return list({id(b): b for b in [*kernel.results, *inner]}.values())
    if isinstance(kernel, Blocks):
        return list({id(b): b for k in kernel.kernels for b in results_of(k)}.values())
    if not isinstance(kernel, Nest):
        return [kernel.out]
    terms = kernel.terms
    more = [kernel.log, kernel.work, *((terms.out, terms.inverse, terms.top) if terms else ())]
    return [kernel.out, *(b for b in more if b is not None and b is not kernel.out)]


def sources_of(kernel: Kernel) -> list[Node]:
    """The nodes a kernel reads; blocks those, too, that they compute themselves."""
    if isinstance(kernel, Steps):
        return kernel.outside
    if isinstance(kernel, Blocks):
        return list(dict.fromkeys(s for k in kernel.kernels for s in sources_of(k)))
    if isinstance(kernel, Pack):
        return [kernel.node]
    own = equations_of(kernel)
    if isinstance(kernel, Contraction):
        return [*sources(kernel.node), *kernel.copies]
    return [s for y in own for s in sources(y) if s not in own]


def safest_first(masks: Sequence[Mask]) -> list[Mask]:
    """Masks that read labels after those that may keep the labels inside their array."""
    return sorted(masks, key=lambda m: any(True for _ in gathers(m.map)))


def loop_order(y: Equation, strides) -> tuple[How, tuple[int, ...]]:
    """The loops of an equation; ``strides(read)`` gives the distance of each of its axes in elements."""
    free = tuple(i for i in range(y.n_free) if y.extents[i] != 1)
    if y.dense:
        return "dense", tuple(i for i in free if i < y.n_free - DENSE[y.reducer])
    bound = tuple(i for i in range(y.n_free, len(y.extents)) if y.extents[i] != 1)
    if not bound:
        return "map", free
    rare = y.reducer == "logsumexp" or rare_part(y) is not None
    if free and not rare and _contiguous(y, free[-1], strides) > _contiguous(y, bound[-1], strides):
        return "memory", (*free[:-1], *bound, free[-1])
    return "register", free + bound


def _contiguous(y: Equation, i: int, strides) -> int:
    """How many reads walk through memory step by step when index i moves."""
    score = 0
    for read in y.reads:
        moving = [s for a, s in zip(read.at, strides(read), strict=True) if i in indices(a)]
        score += moving == [Count((((), 1),))]
    return score


def caption_of(kernel: Kernel, captions: Mapping[Node, str]) -> str:
    """The formula beside a kernel: the one of the derivation where there is one, else its equation in one line."""
    if isinstance(kernel, Steps):
        return f"{kernel.node.scan.length} steps{', the last first' if kernel.node.scan.backward else ''}"
    if isinstance(kernel, Blocks):
        return "; ".join(dict.fromkeys(caption_of(k, captions) for k in kernel.kernels))
    if isinstance(kernel, Pack):
        return f"{kernel.source.name} transposed"
    if isinstance(kernel, Nest) and kernel.copied:
        return f"{kernel.out.name.rpartition('_')[0]} {'with zeros around' if kernel.node.masks else 'transposed'}"
    if isinstance(kernel, Nest) and kernel.part_of is not None and kernel.part_of in captions:
        name, _, formula = captions[kernel.part_of].partition(" = ")
        number = re.search(r"   \(\d+\)$", formula)
        return f"part of {name}{number[0] if number else ''}"
    return captions.get(kernel.node) or equation_text(kernel.node)


def work_of(kernel: Kernel, capacity: Mapping[str, int]) -> int:
    """Floating-point operations of a kernel: 2 m n k of a product, the cost of the body at every element of a nest."""
    if isinstance(kernel, Steps):
        return Count.of((kernel.node.scan.length,)).at(capacity) * sum(work_of(k, capacity) for k in kernel.kernels)
    if isinstance(kernel, Blocks):
        return sum(work_of(k, capacity) for k in kernel.kernels)
    if isinstance(kernel, Pack):
        return Count.of((kernel.rows, kernel.columns)).at(capacity)
    if isinstance(kernel, Product):
        return 2 * Count.of((kernel.m, kernel.n, kernel.k)).at(capacity)
    if isinstance(kernel, Contraction):
        return 2 * Count.of(kernel.node.extents).at(capacity)
    y = kernel.equation
    if y.dense:
        n = y.extents[-1]
        return Count.of((*y.shape[: y.n_free - DENSE[y.reducer]], n, n, n)).at(capacity)
    return Count.of(kernel.equation.extents).at(capacity) * max(1, cost(kernel.equation.body))
