"""The facade: what a model shows of itself, and that users' names never get into a program's way."""

from __future__ import annotations

import ast
import re

import numpy as np
import pytest

import graphc as gc
from graphc.ir.letters import _TEMPORARY, LETTERS, RESERVED
from tests import nets

RNG = np.random.default_rng(0)
PLAIN = ("X", "T", *nets.SHAPES)
INITIAL = [RNG.normal(size=shape) for shape in nets.SHAPES.values()]
X, T = RNG.normal(size=(37, 3)), RNG.normal(size=(37, 2))


def network(names: tuple[str, ...] = PLAIN, rows: str = "n") -> gc.Model:
    """The network that all tests share, under other names."""
    x, t, *params = names
    inputs, targets = gc.input(x, (rows, 3)), gc.input(t, (rows, 2))
    W, B, V, C = (gc.param(n, a.shape, a) for n, a in zip(params, INITIAL))
    output = gc.tanh(inputs @ W + B) @ V + C
    return gc.Model(
        output=output, loss=gc.mean((output - targets) ** 2), metrics={"mae": gc.metrics.mae(output, targets)}
    )


def fit(model: gc.Model) -> list[float]:
    return model.fit(X, T, optimizer=gc.Adam(0.01), epochs=3, batch_size=8, seed=1).history["loss"]


@pytest.fixture(scope="module")
def trained() -> gc.Model:
    model = network()
    fit(model)
    return model


AWKWARD = [
    ("i", "k", "exp", "gemm", "step", "tanh"), ("a0", "u0_1", "c0", "q_c0", "v_m", "me"),
    ("Z0", "J", "δ0", "float", "f", "status"), ("m", "first_row", "H0", "f_cap", "f_", "at"),
    ("A", "PARTS", "F", "n_cap", "n", "K"),
]  # fmt: skip


def test_networks_under_names_that_a_program_uses_itself_end_where_plain_ones_do():
    """Five copies in one program, whose number of rows is named like the function that makes constants.

    Mutation-checked: names that are not reserved do not compile, or give other parameters.
    """
    copies = [network(names, "f") for names in AWKWARD]
    total = sum((copy._core._loss for copy in copies[1:]), copies[0]._core._loss)
    model = gc.Model(loss=total)
    data = {name: array for names in AWKWARD for name, array in zip(names, (X, T))}
    found = model.fit(data, optimizer=gc.Adam(0.01), epochs=3, batch_size=8, seed=1).history["loss"]
    alone = network()
    np.testing.assert_allclose(found, 5 * np.array(fit(alone)), rtol=1e-6)
    for names in AWKWARD:
        for name, plain in zip(names[2:], PLAIN[2:]):
            np.testing.assert_array_equal(model.params[name], alone.params[plain], err_msg=name)


def test_every_local_of_a_program_is_reserved(trained):
    function = next(n for n in ast.parse(trained.source()).body if isinstance(n, ast.FunctionDef))
    stored = {n.id for n in ast.walk(function) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    loose = {n for n in stored if n not in RESERVED and n not in LETTERS and not _TEMPORARY.fullmatch(n)}
    assert loose <= {"n"}


def test_the_source_shown_is_the_source_compiled_with_every_formula_number(trained):
    """The same program, line for line: what is compiled has the numbers of kernels where formulas stand."""
    source, compiled = trained.source(), trained._core.last_compiled.text.text
    assert source == str(trained.explain("source"))
    trees = [ast.dump(ast.parse(text), include_attributes=True) for text in (source, compiled)]
    assert trees[0] == trees[1]
    numbers = {line.number for line in trained.derive().lines if line.number}
    assert numbers and all(re.search(rf"# .*\({n}\)\n", source) for n in numbers)
    for line in trained.derive().lines:
        assert line.index in source


def test_a_derivation_takes_tensors_and_names_and_has_the_model_s_numbers(trained):
    assert len(trained.derive("W0").lines) == 8 and len(trained.derive().lines) == 11
    text = trained.derive("W1").numbers({"X": X, "T": T}, row=3)
    z = X[3] @ trained.params["W0"][:, 0].astype(float) + float(trained.params["B0"][0])
    assert f"{z:.4g}" in text.splitlines()[0]
    with pytest.raises(gc.errors.UnknownNameError, match="'W2' is no parameter of model(?s:.*)known are B0, B1, W0"):
        trained.derive("W2")


@pytest.mark.parametrize(
    ("stage", "expected"),
    [
        ("formula", r"H0\[i,j\] = tanh\(Z0\[i,j\]\)"),
        ("gradient", r"∂J/∂W0\[k,j\] = Σ_i X\[i,k\]·δ0\[i,j\] = Xᵀ δ0"),
        ("rewritten", "No rule fired"),
        ("kernels", r"matrix product \(emitted tiles\)"),
        ("plan", r"arena: \d+ bytes"),
    ],
)
def test_every_stage_explains_itself(trained, stage, expected):
    page = trained.explain(stage)
    assert re.search(expected, str(page)) and page._repr_html_().startswith("<pre ")


def test_an_unknown_stage_is_an_error_with_a_suggestion(trained):
    with pytest.raises(gc.errors.DomainError, match="there is no stage 'formulas'(?s:.*)did you mean 'formula'"):
        trained.explain("formulas")


def test_the_gradient_check_passes_and_notices_a_wrong_gradient():
    x = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    data, model = (x, x[:, :1] ^ x[:, 1:]), nets.xor()
    check = model.check(*data)
    assert check.passed and "gradients agree" in str(check)
    leaf = model._core.param_leaves[0]
    other = gc.Model(loss=model._core._loss + 0.01 * gc.sum(gc.Tensor(leaf) ** 2))
    graph = other._core.differentiated()
    assert graph.gradients[leaf] is not model._core.differentiated().gradients[leaf]
    graph.gradients.update(model._core.differentiated().gradients)
    wrong = other.check(*data)
    assert not wrong.passed and "GRADIENTS DIFFER" in str(wrong)


def test_a_run_draws_its_curve_and_writes_its_plot(trained, tmp_path):
    run = trained.last_run
    assert "█" in run.curve(width=20, height=4) and len(run.curve(height=4).splitlines()) == 5
    run.plot(tmp_path / "loss.png")
    assert (tmp_path / "loss.png").read_bytes().startswith(b"\x89PNG")


def test_a_model_without_loss_predicts_but_does_not_train():
    x = gc.input("X", ("n", 3))
    model = gc.Model(output={"twice": 2 * x, "rows": gc.sum(x, axis=1)})
    found = model.predict(X)
    np.testing.assert_allclose(found["twice"], 2 * X.astype("float32"))
    np.testing.assert_allclose(found["rows"], X.astype("float32").sum(axis=1), rtol=1e-5)
    with pytest.raises(gc.errors.TypeMismatchError, match="model has no loss"):
        model.fit(X)
