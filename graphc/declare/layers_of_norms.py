"""Layers that normalise each row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphc.declare.layers import Layer, check_count, next_number
from graphc.declare.leaves import param
from graphc.declare.names import node_text
from graphc.declare.normalizing import Axes, group_norm, layer_norm, rms_norm
from graphc.declare.origin import fail
from graphc.declare.reducing import normal_axes
from graphc.declare.tensor import Tensor
from graphc.declare.windows import channel_axis
from graphc.errors import ShapeError
from graphc.ir.affine import Extent
from graphc.records import record


def known_extents(what: str, x: Tensor, axes: Sequence[int]) -> tuple[int, ...]:
    """The extents of some axes, which are known."""
    found: list[int] = []
    for t in axes:
        extent: Extent = x.shape[t]
        if isinstance(extent, str):
            message = f"{what}: axis {t} of {node_text(x.node)} has the free extent {extent}"
            fail(ShapeError, message, "parameters stand along axes of known extent.")
        found.append(extent)
    return tuple(found)


def _scale_and_shift(x: Tensor, shape: tuple[int, ...], scale: bool, shift: bool) -> list[Any]:
    """New parameters gamma0, which starts at 1, and beta0, which starts at 0; None for what is not wanted."""
    number = next_number([x.node], "gamma", "beta")
    return [
        param(f"gamma{number}", shape, 1.0) if scale else None,
        param(f"beta{number}", shape, 0.0) if shift else None,
    ]


@record(frozen=True, eq=False)
class LayerNorm(Layer):
    """(x - mean)/sqrt(variance + eps)*scale + shift along some axes of each row; see :func:`graphc.layer_norm`.

    It declares ``gamma0`` and ``beta0``, or the next numbers that the tensor does not use yet.

    Parameters
    ----------
    axis : int or tuple of int
        The axes that are normalised together.
    eps : number
        Is added to the variance.
    scale, shift : bool
        Whether to multiply by a scale, which starts at 1, and to add a shift, which starts at 0.

    Raises
    ------
    ShapeError
        When an axis does not exist or has a free extent.

    Examples
    --------
    >>> import graphc as gc
    >>> gc.nn.sequential(64, gc.nn.Dense(32), gc.nn.LayerNorm(), "relu").shape
    ('n', 32)
    """

    axis: Axes = -1
    eps: float = 1e-5
    scale: bool = True
    shift: bool = True

    def declare(self, x: Tensor) -> list[Any]:
        """New parameters of the shape of the axes."""
        axes = normal_axes(x.node, self.axis, "nn.LayerNorm")
        return _scale_and_shift(x, known_extents("nn.LayerNorm", x, axes), self.scale, self.shift)

    def apply(self, x: Tensor, params: Sequence[Any]) -> Tensor:
        """The layer with given parameters."""
        return layer_norm(x, self.axis, params[0], params[1], self.eps)


@record(frozen=True, eq=False)
class RMSNorm(Layer):
    """x/sqrt(mean(x²) + eps)*scale along some axes of each row; see :func:`graphc.rms_norm`.

    It declares ``gamma0``, or the next number that the tensor does not use yet.

    Parameters
    ----------
    axis : int or tuple of int
        The axes that are normalised together.
    eps : number
        Is added to the mean of squares.
    scale : bool
        Whether to multiply by a scale, which starts at 1.

    Raises
    ------
    ShapeError
        When an axis does not exist or has a free extent.

    Examples
    --------
    >>> import graphc as gc
    >>> gc.nn.sequential(64, gc.nn.Dense(32), gc.nn.RMSNorm(), "relu").shape
    ('n', 32)
    """

    axis: Axes = -1
    eps: float = 1e-6
    scale: bool = True

    def declare(self, x: Tensor) -> list[Any]:
        """A new parameter of the shape of the axes."""
        axes = normal_axes(x.node, self.axis, "nn.RMSNorm")
        return _scale_and_shift(x, known_extents("nn.RMSNorm", x, axes), self.scale, False)

    def apply(self, x: Tensor, params: Sequence[Any]) -> Tensor:
        """The layer with given parameters."""
        return rms_norm(x, self.axis, params[0], self.eps)


@record(frozen=True, eq=False)
class GroupNorm(Layer):
    """Layer norm of groups of channels of each row, with a scale and a shift for each channel; see
    :func:`graphc.group_norm`.

    It declares ``gamma0`` and ``beta0``, or the next numbers that the tensor does not use yet.

    Parameters
    ----------
    groups : int
        How many groups.
    eps : number
        Is added to the variance.
    scale, shift : bool
        Whether to multiply by a scale, which starts at 1, and to add a shift, which starts at 0.
    channels : str
        Where the axis of the channels stands: ``"first"`` or ``"last"``.

    Raises
    ------
    ShapeError
        When the channels are not that many equal groups.

    Examples
    --------
    >>> import graphc as gc
    >>> gc.nn.sequential((8, 5, 5), gc.nn.GroupNorm(4)).shape
    ('n', 8, 5, 5)
    """

    groups: int
    eps: float = 1e-5
    scale: bool = True
    shift: bool = True
    channels: str = "first"

    def __post_init__(self) -> None:
        check_count("nn.GroupNorm", "groups", self.groups)

    def declare(self, x: Tensor) -> list[Any]:
        """New parameters, one of each for every channel."""
        channel, _ = channel_axis("nn.GroupNorm", self.channels, x.node, max(x.ndim - 2, 0), 1)
        return _scale_and_shift(x, known_extents("nn.GroupNorm", x, [channel]), self.scale, self.shift)

    def apply(self, x: Tensor, params: Sequence[Any]) -> Tensor:
        """The layer with given parameters."""
        return group_norm(x, self.groups, params[0], params[1], self.eps, self.channels)
