"""Candidates of a search that differ in learning rate and seed alone, trained by one sweep for all of them."""

from __future__ import annotations

import contextlib
import pickle
from collections.abc import Iterable, Iterator, Sequence
from inspect import isroutine
from numbers import Integral, Real
from typing import Any, Protocol

import joblib
import numpy as np

from graphc.errors import GraphcError
from graphc.facade.sweeping import Sweep
from graphc.model import Model
from graphc.optim import Rule
from graphc.run.history import Run

SWEPT = ("learning_rate", "random_state", "alpha")

Candidate = tuple[float, int, float]
"""Learning rate, seed, alpha."""


class Sweepable(Protocol):
    """What is asked of an estimator here."""

    random_state: Any
    alpha: Any
    early_stopping: bool
    target: Any

    def optimizer_given(self) -> Any: ...

    def get_params(self, deep: bool = True) -> dict[str, Any]: ...

    def swept(self, rows: Any, epochs: int, candidates: Sequence[Candidate], threads: int | None) -> Sweep: ...


class Together:
    """What the estimators of one search have in common, handed on to each of their clones.

    The first of some that differ in learning rate, seed and alpha alone and are fitted to the same rows trains all of
    them; the others find their copies here. Which those are is known by the values of the other arguments and of the
    rows, since an estimator sees neither the grid nor the fold that it stands for.
    """

    def __init__(self, candidates: Iterable[Sweepable], threads: int | None = None) -> None:
        self.threads = threads
        self.wanted: dict[str, dict[Candidate, None]] = {}
        self.trained: dict[str, tuple[Sweep, dict[Candidate, int]]] = {}
        self.running = False
        for candidate in candidates:
            key, own = _alike(candidate), _own(candidate)
            if key and own is not None:
                self.wanted.setdefault(key, {})[own] = None

    @contextlib.contextmanager
    def search(self) -> Iterator[None]:
        """Within it estimators are trained together; what was trained is dropped at its end."""
        self.running = True
        try:
            yield
        finally:
            self.running, self.trained = False, {}

    def fitted(self, estimator: Sweepable, rows: Any, epochs: int) -> tuple[Model, Run] | None:
        """The model of an estimator after its fit, and what the fit did; None where it is to be trained alone.

        So is a copy that diverged: its own fit tells what happened.
        """
        key, own = _alike(estimator), _own(estimator)
        wanted = self.wanted.get(key, {}) if self.running else {}
        alone = estimator.early_stopping and estimator.target != "cpu"  # which no sweep takes
        if own is None or own not in wanted or len(wanted) < 2 or alone:
            return None
        place = str(joblib.hash((key, epochs, rows.arrays, rows.weights)))
        if place not in self.trained:
            sweep = estimator.swept(rows, epochs, list(wanted), self.threads)
            self.trained[place] = sweep, {known: t for t, known in enumerate(wanted)}
        sweep, places = self.trained[place]
        t = places[own]
        return None if sweep.stopped[t] == "diverged" else (sweep.model(t), sweep.run(t))


def _alike(estimator: Sweepable) -> str:
    """Equal for estimators that differ in learning rate, seed and alpha alone; empty for what has no bytes to compare.

    An alpha of 0 is another network, without a penalty; early stopping holds rows out by the seed. Functions stay what
    they are in a clone, everything else is copied there.
    """
    others = {name: value for name, value in estimator.get_params(deep=False).items() if name not in SWEPT}
    own = bool(estimator.alpha), estimator.random_state if estimator.early_stopping else None
    named = {name: ("function", id(value)) if isroutine(value) else value for name, value in others.items()}
    try:
        return str(joblib.hash((type(estimator).__qualname__, named, own)))
    except (pickle.PicklingError, TypeError, AttributeError, ValueError):
        return ""


def _own(estimator: Sweepable) -> Candidate | None:
    """Learning rate, seed and alpha, where they are numbers; an argument that makes no sense is told by the fit."""
    seed, optimizer = estimator.random_state, None
    with contextlib.suppress(GraphcError):
        optimizer = estimator.optimizer_given()
    rate = optimizer.hyper.get("eta") if isinstance(optimizer, Rule) else None
    whole = isinstance(seed, Integral) and not isinstance(seed, bool)
    if not whole or not isinstance(rate, Real) or not is_factor(estimator.alpha):
        return None
    return float(rate), int(seed), float(estimator.alpha)


def is_factor(alpha: Any) -> bool:
    """Whether a penalty can have this factor."""
    return isinstance(alpha, Real) and not isinstance(alpha, bool) and 0 <= float(alpha) < np.inf
