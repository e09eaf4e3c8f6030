"""Sums of products by Einstein's notation: one equation for two operands, pair after pair for more."""

from __future__ import annotations

import string
from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np
import sympy

from graphc.declare.broadcasting import free_hint
from graphc.declare.names import node_text
from graphc.declare.origin import fail, stamp
from graphc.declare.tensor import Tensor, as_node
from graphc.errors import IndexNotationError
from graphc.ir.affine import Extent, constant, index
from graphc.ir.build import equation
from graphc.ir.node import Node, Read
from graphc.ir.scalar import placeholder

_ANY = 256  # stands for a free extent where the order of products is chosen


def einsum(subscripts: str, *operands: Any) -> Tensor:
    """A sum of products in Einstein's notation, as ``numpy.einsum`` reads it.

    Parameters
    ----------
    subscripts : str
        The indices of each operand, then those of the result: ``"ij,jk->ik"``. Without an arrow the result has the
        letters that occur once, in alphabetical order; ``...`` stands for further axes, which broadcast. A letter that
        occurs twice in an operand reads its diagonal.
    *operands : Tensors or arrays
        One for each group of letters. Three and more are multiplied pair after pair, in a cheap order.

    Returns
    -------
    Tensor
        Of the extents of the letters of the result.

    Raises
    ------
    IndexNotationError
        When the subscripts do not fit the operands, or two extents of one letter differ.

    Examples
    --------
    >>> import graphc as gc
    >>> X, W = gc.input("X", ("n", 3)), gc.param("W", (3, 2))
    >>> gc.einsum("ij,jk->ik", X, W).shape
    ('n', 2)
    """
    if not isinstance(subscripts, str):
        message = f"einsum: the subscripts are {type(subscripts).__name__} {subscripts!r:.40}"
        fail(IndexNotationError, message, 'give text first, such as "ij,jk->ik".')
    nodes = [as_node(x, "einsum") for x in operands]
    terms, out = _parse(subscripts, nodes)
    extents = letter_extents(f"einsum {subscripts!r}", nodes, terms)
    return Tensor(_pair_after_pair(nodes, terms, out, extents))


def product_sum(nodes: Sequence[Node], terms: Sequence[str], out: str, extents: dict[str, Extent]) -> Node:
    """out[..] = sum of the product of the nodes over the letters that the result does not have."""
    bound = [c for c in dict.fromkeys("".join(terms)) if c not in out]
    place = {c: index(t) for t, c in enumerate([*out, *bound])}
    reads = []
    for node, term in zip(nodes, terms):
        at = [constant(0) if e == 1 else place[c] for c, e in zip(term, node.shape)]
        reads.append(Read(node, tuple(at)))
    body = sympy.Mul(*[placeholder(j) for j in range(len(nodes))])
    return stamp(equation([extents[c] for c in place], len(out), "sum", body, reads), nodes)


def letter_extents(what: str, nodes: Sequence[Node], terms: Sequence[str]) -> dict[str, Extent]:
    """The extent of every letter; an extent of 1 broadcasts."""
    found: dict[str, tuple[Extent, Node, int]] = {}
    for node, term in zip(nodes, terms):
        for t, (c, e) in enumerate(zip(term, node.shape)):
            known = found.get(c, (1, node, t))
            if known[0] != 1 != e != known[0]:
                _clash(what, c, known, (e, node, t))
            found[c] = (e, node, t) if known[0] == 1 else known
    return {c: e for c, (e, _, _) in found.items()}


def _clash(what: str, letter: str, a: tuple[Extent, Node, int], b: tuple[Extent, Node, int]) -> NoReturn:
    message = f"{what}: index {letter} runs to {a[0]} on axis {a[2]} of {node_text(a[1])} "
    message += f"but axis {b[2]} of {node_text(b[1])} has extent {b[0]}"
    fail(IndexNotationError, message, free_hint(a[0], b[0]) or "use another letter, or give both the same extent.")


def _pair_after_pair(nodes: list[Node], terms: list[str], out: str, extents: dict[str, Extent]) -> Node:
    """The product in NumPy's greedy order; what no other operand and not the result has is summed at once."""
    if len(nodes) > 2:
        shapes = [np.broadcast_to(0.0, [e if isinstance(e, int) else _ANY for e in n.shape]) for n in nodes]
        path = np.einsum_path(f"{','.join(terms)}->{out}", *shapes, optimize="greedy")[0][1:]
        for chosen in path[:-1]:
            taken = [(nodes.pop(t), terms.pop(t)) for t in sorted(chosen, reverse=True)][::-1]
            kept = {*out, *"".join(terms)}
            letters = "".join(c for c in dict.fromkeys("".join(term for _, term in taken)) if c in kept)
            nodes.append(product_sum([n for n, _ in taken], [term for _, term in taken], letters, extents))
            terms.append(letters)
    return product_sum(nodes, terms, out, extents)


# ---------------------------------------------------------------- subscripts


def _parse(subscripts: str, nodes: Sequence[Node]) -> tuple[list[str], str]:
    """The letters of each operand and of the result, ``...`` spelled out."""
    text = subscripts.replace(" ", "")
    left, arrow, right = text.partition("->")
    terms = left.split(",")
    unknown = set(text.replace("->", "").replace("...", "").replace(",", "")) - set(string.ascii_letters)
    if unknown or "," in right or text.count("->") > 1:
        shown = f"holds {min(unknown)!r}" if unknown else "has more than one result"
        message = f"einsum: {subscripts!r} {shown}"
        fail(IndexNotationError, message, 'write letters, commas and one arrow, such as "ij,jk->ik".')
    if len(terms) != len(nodes):
        message = f"einsum: {subscripts!r} has {len(terms)} groups of letters for {len(nodes)} operands"
        fail(IndexNotationError, message, "separate the groups by commas, one for each operand.")
    counts = [_further(subscripts, term, node) for term, node in zip(terms, nodes)]
    names = [c for c in string.ascii_letters if c not in text]
    dots = "".join(names[: max(counts, default=0)])
    spelled = [term.replace("...", dots[len(dots) - count :]) for term, count in zip(terms, counts)]
    if not arrow:
        once = sorted(c for c in {*left} & {*string.ascii_letters} if left.count(c) == 1)
        return spelled, dots + "".join(once)
    return spelled, _result(subscripts, right, dots, spelled)


def _further(subscripts: str, term: str, node: Node) -> int:
    """How many axes the ``...`` of a term stands for."""
    letters = term.replace("...", "", 1)
    if len(letters) != node.rank and not ("..." in term and len(letters) < node.rank):
        message = f"einsum: {subscripts!r} gives {node_text(node)} the indices {term!r}, but it has {node.rank} axes"
        fail(IndexNotationError, message, "give one letter for each axis, or ... for the others.")
    return node.rank - len(letters)


def _result(subscripts: str, right: str, dots: str, terms: Sequence[str]) -> str:
    known = set("".join(terms))
    out = right.replace("...", dots)
    wrong = next((c for c in out if out.count(c) > 1 or c not in known), None)
    if wrong is not None:
        how = "twice in the result" if out.count(wrong) > 1 else "in the result alone"
        message = f"einsum: {subscripts!r} has the index {wrong} {how}"
        fail(IndexNotationError, message, "the result has indices of the operands, each once.")
    return out
