"""The hyper-parameters of a run that goes on: a callback reads them and sets new ones for the steps to come."""

from __future__ import annotations

from collections.abc import Callable, Iterator, MutableMapping
from functools import cached_property

from numpy.typing import NDArray

from graphc.emit.update import hyper_values
from graphc.errors import DomainError, UnknownNameError
from graphc.ir.letters import close_name
from graphc.optim import Rule
from graphc.optim.schedules import Schedule


class RunningHyper(MutableMapping[str, float]):
    """``run.hyper["eta"]`` is the learning rate now; ``run.hyper["eta"] = 0.01`` sets it, nothing is compiled.

    Parameters
    ----------
    rule : Rule, optional
        Without one there are none, as for optimizers that use curvature.
    values : array, optional
        What the program reads, in the order of its slots.
    step : function, optional
        The number of steps that the rule has done, which schedules depend on.
    """

    def __init__(
        self, rule: Rule | None = None, values: NDArray | None = None, step: Callable[[], int] = lambda: 0
    ) -> None:
        self._rule, self._values, self._step = rule, values, step
        self.changed: dict[str, float] = {}
        self.behind = 0  # steps that were done after the epoch which a log takes note of

    def __reduce__(self) -> tuple[type, tuple]:
        """What is copied or pickled steers nothing."""
        return RunningHyper, ()

    @cached_property
    def _places(self) -> dict[str, int]:
        return {name: t for t, name in enumerate(hyper_values(self._rule).names)} if self._rule else {}

    def _known(self) -> dict[str, float]:
        return self._rule.values_at(max(self._step() - self.behind, 1)) if self._rule else {}

    def __getitem__(self, name: str) -> float:
        known = self._known()
        if name not in known:
            raise UnknownNameError(f"run.hyper: there is no {name!r}\n  hint: {close_name(str(name), known)}")
        if name not in self._places or self._values is None:
            return float(known[name])
        return float(self._values[self._places[name]])

    def __setitem__(self, name: str, value: float) -> None:
        self.check("run.hyper", name)
        assert self._rule is not None and self._values is not None
        self._rule.with_(**{name: value})  # refuses what is no number or outside its domain
        self._values[self._places[name]] = self.changed[name] = float(value)

    def check(self, who: str, name: str) -> None:
        """Refuse a name that cannot be set: one that there is not, or that follows a schedule.

        Raises
        ------
        DomainError, UnknownNameError
            Which one, and why.
        """
        if self._rule is None or name not in self._known():
            hint = close_name(name, self._known()) if self._rule else "take an update rule, such as gc.Adam(1e-3)"
            raise UnknownNameError(f"{who}: the optimizer has no {name!r}\n  hint: {hint}")
        if isinstance(self._rule.hyper.get(name), Schedule):
            raise DomainError(f"{who}: {name} follows a schedule\n  hint: give the optimizer a number, {name}=0.01")

    def __delitem__(self, name: str) -> None:
        raise DomainError(f"run.hyper: {name} cannot be deleted: the program reads it\n  hint: set another value")

    def __iter__(self) -> Iterator[str]:
        return iter(self._known())

    def __len__(self) -> int:
        return len(self._known())

    def __repr__(self) -> str:
        return f"{dict(self)}"
