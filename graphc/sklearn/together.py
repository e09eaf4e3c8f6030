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
from scipy.sparse import issparse

from graphc.errors import GraphcError
from graphc.facade.sweeping import Sweep
from graphc.model import Model
from graphc.optim import Rule
from graphc.run.history import History, Run

SWEPT = ("learning_rate", "random_state")

Pair = tuple[float, int]


class Sweepable(Protocol):
    """What is asked of an estimator here."""

    random_state: Any
    early_stopping: bool

    def optimizer_given(self) -> Any: ...

    def get_params(self, deep: bool = True) -> dict[str, Any]: ...

    def swept(self, rows: Any, epochs: int, pairs: Sequence[Pair], threads: int | None) -> Sweep: ...


class Together:
    """What the estimators of one search have in common, handed on to each of their clones.

    The first of some that differ in learning rate and seed alone and are fitted to the same rows trains all of them;
    the others find their copies here. Which those are is known by the values of the other arguments and of the rows,
    since an estimator sees neither the grid nor the fold that it stands for.
    """

    def __init__(self, candidates: Iterable[Sweepable], threads: int | None = None) -> None:
        self.threads = threads
        self.pairs: dict[str, dict[Pair, None]] = {}
        self.trained: dict[str, tuple[Sweep, dict[Pair, int]]] = {}
        self.running = False
        for candidate in candidates:
            key, pair = _alike(candidate), _pair(candidate)
            if key and pair is not None:
                self.pairs.setdefault(key, {})[pair] = None

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
        key, pair = _alike(estimator), _pair(estimator)
        wanted = self.pairs.get(key, {}) if self.running else {}
        alone = estimator.early_stopping or issparse(rows.arrays["X"])  # which no sweep takes
        if pair is None or pair not in wanted or len(wanted) < 2 or alone:
            return None
        place = str(joblib.hash((key, epochs, rows.arrays, rows.weights)))
        if place not in self.trained:
            sweep = estimator.swept(rows, epochs, list(wanted), self.threads)
            self.trained[place] = sweep, {known: t for t, known in enumerate(wanted)}
        sweep, places = self.trained[place]
        t = places[pair]
        return None if sweep.stopped[t] == "diverged" else (sweep.model(t), _run(sweep, t))


def _alike(estimator: Sweepable) -> str:
    """Equal for estimators that differ in learning rate and seed alone; empty for what has no bytes to compare.

    Functions stay what they are in a clone, everything else is copied there.
    """
    others = {name: value for name, value in estimator.get_params(deep=False).items() if name not in SWEPT}
    named = {name: ("function", id(value)) if isroutine(value) else value for name, value in others.items()}
    try:
        return str(joblib.hash((type(estimator).__qualname__, named)))
    except (pickle.PicklingError, TypeError, AttributeError):
        return ""


def _pair(estimator: Sweepable) -> Pair | None:
    """Learning rate and seed, where they are numbers; an argument that makes no sense is told by the fit."""
    seed, optimizer = estimator.random_state, None
    with contextlib.suppress(GraphcError):
        optimizer = estimator.optimizer_given()
    rate = optimizer.hyper.get("eta") if isinstance(optimizer, Rule) else None
    if not isinstance(seed, Integral) or isinstance(seed, bool) or not isinstance(rate, Real):
        return None
    return float(rate), int(seed)


def _run(sweep: Sweep, t: int) -> Run:
    """What a fit alone tells of a copy; times are an equal share."""
    epochs, share = int(sweep.epochs[t]), 1 / len(sweep)
    history = History({name: values[t, :epochs].tolist() for name, values in sweep.history.items()})
    return Run(
        history, int(sweep.steps[t]), sweep.seconds * share, sweep.compile_seconds * share, sweep.threads,
        sweep.stopped[t], notes=list(sweep.notes), seed=sweep.seeds[t], epochs=epochs,
        latest={name: values[-1] for name, values in history.items() if values},
    )  # fmt: skip


def rates_and_seeds(pairs: Iterable[Pair]) -> tuple[np.ndarray, list[int]]:
    """The two columns of some pairs."""
    rates, seeds = zip(*pairs, strict=True)
    return np.array(rates), list(seeds)
