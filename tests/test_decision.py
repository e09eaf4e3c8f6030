"""Boundaries of decision and films of runs: what they show, and what cannot be shown."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from PIL import Image

import graphc as gc
from graphc.errors import DomainError, ShapeError
from graphc.facade import deciding
from tests import nets

X = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
T = np.array([[0], [1], [1], [0]])


@pytest.fixture
def drawn(monkeypatch):
    """What a picture of a boundary was given."""
    found = []
    monkeypatch.setattr(deciding, "plot_boundary", lambda *args: found.append(args))
    return found


def test_the_picture_holds_the_output_at_every_point(drawn):
    model = nets.xor().initialize(2)
    gc.plot_decision(model, X, T, "unused.png")
    (a, b), heights, level, points, labels, names, _ = drawn[0]
    assert heights.shape == (201, 201) and level == 0.5 and names == ("X[:, 0]", "X[:, 1]")
    assert heights[3, 150] == model.predict(np.array([[a[3], b[150]]]))[0, 0]
    assert labels.tolist() == [0, 1, 1, 0] and np.array_equal(points, X)
    assert a[0] < 0 and b[-1] > 1


def test_numbers_that_may_be_any_are_cut_where_fewer_rows_lie_on_the_wrong_side():
    x, w = gc.input("x", ("n", 2)), gc.param("w", (2,), [1.0, 0.0])
    core = gc.Model(output=x @ w)._core
    column = np.array([[-1.0, 0.0], [-0.2, 0.0], [0.2, 0.0], [1.0, 0.0]])
    assert deciding._level(core, column, np.array([0, 0, 1, 1])) == 0.0
    assert deciding._level(core, column + 0.5, np.array([0, 0, 1, 1])) == 0.5


def test_a_picture_and_films_are_written(tmp_path):
    model = nets.xor().initialize(2)
    run = model.fit(X, T, optimizer=gc.SGD(1.0), epochs=3, batch_size=4, callbacks=[gc.Trajectory()])
    gc.plot_decision(model, X, T, tmp_path / "boundary.png")
    assert (tmp_path / "boundary.png").read_bytes().startswith(b"\x89PNG")
    before = model.params.flat.tobytes()
    for what in (None, "path"):
        run.animate(tmp_path / "fit.gif", what, seconds=1)
        with Image.open(tmp_path / "fit.gif") as film:
            assert film.format == "GIF" and film.n_frames == 4
    assert model.params.flat.tobytes() == before


def test_what_cannot_be_drawn_is_said():
    with pytest.raises(ShapeError, match=r"plot_decision: the output of model has to read one input of shape \(n, 2\)"):
        gc.plot_decision(nets.network(), *nets.data(), "unused.png")
    with pytest.raises(ShapeError, match=r"plot_decision: x has shape \(4, 2\) and t \(3, 1\)"):
        gc.plot_decision(nets.xor(), X, T[:3], "unused.png")
    model = nets.parabola()
    with pytest.raises(DomainError, match="the run kept no parameters on its way"):
        model.fit(optimizer=gc.SGD(0.05), epochs=3, batch_size=None).animate("unused.gif")
    run = model.fit(optimizer=gc.SGD(0.05), epochs=3, batch_size=None, callbacks=[gc.Trajectory()])
    with pytest.raises(DomainError, match="animate: what is 'film'"):
        run.animate("unused.gif", "film")
    with pytest.raises(DomainError, match="animate: the run came from a file"):
        copy.deepcopy(run).animate("unused.gif")
