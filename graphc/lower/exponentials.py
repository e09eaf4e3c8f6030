"""Softmax made of the exponentials that its logsumexp has computed: every exponential once.

    L[i] = logsumexp_k u[i, k]         e[i, k] = exp(u[i, k] - top[i])         inverse[i] = 1/sum_k e[i, k]
    exp(u[i, k] - L[i])  ->  e[i, k]*inverse[i]

The loops of the logsumexp store e and the inverse where some equation reads them so.  No element loses accuracy: top
is the largest u, so that the sum is between 1 and the number of terms; where e underflows, so does the quotient.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product

import sympy

from graphc.ir.affine import Affine, constant, identity, index, substitute
from graphc.ir.node import Equation, Indicator, Mask, Node, Operand, Position, Read
from graphc.ir.parts import parts_of_kind
from graphc.ir.scalar import placeholder, placeholders
from graphc.lower.logsumexp_parts import Parts
from graphc.records import record

POWERS = 2  # of a softmax, or softmaxes of one row, that a derivative multiplies


class share_of(sympy.Function):
    """e*inverse, a part of a row that adds up to 1: opaque, so that whatever contains it finds it whole."""

    is_real = True
    nargs = 2


@record(frozen=True)
class Exponentials:
    """e[i, k] with its indices in the order ``axes`` of those of the logsumexp, and the inverse of their sum."""

    terms: Equation
    inverse: Equation
    axes: tuple[int, ...]

    @property
    def at(self) -> tuple[Affine, ...]:
        """The indices of the logsumexp at which an exponential lies."""
        shape = self.terms.shape
        return tuple(constant(0) if e == 1 else index(i) for i, e in zip(self.axes, shape, strict=True))

    def read(self, at: Sequence[Affine]) -> Read:
        """The exponential at the indices of the logsumexp, bound ones included."""
        return Read(self.terms, tuple(at[i] for i in self.axes))


def exponentials_of(y: Equation, parts: Parts, order: Sequence[Affine]) -> Exponentials:
    """The exponentials of a logsumexp, laid out as their first reader, which has its indices at ``order``, moves."""
    axes = _axes(y, order)
    shape = tuple(y.extents[i] for i in axes)
    place = {i: constant(0) if y.extents[i] == 1 else index(axes.index(i)) for i in axes}
    move = place.__getitem__
    operands = [_moved(op, move) for op in y.operands]
    top = Read(parts.top, tuple(place[i] for i in range(y.n_free)))
    body = sympy.exp(y.body - placeholder(len(operands)))
    terms = Equation(shape, len(shape), "sum", body, (*operands, top), ())
    own = tuple(constant(0) if e == 1 else a for a, e in zip(identity(y.n_free), y.shape, strict=True))
    inverse = Equation(y.shape, y.n_free, "sum", sympy.exp(-placeholder(0)), (Read(parts.log, own),), ())
    return Exponentials(terms, inverse, axes)


def may_store(y: Equation) -> bool:
    """True for a logsumexp without masks whose exponentials take no memory of another order: behind the first its
    extents are literal, or it reads an array as large as they are."""
    free = any(isinstance(e, str) for e in y.extents[1:])
    every = {i for i, e in enumerate(y.extents) if e != 1}
    return not y.masks and (not free or any(every <= {a.plain_index for a in r.at} for r in y.reads))


def softmaxes_in(y: Equation, among: Mapping[Node, object]) -> Iterator[tuple[Equation, tuple[Affine, ...]]]:
    """The logsumexps of which y reads a softmax, and the indices, bound ones included, at which it does."""
    for e in parts_of_kind(y.body, sympy.exp):
        for j, at in _factors(y, e.args[0], among):
            node = _read(y, j).node
            assert isinstance(node, Equation)
            yield node, at


def reading_exponentials(y: Equation, stored: Mapping[Node, Exponentials]) -> Equation:
    """The equation with stored exponentials in place of those it would compute; y itself where it reads none."""
    operands = list(y.operands)
    shares = {}
    for e in sorted(parts_of_kind(y.body, sympy.exp), key=sympy.default_sort_key):
        factors = []
        for j, at in _factors(y, e.args[0], stored):
            of, read = stored[_read(y, j).node], _read(y, j)
            own = [of.read(at), Read(of.inverse, read.at)]
            operands += [op for op in own if op not in operands]
            factors.append(share_of(*(placeholder(operands.index(op)) for op in own)))
        if factors:
            shares[e] = sympy.Mul(*factors)
    if not shares:
        return y
    body = y.body.xreplace(shares)
    used = placeholders(body)
    names = {placeholder(j): placeholder(t) for t, j in enumerate(used)}
    kept = tuple(operands[j] for j in used)
    return Equation(y.extents, y.n_free, y.reducer, body.xreplace(names), kept, y.masks)


def _axes(y: Equation, order: Sequence[Affine]) -> tuple[int, ...]:
    """The indices of y sorted by those of its reader, where each is one; the rows of a batch stay first."""
    own = range(len(y.extents))
    places = [-1 if y.extents[i] == 1 else order[i].plain_index for i in own]
    if any(p is None for p in places):
        return tuple(own)
    axes = tuple(sorted(own, key=lambda i: (places[i], i)))
    return axes if axes[0] == 0 or isinstance(y.extents[0], int) else tuple(own)


Factor = tuple[int, tuple[Affine, ...]]  # an operand that reads a logsumexp, and indices, bound ones included


def _factors(y: Equation, argument: sympy.Expr, among: Mapping[Node, object]) -> Sequence[Factor]:
    """The softmaxes that exp(argument) is the product of; none where it is no product."""
    needed = []
    for j, op in enumerate(y.operands):
        if isinstance(op, Read) and op.node in among:
            times = -argument.coeff(placeholder(j))
            needed += [j] * int(times) if times.is_Integer and 0 < times <= POWERS else []
    return _chosen(argument, [[*_logarithms(y, j)] for j in needed]) if needed else ()


def _chosen(left: sympy.Expr, choices: Sequence[Sequence[tuple[Factor, sympy.Expr]]]) -> Sequence[Factor]:
    """One of each of the choices, so that the sum of their logarithms is ``left``."""
    for factor, logarithm in choices[0]:
        rest = left - logarithm
        if len(choices) == 1 and rest == 0:
            return (factor,)
        found = _chosen(rest, choices[1:]) if len(choices) > 1 else ()
        if found:
            return (factor, *found)
    return ()


def _logarithms(y: Equation, j: int) -> Iterator[tuple[Factor, sympy.Expr]]:
    """u - L for operand j, which reads L, wherever y reads all that u does."""
    node = _read(y, j).node
    assert isinstance(node, Equation)
    for at in _places(y, node, _read(y, j).at):
        own = [_moved(op, at.__getitem__) for op in node.operands]
        if all(op in y.operands for op in own):
            names = {placeholder(t): placeholder(y.operands.index(op)) for t, op in enumerate(own)}
            yield (j, at), node.body.xreplace(names) - placeholder(j)


def _places(y: Equation, node: Equation, at: Sequence[Affine]) -> Iterator[tuple[Affine, ...]]:
    """Where the bound indices of a logsumexp may stand among those of its reader."""
    bound = [i for i in range(node.n_free, len(node.extents)) if node.extents[i] != 1]
    anchor = next((r for r in node.reads if set(bound) <= {a.plain_index for a in r.at}), None)
    if anchor is None:
        return
    axis = {i: [a.plain_index for a in anchor.at].index(i) for i in bound}
    choices = [dict.fromkeys(r.at[axis[i]] for r in y.reads if r.node is anchor.node) for i in bound]
    for chosen in product(*choices):
        place = {**dict(enumerate(at)), **dict(zip(bound, chosen, strict=True))}
        yield tuple(place.get(i, constant(0)) for i in range(len(node.extents)))


def _moved(op: Operand, move: Callable[[int], Affine]) -> Operand:
    """An operand at other indices."""
    if isinstance(op, Read):
        return Read(op.node, tuple(substitute(a, move) for a in op.at))
    if isinstance(op, Position):
        return Position(substitute(op.map, move))
    return Indicator(Mask(op.mask.kind, substitute(op.mask.map, move), op.mask.modulus))


def _read(y: Equation, j: int) -> Read:
    op = y.operands[j]
    assert isinstance(op, Read)
    return op
