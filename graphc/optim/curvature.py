"""Optimizers that use curvature: what they are called and what they take. What they do is in
:mod:`graphc.emit.descent`; they are no formulas of one element, so they are no rules."""

from __future__ import annotations

from dataclasses import fields
from numbers import Real
from typing import ClassVar

from graphc.errors import DomainError, TypeMismatchError
from graphc.records import record


@record(frozen=True)
class Curvature:
    """An optimizer that uses curvature; immutable, its state lives in the model that trains with it."""

    states: ClassVar[tuple[str, ...]] = ()
    """The numbers that its state has for every parameter."""
    weighted: ClassVar[bool] = True
    """Whether it takes weights of rows."""

    def __post_init__(self) -> None:
        for f in fields(self):
            value, whole = getattr(self, f.name), f.type == "int"
            if isinstance(value, bool) or not isinstance(value, int if whole else Real):
                kind = "whole number" if whole else "number"
                raise TypeMismatchError(f"{f.name} of {self.name} is {value!r:.60}\n  hint: give a {kind}")
            if not float(value) > 0:
                raise DomainError(f"{f.name} of {self.name} is {value}\n  hint: give a number above 0")

    @property
    def name(self) -> str:
        """What it is called."""
        return type(self).__name__

    @property
    def text(self) -> str:
        """What its state is kept under: another one starts anew."""
        return self.name

    @property
    def hyper(self) -> tuple[float, ...]:
        """The numbers that its program reads."""
        return ()

    @property
    def most(self) -> int:
        """How many pairs or products a step takes at most; 0 where it takes none."""
        return 0


@record(frozen=True)
class Searching(Curvature):
    """One that looks for a point along a line: see :mod:`graphc.emit.line_search`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        c1, c2 = self.wolfe
        if not c1 < c2 < 1:
            raise DomainError(f"{self.name}: c1 is {c1} and c2 is {c2}\n  hint: the Wolfe conditions take c1 < c2 < 1")

    @property
    def wolfe(self) -> tuple[float, float]:
        """c1 and c2 of the strong Wolfe conditions."""
        raise NotImplementedError

    @property
    def hyper(self) -> tuple[float, ...]:
        return self.wolfe


@record(frozen=True)
class LBFGS(Searching):
    """Limited-memory BFGS (Liu, Nocedal 1989) with a strong Wolfe line search: d = -H g, H from the last steps.

    A step is an iteration; it evaluates loss and gradient as often as its line search asks for, mostly once.
    Take ``dtype="float64"`` to come close to a minimum.

    Parameters
    ----------
    memory : int
        How many pairs of steps and changes of the gradient H is made of.
    c1, c2 : float
        Of the Wolfe conditions: f(x + t d) <= f(x) + c1 t d.g and abs(d.g(x + t d)) <= c2 abs(d.g).

    Raises
    ------
    DomainError, TypeMismatchError
        Unless memory is a whole number above 0 and 0 < c1 < c2 < 1.
    """

    memory: int = 10
    c1: float = 1e-3
    c2: float = 0.9

    @property
    def text(self) -> str:
        return f"{self.name}, {self.memory} pairs"

    @property
    def states(self) -> tuple[str, ...]:  # pyright: ignore[reportIncompatibleVariableOverride]
        return tuple(f"{name}{t}" for name in "sy" for t in range(self.memory))

    @property
    def most(self) -> int:
        return self.memory

    @property
    def wolfe(self) -> tuple[float, float]:
        return self.c1, self.c2


@record(frozen=True)
class ConjugateGradient(Searching):
    """Nonlinear conjugate gradients (Polak, Ribière 1969; restarted where their beta is negative): d = -g + beta d.

    Parameters
    ----------
    c1, c2 : float
        Of the Wolfe conditions, as of :class:`LBFGS`.

    Raises
    ------
    DomainError, TypeMismatchError
        Unless 0 < c1 < c2 < 1.
    """

    c1: float = 1e-4
    c2: float = 0.1
    states: ClassVar[tuple[str, ...]] = ("g", "d", "promised")

    @property
    def wolfe(self) -> tuple[float, float]:
        return self.c1, self.c2


@record(frozen=True)
class NewtonCG(Searching):
    """Newton's method; H d = -g is solved by conjugate gradients from exact Hessian-vector products, as far as is worth
    it or up to a direction of negative curvature (Nocedal, Wright, algorithm 7.1), with a strong Wolfe line search.

    Parameters
    ----------
    products : int
        How many Hessian-vector products a step takes at most.
    c1, c2 : float
        Of the Wolfe conditions, as of :class:`LBFGS`.

    Raises
    ------
    DomainError, TypeMismatchError
        Unless products is a whole number above 0 and 0 < c1 < c2 < 1.
    """

    products: int = 200
    c1: float = 1e-4
    c2: float = 0.9
    weighted: ClassVar[bool] = False

    @property
    def most(self) -> int:
        return self.products

    @property
    def wolfe(self) -> tuple[float, float]:
        return self.c1, self.c2


@record(frozen=True)
class LevenbergMarquardt(Curvature):
    """Levenberg-Marquardt for a loss that is a mean or a sum of squares of residuals r: (JᵀJ + mu I) d = -Jᵀr.

    mu follows how well the model of the loss foretold its decrease (Nielsen 1999). A step solves a system of as many
    equations as there are parameters: for small networks.

    Parameters
    ----------
    damping : float
        The first mu, in units of the largest element on the diagonal of JᵀJ.

    Raises
    ------
    DomainError, TypeMismatchError
        Unless damping is a number above 0.
    """

    damping: float = 1e-3
    states: ClassVar[tuple[str, ...]] = ("mu", "nu")
    weighted: ClassVar[bool] = False

    @property
    def hyper(self) -> tuple[float, ...]:
        return (self.damping,)


CURVATURE: dict[str, type[Curvature]] = {
    c.__name__.lower(): c for c in (LBFGS, LevenbergMarquardt, NewtonCG, ConjugateGradient)
}
