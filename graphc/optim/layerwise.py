"""Rules whose steps depend on the size of a whole parameter: see :mod:`graphc.optim.passes`."""

from __future__ import annotations

from graphc.declare.origin import located
from graphc.optim.domains import KNOWN
from graphc.optim.rules import Rule, rule
from graphc.optim.values import Value


@located
def LAMB(
    eta: Value = 1e-3,
    b1: Value = 0.9,
    b2: Value = 0.999,
    eps: Value = 1e-6,
    decay: Value = 0.0,
    *,
    clip_value: float | None = None,
    clip_norm: float | None = None,
) -> Rule:
    """Adam whose step is as long as eta times its parameter (You et al. 2020), for large batches.

    Parameters
    ----------
    eta : float, Schedule or 1-D array
        The learning rate, at least 0.
    b1, b2 : float, Schedule or 1-D array
        How much of the first and of the second moment stays, in [0, 1).
    eps : float, Schedule or 1-D array
        Above 0; keeps the division finite.
    decay : float, Schedule or 1-D array
        How much of theta is added to the step, at least 0.
    clip_value, clip_norm : float, optional
        See :class:`Rule`.
    """
    text = """
        m     <- b1*m + (1 - b1)*g
        v     <- b2*v + (1 - b2)*g**2
        mhat  <- m/(1 - b1**k)
        vhat  <- v/(1 - b2**k)
        r     <- mhat/(sqrt(vhat) + eps) + decay*theta
        a     <- sum(theta**2)
        b     <- sum(r**2)
        theta <- theta - eta*where(min(a, b) > 0, sqrt(a/where(b > 0, b, 1)), 1)*r
    """
    hyper = {"eta": eta, "b1": b1, "b2": b2, "eps": eps, "decay": decay}
    return rule("LAMB", text, **hyper, clip_value=clip_value, clip_norm=clip_norm).within(KNOWN)


@located
def Adafactor(
    eta: Value = 0.01,
    power: Value = 0.8,
    eps: Value = 1e-7,
    low: Value = 1e-3,
    limit: Value = 1.0,
    decay: Value = 0.0,
    *,
    clip_value: float | None = None,
    clip_norm: float | None = None,
) -> Rule:
    """Second moments of a matrix from the means of their rows and columns, steps relative to the parameter
    (Shazeer & Stern 2018).

    The second moments are kept whole here, of which the paper keeps the means alone: the steps are the same.

    Parameters
    ----------
    eta : float, Schedule or 1-D array
        The largest step relative to the size of the parameter, at least 0.
    power : float, Schedule or 1-D array
        A gradient counts k**(-power) in the mean square, at least 0.
    eps : float, Schedule or 1-D array
        Above 0; keeps the divisions finite.
    low : float, Schedule or 1-D array
        A parameter counts as at least so large, at least 0.
    limit : float, Schedule or 1-D array
        A larger root mean square of a step is scaled to it, above 0.
    decay : float, Schedule or 1-D array
        How much of theta is taken away, in units of eta, at least 0.
    clip_value, clip_norm : float, optional
        See :class:`Rule`.
    """
    text = """
        v     <- v + (g**2 - v)/k**power
        r     <- rowmean(v)
        vhat  <- r*colmean(v)/max(colmean(r), eps)
        u     <- g/sqrt(max(vhat, eps**2))
        rate  <- min(eta, 1/sqrt(k))*max(low, sqrt(mean(theta**2)))
        theta <- theta - eta*decay*theta - rate*u/max(1, sqrt(mean(u**2))/limit)
    """
    hyper = {"eta": eta, "power": power, "eps": eps, "low": low, "limit": limit, "decay": decay}
    return rule("Adafactor", text, **hyper, clip_value=clip_value, clip_norm=clip_norm).within(KNOWN)


@located
def Muon(
    eta: Value = 0.02,
    mu: Value = 0.95,
    decay: Value = 0.0,
    *,
    clip_value: float | None = None,
    clip_norm: float | None = None,
) -> Rule:
    """Momentum whose step is an orthogonal matrix (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon).

    The mean of the gradients, looked one step ahead as Nesterov's, is brought near the nearest orthogonal matrix by
    five steps of Newton and Schulz, in the precision of the program (the authors take bfloat16) and without their
    factor sqrt(max(1, rows/columns)); of a vector only the direction is left. One thread, or
    one block of a GPU, makes the products of a parameter.

    Parameters
    ----------
    eta : float, Schedule or 1-D array
        The learning rate, at least 0: about the largest singular value of a step.
    mu : float, Schedule or 1-D array
        How much of the mean stays, in [0, 1].
    decay : float, Schedule or 1-D array
        How much of theta is taken away, in units of eta, at least 0.
    clip_value, clip_norm : float, optional
        See :class:`Rule`.
    """
    text = """
        m     <- mu*m + (1 - mu)*g
        o     <- orthogonal((1 - mu)*g + mu*m)
        theta <- theta - eta*decay*theta - eta*o
    """
    hyper = {"eta": eta, "mu": mu, "decay": decay}
    return rule("Muon", text, **hyper, clip_value=clip_value, clip_norm=clip_norm).within(KNOWN)
