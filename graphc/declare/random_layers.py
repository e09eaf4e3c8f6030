"""Layers that differ between training and the rest: dropout, noise, batch normalisation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from graphc.declare.constants import exact, is_number
from graphc.declare.init import ones, zeros
from graphc.declare.layers import Layer, next_number
from graphc.declare.leaves import param
from graphc.declare.modes import in_train_phase, set_update, state
from graphc.declare.names import node_text
from graphc.declare.origin import fail
from graphc.declare.pointwise import sqrt
from graphc.declare.random import check_rate, dropout, normal
from graphc.declare.reducing import normal_axes
from graphc.declare.reductions import mean as mean_of
from graphc.declare.shapes import expand_dims
from graphc.declare.statistics import var as var_of
from graphc.declare.tensor import Tensor, as_node
from graphc.errors import DomainError, ShapeError
from graphc.ir.node import Node
from graphc.records import record

__all__ = ["BatchNorm", "Dropout", "GaussianNoise"]


@record(frozen=True, eq=False)
class Dropout(Layer):
    """Every element is 0 with probability `rate` in training; see :func:`graphc.dropout`.

    Parameters
    ----------
    rate : number
        At least 0 and below 1.

    Raises
    ------
    DomainError
        When the rate is something else.

    Examples
    --------
    >>> import graphc as gc
    >>> gc.nn.sequential(64, gc.nn.Dense(32, "relu"), gc.nn.Dropout(0.5), gc.nn.Dense(10)).shape
    ('n', 10)
    """

    rate: float

    def __post_init__(self) -> None:
        check_rate("nn.Dropout", self.rate)

    def declare(self, x: Tensor) -> list[Tensor]:  # noqa: ARG002
        """No parameters."""
        return []

    def apply(self, x: Tensor, params: Sequence[Tensor]) -> Tensor:  # noqa: ARG002
        """The layer; every call draws a mask of its own."""
        return dropout(x, self.rate)


@record(frozen=True, eq=False)
class GaussianNoise(Layer):
    """Normal numbers are added in training.

    Parameters
    ----------
    std : number
        Their standard deviation.

    Raises
    ------
    DomainError
        When it is negative or no number.

    Examples
    --------
    >>> import graphc as gc
    >>> gc.nn.sequential(64, gc.nn.GaussianNoise(0.1), gc.nn.Dense(10)).shape
    ('n', 10)
    """

    std: float

    def __post_init__(self) -> None:
        if not is_number(self.std) or not float(self.std) >= 0:
            fail(DomainError, f"nn.GaussianNoise: the standard deviation is {self.std!r:.60}", "it is at least 0.")

    def declare(self, x: Tensor) -> list[Tensor]:  # noqa: ARG002
        """No parameters."""
        return []

    def apply(self, x: Tensor, params: Sequence[Tensor]) -> Tensor:  # noqa: ARG002
        """The layer; every call draws numbers of its own."""
        return normal(x.shape, x, self.std)


def batch_norm(
    x: Any, mean: Any, var: Any, scale: Any = None, shift: Any = None, axis: Any = -1, eps: float = 1e-5
) -> Tensor:
    """(x - m)/sqrt(v + eps)*scale + shift, with mean m and variance v of the batch in training.

    Outside of training `mean` and `var` are taken, usually the states of :class:`graphc.nn.BatchNorm`. Gradients flow
    through m and v (Ioffe and Szegedy, Batch normalization; ICML 2015).

    Parameters
    ----------
    x : Tensor
    mean, var : Tensor
        Of the shape of the axes that are kept.
    scale, shift : Tensor, optional
        Of that shape too; 1 and 0 by default.
    axis : int or tuple of int
        The axes that are kept; all others are averaged over.
    eps : number
        Above 0: what keeps the root from 0.

    Raises
    ------
    ShapeError
        When an axis does not exist or has a free extent, or all axes are kept.
    DomainError
        When eps is not above 0.

    Examples
    --------
    >>> import graphc as gc
    >>> X, m = gc.input("X", ("n", 3)), gc.state("m", (3,), update=lambda m: m)
    >>> gc.batch_norm(X, m, gc.ones_like(m)).shape
    ('n', 3)
    """
    node = as_node(x, "batch_norm")
    kept, away = _axes(node, axis, "batch_norm")
    _check_positive("batch_norm: eps", eps)
    x, wide = Tensor(node), lambda a: _wide(Tensor(as_node(a, "batch_norm")), node, kept, away)
    m = in_train_phase(mean_of(x, away, keepdims=True), wide(mean))
    v = in_train_phase(var_of(x, away, keepdims=True), wide(var))
    normal_form = (x - m) / sqrt(v + eps)
    scaled = normal_form if scale is None else normal_form * wide(scale)
    return scaled if shift is None else scaled + wide(shift)


@record(frozen=True, eq=False)
class BatchNorm(Layer):
    """Batch normalisation: mean 0 and variance 1 over the batch, then a learned scale and shift.

    Declares the parameters ``gamma0``, ``beta0`` and the states ``mean0``, ``var0``, or the next numbers that the
    tensor does not use yet. In training the mean and the (biased) variance of the batch are taken, and every step sets
    ``mean0 <- momentum*mean0 + (1 - momentum)*m``, likewise ``var0``; ``predict`` and ``evaluate`` read these. Applied
    again to another Tensor, the states follow that one.

    Parameters
    ----------
    axis : int or tuple of int
        The axes that are kept, the last by default; statistics are taken over all others.
    momentum : number
        What stays of the running statistics in a step, from 0 to 1 (1 minus that of torch.nn.BatchNorm1d).
    eps : number
        Above 0: what keeps the root from 0.
    scale, shift : bool
        Whether to multiply by gamma, which starts at 1, and to add beta, which starts at 0.

    Raises
    ------
    ShapeError
        When an axis does not exist or has a free extent, or all axes are kept.
    DomainError
        When momentum is not from 0 to 1, or eps not above 0.

    Examples
    --------
    >>> import graphc as gc
    >>> net = gc.nn.sequential(64, gc.nn.Dense(32), gc.nn.BatchNorm(), gc.relu, gc.nn.Dense(10))
    >>> [p.name for p in net.params]
    ['W0', 'B0', 'gamma0', 'beta0', 'W1', 'B1']
    """

    axis: Any = -1
    momentum: float = 0.9
    eps: float = 1e-5
    scale: bool = True
    shift: bool = True

    def __post_init__(self) -> None:
        if not is_number(self.momentum) or not 0 <= float(self.momentum) <= 1:
            fail(DomainError, f"nn.BatchNorm: the momentum is {self.momentum!r:.60}", "it lies between 0 and 1.")
        _check_positive("nn.BatchNorm: eps", self.eps)

    def declare(self, x: Tensor) -> list[Tensor]:
        """Running mean and variance of x, then gamma and beta."""
        node = as_node(x, "nn.BatchNorm")
        kept, _ = _axes(node, self.axis, "nn.BatchNorm")
        number = next_number([node], "gamma", "beta", "mean", "var")
        shape, x = [node.shape[t] for t in kept], Tensor(node)
        mean = state(f"mean{number}", shape, 0.0, update=self._following(x, mean_of))
        var = state(f"var{number}", shape, 1.0, update=self._following(x, var_of))
        gamma = [param(f"gamma{number}", shape, ones())] if self.scale else []
        return [mean, var, *gamma, *([param(f"beta{number}", shape, zeros())] if self.shift else [])]

    def apply(self, x: Tensor, params: Sequence[Tensor]) -> Tensor:
        """The layer with given states and parameters; the states follow this x from now on."""
        mean, var, *rest = params
        for kept, statistic in ((mean, mean_of), (var, var_of)):
            set_update(kept, self._following(x, statistic))
        gamma = rest[0] if self.scale else None
        return batch_norm(x, mean, var, gamma, rest[-1] if self.shift else None, self.axis, self.eps)

    def _following(self, x: Tensor, statistic: Callable[..., Tensor]) -> Callable[[Tensor], Tensor]:
        """The update of a running statistic of x."""
        old, (_, away) = exact(self.momentum, "nn.BatchNorm"), _axes(x.node, self.axis, "nn.BatchNorm")
        return lambda running: old * running + (1 - old) * statistic(x, away)


def _check_positive(what: str, value: Any) -> None:
    if not is_number(value) or not float(value) > 0:
        fail(DomainError, f"{what} is {value!r:.60}", "it is above 0.")


def _axes(node: Node, axis: Any, what: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The axes that are kept, and the others."""
    kept = tuple(sorted(normal_axes(node, axis, f"gc.{what}")))
    free = [node.shape[t] for t in kept if isinstance(node.shape[t], str)]
    away = tuple(t for t in range(node.rank) if t not in kept)
    if free or not away:
        found = f"axis={axis!r} of {node_text(node)} keeps"
        what_of = f"the free extent {free[0]!r}" if free else "all axes"
        fail(ShapeError, f"{what}: {found} {what_of}", "statistics are taken over the rows and kept by feature.")
    return kept, away


def _wide(a: Tensor, node: Node, kept: tuple[int, ...], away: tuple[int, ...]) -> Tensor:
    """A tensor of the kept axes, with extents of 1 for the others."""
    shape = tuple(node.shape[t] for t in kept)
    if a.shape != shape:
        fail(ShapeError, f"batch_norm: {node_text(a.node)} has another shape than {shape}", "it has the kept axes.")
    return expand_dims(a, away)
