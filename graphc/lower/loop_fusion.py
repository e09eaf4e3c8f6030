"""Loops that belong together: neighbours that become one loop nest, and derivatives computed beside their function.

An activation and its derivative share what is expensive (exp, sin, ..) but are needed far apart: the one in the forward
pass, the other when the adjoints come back.  Where they share a transcendental function, the factor of the adjoint that
the forward loop can compute is stored there; reading it back costs less than the function.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache

import sympy

from graphc.ir.affine import Affine, constant, index, indices, substitute
from graphc.ir.contract import map_operand
from graphc.ir.node import Equation, Indicator, Node, Operand, Read
from graphc.ir.parts import parts, parts_of_kind, symbols_of, with_symbols
from graphc.ir.scalar import cost, placeholder, placeholders, scalar_of, where
from graphc.lower.exponentials import share_of
from graphc.lower.kernels import Kernel, Nest
from graphc.lower.layout import Buffer
from graphc.lower.norms import rare_part
from graphc.records import record

STORED = 20  # operations that storing a value must save: a transcendental function
_FAMILY = {"cos": "sin", "tan": "sin"}
_EVEN = {"sin", "sigmoid"}  # computed from the absolute value of the argument, up to cheap last steps


def straight(shape: Sequence) -> tuple[Affine, ...]:
    """The maps of a read of element i at element i."""
    return tuple(constant(0) if e == 1 else index(i) for i, e in enumerate(shape))


def copy_of(node: Node) -> Equation:
    """The value of a node as an equation of its own, which the table of equations would not give."""
    return Equation(node.shape, node.rank, "sum", placeholder(0), (Read(node, straight(node.shape)),), ())


def reads_straight(y: Equation, op: Operand) -> bool:
    """True when element i of y reads element i of a node of the same shape."""
    return isinstance(op, Read) and op.node.shape == y.shape and op.at == straight(y.shape)


def joined(kernels: Sequence[Kernel], buffers: Mapping[Node, Buffer]) -> list[tuple[Kernel, ...]]:
    """Neighbours of one phase that one loop nest computes: elementwise, over the same indices, and whatever one of
    them reads of another is the element just computed."""
    groups: list[list[Kernel]] = []
    for kernel in kernels:
        if groups and all(_may_join(other, kernel, buffers) for other in groups[-1]):
            groups[-1].append(kernel)
        else:
            groups.append([kernel])
    return [tuple(group) for group in groups]


def _may_join(first: Kernel, second: Kernel, buffers: Mapping[Node, Buffer]) -> bool:
    if not (isinstance(first, Nest) and isinstance(second, Nest) and _plain_map(first) and _plain_map(second)):
        return False
    a, b = first.equation, second.equation
    alike = lambda nest: (nest.order, nest.equation.shape, nest.phase, nest.share, nest.run)
    same = alike(first) == alike(second)
    return (
        same
        and all(reads_straight(b, r) for r in b.reads if buffers[r.node] is first.out)
        and all(reads_straight(a, r) for r in a.reads if same_memory(buffers[r.node], second.out))
    )


def guarded(y: Equation) -> bool:
    """True when some reads of y are valid only where a mask or an indicator holds; one number always is."""
    if y.masks or len(y.reads) == len(y.operands):
        return bool(y.masks)
    tests = {placeholder(j) for j, op in enumerate(y.operands) if isinstance(op, Indicator)}
    placed = {placeholder(j) for j, op in enumerate(y.operands) if isinstance(op, Read) and op.at}
    chosen = (w.args[1:] for w in parts_of_kind(y.body, where) if w.args[0] in tests) if tests else ()
    return any(symbols_of(part) & placed for branches in chosen for part in branches)


def _plain_map(nest: Nest) -> bool:
    return nest.how == "map" and bool(nest.order) and not guarded(nest.equation)


def same_memory(a: Buffer, b: Buffer) -> bool:
    """Whether two buffers that have a place are one, or one overwrites the other."""
    return a is b or (a.region == b.region and a.offset == b.offset)


def joint_bodies(nests: Sequence[Nest]) -> tuple[list[sympy.Expr], list[Operand]]:
    """The bodies of joined nests over their common operands; the value of nest t is placeholder len(operands) + t."""
    value_of: dict[Node, int] = {nest.node: t for t, nest in enumerate(nests)}

    def source(op: Operand) -> int | None:
        return value_of.get(op.node) if isinstance(op, Read) else None

    operands = list(dict.fromkeys(op for n in nests for op in n.equation.operands if source(op) is None))
    bodies = []
    for nest in nests:
        names = {}
        for j, op in enumerate(nest.equation.operands):
            t = source(op)
            names[placeholder(j)] = placeholder(operands.index(op) if t is None else len(operands) + t)
        bodies.append(with_symbols(nest.equation.body, names))
    return bodies, operands


@record(frozen=True)
class _Stored:
    """A part of a later body that an earlier loop computes along."""

    beside: Nest
    part: sympy.Expr
    gain: int


def store_shared(kernels: Sequence[Kernel], make: Callable[[Equation, Nest, Nest], Nest]) -> list[Kernel]:
    """Insert the nests that compute shared parts of later bodies, and let those bodies read them.

    A body, that of a sum too, that contains the whole body of an earlier one reads its value instead of computing it
    again: the gradient of a bias, Σ_k y[k, j]*(1 - tanh(z[k, j])²), reads the activation.

    ``make(equation, beside, reader)`` gives the nest of a stored part.
    """
    found: list[tuple[Kernel, Nest | None]] = []
    for kernel in kernels:
        nest = _as_map(kernel)
        if isinstance(kernel, Nest) and (nest is not None or _plain_sum(kernel)):
            _read_known(kernel, found)
        if nest is not None:
            best = _best(nest, found)
            if best is not None:
                stored = make(_restricted(nest.equation, best.part, nest.equation.operands), best.beside, nest)
                at = next(t for t, (other, _) in enumerate(found) if other is best.beside)
                found.insert(at + 1, (stored, _as_map(stored)))
                _read_instead(nest, best.part, Read(stored.node, straight(stored.node.shape)))
        found.append((kernel, _as_map(kernel)))
    return [kernel for kernel, _ in found]


def _as_map(kernel: Kernel) -> Nest | None:
    return kernel if isinstance(kernel, Nest) and _plain_map(kernel) else None


def _plain_sum(nest: Nest) -> bool:
    """A sum without anything computed beside it, whose loops hold for other bodies, too."""
    y = nest.equation
    return y.reducer == "sum" and nest.how in ("register", "memory") and not guarded(y) and rare_part(y) is None


def _read_known(kernel: Nest, earlier: Sequence[tuple[Kernel, Nest | None]]) -> None:
    """Let a body read the values of expensive earlier bodies that it contains."""
    for _, other in earlier:
        if other is None or not _is_dear(other.equation.body):
            continue
        y, known = kernel.equation, other.equation
        for own in _places(y, known):
            body = _in_terms_of(y, known, own)
            if body is not None and y.body.has(body):
                at = tuple(constant(0) if e == 1 else index(own[i]) for i, e in enumerate(known.shape))
                _read_instead(kernel, body, Read(other.node, at))
                break


def _is_dear(body: sympy.Expr) -> bool:
    """Whether a value is worth reading: a softmax is, whose exponential and sum then need not be kept."""
    return cost(body) >= STORED or body.has(share_of)


def _places(y: Equation, known: Equation) -> list[dict[int, int]]:
    """The indices of y that may stand for those of ``known``: those at which it reads what ``known`` reads."""
    if not set(known.sources) <= set(y.sources):
        return []
    found: list[dict[int, int]] = [{}]
    for read in known.reads:
        same = [r for r in y.reads if r.node is read.node]
        found = [new for own in found for r in same if (new := _moved(own, read, r, known, y)) is not None]
    wanted = {i for i, e in enumerate(known.shape) if e != 1}
    return [own for own in found if wanted <= set(own)]


def _moved(own: dict[int, int], read: Read, other: Read, known: Equation, y: Equation) -> dict[int, int] | None:
    """The indices with those at which a read is the other one, None where it cannot be."""
    new = dict(own)
    for a, b in zip(read.at, other.at, strict=True):
        i, j = a.plain_index, b.plain_index
        if i is None or j is None:
            if a != b or indices(a):
                return None
        elif known.extents[i] != y.extents[j] or new.setdefault(i, j) != j:
            return None
    return new


def _in_terms_of(y: Equation, known: Equation, own: Mapping[int, int]) -> sympy.Expr | None:
    """The body of ``known`` over the operands of y, None when it has anything else."""
    names = {}
    for j, op in enumerate(known.operands):
        moved = map_operand(op, lambda x: substitute(x, lambda i: index(own.get(i, i)), y.extents))
        if moved not in y.operands:
            return None
        names[placeholder(j)] = placeholder(y.operands.index(moved))
    return known.body.xreplace(names)


def _read_instead(kernel: Nest, part: sympy.Expr, read: Read) -> None:
    y = kernel.equation
    body = replaced_part(y.body, part, placeholder(len(y.operands)))
    kernel.form = _restricted(y, body, (*y.operands, read))


def _best(kernel: Nest, earlier: Sequence[tuple[Kernel, Nest | None]]) -> _Stored | None:
    between, found, shape = False, [], kernel.node.shape
    for _, other in reversed(earlier):
        if other is None or other.node.shape != shape:
            between = True
        elif between:
            found += _candidates(kernel.equation, other)
    return max((c for c in found if c.gain >= STORED), key=lambda c: c.gain, default=None)


def _candidates(y: Equation, other: Nest) -> list[_Stored]:
    """Parts of y made of what ``other`` reads or computes, with what they share with its body."""
    theirs = other.equation
    if other.node not in y.sources and not any(s in y.sources for s in theirs.sources):
        return []  # so it is for most: a network of many layers has a pair of every two
    near = {*theirs.reads, Read(other.node, straight(y.shape))}
    known = {placeholder(j) for j, op in enumerate(y.operands) if op in near}
    if not known:
        return []
    names = {placeholder(j): placeholder(y.operands.index(op) if op in y.operands else len(y.operands) + j)
             for j, op in enumerate(theirs.operands)}  # fmt: skip
    renamed = [with_symbols(f, names) for f in _functions(theirs.body)]  # tanh(-u) becomes -tanh(u) in another order
    shared = _keys(t for f in renamed for t in _functions(f))
    own = _keys(_functions(y.body))
    if sum(c for key, c in own.items() if key in shared) < STORED:
        return []
    largest = largest_parts(y.body, known)
    return [_Stored(other, p, sum(c for key, c in _keys(_functions(p)).items() if key in shared)) for p in largest]


@lru_cache(maxsize=4096)
def _functions(body: sympy.Expr) -> tuple[sympy.Expr, ...]:
    """The functions of a body, each once."""
    return tuple(t for t in parts(body) if t.is_Function and scalar_of(t) is not None)


def _keys(functions: Iterable[sympy.Expr]) -> dict[tuple[str, sympy.Expr], int]:
    """Functions with their costs; those that share their computation have one key."""
    found = {}
    for t in functions:
        entry = scalar_of(t)
        assert entry is not None
        family, argument = _FAMILY.get(entry.name, entry.name), t.args[0]
        if family in _EVEN and argument.could_extract_minus_sign():
            argument = -argument
        found[family, sympy.Tuple(argument, *t.args[1:])] = entry.cost
    return found


def largest_parts(e: sympy.Expr, known: set[sympy.Symbol]) -> list[sympy.Expr]:
    """The largest sub-expressions of known symbols alone; factors and terms of one product or sum count together."""
    free = symbols_of(e)
    if free and free <= known:
        return [e]
    whole = lambda a: bool(symbols_of(a)) and symbols_of(a) <= known
    inside = [a for a in e.args if whole(a)] if e.is_Add or e.is_Mul else []
    rest = [p for a in e.args if a not in inside for p in largest_parts(a, known)]
    return [e.func(*inside), *rest] if inside else rest


def replaced_part(e: sympy.Expr, part: sympy.Expr, name: sympy.Symbol) -> sympy.Expr:
    """e with a part of :func:`largest_parts` replaced, which may be some factors of a product."""
    if e == part:
        return name
    if e.func == part.func and (e.is_Add or e.is_Mul) and set(part.args) < set(e.args):
        return e.func(name, *[a for a in e.args if a not in part.args])
    return e.func(*[replaced_part(a, part, name) for a in e.args]) if e.args else e


def _restricted(y: Equation, body: sympy.Expr, operands: Sequence[Operand]) -> Equation:
    """An equation over the indices of y, with those operands alone that its body needs."""
    used = placeholders(body)
    names = {placeholder(j): placeholder(t) for t, j in enumerate(used)}
    return Equation(y.extents, y.n_free, "sum", body.xreplace(names), tuple(operands[j] for j in used), ())
