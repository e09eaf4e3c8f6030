"""What a compiled function takes: numbers for scalars, NaN, and the parameters that it turns out not to need."""

import copy
import pickle
from dataclasses import replace
from uuid import uuid4

import numpy as np
import pytest

import graphc as gc
from graphc.declare.tensor import Tensor
from graphc.errors import DataError, NameClashError, UnknownNameError
from graphc.facade.verifying import is_verified
from graphc.native.loader import statistics

X = gc.input("X", ("n", 2))
U = gc.input("U", ("m", 3))
A = gc.param("A", (1, 1, 1), gc.normal(1.0))
W0 = gc.param("W0", (2, 3), gc.normal(1.0))
W1 = gc.param("W1", (3, 1), gc.normal(1.0))
theta = gc.param("theta", (), 2.0)
H = gc.tanh(X @ W0) * theta
model = gc.Model(output=H @ W1, loss=gc.mean((H @ W1) ** 2))
J = gc.sum(gc.softplus(gc.softmax(A, axis=1)) ** 2) + gc.mean(gc.softmax(gc.reshape(U, ("m", 3, 1)), axis=2))
x = np.array([[1.0, 2.0], [-3.0, 0.5], [0.0, 1.0]])


@pytest.fixture(scope="module")
def function():
    """Its result depends on X, theta and W0 alone; of U it takes the number of rows."""
    return gc.compile([H, J, *gc.grad(J, [A, U]), gc.sum(0 * W0 + 1)], inputs=[X])


def given(**named):
    return {"U": np.ones((2, 3)), "W0": np.ones((2, 3)), "theta": 3.0} | named


def test_parameters_that_cancelled_and_those_of_later_layers_are_accepted_and_change_nothing(function):
    wanted = function(x, **given())
    more = function(x, A=np.ones((1, 1, 1)), **{**model.params, **given()})
    assert wanted[2].shape == (1, 1, 1) and wanted[3].shape == (2, 3)
    for a, b in zip(wanted, more, strict=True):
        assert a.tobytes() == b.tobytes()
    np.testing.assert_allclose(wanted[0], np.tanh(x @ np.ones((2, 3))) * 3, rtol=1e-12)
    np.testing.assert_allclose(wanted[1], np.log1p(np.e) ** 2 + 1, rtol=1e-12)


@pytest.mark.parametrize("value", [3, 3.0, np.float32(3), np.int64(3), np.array(3.0), np.True_ + 2])
def test_a_scalar_is_a_number_of_python_one_of_numpy_or_an_array_without_axes(function, value):
    found = function(x, **given(theta=value))[0]
    assert found.tobytes() == function(x, **given())[0].tobytes()


def test_nan_and_infinity_pass_as_in_numpy(function):
    bad = np.array([[np.nan, 0.0], [np.inf, 0.0], [1.0, 0.0]])
    found = function(bad, **given())[0]
    np.testing.assert_allclose(found, 3 * np.tanh(bad.sum(axis=1, keepdims=True) * np.ones(3)), rtol=1e-12)


def test_nan_in_the_first_call_does_not_keep_a_program_from_being_checked(function):
    again = gc.compile(list(map(Tensor, function._outputs)), inputs=[X])
    again._compiled = replace(again._compiled, key=f"{again._compiled.key[:32]}{uuid4().hex}")
    assert not is_verified(again._compiled.key)
    assert np.isnan(again(np.full((2, 2), np.nan), **given())[0]).all()
    assert is_verified(again._compiled.key)


def test_a_function_that_was_pickled_gives_the_same_bits_and_compiles_nothing(function):
    compiled = statistics["compiled"]
    again = pickle.loads(pickle.dumps(function))  # noqa: S301  our own
    for a, b in zip(function(x, **given()), again(x, A=np.zeros((1, 1, 1)), **given()), strict=True):
        assert a.tobytes() == b.tobytes()
    assert copy.deepcopy(function) is copy.copy(function) is function
    assert statistics["compiled"] == compiled


@pytest.mark.parametrize(
    ("named", "error", "text"),
    [
        ({"W2": 1}, UnknownNameError, "the function has no argument 'W2'"),
        ({"X": x}, UnknownNameError, "X is passed by position already"),
        ({"A": np.ones(2)}, DataError, "A (1, 1, 1) was declared but the data have shape (2,)"),
        ({"theta": np.ones(1)}, DataError, "theta () was declared but the data have shape (1,)"),
        ({"theta": "one"}, DataError, "theta holds values of type <U3, not numbers"),
    ],
)
def test_names_of_nobody_and_values_that_do_not_fit_are_errors_with_a_hint(function, named, error, text):
    with pytest.raises(error) as caught:
        function(x, **given(**named))
    assert str(caught.value).startswith(text) and "\n  hint: " in str(caught.value)


def test_a_name_that_is_nearly_one_is_suggested(function):
    with pytest.raises(UnknownNameError, match="did you mean 'theta'"):
        function(x, **given(tetha=1.0))


def test_two_arguments_of_one_name_are_refused_unless_one_is_passed_by_position():
    a, b = gc.param("a", (2,)), gc.param("a", (3,))
    outputs = [gc.sum(a), gc.sum(b)]
    with pytest.raises(NameClashError, match=r"^compile: two arguments are named a: a\[2\] and a\[3\]"):
        gc.compile(outputs)
    with pytest.raises(NameClashError, match=r"^compile: a\[2\] is listed twice in inputs"):
        gc.compile(outputs, [a, a])
