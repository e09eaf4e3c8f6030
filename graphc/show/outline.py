"""Which equations of a differentiated graph get a line, in which order, and with which letters."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import field
from functools import cached_property, lru_cache

import sympy

from graphc.ir.node import Equation, Leaf, Node, Origin, Read
from graphc.ir.parts import symbols_of
from graphc.ir.scalar import placeholder, placeholder_index
from graphc.ir.scan import Unrolled
from graphc.ir.walk import consumers, sources, topological
from graphc.records import record
from graphc.show.formulas import Printer
from graphc.show.matrix import matrix_form
from graphc.show.names import Names, name_nodes, name_others
from graphc.show.reading import Logits, Shown, give_letters, letters_of_reads, read_equation, softmax_of_whole
from graphc.show.styles import Unicode

LONGEST = 6  # reads that an equation may bring along when it is put into another one


@record
class Line:
    """One line of a derivation.

    ``left = partial = index = matrix``: the texts, of which ``left`` is empty for the gradient of a parameter and
    ``partial`` for the forward pass; ``matrix`` is None where no matrix form exists.
    """

    shown: Shown
    names: Names = field(repr=False)
    number: int | None = None
    target: Node | None = None
    origin: Origin | None = None
    remark: str = ""

    @property
    def node(self) -> Node:
        """The equation that the line prints."""
        return self.shown.node

    @property
    def left(self) -> str:
        return self.left_in(Unicode())

    @property
    def partial(self) -> str:
        return self.partial_in(Unicode())

    @property
    def index(self) -> str:
        return self.index_in(Unicode())

    @property
    def matrix(self) -> str | None:
        return self.matrix_in(Unicode())

    def left_in(self, style: Unicode) -> str:
        """Z0[i,j]"""
        return "" if isinstance(self.target, Leaf) else Printer(self.shown, self.names, style).left()

    def partial_in(self, style: Unicode) -> str:
        """∂J/∂Z0[i,j]"""
        if self.target is None:
            return ""
        printer = Printer(self.shown, self.names, style)
        loss = style.name(self.names.loss)
        return style.partial(loss, printer.place(self.target, [self.shown.letters[i] for i in self.shown.free]))

    def index_in(self, style: Unicode) -> str:
        """The right side, element by element."""
        return Printer(self.shown, self.names, style).right()

    def matrix_in(self, style: Unicode) -> str | None:
        """The right side as matrices."""
        form = matrix_form(self.shown, self.names, style)
        return form.text if form else None

    @property
    def has_products(self) -> bool:
        """Whether the matrix form says more than the index form: it holds a matrix product."""
        form = matrix_form(self.shown, self.names, Unicode())
        return form is not None and form.products


@record
class Outline:
    """The lines of a derivation: forward, then adjoints, then gradients.

    ``forward`` and ``backward`` are the equations of the first two, ``layers`` those whose adjoints some of the second
    are, ``inside`` what is put into other equations. Names are given; lines are written when they are first read.
    """

    names: Names
    loss: Node
    gradients: dict[Leaf, Node]
    forward: Sequence[Node] = field(repr=False)
    backward: Sequence[Node] = field(repr=False)
    layers: dict[Node, Node] = field(repr=False)
    inside: set[Node] = field(repr=False)

    @cached_property
    def lines(self) -> list[Line]:
        """In the order in which they are read."""
        write = _Writer(self.names, self.inside, self.loss)
        lines = [write.forward(n) for n in self.forward]
        lines += [write.backward(n, self.layers.get(n)) for n in self.backward]
        lines += [write.gradient(w, bar) for w, bar in self.gradients.items()]
        for number, line in enumerate(lines[len(self.forward) :], 1):
            line.number = number
        return lines


def outline(
    loss: Node,
    gradients: Mapping[Leaf, Node],
    adjoints: Mapping[Node, Node],
    wrt: Collection[Leaf],
    declared: Mapping[str, Sequence[str]],
    loss_name: str = "J",
) -> Outline:
    """The lines that the gradients with respect to ``wrt`` need."""
    names = name_nodes(loss, adjoints, gradients, declared, loss_name)
    wanted = {w: gradients[w] for w in wrt}
    needed = set(topological(wanted.values()))
    layers = {bar: z for z, bar in reversed(list(adjoints.items())) if bar in needed and names.is_adjoint(bar)}
    inside = _goes_in([loss, *layers, *wanted.values()], names)
    forward = [n for n in topological([loss]) if isinstance(n, Equation) and n not in inside]
    name_others(names, forward)
    order = topological([*layers, *wanted.values()])
    done = {*forward, *wanted.values()} - layers.keys()
    backward = [n for n in order if isinstance(n, Equation) and n not in inside and n not in done]
    for node in backward:
        names.of(node)
    return Outline(names, loss, wanted, forward, backward, layers, inside)


def _goes_in(roots: Sequence[Node], names: Names) -> set[Node]:
    """Unnamed equations that are put into the one that reads them: single consumers, plain logsumexps, and functions of
    matrices, whose matrices are lines of their own, as is what scans read."""
    count = consumers(roots)
    size: dict[Node, int] = {}
    found: set[Node] = set()
    whole = {r.node for n in topological(roots) if isinstance(n, Equation) and n.dense for r in n.reads}
    whole |= {s for n in topological(roots) if isinstance(n, Unrolled) for s in sources(n)}
    spoken = {s for n in topological(roots) if isinstance(n, Equation) for s in _outside_exponentials(n)}
    for node in topological(roots):
        if not isinstance(node, Equation) or node in whole:
            size[node] = 1
            continue
        read = {s: max(1, sum(r.node is s for r in node.reads)) for s in sources(node)}  # once for each place
        size[node] = sum(times * (size[s] if s in found else 1) for s, times in read.items())
        factor, logits = node.body.as_coeff_Mul()
        plain = node.reducer == "logsumexp" and placeholder_index(logits) is not None
        plain = plain and (factor == 1 or node not in spoken)
        if node not in names.names and size[node] <= LONGEST and (plain or node.dense or count[node] == 1):
            found.add(node)
    return found


def _outside_exponentials(y: Equation) -> Iterator[Node]:
    """What an equation reads elsewhere than in exponentials; a logsumexp that is read in these alone is a softmax's."""
    outside = _symbols_outside_exponentials(y.body)
    return (op.node for j, op in enumerate(y.operands) if isinstance(op, Read) and placeholder(j) in outside)


@lru_cache(maxsize=4096)
def _symbols_outside_exponentials(body: sympy.Expr) -> frozenset[sympy.Symbol]:
    return symbols_of(body.replace(sympy.exp, lambda _: sympy.S.One))


class _Writer:
    def __init__(self, names: Names, inside: set[Node], loss: Node) -> None:
        self.names, self.inside, self.loss = names, inside, loss
        self.read_as: dict[Node, list[str]] = {}
        self.softmaxes: dict[Logits, Node] = {}

    def read(self, node: Node) -> Shown:
        return read_equation(node, self.inside.__contains__, self.softmaxes)

    def forward(self, node: Node) -> Line:
        shown = self.read(node)
        hints = self.hints()[:2] if node is self.loss else []
        logits = softmax_of_whole(shown)
        if logits is not None:
            self.softmaxes[logits] = node
        give_letters(shown, self.names.letters_of(node), hints, self.names.given)
        for source, letters in letters_of_reads(shown).items():
            self.read_as.setdefault(source, letters)
        return Line(shown, self.names, origin=node.origin)

    def backward(self, node: Node, layer: Node | None) -> Line:
        shown = self.read(node)
        give_letters(shown, self.names.letters_of(node), self.hints(), self.names.given)
        return Line(shown, self.names, target=layer)

    def gradient(self, leaf: Leaf, bar: Node) -> Line:
        shown = self.read(bar)
        own = self.read_as.get(leaf) or self.names.letters_of(leaf)
        give_letters(shown, own, self.hints(), self.names.given)
        return Line(shown, self.names, target=leaf)

    def hints(self) -> list[Callable[[Node], Sequence[str]]]:
        """How what is read is written elsewhere: adjoints, other equations, leaves as the forward pass reads them."""
        equation = lambda n: self.names.letters.get(n, ()) if isinstance(n, Equation) else ()
        adjoint = lambda n: equation(n) if self.names.is_adjoint(n) else ()
        return [adjoint, equation, lambda n: self.read_as.get(n, ())]
