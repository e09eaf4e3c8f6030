"""Normalisation of each row: layer norm, root mean square, groups of channels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphc.declare.constants import is_number
from graphc.declare.names import node_text, shape_text
from graphc.declare.origin import fail
from graphc.declare.pointwise import sqrt
from graphc.declare.reducing import normal_axes
from graphc.declare.reductions import mean
from graphc.declare.tensor import Tensor, as_node
from graphc.declare.views import view
from graphc.declare.windows import channel_axis, whole_numbers
from graphc.errors import DomainError, ShapeError
from graphc.ir.affine import Affine, Extent, floor_div, index, modulo
from graphc.ir.node import Node

Axes = int | Sequence[int]


def layer_norm(x: Any, axis: Axes = -1, scale: Any = None, shift: Any = None, eps: float = 1e-5) -> Tensor:
    """(x - mean(x))/sqrt(var(x) + eps)*scale + shift, mean and variance along some axes (Ba et al. 2016).

    Parameters
    ----------
    x : Tensor or array
    axis : int or tuple of int
        The axes that are normalised together.
    scale, shift : Tensor or array, optional
        Of the shape of these axes.
    eps : number
        Is added to the variance.

    Raises
    ------
    ShapeError
        When an axis does not exist, or a scale or shift has another shape.
    DomainError
        When `eps` is not a number of at least 0.

    Examples
    --------
    >>> import graphc as gc
    >>> gc.layer_norm(gc.input("X", ("n", 8))).shape
    ('n', 8)
    """
    node = as_node(x, "layer_norm")
    axes = normal_axes(node, axis, "gc.layer_norm")
    z = Tensor(node) - mean(Tensor(node), axes, keepdims=True)
    return _scaled("layer_norm", z / _root("layer_norm", z, axes, eps), axes, scale, shift)


def rms_norm(x: Any, axis: Axes = -1, scale: Any = None, eps: float = 1e-6) -> Tensor:
    """x/sqrt(mean(x²) + eps)*scale, the mean along some axes (Zhang & Sennrich 2019).

    Parameters
    ----------
    x : Tensor or array
    axis : int or tuple of int
        The axes that are normalised together.
    scale : Tensor or array, optional
        Of the shape of these axes.
    eps : number
        Is added to the mean of squares.

    Raises
    ------
    ShapeError
        When an axis does not exist, or the scale has another shape.
    DomainError
        When `eps` is not a number of at least 0.

    Examples
    --------
    >>> import graphc as gc
    >>> gc.rms_norm(gc.input("X", ("n", 8))).shape
    ('n', 8)
    """
    node = as_node(x, "rms_norm")
    axes = normal_axes(node, axis, "gc.rms_norm")
    return _scaled("rms_norm", Tensor(node) / _root("rms_norm", Tensor(node), axes, eps), axes, scale, None)


def group_norm(
    x: Any, groups: int, scale: Any = None, shift: Any = None, eps: float = 1e-5, channels: str = "first"
) -> Tensor:
    """Layer norm of each group of channels together with all places (Wu & He 2018).

    Parameters
    ----------
    x : Tensor or array
        Of shape (n, channels), (n, channels, length), (n, channels, height, width), ..
    groups : int
        How many groups; 1 normalises all channels together, their number each channel alone (instance norm).
    scale, shift : Tensor or array, optional
        Of shape (channels,).
    eps : number
        Is added to the variance.
    channels : str
        Where the axis of the channels stands: ``"first"`` or ``"last"``.

    Raises
    ------
    ShapeError
        When the channels are not that many equal groups, or a scale or shift has another shape.
    TypeMismatchError
        When an option is of another kind.
    DomainError
        When `eps` is not a number of at least 0.

    Examples
    --------
    >>> import graphc as gc
    >>> gc.group_norm(gc.input("X", ("n", 8, 5, 5)), 4).shape
    ('n', 8, 5, 5)
    """
    node = as_node(x, "group_norm")
    (groups,) = whole_numbers("group_norm", "number of groups", groups, 1, 1)
    channel, places = channel_axis("group_norm", channels, node, max(node.rank - 2, 0))
    count = node.shape[channel]
    if isinstance(count, str) or count % groups:
        message = f"group_norm: the {count} channels of axis {channel} of {node_text(node)} are not {groups} groups"
        fail(ShapeError, message, "the number of groups divides that of the channels.")
    grouped = Tensor(_in_groups(node, channel, groups, count // groups))
    axes = tuple(t + (t > channel) for t in places) + (channel + 1,)
    z = grouped - mean(grouped, axes, keepdims=True)
    y = z / _root("group_norm", z, axes, eps)
    return _scaled("group_norm", Tensor(_joined(y.node, channel)), (channel,), scale, shift)


def _in_groups(x: Node, channel: int, groups: int, each: int) -> Node:
    """out[.., g, c, ..] = x[.., g*each + c, ..]."""
    shape: list[Extent] = [*x.shape[:channel], groups, each, *x.shape[channel + 1 :]]
    at: list[Affine] = [index(t + (t > channel)) for t in range(x.rank)]
    at[channel] = index(channel) * each + index(channel + 1)
    return view(x, shape, at)


def _joined(x: Node, channel: int) -> Node:
    """out[.., c, ..] = x[.., c // each, c % each, ..]."""
    groups, each = int(x.shape[channel]), int(x.shape[channel + 1])
    shape: list[Extent] = [*x.shape[:channel], groups * each, *x.shape[channel + 2 :]]
    at = [index(t - (t > channel)) for t in range(x.rank)]
    c = index(channel)
    at[channel], at[channel + 1] = floor_div(c, each, shape), modulo(c, each, shape)
    return view(x, shape, at)


def _root(what: str, z: Tensor, axes: tuple[int, ...], eps: Any) -> Tensor:
    if not is_number(eps) or not eps >= 0:
        fail(DomainError, f"{what}: eps is {eps!r:.40}", "give a number of at least 0, such as 1e-5.")
    return sqrt(mean(z**2, axes, keepdims=True) + eps)


def _scaled(what: str, y: Tensor, axes: tuple[int, ...], scale: Any, shift: Any) -> Tensor:
    """y*scale + shift, both of the shape of some axes of y."""
    for name, value in (("scale", scale), ("shift", shift)):
        if value is None:
            continue
        node, wanted = as_node(value, what), tuple(y.shape[t] for t in axes)
        if node.shape not in ((), wanted):
            message = f"{what}: the {name} is {node_text(node)} for axes of shape {shape_text(wanted)}"
            fail(ShapeError, message, f"give it the shape {shape_text(wanted)}.")
        if node.rank:
            shape = [e if t in axes else 1 for t, e in enumerate(y.shape)][axes[0] :]
            node = view(node, shape, [index(t - axes[0]) for t in axes])
        y = y * Tensor(node) if name == "scale" else y + Tensor(node)
    return y
