"""The known optimizers, each written as a rule, with the conventions of torch.optim."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from graphc.declare.formula import suggest
from graphc.errors import TypeMismatchError, UnknownNameError
from graphc.optim.rules import Rule, rule


def SGD(eta: Any = 0.01, **options: Any) -> Rule:
    """theta <- theta - eta*g."""
    return rule("SGD", "theta <- theta - eta*g", eta=eta, **options)


def Momentum(eta: Any = 0.01, mu: Any = 0.9, **options: Any) -> Rule:
    """Heavy ball (Polyak 1964): v <- mu*v + g, theta <- theta - eta*v."""
    text = """
        v     <- mu*v + g
        theta <- theta - eta*v
    """
    return rule("Momentum", text, eta=eta, mu=mu, **options)


def Nesterov(eta: Any = 0.01, mu: Any = 0.9, **options: Any) -> Rule:
    """Nesterov momentum in the form of Sutskever et al. 2013."""
    text = """
        v     <- mu*v + g
        theta <- theta - eta*(g + mu*v)
    """
    return rule("Nesterov", text, eta=eta, mu=mu, **options)


def Adagrad(eta: Any = 0.01, eps: Any = 1e-10, **options: Any) -> Rule:
    """Duchi, Hazan & Singer 2011."""
    text = """
        v     <- v + g**2
        theta <- theta - eta*g/(sqrt(v) + eps)
    """
    return rule("Adagrad", text, eta=eta, eps=eps, **options)


def RMSProp(eta: Any = 0.01, rho: Any = 0.9, eps: Any = 1e-8, **options: Any) -> Rule:
    """Tieleman & Hinton 2012; eps outside the root."""
    text = """
        v     <- rho*v + (1 - rho)*g**2
        theta <- theta - eta*g/(sqrt(v) + eps)
    """
    return rule("RMSProp", text, eta=eta, rho=rho, eps=eps, **options)


def Adam(eta: Any = 1e-3, b1: Any = 0.9, b2: Any = 0.999, eps: Any = 1e-8, **options: Any) -> Rule:
    """Kingma & Ba 2015, with bias correction."""
    text = """
        m     <- b1*m + (1 - b1)*g
        v     <- b2*v + (1 - b2)*g**2
        mhat  <- m/(1 - b1**k)
        vhat  <- v/(1 - b2**k)
        theta <- theta - eta*mhat/(sqrt(vhat) + eps)
    """
    return rule("Adam", text, eta=eta, b1=b1, b2=b2, eps=eps, **options)


def AdamW(eta: Any = 1e-3, b1: Any = 0.9, b2: Any = 0.999, eps: Any = 1e-8, decay: Any = 0.01, **options: Any) -> Rule:
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019)."""
    text = """
        m     <- b1*m + (1 - b1)*g
        v     <- b2*v + (1 - b2)*g**2
        mhat  <- m/(1 - b1**k)
        vhat  <- v/(1 - b2**k)
        theta <- theta - eta*(mhat/(sqrt(vhat) + eps) + decay*theta)
    """
    return rule("AdamW", text, eta=eta, b1=b1, b2=b2, eps=eps, decay=decay, **options)


OPTIMIZERS: dict[str, Callable[..., Rule]] = {
    f.__name__.lower(): f for f in (SGD, Momentum, Nesterov, Adagrad, RMSProp, Adam, AdamW)
}


def optimizer_named(name: str | Rule) -> Rule:
    """The optimizer of that name with its default hyper-parameters; a rule is returned as it is.

    Raises
    ------
    UnknownNameError
        With the name that comes closest.
    """
    if isinstance(name, Rule):
        return name
    if not isinstance(name, str):
        raise TypeMismatchError(f"An optimizer is a rule or a name, not {type(name).__name__}. Write gc.Adam(1e-3).")
    if name.lower() not in OPTIMIZERS:
        raise UnknownNameError(f"Unknown optimizer '{name}'. {suggest(name.lower(), list(OPTIMIZERS))}")
    return OPTIMIZERS[name.lower()]()
