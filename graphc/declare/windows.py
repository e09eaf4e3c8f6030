"""Windows that slide along axes: strides, dilations, paddings, and how many windows fit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphc.declare.names import node_text
from graphc.declare.origin import fail
from graphc.errors import ShapeError, TypeMismatchError
from graphc.ir.affine import Affine, Extent, constant, index, size
from graphc.ir.node import Mask, Node
from graphc.records import record

Padding = str | int | Sequence[int] | Sequence[tuple[int, int]]


@record(frozen=True)
class Window:
    """The places stride*i + dilation*k - before for window i of ``count`` and element k of ``width``."""

    length: Extent
    width: int
    stride: int
    dilation: int
    before: int
    count: Extent
    after: int = 0

    @property
    def span(self) -> int:
        """How many places it covers, those between its elements too."""
        return self.dilation * (self.width - 1) + 1

    @property
    def beyond(self) -> int:
        """How many places the last window covers behind the tensor."""
        if isinstance(self.count, str):
            return self.after
        return (self.count - 1) * self.stride - self.before + self.span - int(self.length)

    def place(self, i: int, k: int) -> Affine:
        """Where window i has its element k."""
        return index(i) * self.stride + index(k) * self.dilation - self.before

    def inside(self, i: int, k: int) -> list[Mask]:
        """That this place exists."""
        place = self.place(i, k)
        return [Mask("ge", place), Mask("ge", size(self.length) - 1 - place)]


def whole_numbers(what: str, name: str, value: Any, axes: int, least: int) -> tuple[int, ...]:
    """One whole number for each axis.

    Raises
    ------
    TypeMismatchError
        When it is neither a whole number nor one for each axis.
    """
    found = tuple(value) if isinstance(value, Sequence) and not isinstance(value, str) else (value,) * axes
    good = all(_is_whole(v, least) for v in found)
    if not good or len(found) != axes:
        how = "a whole number" if axes == 1 else f"a whole number or {axes} of them"
        fail(TypeMismatchError, f"{what}: the {name} is {value!r:.60}", f"give {how}, at least {least}.")
    return tuple(int(v) for v in found)


def _is_whole(value: Any, least: int) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool) and bool(value >= least)


def paddings(what: str, value: Any, axes: int, names: Sequence[str]) -> str | list[tuple[int, int]]:
    """A name, or the elements before and after each axis.

    Raises
    ------
    TypeMismatchError
        When it is neither.
    """
    if isinstance(value, str) and value in names:
        return value
    entries = list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value] * axes
    if axes == 1 and len(entries) == 2:
        entries = [tuple(entries)]
    pairs = [tuple(e) if isinstance(e, Sequence) and not isinstance(e, str) else (e, e) for e in entries]
    whole = [v for pair in pairs for v in pair]
    good = all(_is_whole(v, 0) for v in whole)
    if not good or len(pairs) != axes or any(len(pair) != 2 for pair in pairs):
        known = ", ".join(f'"{n}"' for n in names)
        each = "a pair (before, after)" if axes == 1 else f"one or a pair (before, after) for each of the {axes} axes"
        hint = f"give {known}, a number, or {each}."
        fail(TypeMismatchError, f"{what}: the padding is {value!r:.60}", hint)
    return [(int(a), int(b)) for a, b in pairs]


def channel_axis(what: str, channels: Any, node: Node, axes: int, rows: int = 0) -> tuple[int, list[int]]:
    """The axis of the channels and the axes that windows slide along, with at least so many axes of rows before them.

    Raises
    ------
    ShapeError
        When the node has too few axes.
    TypeMismatchError
        When `channels` is neither "first" nor "last".
    """
    if channels not in ("first", "last"):
        hint = 'it is "first", (n, channels, height, width), or "last", (n, height, width, channels).'
        fail(TypeMismatchError, f"{what}: channels={channels!r:.40}", hint)
    if node.rank < axes + 1 + rows:
        known = ["length"] if axes == 1 else ["depth", "height", "width"][-axes:]
        names = [*(f"axis {t}" for t in range(axes - 3)), *known]
        order = ["channels", *names] if channels == "first" else [*names, "channels"]
        hint = f"give (n, {', '.join(order)}); x[:, None] adds an axis of one channel."
        fail(ShapeError, f"{what}: {node_text(node)} has {node.rank} axes", hint)
    first = node.rank - axes - 1
    if channels == "first":
        return first, list(range(first + 1, node.rank))
    return node.rank - 1, list(range(first, node.rank - 1))


def window(
    what: str,
    node: Node,
    axis: int,
    width: int,
    stride: int,
    dilation: int,
    padding: str | tuple[int, int],
    ceil: bool = False,
) -> Window:
    """The windows along an axis; "same" gives ⌈length/stride⌉ of them, half of the padding before, as in Keras and JAX.

    With `ceil` there is one more where it begins within the tensor or the padding before it, though it does not end
    within the padding, as in PyTorch.

    Raises
    ------
    ShapeError
        When not one window fits, or the axis has a free extent and the number of windows is another.
    """
    length, span = node.shape[axis], dilation * (width - 1) + 1
    if isinstance(length, str):
        return _along_free(what, node, axis, Window(length, width, stride, dilation, 0, length), padding)
    before, after = _padding(padding, length, span, stride)
    left = length + before + after - span
    count = left // stride + 1
    if ceil and left % stride and count * stride < length + before:
        count += 1
    if count < 1:
        around = f" and {before + after} of padding" if before + after else ""
        message = f"{what}: a window of {span} does not fit axis {axis} of {node_text(node)} with extent {length}"
        fail(ShapeError, message + around, 'take a smaller window, or padding="same".')
    return Window(length, width, stride, dilation, before, count, after)


def _padding(padding: str | tuple[int, int], length: int, span: int, stride: int) -> tuple[int, int]:
    if not isinstance(padding, str):
        return padding
    if padding == "valid":
        return 0, 0
    if padding == "causal":
        return span - 1, 0
    total = max((-(-length // stride) - 1) * stride + span - length, 0)
    return total // 2, total - total // 2


def _along_free(what: str, node: Node, axis: int, w: Window, padding: str | tuple[int, int]) -> Window:
    total = w.dilation * (w.width - 1)
    pair = {"same": (total // 2, total - total // 2), "causal": (total, 0), "valid": (0, 0)}
    before, after = pair[padding] if isinstance(padding, str) else padding
    if w.stride != 1 or before + after != total:
        message = f"{what}: axis {axis} of {node_text(node)} has the free extent {w.length}"
        hint = 'take stride=1 and padding="same", or give the axis a known extent.'
        fail(ShapeError, f"{message}: how many windows there are is not known", hint)
    return Window(w.length, w.width, 1, w.dilation, before, w.length, after)


def spread(
    what: str, node: Node, axis: int, width: int, stride: int, dilation: int, padding: str | tuple[int, int], more: int
) -> Window:
    """The windows that a transposed convolution writes: those of a convolution from ``length`` places to the axis.

    Raises
    ------
    ShapeError
        When the axis has a free extent, or nothing is left between the paddings.
    """
    count, span = node.shape[axis], dilation * (width - 1) + 1
    if isinstance(count, str):
        message = f"{what}: axis {axis} of {node_text(node)} has the free extent {count}"
        fail(ShapeError, message, "a transposed convolution runs along axes of known extent.")
    full = (count - 1) * stride + span
    if padding == "same":
        before, length = max(full - count * stride, 0) // 2, count * stride
    else:
        before, after = (0, 0) if isinstance(padding, str) else padding
        length = full - before - after + more
    if length < 1:
        message = f"{what}: nothing is left of axis {axis} of {node_text(node)}: {full} places less the padding"
        fail(ShapeError, message, "take less padding.")
    return Window(length, width, stride, dilation, before, count)


def read_at(node: Node, at: Sequence[Affine]) -> tuple[Affine, ...]:
    """The maps with 0 for axes of extent 1 that are read as they stand."""
    return tuple(constant(0) if e == 1 and a.plain_index is not None else a for e, a in zip(node.shape, at))
