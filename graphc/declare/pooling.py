"""Pooling: the largest element or the mean of every window."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from graphc.declare.names import node_text
from graphc.declare.origin import fail, stamp
from graphc.declare.reductions import mean
from graphc.declare.tensor import Tensor, as_node
from graphc.declare.windows import Padding, Window, channel_axis, paddings, read_at, whole_numbers, window
from graphc.errors import ShapeError
from graphc.ir.affine import Affine, Extent, index
from graphc.ir.build import constant_node, equation
from graphc.ir.node import Mask, Node, Read, Reducer
from graphc.ir.scalar import placeholder


def max_pool(
    x: Any,
    window: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: Padding = "valid",
    channels: str = "first",
) -> Tensor:
    """y[n, c, i, j] = max_{p, q} x[n, c, stride*i + p, stride*j + q]: equal largest ones share the gradient equally.

    Parameters
    ----------
    x : Tensor or array
        Of shape (n, channels, length) or (n, channels, height, width), with any number of axes to slide along.
    window : int or sequence of int
        How many elements along each axis; one number stands for all axes.
    stride : int or sequence of int, optional
        How far the window moves; by its own size when it is None.
    padding : str, int, or one number or pair (before, after) for each axis
        ``"valid"``, ``"same"`` for ⌈length/stride⌉ windows, or places around `x`, whose elements never count.
    channels : str
        Where the axis of the channels stands: ``"first"`` or ``"last"``.

    Raises
    ------
    ShapeError
        When no window fits, or one would lie in the padding alone.
    TypeMismatchError
        When an option is of another kind.

    Examples
    --------
    >>> import graphc as gc
    >>> gc.max_pool(gc.input("X", ("n", 3, 28, 28)), 2).shape
    ('n', 3, 14, 14)
    """
    node, places, windows = _windows("max_pool", x, window, stride, padding, channels)
    return Tensor(_reduced("max", node, places, windows))


def avg_pool(
    x: Any,
    window: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: Padding = "valid",
    channels: str = "first",
    count_include_pad: bool = False,
) -> Tensor:
    """y[n, c, i, j] = mean_{p, q} x[n, c, stride*i + p, stride*j + q].

    Parameters
    ----------
    x : Tensor or array
        Of shape (n, channels, length) or (n, channels, height, width), with any number of axes to slide along.
    window : int or sequence of int
        How many elements along each axis; one number stands for all axes.
    stride : int or sequence of int, optional
        How far the window moves; by its own size when it is None.
    padding : str, int, or one number or pair (before, after) for each axis
        ``"valid"``, ``"same"`` for ⌈length/stride⌉ windows, or places around `x`.
    channels : str
        Where the axis of the channels stands: ``"first"`` or ``"last"``.
    count_include_pad : bool
        Whether the padding counts as zeros, as in PyTorch; it does not count in Keras.

    Raises
    ------
    ShapeError
        When no window fits, or one would lie in the padding alone.
    TypeMismatchError
        When an option is of another kind.

    Examples
    --------
    >>> import graphc as gc
    >>> gc.avg_pool(gc.input("X", ("n", 3, 28)), 3, stride=2, padding="same").shape
    ('n', 3, 14)
    """
    node, places, windows = _windows("avg_pool", x, window, stride, padding, channels)
    if count_include_pad or not _padded(windows):
        return Tensor(_reduced("sum", node, places, windows, True))
    ones = constant_node(1, node.shape)
    return Tensor(_reduced("sum", node, places, windows)) / Tensor(_reduced("sum", ones, places, windows))


def global_avg_pool(x: Any, channels: str = "first", keepdims: bool = False) -> Tensor:
    """y[n, c] = mean_{i, j} x[n, c, i, j]: the mean over all axes but the rows and the channels.

    Parameters
    ----------
    x : Tensor or array
        Of shape (n, channels, length) or (n, channels, height, width), with any number of such axes.
    channels : str
        Where the axis of the channels stands: ``"first"`` or ``"last"``.
    keepdims : bool
        Keep the axes with an extent of 1.

    Raises
    ------
    ShapeError
        When `x` has fewer than three axes.
    TypeMismatchError
        When `channels` is another word.

    Examples
    --------
    >>> import graphc as gc
    >>> gc.global_avg_pool(gc.input("X", ("n", 3, 28, 28))).shape
    ('n', 3)
    """
    node = as_node(x, "global_avg_pool")
    _, places = channel_axis("global_avg_pool", channels, node, max(node.rank - 2, 1))
    return mean(Tensor(node), tuple(places), keepdims)


def _windows(
    what: str, x: Any, size: Any, stride: Any, padding: Any, channels: Any
) -> tuple[Node, list[int], list[Window]]:
    node = as_node(x, what)
    axes = len(size) if isinstance(size, Sequence) and not isinstance(size, str) else max(node.rank - 2, 1)
    _, places = channel_axis(what, channels, node, axes)
    sizes = whole_numbers(what, "window", size, axes, 1)
    strides = sizes if stride is None else whole_numbers(what, "stride", stride, axes, 1)
    pads = paddings(what, padding, axes, ("valid", "same"))
    for t, pair, width in zip(places, [] if isinstance(pads, str) else pads, sizes):
        if max(pair) >= width:
            message = f"{what}: {max(pair)} places of padding on axis {t} of {node_text(node)} for a window of {width}"
            fail(ShapeError, message, "the padding is less than the window, or windows would lie in it alone.")
    windows = [
        window(what, node, t, sizes[a], strides[a], 1, pads if isinstance(pads, str) else pads[a])
        for a, t in enumerate(places)
    ]
    return node, places, windows


def _padded(windows: Sequence[Window]) -> bool:
    """Whether some window reaches beyond the tensor."""
    return any(
        w.before or isinstance(w.count, str) or (w.count - 1) * w.stride - w.before + w.width > int(w.length)
        for w in windows
        if w.width > 1
    )


def _reduced(
    reducer: Reducer, x: Node, places: Sequence[int], windows: Sequence[Window], mean: bool = False
) -> Node:
    """y[.., c, i..] = reduce_{k..} x[.., c, stride*i + k - before..]."""
    extents: list[Extent] = list(x.shape)
    at: list[Affine] = [index(t) for t in range(x.rank)]
    masks: list[Mask] = []
    for a, (t, w) in enumerate(zip(places, windows)):
        extents[t] = w.count
        at[t] = w.place(t, x.rank + a)
        masks += w.inside(t, x.rank + a)
    extents += [w.width for w in windows]
    body = placeholder(0) / math.prod(w.width for w in windows) if mean else placeholder(0)
    return stamp(equation(extents, x.rank, reducer, body, [Read(x, read_at(x, at))], masks), [x])
