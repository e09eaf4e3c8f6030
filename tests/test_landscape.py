"""Loss over planes and lines of parameters: each point is what evaluate gives, planes are what they are said to be."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.decomposition import PCA

import graphc as gc
from graphc.errors import DataError, DomainError, ShapeError, TypeMismatchError, UnknownNameError
from graphc.facade.planes import leading, path_plane
from tests import nets

X, T = nets.data(300)  # more than one chunk of rows


@pytest.fixture(scope="module")
def trained():
    """A model after twelve epochs, and its run with the path."""
    model = nets.network().initialize(3)
    run = model.fit(X, T, optimizer=gc.SGD(0.05), epochs=12, batch_size=8, callbacks=[gc.Trajectory()])
    return model, run


def at(scape, *coefficients):
    """The parameters at a point of the plane."""
    return {
        name: scape.origin[name] + sum(c * d[name] for c, d in zip(coefficients, scape.directions, strict=True))
        for name in scape.origin
    }


def test_every_point_is_what_evaluate_gives_there_with_any_number_of_threads(trained):
    model, _ = trained
    before = model.params.flat.tobytes()
    one = model.landscape(X, T, size=4, threads=1)
    two = model.landscape(X, T, size=4, threads=2)
    assert one.loss.tobytes() == two.loss.tobytes() and one.loss.shape == (4, 4)
    other = nets.network()
    for i, a in enumerate(one.axes[0]):
        for j, b in enumerate(one.axes[1]):
            other.params = at(one, a, b)
            found = other.evaluate(X, T)
            assert (one.loss[i, j], one.metrics["mae"][i, j]) == pytest.approx((found["loss"], found["mae"]), rel=1e-12)
    assert model.params.flat.tobytes() == before


def test_the_points_are_divided_when_they_would_take_too_much_memory(trained, monkeypatch):
    model, _ = trained
    whole = model.landscape(X, T, size=5).loss
    monkeypatch.setattr("graphc.facade.landscape.MEMORY", 1000)
    assert model.landscape(X, T, size=5, threads=2).loss.tobytes() == whole.tobytes()


def test_random_directions_have_the_norm_of_every_filter(trained):
    """A neuron's weights are a column; a vector of biases is one filter."""
    model, _ = trained
    scape = model.landscape(X, T, size=2, seed=4)
    for d in scape.directions:
        for name, w in model.params.items():
            norm = lambda v: np.linalg.norm(np.asarray(v), axis=0 if v.ndim > 1 else None)
            assert np.allclose(norm(d[name]), norm(w), rtol=1e-12)
    again, other = (model.landscape(X, T, size=2, seed=s).directions[0]["W0"] for s in (4, 5))
    assert np.array_equal(scape.directions[0]["W0"], again) and not np.allclose(again, other)


def test_the_plane_of_a_path_is_that_of_scikit_learn(trained):
    model, run = trained
    scape = model.landscape(X, T, size=3, along="path")
    pca = PCA(2).fit(np.stack(run.trajectory.points))
    assert scape.explained == pytest.approx(pca.explained_variance_ratio_.tolist(), rel=1e-9)
    offsets = [model.params.start(name) for name in scape.origin]
    for d, axis in zip(scape.directions, pca.components_, strict=True):
        mine = np.concatenate([v.ravel() for v in d.values()])
        theirs = np.concatenate([axis[s : s + v.size] for s, v in zip(offsets, d.values(), strict=True)])
        assert abs(mine @ theirs) == pytest.approx(1, rel=1e-9)
    assert scape.paths["path"].shape == (13, 2) and np.allclose(scape.paths["path"][-1], 0, atol=1e-12)
    for axis, places in zip(scape.axes, scape.paths["path"].T, strict=True):
        assert axis[0] < places.min() and places.max() < axis[-1]


def test_a_trajectory_keeps_the_parameters_before_the_first_step_and_after_the_last(trained):
    model, run = trained
    assert run.trajectory.steps == [38 * k for k in range(13)]
    assert np.array_equal(run.trajectory.points[0], nets.network().initialize(3).params.flat)
    assert np.array_equal(run.trajectory.points[-1], model.params.flat)
    kept = nets.network().initialize(3)
    kept = kept.fit(X, T, optimizer=gc.SGD(0.05), steps=90, batch_size=8, callbacks=[gc.Trajectory(every=2)])
    assert kept.trajectory.steps == [0, 76, 90]


def test_leading_eigenvectors_are_those_of_numpy_also_for_equal_eigenvalues():
    rng = np.random.default_rng(0)
    for n, values in ((40, rng.standard_normal(40)), (3, np.array([2.0, 2.0, 2.0])), (2, np.array([-3.0, 1.0]))):
        q = np.linalg.qr(rng.standard_normal((n, n)))[0]
        matrix = q @ np.diag(values) @ q.T
        found, vectors = leading(lambda v, matrix=matrix: matrix @ v, n, 0)
        assert found == pytest.approx(sorted(values, key=abs)[:-3:-1], rel=1e-8)
        assert np.allclose(matrix @ vectors.T, vectors.T * found, atol=1e-4) and np.allclose(
            vectors @ vectors.T, np.eye(2), atol=1e-8
        )


def test_the_plane_of_the_hessian_of_a_parabola_is_its_axes():
    scape = nets.parabola().landscape(size=3, along="hessian")
    assert scape.curvatures == pytest.approx((10, 1)) and "λ = 10)" in scape.names[0]
    assert np.allclose(np.abs([d["theta"] for d in scape.directions]), [[0, 1], [1, 0]], atol=1e-8)
    theta = [1 + a * scape.directions[0]["theta"] + b * scape.directions[1]["theta"]
             for a in scape.axes[0] for b in scape.axes[1]]  # fmt: skip
    assert np.allclose(scape.loss.ravel(), [(t[0] ** 2 + 10 * t[1] ** 2) / 2 for t in theta], rtol=1e-12)


def test_elements_by_name_have_their_values_on_the_axes(trained):
    model, _ = trained
    scape = model.landscape(X, T, size=3, along=("W0[2, 1]", "B1[0]"), reach=(0.5, 2))
    w, b = model.params["W0"][2, 1], model.params["B1"][0]
    assert np.allclose(scape.axes[0], [w - 0.5, w, w + 0.5]) and np.allclose(scape.axes[1], [b - 2, b, b + 2])
    assert scape.names == ("W0[2, 1]", "B1[0]") and scape.loss[1, 1] == pytest.approx(model.evaluate(X, T)["loss"])
    assert model.landscape(X, T, size=3, along="B1[0]").loss.shape == (3,)
    moved = nets.network()
    for name in model.params:
        moved.params[name] = model.params[name] + (0.5 * np.eye(3, 4, -1) * np.eye(3)[:, 2:] if name == "W0" else 0)
    assert scape.loss[2, 1] == pytest.approx(moved.evaluate(X, T)["loss"], rel=1e-9)


def test_a_line_goes_from_one_model_to_the_other(trained, tmp_path):
    model, _ = trained
    other = nets.network().initialize(8)
    scape = model.landscape(X, T, size=7, along=other)
    assert np.allclose(scape.axes[0], np.linspace(-0.25, 1.25, 7))
    assert scape.loss[1] == pytest.approx(model.evaluate(X, T)["loss"], rel=1e-9)
    assert scape.loss[5] == pytest.approx(other.evaluate(X, T)["loss"], rel=1e-9)
    scape.plot(tmp_path / "line.png")
    assert (tmp_path / "line.png").read_bytes().startswith(b"\x89PNG")


def test_a_picture_has_contours_a_surface_the_path_and_names_on_its_axes(trained, tmp_path, monkeypatch):
    model, run = trained
    figures = []
    monkeypatch.setattr("graphc.show.surfaces.save_figure", lambda figure, path: figures.append(figure))
    model.landscape(X, T, size=6, runs=run).plot(tmp_path / "plane.png")
    flat, solid, scale = figures[0].axes
    assert flat.get_xlabel() == "random direction 1 (filter-normalised)" and solid.get_ylabel() == "random direction 2"
    assert solid.get_zlabel() == scale.get_ylabel() != ""
    assert len(solid.lines) == 1 and "ring: start" in flat.get_legend().get_texts()[0].get_text()


def test_a_loss_that_is_not_finite_far_out_is_drawn(tmp_path):
    scape = nets.parabola().landscape(size=5, along=("theta[0]", "theta[1]"))
    scape.loss[0], scape.loss[1, 1] = np.inf, np.nan
    scape.plot(tmp_path / "holes.png")
    assert "largest inf" in str(scape)


ERRORS = {
    "size": (DomainError, {"size": 1}, "landscape: size is 1\n  hint: give a whole number of at least 2"),
    "reach": (DomainError, {"reach": -1}, "landscape: reach is -1\n  hint: give a positive number, or one a direction"),
    "name": (UnknownNameError, {"along": ("W9", "B1[0]")}, "landscape: no parameter is named 'W9'\n  hint: "),
    "element": (
        ShapeError,
        {"along": ("W0[3, 0]",)},
        "landscape: W0[3, 0] is no element of W0, which has shape (3, 4)",
    ),
    "matrix": (DomainError, {"along": "W0"}, "landscape: W0 has shape (3, 4)\n  hint: name an element: W0[0, 0]"),
    "three": (DomainError, {"along": ("B1[0]", "B1[1]", "B0[0]")}, "landscape: along names 3 elements, not one or two"),
    "number": (TypeMismatchError, {"along": 3}, "landscape: 3 is nothing to draw along\n  hint: along="),
    "run": (TypeMismatchError, {"runs": 3}, "landscape: path is 3, no Run\n  hint: pass what fit returned"),
    "no path": (DomainError, {"along": "path"}, "landscape: model has no run that kept its path\n  hint: "),
    "same": (
        DomainError,
        {"along": nets.network().initialize(0)},
        "landscape: the two models have the same parameters",
    ),
    "other": (DataError, {"along": nets.xor()}, "landscape: W0 has shape (3, 4) here and (2, 4) in the other model"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_what_cannot_be_drawn_is_said(case):
    kind, options, text = ERRORS[case]
    with pytest.raises(kind) as caught:
        nets.network().initialize(0).landscape(X, T, **options)
    lines = [line for line in str(caught.value).splitlines() if not line.startswith("  at ")]
    assert "\n".join(lines).startswith(text)


@pytest.mark.parametrize("shape", [(12, 40), (300, 5)])
def test_the_plane_of_a_path_is_that_of_its_principal_components_for_few_points_and_for_many(shape):
    """Mutation-checked: directions of the other of the two matrices."""
    path = np.random.default_rng(1).normal(size=shape).cumsum(axis=0)
    plane, found = path_plane([*path]), PCA(2).fit(path)
    np.testing.assert_allclose(plane.explained, found.explained_variance_ratio_, rtol=1e-10)
    turned = np.abs(np.asarray(plane.directions) @ found.components_.T)
    np.testing.assert_allclose(turned, np.eye(2), atol=1e-9)
