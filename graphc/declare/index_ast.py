"""Index letters, affine arithmetic of them, and expressions such as ``X[i, k]*W[k, j]`` before they are defined."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any, NoReturn

import sympy

from graphc.declare.conditions import NAMES, of_node
from graphc.declare.constants import exact, infinity, is_infinite, is_number
from graphc.declare.expression import Handle, NodeHandle
from graphc.declare.names import node_text
from graphc.declare.ops import ADD, DIV, LESS, LESS_EQUAL, MUL, POW, SUB, TRUTHS, Op
from graphc.declare.origin import fail
from graphc.declare.views import labels_leaf
from graphc.errors import IndexNotationError, TypeMismatchError
from graphc.ir.affine import Extent
from graphc.ir.node import MaskKind, Node, Reducer
from graphc.records import record


class IndexArithmetic:
    """``i + 1``, ``2*i - j``, ``i // 2`` and ``i % 2`` stay index maps; anything else is arithmetic with numbers."""

    __slots__ = ()

    def __add__(self, other: Any) -> Any:
        b = as_map(other)
        return _value(ADD, self, other) if b is None else _map(self).plus(b, 1)

    def __radd__(self, other: Any) -> Any:
        b = as_map(other)
        return _value(ADD, other, self) if b is None else b.plus(_map(self), 1)

    def __sub__(self, other: Any) -> Any:
        b = as_map(other)
        return _value(SUB, self, other) if b is None else _map(self).plus(b, -1)

    def __rsub__(self, other: Any) -> Any:
        b = as_map(other)
        return _value(SUB, other, self) if b is None else b.plus(_map(self), -1)

    def __mul__(self, other: Any) -> Any:
        return _map(self).times(int(other)) if _whole(other) else _value(MUL, self, other)

    def __rmul__(self, other: Any) -> Any:
        return _map(self).times(int(other)) if _whole(other) else _value(MUL, other, self)

    def __truediv__(self, other: Any) -> Any:
        return _value(DIV, self, other)

    def __rtruediv__(self, other: Any) -> Any:
        return _value(DIV, other, self)

    def __pow__(self, other: Any) -> Any:
        return _value(POW, self, other)

    def __neg__(self) -> IndexMap:
        return _map(self).times(-1)

    def __floordiv__(self, other: Any) -> IndexMap:
        return IndexMap(0, ((Floor(_map(self), _divisor(other, "//")), 1),))

    def __mod__(self, other: Any) -> IndexMap:
        return IndexMap(0, ((Remainder(_map(self), _divisor(other, "%")), 1),))

    def __le__(self, other: Any) -> Any:
        return _compare(other, self, 0)

    def __lt__(self, other: Any) -> Any:
        return _compare(other, self, -1)

    def __ge__(self, other: Any) -> Any:
        return _compare(self, other, 0)

    def __gt__(self, other: Any) -> Any:
        return _compare(self, other, -1)


@dataclass(frozen=True, slots=True, eq=False)
class Index(IndexArithmetic):
    """An index letter; its extent comes from what it reads, or is given."""

    name: str
    size: Extent | None = None

    def __repr__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True, eq=False)
class Floor:
    """floor(inner / divisor)."""

    inner: IndexMap
    divisor: int

    def __repr__(self) -> str:
        return f"({self.inner})//{self.divisor}"


@dataclass(frozen=True, slots=True, eq=False)
class Remainder:
    """inner mod divisor."""

    inner: IndexMap
    divisor: int

    def __repr__(self) -> str:
        return f"(({self.inner}) % {self.divisor})"


@dataclass(frozen=True, slots=True, eq=False)
class IndexMap(IndexArithmetic):
    """const + sum coef*atom, an atom being an index, a floor, a remainder or a read of integer data."""

    const: int
    terms: tuple[tuple[Any, int], ...] = ()

    def plus(self, other: IndexMap, sign: int) -> IndexMap:
        total = dict(self.terms)
        for atom, coef in other.terms:
            total[atom] = total.get(atom, 0) + sign * coef
        return IndexMap(self.const + sign * other.const, tuple((a, c) for a, c in total.items() if c))

    def times(self, factor: int) -> IndexMap:
        return IndexMap(self.const * factor, tuple((a, c * factor) for a, c in self.terms if factor))

    @property
    def plain(self) -> Index | None:
        """The index when the map is nothing else."""
        if self.const or len(self.terms) != 1 or self.terms[0][1] != 1:
            return None
        atom = self.terms[0][0]
        return atom if isinstance(atom, Index) else None

    def __repr__(self) -> str:
        parts = [f"{'- ' if c < 0 else '+ '}{'' if abs(c) == 1 else f'{abs(c)}*'}{a!r}" for a, c in self.terms]
        if self.const or not parts:
            parts.append(f"{'- ' if self.const < 0 else '+ '}{abs(self.const)}")
        text = " ".join(parts)
        return text[2:] if text.startswith("+ ") else f"-{text[2:]}"


# ---------------------------------------------------------------- expressions


class Indexed(Handle):
    """A scalar expression of tensor elements; it becomes a Tensor by ``gc.define`` or when all indices are summed."""

    __slots__ = ()
    _noun = "an indexed expression"

    def _combine(self, op: Op, args: tuple[Any, ...]) -> Apply:
        return apply_indexed(op, args)

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        hint = "make it a Tensor first: H = gc.define('H', [i, j], expression)."
        fail(TypeMismatchError, f"the indexed expression {self!r} cannot be pickled", hint)

    def __copy__(self) -> Indexed:
        return self

    def __deepcopy__(self, memo: Any) -> Indexed:
        return self


@record(frozen=True, eq=False, repr=False)
class Access(Indexed):
    """X[i, k + 1]."""

    node: Node
    at: tuple[IndexMap, ...]
    name: str = ""

    def _is_condition(self) -> bool:
        return of_node(self.node)

    def __repr__(self) -> str:
        inside = ", ".join(map(repr, self.at))
        return f"{self.name}[{inside}]" if self.at else self.name


@record(frozen=True, eq=False, repr=False)
class Place(Indexed):
    """An index map as a number."""

    map: IndexMap

    def __repr__(self) -> str:
        return repr(self.map)


@record(frozen=True, eq=False, repr=False)
class Iverson(Indexed):
    """1 where ``map >= 0`` (or ``== 0``), else 0."""

    kind: MaskKind
    map: IndexMap

    def _is_condition(self) -> bool:
        return True

    def __repr__(self) -> str:
        return f"[{self.map!r} {'>=' if self.kind == 'ge' else '=='} 0]"


@record(frozen=True, eq=False, repr=False)
class Apply(Indexed):
    """A scalar operation on expressions and exact numbers."""

    op: Op
    args: tuple[Indexed | sympy.Expr, ...]

    def _is_condition(self) -> bool:
        return self.op in TRUTHS or self.op.name in NAMES

    def __repr__(self) -> str:
        return f"({self.op.text.format(*self.args)})"


@record(frozen=True, eq=False, repr=False)
class Reduce(Indexed):
    """A reduction of ``arg`` over indices that exist nowhere else."""

    reducer: Reducer
    over: tuple[Index, ...]
    arg: Indexed | sympy.Expr
    mean: bool = False

    def __repr__(self) -> str:
        return f"{'mean' if self.mean else self.reducer}({self.arg}, over={', '.join(map(repr, self.over))})"


def apply_indexed(op: Op, args: Sequence[Any]) -> Apply:
    """The operation as an expression still to be defined."""
    return Apply(op, tuple(as_indexed(a, op.title) for a in args))


def as_indexed(value: Any, what: str) -> Indexed | sympy.Expr:
    """A part of an indexed expression.

    Raises
    ------
    IndexNotationError
        For a Tensor whose axes are not given an index.
    TypeMismatchError
        For anything that is no number, index or expression.
    """
    if isinstance(value, Indexed):
        return value
    if isinstance(value, IndexArithmetic):
        return Place(_map(value))
    if is_infinite(value):
        leaf = infinity(value)
        return Access(leaf, (), str(leaf.name))
    if is_number(value):
        return exact(value, what)
    if not isinstance(value, NodeHandle):
        kind = type(value).__name__
        hint = "operands are X[i, k], numbers and indices; make a Tensor of an array with gc.input or gc.param first."
        fail(TypeMismatchError, f"{what}: a {kind} does not fit into an indexed expression", hint)
    return _whole_tensor(value)


def _whole_tensor(value: NodeHandle) -> Access:
    node = value.node
    if node.rank:
        message = f"{node_text(node)} stands in an indexed expression without indices"
        letters = ", ".join("ijklmpqrst"[: node.rank])
        fail(IndexNotationError, message, f"write {node.name or 'x'}[{letters}] with the indices you mean.")
    return Access(node, (), node.name or "a scalar")


def as_map(value: Any) -> IndexMap | None:
    """The index map a value stands for, None when it is none."""
    if isinstance(value, IndexMap):
        return value
    if isinstance(value, Index):
        return IndexMap(0, ((value, 1),))
    return IndexMap(int(value)) if _whole(value) else None


def index_equal(a: Any, b: Any) -> Iverson | None:
    """[a = b] for two indices, or an index and integer data that are read at indices; None for anything else."""
    if isinstance(b, Access):
        a, b = b, a  # labels come first, so that both ways of writing it are one equation
    y = as_map(b)
    x = _label_map(a, y) if isinstance(a, Access) and y is not None else as_map(a)
    return None if x is None or y is None else Iverson("eq", x.plus(y, -1))


def _label_map(label: Access, other: IndexMap) -> IndexMap | None:
    """T[e] as a place that an index may have."""
    return IndexMap(0, ((label, 1),)) if other.plain is not None and labels_leaf(label.node) is not None else None


def _map(value: Any) -> IndexMap:
    found = as_map(value)
    assert found is not None
    return found


def _whole(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _value(op: Op, a: Any, b: Any) -> Any:
    return apply_indexed(op, (a, b))


def _compare(high: Any, low: Any, shift: int) -> Indexed:
    """high + shift >= low, for indices and whole numbers; a comparison of values otherwise."""
    a, b = as_map(high), as_map(low)
    if a is not None and b is not None:
        return Iverson("ge", a.plus(b, -1).plus(IndexMap(shift), 1))
    return apply_indexed(LESS if shift else LESS_EQUAL, (low, high))


def _divisor(value: Any, what: str) -> int:
    if not _whole(value) or value < 1:
        message = f"an index is divided by {value!r} in {what}"
        fail(IndexNotationError, message, "divide an index by a whole number of at least 1.")
    return int(value)


# ---------------------------------------------------------------- questions about an expression


def children(expr: Indexed | sympy.Expr) -> tuple[Indexed | sympy.Expr, ...]:
    """The expressions an expression is made of."""
    if isinstance(expr, Apply):
        return expr.args
    return (expr.arg,) if isinstance(expr, Reduce) else ()


def maps(expr: Indexed | sympy.Expr) -> tuple[IndexMap, ...]:
    """The index maps that stand in one node of an expression."""
    if isinstance(expr, Access):
        return expr.at
    return (expr.map,) if isinstance(expr, Place | Iverson) else ()


def map_indices(x: IndexMap) -> Iterator[Index]:
    """Every index of a map, nested ones too."""
    for atom, _ in x.terms:
        if isinstance(atom, Index):
            yield atom
        elif isinstance(atom, Access):
            for a in atom.at:
                yield from map_indices(a)
        else:
            yield from map_indices(atom.inner)


def free_indices(expr: Indexed | sympy.Expr) -> dict[Index, None]:
    """The indices that no reduction inside the expression binds, in order of appearance."""
    found = {i: None for x in maps(expr) for i in map_indices(x)}
    for child in children(expr):
        found |= free_indices(child)
    if isinstance(expr, Reduce):
        found = {i: None for i in found if i not in expr.over}
    return found


def accesses(expr: Indexed | sympy.Expr) -> Iterator[Access]:
    """Every read of a tensor, those inside index maps too."""
    if isinstance(expr, Access):
        yield expr
    for x in maps(expr):
        yield from _inner_accesses(x)
    for child in children(expr):
        yield from accesses(child)


def _inner_accesses(x: IndexMap) -> Iterator[Access]:
    for atom, _ in x.terms:
        if isinstance(atom, Access):
            yield from accesses(atom)
        elif not isinstance(atom, Index):
            yield from _inner_accesses(atom.inner)


def reductions(expr: Indexed | sympy.Expr) -> Iterator[Reduce]:
    """Every reduction, outer ones first."""
    if isinstance(expr, Reduce):
        yield expr
    for child in children(expr):
        yield from reductions(child)


def rename(expr: Any, new: dict[Index, Index]) -> Any:
    """The expression with other indices."""
    if isinstance(expr, Access):
        return Access(expr.node, tuple(_rename_map(a, new) for a in expr.at), expr.name)
    if isinstance(expr, Place):
        return Place(_rename_map(expr.map, new))
    if isinstance(expr, Iverson):
        return Iverson(expr.kind, _rename_map(expr.map, new))
    if isinstance(expr, Apply):
        return Apply(expr.op, tuple(rename(a, new) for a in expr.args))
    return Reduce(expr.reducer, expr.over, rename(expr.arg, new), expr.mean) if isinstance(expr, Reduce) else expr


def _rename_map(x: IndexMap, new: dict[Index, Index]) -> IndexMap:
    return IndexMap(x.const, tuple((_rename_atom(a, new), c) for a, c in x.terms))


def _rename_atom(atom: Any, new: dict[Index, Index]) -> Any:
    if isinstance(atom, Index):
        return new.get(atom, atom)
    if isinstance(atom, Access):
        return rename(atom, new)
    return type(atom)(_rename_map(atom.inner, new), atom.divisor)


