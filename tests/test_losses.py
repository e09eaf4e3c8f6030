"""Every loss beside torch and scikit-learn: values of all reductions, gradients, and the tails.

The numbers stand in goldens/losses.json, with the script that wrote them.
"""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import special

import graphc as gc
from graphc.emit.reference import evaluate
from graphc.errors import DomainError, ShapeError, TypeMismatchError
from graphc.rewrite.normal import normal_form
from tests import nets
from tests.covering.plain import Plain, in_python

GOLDEN = json.loads((Path(__file__).parent / "goldens" / "losses.json").read_text())
DATA = {name: np.array(x) for name, x in GOLDEN["data"].items()}
CASES: dict[str, dict[str, Any]] = GOLDEN["losses"]
ROWS = len(DATA["z"])


def declared(name: str) -> gc.Tensor:
    integer = DATA[name].dtype.kind == "i"
    return gc.input(name, ("n", *DATA[name].shape[1:]), dtype="int64" if integer else "float")


def of(name: str, inputs: list[gc.Tensor], **options: Any) -> gc.Tensor:
    return getattr(gc.losses, name.partition(" ")[0])(*inputs, **CASES[name]["options"], **options)


def values(tensors: list[gc.Tensor], inputs: list[gc.Tensor], data: dict[str, np.ndarray] = DATA) -> list[np.ndarray]:
    feed = {x.node: data[str(x.name)] for x in inputs}
    return evaluate([t.node for t in tensors], feed, {"n": ROWS})


def test_every_loss_has_a_golden():
    assert {name.partition(" ")[0] for name in CASES} == set(gc.losses.__all__)


@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients_are_those_of_torch(name: str):
    """Mutation-checked: margins, powers, weights and the divisor of a mean, each changed by a little, are seen."""
    case, inputs = CASES[name], [declared(n) for n in CASES[name]["of"]]
    mean, total, rows = (of(name, inputs, reduce=reduce) for reduce in ("mean", "sum", None))
    found = values([mean, total, rows, gc.grad(mean, inputs[0])], inputs)
    for value, kind in zip(found, ("mean", "sum", "rows", "gradient"), strict=True):
        np.testing.assert_allclose(value, case[kind], rtol=1e-12, atol=1e-14, err_msg=kind)


def test_the_text_of_a_program_gives_them_too():
    inputs = {n: declared(n) for n in DATA}
    found = {name: of(name, [inputs[n] for n in case["of"]]) for name, case in CASES.items()}
    with in_python(Plain()):
        f = gc.compile(list(found.values()), list(inputs.values()), dtype="float64", verify=False)
        evaluated = f(*DATA.values())
    for name, value in zip(found, evaluated, strict=True):
        np.testing.assert_allclose(value, CASES[name]["mean"], rtol=1e-12, err_msg=name)


FAR = {
    "poisson log": lambda z, t: np.where(z > 0, np.inf, -t * z),
    "focal": lambda z, t: np.where((z > 0) == (t > 0), 0, np.abs(z)),
    "focal alpha": lambda z, t: np.where((z > 0) == (t > 0), 0, np.abs(z) * np.where(t > 0, 0.25, 0.75)),
    "bce_with_logits": lambda z, t: np.array(CASES["bce_with_logits"]["options"]["pos_weight"]) * (0.8 * t + 0.1)
    * np.maximum(-z, 0) + (0.9 - 0.8 * t) * np.maximum(z, 0),
    "log_cosh": lambda z, t: np.abs(z - t) - np.log(2),
}  # fmt: skip


@pytest.mark.parametrize("name", FAR)
def test_the_tails_are_exact_and_their_gradients_finite(name: str):
    z = np.where(np.arange(24).reshape(6, 4) % 2, 900.0, -900.0)
    inputs = [declared(n) for n in CASES[name]["of"]]
    data = DATA | {"z": z}
    row, slope = values([of(name, inputs, reduce=None), gc.grad(of(name, inputs), inputs[0])], inputs, data)
    wanted = FAR[name](z, data[CASES[name]["of"][1]])
    with np.errstate(invalid="ignore"):
        np.testing.assert_allclose(row, wanted.mean(axis=1), rtol=1e-14)
    assert np.isfinite(slope[np.isfinite(wanted)]).all()


def test_probabilities_as_on_paper_are_compiled_stably():
    """kl_divergence of a softmax, bce of a sigmoid with weights: logits of a thousand do no harm."""
    z, t = gc.input("z", ("n", 4)), gc.input("soft", ("n", 4))
    data = DATA | {"z": DATA["z"] * 1e3}
    logs = data["z"] - special.logsumexp(data["z"], axis=1, keepdims=True)
    kl = (special.xlogy(data["soft"], data["soft"]) - data["soft"] * logs).sum(1)
    bce = 3 * data["soft"] * np.maximum(-data["z"], 0) + (1 - data["soft"]) * np.maximum(data["z"], 0)
    found = [gc.losses.kl_divergence(gc.softmax(z), t, None), gc.losses.bce(gc.sigmoid(z), t, None, pos_weight=3.0)]
    outputs = values([gc.Tensor(normal_form(x.node)) for x in found], [z, t], data)
    np.testing.assert_allclose(outputs[0], kl, rtol=1e-12)
    np.testing.assert_allclose(outputs[1], bce.mean(1), rtol=1e-12)


Z, Y, LABELS = gc.input("Z", ("n", 4)), gc.input("Y", ("n", 3)), gc.input("L", ("n",), dtype="int64")
ONE = gc.input("U", ("n",))


@pytest.mark.parametrize("name", sorted({name.partition(" ")[0] for name in CASES}))
def test_shapes_that_do_not_fit_are_refused(name: str):
    loss = getattr(gc.losses, name)
    needed = [p for p in inspect.signature(loss).parameters.values() if p.default is p.empty]
    with pytest.raises(ShapeError):
        loss(*[Z, Y, Z][: len(needed)])
    with pytest.raises(TypeMismatchError, match='use "mean", "sum" or None'):
        loss(*[Z, LABELS if name in ("multi_margin", "nll") else Z, Z][: len(needed)], reduce="total")


WRONG = {
    "quantile: q is 1\n  hint: q is between 0 and 1, such as 0.9.": lambda: gc.losses.quantile(Z, Z, q=1),
    "focal: gamma is -1\n  hint: gamma is at least 0, such as 2.": lambda: gc.losses.focal(Z, Z, gamma=-1),
    "focal: alpha is 1\n  hint: alpha is between 0 and 1, such as 0.25.": lambda: gc.losses.focal(Z, Z, alpha=1),
    "dice: U has 1 axes, not a row of several values\n"
    "  hint: the first axis is that of the rows, the last that of the classes.": lambda: gc.losses.dice(ONE, ONE),
    "cross_entropy: label_smoothing is 1\n"
    "  hint: label_smoothing is in [0, 1), such as 0.1.":
        lambda: gc.losses.cross_entropy(Z, LABELS, label_smoothing=1),
    "cross_entropy: class_weight has shape (3,), the logits (n, 4)\n"
    "  hint: give one weight for each class.": lambda: gc.losses.cross_entropy(Z, LABELS, class_weight=[1, 2, 3]),
    "triplet: margin is 0\n  hint: margin is above 0.": lambda: gc.losses.triplet(Z, Z, Z, margin=0),
    "gaussian_nll: the prediction has shape (n, 4) but the variance (n, 3)\n"
    "  hint: both must have one shape.": lambda: gc.losses.gaussian_nll(Z, Z, Y),
}  # fmt: skip


@pytest.mark.parametrize("message", WRONG)
def test_wrong_options_are_refused_with_one_suggestion(message: str):
    with pytest.raises((DomainError, ShapeError)) as caught:
        WRONG[message]()
    assert nets.text_of(caught) == message


@pytest.mark.parametrize("loss", [gc.losses.cross_entropy, gc.losses.multi_margin])
def test_labels_may_be_an_array(loss):
    """As declared ones are."""
    P, L = gc.param("P", (4, 3)), gc.input("L", (4,), dtype="int64")
    labels, logits = np.array([2, 0, 1, 2]), np.random.default_rng(0).normal(size=(4, 3))
    roots = [loss(P, L).node, loss(P, labels).node]
    declared, constant = evaluate(roots, {P.node: logits, L.node: labels})
    assert declared == constant
    with pytest.raises(ShapeError, match=f"{loss.__name__}: the labels run from 0 to 3 but there are 3"):
        loss(P, np.array([0, 1, 2, 3]))


def test_whole_numbers_of_the_shape_of_the_logits_are_soft_labels():
    """Also such as no label may be: how often each class was seen."""
    P, logits = gc.param("P", (2, 3)), np.arange(6.0).reshape(2, 3)
    counts = np.array([[0, 7, 1], [4, 0, 2]])
    [found] = evaluate([gc.losses.cross_entropy(P, counts).node], {P.node: logits})
    np.testing.assert_allclose(found, -(counts * special.log_softmax(logits, 1)).sum(1).mean(), rtol=1e-14)
