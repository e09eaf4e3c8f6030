"""A derivation as a person would write it: the forward pass, then the chain rule line by line."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from typing import Any, Protocol

import sympy
from numpy.typing import ArrayLike

from graphc.ir.node import Equation, Leaf, Node
from graphc.ir.scalar import FUNCTIONS
from graphc.rewrite.normal import Applied
from graphc.show.chain import chain_rule
from graphc.show.latex import latex_document
from graphc.show.names import letters_by_name
from graphc.show.numbers import fill_in
from graphc.show.outline import Line, Outline, outline
from graphc.show.styles import Unicode

COLUMN, WIDTH = 65, 100  # where the remarks begin, and the longest line


class ReadGraph(Protocol):
    """What a derivation needs of the graph as the user declared it."""

    new: dict[Node, Node]
    applied: list[Applied]


class WithDerivatives(Protocol):
    """What a derivation needs of the differentiated graph."""

    loss: Node
    gradients: dict[Leaf, Node]
    adjoints: dict[Node, Node]


class Derivation:
    """The chain rule for a loss and some parameters, line by line; ``print`` shows it.

    ``lines`` holds the lines with their parts (:class:`graphc.show.outline.Line`).
    """

    def __init__(
        self,
        graph: ReadGraph,
        differentiated: WithDerivatives,
        wrt: Collection[Leaf] | None = None,
        loss_name: str = "J",
    ) -> None:
        """The derivation of ``differentiated`` (made with ``deltas``), of all parameters by default."""
        self.parameters: Mapping[str, ArrayLike] = {}  # what ``numbers`` takes for parameters that are not given
        d = differentiated
        chosen = list(d.gradients) if wrt is None else list(wrt)
        declared = letters_by_name(graph.new)
        self._outline = outline(d.loss, d.gradients, d.adjoints, chosen, declared, loss_name)
        self._applied = graph.applied

    @cached_property
    def lines(self) -> list[Line]:
        """The lines with their parts, written when they are first read."""
        for line in self._outline.lines:
            line.remark = "stable form" if _is_stable(line, self._applied) else ""
        return self._outline.lines

    @property
    def outline(self) -> Outline:
        """The lines with names and letters."""
        return self._outline

    def __str__(self) -> str:
        return "\n".join(self.rows(self.lines))

    __repr__ = __str__

    def index(self) -> str:
        """Index form: every formula element by element."""
        return "\n".join(self.rows(self.lines, matrix=False))

    def rows(self, lines: Sequence[Line], matrix: bool = True) -> list[str]:
        """The text of some lines: index form, with the matrix form where that holds a product and ``matrix`` is set."""
        width = max((len(line.left) for line in self.lines), default=0)
        found = []
        for line in lines:
            form = line.matrix if matrix and line.number and line.has_products else None
            found += _rows(line.left, [line.partial, line.index, form or ""], _tag(line), width)
        return found

    def matrix(self) -> str:
        """Matrix form; lines that have none keep their index form."""
        return "\n".join(self._matrix_line(line) for line in self.lines)

    def latex(self, style: str = "index") -> str:
        """LaTeX (an ``aligned`` block) in ``"index"``, ``"matrix"`` or ``"lecture"`` form.

        Raises
        ------
        ValueError
            For another style.
        """
        return latex_document(self._outline, style)

    def lecture(self) -> str:
        """The product of partial derivatives first, then each factor."""
        return "\n\n".join(chain_rule(self._outline, w, Unicode()).text() for w in self._outline.gradients)

    def numbers(
        self, data: Mapping[str, ArrayLike], row: int = 0, params: Mapping[str, ArrayLike] | None = None
    ) -> str:
        """Every line with numbers put in, for one row of the data and the first element of every other axis.

        ``data`` and ``params`` give the arrays of inputs and parameters by name; parameters may stand in either, those
        that do not are the model's.
        """
        return fill_in(self._outline, {**self.parameters, **data, **(params or {})}, row)

    def names(self) -> dict[Node, str]:
        """The name of every equation that has a line, but for the gradients of parameters: Z0, H0, δ0."""
        shown = self._outline
        return {node: Unicode().name(shown.names.of(node)) for node in (*shown.forward, *shown.backward)}

    def captions(self) -> dict[Node, str]:
        """The formula of every node, with its number, for comments beside the generated code."""
        found: dict[Node, str] = {}
        for line in reversed(self.lines):
            number = f"   ({line.number})" if line.number else ""
            name = line.left or line.partial
            found.update(dict.fromkeys(line.shown.inlined, f"part of {name}{number}"))
            found[line.node] = f"{name} = {line.index}{number}"
        return {line.node: found[line.node] for line in self.lines} | found

    def _repr_latex_(self) -> str:
        return f"$$\n{self.latex()}\n$$"

    def _matrix_line(self, line: Line) -> str:
        names = self._outline.names
        name = "" if isinstance(line.target, Leaf) else names.of(line.node)
        partial = Unicode().partial(names.loss, names.of(line.target)) if line.target else ""
        if line.matrix is None:
            name, partial = line.left, line.partial
        return "\n".join(_rows(name, [partial, line.matrix or line.index], _tag(line), 0))


def _tag(line: Line) -> str:
    if line.number is not None:
        return f"({line.number})"
    return "   ".join(x for x in (str(line.origin or ""), line.remark) if x)


def _rows(left: str, parts: Sequence[str], tag: str, width: int) -> list[str]:
    """left = part = part        tag, broken before the last ``=`` signs that do not fit."""
    first, second, *others = [x for x in (left.ljust(width) if left else "", *parts) if x]
    rows = [f"{first} = {second}"]
    for part in others:
        joined = f"{rows[-1]} = {part}"
        if len(joined) + len(tag) + 2 < WIDTH:
            rows[-1] = joined
        else:
            rows.append(f"{' ' * (width + 1)}= {part}")
    rows = [piece for row in rows for piece in _broken(row, len(tag) + 2, width + 5)]
    over = min(6, WIDTH - 1 - len(rows[-1]) - len(tag))
    gap = max(COLUMN - len(rows[-1]) if len(rows[-1]) < COLUMN - 1 else over, 2)
    rows[-1] = (rows[-1] + " " * gap + tag).rstrip()
    return rows


def _broken(row: str, reserve: int, indent: int) -> list[str]:
    """A row that is too long, broken before a plus, a minus or a factor."""
    pieces = []
    while len(row) + reserve >= WIDTH:
        cuts = [m.start() for m in re.finditer(r" [+-] |·", row) if indent + 20 < m.start() < WIDTH - reserve]
        if not cuts:
            break
        cut = max((c for c in cuts if row[c] == " " and c > WIDTH // 2), default=cuts[-1])
        pieces.append(row[:cut])
        row = " " * indent + row[cut:].strip()
    return [*pieces, row]


def _is_stable(line: Line, applied: Sequence[Applied]) -> bool:
    """Whether a stable form that a rule introduced on the user's line stands in this equation."""
    node = line.node
    if line.number is not None or not isinstance(node, Equation):
        return False
    here = {f for n in (node, *line.shown.inlined) if isinstance(n, Equation) for f in _functions(n)}
    return any(a.origin is not None and a.origin == node.origin and here & _fired(a) for a in applied)


def _fired(a: Applied) -> set[str]:
    """The stable functions that a rule brought in."""
    if "logsumexp" in str(a.after):
        return {"logsumexp"}
    return {name for name in _names(a.after) - _names(a.before) if name in FUNCTIONS and FUNCTIONS[name].careful}


def _functions(node: Equation) -> set[str]:
    return _names(node.body) | {node.reducer}


def _names(expr: sympy.Expr) -> set[str]:
    return {type(f).__name__ for f in expr.atoms(sympy.Function)}


def derivation(
    graph: Any, differentiated: Any, wrt: Collection[Leaf] | None = None, loss_name: str = "J"
) -> Derivation:
    """The derivation of a differentiated graph; ``graph`` is the one it was made from."""
    return Derivation(graph, differentiated, wrt, loss_name)
