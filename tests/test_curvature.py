"""Optimizers that use curvature, beside SciPy's known minima."""

from __future__ import annotations

import numpy as np
import pytest

import graphc as gc
from graphc.errors import DomainError


def test_lbfgs_finds_the_minimum_of_rosenbrock_in_20_dimensions():
    x = gc.param("x", (20,), np.tile([-1.2, 1.0], 10))
    model = gc.Model(loss=gc.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2), dtype="float64")
    run = model.fit({}, optimizer=gc.LBFGS(), tol=1e-6, steps=157)  # SciPy takes 131
    assert run.stopped == "converged" and np.abs(model.params["x"] - 1).max() < 1e-6


def test_what_curvature_cannot_do_is_refused():
    x = gc.param("x", (2,), 1.0)
    model = gc.Model(loss=gc.sum(gc.exp(x)), dtype="float64")
    for call in (
        lambda: model.sweep({}, optimizer=gc.LBFGS()),
        lambda: model.fit({}, optimizer=gc.LBFGS(), target="cuda"),
        lambda: model.fit({}, optimizer=gc.LevenbergMarquardt()),
    ):
        with pytest.raises(DomainError):
            call()
