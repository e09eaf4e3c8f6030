"""Index notation: letters, and definitions such as ``H[i, j] = tanh(sum_k X[i, k]*W[k, j] + b[j])``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from graphc.declare.index_ast import Index, as_indexed
from graphc.declare.lowering import lower
from graphc.declare.names import check_name, check_shape, check_unused
from graphc.declare.origin import fail
from graphc.declare.tensor import Tensor, index_letters
from graphc.errors import IndexNotationError, TypeMismatchError
from graphc.ir.affine import Extent
from graphc.ir.node import Equation


def indices(names: str | Iterable[str], **extents: Extent) -> Any:
    """Index letters for index notation.

    Parameters
    ----------
    names : str or sequence of str
        Names separated by spaces or commas.
    **extents : int or str
        The extent of an index that nothing else tells, or a shorter one: ``gc.indices("i", i=4)``.

    Returns
    -------
    Index or tuple of Index
        One index for one name.

    Raises
    ------
    NameClashError
        When a name is no identifier.
    IndexNotationError
        When an extent is given for no index.

    Examples
    --------
    >>> import graphc as gc
    >>> gc.indices("i j k")
    (i, j, k)
    >>> gc.indices("i")
    i
    """
    letters = names.replace(",", " ").split() if isinstance(names, str) else list(names)
    if not letters:
        fail(IndexNotationError, "gc.indices: there is no name", 'write i, j = gc.indices("i j").')
    unknown = [e for e in extents if e not in letters]
    if unknown:
        hint = f"the indices are {', '.join(letters)}."
        fail(IndexNotationError, f"gc.indices: an extent is given for {unknown[0]}", hint)
    found = tuple(Index(check_name(n, "an index"), _extent(n, extents)) for n in letters)
    return found[0] if len(found) == 1 else found


def _extent(name: str, extents: dict[str, Extent]) -> Extent | None:
    return check_shape((extents[name],), f"index {name}")[0] if name in extents else None


def define(name: str, left: Any, expression: Any) -> Tensor:
    """The Tensor whose elements an indexed expression gives: ``name[left..] = expression``.

    Every operation outside a reduction is an equation of its own, as the operators of Tensors make it; a reduction is
    one equation.  Indices run over the extents of what they read.  An index that is only read shifted, as in
    ``X[i + k]``, runs as far as the read stays inside.

    Parameters
    ----------
    name : str
        The name that formulas use.
    left : sequence of Index
        The axes of the result; empty for a scalar.
    expression : indexed expression or number
        Of the indices on the left; all others are reduced with ``over=``.

    Returns
    -------
    Tensor
        Its axes remember their letters (``index_names``).

    Raises
    ------
    IndexNotationError
        When an index is neither on the left nor reduced, has no range, two ranges, or leaves a tensor.
    NameClashError
        When the name is no identifier or is taken inside the expression.

    Examples
    --------
    >>> import graphc as gc
    >>> X = gc.input("X", ("n", 3)); W = gc.param("W", (3, 2), 0.5); b = gc.param("b", (2,), 0.0)
    >>> i, j, k = gc.indices("i j k")
    >>> H = gc.define("H", [i, j], gc.tanh(gc.sum(X[i, k]*W[k, j], over=k) + b[j]))
    >>> H.shape, H.index_names
    (('n', 2), ('i', 'j'))
    """
    check_name(name, "a definition")
    letters = _left(name, left)
    node = lower(as_indexed(expression, f"gc.define {name}"), letters)
    check_unused(name, node)
    if isinstance(node, Equation):
        node.name = name
        index_letters[node] = tuple(i.name for i in letters)
    return Tensor(node, name)


def _left(name: str, left: Any) -> list[Index]:
    letters = list(left) if isinstance(left, list | tuple) else [left]
    for i in letters:
        if not isinstance(i, Index):
            hint = f'write gc.define("{name}", [i, j], ...) with i, j = gc.indices("i j").'
            fail(TypeMismatchError, f"gc.define {name}: {i!r} on the left is no index", hint)
    names = [i.name for i in letters]
    twice = next((n for n in names if names.count(n) > 1), None)
    if twice is not None:
        message = f"gc.define {name}: index {twice} stands twice on the left [{', '.join(names)}]"
        fail(IndexNotationError, message, "use each index once; gc.equal(i, j) selects a diagonal.")
    return letters
