"""Functions of one element: NumPy's names, on Tensors, indexed expressions, numbers, arrays and SymPy expressions.

What the table of scalar functions declares as public is made here when it is first used; by hand stand those that do
more than compute: ``where``, ``equal`` and ``clip``.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import sympy

from graphc.declare.expression import Op
from graphc.declare.index_ast import index_equal
from graphc.declare.measured import MEASURED
from graphc.declare.origin import fail, refuse_arguments
from graphc.declare.tensor import Tensor, as_node, combine
from graphc.errors import TypeMismatchError
from graphc.ir import scalar
from graphc.ir.node import Leaf
from graphc.ir.scalar import PUBLIC, Scalar, canonical
from graphc.ir.walk import replace

_MANY = 1000  # units of the last place, of which nobody asks how many
_DOC = """{summary}

Parameters
----------
{parameters}

Returns
-------
Tensor or indexed expression
    Of the shape of `x`{broadcast}.

Raises
------
DomainError
    When an argument is a number outside the domain.
TypeMismatchError
    When an argument is something else.

Examples
--------
>>> import graphc as gc
>>> X = gc.input("X", ("n", 2))
>>> gc.{name}({call}).shape
('n', 2)
"""


def __getattr__(name: str) -> Callable[..., Any]:
    """A function of the table, by the name that users call."""
    if name not in PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    made = globals()[name] = public_function(PUBLIC[name], name)
    return made


def public_function(entry: Scalar, name: str) -> Callable[..., Any]:
    """The function that users call: its argument names, defaults and documentation are those of the table."""
    own = name.rpartition(".")[2]
    text = f"{own}({', '.join(f'{{{i}}}' for i in range(entry.arity))})"
    one = entry.arguments == ("x",) and not entry.options
    function = _of_one(Op(own, text, entry)) if one else _of_several(own, text, entry)
    function.__name__ = function.__qualname__ = own
    function.__doc__ = _doc(entry, name)
    return function


def _of_one(op: Op) -> Callable[..., Any]:
    def function(x: Any) -> Any:
        return combine(op, (x,))

    return function


def _of_several(name: str, text: str, entry: Scalar) -> Callable[..., Any]:
    signature = _signature(entry)

    def function(*args: Any, **named: Any) -> Any:
        given = _bound(signature, args, named)
        if given is None:
            refuse_arguments(function, args, named)
        given.apply_defaults()
        chosen = {n: given.arguments[n] for n in entry.options}
        build = partial(entry.formula, **chosen) if entry.formula and chosen else entry
        return combine(Op(name, text, build), tuple(given.arguments[n] for n in entry.arguments))

    function.__signature__ = signature  # pyright: ignore[reportFunctionMemberAccess]
    return function


def _bound(
    signature: inspect.Signature, args: tuple[Any, ...], named: dict[str, Any]
) -> inspect.BoundArguments | None:
    try:
        return signature.bind(*args, **named)
    except TypeError:
        return None


def _signature(entry: Scalar) -> inspect.Signature:
    required = entry.arity - len(entry.defaults)
    defaults = (*[inspect.Parameter.empty] * required, *entry.defaults)
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    found = [inspect.Parameter(n, kind, default=d, annotation=Any) for n, d in zip(entry.arguments, defaults)]
    only = inspect.Parameter.KEYWORD_ONLY
    return inspect.Signature(
        [*found, *(inspect.Parameter(n, only, default=False, annotation=bool) for n in entry.options)]
    )


def _doc(entry: Scalar, name: str) -> str:
    named = [n for n in entry.arguments if n not in entry.explained]
    shapes = "Of shapes that broadcast." if len(named) > 1 else "Of any shape; an array becomes a constant."
    lines = [f"{', '.join(named)} : Tensor, indexed expression, number or array", f"    {shapes}"]
    for n, meaning in entry.explained.items():
        lines += [f"{n} : number or Tensor", f"    {meaning}"]
    for n, meaning in entry.options.items():
        lines += [f"{n} : bool", f"    {meaning}"]
    required = entry.arity - len(entry.defaults)
    return _DOC.format(
        summary=entry.doc + _errors(entry),
        parameters="\n".join(lines),
        broadcast="" if entry.arity == 1 else " and the others, broadcast",
        name=name,
        call=entry.example or ", ".join(["X", *["0.5"] * (required - 1)]),
    )


def _errors(entry: Scalar) -> str:
    """What is measured of a function that misses 4 units of the last place in float64 or 2 in float32."""
    name = f"{entry.place}.{entry.public}" if entry.place else entry.public
    if name not in MEASURED:
        return ""
    value, slope, value32, slope32 = (f"{e:g}" if e < _MANY else "many" for e in MEASURED[name])
    return (
        f"\n\nWorst errors measured, in units of the last place in float64 and float32: value {value} and {value32},"
        f" slope {slope} and {slope32}\n(docs/functions.md)."
    )


_MAXIMUM = Op("maximum", "maximum({0}, {1})", scalar.maximum)
_MINIMUM = Op("minimum", "minimum({0}, {1})", scalar.minimum)
_EQUAL = Op("equal", "equal({0}, {1})", scalar.equal)


def _choose(c: Any, a: sympy.Expr, b: sympy.Expr) -> sympy.Expr:
    if isinstance(c, sympy.core.relational.Relational):  # a condition between SymPy expressions
        return canonical(sympy.Piecewise((a, c), (b, True)))
    return scalar.where(c, a, b)


_STOP = Op("stop_gradient", "stop_gradient({0})", scalar.stop_gradient)
_WHERE = Op("where", "where({0}, {1}, {2})", _choose)


def clip(x: Any, low: Any, high: Any) -> Any:
    """min(max(x, low), high), element by element.

    Parameters
    ----------
    x, low, high : Tensor, indexed expression, number or array
        Of shapes that broadcast.
    """
    return combine(_MINIMUM, (combine(_MAXIMUM, (x, low)), high))


def stop_gradient(x: Any, wrt: Any = None) -> Any:
    """x itself, which counts as a constant when derivatives are taken.

    With `wrt` it does so only as far as these parameters go: a term of a loss that is not for them.

    Parameters
    ----------
    x : Tensor, indexed expression, number or array
        Of any shape; an array becomes a constant.
    wrt : Tensor or sequence of Tensors, optional
        Parameters or inputs: x keeps its derivatives with respect to all others.

    Raises
    ------
    TypeMismatchError
        When something in `wrt` is no parameter or input, or x is no Tensor.

    Examples
    --------
    >>> import graphc as gc
    >>> V, W = gc.param("V", (2,)), gc.param("W", (2,))
    >>> gc.stop_gradient(gc.sum(V*W), wrt=V).shape
    ()
    """
    if wrt is None:
        return combine(_STOP, (x,))
    held = [*wrt] if isinstance(wrt, list | tuple) else [wrt]
    for w in held:
        if not isinstance(w, Tensor) or not isinstance(w.node, Leaf):
            fail(TypeMismatchError, f"stop_gradient: {w!r:.60} is no parameter or input", "give wrt=W, or wrt=[W, V].")
    if not isinstance(x, Tensor):
        fail(TypeMismatchError, f"stop_gradient: {x!r:.60} is no Tensor", "leave out wrt, or give a Tensor.")
    swap = {w.node: as_node(combine(_STOP, (w,)), "stop_gradient") for w in held}
    return Tensor(replace([x.node], swap)[0])


def where(condition: Any, a: Any, b: Any) -> Any:
    """a where the condition is not 0, else b; nothing of the value not taken gets through, a NaN neither.

    Parameters
    ----------
    condition : Tensor, indexed expression, number or array
        Such as ``X > 0``.
    a, b : Tensor, indexed expression, number or array
        Of shapes that broadcast with the condition.

    Raises
    ------
    ShapeError
        When the shapes do not broadcast.
    TypeMismatchError
        When the condition is True or False, as ``x == y`` of two tensors is.

    Examples
    --------
    >>> import graphc as gc
    >>> X = gc.input("X", ("n", 2))
    >>> gc.where(X > 0, X, 0.1*X).shape
    ('n', 2)
    """
    if isinstance(condition, bool):
        message = f"where: the condition is the Python value {condition}, the same everywhere"
        fail(TypeMismatchError, message, "x == y asks whether both are one tensor; write gc.equal(x, y), or x < y.")
    return combine(_WHERE, (condition, a, b))


def equal(a: Any, b: Any) -> Any:
    """1 where a = b, else 0; between index letters ``equal(i, j)`` is the Kronecker delta.

    In index notation ``equal(T[e], c)`` of integer data T and an index c chooses too: ``gc.sum(gc.equal(T[e], c)*M[e],
    over=e)`` sums the elements of M whose label is c (see :func:`graphc.segment_sum`). Such labels are at least 0.

    Parameters
    ----------
    a, b : Tensor, indexed expression, number or array
        Of shapes that broadcast; or index letters.

    Raises
    ------
    ShapeError
        When the shapes do not broadcast.

    Examples
    --------
    >>> import graphc as gc
    >>> gc.equal(gc.input("X", ("n", 2)), 1).shape
    ('n', 2)
    """
    delta = index_equal(a, b)
    return combine(_EQUAL, (a, b)) if delta is None else delta
