"""``landscape``: loss and metrics over a line or a plane through the parameters, all points in one native call."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphc.declare.entries import entry
from graphc.declare.tensor import Tensor
from graphc.errors import DomainError, TypeMismatchError
from graphc.facade import planes
from graphc.facade.calculus import compile, hvp
from graphc.facade.checking import verify_evaluation
from graphc.facade.core import Core
from graphc.facade.fitting import filled
from graphc.facade.planes import Plane
from graphc.facade.preparing import CHUNK, evaluator
from graphc.facade.state import Parameters
from graphc.ir.node import Leaf
from graphc.lower.training import layout_parameters
from graphc.native.stack import cores
from graphc.records import record
from graphc.run.data import Bound, bind
from graphc.run.history import Run
from graphc.run.sweep import evaluate_many, rows_of
from graphc.show.notebook import text_and_picture
from graphc.show.surfaces import plot_curve, plot_surface

MEMORY = 128 << 20  # bytes of parameters that one native call is given at most
Runs = Run | Mapping[str, Run] | None


@entry
@record
class Landscape:
    """Loss over a line or a plane through the parameters; ``plot(path)`` draws it.

    Attributes
    ----------
    loss : array of shape (size, size), or (size,) over a line
        ``loss[i, j]`` belongs to ``axes[0][i]`` and ``axes[1][j]``; it may be infinite or NaN far out.
    axes : tuple of arrays of shape (size,)
        Coefficients of the directions; for elements of parameters, their values.
    names : tuple of str
        What stands on the axes.
    metrics : dict of arrays shaped like ``loss``
    directions : tuple of dicts of arrays by parameter
        The parameters at coefficients (a, b) are ``origin + a*directions[0] + b*directions[1]``.
    origin : dict of arrays by parameter
    explained : tuple of float, optional
        Of the plane of a path: the share of its variance along each axis.
    curvatures : tuple of float, optional
        Of the plane of the Hessian: its eigenvalues.
    paths : dict of arrays of shape (points, axes)
        The runs, projected: the nearest point of the plane.
    seconds : float
        Time in the native code.
    """

    loss: NDArray
    axes: tuple[NDArray, ...]
    names: tuple[str, ...]
    metrics: dict[str, NDArray]
    directions: tuple[dict[str, NDArray], ...]
    origin: dict[str, NDArray]
    explained: tuple[float, ...] | None
    curvatures: tuple[float, ...] | None
    plane: Plane = field(repr=False)
    paths: dict[str, NDArray] = field(default_factory=dict)
    seconds: float = 0.0

    def project(self, run: Run) -> NDArray:
        """Where a run went, on the axes: shape (points, axes)."""
        return self.plane.project(np.stack(points_of(run))) + np.array(self.plane.shift[: len(self.axes)])

    def plot(self, path: str | Path, runs: Runs = None) -> None:
        """Write contours and a surface (over a line: a curve) to a picture; needs the extra ``plot``.

        Parameters
        ----------
        path : str or Path
        runs : Run, or dict of Runs by name, optional
            Drawn over it beside the paths that are there.

        Raises
        ------
        MissingExtraError
            When matplotlib is not installed.
        """
        paths = self.paths | {name: self.project(run) for name, run in by_name(runs).items()}
        if len(self.axes) == 1:
            plot_curve(self.axes[0], self.loss, self.names[0], path)
        else:
            plot_surface(self.axes, self.loss, self.names, paths, path)

    def __repr__(self) -> str:
        return f"<Landscape along {', '.join(self.names)}; print it for its extent>"

    def _repr_html_(self) -> str:
        return text_and_picture(str(self), self.plot)

    def __str__(self) -> str:
        shape = " x ".join(str(len(a)) for a in self.axes)
        lines = [f"loss at {shape} points, {self.seconds:.3g} s"]
        lines += [f"  {name}: {a[0]:.4g} to {a[-1]:.4g}" for name, a in zip(self.names, self.axes, strict=True)]
        if np.isfinite(self.loss).any():
            at = np.unravel_index(int(np.nanargmin(self.loss)), self.loss.shape)
            where = ", ".join(f"{a[i]:.4g}" for a, i in zip(self.axes, at, strict=True))
            lines.append(f"  least {self.loss[at]:.4g} at ({where}), largest {np.nanmax(self.loss):.4g}")
        return "\n".join(lines)


def by_name(runs: Runs) -> dict[str, Run]:
    """Runs by name; one alone is named path."""
    if runs is None:
        return {}
    named = dict(runs) if isinstance(runs, Mapping) else {"path": runs}
    for name, run in named.items():
        if not isinstance(run, Run):
            message = f"landscape: {name} is {run!r:.60}, no Run"
            raise TypeMismatchError(f"{message}\n  hint: pass what fit returned, or a dict of them by name")
    return named


def points_of(run: Run) -> list[NDArray]:
    """The parameters that a run passed.

    Raises
    ------
    DomainError
        When they were not kept.
    """
    if run.trajectory is None:
        message = "landscape: the run kept no parameters on its way"
        raise DomainError(f"{message}\n  hint: fit(..., callbacks=[gc.Trajectory()]) keeps them")
    return run.trajectory.points


def own_plane(params: Parameters) -> Any:
    """The two numbers of a model that has no more, else the plane of the path."""
    places = [(n, at) for n, w in params.items() if w.size <= 2 for at in np.ndindex(w.shape)]
    if len(places) != 2 or sum(w.size for w in params.values()) != 2:
        return "path"
    return tuple(f"{n}[{', '.join(map(str, at))}]" if at else n for n, at in places)


def landscape(
    core: Core,
    args: Sequence[Any],
    along: Any,
    size: int,
    reach: Any,
    runs: Runs,
    seed: int,
    threads: int | None,
    verify: bool,
) -> Landscape:
    """What :meth:`graphc.Model.landscape` gives; ``along`` is a word, names, or parameters with the model's name."""
    core.needs_loss()
    _check(size, threads)
    inputs = core.training_inputs
    data = bind(inputs, filled(inputs, args), core.dtype, core.label_limits, "landscape")
    core.check_rows(data.lengths)
    core.params.initialize(0)
    named = by_name(runs)
    every = Points(core, data, threads, verify)
    plane = _plane(core, data, along, named, seed, every)
    if named and reach is None and len(plane.names) == 2:
        places = np.concatenate([plane.project(np.stack(points_of(run))) for run in named.values()])
        plane.ranges = _joint(planes.covering(places), plane.ranges if along == "random" else None)
    ranges = plane.ranges if reach is None else _reach(reach, len(plane.names))
    axes = [np.linspace(low, high, int(size)) for low, high in ranges]
    started = time.perf_counter()
    values = every.losses(plane, np.stack([a.ravel() for a in np.meshgrid(*axes, indexing="ij")], axis=1))
    seconds = time.perf_counter() - started
    shape = (int(size),) * len(axes)
    means = zip(("loss", *core.metric_names), (v.reshape(shape) for v in values.T), strict=True)
    losses = core.metrics.report(dict(means))
    apart = [_apart(core, d) for d in (plane.origin, *plane.directions)]
    made = Landscape(
        losses.pop("loss"), tuple(a + s for a, s in zip(axes, plane.shift, strict=False)), plane.names, losses,
        tuple(apart[1:]), apart[0], plane.explained, plane.curvatures, plane, seconds=seconds,
    )  # fmt: skip
    made.paths = {name: made.project(run) for name, run in named.items()}
    return made


def _check(size: Any, threads: Any) -> None:
    for name, value, least in (("size", size, 2), ("threads", threads, 1)):
        if value is None and name == "threads":
            continue
        if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < least:
            raise DomainError(f"landscape: {name} is {value!r:.60}\n  hint: give a whole number of at least {least}")


def _reach(reach: Any, count: int) -> tuple[tuple[float, float], ...]:
    """``1.5`` means -1.5 to 1.5 along every direction; a pair gives one number a direction."""
    try:
        each = np.broadcast_to(np.asarray(reach, dtype=np.float64), (count,)).tolist()
    except (TypeError, ValueError):
        each = [np.nan]
    if not all(np.isfinite(r) and r > 0 for r in each):
        raise DomainError(f"landscape: reach is {reach!r:.60}\n  hint: give a positive number, or one a direction")
    return tuple((-r, r) for r in each)


def _joint(a: tuple, b: tuple | None) -> tuple[tuple[float, float], ...]:
    return a if b is None else tuple((min(x[0], y[0]), max(x[1], y[1])) for x, y in zip(a, b, strict=True))


def _plane(core: Core, data: Bound, along: Any, runs: dict[str, Run], seed: int, every: Points) -> Plane:
    params = core.params
    if not len(params):
        raise DomainError(f"landscape: {core.name} has no parameters\n  hint: declare some with gc.param")
    if isinstance(along, tuple) and len(along) == 2 and isinstance(along[1], Mapping):
        return planes.line(params, along[1], (core.name, along[0]))
    if along == "random":
        return planes.random_plane(params, seed)
    if along == "path":
        return _of_paths(core, runs)
    if along == "hessian":
        [[here, *_]] = every.at_points(params.flat[None]).tolist()
        return planes.hessian_plane(params, _hessian_product(core, data), here, seed)
    return planes.elements_plane(params, (along,) if isinstance(along, str) else _names(along))


def _names(along: Any) -> list[str]:
    if not isinstance(along, list | tuple):
        hint = 'along="random", "path", "hessian", another model, or elements such as ("W0[0, 1]", "B0[2]")'
        raise TypeMismatchError(f"landscape: {along!r:.60} is nothing to draw along\n  hint: {hint}")
    return list(along)


def _of_paths(core: Core, runs: dict[str, Run]) -> Plane:
    """The plane of the points of all runs, else of the last one."""
    if not runs:
        if core.last_run is None or core.last_run.trajectory is None:
            message = f"landscape: {core.name} has no run that kept its path"
            raise DomainError(f"{message}\n  hint: fit(..., callbacks=[gc.Trajectory()]) keeps it")
        runs["path"] = core.last_run
    return planes.path_plane([p for run in runs.values() for p in points_of(run)])


def _apart(core: Core, flat: NDArray) -> dict[str, NDArray]:
    """A flat vector by parameter."""
    params = Parameters(layout_parameters(core.kept_leaves), "float64")
    params.restore(flat)
    return {name: np.array(params[name]) for name in params}


class Points:
    """Loss and metrics of a model at many points of its parameters."""

    def __init__(self, core: Core, data: Bound, threads: int | None = None, verify: bool = True) -> None:
        self.core, self.rows, names = core, data.lengths, ("loss", *core.metric_names)
        compiled, self.program = evaluator(core, (), names, data.lengths)
        if verify:
            verify_evaluation(core, compiled, (), names, data)
        self.shared = [compiled.constants, *(data.arrays[leaf] for leaf in compiled.facts.inputs)]
        self.seconds = compiled.facts.seconds_per_step * -(-data.rows // CHUNK)
        self.threads = threads or cores()

    def losses(self, plane: Plane, places: NDArray) -> NDArray:
        """At ``origin + places @ directions``: shape (places, 1 + metrics)."""
        part = max(self.threads, MEMORY // max(plane.origin.nbytes, 1))
        return np.concatenate([self._part(plane, places[k : k + part]) for k in range(0, len(places), part)])

    def _part(self, plane: Plane, places: NDArray) -> NDArray:
        dtype = np.dtype(self.core.dtype)
        points = rows_of(len(places), plane.origin.size, dtype)
        inside = points[:, : plane.origin.size]
        np.matmul(places.astype(dtype), plane.directions.astype(dtype), out=inside)
        inside += plane.origin.astype(dtype)
        return self.at(points)

    def at_points(self, flats: NDArray) -> NDArray:
        """At given points, one a row: shape (points, 1 + metrics)."""
        points = rows_of(len(flats), flats.shape[1], np.dtype(self.core.dtype))
        points[:, : flats.shape[1]] = flats
        return self.at(points)

    def at(self, points: NDArray) -> NDArray:
        """At points as :func:`graphc.run.sweep.rows_of` holds them: shape (points, 1 + metrics)."""
        expected = self.seconds * len(points) / self.threads
        return evaluate_many(self.program, points, self.shared, self.rows, self.threads, expected)


def _hessian_product(core: Core, data: Bound) -> Any:
    """v -> H v over flat vectors, in float64: one compiled function, the gradient of <grad J, v>."""
    weights = [Tensor(leaf) for leaf in core.param_leaves]
    vectors = [Tensor(Leaf(f"v_{leaf.name}", leaf.shape, "input")) for leaf in core.param_leaves]
    inputs = [Tensor(leaf) for leaf in core.training_inputs]
    function = compile(hvp(core.needs_loss(), weights, vectors), [*inputs, *weights, *vectors])
    given = [data.arrays[leaf.node] for leaf in inputs]  # pyright: ignore[reportArgumentType]  they are leaves
    values = [np.asarray(core.params[str(leaf.name)], dtype=np.float64) for leaf in core.param_leaves]
    places = [(core.params.start(str(leaf.name)), w.shape) for leaf, w in zip(core.param_leaves, values, strict=True)]

    def product(v: NDArray) -> NDArray:
        found = function(*given, *values, *(v[s : s + int(np.prod(shape))].reshape(shape) for s, shape in places))
        flat = np.zeros(v.size)
        for (start, shape), h in zip(places, found, strict=True):
            flat[start : start + int(np.prod(shape))] = np.broadcast_to(h, shape).ravel()
        return flat

    return product
