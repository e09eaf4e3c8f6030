"""The Tensor: an immutable handle of one equation of the graph, with NumPy's operators."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn
from weakref import WeakKeyDictionary

import sympy

from graphc.declare.array_methods import ArrayMethods
from graphc.declare.conditions import of_node
from graphc.declare.constants import constant_leaf, exact, infinity, is_infinite, is_number
from graphc.declare.elementwise import apply
from graphc.declare.expression import NodeHandle
from graphc.declare.index_ast import Access, IndexArithmetic, Indexed, IndexMap, apply_indexed, as_map
from graphc.declare.linear import matmul
from graphc.declare.names import check_name, check_unused, node_text, shape_text
from graphc.declare.ops import Op
from graphc.declare.origin import fail
from graphc.declare.to_sympy import elements_of, equation_of
from graphc.declare.views import labels_leaf, subscript
from graphc.errors import IndexNotationError, NameClashError, TypeMismatchError
from graphc.ir.build import constant_node
from graphc.ir.node import Leaf, Node
from graphc.rewrite.normal import normal_form

index_letters: WeakKeyDictionary[Node, tuple[str, ...]] = WeakKeyDictionary()
"""The index letters that ``gc.define`` gave to the axes of a node."""


class Tensor(ArrayMethods):
    """What a declaration gives and every operation returns: it has no value until it is compiled and run.

    ``+ - * / // % ** @ []``, ``abs``, the comparisons ``< <= > >=`` (which give 0 or 1) and ``& | ^ ~`` of conditions
    work as in NumPy, with its broadcasting, on Tensors, numbers and small arrays; that (n, 1) and (n,) would give
    (n, n) is an error as long as the new axis is not written, ``t[None, :]``.  ``==`` and ``hash`` are identity;
    ``gc.equal`` compares elements.  The methods are an array's, ``x.sum(axis=0)``, and NumPy's functions compute with
    Tensors: ``np.exp(x)`` is ``gc.exp(x)``.
    With index letters, ``X[i, k]`` is an element of an indexed expression (see :func:`graphc.define`). ``print`` shows
    its equations.

    Examples
    --------
    >>> import graphc as gc
    >>> X = gc.input("X", ("n", 2))
    >>> W = gc.param("W", (2, 4), gc.normal(1.0))
    >>> (X @ W).shape
    ('n', 4)
    """

    __slots__ = ("__weakref__",)
    _noun = "a Tensor"

    @property
    def name(self) -> str | None:
        """The declared name, None when there is none."""
        return self._name or self.node.name

    @property
    def dtype(self) -> str:
        """``"int"`` for integer data, else ``"float"``: the model chooses float32 or float64."""
        return "int" if labels_leaf(self.node) is not None else "float"

    @property
    def index_names(self) -> tuple[str, ...]:
        """The letters of the axes, when :func:`graphc.define` gave them."""
        return index_letters.get(self.node, ())

    @property
    def equation(self) -> Node:
        """The canonical equation: the same object for every way of writing the same thing."""
        return normal_form(self.node)

    def named(self, name: str) -> Tensor:
        """The same tensor with a name that formulas and errors use.

        Parameters
        ----------
        name : str
            An identifier of at most 64 characters.

        Raises
        ------
        NameClashError
            When the name is no identifier or is taken inside the tensor, or an input or parameter would be renamed.
        """
        check_name(name, "a Tensor")
        if isinstance(self.node, Leaf) and self.node.name != name:
            message = f"{self.node.name} cannot be named {name}: an input or parameter keeps its declared name"
            fail(NameClashError, message, "declare it under the name you want.")
        check_unused(name, self.node)
        self.node.name = name
        return Tensor(self.node, name)

    def to_sympy(self, explicit: Mapping[str, int] | None = None) -> Any:
        """The tensor in SymPy's words.

        Parameters
        ----------
        explicit : mapping of str to int, optional
            Sizes of the free extents, ``{"n": 2}`` (``{}`` when there are none): every sum is written out.

        Returns
        -------
        sympy.Eq, or Expr or Array
            The equation ``Eq(Y[i, j], ...)`` over an IndexedBase for each input and parameter, with ``Sum``.
            With ``explicit`` the element of a scalar, or a ``sympy.Array`` of all elements, in plain real symbols
            ``W_0_1`` that ``sympy.diff`` differentiates; those of a parameter are ``W.to_sympy(explicit={})``.

        Raises
        ------
        FormulaError
            When SymPy has no word for an operation, such as ``stop_gradient``.
        DomainError
            When a size is missing or the sums are too long.
        NameClashError
            When two symbols would have the same name.

        Examples
        --------
        >>> import graphc as gc
        >>> X = gc.input("X", ("n", 2)); w = gc.param("w", (2,), 0.5)
        >>> gc.mean(gc.tanh(X @ w)).to_sympy().rhs
        Sum(tanh(Sum(X[i, j]*w[j], (j, 0, 1))), (i, 0, n - 1))/n
        >>> gc.mean(gc.tanh(X @ w)).to_sympy(explicit={"n": 1})
        tanh(X_0_0*w_0 + X_0_1*w_1)
        """
        if explicit is not None:
            return elements_of(self.node, explicit)
        return equation_of(self.node, self.name or "Y", self.index_names)

    def _combine(self, op: Op, args: tuple[Any, ...]) -> Any:
        return combine(op, args)

    def _is_condition(self) -> bool:
        return of_node(self.node)

    def __matmul__(self, other: Any) -> Tensor:
        return Tensor(matmul(self.node, as_node(other, "@")))

    def __rmatmul__(self, other: Any) -> Tensor:
        return Tensor(matmul(as_node(other, "@"), self.node))

    def __getitem__(self, key: Any) -> Any:
        entries = key if isinstance(key, tuple) else (key,)
        if any(isinstance(e, IndexArithmetic | Indexed) for e in entries):
            return _access(self, entries)
        plain = tuple(e.node if isinstance(e, NodeHandle) else e for e in entries)
        return Tensor(subscript(self.node, plain))

    def __setitem__(self, key: Any, value: Any) -> NoReturn:
        message = f"{node_text(self.node, self.name)} cannot be assigned to: a Tensor never changes"
        fail(TypeMismatchError, message, "build the new tensor with gc.where, gc.concatenate or gc.define.")

    def __repr__(self) -> str:
        return f"<Tensor {node_text(self.node, self.name) if self.name else f'of shape {shape_text(self.shape)}'}>"


def as_node(value: Any, what: str) -> Node:
    """The node behind an operand: a Tensor's, or a constant one for a number or a small array.

    Raises
    ------
    TypeMismatchError
        When it is none of these.
    """
    if isinstance(value, NodeHandle):
        return value.node
    if isinstance(value, Indexed | IndexArithmetic):
        hint = "make it a Tensor first: H = gc.define('H', [i, j], expression)."
        fail(TypeMismatchError, f"{what}: the indexed expression {value!r} is no Tensor yet", hint)
    if is_infinite(value):
        return infinity(value)
    return constant_node(exact(value, what)) if is_number(value) else constant_leaf(value, what)


def combine(op: Op, args: tuple[Any, ...]) -> Any:
    """op of Tensors, indexed expressions, numbers, arrays or SymPy expressions: a node, or a step of an expression."""
    if any(isinstance(a, Indexed | IndexArithmetic) for a in args):
        return apply_indexed(op, args)
    if any(isinstance(a, sympy.Expr) and not a.is_number for a in args):
        return _scalar_expression(op, args)
    inside = [is_number(a) and not is_infinite(a) for a in args]  # of the body
    return Tensor(apply(op, [exact(a, op.title) if b else as_node(a, op.title) for a, b in zip(args, inside)]))


def _scalar_expression(op: Op, args: tuple[Any, ...]) -> sympy.Expr:
    if any(isinstance(a, NodeHandle) for a in args):
        hint = "make a function of it: f = gc.function('f', expression), then f(X)."
        fail(TypeMismatchError, f"{op.title}: a SymPy expression and a Tensor do not mix", hint)
    return op(*[exact(a, op.title) for a in args])


def _access(x: Tensor, entries: tuple[Any, ...]) -> Access:
    name = x.name or "x"
    if len(entries) != x.ndim:
        shown = ", ".join(map(repr, entries))
        given = f"{len(entries)} {'index' if len(entries) == 1 else 'indices'}"
        message = f"{node_text(x.node, x.name)} has {x.ndim} axes but {name}[{shown}] gives {given}"
        fail(IndexNotationError, message, "give one index for every axis.")
    return Access(x.node, tuple(_entry(x, t, e) for t, e in enumerate(entries)), name)


def _entry(x: Tensor, t: int, entry: Any) -> IndexMap:
    found = as_map(entry)
    if found is not None:
        extent = x.shape[t]
        wraps = not found.terms and found.const < 0 and isinstance(extent, int)
        return IndexMap(found.const + int(extent)) if wraps else found
    if not isinstance(entry, Access):
        kind = "a slice" if isinstance(entry, slice) else f"a {type(entry).__name__}"
        message = f"axis {t} of {node_text(x.node, x.name)} is indexed with {kind} beside index letters"
        hint = "beside index letters stand index letters, whole numbers and reads of integer data such as T[i]."
        fail(IndexNotationError, message, hint)
    if labels_leaf(entry.node) is None:
        message = f"{entry!r} is used as an index of {node_text(x.node, x.name)} but is not integer data"
        fail(TypeMismatchError, message, 'declare it with gc.input(..., dtype="int64").')
    return IndexMap(0, ((entry, 1),))


def is_expression(value: Any) -> bool:
    """True for what is not a Tensor yet: indexed expressions and indices."""
    return isinstance(value, Indexed | IndexArithmetic)
