"""Rules that choose the size of a step in other ways than Adam: by past steps, by signs, by averaging.

Each is written as in its paper, with the conventions of torch.optim, or of optax where torch has none.
"""

from __future__ import annotations

from graphc.declare.origin import located
from graphc.optim.domains import KNOWN
from graphc.optim.rules import Rule, rule
from graphc.optim.values import Value


@located
def Adadelta(
    eta: Value = 1.0,
    rho: Value = 0.9,
    eps: Value = 1e-6,
    *,
    clip_value: float | None = None,
    clip_norm: float | None = None,
    decay: float | None = None,
) -> Rule:
    """Steps in the units of the parameter, from the mean squares of past steps and gradients (Zeiler 2012).

    Parameters
    ----------
    eta : float, Schedule or 1-D array
        The factor of the steps, at least 0; 1 in the paper.
    rho : float, Schedule or 1-D array
        How much of the mean squares stays, in [0, 1).
    eps : float, Schedule or 1-D array
        Above 0; the first steps grow from it.
    clip_value, clip_norm, decay : float, optional
        See :class:`Rule`.
    """
    text = """
        v     <- rho*v + (1 - rho)*g**2
        d     <- sqrt(u + eps)/sqrt(v + eps)*g
        u     <- rho*u + (1 - rho)*d**2
        theta <- theta - eta*d
    """
    hyper = {"eta": eta, "rho": rho, "eps": eps}
    return rule("Adadelta", text, **hyper, clip_value=clip_value, clip_norm=clip_norm, decay=decay).within(KNOWN)


@located
def Rprop(
    eta: Value = 0.01,
    down: Value = 0.5,
    up: Value = 1.2,
    low: Value = 1e-6,
    high: Value = 50.0,
    *,
    clip_value: float | None = None,
    clip_norm: float | None = None,
    decay: float | None = None,
) -> Rule:
    """A step size for every parameter, from the signs of its gradients (Riedmiller & Braun 1993); for full batches.

    Parameters
    ----------
    eta : float, Schedule or 1-D array
        The first step size, at least 0.
    down, up : float, Schedule or 1-D array
        What a step size is multiplied by when the sign of the gradient changes, and when it stays: above 0.
    low, high : float, Schedule or 1-D array
        The smallest and the largest step size, at least 0.
    clip_value, clip_norm, decay : float, optional
        See :class:`Rule`.
    """
    text = """
        same  <- sign(g)*sign(p)
        d     <- where(k <= 1, eta, d)*where(same > 0, up, where(same < 0, down, 1))
        d     <- min(max(d, low), high)
        p     <- where(same < 0, 0, g)
        theta <- theta - d*sign(p)
    """
    hyper = {"eta": eta, "down": down, "up": up, "low": low, "high": high}
    return rule("Rprop", text, **hyper, clip_value=clip_value, clip_norm=clip_norm, decay=decay).within(KNOWN)


@located
def ASGD(
    eta: Value = 0.01,
    lam: Value = 1e-4,
    alpha: Value = 0.75,
    t0: Value = 1e6,
    *,
    clip_value: float | None = None,
    clip_norm: float | None = None,
    decay: float | None = None,
) -> Rule:
    """Averaged stochastic gradient descent (Polyak & Juditsky 1992): the mean of theta after t0 steps.

    ``gc.averaged(model)`` has it.

    Parameters
    ----------
    eta : float, Schedule or 1-D array
        The learning rate of the first step, at least 0.
    lam : float, Schedule or 1-D array
        How much of theta is taken away, in units of eta, at least 0.
    alpha : float, Schedule or 1-D array
        The power with which the learning rate falls, at least 0.
    t0 : float, Schedule or 1-D array
        The step after which the mean is taken, at least 0.
    clip_value, clip_norm, decay : float, optional
        See :class:`Rule`.
    """
    text = """
        theta   <- theta - eta/(1 + lam*eta*(k - 1))**alpha*(g + lam*theta)
        average <- average + (theta - average)/max(1, k - 1 - t0)
    """
    hyper = {"eta": eta, "lam": lam, "alpha": alpha, "t0": t0}
    return rule("ASGD", text, **hyper, clip_value=clip_value, clip_norm=clip_norm, decay=decay).within(KNOWN)


@located
def Lion(
    eta: Value = 1e-4,
    b1: Value = 0.9,
    b2: Value = 0.99,
    decay: Value = 0.0,
    *,
    clip_value: float | None = None,
    clip_norm: float | None = None,
) -> Rule:
    """The sign of a momentum that has seen the gradient, with decoupled weight decay (Chen et al. 2023).

    Parameters
    ----------
    eta : float, Schedule or 1-D array
        The learning rate, at least 0: the size of every step.
    b1, b2 : float, Schedule or 1-D array
        How much of the momentum goes into the step, and how much of it stays, in [0, 1).
    decay : float, Schedule or 1-D array
        How much of theta is taken away, in units of eta, at least 0.
    clip_value, clip_norm : float, optional
        See :class:`Rule`.
    """
    text = """
        u     <- sign(b1*m + (1 - b1)*g)
        m     <- b2*m + (1 - b2)*g
        theta <- theta - eta*(u + decay*theta)
    """
    hyper = {"eta": eta, "b1": b1, "b2": b2, "decay": decay}
    return rule("Lion", text, **hyper, clip_value=clip_value, clip_norm=clip_norm).within(KNOWN)
