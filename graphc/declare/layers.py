"""Layers: sugar that declares parameters and applies the operators to them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from numbers import Integral
from typing import Any

import numpy as np

from graphc.declare.activations import activation
from graphc.declare.init import zeros
from graphc.declare.leaves import input, param
from graphc.declare.names import check_name, node_text
from graphc.declare.origin import fail
from graphc.declare.tensor import Tensor
from graphc.errors import ShapeError, TypeMismatchError
from graphc.ir.affine import Extent
from graphc.ir.node import Leaf, Node
from graphc.ir.walk import leaves
from graphc.records import record

__all__ = ["Dense", "Layer", "Network", "sequential"]


def __dir__() -> list[str]:
    return sorted(__all__)


Step = Callable[[Tensor], Tensor]


class Layer:
    """A function of a Tensor that has parameters: what an own layer derives from.

    A network that is applied to another Tensor calls ``apply`` with the parameters that ``declare`` gave.

    Examples
    --------
    >>> import graphc as gc
    >>> class Scale(gc.nn.Layer):
    ...     def declare(self, x):
    ...         return [gc.param("scale", x.shape[-1:], 1.0)]
    ...     def apply(self, x, params):
    ...         return x * params[0]
    >>> gc.nn.sequential(2, Scale(), gc.nn.Dense(1)).shape
    ('n', 1)
    """

    def __call__(self, x: Tensor) -> Tensor:
        return self.apply(x, self.declare(x))

    def declare(self, x: Tensor) -> list[Any]:
        """New parameters for x; a layer made of others gives a list of theirs."""
        raise NotImplementedError

    def apply(self, x: Tensor, params: Sequence[Any]) -> Tensor:
        """The layer with given parameters."""
        raise NotImplementedError


@record(frozen=True, eq=False)
class Dense(Layer):
    """y[n, o] = activation(sum_i x[n, i]*W[i, o] + B[o]).

    Applied to a Tensor it declares ``W0`` and ``B0``, or the next numbers that the tensor does not use yet.

    Parameters
    ----------
    units : int
        The number of outputs.
    activation : str or function, optional
        A name of :mod:`graphc.activations`, or a function of a Tensor.
    bias : bool
        Whether to add B, which starts at 0.
    init : number, array, initialiser or its name, optional
        Where W starts; glorot by default.

    Raises
    ------
    ShapeError
        When `units` is no whole number of at least 1, or the last axis of the Tensor has a free extent.
    UnknownNameError
        When no activation has that name.

    Examples
    --------
    >>> import graphc as gc
    >>> gc.nn.Dense(4, "tanh")(gc.input("X", ("n", 2))).shape
    ('n', 4)
    """

    units: int
    activation: str | Callable[[Any], Any] | None = None
    bias: bool = True
    init: Any = None

    def __post_init__(self) -> None:
        check_count("nn.Dense", "units", self.units)
        activation(self.activation)

    def declare(self, x: Tensor) -> list[Tensor]:
        """New parameters W, B for the last axis of x."""
        if not isinstance(x, Tensor) or x.ndim == 0 or isinstance(x.shape[-1], str):
            found = node_text(x.node) if isinstance(x, Tensor) else repr(x)
            hint = 'declare it as ("n", 64), for example.'
            fail(ShapeError, f"nn.Dense: {found} has no last axis of known extent", hint)
        number = next_number([x.node], "W", "B")
        weight = param(f"W{number}", (x.shape[-1], int(self.units)), self.init)
        return [weight, param(f"B{number}", (int(self.units),), zeros())] if self.bias else [weight]

    def apply(self, x: Tensor, params: Sequence[Tensor]) -> Tensor:
        """The layer with given parameters."""
        z = x @ params[0]
        return activation(self.activation)(z + params[1] if self.bias else z)


def next_number(nodes: Sequence[Node], *letters: str) -> int:
    """The least number with which no name of these letters is taken in what nodes are made of."""
    taken = {leaf.name for leaf in leaves(nodes)}
    number = 0
    while any(f"{letter}{number}" in taken for letter in letters):
        number += 1
    return number


def check_count(what: str, name: str, value: Any) -> None:
    """Refuse a number of units, filters or heads that is no whole number of at least 1."""
    if not isinstance(value, Integral) or isinstance(value, bool) or value < 1:
        fail(ShapeError, f"{what}: the number of {name} is {value!r:.40}", "it is a whole number of at least 1.")


class Network(Tensor):
    """The output of :func:`sequential`: a Tensor that knows its input and its parameters, and can be applied again."""

    __slots__ = ("_input", "_steps")

    def __init__(self, x: Tensor, y: Tensor, steps: Sequence[tuple[Step, Sequence[Any]]]) -> None:
        super().__init__(y.node, y.name)
        self._input, self._steps = x, tuple(steps)

    @property
    def input(self) -> Tensor:
        """The Tensor that goes in."""
        return self._input

    @property
    def output(self) -> Tensor:
        """The Tensor that comes out, as a plain Tensor."""
        return Tensor(self.node, self._name)

    @property
    def params(self) -> list[Tensor]:
        """The parameters in order of declaration."""
        return [Tensor(leaf) for leaf in leaves([self.node]) if isinstance(leaf, Leaf) and leaf.kind == "param"]

    def __call__(self, x: Tensor) -> Tensor:
        """The same layers with the same parameters on another Tensor.

        Raises
        ------
        ShapeError
            When the last extent of x does not fit.
        """
        return apply_all(x, self._steps)


def _input(width: int | Sequence[Extent]) -> Tensor:
    columns = (width,) if isinstance(width, int | np.integer) else tuple(width)
    return input("X", ("n", *columns))


def sequential(first: int | Sequence[Extent] | Tensor, *layers: Step | str, name: str | None = None) -> Network:
    """Layers applied one after another.

    Parameters
    ----------
    first : int, tuple or Tensor
        The width of an input ``X`` of shape ``("n", width)`` that is declared here, its shape without the rows, or a
        Tensor to start from.
    *layers : layer, function of a Tensor, or name of an activation
    name : str, optional
        What the names of its parameters begin with: with ``name="d"`` they are d_W0, d_B0, .. Two networks of one model
        are told apart by it.

    Returns
    -------
    Network
        A Tensor with ``.input``, ``.output`` and ``.params``.

    Raises
    ------
    ShapeError
        When a layer does not fit the Tensor it gets.
    TypeMismatchError
        When a layer is no layer.

    Examples
    --------
    >>> import graphc as gc
    >>> net = gc.nn.sequential(64, gc.nn.Dense(128, "relu"), gc.nn.Dense(10))
    >>> net.shape, [p.name for p in net.params]
    (('n', 10), ['W0', 'B0', 'W1', 'B1'])
    """
    if isinstance(first, Layer) or (callable(first) and not isinstance(first, Tensor)):
        hint = "give the number of inputs first: gc.nn.sequential(64, gc.nn.Dense(10))."
        fail(TypeMismatchError, "nn.sequential: the first argument is a layer", hint)
    x = first if isinstance(first, Tensor) else _input(first)
    y, steps = x, []
    for layer in layers:
        f, params, y = add_layer("nn.sequential", layer, y)
        steps.append((f, params))
    if name is not None:
        _begin_names([params for _, params in steps], check_name(name, "a network"))
    return Network(x, y, steps)


def _begin_names(params: Iterable[Any], start: str) -> None:
    """Let the names of new parameters begin with that of their network; layers made of others nest theirs."""
    for x in params:
        if isinstance(x, Tensor):
            x.node.name = f"{start}_{x.node.name}"
        elif isinstance(x, list | tuple):
            _begin_names(x, start)


def add_layer(what: str, layer: Step | str, x: Tensor) -> tuple[Step, list[Any], Tensor]:
    """A layer by itself or by the name of an activation, its new parameters, and what it makes of x.

    Raises
    ------
    TypeMismatchError
        When it gives no Tensor.
    """
    f = layer if isinstance(layer, Layer) else activation(layer)
    params = f.declare(x) if isinstance(f, Layer) else []
    y = f.apply(x, params) if isinstance(f, Layer) else f(x)
    if not isinstance(y, Tensor):
        message = f"{what}: {layer!r:.60} gives {y!r:.60}, no Tensor"
        fail(TypeMismatchError, message, "layers map Tensors to Tensors.")
    return f, params, y


def apply_all(x: Tensor, steps: Iterable[tuple[Step, Sequence[Any]]]) -> Tensor:
    """Layers with given parameters, one after another."""
    for layer, params in steps:
        x = layer.apply(x, params) if isinstance(layer, Layer) else layer(x)
    return x
