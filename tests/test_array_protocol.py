"""A Tensor feels like an array: methods, operators, and NumPy's own functions give the equations of graphc's words."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.declare.array_methods import ArrayMethods
from graphc.errors import ShapeError
from tests import graphs
from tests.covering.plain import Plain, in_python
from tests.test_array_words import NUMPY, WORDS, Pick, close, declared

OF_SCIPY = ("log_softmax", "softmin", "max where", "min where")  # or with an option that NumPy asks for alone


@pytest.mark.parametrize("name", [name for name in WORDS if name not in OF_SCIPY])
def test_numpys_function_of_a_tensor_is_the_word_of_that_name(name):
    """Mutation-checked: positions of NumPy's parameters that are taken for ours are caught."""
    for seed in range(4):
        x, _ = declared((3, 3), seed)
        ours, numpys = (WORDS[name][1](o, x, Pick(seed)) for o in (gc, NUMPY))
        assert isinstance(numpys, gc.Tensor) and ours.equation is numpys.equation, (name, seed)


UFUNCS = {
    np.exp: gc.exp, np.tanh: gc.tanh, np.absolute: gc.abs, np.fabs: gc.abs, np.rint: gc.round, np.floor: gc.floor,
    np.sign: gc.sign, np.negative: lambda x: -x, np.log1p: gc.log1p, np.invert: lambda x: ~(x > 0),
    np.add.reduce: lambda x: gc.sum(x, axis=0), np.multiply.accumulate: lambda x: gc.cumprod(x, axis=0),
}  # fmt: skip
OF_TWO = {
    np.add: lambda a, b: a + b, np.subtract: lambda a, b: a - b, np.multiply: lambda a, b: a * b,
    np.divide: lambda a, b: a / b, np.power: lambda a, b: a**b, np.floor_divide: lambda a, b: a // b,
    np.remainder: lambda a, b: a % b, np.maximum: gc.maximum, np.minimum: gc.minimum, np.equal: gc.equal,
    np.less: lambda a, b: a < b, np.less_equal: lambda a, b: a <= b, np.greater: lambda a, b: a > b,
    np.greater_equal: lambda a, b: a >= b, np.matmul: lambda a, b: a @ b,
    np.multiply.outer: lambda a, b: gc.reshape(a, (2, 2, 1, 1)) * b,
}  # fmt: skip


@pytest.mark.parametrize("ufunc", UFUNCS)
def test_a_ufunc_of_a_tensor_is_the_word_of_that_name(ufunc):
    x, _ = declared((3, 2), 0)
    assert ufunc(x > 0 if ufunc is np.invert else x).equation is UFUNCS[ufunc](x).equation


@pytest.mark.parametrize("ufunc", OF_TWO)
def test_a_ufunc_takes_an_array_on_either_side(ufunc):
    """Mutation-checked: arguments in the wrong order are caught."""
    (x, a), b = declared((2, 2), 0), np.array([[1.5, 2.0], [0.5, 3.0]])
    a = np.abs(a) + 0.5
    assert ufunc(x, x.T).equation is OF_TWO[ufunc](x, x.T).equation
    close(graphs.reference([ufunc(x, b)], {x: a})[0], ufunc(a, b), "right")
    close(graphs.reference([ufunc(b, x)], {x: a})[0], ufunc(b, a), "left")


def test_functions_whose_arguments_are_not_ours():
    x, a = declared((2, 3), 0)
    for function in (
        lambda x: np.where(x > 0, x, 1), lambda x: np.clip(x, -0.5, 0.5), lambda x: np.clip(x, None, 0.5),
        lambda x: np.clip(x, min=0), lambda x: np.round(x * 7, 1), lambda x: np.round(x * 70, -1),
        lambda x: np.around(x), lambda x: np.reshape(x, (3, -1)), lambda x: np.transpose(x, axes=(1, 0)),
        lambda x: np.stack([x, x], axis=-1), lambda x: np.concatenate([x, 2 * x]), lambda x: np.amax(x, 0),
        lambda x: np.sum(a=x, axis=1, keepdims=True), lambda x: np.mean(x, 0, None, None, True), lambda x: np.copy(x),
        lambda x: np.linalg.norm(x, axis=0), lambda x: np.linalg.matrix_transpose(x), lambda x: np.add.reduce(x, None),
        lambda x: np.maximum.reduce(x, axis=1, keepdims=True), lambda x: np.conjugate(x), lambda x: np.ones((4, 2)) @ x,
        lambda x: np.float64(2) - x, lambda x: (np.ones(3) <= x) * 1.0, lambda x: np.logical_or.reduce(x > 0) * 1.0,
    ):  # fmt: skip
        close(graphs.reference([function(x)], {x: a})[0], function(a), inspect.getsource(function)[:0])
    assert (np.shape(x), np.ndim(x), np.size(x)) == ((2, 3), 2, 6)


METHODS = {
    "sum": {"axis": 0}, "mean": {"axis": 1, "keepdims": True}, "max": {}, "min": {"axis": (0, 1)}, "prod": {"axis": -1},
    "var": {"axis": 0, "ddof": 1}, "std": {"axis": 0}, "any": {"axis": 0}, "all": {}, "argmax": {"axis": 1},
    "argmin": {"axis": 0, "keepdims": True}, "cumsum": {"axis": 1}, "cumprod": {"axis": 0}, "trace": {}, "squeeze": {},
    "diagonal": {"offset": 1}, "repeat": {"repeats": 2, "axis": 1}, "take": {"indices": [1, 0], "axis": 0}, "ravel": {},
    "swapaxes": {"axis1": 0, "axis2": 1}, "transpose": {}, "round": {}, "dot": {"b": np.ones((3, 2))},
}  # fmt: skip


@pytest.mark.parametrize("name", METHODS)
def test_a_method_is_the_function_of_its_name(name):
    x, _ = declared((2, 3), 0)
    function = getattr(gc, name)(x, **METHODS[name])
    assert getattr(x, name)(**METHODS[name]).equation is function.equation


def test_methods_with_arguments_of_their_own():
    x, a = declared((2, 3), 0)
    for function in (
        lambda x: x.reshape(3, 2), lambda x: x.reshape((3, 2)), lambda x: x.reshape(-1), lambda x: x.flatten(),
        lambda x: x[None].transpose(2, 0, 1), lambda x: x[None].transpose((2, 0, 1)), lambda x: x[None].mT,
        lambda x: x.clip(0), lambda x: x.clip(max=0.5), lambda x: x.clip(-0.5, 0.5), lambda x: (x * 7).round(1),
        lambda x: x.sum(where=np.array([True, False, True])), lambda x: x.T,
    ):  # fmt: skip
        close(graphs.reference([function(x)], {x: a})[0], function(a), inspect.getsource(function)[:0])
    assert round(x).equation is gc.round(x).equation
    assert (x.size, x.ndim, x.shape) == (6, 2, (2, 3))


def test_an_attribute_that_a_tensor_does_not_have_leads_to_the_function_or_the_method():
    x, _ = declared((2, 3), 0)
    for name, text in {"softmax": "write gc.softmax(x)", "tanh": "write gc.tanh(x)", "means": "did you mean x.mean?",
                       "amax": "write gc.max(x)"}.items():  # fmt: skip
        with pytest.raises(AttributeError) as caught:
            getattr(x, name)
        assert str(caught.value) == f"a Tensor has no attribute {name!r}; {text}"
    assert not hasattr(x, "to_numpy") and not hasattr(x, "__array_interface__")


def test_type_checkers_know_that_methods_and_operators_give_tensors():
    named = {name: f for name, f in vars(ArrayMethods).items() if inspect.isfunction(f) and name != "__getattr__"}
    assert set(METHODS) < set(named)
    assert {f.__annotations__["return"] for f in named.values()} == {"Self"}
    assert {n: p.fget.__annotations__["return"] for n, p in vars(ArrayMethods).items() if isinstance(p, property)} == {
        "shape": "tuple[Extent, ...]", "ndim": "int", "size": "int", "T": "Self", "mT": "Self",
    }  # fmt: skip


# ---------------------------------------------------------------- operators


def test_remainders_and_floors_are_numpys_and_their_slope_is_that_between_the_jumps():
    (x, a), b = declared((4, 3), 0), np.array([0.75, -2.0, 1.5])
    a = 5 * a + 0.013
    for function in (lambda x, y: x % y, lambda x, y: y % x, lambda x, y: x // y, lambda x, y: y // x,
                     lambda x, y: x % 2, lambda x, y: 7 % x, lambda x, y: x // 0.5, lambda x, y: -7 // x):  # fmt: skip
        close(graphs.reference([function(x, b)], {x: a})[0], function(a, b), "values")
    y = gc.param("Y", (3,))
    by_x, by_y = gc.grad(gc.sum(x % y), [x, y])
    found = graphs.reference([by_x, by_y], {x: a, y: b})
    close(found[0], np.ones((4, 3)), "slope in x")
    close(found[1], -np.floor(a / b).sum(axis=0), "slope in y")
    assert gc.grad(gc.sum(x % 1), x).equation is gc.ones_like(x).equation


def test_conditions_are_combined_as_in_numpy():
    """Mutation-checked: or in the place of xor is caught."""
    (x, a), mask = declared((4, 3), 0), np.array([True, False, True])
    for function in (
        lambda x: (x > 0) & (x < 1), lambda x: (x > 1) | (x < 0), lambda x: (x > -1) ^ (x < 0.5), lambda x: ~(x > 0),
        lambda x: ~((x > 0) & ~(x < 1)) | (x > 2), lambda x: mask & (x > 0), lambda x: (x > 0) ^ mask,
        lambda x: True | (x > 0), lambda x: (x > 0)[:, 1:] & (x[:, :2] < 0),
    ):  # fmt: skip
        close(graphs.reference([function(x)], {x: a})[0], function(a), "condition")
    i, j = gc.indices("i j")
    below = gc.define("L", [i, j], gc.where((i >= j) & ~(x[i, j] > 0), x[i, j], 0))
    close(graphs.reference([below], {x: a})[0], np.where(np.tri(4, 3, dtype=bool) & ~(a > 0), a, 0), "indexed")
    both = gc.any(x > 0, axis=0) & gc.all(x < 2, axis=0) & gc.equal(gc.sign(x[0]), 1) & gc.where(x[1] > 0, 1, 0)
    wanted = (a > 0).any(0) & (a < 2).all(0) & (np.sign(a[0]) == 1) & (a[1] > 0)
    close(graphs.reference([both], {x: a})[0], wanted, "reduced")


# ---------------------------------------------------------------- programs


def _of(x: gc.Tensor) -> Iterator[tuple[str, gc.Tensor]]:
    """Every word of x, but for those that need the extent which is free."""
    for name, (_, word) in WORDS.items():
        with suppress(ShapeError):
            yield name, word(gc, x, Pick(1))


@pytest.mark.parametrize(("rows", "least"), [(3, len(WORDS)), ("n", 50)])
def test_a_program_of_all_words_gives_their_values_and_gradients(rows, least):
    """Its text is run in plain Python: every word goes through lowering and emission, none is compiled.

    Mutation-checked: a text with abs in the place of sqrt is caught by the check beside the interpreter.
    """
    x = gc.input("X", (rows, 3))
    flat = ("any", "all", "count_nonzero", "argmax", "argmin", "any where", "all where", "argmin of all")
    words = dict(_of(x))
    assert len(words) >= least
    smooth = gc.stack([gc.mean(y**2) for name, y in words.items() if name not in flat])
    outputs: list[Any] = [*words.values(), gc.grad(gc.sum(smooth), x), x % 2, (x > 0) & ~(x > 1)]
    a = np.random.default_rng(2).normal(size=(3, 3))
    with in_python(Plain()):
        found = gc.compile(outputs=outputs, inputs=[x], dtype="float64")(a)
    for name, value, wanted in zip([*words, "gradient", "%", "&"], found, graphs.reference(outputs, {x: a})):
        np.testing.assert_allclose(value, wanted, rtol=1e-9, atol=1e-9, err_msg=name)


def test_words_of_rows_train_a_model():
    """Standardised inputs, a penalty with norms: all over a free extent, in a training program in plain Python."""
    rng = np.random.default_rng(0)
    x, t = gc.input("X", ("n", 3)), gc.input("T", ("n",))
    w = gc.param("W", (3,), np.ones(3) / 3)
    z = ((x - x.mean(axis=0)) / (x.std(axis=0, ddof=1) + 1)).dot(w)
    loss = np.average((z - t) ** 2, weights=t**2 + 1) + 0.01 * np.linalg.norm(w) + 0.01 * x.dot(w).var()
    model = gc.Model(loss=loss, dtype="float64")
    with in_python(Plain()):
        run = model.fit(rng.normal(size=(10, 3)), rng.normal(size=10), optimizer=gc.SGD(0.1), epochs=4, batch_size=5)
    assert run.history["loss"][-1] < run.history["loss"][0]
