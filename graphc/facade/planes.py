"""Directions through the parameters of a model: what a landscape is drawn along.

Directions are vectors as long as the flat storage of the parameters; places between parameters hold 0.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from graphc.errors import DataError, DomainError, ShapeError, UnknownNameError
from graphc.facade.state import Parameters
from graphc.ir.letters import close_name
from graphc.records import record

Product = Callable[[NDArray], NDArray]
MARGIN = 0.2  # of the extent of a path, on each side
LANCZOS, RESIDUAL = 200, 1e-5  # steps at most; of the largest eigenvalue
_ELEMENT = re.compile(r"\s*(\w+)\s*(?:\[([\d\s,]*)\])?\s*")


@record
class Plane:
    """Where a landscape lies: ``origin + sum_d c[d]*directions[d]``, and between which coefficients it is drawn.

    ``shift`` is added to the coefficients to give the numbers on the axes: the value of an element.
    """

    names: tuple[str, ...]
    origin: NDArray
    directions: NDArray
    ranges: tuple[tuple[float, float], ...]
    shift: tuple[float, ...] = (0.0, 0.0)
    explained: tuple[float, ...] | None = None
    curvatures: tuple[float, ...] | None = None

    def project(self, points: NDArray) -> NDArray:
        """The coefficients nearest to some points: shape (points, directions)."""
        away = np.asarray(points, dtype=np.float64) - self.origin
        return np.linalg.lstsq(self.directions.T, away.T, rcond=None)[0].T


def random_plane(params: Parameters, seed: int) -> Plane:
    """Two random directions, each filter scaled to the norm of the filter of the parameters: d <- d ‖θ‖/‖d‖.

    A filter is what makes one neuron: a column of a matrix, all but the last axis of larger arrays, a whole vector
    (Li, Xu, Taylor, Studer, Goldstein 2018, "Visualizing the loss landscape of neural nets", section 4).
    """
    rng = np.random.default_rng(seed)
    directions = np.stack([_filtered(params, rng) for _ in range(2)])
    if not directions.any():
        message = "landscape: all parameters are 0, so directions scaled like them are 0 too"
        raise DomainError(f"{message}\n  hint: fit or initialize the model first, or draw along=(name, name)")
    if _free(params) < 2:
        raise DomainError(_one_number(params))
    names = "random direction 1 (filter-normalised)", "random direction 2 (filter-normalised)"
    return Plane(names, _origin(params), directions, ((-1.0, 1.0), (-1.0, 1.0)))


def _free(params: Parameters) -> int:
    return sum(params[name].size for name in params.trained)


def _one_number(params: Parameters) -> str:
    return f"landscape: the model has one parameter number, and a plane needs two\n  hint: along={next(iter(params))!r}"


def _filtered(params: Parameters, rng: np.random.Generator) -> NDArray:
    flat = np.zeros(params.flat.size)
    for name in params.trained:
        w = np.asarray(params[name], dtype=np.float64)
        d = rng.standard_normal(w.shape)
        axes = tuple(range(w.ndim - 1)) if w.ndim > 1 else None
        scale = [np.sqrt(np.sum(v * v, axis=axes, keepdims=True)) for v in (w, d)]
        start = params.start(name)
        flat[start : start + w.size] = (d * (scale[0] / np.maximum(scale[1], 1e-300))).ravel()
    return flat


def _origin(params: Parameters) -> NDArray:
    return params.flat.astype(np.float64)


def path_plane(points: Sequence[NDArray]) -> Plane:
    """The two principal components of a trajectory, through its last point; ``explained``: their shares of variance."""
    path = np.asarray(points, dtype=np.float64)
    if len(path) < 3:
        message = f"landscape: the path has {len(path)} points, and its plane needs three"
        raise DomainError(f"{message}\n  hint: fit for more epochs with callbacks=[gc.Trajectory()]")
    away = path - path.mean(axis=0)
    long = len(path) > path.shape[1]
    size, axes = np.linalg.eigh(away.T @ away if long else away @ away.T)  # the smaller matrix; both have these values
    size, axes = np.maximum(size[::-1], 0.0), axes[:, ::-1]
    if not size[0] > 0:
        raise DomainError("landscape: the path does not move\n  hint: train with a larger learning rate, or longer")
    if not size[1] > 1e-12 * size[0]:
        message = "landscape: the path is a straight line, which has no plane of its own"
        raise DomainError(f'{message}\n  hint: draw it over along="random" with runs=run, or over two elements')
    directions = (axes[:, :2] if long else away.T @ axes[:, :2] / np.sqrt(size[:2])).T
    explained = float(size[0] / size.sum()), float(size[1] / size.sum())
    names = tuple(f"component {d + 1} ({share:.1%} of the variance)" for d, share in enumerate(explained))
    plane = Plane(names, path[-1], directions, ((0.0, 1.0), (0.0, 1.0)), explained=explained)
    plane.ranges = covering(plane.project(path))
    return plane


def covering(places: NDArray) -> tuple[tuple[float, float], ...]:
    """The ranges that hold all places, with a margin."""
    low, high = places.min(axis=0), places.max(axis=0)
    room = MARGIN * np.maximum(high - low, 0.1 * np.max(high - low))
    return tuple(zip((low - room).tolist(), (high + room).tolist(), strict=True))


def elements_plane(params: Parameters, wanted: Sequence[str]) -> Plane:
    """One or two elements of parameters, ``"W0[0, 1]"``; their values stand on the axes."""
    if not 1 <= len(wanted) <= 2 or len(set(wanted)) < len(wanted):
        hint = 'along=("W0[0, 0]", "W0[0, 1]")'
        raise DomainError(f"landscape: along names {len(set(wanted))} elements, not one or two\n  hint: {hint}")
    places = [_place(params, name) for name in wanted]
    directions = np.zeros((len(places), params.flat.size))
    directions[np.arange(len(places)), places] = 1.0
    values = [float(params.flat[place]) for place in places]
    ranges = tuple((-r, r) for r in (max(1.0, 1.5 * abs(v)) for v in values))
    return Plane(tuple(wanted), _origin(params), directions, ranges, tuple(values))


def _place(params: Parameters, text: str) -> int:
    found = _ELEMENT.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        hint = 'along="random", "path", "hessian", another model, or elements such as ("W0[0, 1]", "B0[2]")'
        raise DomainError(f"landscape: {text!r:.60} is nothing to draw along\n  hint: {hint}")
    name, inside = found[1], found[2]
    if name not in params:
        words = [*params, "random", "path", "hessian"]
        raise UnknownNameError(f"landscape: no parameter is named {name!r}\n  hint: {close_name(name, words)}")
    shape = params[name].shape
    at = tuple(int(i) for i in inside.split(",") if i.strip()) if inside else (0,) * len(shape)
    if not inside and math.prod(shape) > 1:
        hint = f"name an element: {name}[{', '.join('0' * len(shape))}]"
        raise DomainError(f"landscape: {name} has shape {shape}\n  hint: {hint}")
    if len(at) != len(shape) or any(i >= n for i, n in zip(at, shape, strict=True)):
        message = f"landscape: {text} is no element of {name}, which has shape {shape}"
        raise ShapeError(f"{message}\n  hint: indices begin at 0")
    return params.start(name) + (int(np.ravel_multi_index(at, shape)) if shape else 0)


def line(params: Parameters, other: Mapping[str, NDArray], names: tuple[str, str]) -> Plane:
    """The straight line from these parameters (0) to others (1), and a quarter beyond both ends."""
    here, there = {n: params[n].shape for n in params}, {n: np.shape(other[n]) for n in other}
    if here != there:
        differs = next(n for n in [*here, *there] if here.get(n) != there.get(n))
        message = f"landscape: {differs} has shape {here.get(differs)} here and {there.get(differs)} in the other model"
        raise DataError(f"{message}\n  hint: a line is drawn between two models of one declaration")
    direction = np.zeros((1, params.flat.size))
    for name in params:
        start = params.start(name)
        step = np.asarray(other[name], dtype=np.float64) - np.asarray(params[name], dtype=np.float64)
        direction[0, start : start + step.size] = step.ravel()
    if not direction.any():
        raise DomainError("landscape: the two models have the same parameters\n  hint: train one of them further")
    return Plane((f"from {names[0]} (0) to {names[1]} (1)",), _origin(params), direction, ((-0.25, 1.25),))


def hessian_plane(params: Parameters, product: Product, loss: float, seed: int) -> Plane:
    """The two eigenvectors of the Hessian whose eigenvalues λ are largest in absolute value, as unit vectors.

    The range of each is where its parabola would be nine times the loss above it: 3 sqrt(2 J/|λ|).
    """
    used = np.zeros(params.flat.size, dtype=bool)
    for name in params.trained:
        used[params.start(name) : params.start(name) + params[name].size] = True
    if used.sum() < 2:
        raise DomainError(_one_number(params))
    values, vectors = leading(lambda v: product(_spread(v, used))[used], int(used.sum()), seed)
    directions = np.stack([_spread(v, used) for v in vectors])
    names = tuple(f"eigenvector {d + 1} of the Hessian (λ = {value:.3g})" for d, value in enumerate(values))
    sizes = [3 * math.sqrt(2 * max(abs(loss), 1e-2) / abs(v)) if v else 1.0 for v in values]
    return Plane(names, _origin(params), directions, tuple((-r, r) for r in sizes), curvatures=values)


def _spread(v: NDArray, used: NDArray) -> NDArray:
    flat = np.zeros(used.size)
    flat[used] = v
    return flat


def leading(product: Product, n: int, seed: int) -> tuple[tuple[float, float], NDArray]:
    """The two eigenvalues of a symmetric matrix that are largest in absolute value, and their eigenvectors as rows.

    Lanczos with full reorthogonalisation; a new random vector where the Krylov space is exhausted.
    """
    rng = np.random.default_rng(seed)
    basis, images = np.zeros((0, n)), np.zeros((0, n))
    q = rng.standard_normal(n)
    values, vectors = np.zeros(2), np.zeros((2, n))
    for k in range(min(n, LANCZOS)):
        q = _orthogonal(q, basis)
        size = np.linalg.norm(q)
        if not size > 1e-10 * max(1.0, float(np.abs(values[0]))):
            q = _orthogonal(rng.standard_normal(n), basis)
            size = np.linalg.norm(q)
        basis = np.vstack([basis, q / size])
        images = np.vstack([images, product(basis[-1])])
        if not np.isfinite(images[-1]).all():
            message = "landscape: the Hessian is not finite here"
            raise DomainError(f"{message}\n  hint: take another plane, or other parameters")
        small = basis @ images.T
        found, mix = np.linalg.eigh((small + small.T) / 2)
        order = np.argsort(-np.abs(found))[:2]
        if k:
            values, vectors = found[order], mix[:, order].T @ basis
            left = np.linalg.norm(mix[:, order].T @ images - values[:, None] * vectors, axis=1)
            if k > 4 and np.all(left <= RESIDUAL * abs(values[0])):
                break
        q = images[-1].copy()
    vectors *= np.sign(vectors[np.arange(2), np.abs(vectors).argmax(axis=1)])[:, None]
    return (float(values[0]), float(values[1])), vectors


def _orthogonal(q: NDArray, basis: NDArray) -> NDArray:
    for _ in range(2):  # twice is enough (Parlett 1998)
        q = q - basis.T @ (basis @ q)
    return q
