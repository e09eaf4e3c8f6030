"""Curves in the terminal, pictures, and the formulas that notebooks show."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib import pyplot
from matplotlib.figure import Figure

import graphc as gc
from graphc.errors import DomainError, MissingExtraError
from graphc.show.plots import plot_history, text_curve
from tests import nets

ROOT = Path(__file__).parents[1]
X, T = nets.data(48)


@pytest.fixture
def drawn(monkeypatch):
    """The figures that were saved."""
    found: list[Figure] = []
    save = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda figure, *a, **k: (found.append(figure), save(figure, *a, **k))[1])
    return found


# ---------------------------------------------------------------- curves in the terminal


def test_a_curve_shows_least_and_largest_value_and_the_number_of_entries():
    assert text_curve([1, 2, 3], height=2, unit="epoch").splitlines() == [
        "         3 │  █",
        "         1 │▁██",
        "           └─── epoch 1 to 3",
    ]


def test_a_curve_over_more_than_a_power_of_ten_is_logarithmic():
    text = text_curve([100, 10, 1], height=2)
    assert text.splitlines()[:2] == ["       100 │█", "         1 │██▁"]
    assert text.endswith("1 to 3, logarithmic")
    assert "logarithmic" not in text_curve([100, 10, -1]) + text_curve([9.9, 1])


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_curve_marks_what_is_not_finite(bad):
    assert text_curve([1, bad, 3], height=1) == "         3 │▁x█\n           └─── 1 to 3"
    assert text_curve([bad], height=1) == "           │x\n           └─ 1 to 1"


def test_a_long_curve_has_the_width_asked_for_and_averages():
    *rows, axis = text_curve([*[1.0] * 500, *[2.0] * 500], width=2, height=3).splitlines()
    assert rows[-1].endswith("│▁█") and axis == "           └── 1 to 1000"


def test_a_curve_of_nothing_says_so_and_one_without_room_is_an_error():
    assert text_curve([]) == "no values"
    with pytest.raises(DomainError, match=r"a curve of 0 columns and 3 lines has no room\n  hint: "):
        text_curve([1.0], width=0, height=3)


# ---------------------------------------------------------------- pictures


def test_a_run_recorded_by_step_draws_steps_and_epochs_on_axes_of_their_own(drawn, tmp_path):
    run = nets.network("float32").fit(X, T, epochs=3, batch_size=8, validation=(X, T), record="step")
    run.plot(tmp_path / "loss.png")
    axes = drawn[0].axes
    assert [a.get_xlabel() for a in axes][:2] == ["step", "epoch"]
    assert [a.get_ylabel() for a in axes][:2] == ["loss", "val_loss"]
    assert [len(a.lines[0].get_xdata()) for a in axes][:2] == [18, 3]
    assert run.curve(height=2).endswith("step 1 to 18")


def test_a_run_recorded_by_epoch_draws_both_losses_on_one_axis(drawn, tmp_path):
    history = {"loss": [2.0, 0.1], "accuracy": [0.5, 0.9], "val_loss": [2.0, 0.2], "val_accuracy": [0.4, 0.8]}
    plot_history(history, tmp_path / "loss.png", dict.fromkeys(history, "epoch"))
    losses, accuracies = drawn[0].axes
    assert [line.get_label() for line in losses.lines] == ["loss", "val_loss"] and losses.get_yscale() == "log"
    assert [line.get_label() for line in accuracies.lines] == ["accuracy", "val_accuracy"]
    assert accuracies.get_ylabel() == "accuracy" and accuracies.get_yscale() == "linear"


def test_a_picture_leaves_backend_and_open_figures_of_the_user_alone(tmp_path):
    """Mutation-checked: matplotlib.use("Agg"), pyplot.close("all") and a figure left open in pyplot are caught."""
    matplotlib.use("svg")
    figure = pyplot.figure(7)
    try:
        gc.function("f", "z**2").plot(tmp_path / "f.png")
        assert matplotlib.get_backend() == "svg" and pyplot.get_fignums() == [7]
    finally:
        pyplot.close(figure)
        matplotlib.use("agg")


def test_a_picture_without_matplotlib_is_an_error_that_names_the_extra(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError, match=r"^plots need matplotlib\n  hint: .*pip install 'graphc\[plot\]'$"):
        plot_history({"loss": [1.0]}, tmp_path / "loss.png", {"loss": "epoch"})


def test_a_function_draws_itself_and_its_derivatives(drawn, tmp_path):
    gc.function("cubic", "z**3").plot(tmp_path / "new" / "f.png", low=-2, high=2, order=2)
    lines = {line.get_label(): line for line in drawn[0].axes[0].lines[:3]}
    x = np.linspace(-2, 2, len(lines["cubic"].get_xdata()))
    for name, y in (("cubic", x**3), ("cubic'", 3 * x**2), ("cubic''", 6 * x)):
        np.testing.assert_allclose(lines[name].get_ydata(), y, atol=1e-12)
    assert drawn[0].axes[0].get_title() == "cubic(z) = z**3"


def test_a_function_with_a_constant_derivative_or_a_gap_in_its_domain_is_drawn(drawn, tmp_path):
    gc.function("twice", "2*z").plot(tmp_path / "a.png")
    gc.function("ln", "log(z)").plot(tmp_path / "b.png")
    assert set(drawn[0].axes[0].lines[1].get_ydata()) == {2.0}
    assert np.isnan(drawn[1].axes[0].lines[0].get_ydata()[0])


@pytest.mark.parametrize(("low", "high"), [(1, 1), (2, -2), (0, math.inf)])
def test_a_function_is_not_drawn_over_nothing(low, high, tmp_path):
    with pytest.raises(DomainError, match=rf"f\.plot: there is nothing from {low} to {high}(?s:.*)give low < high"):
        gc.function("f", "z**2").plot(tmp_path / "f.png", low=low, high=high)


# ---------------------------------------------------------------- notebooks


def test_a_tensor_shows_its_equations_in_a_notebook():
    x, w, b = gc.input("X", ("n", 2)), gc.param("W0", (2, 3), 0.1), gc.param("b", (3,), 0.0)
    assert gc.tanh(x @ w + b).named("H")._repr_latex_() == (
        "$$\n\\begin{aligned}\n"
        "{Z_{0}}_{i,j} &= \\sum_{k} X_{i,k}\\, {W_{0}}_{k,j} + b_{j} \\\\\n"
        "H_{i,j} &= \\tanh\\left({Z_{0}}_{i,j}\\right)\n"
        "\\end{aligned}\n$$"
    )


def test_a_declared_tensor_shows_the_space_it_lies_in():
    assert gc.input("X", ("n", 2))._repr_latex_() == r"$X \in \mathbb{R}^{n \times 2}$"
    assert gc.input("T", ("n",), dtype="int64")._repr_latex_() == r"$T \in \mathbb{Z}^{n}$"
    assert gc.param("s", (), 1.0)._repr_latex_() == r"$s \in \mathbb{R}$"


def test_pictures_and_formulas_are_there_before_any_model_is_made():
    code = """
import sys, graphc as gc
f = gc.function("f", "z**2")
print(callable(f.plot), gc.input("X", ("n",))._repr_latex_(), "graphc.model" in sys.modules, "numba" in sys.modules)
"""
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == r"True $X \in \mathbb{R}^{n}$ False False"
