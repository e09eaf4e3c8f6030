"""The second node: the values of a step that is done again and again, ``h[t + 1] = next(h[t], x[t])``.

A step is a graph of ordinary equations over leaves of its own: carried values h, as they are before the step, and
slices x[t] of what is given for every step.  What else it reads, such as parameters, is the same in every step.
``Unrolled`` is the value of one node of the step at every step, v[t, ..].  All that a step reads are sources of it, so
that whoever walks through a graph walks through the equations of its steps, too; they have no value of their own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary, WeakValueDictionary

from graphc.ir.affine import Affine, Extent, constant, index, size
from graphc.ir.build import equation
from graphc.ir.node import Indicator, Leaf, Mask, Node, Read
from graphc.ir.scalar import placeholder
from graphc.records import record


@dataclass(frozen=True, slots=True)
class Carry:
    """A value that a step takes from the step before: its leaf, its value before the first step, and after a step."""

    leaf: Leaf
    start: Node
    next: Node


@dataclass(frozen=True, slots=True)
class Slice:
    """What is given for every step: its leaf is given[t, ..] in step t."""

    leaf: Leaf
    given: Node


@record(frozen=True, eq=False)
class Scan:
    """So many steps, from the first to the last or ``backward`` from the last to the first.

    With ``truncate`` no derivative passes from the values before every so many steps to those after them.
    """

    length: Extent
    carries: tuple[Carry, ...]
    slices: tuple[Slice, ...]
    backward: bool = False
    truncate: int = 0

    @property
    def first(self) -> Affine:
        """The step that is done first."""
        return size(self.length) - 1 if self.backward else constant(0)

    @property
    def last(self) -> Affine:
        """The step that is done last."""
        return constant(0) if self.backward else size(self.length) - 1

    @property
    def leaves(self) -> list[Leaf]:
        """What has a value within a step alone."""
        return [*(c.leaf for c in self.carries), *(s.leaf for s in self.slices)]

    @property
    def outside(self) -> list[Node]:
        """What is there before the first step."""
        return [*(c.start for c in self.carries), *(s.given for s in self.slices)]

    @property
    def nexts(self) -> list[Node]:
        """The carried values after a step."""
        return [c.next for c in self.carries]


class Unrolled(Node):
    """v[t, ..], the value of a node of the step in step t; of a carried leaf, its value before the step."""

    __slots__ = ("of", "scan")

    def __init__(self, scan: Scan, of: Node) -> None:
        super().__init__()
        self.scan, self.of = scan, of

    @property
    def shape(self) -> tuple[Extent, ...]:
        return (self.scan.length, *self.of.shape)

    def __repr__(self) -> str:
        return f"{self.of!r} in each of {self.scan.length} steps"


_scans: WeakValueDictionary[tuple, Scan] = WeakValueDictionary()
_unrolled: WeakKeyDictionary[Scan, WeakValueDictionary[Node, Unrolled]] = WeakKeyDictionary()


def scan_of(
    length: Extent, carries: Iterable[Carry], slices: Iterable[Slice], backward: bool, truncate: int = 0
) -> Scan:
    """The scan of these parts: the same object for the same parts."""
    key = (length, tuple(carries), tuple(slices), backward, truncate)
    found = _scans.get(key)
    if found is None:
        found = _scans[key] = Scan(*key)
    return found


def unrolled(scan: Scan, of: Node, inside: bool = True) -> Node:
    """v[t, ..] of a node of the step; what is not ``inside`` the step has the same value in every step."""
    given = next((s.given for s in scan.slices if s.leaf is of), None)
    if given is not None:
        return given
    if not inside:
        return in_every_step(of, scan.length)
    known = _unrolled.setdefault(scan, WeakValueDictionary())
    found = known.get(of)
    if found is None:
        found = known[of] = Unrolled(scan, of)
    return found


def in_every_step(node: Node, length: Extent) -> Node:
    """node[..] as v[t, ..]."""
    shape = (length, *node.shape)
    at = tuple(constant(0) if e == 1 else index(i + 1) for i, e in enumerate(node.shape))
    return equation(shape, len(shape), "sum", placeholder(0), [Read(node, at)])


def linked(scan: Scan) -> Node:
    """v[t]: 1, but 0 for the steps that derivatives do not leave towards those before them."""
    since = index(0) if not scan.backward else size(scan.length) - 1 - index(0)
    begins, later = Indicator(Mask("divides", since, scan.truncate)), Indicator(Mask("ge", since - 1))
    return equation((scan.length,), 1, "sum", 1 - placeholder(0) * placeholder(1), [begins, later])


def with_time(node: Node, axis: int) -> Node:
    """v[t, ..] of v[.., t, ..] with t on an axis."""
    return transposed(node, [axis, *(i for i in range(node.rank) if i != axis)])


def transposed(node: Node, order: Sequence[int]) -> Node:
    """The node with its axes in another order."""
    place = {old: new for new, old in enumerate(order)}
    if list(order) == list(range(node.rank)):
        return node
    shape = [node.shape[i] for i in order]
    at = tuple(constant(0) if e == 1 else index(place[i]) for i, e in enumerate(node.shape))
    return equation(shape, len(shape), "sum", placeholder(0), [Read(node, at)])


def at_step(node: Node, t: Affine) -> Node:
    """v[..] of v[t, ..] at one step."""
    shape = node.shape[1:]
    at = tuple(constant(0) if e == 1 else index(i) for i, e in enumerate(shape))
    return equation(shape, len(shape), "sum", placeholder(0), [Read(node, (t, *at))])
