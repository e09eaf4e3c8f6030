"""What differs between training and the rest, and states that training updates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from graphc.declare.init import initialiser
from graphc.declare.names import check_name, check_shape, node_text, shape_text
from graphc.declare.origin import fail, stamp
from graphc.declare.pointwise import where
from graphc.declare.tensor import Tensor, as_node
from graphc.errors import ShapeError, TypeMismatchError
from graphc.ir.affine import Extent
from graphc.ir.node import Leaf


def in_train_phase(x: Any, otherwise: Any) -> Tensor:
    """x in training; in ``predict``, ``evaluate`` and compiled functions the other.

    Parameters
    ----------
    x, otherwise : Tensor, number or array
        Of shapes that broadcast.

    Raises
    ------
    ShapeError
        When the shapes do not broadcast.

    Examples
    --------
    >>> import graphc as gc
    >>> X = gc.input("X", ("n", 2))
    >>> gc.in_train_phase(X + gc.random.normal(X.shape), gc.tanh(X)).shape
    ('n', 2)
    """
    return where(Tensor(stamp(Leaf("training", (), "phase"))), x, otherwise)


def state(name: str, shape: Sequence[Extent] | Extent, init: Any = 0.0, *, update: Callable[[Tensor], Any]) -> Tensor:
    """Declare a state: numbers that every step of training sets to a formula, and that no optimizer changes.

    ``predict`` and ``evaluate`` read them; they are saved with the model and stand in ``model.params`` by name.
    All updates of a step, like its gradients, read the values before the step. No gradient flows out of an update.

    Parameters
    ----------
    name : str
        An identifier of at most 64 characters, unique in a model.
    shape : tuple of int
        Whole numbers; ``()`` for a scalar.
    init : number, array, initialiser or its name
        Where it starts.
    update : function of a Tensor
        Called once with the state; gives the formula of its next value.

    Raises
    ------
    NameClashError
        When the name is no identifier.
    ShapeError
        When an extent is free, or the update has another shape.
    TypeMismatchError
        When the update is no function.

    Examples
    --------
    >>> import graphc as gc
    >>> X = gc.input("X", ("n", 3))
    >>> gc.state("mean", (3,), update=lambda m: 0.9*m + 0.1*gc.mean(X, axis=0))
    <Tensor mean[3]>
    """
    check_name(name, "a state")
    extents = check_shape(shape, name, free=False)
    start = initialiser(init, name, tuple(int(e) for e in extents))
    if not callable(update):
        hint = "give a function of the state: update=lambda s: s + 1."
        fail(TypeMismatchError, f"state: the update of {name} is {update!r:.60}", hint)
    leaf = Leaf(name, extents, "state", value=start)
    stamp(leaf)
    return set_update(Tensor(leaf), update)


def set_update(kept: Tensor, update: Callable[[Tensor], Any]) -> Tensor:
    """Let a state take another formula in every step, given as in :func:`state`."""
    leaf = kept.node
    assert isinstance(leaf, Leaf)
    new = as_node(update(kept), f"the update of {leaf.name}")
    if new.shape != leaf.shape:
        message = f"state: the update of {leaf.name} gives {node_text(new)}, not the shape {shape_text(leaf.shape)}"
        fail(ShapeError, message, "a state keeps its shape.")
    leaf.update = new
    return kept
