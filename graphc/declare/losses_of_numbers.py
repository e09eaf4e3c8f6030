"""Losses of predictions that are numbers, counts or sizes."""

from __future__ import annotations

from typing import Any

import sympy

from graphc.declare.expression import Op
from graphc.declare.loss_parts import Reduce, pair, reduced, refuse_unless
from graphc.declare.operators import abs, equal, exp, log, log1p, maximum, where
from graphc.declare.tensor import Tensor, combine
from graphc.ir import scalar

_LOG_COSH = Op("log_cosh", "log_cosh({0})", scalar.logcosh)


def poisson(prediction: Any, target: Any, reduce: Reduce = "mean", log_input: bool = False) -> Tensor:
    """y - t*log(y) for counts t and rates y: the negative log-likelihood of Poisson without what y does not change.

    Parameters
    ----------
    prediction, target : Tensor
        Of one shape; the target may be a number. Rates are at least 0.
    reduce : "mean", "sum" or None
        The mean over all elements, their sum, or one value a row.
    log_input : bool
        The prediction is z = log(y): exp(z) - t*z.

    Raises
    ------
    ShapeError
        When the shapes differ.
    """
    y, t = pair(prediction, target, "poisson")
    if log_input:
        return reduced(exp(y) - t * y, reduce)
    return reduced(y - where(equal(t, 0), 0, t * log(y)), reduce)


def gaussian_nll(prediction: Any, target: Any, variance: Any, reduce: Reduce = "mean", full: bool = False) -> Tensor:
    """(log(v) + (prediction - target)**2/v)/2 with the variance v (Nix and Weigend 1994).

    Parameters
    ----------
    prediction, target : Tensor
        Of one shape; the target may be a number.
    variance : Tensor or number
        Of the shape of the prediction, above 0; ``gc.exp(s)`` of a network's output s is compiled without overflow.
    reduce : "mean", "sum" or None
        The mean over all elements, their sum, or one value a row.
    full : bool
        With log(2*pi)/2, so that it is the negative log-likelihood.

    Raises
    ------
    ShapeError
        When the shapes differ.
    """
    y, t = pair(prediction, target, "gaussian_nll")
    _, v = pair(prediction, variance, "gaussian_nll", second="variance")
    rest = sympy.log(2 * sympy.pi) / 2 if full else 0
    return reduced((log(v) + (y - t) ** 2 / v) / 2 + rest, reduce)


def log_cosh(prediction: Any, target: Any, reduce: Reduce = "mean") -> Tensor:
    """log(cosh(prediction - target)): a parabola near 0, the distance far away; never overflows.

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
    y, t = pair(prediction, target, "log_cosh")
    return reduced(combine(_LOG_COSH, (y - t,)), reduce)


def smooth_l1(prediction: Any, target: Any, reduce: Reduce = "mean", beta: float = 1.0) -> Tensor:
    """r**2/(2*beta) for |r| < beta, else |r| - beta/2, with r = prediction - target: :func:`huber` divided by beta.

    Parameters
    ----------
    prediction, target : Tensor
        Of one shape; the target may be a number.
    reduce : "mean", "sum" or None
        The mean over all elements, their sum, or one value a row.
    beta : float
        Where the parabola ends, above 0.

    Raises
    ------
    ShapeError
        When the shapes differ.
    DomainError
        When beta is not above 0.
    """
    y, t = pair(prediction, target, "smooth_l1")
    refuse_unless(beta > 0, "smooth_l1", "beta", beta, "above 0; at 0 the loss is mae")
    r, b = y - t, scalar.number(beta)
    return reduced(where(abs(r) < b, r**2 / (2 * b), abs(r) - b / 2), reduce)


def quantile(prediction: Any, target: Any, reduce: Reduce = "mean", q: float = 0.5) -> Tensor:
    """max(q*(t - y), (q - 1)*(t - y)): the pinball loss, least at the quantile q of t (Koenker and Bassett 1978).

    Parameters
    ----------
    prediction, target : Tensor
        Of one shape; the target may be a number.
    reduce : "mean", "sum" or None
        The mean over all elements, their sum, or one value a row.
    q : float
        Between 0 and 1; 0.5 is half of :func:`mae`.

    Raises
    ------
    ShapeError
        When the shapes differ.
    DomainError
        When q does not lie between 0 and 1.
    """
    y, t = pair(prediction, target, "quantile")
    refuse_unless(0 < q < 1, "quantile", "q", q, "between 0 and 1, such as 0.9")
    return reduced(maximum(q * (t - y), (scalar.number(q) - 1) * (t - y)), reduce)


def msle(prediction: Any, target: Any, reduce: Reduce = "mean") -> Tensor:
    """(log(1 + prediction) - log(1 + target))**2: the mean squared logarithmic error.

    Parameters
    ----------
    prediction, target : Tensor
        Of one shape, above -1; the target may be a number.
    reduce : "mean", "sum" or None
        The mean over all elements, their sum, or one value a row.

    Raises
    ------
    ShapeError
        When the shapes differ.
    """
    y, t = pair(prediction, target, "msle")
    return reduced((log1p(y) - log1p(t)) ** 2, reduce)


def mape(prediction: Any, target: Any, reduce: Reduce = "mean", eps: float = 1e-7) -> Tensor:
    """100*|prediction - target|/max(|target|, eps): the mean absolute error in per cent.

    Parameters
    ----------
    prediction, target : Tensor
        Of one shape; the target may be a number.
    reduce : "mean", "sum" or None
        The mean over all elements, their sum, or one value a row.
    eps : float
        What a target of 0 is divided by, above 0.

    Raises
    ------
    ShapeError
        When the shapes differ.
    DomainError
        When eps is not above 0.
    """
    y, t = pair(prediction, target, "mape")
    refuse_unless(eps > 0, "mape", "eps", eps, "above 0, such as 1e-7")
    return reduced(100 * abs(y - t) / maximum(abs(t), eps), reduce)
