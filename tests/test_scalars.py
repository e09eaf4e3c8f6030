"""Parameters, inputs and outputs without axes, as the straight line of every first lecture has them."""

import numpy as np
import pytest

import graphc as gc
from graphc.cuda import selection
from graphc.emit.reference import evaluate
from graphc.errors import DataError
from tests.covering.plain import Plain, in_python

X, T, s = gc.input("X", ("n",)), gc.input("T", ("n",)), gc.input("s", ())
theta0, theta1 = gc.param("theta0", (), 0.0), gc.param("theta1", (), 1.0)
Y = theta0 + theta1 * X
J = gc.mean((Y - T) ** 2) * s
x = np.linspace(0, 1, 8)
t = 2 * x + 1
NUMBERS = [2, 2.0, np.float32(2), np.float64(2), np.array(2.0)]


def line() -> gc.Model:
    return gc.Model({"y": Y, "slope": theta1 * 2}, J, {"bend": theta0 * theta1}, dtype="float64")


def by_hand(steps: int, rate: float = 0.1) -> tuple[float, float]:
    a, b = 0.0, 1.0
    for _ in range(steps):
        error = a + b * x - t
        a, b = a - rate * 4 * error.mean(), b - rate * 4 * (error * x).mean()
    return a, b


@pytest.mark.parametrize("target", ["cpu", "cuda"])
def test_a_line_is_fitted_swept_predicted_and_evaluated_with_numbers_of_every_kind(target):
    with selection.use(), in_python(Plain(divides=True)):
        for number in NUMBERS if target == "cpu" else NUMBERS[-2:]:
            model = line()
            model.fit({"X": x, "T": t, "s": number}, optimizer=gc.SGD(0.1), steps=3, batch_size=None, target=target)
            found = float(model.params["theta0"]), float(model.params["theta1"])
            np.testing.assert_allclose(found, by_hand(3), rtol=1e-12)
        swept = model.sweep(x, t, 2.0, optimizer=gc.SGD(np.array([0.1, 0.2])), steps=3, batch_size=None, target=target)
        assert swept.model(0).params["theta1"] == found[1]
        said = model.predict(x, target=target)
        np.testing.assert_allclose(said["y"], found[0] + found[1] * x, rtol=1e-12)
        assert said["slope"].shape == () and said["slope"] == 2 * found[1]
        values = model.evaluate(x, t, np.float32(2), target=target)
        np.testing.assert_allclose(values["bend"], found[0] * found[1], rtol=1e-12)
        np.testing.assert_allclose(values["loss"], 2 * np.mean((said["y"] - t) ** 2), rtol=1e-12)


def test_a_line_is_derived_explained_saved_and_loaded(tmp_path):
    model = line()
    assert "∂J/∂theta0" in str(model.derive(theta0)) and "theta}_{1}" in model.derive("theta1").latex()
    assert "theta0" in model.derive().numbers({"X": x, "T": t, "s": 2.0})
    model.fit(x, t, 2.0, optimizer=gc.SGD(0.1), steps=3, batch_size=None)
    assert all(str(model.explain(stage)) for stage in ("formula", "gradient", "kernels", "plan", "source"))
    model.params = {"theta0": 1, "theta1": np.float32(0.5)}
    model.save(tmp_path / "line.safetensors")
    again = gc.Model.load(tmp_path / "line.safetensors")
    assert again.params["theta1"].shape == () and dict(again.params) == {"theta0": 1, "theta1": 0.5}


@pytest.mark.parametrize("value", [*NUMBERS, True, np.int8(2)])
def test_a_scalar_parameter_takes_a_number(value):
    model = line()
    model.params["theta1"] = value
    assert model.params["theta1"].shape == () and model.params["theta1"] == float(value)
    assert gc.param("a", (), value).shape == ()


@pytest.mark.parametrize("value", ["one", None, 1j, [1.0], np.nan])
def test_a_scalar_parameter_refuses_everything_else(value):
    with pytest.raises(DataError, match="hint"):
        line().params["theta0"] = value


def test_derivatives_by_scalars_of_every_order():
    f = theta0**3 * theta1**2
    v = gc.input("v", ())
    outputs = [
        *gc.grad(f, [theta0, theta1]),
        gc.hessian(f, theta0),
        gc.jacobian(Y, theta1),
        gc.jacobian(f, theta0),
        *gc.hvp(f, [theta0, theta1], [v, v]),
    ]
    values = {theta0: 2.0, theta1: np.float32(3), X: x, v: np.array(1)}
    found = evaluate([y.node for y in outputs], {leaf.node: np.asarray(a) for leaf, a in values.items()})
    wanted = [108, 48, 108, x, 108, 108 + 72, 72 + 16]
    assert [a.shape for a in found] == [np.shape(b) for b in wanted]
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-14)
