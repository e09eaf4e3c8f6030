"""How parameters are read and set: copies that cannot be written to, and assignments that are checked."""

import numpy as np
import pytest

import graphc as gc
from graphc.errors import DataError, TypeMismatchError, UnknownNameError
from tests import nets


@pytest.fixture
def model() -> gc.Model:
    return nets.network()


def values(**changed):
    return {name: np.full(shape, 0.5) for name, shape in nets.SHAPES.items()} | changed


def test_all_parameters_are_assigned_at_once_and_the_model_lives_on(model):
    model.params = values()
    assert all((model.params[name] == 0.5).all() for name in model.params)
    other = nets.network().initialize(3)
    model.params = other.params
    np.testing.assert_array_equal(nets.flat(model), nets.flat(other))
    assert not np.shares_memory(model.params.flat, other.params.flat)
    assert len(model.initialize(4).derive().parameters) == 4


@pytest.mark.parametrize(
    ("given", "error", "text"),
    [
        ({"W0": np.ones((3, 4))}, DataError, "model.params: values for B0, W1, B1 are missing\n"
         "  hint: model.params.update(...) sets some of the parameters"),
        (values(W00=1), UnknownNameError, "no parameter is named 'W00'\n  hint: did you mean 'W0'?"),
        (values(W1=np.ones(2)), DataError, "W1 has shape (4, 2) but the array has (2,)\n  hint: reshape the array"),
        (values(B1=[1, [2]]), DataError, "B1: a list is no array: "),
        ([1, 2], TypeMismatchError, "model.params cannot be list [1, 2]\n  hint: assign a dict of arrays by name"),
    ],
)  # fmt: skip
def test_an_assignment_that_does_not_fit_says_so_and_sets_nothing(given, error, text, model):
    before = nets.flat(model)
    with pytest.raises(error) as caught:
        model.params = given
    assert nets.text_of(caught).startswith(text)
    np.testing.assert_array_equal(nets.flat(model), before)
    if isinstance(given, dict) and len(given) > 1:
        with pytest.raises(error):
            model.params.update(given)
        np.testing.assert_array_equal(nets.flat(model), before)


def test_some_parameters_are_set_by_update(model):
    model.params.update({"B0": np.ones(4)}, B1=[2, 3])
    np.testing.assert_array_equal(model.params["B0"], np.ones(4))
    np.testing.assert_array_equal(model.params["B1"], [2, 3])
    with pytest.raises(TypeMismatchError, match="hint: assign a dict of arrays by name"):
        model.params.update(5)


def test_a_write_to_an_array_that_was_handed_out_says_how_to_set_the_parameter(model):
    W = model.params["W0"]
    text = (
        "W0 as model.params gives it is a read-only copy: a change in it would be lost\n"
        '  hint: assign a whole array, model.params["W0"] = array; W0.copy() can be written to.'
    )

    def writes():
        yield lambda: W.__setitem__(slice(None), 9)
        yield lambda: W[0].__setitem__(1, 9)
        yield lambda: W.T.__setitem__(0, 9)
        yield lambda: np.add(W, 1, out=W)

    for write in writes():
        with pytest.raises(DataError) as caught:
            write()
        assert nets.text_of(caught) == text
    for write in (lambda: W.fill(0), lambda: W.sort(), lambda: np.asarray(W).fill(0)):
        with pytest.raises(ValueError, match="read-only"):
            write()


def test_what_is_computed_with_a_parameter_is_a_plain_array(model):
    W = model.params["W0"]
    for made in (W + 1, np.tanh(W), W @ W.T, W.copy(), 2 * W, np.array(W)):
        assert type(made) is np.ndarray and made.flags.writeable
    assert repr(W) == repr(np.array(W)) and str(W) == str(np.array(W))
    own = W.astype(float)
    own += 1
    own[0, 0] = 5
    np.testing.assert_array_equal(own[1:], W[1:] + 1)


def test_an_update_in_place_of_an_entry_sets_the_parameter(model):
    before = np.array(model.params["W0"])
    model.params["W0"] += 1
    model.params["W0"] *= 2
    np.testing.assert_array_equal(model.params["W0"], (before + 1) * 2)
    W = model.params["B0"]
    W += 1
    assert (model.params["B0"] + 1 == W).all()
