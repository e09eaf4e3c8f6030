"""Sample weights: the loss of every row counts as often as its weight says.

    J = 1/n sum_i l_i    ->    1/W sum_i w_i l_i,   W = sum_i w_i        a weight of 2 is that row twice
    J = sum_i l_i        ->    sum_i w_i l_i

A batch whose weights are all 0 has the loss 0: there W counts as 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import sympy

from graphc.errors import DataError
from graphc.ir.affine import gathers, index
from graphc.ir.build import elementwise, equation
from graphc.ir.node import Equation, Leaf, Node, Position, Read, extent_symbol, free_sizes, operand_maps
from graphc.ir.scalar import equal, placeholder
from graphc.ir.walk import rebuild, topological, with_sources


def total_weight(weights: Leaf) -> Node:
    """W = sum_i w_i."""
    return equation(weights.shape, 0, "sum", placeholder(0), [Read(weights, (index(0),))])


def _divisor(weights: Leaf) -> Node:
    """W, or 1 where W is 0."""
    W = placeholder(0)
    return elementwise(W + equal(W, 0), [total_weight(weights)])


def weight_rows(loss: Node, weights: Leaf, divided: bool = True) -> Node:
    """The loss with every sum over the rows weighted; means are not ``divided`` for weights whose mean is 1.

    Raises
    ------
    DataError
        When the loss is not made of sums and means over rows.
    """
    if not isinstance(loss, Equation):
        return loss
    if loss.elementwise:
        parts = {r.node: weight_rows(r.node, weights, divided) for r in loss.reads if r.node.rank == 0}
        return with_sources(loss, parts)
    return _weighted_sum(loss, weights, divided) if weights.shape[0] in loss.bound else loss


def check_states(updates: Mapping[str, Node], weights: Leaf) -> None:
    """Refuse updates of states that take the rows: weights do not reach them.

    Raises
    ------
    DataError
        Naming the update.
    """
    found = [name.replace(":", " ") for name, update in updates.items() if depends_on(update, str(weights.shape[0]))]
    if found:
        raise DataError(
            f"sample_weight: the update of the {found[0]} takes rows of the batch, which weights do not reach\n"
            f"  hint: repeat the rows in the data"
        )


def _weighted_sum(y: Equation, weights: Leaf, divided: bool) -> Node:
    rows = str(weights.shape[0])
    i = next(t for t in range(y.n_free, len(y.extents)) if y.extents[t] == rows)
    if depends_across_rows([r.node for r in y.reads], rows):
        raise DataError(
            "sample_weight: the loss of a row depends on other rows, as by statistics of the batch: weights do not "
            "reach those\n  hint: repeat the rows in the data, or make the loss one of single rows"
        )
    if y.reducer != "sum" or y.n_free:
        raise DataError(
            f"sample_weight: the loss takes the {y.reducer} over {rows!r}, which weights do not fit\n"
            f"  hint: make the loss a sum or mean of one value a row"
        )
    operands = [*y.operands, Read(weights, (index(i),))]
    w = placeholder(len(y.operands))
    size = extent_symbol(rows)
    if not divided or not y.body.has(size):
        return rebuild(y, operands, y.body * w)
    per_row = y.body * size
    if per_row.has(size):
        per_row = sympy.expand(per_row)
    if per_row.has(size):
        hint = "use gc.mean or gc.sum of one value a row"
        raise DataError(f"sample_weight: the loss is no mean over rows\n  hint: {hint}")
    operands.append(Read(_divisor(weights), ()))
    return rebuild(y, operands, per_row * w / placeholder(len(operands) - 1))


def is_row_mean(node: Node, rows: str) -> bool:
    """True when a scalar is a linear combination of means over rows and of what does not depend on rows.

    Then the average over chunks, weighted by their rows, is exact.
    """
    size = extent_symbol(rows)
    if not isinstance(node, Equation) or not depends_on(node, rows):
        return not any(isinstance(n, Equation) and n.body.has(size) for n in topological([node]))  # the rows, counted
    if node.elementwise:
        if node.body.has(size):
            return False
        linear = _polynomial(node) and sympy.Poly(node.body, *_symbols(node)).total_degree() <= 1
        return linear and all(is_row_mean(r.node, rows) for r in node.reads)
    is_mean = rows in node.bound and node.reducer == "sum" and node.body.has(size) and not (node.body * size).has(size)
    return is_mean and _reads_own_row(node, rows) and not depends_across_rows([r.node for r in node.reads], rows)


def depends_on(node: Node, rows: str) -> bool:
    """True when the free extent occurs anywhere behind the node."""
    return any(rows in (n.extents if isinstance(n, Equation) else n.shape) for n in topological([node]))


def _symbols(node: Equation) -> list[sympy.Symbol]:
    return [placeholder(j) for j in range(len(node.operands))]


def _polynomial(node: Equation) -> bool:
    symbols = _symbols(node)
    return bool(symbols) and node.body.is_polynomial(*symbols)


def depends_across_rows(nodes: Sequence[Node], rows: str) -> bool:
    """True when a row's value may depend on other rows: some equation behind the nodes reduces over them, counts them,
    has them on two axes, or reads another row than its own."""
    equations = [n for n in topological(nodes) if isinstance(n, Equation)]
    return any(rows in n.bound or rows in free_sizes(n) or not _reads_own_row(n, rows) for n in equations)


def _reads_own_row(y: Equation, rows: str) -> bool:
    """True when one index runs over the rows, everything that has rows is read at that index, and nothing else depends
    on it, such as the number of the row."""
    own = [i for i, e in enumerate(y.extents) if e == rows]
    maps = [m for op in y.operands for m in operand_maps(op)] + [m.map for m in y.masks]
    reads = [*y.reads, *(Read(g.node, g.at) for m in maps for g in gathers(m))]
    places = [a.plain_index for r in reads for a, e in zip(r.at, r.node.shape, strict=True) if e == rows]
    counted = [m for m in maps if m.plain_index not in own] + [op.map for op in y.operands if isinstance(op, Position)]
    numbers = any(i in own for m in counted for i, _ in m.terms)
    return len(own) < 2 and all(i in own for i in places) and not numbers
