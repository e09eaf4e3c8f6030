"""``equation(...)``: the only way to make an equation; it returns the canonical node, so that equal means identical."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Hashable, Sequence
from functools import lru_cache
from weakref import WeakValueDictionary

import sympy

from graphc.ir.affine import (
    Affine,
    Extent,
    FloorDiv,
    affine,
    constant,
    describe,
    gathers,
    identity,
    index,
    indices,
    lower_bound,
    size,
    substitute,
    upper_bound,
)
from graphc.ir.contract import contract, map_mask, map_operand
from graphc.ir.node import (
    DENSE,
    Equation,
    Indicator,
    Mask,
    Node,
    Operand,
    Read,
    Reducer,
    extent_symbol,
    operand_maps,
)
from graphc.ir.parts import symbols_of, with_symbols
from graphc.ir.scalar import placeholder, placeholder_index, where
from graphc.records import record

_table: WeakValueDictionary[tuple, Equation] = WeakValueDictionary()
Described = tuple[Sequence[Extent], int, Reducer, sympy.Expr, Sequence[Operand], Sequence[Mask]]
"""What :func:`equation` is given."""


@record
class _Draft:
    """An equation on its way to canonical form."""

    extents: tuple[Extent, ...]
    n_free: int
    reducer: Reducer
    body: sympy.Expr
    operands: list[Operand]
    masks: list[Mask]

    def move(self, how: Callable[[Affine], Affine]) -> None:
        self.operands = [map_operand(op, how) for op in self.operands]
        self.masks = [map_mask(m, how) for m in self.masks]

    def maps(self) -> list[Affine]:
        return [m for op in self.operands for m in operand_maps(op)] + [m.map for m in self.masks]


def equation(
    extents: Sequence[Extent],
    n_free: int,
    reducer: Reducer,
    body: sympy.Expr,
    operands: Sequence[Operand],
    masks: Sequence[Mask] = (),
) -> Node:
    """out[free..] = reduce_{bound.. : masks} body(operands..), in canonical form.

    The first ``n_free`` extents are those of the result, the others are reduced.  Placeholder ``a_j`` of the body
    stands for operand j.  Returns the node that computes it, which is an operand itself for the identity.
    """
    operands, masks = tuple(operands), tuple(masks)
    if reducer in DENSE:
        return _intern(_Draft(tuple(extents), n_free, reducer, body, list(operands), list(masks)))
    d, idle = _alike(tuple(extents), n_free, reducer, body, operands, masks)
    return _broadcast(d, idle) if idle else _intern(d)


def _alike(
    extents: tuple[Extent, ...], n_free: int, reducer: Reducer, body: sympy.Expr, operands: tuple[Operand, ...],
    masks: tuple[Mask, ...],
) -> tuple[_Draft, set[int]]:  # fmt: skip
    """What :func:`settled` gives, found once for equations that differ in the nodes they read alone, as those of equal
    layers do: all that it asks of these is their order, but of views and labels."""
    nodes = sorted({op.node for op in operands if isinstance(op, Read)}, key=lambda n: n.serial)
    maps = [m for op in operands for m in operand_maps(op)] + [m.map for m in masks]
    if len(nodes) > len(_STANDS) or any(map(is_view, nodes)) or any(True for m in maps for _ in gathers(m)):
        return settled.__wrapped__(extents, n_free, reducer, body, operands, masks)
    d, idle = settled(extents, n_free, reducer, body, tuple(_reading(operands, nodes, _STANDS)), masks)
    return _of_nodes(d, nodes), idle


def _reading(operands: Sequence[Operand], nodes: Sequence[Node], others: Sequence[Node]) -> list[Operand]:
    """The operands with other nodes in the place of these."""
    new = dict(zip(nodes, others, strict=False))
    return [Read(new[op.node], op.at) if isinstance(op, Read) else op for op in operands]


def _of_nodes(d: _Draft, nodes: Sequence[Node]) -> _Draft:
    """A draft that reads stands with the nodes they stand for."""
    return _Draft(d.extents, d.n_free, d.reducer, d.body, _reading(d.operands, _STANDS, nodes), [*d.masks])


def equation_of(key: Hashable, nodes: Sequence[Node], make: Callable[[], Described]) -> Node:
    """The equation that ``make`` describes by the arguments of :func:`equation`, made once for all nodes that stand in
    the same order: but for the nodes that it reads, all of it follows from ``key``."""
    order = sorted({*nodes}, key=lambda n: n.serial)
    if len(order) > len(_STANDS) or any(map(is_view, order)):
        return equation(*make())
    place = {node: t for t, node in enumerate(order)}
    full = key, *(place[node] for node in nodes)
    found = _described.get(full)
    if found is None:
        extents, n_free, reducer, body, operands, masks = make()
        neutral = tuple(_reading(operands, order, _STANDS))
        if len(_described) >= MOST:
            _described.clear()
        found = _described[full] = settled(tuple(extents), n_free, reducer, body, neutral, tuple(masks))
    d, idle = _of_nodes(found[0], order), found[1]
    return _broadcast(d, idle) if idle else _intern(d)


class _Stand(Node):
    """The first, second, .. node that an equation reads, in order of their making."""

    __slots__ = ()

    def __init__(self, serial: int) -> None:  # no number of the count is taken  # pyright: ignore[reportMissingSuperCall]
        self.serial, self.name, self.origin = serial, None, None


_STANDS: list[Node] = [*map(_Stand, range(32))]
MOST = 2048  # equations that are remembered without their nodes
_described: dict[Hashable, tuple[_Draft, set[int]]] = {}


@lru_cache(maxsize=MOST)
def settled(
    extents: tuple[Extent, ...], n_free: int, reducer: Reducer, body: sympy.Expr, operands: tuple[Operand, ...],
    masks: tuple[Mask, ...],
) -> tuple[_Draft, set[int]]:  # fmt: skip
    """The canonical form, or what is on its way to it with the free indices that nothing reads."""
    d = _Draft(extents, n_free, reducer, body, list(operands), list(masks))
    _merge_operands(d)
    _inline_views(d)
    _fix_unit_indices(d)
    _decide_indicators(d)
    _hoist_indicators(d)
    if any(m.kind == "eq" for m in d.masks) and len(d.extents) > n_free and reducer != "prod":
        d.extents, d.operands, d.masks = contract(d.extents, n_free, d.operands, d.masks)
        _fix_unit_indices(d)
    _use_divisibility(d)
    _decide_indicators(d)
    _hold_labels(d)
    _drop_provable_masks(d)
    _merge_operands(d)
    if reducer == "sum" and (d.body == 0 or any(never_true(m, d.extents) for m in d.masks)):
        d.body, d.operands, d.masks, d.extents = sympy.S.Zero, [], [], d.extents[:n_free]
    _drop_unused_indices(d)
    idle = _idle_free_indices(d)
    if not idle:
        _canonical_order(d)
    return d, idle


def constant_node(value: sympy.Expr | int, shape: Sequence[Extent] = ()) -> Node:
    """The same number everywhere."""
    return equation(shape, len(shape), "sum", sympy.sympify(value), [])


def dense(kind: Reducer, matrices: Node) -> Node:
    """The function of every matrix of a stack A[b.., k, l]: its inverse, its Cholesky factor, its determinant."""
    shape = matrices.shape
    batch, n_free = shape[:-2], len(shape) - 2 + DENSE[kind]
    places = [*range(len(batch)), n_free, n_free + 1]
    at = tuple(constant(0) if e == 1 else index(i) for i, e in zip(places, shape, strict=True))
    extents = (*shape, *shape[-2:]) if DENSE[kind] else shape
    return equation(extents, n_free, kind, placeholder(0), [Read(matrices, at)])


def elementwise(body: sympy.Expr, nodes: Sequence[Node], shape: Sequence[Extent] | None = None) -> Node:
    """body applied to nodes of one shape, each read as it stands."""
    shape = nodes[0].shape if shape is None else shape
    return equation(shape, len(shape), "sum", body, [Read(n, identity(n.rank)) for n in nodes])


def inline(body: sympy.Expr, operands: list[Operand], j: int, extents: Sequence[Extent]) -> sympy.Expr:
    """Put the body of the elementwise equation that operand j reads in place of a_j; appends to ``operands``."""
    read = operands[j]
    assert isinstance(read, Read) and isinstance(read.node, Equation)
    inner, at = read.node, read.at

    def move(x: Affine) -> Affine:
        return substitute(x, at.__getitem__, extents)

    names = {placeholder(t): _place(operands, map_operand(op, move)) for t, op in enumerate(inner.operands)}
    value = with_symbols(inner.body, names)
    varies = any(placeholder_index(s) is not None for s in symbols_of(value))
    for mask in inner.masks:  # outside its masks an elementwise equation is 0; a select keeps NaN out
        indicator = _place(operands, Indicator(map_mask(mask, move)))
        value = where(indicator, value, sympy.S.Zero) if varies else value * indicator
    return with_symbols(body, {placeholder(j): value})


def _place(operands: list[Operand], operand: Operand) -> sympy.Symbol:
    if operand not in operands:
        operands.append(operand)
    return placeholder(operands.index(operand))


def is_view(node: Node) -> bool:
    """A constant, or another node read at other places: costs nothing, so it is always inlined."""
    return (
        isinstance(node, Equation) and node.elementwise and not node.masks and _costs_nothing(node.body, node.operands)
    )


def _costs_nothing(body: sympy.Expr, operands: Sequence[Operand]) -> bool:
    """A constant or a read alone."""
    return not operands or (placeholder_index(body) is not None and isinstance(operands[0], Read))


def _inline_views(d: _Draft) -> None:
    j = 0
    while j < len(d.operands):
        op = d.operands[j]
        if isinstance(op, Read) and is_view(op.node) and placeholder(j) in symbols_of(d.body):
            d.body = inline(d.body, d.operands, j, d.extents)
        j += 1


def _fix_unit_indices(d: _Draft) -> None:
    """An index over extent 1 is 0."""
    if 1 not in d.extents:
        return
    units = {i for i, e in enumerate(d.extents) if e == 1}
    d.move(lambda x: substitute(x, lambda i: constant(0) if i in units else index(i), d.extents))


def _decide_indicators(d: _Draft) -> None:
    """[m]  ->  1 or 0        where the extents alone decide the mask: what it guards may lie outside of its tensor."""
    known = {}
    for j, op in enumerate(d.operands):
        if isinstance(op, Indicator) and always_true(op.mask, d.extents):
            known[placeholder(j)] = sympy.S.One
        elif isinstance(op, Indicator) and never_true(op.mask, d.extents):
            known[placeholder(j)] = sympy.S.Zero
    if known:
        d.body = with_symbols(d.body, known)


def _hoist_indicators(d: _Draft) -> None:
    """sum_k [m]*f  ->  sum_{k: m} f        and the same for where([m], f, 0)."""
    if d.reducer != "sum":
        return
    changed = len(d.extents) > d.n_free
    while changed:
        changed = False
        for j, op in enumerate(d.operands):
            rest = _without_factor(d.body, placeholder(j)) if isinstance(op, Indicator) else None
            if rest is not None:
                assert isinstance(op, Indicator)
                d.masks.append(op.mask)
                d.body, changed = rest, True


def _without_factor(body: sympy.Expr, symbol: sympy.Symbol) -> sympy.Expr | None:
    for factor in sympy.Mul.make_args(body):
        if factor == symbol:
            return body / symbol
        if isinstance(factor, where) and factor.args[0] == symbol and factor.args[2] == 0:
            return body / factor * factor.args[1]
    return None


def _hold_labels(d: _Draft) -> None:
    """sum_{k: l[k - 2] = c} f  ->  sum_{k: k - 2 >= 0, l[k - 2] = c} f        a mask asks labels l that are there.

    What it guards is 0 elsewhere, but may not say so by a mask: where a slope is asked for first, as in
    guarded(cos(u), [k - 2 >= 0]*cos(u)*u, 0).
    """
    if d.reducer != "sum":
        return
    for label in [g for m in d.masks for g in gathers(m.map)]:
        for place, extent in zip(label.at, label.node.shape, strict=True):
            if not any(True for _ in gathers(place)):
                ends = (place, size(extent) - place + -1)
                d.masks += [m for m in (Mask("ge", end) for end in ends) if m not in d.masks]


def _use_divisibility(d: _Draft) -> None:
    """s*floor(e/s) -> e        when the mask s | e holds."""
    known = {(m.map, m.modulus) for m in d.masks if m.kind == "divides"}
    if not known:
        return
    known |= {(affine(e.const % s, dict(e.terms)), s) for e, s in known}

    def whole(x: Affine) -> Affine:
        out = constant(x.const)
        for atom, coef in x.terms:
            if isinstance(atom, FloorDiv) and coef % atom.divisor == 0 and (atom.inner, atom.divisor) in known:
                out = out + atom.inner * (coef // atom.divisor)
            else:
                out = out + affine(0, {atom: coef})
        return out

    d.operands = [map_operand(op, whole) for op in d.operands]
    d.masks = [m if m.kind == "divides" else map_mask(m, whole) for m in d.masks]


def _drop_provable_masks(d: _Draft) -> None:
    kept = dict.fromkeys(m for m in d.masks if not always_true(m, d.extents))
    d.masks = sorted(kept, key=lambda m: (m.kind, m.modulus, describe(m.map)))


def always_true(mask: Mask, extents: Sequence[Extent]) -> bool:
    """True when interval arithmetic proves the mask for all indices inside their extents."""
    x = mask.map
    if mask.kind == "ge":
        return lower_bound(x, extents) >= 0
    if mask.kind == "eq":
        return x == constant(0)
    if mask.kind == "ne":
        return lower_bound(x, extents) > 0 or upper_bound(x, extents) < 0
    return x.const % mask.modulus == 0 and all(coef % mask.modulus == 0 for _, coef in x.terms)


def never_true(mask: Mask, extents: Sequence[Extent]) -> bool:
    """True when interval arithmetic refutes the mask for all indices inside their extents."""
    x = mask.map
    if mask.kind == "ge":
        return upper_bound(x, extents) < 0
    if mask.kind == "eq":
        return lower_bound(x, extents) > 0 or upper_bound(x, extents) < 0
    if mask.kind == "ne":
        return x == constant(0)
    return x.const % mask.modulus != 0 and all(coef % mask.modulus == 0 for _, coef in x.terms)


def _merge_operands(d: _Draft) -> None:
    """Drop operands the body does not use, keep equal ones once."""
    used = symbols_of(d.body)
    kept: list[Operand] = []
    names = {placeholder(j): _place(kept, op) for j, op in enumerate(d.operands) if placeholder(j) in used}
    d.body, d.operands = with_symbols(d.body, names), kept


def _drop_unused_indices(d: _Draft) -> None:
    """sum_k c -> |k|*c;  max_k c -> c        when c does not depend on k (prod and logsumexp keep k).

    max_{k: m} c  ->  max_{u: m} c, u over extent 1        as c alone where m holds would be 0 elsewhere.
    """
    used = set().union(*(indices(m) for m in d.maps())) if d.operands or d.masks else set()
    idle = [i for i in range(d.n_free, len(d.extents)) if i not in used]
    if d.reducer in ("prod", "logsumexp"):
        idle = [i for i in idle if d.extents[i] == 1]
    if idle and d.masks and d.reducer != "sum" and len(idle) == len(d.extents) - d.n_free:
        first, *idle = idle  # it stays: where a mask fails stands the identity, and 0 where nothing is reduced
        d.extents = tuple(1 if i == first else e for i, e in enumerate(d.extents))
    if idle:
        if d.reducer == "sum":
            d.body = sympy.Mul(d.body, *[extent_symbol(d.extents[i]) for i in idle])
        kept = [i for i in range(len(d.extents)) if i not in idle]
        place = {old: index(new) for new, old in enumerate(kept)}
        d.move(lambda x: substitute(x, place.__getitem__))
        d.extents = tuple(d.extents[i] for i in kept)
    if len(d.extents) == d.n_free and not d.masks:
        d.reducer = "sum"  # a reduction over nothing but one element is that element


def _idle_free_indices(d: _Draft) -> set[int]:
    """The free indices that nothing reads, unless the equation is a view, which costs nothing."""
    if len(d.extents) == d.n_free and not d.masks and _costs_nothing(d.body, d.operands):
        return set()
    used = set().union(*(indices(m) for m in d.maps()))
    return {i for i in range(d.n_free) if d.extents[i] != 1 and i not in used}


def _broadcast(d: _Draft, idle: set[int]) -> Node:
    """out[i, j] = f(i)  ->  g[i] = f(i), out[i, j] = g[i]        no element is computed twice."""
    kept = [i for i in range(len(d.extents)) if i not in idle]
    place = {old: index(new) for new, old in enumerate(kept)}
    d.move(lambda x: substitute(x, place.__getitem__))
    extents, shape = [d.extents[i] for i in kept], d.extents[: d.n_free]
    inner = equation(extents, d.n_free - len(idle), d.reducer, d.body, d.operands, d.masks)
    free = [constant(0) if d.extents[i] == 1 else index(i) for i in kept if i < d.n_free]
    return equation(shape, d.n_free, "sum", placeholder(0), [Read(inner, tuple(free))])


def _canonical_order(d: _Draft) -> None:
    """Operands by (kind, node, maps); bound indices in order of first appearance, the least of all numberings."""
    n_bound = len(d.extents) - d.n_free
    if n_bound > 1:
        d_maps = min(_numberings(d), key=lambda choice: choice[0])[1]
        d.extents = d.extents[: d.n_free] + tuple(d.extents[old] for old in d_maps)
        d.move(_renumbering(d.n_free, d_maps))
        d.masks = sorted(d.masks, key=lambda m: (m.kind, m.modulus, describe(m.map)))
    order = sorted(range(len(d.operands)), key=lambda j: _operand_key(d.operands[j]))
    if order != list(range(len(order))):
        names = {placeholder(old): placeholder(new) for new, old in enumerate(order)}
        d.body, d.operands = with_symbols(d.body, names), [d.operands[j] for j in order]


def _numberings(d: _Draft) -> list[tuple[tuple, tuple[int, ...]]]:
    """Every order of the bound indices (at most 5! are tried) with the key of the operands it gives."""
    bound = range(d.n_free, len(d.extents))
    orders = itertools.permutations(bound) if len(bound) <= 5 else [tuple(bound)]
    choices = []
    for order in orders:
        move = _renumbering(d.n_free, order)
        ops = sorted(_operand_key(map_operand(op, move)) for op in d.operands)
        masks = sorted((m.kind, m.modulus, describe(move(m.map))) for m in d.masks)
        choices.append(((ops, masks, [str(d.extents[i]) for i in order]), order))
    return choices


def _renumbering(n_free: int, order: Sequence[int]) -> Callable[[Affine], Affine]:
    place = {old: index(n_free + new) for new, old in enumerate(order)}
    return lambda x: substitute(x, lambda i: place.get(i, index(i)))


def _operand_key(op: Operand) -> tuple[int, int, str]:
    maps = ",".join(describe(m) for m in operand_maps(op))
    if isinstance(op, Read):
        return (0, op.node.serial, maps)
    if isinstance(op, Indicator):
        return (1, 0, f"{op.mask.kind}{op.mask.modulus}:{maps}")
    return (2, 0, maps)


def _intern(d: _Draft) -> Node:
    if _is_identity(d):
        read = d.operands[0]
        assert isinstance(read, Read)
        return read.node
    key = (d.extents, d.n_free, d.reducer, d.body, tuple(d.operands), tuple(d.masks))
    found = _table.get(key)
    if found is None:
        found = Equation(d.extents, d.n_free, d.reducer, d.body, key[4], key[5])
        _table[key] = found
    return found


def _is_identity(d: _Draft) -> bool:
    if len(d.operands) != 1 or d.masks or len(d.extents) != d.n_free or placeholder_index(d.body) is None:
        return False
    read = d.operands[0]
    if not isinstance(read, Read) or read.node.shape != d.extents:
        return False
    straight = tuple(constant(0) if e == 1 else index(i) for i, e in enumerate(d.extents))
    return read.at == straight
