"""The relatives of Adam: rules that keep running means of the gradient and of its square or size.

Each is written as in its paper, with the conventions of torch.optim, or of optax where torch has none.
"""

from __future__ import annotations

from graphc.declare.origin import located
from graphc.optim.domains import KNOWN
from graphc.optim.rules import Rule, rule
from graphc.optim.values import Value


@located
def Adamax(
    eta: Value = 2e-3,
    b1: Value = 0.9,
    b2: Value = 0.999,
    eps: Value = 1e-8,
    *,
    clip_value: float | None = None,
    clip_norm: float | None = None,
    decay: float | None = None,
) -> Rule:
    """Adam with the largest gradient instead of the mean square (Kingma & Ba 2015, section 7.1).

    Parameters
    ----------
    eta : float, Schedule or 1-D array
        The learning rate, at least 0.
    b1, b2 : float, Schedule or 1-D array
        How much of the mean and of the largest gradient stays, in [0, 1).
    eps : float, Schedule or 1-D array
        Above 0; keeps the division finite.
    clip_value, clip_norm, decay : float, optional
        See :class:`Rule`.
    """
    text = """
        m     <- b1*m + (1 - b1)*g
        u     <- max(b2*u, abs(g) + eps)
        theta <- theta - eta/(1 - b1**k)*m/u
    """
    hyper = {"eta": eta, "b1": b1, "b2": b2, "eps": eps}
    return rule("Adamax", text, **hyper, clip_value=clip_value, clip_norm=clip_norm, decay=decay).within(KNOWN)


@located
def NAdam(
    eta: Value = 2e-3,
    b1: Value = 0.9,
    b2: Value = 0.999,
    eps: Value = 1e-8,
    psi: Value = 4e-3,
    *,
    clip_value: float | None = None,
    clip_norm: float | None = None,
    decay: float | None = None,
) -> Rule:
    """Adam that looks one step ahead, as Nesterov momentum does (Dozat 2016).

    Parameters
    ----------
    eta : float, Schedule or 1-D array
        The learning rate, at least 0.
    b1, b2 : float, Schedule or 1-D array
        How much of the first and of the second moment stays, in [0, 1).
    eps : float, Schedule or 1-D array
        Above 0; keeps the division finite.
    psi : float, Schedule or 1-D array
        How fast the momentum comes to b1, at least 0 (torch's momentum_decay).
    clip_value, clip_norm, decay : float, optional
        See :class:`Rule`.
    """
    text = """
        mu    <- b1*(1 - 0.96**(k*psi)/2)
        next  <- b1*(1 - 0.96**((k + 1)*psi)/2)
        p     <- where(k <= 1, 1, p)*mu
        m     <- b1*m + (1 - b1)*g
        v     <- b2*v + (1 - b2)*g**2
        mhat  <- next*m/(1 - next*p) + (1 - mu)*g/(1 - p)
        vhat  <- v/(1 - b2**k)
        theta <- theta - eta*mhat/(sqrt(vhat) + eps)
    """
    hyper = {"eta": eta, "b1": b1, "b2": b2, "eps": eps, "psi": psi}
    return rule("NAdam", text, **hyper, clip_value=clip_value, clip_norm=clip_norm, decay=decay).within(KNOWN)


@located
def RAdam(
    eta: Value = 1e-3,
    b1: Value = 0.9,
    b2: Value = 0.999,
    eps: Value = 1e-8,
    *,
    clip_value: float | None = None,
    clip_norm: float | None = None,
    decay: float | None = None,
) -> Rule:
    """Adam that divides by the second moment once its variance is bounded (Liu et al. 2020).

    Parameters
    ----------
    eta : float, Schedule or 1-D array
        The learning rate, at least 0.
    b1, b2 : float, Schedule or 1-D array
        How much of the first and of the second moment stays, in [0, 1).
    eps : float, Schedule or 1-D array
        Above 0; keeps the division finite.
    clip_value, clip_norm, decay : float, optional
        See :class:`Rule`.
    """
    text = """
        m     <- b1*m + (1 - b1)*g
        v     <- b2*v + (1 - b2)*g**2
        last  <- 2/(1 - b2) - 1
        rho   <- last - 2*k*b2**k/(1 - b2**k)
        r     <- sqrt(max(0, (rho - 4)*(rho - 2)*last/((last - 4)*(last - 2)*rho)))
        mhat  <- m/(1 - b1**k)
        theta <- theta - eta*mhat*where(rho > 5, r*sqrt(1 - b2**k)/(sqrt(v) + eps), 1)
    """
    hyper = {"eta": eta, "b1": b1, "b2": b2, "eps": eps}
    return rule("RAdam", text, **hyper, clip_value=clip_value, clip_norm=clip_norm, decay=decay).within(KNOWN)


@located
def AMSGrad(
    eta: Value = 1e-3,
    b1: Value = 0.9,
    b2: Value = 0.999,
    eps: Value = 1e-8,
    *,
    clip_value: float | None = None,
    clip_norm: float | None = None,
    decay: float | None = None,
) -> Rule:
    """Adam with the largest second moment so far (Reddi, Kale & Kumar 2018), with bias correction.

    Parameters
    ----------
    eta : float, Schedule or 1-D array
        The learning rate, at least 0.
    b1, b2 : float, Schedule or 1-D array
        How much of the first and of the second moment stays, in [0, 1).
    eps : float, Schedule or 1-D array
        Above 0; keeps the division finite.
    clip_value, clip_norm, decay : float, optional
        See :class:`Rule`.
    """
    text = """
        m     <- b1*m + (1 - b1)*g
        v     <- b2*v + (1 - b2)*g**2
        vmax  <- max(vmax, v)
        mhat  <- m/(1 - b1**k)
        vhat  <- vmax/(1 - b2**k)
        theta <- theta - eta*mhat/(sqrt(vhat) + eps)
    """
    hyper = {"eta": eta, "b1": b1, "b2": b2, "eps": eps}
    return rule("AMSGrad", text, **hyper, clip_value=clip_value, clip_norm=clip_norm, decay=decay).within(KNOWN)


@located
def AdaBelief(
    eta: Value = 1e-3,
    b1: Value = 0.9,
    b2: Value = 0.999,
    eps: Value = 1e-16,
    *,
    clip_value: float | None = None,
    clip_norm: float | None = None,
    decay: float | None = None,
) -> Rule:
    """Adam that divides by how far the gradient is from its mean (Zhuang et al. 2020).

    Parameters
    ----------
    eta : float, Schedule or 1-D array
        The learning rate, at least 0.
    b1, b2 : float, Schedule or 1-D array
        How much of the mean and of the variance stays, in [0, 1).
    eps : float, Schedule or 1-D array
        Above 0; keeps the variance above 0 and the division finite.
    clip_value, clip_norm, decay : float, optional
        See :class:`Rule`.
    """
    text = """
        m     <- b1*m + (1 - b1)*g
        s     <- b2*s + (1 - b2)*(g - m)**2 + eps
        mhat  <- m/(1 - b1**k)
        shat  <- s/(1 - b2**k)
        theta <- theta - eta*mhat/(sqrt(shat) + eps)
    """
    hyper = {"eta": eta, "b1": b1, "b2": b2, "eps": eps}
    return rule("AdaBelief", text, **hyper, clip_value=clip_value, clip_norm=clip_norm, decay=decay).within(KNOWN)


@located
def Yogi(
    eta: Value = 0.01,
    b1: Value = 0.9,
    b2: Value = 0.999,
    eps: Value = 1e-3,
    start: Value = 1e-6,
    *,
    clip_value: float | None = None,
    clip_norm: float | None = None,
    decay: float | None = None,
) -> Rule:
    """Adam whose second moment grows and shrinks by at most (1 - b2)*g**2 a step (Zaheer et al. 2018).

    Parameters
    ----------
    eta : float, Schedule or 1-D array
        The learning rate, at least 0.
    b1, b2 : float, Schedule or 1-D array
        How much of the first moment stays, and how slowly the second moves, in [0, 1).
    eps : float, Schedule or 1-D array
        Above 0; keeps the division finite.
    start : float, Schedule or 1-D array
        What both moments start at, at least 0 (optax's initial_accumulator_value).
    clip_value, clip_norm, decay : float, optional
        See :class:`Rule`.
    """
    text = """
        m     <- b1*where(k <= 1, start, m) + (1 - b1)*g
        v     <- where(k <= 1, start, v)
        v     <- v - (1 - b2)*sign(v - g**2)*g**2
        mhat  <- m/(1 - b1**k)
        vhat  <- v/(1 - b2**k)
        theta <- theta - eta*mhat/(sqrt(vhat) + eps)
    """
    hyper = {"eta": eta, "b1": b1, "b2": b2, "eps": eps, "start": start}
    return rule("Yogi", text, **hyper, clip_value=clip_value, clip_norm=clip_norm, decay=decay).within(KNOWN)
