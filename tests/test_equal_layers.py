"""What is found once for layers that are alike: the work of a deep network beyond its first layers."""

from __future__ import annotations

import itertools
import re
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.derive import pullback
from graphc.derive.gradient import gradient
from graphc.emit.reference import evaluate
from graphc.facade import deriving
from graphc.ir import build
from graphc.ir.build import settled


def network(depth: int, width: int = 6) -> gc.Model:
    """A dense network of equal layers."""
    X, T = gc.input("X", ("n", width)), gc.input("T", ("n", width))
    H = X
    for t in range(depth):
        H = gc.tanh(H @ gc.param(f"W{t}", (width, width)) + gc.param(f"B{t}", (width,), 0.0))
    return gc.Model(output=H, loss=gc.losses.mse(H, T))


def test_equations_that_differ_in_their_nodes_alone_are_brought_to_normal_form_once(monkeypatch: pytest.MonkeyPatch):
    """Mutation-checked: with the nodes themselves in the key every layer has forms and pullbacks of its own."""
    found, pulled, made = [], [], pullback._pulled
    monkeypatch.setattr(pullback, "_pulled", lambda *a: pulled.append(a) or made(*a))
    for depth in (4, 12):
        settled.cache_clear()
        build._described.clear()
        pulled.clear()
        model = network(depth)
        assert str(model.derive()).count("\n") > 3 * depth
        found.append((settled.cache_info().misses, len(pulled)))
    assert found[0] == found[1] and found[0][0] > 10 and 4 < found[0][1] < 12


def test_a_pullback_that_is_known_reads_its_own_nodes():
    """Products alike but for the order in which their nodes were made, the cotangent's among them: mutation-checked,
    what is found for one order is wrong for another."""
    A, B, C, D = (gc.param(name, (3, 4)) for name in "ABCD")
    feed = dict(zip((x.node for x in (A, B, C, D)), np.random.default_rng(0).normal(size=(4, 3, 4)), strict=True))
    for X, Y, seed in itertools.permutations((A, B, C, D), 3):
        found = evaluate(gradient((X * Y).node, [X.node, Y.node], seed.node), feed)
        for slope, other in zip(found, (Y, X), strict=True):
            np.testing.assert_array_equal(slope, feed[seed.node] * feed[other.node])


def recurrent() -> gc.Model:
    X, T = gc.input("X", ("n", 5, 3)), gc.input("T", ("n", 4))
    Y = gc.nn.RNN(6)(X) @ gc.param("V", (6, 4))
    return gc.Model(output=Y, loss=gc.losses.mse(Y, T))


@pytest.mark.parametrize("make", [lambda: network(3), recurrent])
def test_a_derivation_shows_the_derivatives_that_training_takes(make: Any, monkeypatch: pytest.MonkeyPatch):
    """With the lines that derivatives of its own would give; seen to fail where it always has its own."""
    once = str(make().derive())
    with monkeypatch.context() as only_training:
        only_training.setattr(deriving, "differentiate", None)
        model = make()
        shown, text = str(model.derive()), str(model.source())
    assert re.sub(r":\d+$", "", shown, flags=re.M) == re.sub(r":\d+$", "", once, flags=re.M)
    assert {*numbers_of(text)} == {*numbers_of(shown)}
    monkeypatch.setattr(deriving, "equations", lambda _: [object()])
    assert str(make().derive()) == once


def numbers_of(text: str) -> list[str]:
    """The numbers of the lines of a derivation, and of the captions in a program."""
    return re.findall(r"\((\d+)\)$", text, re.M)
