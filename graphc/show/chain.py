"""The lecture form: dJ/dW as a product of partial derivatives along the way from the loss to W, and each factor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import sympy
from sympy import Expr, S, Symbol

from graphc.ir.affine import constant, index
from graphc.ir.node import Equation, Leaf, Node
from graphc.ir.scalar import OUT, derivative, placeholder
from graphc.records import record
from graphc.show.formulas import Printer
from graphc.show.outline import Line, Outline
from graphc.show.reading import Ref, Shown, Sum, written_out
from graphc.show.styles import Unicode

MOST_PATHS = 4


@record
class Chain:
    """dJ/dW = dJ/dZ1 · dZ1/dH0 · .., its factors as (left, right), and the result."""

    total: str
    product: str
    factors: list[tuple[str, str]]
    result: tuple[str, str]

    def text(self) -> str:
        """Plain text, one factor a line."""
        width = max(len(left) for left, _ in [*self.factors, self.result])
        rows = [f"{self.total} = {self.product}"]
        rows += [f"  {left:{width}} = {right}" for left, right in [*self.factors, self.result]]
        return "\n".join(rows)


def chain_rule(out: Outline, leaf: Leaf, style: Unicode) -> Chain:
    """The chain rule for one parameter."""
    by_node = {line.node: line for line in out.lines if line.number is None}
    paths = _paths(out.loss, leaf, by_node)
    name = {n: style.name(out.names.of(n)) for p in paths for n in p} | {leaf: style.name(out.names.of(leaf))}
    loss = style.name(out.names.loss)
    shown_paths = paths[:MOST_PATHS]
    dot = " · " if style.dot == "·" else r" \cdot "
    products = [dot.join(style.partial(name[a], name[b]) for a, b in _edges(p)) for p in shown_paths]
    products = [style.direct(p) if len(paths) > 1 and dot not in p else p for p in products]
    more = ["…" if style.dot == "·" else r"\dots"] if len(paths) > MOST_PATHS else []
    edges = list(dict.fromkeys(e for p in shown_paths for e in _edges(p)))
    factors = [f for f in (_factor(out, by_node, a, b, style) for a, b in edges) if f]
    last = next(line for line in out.lines if line.target is leaf)
    result = (last.partial_in(style), last.index_in(style))
    return Chain(style.partial(loss, name[leaf]), " + ".join(products + more) or "0", factors, result)


def last_steps(out: Outline, line: Line, style: Unicode) -> Chain | None:
    """The chain rule for one line, from the nearest derivatives that stand in lines of their own; None for the rest."""
    goal = line.target
    if goal is None:
        return None
    by_node = {x.node: x for x in out.lines if x.number is None}
    stops = {x.target for x in out.lines if x.target is not None and not isinstance(x.target, Leaf)} - {goal}
    paths = _ways_up(goal, {*stops, out.loss}, by_node)
    name = {n: style.name(out.names.of(n)) for p in paths for n in p}
    loss, dot = style.name(out.names.loss), " · " if style.dot == "·" else r" \cdot "
    first = lambda p: [] if p[0] is out.loss else [style.partial(loss, name[p[0]])]
    products = [dot.join([*first(p), *(style.partial(name[a], name[b]) for a, b in _edges(p))]) for p in paths]
    edges = list(dict.fromkeys(e for p in paths for e in _edges(p)))
    factors = [f for f in (_factor(out, by_node, a, b, style) for a, b in edges) if f]
    result = (line.partial_in(style), line.index_in(style))
    more = ["…" if style.dot == "·" else r"\dots"] if len(paths) == MOST_PATHS else []
    total = style.partial(loss, style.name(out.names.of(goal)))
    return Chain(total, " + ".join([*products, *more]), [f for f in factors if f != result], result)


def _ways_up(goal: Node, stops: set[Node], lines: dict[Node, Line]) -> list[list[Node]]:
    """The ways from what reads a node, through lines without a derivative of their own, to the first that has one."""
    readers: dict[Node, list[Node]] = {}
    for node, line in lines.items():
        for read in dict.fromkeys(r.node for r in line.shown.refs()):
            readers.setdefault(read, []).append(node)
    found: list[list[Node]] = []
    open_paths = [[goal]]
    while open_paths and len(found) < MOST_PATHS:
        path = open_paths.pop()
        for reader in readers.get(path[0], ()):
            (found if reader in stops else open_paths).append([reader, *path])
    return found


def _edges(path: Sequence[Node]) -> list[tuple[Node, Node]]:
    return list(zip(path, path[1:], strict=False))


def _paths(start: Node, goal: Node, lines: dict[Node, Line]) -> list[list[Node]]:
    """Every way from the loss down to a parameter, at most one more than are shown."""
    reach: dict[Node, bool] = {}
    for node, line in lines.items():  # a line comes after those it reads
        reach[node] = any(r.node is goal or reach.get(r.node) for r in line.shown.refs())
    found: list[list[Node]] = []
    open_paths = [[start]]
    while open_paths and len(found) <= MOST_PATHS:
        path = open_paths.pop()
        if path[-1] is goal:
            found.append(path)
        elif path[-1] in lines:
            below = dict.fromkeys(r.node for r in lines[path[-1]].shown.refs())
            open_paths += [[*path, n] for n in reversed(below) if n is goal or reach.get(n)]
    return found


def _factor(out: Outline, lines: dict[Node, Line], parent: Node, child: Node, style: Unicode) -> tuple[str, str] | None:
    """(left, right) of the derivative of one line by what it reads; None when it has no short form."""
    delta = next((line for line in out.lines if line.target is child and not isinstance(child, Leaf)), None)
    readers = [line for line in lines.values() if any(r.node is child for r in line.shown.refs())]
    if delta is not None and parent is out.loss and len(readers) == 1:
        return delta.partial_in(style), delta.index_in(style)
    shown = _derivative(lines[parent].shown, child)
    if shown is None:
        return None
    line, reads = shown
    printer = Printer(line, out.names, style)
    left = style.partial(printer.left(), printer.ref(reads))
    alone = parent is not out.loss or not isinstance(child, Leaf) or len(readers) == 1
    return (left if alone else style.direct(left)), printer.right()


def _derivative(shown: Shown, child: Node) -> tuple[Shown, Ref] | None:
    targets = [s for s, p in shown.pieces.items() if isinstance(p, Ref) and p.node is child]
    if len(targets) != 1:
        return None
    pieces = dict(shown.pieces)
    made = replace(shown, pieces=pieces)
    slope = _slope(made, shown.expr, targets[0], shown.node)
    reference = shown.pieces[targets[0]]
    assert isinstance(reference, Ref)
    return None if slope is None else (replace(made, expr=slope), reference)


def _slope(shown: Shown, expr: Expr, target: Symbol, node: Node | None) -> Expr | None:
    """d expr / d target; a sum over indices that the target fixes falls away."""
    total: Expr = S.Zero
    for symbol in sorted(expr.free_symbols, key=str):
        piece = shown.pieces.get(symbol)
        if symbol is target:
            inner: Expr | None = S.One
        elif isinstance(piece, Sum) and _holds(shown, piece.body, target):
            inner = _inside_sum(shown, piece, target)
        elif piece is not None and not isinstance(piece, Ref) and _holds(shown, symbol, target):
            return None
        else:
            continue
        if inner is None:
            return None
        total += _outer(shown, expr, symbol, node) * inner
    return total


def _holds(shown: Shown, expr: Expr, target: Symbol) -> bool:
    bodies = [getattr(shown.pieces.get(s), "body", None) for s in expr.free_symbols]
    return target in expr.free_symbols or any(b is not None and _holds(shown, b, target) for b in bodies)


def _inside_sum(shown: Shown, piece: Sum, target: Symbol) -> Expr | None:
    reference = shown.pieces[target]
    assert isinstance(reference, Ref)
    fixed = {a.plain_index for a in reference.at}
    if piece.reducer != "sum" or piece.masks or not set(piece.bound) <= fixed:
        return None
    return _slope(shown, piece.body, target, None)


def _outer(shown: Shown, expr: Expr, symbol: Symbol, node: Node | None) -> Expr:
    """d expr / d symbol, in terms of the node's own value where that is shorter: tanh' = 1 - H²."""
    symbols = sorted(expr.free_symbols & shown.pieces.keys(), key=str)
    there = {s: placeholder(j) for j, s in enumerate(symbols)}
    back = {p: s for s, p in there.items()}
    plain = isinstance(node, Equation) and node.elementwise
    slope = derivative(expr.xreplace(there), symbols.index(symbol), use_output=plain)
    if slope.has(OUT):
        at = tuple(constant(0) if e == 1 else index(i) for i, e in zip(shown.free, shown.node.shape, strict=True))
        own = Symbol("own", real=True)
        shown.pieces[own] = Ref(shown.node, at)
        back[OUT] = own
    return written_out(sympy.sympify(slope).xreplace(back), shown.pieces)
