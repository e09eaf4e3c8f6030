"""``compare``: several optimizers from the same weights over the same batches, and their paths over one surface."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphc.declare.entries import entry
from graphc.declare.origin import fail, located
from graphc.errors import DivergenceError, DomainError, TypeMismatchError
from graphc.facade.core import Core
from graphc.facade.fitting import filled, fit
from graphc.facade.landscape import Landscape, Points, landscape, own_plane, points_of
from graphc.facade.options import BatchSize, Options
from graphc.facade.state import Parameters, State
from graphc.lower.training import layout_parameters
from graphc.optim import Rule, rule_named
from graphc.records import record
from graphc.run.data import bind
from graphc.run.history import Run
from graphc.run.keeping import Trajectory
from graphc.show.explain import table as aligned
from graphc.show.notebook import text_and_picture
from graphc.show.surfaces import plot_comparison

FAR = 10.0  # a path on which the loss rises to so many times what it was would hide the others
GOALS = (0.5, 0.1, 0.01)  # of the loss before the first step


@entry
@record
class Comparison:
    """What :func:`graphc.compare` found; print it for the table, ``plot(path)`` draws curves and paths.

    Attributes
    ----------
    rules : dict of Rule by name
    runs : dict of Run by name
        As ``fit`` gave them.
    models : dict of Model by name
        The trained ones.
    steps : dict of list of int by name
        Steps done at every point of the curves: 0, then the end of every epoch.
    losses : dict of arrays by name
        The loss over all rows at these points, exactly: what the curves show.
    goals : tuple of float
        The losses of the table.
    landscape : Landscape or None
        The surface under all paths: of the two parameters where there are two numbers, else the plane of the principal
        components of all paths. Paths on which the loss rose tenfold are left out; None where the paths span no plane.
    """

    rules: dict[str, Rule]
    runs: dict[str, Run]
    models: dict[str, Any]
    steps: dict[str, list[int]]
    losses: dict[str, NDArray]
    goals: tuple[float, ...]
    landscape: Landscape | None

    @cached_property
    def table(self) -> list[dict[str, Any]]:
        """One dict a rule: rule, steps, loss (after the last step), seconds, stopped, and steps_to: the steps to each
        goal, None where it was not reached."""
        return [
            {
                "rule": name,
                "steps": self.runs[name].steps,
                "loss": float(self.losses[name][-1]),
                "seconds": self.runs[name].seconds,
                "stopped": self.runs[name].stopped,
                "steps_to": {goal: found.get(name) for goal, found in self._reached.items()},
            }
            for name in self.rules
        ]

    @cached_property
    def _reached(self) -> dict[float, dict[str, int | None]]:
        return {goal: self.steps_to(goal) for goal in self.goals}

    def steps_to(self, loss: float) -> dict[str, int | None]:
        """The steps after which the loss over all rows was first at most this, by rule; None where it never was.

        It is looked at at the end of every epoch.
        """
        first = {name: np.flatnonzero(curve <= loss) for name, curve in self.losses.items()}
        return {name: self.steps[name][at[0]] if at.size else None for name, at in first.items()}

    def plot(self, path: str | Path) -> None:
        """Write the curves, and the paths over the surface, to a picture; needs the extra ``plot``.

        Parameters
        ----------
        path : str or Path
        """
        curves = {name: (self.steps[name], self.losses[name]) for name in self.rules}
        scape = self.landscape
        plot_comparison(curves, scape and (scape.axes, scape.loss, scape.names, scape.paths), path)

    def _repr_html_(self) -> str:
        return text_and_picture(str(self), self.plot)

    def __str__(self) -> str:
        before = next(iter(self.losses.values()))[0]
        head = ["rule", "loss after", *(f"steps to {goal:.3g}" for goal in self.goals)]
        lines = [[row["rule"], *_cells(row)] for row in self.table]
        return f"loss before {before:.4g}; steps counted at the ends of epochs\n" + aligned(head, lines)

    def __repr__(self) -> str:
        return f"<Comparison of {', '.join(self.rules)}; print it for the table>"


def _cells(row: Mapping[str, Any]) -> list[str]:
    after = "diverged" if row["stopped"] == "diverged" else f"{row['loss']:.4g}"
    return [after, *("-" if n is None else str(n) for n in row["steps_to"].values())]


@located
def compare(
    model: Any,
    *args: Any,
    epochs: int = 20,
    batch_size: BatchSize = 32,
    seed: int = 0,
    shuffle: bool = True,
    goals: Sequence[float] | None = None,
    size: int = 41,
    threads: int | None = None,
    verify: bool = True,
) -> Comparison:
    """Train a model with several optimizers from the same weights over the same batches.

    ``compare(model, x, t, rules)``; the model itself stays as it is. Each rule gets
    the very bits of ``initialize(seed).fit(..., seed=seed)``.

    Parameters
    ----------
    model : Model
    *args : arrays in the order of declaration, or one dict by name; then the list of rules
        ``[gc.SGD(0.1), gc.Momentum(0.1), gc.Adam(0.01)]``; names such as ``"adam"`` are rules too.
    epochs, batch_size
        As for ``Model.fit``.
    seed : int
        Of the initial weights and the order of the rows.
    shuffle : bool
        New order of the rows every epoch (True), or the given order.
    goals : sequence of float, optional
        Losses of the table; by default 1/2, 1/10 and 1/100 of the loss before.
    size : int
        Points along each axis of the surface.
    threads, verify
        As for ``Model.fit``.

    Returns
    -------
    Comparison

    Raises
    ------
    TypeMismatchError, DomainError
        When the last argument is no list of rules; for options, as ``fit``.
    """
    core = getattr(model, "_core", None)
    if not isinstance(core, Core):
        fail(TypeMismatchError, f"compare: {model!r:.60} is no Model", "gc.compare(model, x, t, [gc.SGD(0.1), ..]).")
    data, rules = args[:-1], _rules(args[-1] if args else None)
    core.needs_loss()
    settings = {"epochs": epochs, "batch_size": batch_size, "shuffle": shuffle, "threads": threads, "verify": verify}
    wanted = None if goals is None else _goals(goals)
    cores, runs = {}, {}
    for name, rule in rules.items():
        cores[name], runs[name] = _train(core, type(model)._of, data, rule, settings, seed)
    bound = bind(core.training_inputs, filled(core.training_inputs, data), core.dtype, core.label_limits, "compare")
    points = Points(next(iter(cores.values())), bound, threads, verify)
    losses = {name: points.at_points(np.stack(points_of(run)))[:, 0] for name, run in runs.items()}
    before = float(next(iter(losses.values()))[0])
    scape = _surface(cores, runs, losses, data, size, threads, verify)
    models = {name: type(model)._of(twin) for name, twin in cores.items()}
    steps = {name: run.trajectory.steps for name, run in runs.items() if run.trajectory}
    return Comparison(rules, runs, models, steps, losses, wanted or tuple(g * before for g in GOALS), scape)


def _rules(given: Any) -> dict[str, Rule]:
    """Rules by name: that of the rule, with its values where two have one name."""
    if not isinstance(given, list | tuple) or not given:
        hint = "gc.compare(model, x, t, [gc.SGD(0.1), gc.Adam(0.01)])"
        raise TypeMismatchError(f"compare: the last argument is {given!r:.60}, no list of optimizers\n  hint: {hint}")
    rules = [rule_named("compare", r) for r in given]
    count = Counter(r.name for r in rules)
    names = [r.name if count[r.name] == 1 else repr(r) for r in rules]
    twice = [n for n, times in Counter(names).items() if times > 1]
    if twice:
        raise DomainError(f"compare: {twice[0]} is listed twice\n  hint: list it once")
    return dict(zip(names, rules, strict=True))


def _goals(goals: Sequence[float]) -> tuple[float, ...]:
    try:
        return tuple(float(g) for g in goals)
    except (TypeError, ValueError):
        raise TypeMismatchError(f"compare: goals is {goals!r:.60}\n  hint: give losses, goals=[0.5, 0.1]") from None


def _train(
    core: Core, public: Any, data: Sequence[Any], rule: Rule, settings: Mapping[str, Any], seed: int
) -> tuple[Core, Run]:
    """A copy with initial weights of its own, trained; one that diverges keeps its last good parameters."""
    options = Options(
        rule, **settings, steps=None, tol=None, seed=seed, callbacks=[Trajectory()], sample_weight=None,
        record="epoch", progress=False, target="cpu", precision="float32",
    ).checked("compare")  # fmt: skip
    twin = copy.copy(core)
    twin._params = Parameters(layout_parameters(twin.kept_leaves), twin.dtype)
    twin.state = State(twin.params.held.size, twin.dtype)
    twin.last_run, twin.last_sweep = None, None
    try:
        return twin, fit(twin, data, options, public(twin))
    except DivergenceError:
        assert twin.last_run is not None
        return twin, twin.last_run


def _surface(
    cores: Mapping[str, Core],
    runs: Mapping[str, Run],
    losses: Mapping[str, NDArray],
    data: Sequence[Any],
    size: int,
    threads: int | None,
    verify: bool,
) -> Landscape | None:
    """Through the end of the best run: the plane of the paths, or of the only two numbers that there are."""
    good = [n for n, run in runs.items() if run.stopped != "diverged" and losses[n].max() <= FAR * abs(losses[n][0])]
    good.sort(key=lambda name: -losses[name][-1])  # the plane passes through the last point of the last path
    if not good:
        return None
    best = cores[good[-1]]
    drawn = {name: runs[name] for name in good}
    along = own_plane(best.params)
    try:
        scape = landscape(best, data, along, size, None, drawn, 0, threads, verify)
    except DomainError:
        if along != "path":
            raise
        return None
    scape.paths = {name: scape.paths[name] for name in runs if name in scape.paths}
    return scape
