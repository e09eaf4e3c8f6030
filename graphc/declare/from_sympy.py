"""Tensors from SymPy: scalars, sums of indexed elements, matrices and matrix expressions.

Every part becomes the operation of Tensors or of index notation that it stands for, so that the result is the very node
that is declared without SymPy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from typing import Any, NoReturn

import numpy as np
import sympy as sp
from sympy import Expr, S
from sympy.matrices.expressions.applyfunc import ElementwiseApplyFunction
from sympy.matrices.expressions.hadamard import HadamardPower, HadamardProduct
from sympy.matrices.expressions.matexpr import MatrixElement

from graphc.declare import linalg, operators
from graphc.declare.constants import constant_leaf, exact, is_infinite, is_number
from graphc.declare.diagonals import trace
from graphc.declare.expression import NodeHandle, Op
from graphc.declare.functions import check_known
from graphc.declare.index_ast import Index, IndexArithmetic, Indexed, as_indexed, free_indices
from graphc.declare.indexed import define
from graphc.declare.lowering import lower
from graphc.declare.names import check_shape
from graphc.declare.ops import LESS, LESS_EQUAL, NOT
from graphc.declare.origin import fail, located
from graphc.declare.tensor import Tensor, as_node, combine
from graphc.errors import FormulaError, IndexNotationError, ShapeError, TypeMismatchError
from graphc.ir.affine import Extent
from graphc.ir.build import constant_node
from graphc.ir.node import extent_symbol
from graphc.ir.scalar import canonical
from graphc.ir.scalar_table import BY_CLASS

MOST_FACTORS = 64  # of a power of a matrix
_KNOWN = (
    "known are the functions of graphc, Sum, Product, Piecewise, and of matrices +, *, .T, .I, Trace, Determinant,"
    " HadamardProduct, applyfunc."
)


@located
def from_sympy(expression: Any, symbols: Mapping[Any, Any], indices: Sequence[Any] | None = None) -> Tensor:
    """A Tensor from a SymPy expression.

    Parameters
    ----------
    expression : sympy Expr, Matrix, MatrixExpr or Eq
        Scalars are computed element by element; ``Sum`` and ``Product`` of ``A[i, k]`` (IndexedBase or MatrixSymbol)
        are index notation; matrices have their operators, ``Inverse``, ``Determinant``, ``HadamardProduct``, ``Trace``
        and ``applyfunc``. An equation ``Eq(H[i, j], ...)``, as ``to_sympy`` gives it, names the result and its axes.
    symbols : mapping of Symbol, IndexedBase, MatrixSymbol or str to Tensor, number or array
        What the symbols stand for. A symbol of an extent, such as n in ``(k, 0, n - 1)``, is found from the shapes,
        or is given as a number or a name.
    indices : sequence of Symbol or str, optional
        The axes of the result: the indices that are not summed, by default in the order of the alphabet.

    Returns
    -------
    Tensor

    Raises
    ------
    FormulaError
        When a symbol is not given, or there is no word for a part of the expression.
    ShapeError, IndexNotationError
        When shapes and indices do not fit.

    Examples
    --------
    >>> import graphc as gc, sympy as sp
    >>> A, B = gc.input("A", ("n", 3)), gc.param("B", (3, 2))
    >>> a, b = sp.IndexedBase("a"), sp.IndexedBase("b")
    >>> i, j, k = sp.symbols("i j k", integer=True)
    >>> gc.from_sympy(sp.Sum(sp.tanh(a[i, k]) * b[k, j], (k, 0, 2)), {a: A, b: B}).shape
    ('n', 2)
    """
    if not isinstance(expression, sp.Basic | sp.MatrixBase):
        hint = "give a SymPy expression, matrix or equation; gc.function takes formula text."
        fail(TypeMismatchError, f"gc.from_sympy: {expression!r:.60} is no SymPy expression", hint)
    whole = expression.as_immutable() if isinstance(expression, sp.MatrixBase) else expression
    whole = whole.xreplace({x: sp.Symbol(x.name, integer=True) for x in whole.atoms(sp.Idx)})
    left, right = whole.args if isinstance(whole, sp.Equality) else (S.true, whole)
    wanted = indices if indices is not None else _places(left)
    reader = _Reader(symbols, right, [sp.Symbol(_name(x)) for x in wanted])
    value = reader.matrix(right) if _is_matrix(right) else reader.scalar(right)
    if isinstance(value, Indexed | IndexArithmetic):
        return reader.defined(value, left, indices)
    found = value if isinstance(value, Tensor) else Tensor(as_node(value, "gc.from_sympy"))
    return found.named(_name(left)) if isinstance(left, sp.Symbol) and not found.name else found


def _is_matrix(e: Any) -> bool:
    return isinstance(e, sp.MatrixExpr | sp.MatrixBase)


class _Reader:
    """Reads expressions with what their symbols stand for."""

    def __init__(self, symbols: Mapping[Any, Any], whole: Any, wanted: Sequence[Any]) -> None:
        self.values: dict[str, Any] = {_name(key): _operand(key, value) for key, value in symbols.items()}
        self.indices: dict[str, Any] = {}
        self.extents: dict[str, Extent] = {}
        self.free: dict[str, Index] = {}
        for e in sp.preorder_traversal(whole):
            if isinstance(e, sp.MatrixSymbol) or isinstance(e, sp.IndexedBase) and e.shape is not None:
                self.shaped(e, e.shape)
        for e in sp.preorder_traversal(whole):
            if isinstance(e, sp.Sum | sp.Product):
                self.ranges(e)
        places = [x for e in sp.preorder_traversal(whole) for x in _places(e)] + list(wanted)
        found = {x.name for place in places for x in place.atoms(sp.Symbol)} - {*self.values, *self.extents}
        self.free = {name: Index(name) for name in sorted(found)}

    # ------------------------------------------------------------ what symbols stand for

    def given(self, symbol: Any) -> Any:
        name = _name(symbol)
        known: dict[str, Any] = {**self.extents, **self.values, **self.free, **self.indices}
        if name not in known:
            given = ", ".join(self.values) or "nothing"
            fail(FormulaError, f"gc.from_sympy: {name} is not given", f"given are {given}; add {name} to the mapping.")
        return Tensor(constant_node(extent_symbol(known[name]))) if isinstance(known[name], str) else known[name]

    def tensor(self, symbol: Any) -> Tensor:
        value = self.given(symbol)
        return value if isinstance(value, Tensor) else Tensor(as_node(value, f"gc.from_sympy: {symbol}"))

    def shaped(self, symbol: Any, shape: Sequence[Any]) -> None:
        """Symbols of extents by the shape that a matrix was declared with."""
        if _name(symbol) not in self.values:
            return
        found = self.tensor(symbol).shape
        if len(found) != len(shape):
            hint = "give a Tensor with as many axes; x[:, None] is a column."
            message = f"gc.from_sympy: {symbol} has shape {_tuple(shape)} but its Tensor has {_tuple(found)}"
            fail(ShapeError, message, hint)
        for wanted, extent in zip(shape, found, strict=True):
            if isinstance(wanted, sp.Symbol):
                self.bind(wanted, extent)
            elif wanted.is_Integer and wanted != extent:
                message = f"gc.from_sympy: {symbol} has shape {_tuple(shape)} but its Tensor has {_tuple(found)}"
                fail(ShapeError, message, "the extents must be equal.")

    def bind(self, symbol: sp.Symbol, extent: Extent) -> None:
        known = self.values.get(symbol.name, self.extents.setdefault(symbol.name, extent))
        if known != extent:
            message = f"gc.from_sympy: the extent {symbol} is {known} and {extent}"
            fail(ShapeError, message, "use two symbols for two extents.")

    def ranges(self, e: Expr) -> None:
        """Symbols of extents by the axes along which a whole sum runs."""
        for k, low, high in e.limits:  # pyright: ignore[reportAttributeAccessIssue]
            count = sp.expand(high - low + 1)
            if not count.is_Symbol or count.name in self.values:
                continue
            for part in e.function.atoms(sp.Indexed, MatrixElement):  # pyright: ignore[reportAttributeAccessIssue]
                base, at = _access(part)
                if _name(base) not in self.values:
                    continue
                for extent, x in zip(self.tensor(base).shape, at):
                    if x == k - low:
                        self.bind(count, extent)

    def extent(self, e: Expr, what: Any) -> Extent:
        """The number of values, as a number or the name of a free extent."""
        known = {s: self.values.get(s.name, self.extents.get(s.name)) for s in e.atoms(sp.Symbol)}
        found = sp.expand(e.xreplace({s: sp.Integer(n) for s, n in known.items() if isinstance(n, int | sp.Integer)}))
        if found.is_Integer:
            return check_shape((int(found),), f"gc.from_sympy: {what}")[0]
        name = known.get(found)
        if not isinstance(name, str):
            hint = "sums run over whole axes, or say what the symbols are: {n: 5}."
            fail(IndexNotationError, f"gc.from_sympy: the extent {e} of {what} is not known", hint)
        return name

    # ------------------------------------------------------------ scalars

    def scalar(self, e: Any) -> Any:
        """A number, Tensor, index, or indexed expression."""
        if e.is_Symbol:
            return self.given(e)
        if e.is_Number or e.is_number and not e.has(sp.Indexed, MatrixElement, sp.Sum, sp.Product, sp.Trace):
            number = canonical(e)
            check_known("gc.from_sympy", number)
            return int(number) if number.is_Integer else number
        read = next((read for cls, read in _SCALARS.items() if isinstance(e, cls)), None)
        if read is not None:
            return read(self, e)
        if e.func in BY_CLASS:
            entry, args = BY_CLASS[e.func], [self.scalar(a) for a in e.args]
            text = f"{entry.name}({', '.join(f'{{{t}}}' for t in range(len(args)))})"
            return combine(Op(entry.name, text, entry), tuple(args))
        return self.foreign(e)

    def foreign(self, e: Expr) -> Any:
        """A function of SymPy's that is ours under another name, or a formula of ours."""
        if any(map(_is_matrix, e.args)):
            self.refuse(e)
        slots = [a if a.is_number or not isinstance(a, Expr) else sp.Dummy(real=True) for a in e.args]
        body = canonical(e.func(*slots)) if slots else e
        if not slots or body.func is e.func:
            self.refuse(e)
        check_known("gc.from_sympy", body)
        values = {s.name: self.scalar(a) for s, a in zip(slots, e.args) if isinstance(s, sp.Dummy)}
        return self.under(values, body)

    def under(self, values: Mapping[str, Any], e: Any) -> Any:
        """The value of an expression where further symbols are known."""
        before, self.indices = self.indices, {**self.indices, **values}
        found = self.scalar(e)
        self.indices = before
        return found

    def added(self, e: Expr) -> Any:
        terms = sorted(e.as_ordered_terms(), key=_negative)
        total = self.scalar(terms[0])
        for t in terms[1:]:
            total = total - self.scalar(-t) if _negative(t) else total + self.scalar(t)
        return total

    def multiplied(self, e: Expr) -> Any:
        if _negative(e):
            return -self.scalar(-e)
        below = [1 / f for f in e.args if f.is_Pow and f.exp.is_Rational and f.exp < 0]
        above = [f for f in e.args if 1 / f not in below]
        top = reduce(lambda a, b: a * b, map(self.scalar, above)) if above else 1
        return reduce(lambda a, b: a / b, map(self.scalar, below), top)

    def power(self, e: Expr) -> Any:
        base, exponent = e.args
        if exponent.is_Rational and exponent < 0:
            return 1 / self.scalar(1 / e)
        if exponent is S.Half:
            return operators.sqrt(self.scalar(base))
        return self.scalar(base) ** self.scalar(exponent)

    def piecewise(self, e: sp.Piecewise) -> Any:
        pairs = list(e.args)
        if pairs[-1][1] is not S.true:
            fail(FormulaError, f"gc.from_sympy: {e} says nothing for the other cases", "end it with (value, True).")
        value = self.scalar(pairs[-1][0])
        for piece, condition in reversed(pairs[:-1]):
            value = operators.where(self.condition(condition), self.scalar(piece), value)
        return value

    def condition(self, c: Any) -> Any:
        if isinstance(c, sp.And | sp.Or):
            parts = [self.condition(a) for a in c.args]
            return reduce((lambda a, b: a * b) if isinstance(c, sp.And) else operators.maximum, parts)
        if isinstance(c, sp.Not):
            return combine(NOT, (self.condition(c.args[0]),))
        if not isinstance(c, sp.core.relational.Relational):
            self.refuse(c)
        a, b = self.scalar(c.lhs), self.scalar(c.rhs)
        if isinstance(c, sp.Eq | sp.Ne):
            return operators.equal(a, b) if isinstance(c, sp.Eq) else combine(NOT, (operators.equal(a, b),))
        if isinstance(c, sp.Gt | sp.Ge):
            a, b = b, a
        strict = isinstance(c, sp.Gt | sp.Lt)
        if isinstance(a, IndexArithmetic) or isinstance(b, IndexArithmetic):
            return a < b if strict else a <= b
        return combine(LESS if strict else LESS_EQUAL, (a, b))

    # ------------------------------------------------------------ indices

    def summed(self, e: Any) -> Any:
        """A sum or product over whole numbers: of elements with ``over=``, of what has no index a multiple or power."""
        multiple = isinstance(e, sp.Sum)
        shifts: dict[str, Any] = {}
        for k, low, high in e.limits:
            if not low.is_Integer:
                fail(IndexNotationError, f"gc.from_sympy: {k} begins at {low}", "begin at a whole number.")
            shifts[k.name] = Index(k.name, self.extent(sp.expand(high - low + 1), k)), int(low)
        value = self.under({n: i + low if low else i for n, (i, low) in shifts.items()}, e.function)
        inside = free_indices(as_indexed(value, "gc.from_sympy")) if _indexed(value) else {}
        over = [i for i, _ in shifts.values() if i in inside]
        for i, _ in shifts.values():
            if i not in over:
                count = Tensor(constant_node(extent_symbol(i.size if i.size is not None else 1)))
                value = value * count if multiple else value**count
        if not over:
            return value
        return operators.sum(value, over=over) if multiple else operators.prod(value, over=over)

    def element(self, e: Any) -> Any:
        base, at = _access(e)
        if isinstance(base, sp.IndexedBase | sp.MatrixSymbol):
            return self.tensor(base)[tuple(self.place(a) for a in at)]
        return self.matrix(base)[(*self.outer(base), *(self.place(a) for a in at))]

    def place(self, e: Any) -> Any:
        """An index map, a whole number, or a read of integer data."""
        if isinstance(e, sp.floor) and e.args[0].as_numer_denom()[1].is_Integer:
            top, bottom = e.args[0].as_numer_denom()
            return self.place(top) // int(bottom)
        if isinstance(e, sp.Mod) and e.args[1].is_Integer:
            return self.place(e.args[0]) % int(e.args[1])
        if e.is_Add or e.is_Mul:
            parts = [self.place(a) for a in e.args]
            return reduce((lambda a, b: a + b) if e.is_Add else lambda a, b: a * b, parts)
        return self.scalar(e)

    def defined(self, value: Any, left: Any, indices: Sequence[Any] | None) -> Tensor:
        """The Tensor of an indexed expression, its axes in the order that is wanted."""
        expr = as_indexed(value, "gc.from_sympy")
        free = sorted(free_indices(expr), key=lambda i: i.name)
        named = {i.name: i for i in free}
        wanted = list(indices) if indices is not None else list(_access(left)[1]) if _is_element(left) else list(named)
        names = [_name(x) for x in wanted]
        if sorted(names) != sorted(named):
            shown = ", ".join(named) or "none"
            message = f"gc.from_sympy: the axes are to be {', '.join(names) or 'none'}"
            fail(IndexNotationError, message, f"the indices that are not summed are {shown}.")
        order = [named[n] for n in names]
        return define(_name(_access(left)[0]), order, expr) if _is_element(left) else Tensor(lower(expr, order))

    # ------------------------------------------------------------ matrices

    def matrix(self, e: Any) -> Tensor:
        return next((read for cls, read in _MATRICES.items() if isinstance(e, cls)), _Reader.refuse)(self, e)

    def product(self, e: Any) -> Any:
        scalars = [self.scalar(a) for a in e.args if not _is_matrix(a)]
        value = reduce(lambda a, b: a @ b, [self.matrix(a) for a in e.args if _is_matrix(a)])
        return reduce(lambda a, b: b * a, scalars, value)

    def elementwise(self, e: Any) -> Any:
        (symbol,), body = e.function.variables, e.function.expr
        x, own = self.matrix(e.expr), sp.Dummy(real=True)
        value = self.under({own.name: x}, body.xreplace({symbol: own}))
        return value if body.has(symbol) else value + 0 * x

    def matrix_power(self, e: Any) -> Any:
        n = e.args[1]
        if not n.is_Integer or not 1 <= abs(n) <= MOST_FACTORS:
            self.refuse(e)
        base = self.matrix(e.args[0])
        return reduce(lambda a, b: a @ b, [base if n > 0 else linalg.inv(base)] * abs(int(n)))

    def written_by_places(self, e: Any) -> Tensor:
        """A matrix whose entries are an expression of their indices, as ``to_sympy`` writes them."""
        places = [Index(x.name, n) for x, n in zip(e.lamda.variables, map(self.extent, e.shape, [e] * 2), strict=True)]
        entry = self.under({i.name: i for i in places}, e.lamda.expr)
        return Tensor(lower(as_indexed(entry, "gc.from_sympy"), [*self.outer(e), *places]))

    def outer(self, e: Any) -> list[Index]:
        """The indices that a matrix expression depends on: the axes of a stack of matrices."""
        known: dict[str, Any] = {**self.free, **self.indices}
        found = (known.get(name) for name in sorted(s.name for s in e.free_symbols if isinstance(s, sp.Symbol)))
        return [i for i in found if isinstance(i, Index)]

    def determinant(self, e: Any) -> Any:
        found = linalg.det(self.matrix(e.arg))
        return found[tuple(self.outer(e.arg))] if found.ndim else found

    def entries(self, e: Any) -> Tensor:
        """A matrix of entries: a constant of numbers, else the entries stacked."""
        if all(a.is_number for a in e):
            return Tensor(constant_leaf(np.array(e.tolist(), dtype=float), "gc.from_sympy"))
        cells = [self.scalar(a) for a in e]
        of = [x if isinstance(x, NodeHandle) else Tensor(as_node(x, "gc.from_sympy")) for x in cells]
        bad = next((a for a, x in zip(e, of) if not isinstance(x, Tensor) or x.shape), None)
        if bad is not None:
            message = f"gc.from_sympy: the entry {bad} of a matrix is no single number"
            fail(ShapeError, message, "entries are numbers and Tensors of shape ().")
        return operators.reshape(operators.stack(of), e.shape)

    def same(self, e: Any, value: int) -> Tensor:
        return Tensor(constant_node(value, [self.extent(n, e) for n in e.shape]))

    def identity(self, e: Any) -> Tensor:
        n = self.extent(e.shape[0], e)
        i, j = Index("i", n), Index("j", n)
        return Tensor(lower(as_indexed(operators.equal(i, j), "gc.from_sympy"), [i, j]))

    def refuse(self, e: Any) -> NoReturn:
        fail(FormulaError, f"gc.from_sympy: there is no word for {type(e).__name__} in {e}", _KNOWN)


_SCALARS: dict[Any, Callable[[_Reader, Any], Any]] = {
    sp.Add: _Reader.added,
    sp.Mul: _Reader.multiplied,
    sp.Pow: _Reader.power,
    sp.Piecewise: _Reader.piecewise,
    sp.Sum: _Reader.summed,
    sp.Product: _Reader.summed,
    sp.Indexed: _Reader.element,
    MatrixElement: _Reader.element,
    sp.KroneckerDelta: lambda r, e: operators.equal(r.place(e.args[0]), r.place(e.args[1])),
    sp.Determinant: _Reader.determinant,
    sp.Trace: lambda r, e: trace(r.matrix(e.arg)),
}
_MATRICES: dict[Any, Callable[[_Reader, Any], Any]] = {
    sp.MatrixSymbol: _Reader.tensor,
    sp.MatAdd: lambda r, e: reduce(lambda a, b: a + b, map(r.matrix, e.args)),
    sp.MatMul: _Reader.product,
    sp.MatPow: _Reader.matrix_power,
    sp.Transpose: lambda r, e: r.matrix(e.arg).T,
    HadamardProduct: lambda r, e: reduce(lambda a, b: a * b, map(r.matrix, e.args)),
    HadamardPower: lambda r, e: r.matrix(e.base) ** r.scalar(e.exp),
    ElementwiseApplyFunction: _Reader.elementwise,
    sp.Identity: _Reader.identity,
    sp.ZeroMatrix: lambda r, e: r.same(e, 0),
    sp.OneMatrix: lambda r, e: r.same(e, 1),
    sp.FunctionMatrix: _Reader.written_by_places,
    sp.MatrixBase: _Reader.entries,
}
"""How matrix expressions are read; what has no line here is refused."""


def _operand(key: Any, value: Any) -> Any:
    """A number exactly, an array as a constant; Tensors, expressions and names of extents as they are."""
    if isinstance(value, str | Indexed | NodeHandle):
        return value
    what = f"gc.from_sympy: {key}"
    return exact(value, what) if is_number(value) and not is_infinite(value) else Tensor(as_node(value, what))


def _name(symbol: Any) -> str:
    return symbol if isinstance(symbol, str) else str(getattr(symbol, "name", symbol))


def _is_element(e: Any) -> bool:
    return isinstance(e, sp.Indexed | MatrixElement)


def _places(e: Any) -> tuple[Any, ...]:
    """What stands where an index stands."""
    return _access(e)[1] if _is_element(e) else e.args if isinstance(e, sp.KroneckerDelta) else ()


def _access(e: Any) -> tuple[Any, tuple[Any, ...]]:
    return (e.base, e.indices) if isinstance(e, sp.Indexed) else (e.parent, (e.i, e.j))


def _indexed(value: Any) -> bool:
    return isinstance(value, Indexed | IndexArithmetic)


def _negative(e: Expr) -> bool:
    return bool(e.as_coeff_Mul()[0] < 0)


def _tuple(shape: Sequence[Any]) -> str:
    return f"({', '.join(map(str, shape))})"
