"""Losses as plain functions of Tensors: ``loss(prediction, target, reduce="mean" | "sum" | None)``.

``"mean"`` divides by the number of all elements (of rows for :func:`cross_entropy`), ``"sum"`` adds them, and None
gives one value a row, the mean over the other axes, so that the mean of the rows is the loss.
"""

from __future__ import annotations

from typing import Any, Literal

from graphc.declare.expression import Op
from graphc.declare.names import node_text, shape_text
from graphc.declare.operators import abs, log, logsumexp, mean, relu, sum, where
from graphc.declare.origin import fail
from graphc.declare.tensor import Tensor, as_node, combine
from graphc.declare.views import gather, view
from graphc.errors import DomainError, ShapeError, TypeMismatchError
from graphc.ir import scalar
from graphc.ir.affine import identity

__all__ = ["bce", "bce_with_logits", "cross_entropy", "hinge", "huber", "mae", "mse"]


def __dir__() -> list[str]:
    return sorted(__all__)


Reduce = Literal["mean", "sum"] | None
_BCE = Op("bce", "bce({0}, {1})", scalar.bce)


def mse(prediction: Any, target: Any, reduce: Reduce = "mean") -> Tensor:
    """Mean squared error, (prediction - target)**2.

    Parameters
    ----------
    prediction, target : Tensor
        Of one shape; the target may be a number.
    reduce : "mean", "sum" or None

    Raises
    ------
    ShapeError
        When the shapes differ: a target (n,) against a prediction (n, 1) would otherwise broadcast to (n, n).

    Examples
    --------
    >>> import graphc as gc
    >>> Y = gc.input("Y", ("n", 3)); T = gc.input("T", ("n", 3))
    >>> mse(Y, T).shape, mse(Y, T, reduce=None).shape
    ((), ('n',))
    """
    y, t = _pair(prediction, target, "mse")
    return _reduced((y - t) ** 2, reduce)


def mae(prediction: Any, target: Any, reduce: Reduce = "mean") -> Tensor:
    """Mean absolute error, |prediction - target|.

    Parameters
    ----------
    prediction, target : Tensor
        Of one shape; the target may be a number.
    reduce : "mean", "sum" or None
        The mean over all elements, their sum, or one value a row.

    Raises
    ------
    ShapeError
        When the shapes differ.
    """
    y, t = _pair(prediction, target, "mae")
    return _reduced(abs(y - t), reduce)


def huber(prediction: Any, target: Any, reduce: Reduce = "mean", delta: float = 1.0) -> Tensor:
    """r**2/2 for |r| <= delta, else delta*(|r| - delta/2), with r = prediction - target (Huber 1964).

    Parameters
    ----------
    prediction, target : Tensor
        Of one shape; the target may be a number.
    reduce : "mean", "sum" or None
        The mean over all elements, their sum, or one value a row.
    delta : float
        Where the parabola ends, above 0.

    Raises
    ------
    ShapeError
        When the shapes differ.
    DomainError
        When delta is not above 0.
    """
    y, t = _pair(prediction, target, "huber")
    if not delta > 0:
        fail(DomainError, f"huber: delta is {delta}", "delta is above 0.")
    r = y - t
    return _reduced(where(abs(r) <= delta, r**2 / 2, delta * (abs(r) - _half(delta))), reduce)


def _half(delta: float) -> Any:
    return scalar.number(delta) / 2


def bce(prediction: Any, target: Any, reduce: Reduce = "mean") -> Tensor:
    """Binary cross-entropy -(t*log(y) + (1 - t)*log(1 - y)) of probabilities y; of a sigmoid it is compiled stably.

    Parameters
    ----------
    prediction, target : Tensor
        Of one shape; the target may be a number. Targets are 0, 1, or between.
    reduce : "mean", "sum" or None
        The mean over all elements, their sum, or one value a row.

    Raises
    ------
    ShapeError
        When the shapes differ.
    """
    y, t = _pair(prediction, target, "bce")
    return _reduced(-(t * log(y) + (1 - t) * log(1 - y)), reduce)


def bce_with_logits(prediction: Any, target: Any, reduce: Reduce = "mean") -> Tensor:
    """Binary cross-entropy softplus(z) - t*z of logits z = prediction, accurate in both tails.

    Parameters
    ----------
    prediction, target : Tensor
        Of one shape; the target may be a number. Targets are 0, 1, or between.
    reduce : "mean", "sum" or None
        The mean over all elements, their sum, or one value a row.

    Raises
    ------
    ShapeError
        When the shapes differ.
    """
    z, t = _pair(prediction, target, "bce_with_logits")
    return _reduced(combine(_BCE, (z, t)), reduce)


def hinge(prediction: Any, target: Any, reduce: Reduce = "mean") -> Tensor:
    """max(0, 1 - t*y) for targets -1 and 1.

    Parameters
    ----------
    prediction, target : Tensor
        Of one shape; the target may be a number.
    reduce : "mean", "sum" or None
        The mean over all elements, their sum, or one value a row.

    Raises
    ------
    ShapeError
        When the shapes differ.
    """
    y, t = _pair(prediction, target, "hinge")
    return _reduced(relu(1 - t * y), reduce)


def cross_entropy(prediction: Any, target: Any, reduce: Reduce = "mean") -> Tensor:
    """Softmax cross-entropy of logits z = prediction: logsumexp_j z[i, j] - z[i, target[i]].

    Parameters
    ----------
    prediction : Tensor
        Logits of shape (..., classes), not probabilities.
    target : Tensor
        Integer labels of shape (...), or soft labels of the shape of `prediction`.
    reduce : "mean", "sum" or None
        The mean is over rows, that is over labels.

    Raises
    ------
    ShapeError
        When the target has neither shape.
    TypeMismatchError
        When labels of shape (...) are not integer data.

    Examples
    --------
    >>> import graphc as gc
    >>> Z = gc.input("Z", ("n", 10)); T = gc.input("T", ("n",), dtype="int64")
    >>> cross_entropy(Z, T).shape
    ()
    """
    z, t = _tensor(prediction, "cross_entropy"), _tensor(target, "cross_entropy")
    if z.ndim and t.shape == z.shape:
        rows = sum(t * (logsumexp(z, -1, keepdims=True) - z), axis=-1)
    else:
        check_labels(z, t, "cross_entropy")
        rows = logsumexp(z, -1) - pick(z, t)
    return _reduced(rows, reduce, row=True)


def check_labels(z: Tensor, t: Tensor, what: str) -> None:
    """Raise unless t holds one integer label for every row of z."""
    if z.ndim == 0 or t.shape != z.shape[:-1]:
        message = f"{what}: {node_text(t.node)} does not give one label for each row of {node_text(z.node)}"
        column = t.ndim == z.ndim and t.shape[-1] == 1
        whole = "integer labels have one axis less than the logits."
        hint = f"take the column of labels: {t.name or 'T'}[..., 0]." if column else whole
        fail(ShapeError, message, hint)
    if t.dtype != "int":
        message = f"{what}: the target {node_text(t.node)} is not integer data"
        fail(TypeMismatchError, message, f'declare them with gc.input("{t.name or "T"}", ..., dtype="int64").')


def pick(z: Tensor, t: Tensor) -> Tensor:
    """out[i..] = z[i.., t[i..]]."""
    rows = identity(t.ndim)
    return Tensor(view(z.node, t.shape, (*rows, gather(t.node, rows, z.shape[-1]))))


def _tensor(x: Any, what: str) -> Tensor:
    return x if isinstance(x, Tensor) else Tensor(as_node(x, what))


def _pair(prediction: Any, target: Any, what: str) -> tuple[Tensor, Tensor]:
    y, t = _tensor(prediction, what), _tensor(target, what)
    if y.shape != t.shape and t.ndim:
        message = f"{what}: the prediction has shape {shape_text(y.shape)} but the target {shape_text(t.shape)}"
        column = y.shape == (*t.shape, 1)
        hint = f"make the target a column: {t.name or 'T'}[..., None]." if column else "both must have one shape."
        fail(ShapeError, message, hint)
    return y, t


def _reduced(values: Tensor, reduce: Reduce, row: bool = False) -> Tensor:
    if reduce == "mean":
        return mean(values)
    if reduce == "sum":
        return sum(values)
    if reduce is not None:
        fail(TypeMismatchError, f"reduce is {reduce!r}", 'use "mean", "sum" or None.')
    return values if row else mean(values, axis=tuple(range(1, values.ndim)))

