"""Models of several outputs: what ``predict`` gives has the form in which the outputs were declared."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

import graphc as gc
from graphc.errors import ShapeError, TypeMismatchError
from graphc.facade import checkpoint
from tests.interpreted import interpreted

X, T = gc.input("X", ("n", 2)), gc.input("T", ("n", 1))
W, V = gc.param("W", (2, 1), gc.normal(1.0)), gc.param("V", (2, 1), gc.normal(1.0))
MEAN, SD = (X @ W).named("mean"), gc.softplus(X @ V)
LOSS = gc.mean(gc.log(SD) + 0.5 * ((T - MEAN) / SD) ** 2)
x = np.random.default_rng(0).normal(size=(5, 2)).astype("float32")


@pytest.fixture(autouse=True)
def by_numpy():
    with interpreted():
        yield


def model_of(output: object) -> gc.Model:
    model = gc.Model(output=output, loss=LOSS, metrics={"mse": gc.losses.mse(MEAN, T)})
    model.params = {"W": [[1.0], [2.0]], "V": [[0.5], [-1.0]]}
    return model


def wanted() -> list[np.ndarray]:
    return [x @ [[1.0], [2.0]], np.logaddexp(0, x @ [[0.5], [-1.0]])]


def through_pickle(model: gc.Model) -> gc.Model:
    return pickle.loads(pickle.dumps(model))  # noqa: S301  our own bytes


@pytest.mark.parametrize("again", [lambda m: m, copy.copy, through_pickle])
def test_a_list_and_a_dict_come_back_as_they_were_given(again):
    """Also of copies. Mutation-checked: the names in another order are seen by the values."""
    listed, named = again(model_of((MEAN, SD))), again(model_of({"sd": SD, "mean": MEAN}))
    found, by_name = listed.predict(x), named.predict(x)
    assert type(found) is list and list(by_name) == ["sd", "mean"] and list(listed.outputs) == ["mean", "output1"]
    for values in (found, [by_name["mean"], by_name["sd"]]):
        for a, b in zip(values, wanted(), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5)
    assert listed.evaluate(x, x[:, :1]) == named.evaluate(x, x[:, :1])


def test_a_list_of_one_stays_a_list_and_equal_names_become_numbers():
    [only] = model_of([MEAN]).predict(x)
    np.testing.assert_allclose(only, wanted()[0], rtol=1e-5)
    assert list(model_of([MEAN, MEAN]).outputs) == ["output0", "output1"]


@pytest.mark.parametrize(("output", "form"), [([MEAN, SD], list), ({"a": SD}, dict), (MEAN, np.ndarray)])
def test_the_form_is_kept_in_files_and_known_of_older_ones(output, form, tmp_path):
    path = tmp_path / "model.safetensors"
    model_of(output).save(path)
    assert type(gc.Model.load(path).predict(x)) is form
    with safe_open(str(path), framework="numpy") as file:
        tensors, text = {n: file.get_tensor(n) for n in file.keys()}, file.metadata()["graphc"]  # noqa: SIM118
    older = text.replace(f'"form": "{model_of(output)._core._form}"', f'"single": {str(form is np.ndarray).lower()}')
    save_file(tensors, str(path), {"graphc": older, "digest": checkpoint._digest(older, tensors)})
    assert type(gc.Model.load(path).predict(x)) is (dict if form is list else form)


def test_every_view_takes_several_outputs(tmp_path):
    model = model_of([MEAN, SD])
    assert "mean (n, 1), output1 (n, 1)" in str(model) and "∂J/∂V" in str(model.derive(V))
    assert "softplus(Z1[i])" in str(model.graph()) and "def train" in str(model.source())
    assert "mean[i] = Σ_k X[i,k]·W[k]" in str(model.certificate())
    model.report(tmp_path / "report.html")
    assert "softplus" in (tmp_path / "report.html").read_text("utf-8")
    with pytest.raises(ShapeError, match=r"one input of shape \(n, 2\).*its outputs are mean, output1"):
        gc.plot_decision(model, x, x[:, 0], tmp_path / "boundary.png")


@pytest.mark.parametrize("output", [[], {}, [3.0]])
def test_outputs_that_are_none_are_refused(output):
    with pytest.raises(TypeMismatchError, match=r"has no Tensor in it|the output is 3\.0, no Tensor"):
        gc.Model(output=output)


def test_networks_with_names_stand_in_one_model():
    """Layers of layers nest their parameters: all names begin alike."""
    trunk = gc.nn.sequential(X, gc.nn.Dense(4, "tanh"), name="t")
    heads = [gc.nn.sequential(trunk, gc.nn.Residual(gc.nn.Dense(4)), gc.nn.Dense(1), name=n) for n in "ab"]
    model = gc.Model(output=heads)
    names = {"t_W0", "t_B0"} | {f"{n}_{letter}{k}" for n in "ab" for letter in "WB" for k in range(2)}
    assert set(model.params) == names
    with pytest.raises(gc.errors.NameClashError, match="the name '2d' of a network"):
        gc.nn.sequential(X, gc.nn.Dense(1), name="2d")
