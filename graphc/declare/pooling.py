"""Pooling: the largest element or the mean of every window."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
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
from graphc.records import record


def max_pool(
    x: Any,
    window: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: Padding = "valid",
    channels: str = "first",
    dilation: int | Sequence[int] = 1,
    ceil_mode: bool = False,
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
    dilation : int or sequence of int
        How far the elements of a window are apart.
    ceil_mode : bool
        Whether elements that no whole window is left for get one more that reaches beyond the end, as in PyTorch.

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
    o = _Options("max_pool", window, stride, padding, channels, dilation, ceil_mode)
    node, places, windows = _windows(o, x)
    return Tensor(_reduced("max", node, places, windows))


def avg_pool(
    x: Any,
    window: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: Padding = "valid",
    channels: str = "first",
    count_include_pad: bool = False,
    dilation: int | Sequence[int] = 1,
    ceil_mode: bool = False,
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
    dilation : int or sequence of int
        How far the elements of a window are apart.
    ceil_mode : bool
        Whether elements that no whole window is left for get one more that reaches beyond the end, as in PyTorch.

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
    o = _Options("avg_pool", window, stride, padding, channels, dilation, ceil_mode)
    node, places, windows = _windows(o, x)
    counted = [_with_padding(w) if count_include_pad else w for w in windows]
    if not any(w.before or w.beyond > 0 for w in counted if w.width > 1):
        return Tensor(_reduced("sum", node, places, windows, True))
    ones = constant_node(1, _extents(node, places, counted))
    return Tensor(_reduced("sum", node, places, windows)) / Tensor(_reduced("sum", ones, places, counted))


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


@record(frozen=True)
class _Options:
    """What a pooling is asked for."""

    what: str
    window: Any
    stride: Any
    padding: Any
    channels: Any
    dilation: Any
    ceil: bool


def _windows(o: _Options, x: Any) -> tuple[Node, list[int], list[Window]]:
    node, size = as_node(x, o.what), o.window
    axes = len(size) if isinstance(size, Sequence) and not isinstance(size, str) else max(node.rank - 2, 1)
    _, places = channel_axis(o.what, o.channels, node, axes)
    sizes = whole_numbers(o.what, "window", size, axes, 1)
    strides = sizes if o.stride is None else whole_numbers(o.what, "stride", o.stride, axes, 1)
    dilations = whole_numbers(o.what, "dilation", o.dilation, axes, 1)
    pads = paddings(o.what, o.padding, axes, ("valid", "same"))
    windows = []
    for a, t in enumerate(places):
        pad = pads if isinstance(pads, str) else pads[a]
        w = window(o.what, node, t, sizes[a], strides[a], dilations[a], pad, o.ceil)
        _check_inside(o.what, node, t, w)
        windows.append(w)
    return node, places, windows


def _check_inside(what: str, node: Node, axis: int, w: Window) -> None:
    """Refuse windows that no element of the tensor is in."""
    count, length = (1, 1) if isinstance(w.count, str) else (w.count, int(w.length))  # one place is the least of all
    starts = (i * w.stride - w.before for i in range(count))
    outside = (s for s in starts if s < 0 or s + w.span > length)
    if all(any(0 <= p < length for p in range(s, s + w.span, w.dilation)) for s in outside):
        return
    dilated = f" with dilation {w.dilation}" if w.dilation > 1 else ""
    message = f"{what}: {max(w.before, w.after)} places of padding on axis {axis} of {node_text(node)} for a window of "
    hint = "the padding is less than the window, or windows would lie in it alone."
    fail(ShapeError, f"{message}{w.width}{dilated}", hint)


def _with_padding(w: Window) -> Window:
    """The same windows of a tensor that holds the padding."""
    if isinstance(w.length, str):  # none of them reaches further
        return replace(w, length=w.width, stride=0, dilation=1, before=0, after=0)
    return replace(w, length=w.length + w.before + w.after, before=0)


def _extents(x: Node, places: Sequence[int], windows: Sequence[Window]) -> list[Extent]:
    """The shape of a tensor that is as long as the windows say."""
    extents: list[Extent] = list(x.shape)
    for t, w in zip(places, windows):
        extents[t] = w.length
    return extents


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
