"""Layers along the places of signals and pictures: convolution, pooling, and changes of shape."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from graphc.declare.activations import activation
from graphc.declare.convolutions import conv1d, conv2d, conv2d_transpose
from graphc.declare.init import zeros
from graphc.declare.layers import Layer, check_count, next_number
from graphc.declare.leaves import param
from graphc.declare.names import node_text
from graphc.declare.origin import fail
from graphc.declare.pooling import avg_pool, max_pool
from graphc.declare.rearrange import reshape
from graphc.declare.reductions import mean
from graphc.declare.tensor import Tensor
from graphc.declare.windows import Padding, channel_axis, paddings, whole_numbers
from graphc.errors import ShapeError
from graphc.records import record

Sizes = int | Sequence[int]


class Plain(Layer):
    """A layer without parameters."""

    def declare(self, x: Tensor) -> list[Any]:
        """No parameters."""
        return []


@record(frozen=True, eq=False)
class _Convolution(Layer):
    filters: int
    size: Sizes
    activation: str | Callable[[Any], Any] | None = None
    stride: Sizes = 1
    padding: Padding = "valid"
    dilation: Sizes = 1
    groups: int = 1
    bias: bool = True
    init: Any = None
    channels: str = "first"

    axes: ClassVar[int] = 2
    backwards: ClassVar[bool] = False

    def __post_init__(self) -> None:
        what = f"nn.{type(self).__name__}"
        check_count(what, "filters", self.filters)
        whole_numbers(what, "size of the window", self.size, self.axes, 1)
        whole_numbers(what, "stride", self.stride, self.axes, 1)
        whole_numbers(what, "dilation", self.dilation, self.axes, 1)
        names = ("valid", "same", "causal") if self.axes == 1 else ("valid", "same")
        paddings(what, self.padding, self.axes, names)
        check_count(what, "groups", self.groups)
        activation(self.activation)
        if self.filters % self.groups:
            message = f"{what}: {self.filters} filters are not {self.groups} equal groups"
            fail(ShapeError, message, "the number of groups divides that of the filters.")

    def declare(self, x: Tensor) -> list[Any]:
        """New parameters K and B for the channels of x."""
        what = f"nn.{type(self).__name__}"
        channel, _ = channel_axis(what, self.channels, x.node, self.axes, 1)
        count = x.shape[channel]
        if isinstance(count, str) or count % self.groups:
            found = f"{what}: axis {channel} of {node_text(x.node)} has {count} channels"
            message = found + (f", which are not {self.groups} equal groups" if self.groups > 1 else "")
            fail(ShapeError, message, 'channels="last" says that the channels are the last axis.')
        number = next_number([x.node], "K", "B")
        window = whole_numbers(what, "size of the window", self.size, self.axes, 1)
        filters = int(self.filters)
        if self.backwards:
            last = (count, filters // self.groups)
        else:
            last = (count // self.groups, filters)
        kernel = param(f"K{number}", (*window, *last), self.init)
        return [kernel, param(f"B{number}", (filters,), zeros())] if self.bias else [kernel]

    def apply(self, x: Tensor, params: Sequence[Any]) -> Tensor:
        """The layer with given parameters."""
        return activation(self.activation)(self._linear(x, *params))

    def _linear(self, x: Tensor, kernel: Tensor, bias: Tensor | None = None) -> Tensor:
        conv = conv1d if self.axes == 1 else conv2d
        return conv(x, kernel, bias, self.stride, self.padding, self.dilation, self.groups, self.channels)


_PARAMETERS = """

    It declares the kernel ``K0`` and ``B0``, or the next numbers that the tensor does not use yet.

    Parameters
    ----------
    filters : int
        The number of channels of the result.
    size : int or sequence of int
        The extents of the kernel.
    activation : str or function, optional
        A name of :mod:`graphc.activations`, or a function of a Tensor.
    stride, padding, dilation, groups
        As in :func:`graphc.{function}`.
    bias : bool
        Whether to add B, which starts at 0.
    init : number, array, initialiser or its name, optional
        Where the kernel starts; glorot by default.
    channels : str
        Where the axis of the channels stands: ``"first"`` or ``"last"``.

    Raises
    ------
    ShapeError
        When a number is none of at least 1, or the layer does not fit the Tensor it is applied to.
    TypeMismatchError
        When an option is of another kind.
    UnknownNameError
        When no activation has that name.

    Examples
    --------
    >>> import graphc as gc
    >>> {example}
"""


def _documented(function: str, example: str) -> Callable[[type], type]:
    def add(layer: Any) -> Any:
        layer.__doc__ = f"{str(layer.__doc__).rstrip()}{_PARAMETERS.format(function=function, example=example)}"
        return layer

    return add


@_documented("conv1d", """gc.nn.sequential((3, 28), gc.nn.Conv1D(8, 5, "relu")).shape
    ('n', 8, 24)""")
class Conv1D(_Convolution):
    """activation(conv1d(x, K) + B) along the last axis of (n, channels, length)."""

    axes = 1


@_documented("conv2d", """gc.nn.sequential((3, 28, 28), gc.nn.Conv2D(8, 5, "relu")).shape
    ('n', 8, 24, 24)""")
class Conv2D(_Convolution):
    """activation(conv2d(x, K) + B) along the last two axes of (n, channels, height, width)."""


@_documented("conv2d_transpose", """gc.nn.sequential((3, 7, 7), gc.nn.Conv2DTranspose(8, 2, stride=2)).shape
    ('n', 8, 14, 14)""")
class Conv2DTranspose(_Convolution):
    """activation(conv2d_transpose(x, K) + B), which makes pictures larger."""

    backwards = True

    def _linear(self, x: Tensor, kernel: Tensor, bias: Tensor | None = None) -> Tensor:
        options = (self.stride, self.padding, 0, self.dilation, self.groups, self.channels)
        return conv2d_transpose(x, kernel, bias, *options)


@record(frozen=True, eq=False)
class _Pool(Plain):
    window: Sizes = 2
    stride: Sizes | None = None
    padding: Padding = "valid"
    channels: str = "first"
    dilation: Sizes = 1
    ceil_mode: bool = False

    axes: ClassVar[int] = 2

    def apply(self, x: Tensor, params: Sequence[Any]) -> Tensor:
        """The layer, which has no parameters."""
        what = f"nn.{type(self).__name__}"
        channel_axis(what, self.channels, x.node, self.axes, 1)
        window = whole_numbers(what, "window", self.window, self.axes, 1)
        return self._pooled(x, window)

    def _pooled(self, x: Tensor, window: tuple[int, ...]) -> Tensor:
        return max_pool(x, window, self.stride, self.padding, self.channels, self.dilation, self.ceil_mode)


class _AvgPool(_Pool):
    def _pooled(self, x: Tensor, window: tuple[int, ...]) -> Tensor:
        return avg_pool(x, window, self.stride, self.padding, self.channels, False, self.dilation, self.ceil_mode)


_POOL = """

    Parameters
    ----------
    window : int or sequence of int
        How many elements along each axis.
    stride : int or sequence of int, optional
        How far the window moves; by its own size when it is None.
    padding : str, int, or one number or pair (before, after) for each axis
        ``"valid"``, ``"same"``, or places around the Tensor, which do not count.
    channels : str
        Where the axis of the channels stands: ``"first"`` or ``"last"``.
    dilation : int or sequence of int
        How far the elements of a window are apart.
    ceil_mode : bool
        Whether elements that no whole window is left for get one more.

    Raises
    ------
    ShapeError
        When the layer does not fit the Tensor it is applied to.

    Examples
    --------
    >>> import graphc as gc
    >>> gc.nn.sequential({shape}, gc.nn.{name}(2)).shape
    ('n', 3, {result})
"""


def _pooling(layer: Any) -> Any:
    one = layer.axes == 1
    shape, result = ("(3, 28)", "14") if one else ("(3, 28, 28)", "14, 14")
    layer.__doc__ = f"{layer.__doc__}{_POOL.format(name=layer.__name__, shape=shape, result=result)}"
    return layer


@_pooling
class MaxPool1D(_Pool):
    """The largest element of every window along (n, channels, length); see :func:`graphc.max_pool`."""

    axes = 1


@_pooling
class MaxPool2D(_Pool):
    """The largest element of every window along (n, channels, height, width); see :func:`graphc.max_pool`."""


@_pooling
class AvgPool1D(_AvgPool):
    """The mean of every window along (n, channels, length); see :func:`graphc.avg_pool`."""

    axes = 1


@_pooling
class AvgPool2D(_AvgPool):
    """The mean of every window along (n, channels, height, width); see :func:`graphc.avg_pool`."""


@record(frozen=True, eq=False)
class _GlobalAvgPool(Plain):
    channels: str = "first"

    axes: ClassVar[int] = 2

    def apply(self, x: Tensor, params: Sequence[Any]) -> Tensor:
        """The layer, which has no parameters."""
        _, places = channel_axis(f"nn.{type(self).__name__}", self.channels, x.node, self.axes, 1)
        return mean(x, tuple(places))


class GlobalAvgPool1D(_GlobalAvgPool):
    """The mean of every channel of (n, channels, length).

    Parameters
    ----------
    channels : str
        Where the axis of the channels stands: ``"first"`` or ``"last"``.

    Raises
    ------
    ShapeError
        When the Tensor it is applied to has too few axes.

    Examples
    --------
    >>> import graphc as gc
    >>> gc.nn.sequential((3, 28), gc.nn.GlobalAvgPool1D()).shape
    ('n', 3)
    """

    axes = 1


class GlobalAvgPool2D(_GlobalAvgPool):
    """The mean of every channel of (n, channels, height, width).

    Parameters
    ----------
    channels : str
        Where the axis of the channels stands: ``"first"`` or ``"last"``.

    Raises
    ------
    ShapeError
        When the Tensor it is applied to has too few axes.

    Examples
    --------
    >>> import graphc as gc
    >>> gc.nn.sequential((3, 28, 28), gc.nn.GlobalAvgPool2D()).shape
    ('n', 3)
    """


class Flatten(Plain):
    """All axes but the rows as one.

    Examples
    --------
    >>> import graphc as gc
    >>> gc.nn.sequential((3, 28, 28), gc.nn.Flatten()).shape
    ('n', 2352)
    """

    def apply(self, x: Tensor, params: Sequence[Any]) -> Tensor:
        """The layer, which has no parameters."""
        if x.ndim == 0:
            fail(ShapeError, f"nn.Flatten: {node_text(x.node)} has no rows", "give (n, ..).")
        return reshape(x, (x.shape[0], -1))


@record(frozen=True, eq=False)
class Reshape(Plain):
    """Each row in another shape.

    Parameters
    ----------
    shape : sequence of int
        Of a row; at most one extent is -1 and follows from the others.

    Raises
    ------
    ShapeError
        When a row has another number of elements.

    Examples
    --------
    >>> import graphc as gc
    >>> gc.nn.sequential(64, gc.nn.Reshape((1, 8, 8)), gc.nn.Conv2D(4, 3)).shape
    ('n', 4, 6, 6)
    """

    shape: Sequence[int]

    def apply(self, x: Tensor, params: Sequence[Any]) -> Tensor:
        """The layer, which has no parameters."""
        if x.ndim == 0:
            fail(ShapeError, f"nn.Reshape: {node_text(x.node)} has no rows", "give (n, ..).")
        return reshape(x, (x.shape[0], *self.shape))
