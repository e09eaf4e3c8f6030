"""Convolutions and their transposes: one equation each, a sum over channels and the places of a window."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphc.declare.names import node_text
from graphc.declare.origin import fail, stamp
from graphc.declare.tensor import Tensor, as_node
from graphc.declare.views import view
from graphc.declare.windows import (
    Padding,
    Window,
    channel_axis,
    paddings,
    read_at,
    spread,
    whole_numbers,
    window,
)
from graphc.errors import ShapeError
from graphc.ir.affine import Affine, Extent, floor_div, index, modulo
from graphc.ir.build import equation
from graphc.ir.node import Mask, Node, Read
from graphc.ir.scalar import placeholder
from graphc.records import record

_PARAMETERS = """

    Parameters
    ----------
    x : Tensor or array
        Of shape {first}, or {last} with ``channels="last"``; further axes, the rows, stand before.
    kernel : Tensor or array
        Of shape {kernel}, wherever the channels of `x` stand.
    bias : Tensor or array, optional
        Of shape (out,).
    stride : int or sequence of int
        How far the window moves along each axis.
    padding : str, int, or one number or pair (before, after) for each axis
        {padding}
{more}    dilation : int or sequence of int
        How far the elements of the kernel are apart.
    groups : int
        Into how many groups the channels are divided, each with kernels of its own; all of them for a depthwise
        convolution.
    channels : str
        Where the axis of the channels stands: ``"first"`` or ``"last"``.

    Raises
    ------
    ShapeError
        When the shapes do not fit, or no window does.
    TypeMismatchError
        When an option is of another kind.

    Examples
    --------
    >>> import graphc as gc
    >>> {example}
"""
_ZEROS = """Zeros around `x`: ``"valid"`` for none, ``"same"`` for ⌈length/stride⌉ windows{causal}; or their number."""
_CROP = """What is cut off: ``"valid"`` for nothing, ``"same"`` so that length*stride is left; or a number."""


def _documented(axes: int, transposed: bool) -> Any:
    names = ["length"] if axes == 1 else ["depth", "height", "width"][-axes:]
    sizes = [f"k{n[0]}" for n in names]
    last = "in, out/groups" if transposed else "in/groups, out"
    causal = ', ``"causal"`` for the past alone' if axes == 1 else ""
    extent = ", ".join(["28"] * axes)
    width = ", ".join(["3"] * axes)
    name = f"conv{axes}d" + "_transpose" * transposed
    call = f'gc.{name}(gc.input("X", ("n", 8, {extent})), gc.param("K", ({width}, 8, 4)))'
    shape = f"('n', 4, {', '.join(['30' if transposed else '26'] * axes)})"
    more = "    output_padding : int or sequence of int\n        How many places more the result has at the end.\n"
    text = _PARAMETERS.format(
        first=f"(n, in, {', '.join(names)})",
        last=f"(n, {', '.join(names)}, in)",
        kernel=f"({', '.join(sizes)}, {last})",
        padding=_CROP if transposed else _ZEROS.format(causal=causal),
        more=more if transposed else "",
        example=f"{call}.shape\n    {shape}",
    )

    def add(function: Any) -> Any:
        function.__doc__ = f"{str(function.__doc__).rstrip()}{text}"
        return function

    return add


@_documented(1, False)
def conv1d(
    x: Any,
    kernel: Any,
    bias: Any = None,
    stride: int | Sequence[int] = 1,
    padding: Padding = "valid",
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    channels: str = "first",
) -> Tensor:
    """y[n, o, i] = sum_{c, k} x[n, c, stride*i + dilation*k - before]*kernel[k, c, o] + bias[o], x being 0 outside."""
    return _convolution(_Options("conv1d", 1, stride, padding, dilation, groups, channels), x, kernel, bias)


@_documented(2, False)
def conv2d(
    x: Any,
    kernel: Any,
    bias: Any = None,
    stride: int | Sequence[int] = 1,
    padding: Padding = "valid",
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    channels: str = "first",
) -> Tensor:
    """y[n, o, i, j] = sum_{c, p, q} x[n, c, i + p, j + q]*kernel[p, q, c, o] + bias[o], with strides and paddings.

    As in all these libraries the kernel is not turned round.
    """
    return _convolution(_Options("conv2d", 2, stride, padding, dilation, groups, channels), x, kernel, bias)


@_documented(3, False)
def conv3d(
    x: Any,
    kernel: Any,
    bias: Any = None,
    stride: int | Sequence[int] = 1,
    padding: Padding = "valid",
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    channels: str = "first",
) -> Tensor:
    """y[n, o, h, i, j] = sum_{c, p, q, r} x[n, c, h + p, i + q, j + r]*kernel[p, q, r, c, o] + bias[o]."""
    return _convolution(_Options("conv3d", 3, stride, padding, dilation, groups, channels), x, kernel, bias)


@_documented(1, True)
def conv1d_transpose(
    x: Any,
    kernel: Any,
    bias: Any = None,
    stride: int | Sequence[int] = 1,
    padding: Padding = "valid",
    output_padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    channels: str = "first",
) -> Tensor:
    """y[n, o, p] = sum_{c, i, k : stride*i + dilation*k = p} x[n, c, i]*kernel[k, c, o] + bias[o].

    The transpose of the linear map that :func:`conv1d` with the same options is of its x.
    """
    o = _Options("conv1d_transpose", 1, stride, padding, dilation, groups, channels, output_padding, True)
    return _convolution(o, x, kernel, bias)


@_documented(2, True)
def conv2d_transpose(
    x: Any,
    kernel: Any,
    bias: Any = None,
    stride: int | Sequence[int] = 1,
    padding: Padding = "valid",
    output_padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    channels: str = "first",
) -> Tensor:
    """y[n, o, p, q] = sum of x[n, c, i, j]*kernel[k, l, c, o] where stride*i + k = p, stride*j + l = q, plus bias[o].

    The transpose of the linear map that :func:`conv2d` with the same options is of its x.
    """
    o = _Options("conv2d_transpose", 2, stride, padding, dilation, groups, channels, output_padding, True)
    return _convolution(o, x, kernel, bias)


@_documented(3, True)
def conv3d_transpose(
    x: Any,
    kernel: Any,
    bias: Any = None,
    stride: int | Sequence[int] = 1,
    padding: Padding = "valid",
    output_padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    channels: str = "first",
) -> Tensor:
    """The transpose of the linear map that :func:`conv3d` with the same options is of its x, plus bias[o]."""
    o = _Options("conv3d_transpose", 3, stride, padding, dilation, groups, channels, output_padding, True)
    return _convolution(o, x, kernel, bias)


@record(frozen=True)
class _Options:
    """What a convolution is asked for, and whether it is a transposed one."""

    what: str
    axes: int
    stride: Any
    padding: Any
    dilation: Any
    groups: Any
    channels: Any
    more: Any = 0
    back: bool = False


def _convolution(o: _Options, x: Any, kernel: Any, bias: Any) -> Tensor:
    node, w = as_node(x, o.what), as_node(kernel, o.what)
    channel, places = channel_axis(o.what, o.channels, node, o.axes)
    (groups,) = whole_numbers(o.what, "number of groups", o.groups, 1, 1)
    _check_kernel(o, node, w, channel, groups)
    windows = _windows(o, node, w, places)
    out = int(w.shape[-1]) // (1 if o.back else groups)
    y = _sum_of_windows(node, w, channel, places, windows, groups, out, o.back)
    return _with_bias(o.what, y, bias, channel - node.rank, w, out * groups)


def _windows(o: _Options, node: Node, w: Node, places: Sequence[int]) -> list[Window]:
    strides = whole_numbers(o.what, "stride", o.stride, o.axes, 1)
    dilations = whole_numbers(o.what, "dilation", o.dilation, o.axes, 1)
    more = whole_numbers(o.what, "output_padding", o.more, o.axes, 0)
    names = ("valid", "same", "causal") if o.axes == 1 and not o.back else ("valid", "same")
    pads = paddings(o.what, o.padding, o.axes, names)
    found = []
    for a, t in enumerate(places):
        pad = pads if isinstance(pads, str) else pads[a]
        width = int(w.shape[a])
        if o.back:
            found.append(spread(o.what, node, t, width, strides[a], dilations[a], pad, more[a]))
        else:
            found.append(window(o.what, node, t, width, strides[a], dilations[a], pad))
    return found


def _check_kernel(o: _Options, node: Node, w: Node, channel: int, groups: int) -> None:
    """Refuse a kernel that is not made for the channels of a node."""
    what, axes = o.what, o.axes
    if w.rank != axes + 2 or any(isinstance(e, str) for e in w.shape):
        order = "in, out/groups" if o.back else "in/groups, out"
        sizes = ", ".join(["depth", "height", "width"][-axes:])
        hint = f"give {axes + 2} axes of known extent, ({sizes}, {order})."
        fail(ShapeError, f"{what}: the kernel {node_text(w)} has {w.rank} axes", hint)
    have = node.shape[channel]
    wanted = int(w.shape[axes]) * (1 if o.back else groups)
    if have != wanted:
        of = f" in {groups} groups" if groups > 1 else ""
        message = f"{what}: axis {channel} of {node_text(node)} has {have} channels but axis {axes} of the kernel "
        message += f"{node_text(w)} is for {wanted}{of}"
        hint = 'channels="last" says that the channels are the last axis; groups= divides them.'
        fail(ShapeError, message, hint)
    place = axes if o.back else axes + 1
    if int(w.shape[place]) % groups:
        message = f"{what}: the {w.shape[place]} channels of axis {place} of the kernel {node_text(w)}"
        fail(ShapeError, f"{message} are not {groups} groups", "the number of groups divides both numbers of channels.")


def _sum_of_windows(
    x: Node, w: Node, channel: int, places: Sequence[int], windows: Sequence[Window], groups: int, out: int, back: bool
) -> Node:
    """y[b.., g, o, i..] = sum_{c, k..} x[b.., g*C + c, s*i + d*k - before..] w[k.., c, g*O + o]   for O, C of a group.

    A transposed convolution has x and y at the other ends of the same maps: y[.., p..] where p = s*i + d*k - before.
    """
    n = len(places)
    lead = x.rank - n - 1
    after = [int(t > channel) for t in places]  # channels first: the group stands before the places
    group, own = (lead, lead + 1) if after[0] else (lead + n, lead + n + 1)
    spots = [lead + 2 + a if after[0] else lead + a for a in range(n)]
    rank = lead + n + 2
    c, taps = rank, [rank + 1 + a for a in range(n)]
    inner = [rank + 1 + n + a for a in range(n)]  # the places of x that a transposed convolution sums over
    per_group = int(x.shape[channel]) // groups
    extents: list[Extent] = [0] * rank
    extents[:lead] = x.shape[:lead]
    extents[group], extents[own] = groups, out
    for a, window_ in enumerate(windows):
        extents[spots[a]] = window_.length if back else window_.count
    extents += [per_group, *(v.width for v in windows), *([v.count for v in windows] if back else [])]
    at: list[Affine] = [index(t) for t in range(x.rank)]
    at[channel] = index(group) * per_group + index(c)
    masks: list[Mask] = []
    for a, (t, v) in enumerate(zip(places, windows)):
        if back:
            at[t] = index(inner[a])
            masks.append(Mask("eq", v.place(inner[a], taps[a]) - index(spots[a])))
        else:
            at[t] = v.place(spots[a], taps[a])
            masks += v.inside(spots[a], taps[a])
    last = [at[channel], index(own)] if back else [index(c), index(group) * out + index(own)]
    reads = [Read(x, read_at(x, at)), Read(w, read_at(w, [*(index(k) for k in taps), *last]))]
    y = stamp(equation(extents, rank, "sum", placeholder(0) * placeholder(1), reads, masks), [x, w])
    return _without_groups(y, group, own)


def _without_groups(y: Node, group: int, own: int) -> Node:
    """y[.., g, o, ..] with g and o as one axis of channels."""
    groups, out = int(y.shape[group]), int(y.shape[own])
    shape = [e for t, e in enumerate(y.shape) if t != group]
    shape[group] = groups * out
    o = index(group)
    at = [index(t if t < group else t - 1) for t in range(y.rank)]
    at[group], at[own] = floor_div(o, out, shape), modulo(o, out, shape)
    return view(y, shape, at)


def _with_bias(what: str, y: Node, bias: Any, channel: int, w: Node, out: int) -> Tensor:
    if bias is None:
        return Tensor(y)
    b = as_node(bias, what)
    if b.shape != (out,):
        message = f"{what}: the bias is {node_text(b)} for the {out} channels that the kernel {node_text(w)} gives"
        fail(ShapeError, message, f"give it the shape ({out},).")
    shape = [1] * (-channel)
    shape[0] = out
    return Tensor(y) + Tensor(view(b, shape, [index(0)]))
