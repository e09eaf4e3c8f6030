"""Where the hyper-parameters of the known optimizers may lie: a negative learning rate would train upwards."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from graphc.errors import DomainError
from graphc.optim.schedules import Schedule
from graphc.records import record

PROBES = 9  # steps of a run at which the value of a schedule is looked at


@record(frozen=True)
class Domain:
    """An interval of numbers: how it is told, and why."""

    text: str
    hint: str
    low: float = 0.0
    high: float = np.inf
    open_low: bool = False
    open_high: bool = True

    def holds(self, value: float) -> bool:
        """Whether a number lies in it."""
        above = value > self.low if self.open_low else value >= self.low
        return above and (value < self.high if self.open_high else value <= self.high)


RATE = Domain("at least 0", "a step goes downhill; to make J large, make -J small")
SHARE = Domain("in [0, 1)", "it is the share of the past that stays, give 0.9", high=1.0)
FRICTION = Domain("in [0, 1]", "it is the share of the velocity that stays, give 0.9", high=1.0, open_high=False)
TINY = Domain("above 0", "it keeps a division finite, give 1e-8", open_low=True)
SHRINKING = Domain("at least 0", "it makes parameters smaller, give 0.01 or leave it out")
LEFT_OUT = Domain("in [0, 1]", "it is the share of a gradient that is left out, give 0", high=1.0, open_high=False)
FACTOR = Domain("above 0", "it is a factor or a limit of a step, give the default or leave it out", open_low=True)
SIZE = Domain("at least 0", "it is the size of a step, a power or a start, give the default or leave it out")

KNOWN = {
    "eta": RATE, "mu": FRICTION, "rho": SHARE, "b1": SHARE, "b2": SHARE, "eps": TINY, "decay": SHRINKING,
    "lam": SHRINKING, "dampening": LEFT_OUT, "down": FACTOR, "up": FACTOR, "limit": FACTOR,
    **dict.fromkeys(("low", "high", "psi", "alpha", "t0", "start", "power"), SIZE),
}  # fmt: skip
"""The domains of the names that the known optimizers use."""


def check_hyper(rule: str, name: str, value: float | np.ndarray | Schedule, domain: Domain) -> None:
    """Refuse a value outside the domain: a number, one of an array, or what a schedule begins with.

    Raises
    ------
    DomainError
        Naming the value.
    """
    values = [value.at(1)] if isinstance(value, Schedule) else np.ravel(value).tolist()
    for number in values:
        if not domain.holds(number):
            where = f" at step 1 of {value}" if isinstance(value, Schedule) else ""
            raise DomainError(f"{rule}: {name} is {number:g}{where}, not {domain.text}\n  hint: {domain.hint}")


def check_steps(
    rule: str, hyper: Mapping[str, float | np.ndarray | Schedule], domains: Mapping[str, Domain], first: int, last: int
) -> None:
    """Refuse a schedule that leaves the domain of its hyper-parameter within a run, at some steps of it.

    Raises
    ------
    DomainError
        Naming the step.
    """
    scheduled = {n: s for n, s in hyper.items() if isinstance(s, Schedule) and n in domains}
    for k in dict.fromkeys(np.linspace(first, last, PROBES, dtype=int).tolist()) if scheduled else ():
        for name, schedule in scheduled.items():
            value = schedule.at(k)
            if not domains[name].holds(value):
                message = f"{rule}: {name} is {value:g} at step {k} of {schedule}, not {domains[name].text}"
                raise DomainError(f"{message}\n  hint: {domains[name].hint}")
