"""``find_learning_rate``: a short run whose learning rate grows from step to step, and what its losses say.

Leslie N. Smith, "Cyclical Learning Rates for Training Neural Networks", 2017 (arXiv:1506.01186), section 3.3: rates
are good where the loss falls.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from copy import copy
from dataclasses import field
from pathlib import Path
from typing import Any

import numpy as np

from graphc.declare.origin import fail, located
from graphc.errors import DivergenceError, DomainError, TypeMismatchError
from graphc.facade.core import Core
from graphc.facade.fitting import fit
from graphc.facade.options import BatchSize, Options
from graphc.facade.state import Parameters, State
from graphc.lower.training import layout_parameters
from graphc.optim import Rule, optimizer_named
from graphc.records import record
from graphc.show.plots import plot_rates, text_curve

SMOOTH = 0.95  # of the mean of the losses so far that stays with every step, as Smith's followers smooth
FIRST = 10  # steps after which a loss may be called too large


@record(frozen=True)
class LearningRates:
    """What ``gc.find_learning_rate`` found; print it, or plot it.

    Attributes
    ----------
    rates, losses : list of float
        The learning rate of every step, and the loss of its batch before it.
    smoothed : list of float
        Means of the losses over the last steps, the older the less.
    suggestion : float
        The rate in the middle of the longest way down of the smoothed loss; NaN when it never falls.
    stopped : str
        "finished", or "diverged" where the loss had grown to so many times its least.
    """

    rates: list[float]
    losses: list[float]
    stopped: str = "finished"
    smoothed: list[float] = field(init=False)
    suggestion: float = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "smoothed", smoothed(self.losses))
        object.__setattr__(self, "suggestion", valley(self.rates, self.smoothed))

    def plot(self, path: str | Path) -> None:
        """Write the losses over the rates to a picture; needs the extra ``plot``.

        Parameters
        ----------
        path : str or Path
        """
        plot_rates(self.rates, self.losses, self.smoothed, self.suggestion, path)

    def __str__(self) -> str:
        curve = text_curve(self.smoothed, 60, 8, "step")
        what = f"learning rates from {self.rates[0]:.3g} to {self.rates[-1]:.3g} in {len(self.rates)} steps"
        return f"{what}, {self.stopped}\n{curve}\nsuggestion: {self.suggestion:.3g}"

    def __repr__(self) -> str:
        return f"<LearningRates: {len(self.rates)} steps, suggestion {self.suggestion:.3g}>"


def smoothed(losses: Sequence[float]) -> list[float]:
    """Exponential means of the values so far, as if nothing had been before the first."""
    means, mean = [], 0.0
    for k, loss in enumerate(losses, 1):
        mean = SMOOTH * mean + (1 - SMOOTH) * loss
        means.append(mean / (1 - SMOOTH**k))
    return means


def valley(rates: Sequence[float], losses: Sequence[float]) -> float:
    """The rate in the middle of the longest way down: of the longest sequence of losses from left to right, with gaps,
    each smaller than the one before. (A steepest slope would be found in the noise of the first steps.) NaN when none
    falls.

    So does fastai (https://docs.fast.ai/callback.schedule.html, "valley").
    """
    values = np.asarray(losses)
    lengths = np.ones(len(values), int)
    for i in range(1, len(values)):
        lengths[i] = 1 + lengths[:i][values[:i] > values[i]].max(initial=0)
    last = int(np.argmax(lengths)) if len(values) else 0
    if not len(values) or lengths[last] < 2:
        return math.nan
    return float(rates[last - int(lengths[last]) // 2])


@located
def find_learning_rate(
    model: Any,
    *data: Any,
    optimizer: str | Rule = "adam",
    low: float = 1e-7,
    high: float = 10.0,
    steps: int = 100,
    batch_size: BatchSize = "auto",
    seed: int = 0,
    stop_factor: float = 4.0,
    verify: bool = True,
) -> LearningRates:
    """Train a copy for some steps, each with a larger learning rate, and suggest one; the model stays as it is.

    Parameters
    ----------
    model : Model
    *data : arrays in the order of declaration, or one dict by name
    optimizer : Rule or str
        The update rule that is to be used; its ``eta`` is tried.
    low, high : float
        The first and the last rate.
    steps : int
        How many, each by the same factor larger than the one before.
    batch_size : int, dict, None or "auto"
        As for ``Model.fit``.
    seed : int
        Of the order of the rows, and of parameters without a value.
    stop_factor : float
        Stop when the loss of a step is so many times the least.
    verify : bool
        As for ``Model.fit``.

    Returns
    -------
    LearningRates
        With ``suggestion``, ``rates``, ``losses`` and ``plot(path)``.

    Raises
    ------
    TypeMismatchError, DomainError
        When it is no model, or the rule has no rate; when there is nothing from ``low`` to ``high``.
    """
    core = getattr(model, "_core", None)
    if not isinstance(core, Core):
        message = f"find_learning_rate: {model!r:.60} is no Model"
        fail(TypeMismatchError, message, "gc.find_learning_rate(model, x, t).")
    core.needs_loss()
    rule = _rule(optimizer)
    if not 0.0 < low < high < math.inf or steps < 2:
        message = f"find_learning_rate: there is nothing from {low} to {high} in {steps} steps"
        raise DomainError(f"{message}\n  hint: give 0 < low < high and at least 2 steps")
    options = Options(
        rule, steps=1, epochs=None, tol=None, batch_size=batch_size, seed=None, shuffle=True, sample_weight=None,
        record="step", progress=False, verify=verify,
    ).checked("find_learning_rate")  # fmt: skip
    core.params.initialize(seed)
    twin = _twin(core, seed)
    rates, losses = [], []
    for rate in np.geomspace(low, high, steps).tolist():
        try:
            run = fit(twin, data, options.with_rule(rule.with_(eta=rate)), None)
        except DivergenceError:
            return LearningRates(rates, losses, "diverged")
        rates.append(rate)
        losses += run.history["loss"]
        if losses[-1] > stop_factor * abs(min(losses)) and len(losses) > FIRST:
            return LearningRates(rates, losses, "diverged")
    return LearningRates(rates, losses)


def _rule(optimizer: Any) -> Rule:
    rule = optimizer_named(optimizer)
    if not isinstance(rule, Rule) or "eta" not in rule.hyper:
        message = f"find_learning_rate: {rule.name} has no learning rate eta"
        raise TypeMismatchError(f"{message}\n  hint: take an update rule such as gc.SGD() or gc.Adam()")
    return rule


def _twin(core: Core, seed: int) -> Core:
    """A copy with the same parameters that begins with the optimizer at rest, and the data at their start."""
    twin = copy(core)
    twin._params = Parameters(layout_parameters(twin.kept_leaves), twin.dtype)
    twin.params.restore(core.params.snapshot())
    twin.state = State(twin.params.held.size, twin.dtype)
    twin.state.sampler.restart(seed)
    twin.last_run, twin.last_sweep = None, None
    return twin
