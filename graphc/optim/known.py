"""The known optimizers, each written as a rule, with the conventions of torch.optim."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from graphc.declare.formula import suggest
from graphc.declare.origin import located
from graphc.errors import TypeMismatchError, UnknownNameError
from graphc.optim.adam_family import AdaBelief, Adamax, AMSGrad, NAdam, RAdam, Yogi
from graphc.optim.curvature import CURVATURE, Curvature
from graphc.optim.domains import KNOWN
from graphc.optim.groups import Groups, groups
from graphc.optim.layerwise import LAMB, Adafactor, Muon
from graphc.optim.rules import Rule, rule
from graphc.optim.steps import ASGD, Adadelta, Lion, Rprop
from graphc.optim.values import Value


def _known(name: str, text: str, **options: Any) -> Rule:
    return rule(name, text, **options).within(KNOWN)


def _is_zero(value: Value) -> bool:
    return isinstance(value, int | float) and value == 0


@located
def SGD(
    eta: Value = 0.01,
    *,
    clip_value: float | None = None,
    clip_norm: float | None = None,
    decay: float | None = None,
) -> Rule:
    """theta <- theta - eta*g.

    Parameters
    ----------
    eta : float, Schedule or 1-D array
        The learning rate, at least 0.
    clip_value, clip_norm, decay : float, optional
        See :class:`Rule`.
    """
    return _known("SGD", "theta <- theta - eta*g", eta=eta, clip_value=clip_value, clip_norm=clip_norm, decay=decay)


@located
def Momentum(
    eta: Value = 0.01,
    mu: Value = 0.9,
    *,
    dampening: Value = 0.0,
    clip_value: float | None = None,
    clip_norm: float | None = None,
    decay: float | None = None,
) -> Rule:
    """Heavy ball (Polyak 1964): v <- mu*v + g, theta <- theta - eta*v.

    Parameters
    ----------
    eta : float, Schedule or 1-D array
        The learning rate, at least 0.
    mu : float, Schedule or 1-D array
        How much of the velocity stays, in [0, 1].
    dampening : float, Schedule or 1-D array
        How much of each gradient but the first is left out, in [0, 1] (torch's dampening).
    clip_value, clip_norm, decay : float, optional
        See :class:`Rule`.
    """
    hyper = {"eta": eta, "mu": mu} | ({} if _is_zero(dampening) else {"dampening": dampening})
    share = "where(k <= 1, 1, 1 - dampening)*" if "dampening" in hyper else ""
    text = f"""
        v     <- mu*v + {share}g
        theta <- theta - eta*v
    """
    return _known("Momentum", text, **hyper, clip_value=clip_value, clip_norm=clip_norm, decay=decay)


@located
def Nesterov(
    eta: Value = 0.01,
    mu: Value = 0.9,
    *,
    clip_value: float | None = None,
    clip_norm: float | None = None,
    decay: float | None = None,
) -> Rule:
    """Nesterov momentum in the form of Sutskever et al. 2013.

    Parameters
    ----------
    eta : float, Schedule or 1-D array
        The learning rate, at least 0.
    mu : float, Schedule or 1-D array
        How much of the velocity stays, in [0, 1].
    clip_value, clip_norm, decay : float, optional
        See :class:`Rule`.
    """
    text = """
        v     <- mu*v + g
        theta <- theta - eta*(g + mu*v)
    """
    return _known("Nesterov", text, eta=eta, mu=mu, clip_value=clip_value, clip_norm=clip_norm, decay=decay)


@located
def Adagrad(
    eta: Value = 0.01,
    eps: Value = 1e-10,
    *,
    clip_value: float | None = None,
    clip_norm: float | None = None,
    decay: float | None = None,
) -> Rule:
    """Duchi, Hazan & Singer 2011.

    Parameters
    ----------
    eta : float, Schedule or 1-D array
        The learning rate, at least 0.
    eps : float, Schedule or 1-D array
        Above 0; keeps the division finite.
    clip_value, clip_norm, decay : float, optional
        See :class:`Rule`.
    """
    text = """
        v     <- v + g**2
        theta <- theta - eta*g/(sqrt(v) + eps)
    """
    return _known("Adagrad", text, eta=eta, eps=eps, clip_value=clip_value, clip_norm=clip_norm, decay=decay)


@located
def RMSProp(
    eta: Value = 0.01,
    rho: Value = 0.9,
    eps: Value = 1e-8,
    *,
    mu: Value = 0.0,
    centred: bool = False,
    clip_value: float | None = None,
    clip_norm: float | None = None,
    decay: float | None = None,
) -> Rule:
    """Tieleman & Hinton 2012; eps outside the root.

    Parameters
    ----------
    eta : float, Schedule or 1-D array
        The learning rate, at least 0.
    rho : float, Schedule or 1-D array
        How much of the mean square stays, in [0, 1).
    eps : float, Schedule or 1-D array
        Above 0; keeps the division finite.
    mu : float, Schedule or 1-D array
        How much of a velocity of the steps stays, in [0, 1] (torch's momentum).
    centred : bool
        Divide by the standard deviation of the gradient instead (Graves 2013).
    clip_value, clip_norm, decay : float, optional
        See :class:`Rule`.
    """
    hyper = {"eta": eta, "rho": rho, "eps": eps} | ({} if _is_zero(mu) else {"mu": mu})
    variance = "max(0, v - a**2)" if centred else "v"
    step = f"g/(sqrt({variance}) + eps)"
    lines = ["v     <- rho*v + (1 - rho)*g**2"]
    lines += ["a     <- rho*a + (1 - rho)*g"] * centred
    lines += [f"u     <- mu*u + {step}"] * ("mu" in hyper)
    lines += [f"theta <- theta - eta*{'u' if 'mu' in hyper else step}"]
    return _known("RMSProp", "\n".join(lines), **hyper, clip_value=clip_value, clip_norm=clip_norm, decay=decay)


@located
def Adam(
    eta: Value = 1e-3,
    b1: Value = 0.9,
    b2: Value = 0.999,
    eps: Value = 1e-8,
    *,
    clip_value: float | None = None,
    clip_norm: float | None = None,
    decay: float | None = None,
) -> Rule:
    """Kingma & Ba 2015, with bias correction.

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
        mhat  <- m/(1 - b1**k)
        vhat  <- v/(1 - b2**k)
        theta <- theta - eta*mhat/(sqrt(vhat) + eps)
    """
    return _known("Adam", text, eta=eta, b1=b1, b2=b2, eps=eps, clip_value=clip_value, clip_norm=clip_norm, decay=decay)


@located
def AdamW(
    eta: Value = 1e-3,
    b1: Value = 0.9,
    b2: Value = 0.999,
    eps: Value = 1e-8,
    decay: Value = 0.01,
    *,
    clip_value: float | None = None,
    clip_norm: float | None = None,
) -> Rule:
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019).

    Parameters
    ----------
    eta : float, Schedule or 1-D array
        The learning rate, at least 0.
    b1, b2 : float, Schedule or 1-D array
        How much of the first and of the second moment stays, in [0, 1).
    eps : float, Schedule or 1-D array
        Above 0; keeps the division finite.
    decay : float, Schedule or 1-D array
        How much of theta is taken away, in units of eta, at least 0.
    clip_value, clip_norm : float, optional
        See :class:`Rule`.
    """
    text = """
        m     <- b1*m + (1 - b1)*g
        v     <- b2*v + (1 - b2)*g**2
        mhat  <- m/(1 - b1**k)
        vhat  <- v/(1 - b2**k)
        theta <- theta - eta*(mhat/(sqrt(vhat) + eps) + decay*theta)
    """
    hyper = {"eta": eta, "b1": b1, "b2": b2, "eps": eps, "decay": decay}
    return _known("AdamW", text, **hyper, clip_value=clip_value, clip_norm=clip_norm)


_ALL = (
    SGD, Momentum, Nesterov, Adagrad, RMSProp, Adam, AdamW,
    Adadelta, Adamax, NAdam, RAdam, AMSGrad, AdaBelief, Yogi, Rprop, ASGD, Lion, LAMB, Adafactor, Muon,
)  # fmt: skip
OPTIMIZERS: dict[str, Callable[..., Rule]] = {f.__name__.lower(): f for f in _ALL}


Optimizer = str | Rule | Curvature | Mapping[Any, Any]
"""What ``optimizer=`` of a fit may be."""


def optimizer_named(name: Optimizer | Groups) -> Rule | Curvature | Groups:
    """The optimizer of that name with its default hyper-parameters; one that is given is returned as it is, a dict as
    its groups.

    Raises
    ------
    UnknownNameError
        With the name that comes closest.
    """
    if isinstance(name, Rule | Curvature | Groups):
        return name
    if isinstance(name, Mapping):
        return groups(name, optimizer_named)
    if not isinstance(name, str):
        raise TypeMismatchError(f"An optimizer is a rule or a name, not {type(name).__name__}. Write gc.Adam(1e-3).")
    known = {**OPTIMIZERS, **CURVATURE}
    if name.lower() not in known:
        raise UnknownNameError(f"Unknown optimizer '{name}'. {suggest(name.lower(), list(known))}")
    return known[name.lower()]()


def rule_named(who: str, name: Optimizer) -> Rule:
    """The optimizer of that name, which must be an update rule.

    Raises
    ------
    TypeMismatchError
        For one that uses curvature: ``who`` says where it cannot be used.
    """
    found = optimizer_named(name)
    if isinstance(found, Curvature):
        message = f"{who}: {found.name} is no update rule but a method of its own, for model.fit on the CPU"
        raise TypeMismatchError(f"{message}\n  hint: take an update rule such as gc.Adam(1e-3)")
    if isinstance(found, Groups):
        message = f"{who}: rules for groups of parameters are for model.fit and model.sweep"
        raise TypeMismatchError(f"{message}\n  hint: give one rule such as gc.Adam(1e-3)")
    return found
