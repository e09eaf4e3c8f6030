"""What is found once for layers that are alike: the work of a deep network beyond its first layers."""

from __future__ import annotations

import re
from typing import Any

import pytest

import graphc as gc
from graphc.facade import deriving
from graphc.ir.build import settled


def network(depth: int, width: int = 6) -> gc.Model:
    """A dense network of equal layers."""
    X, T = gc.input("X", ("n", width)), gc.input("T", ("n", width))
    H = X
    for t in range(depth):
        H = gc.tanh(H @ gc.param(f"W{t}", (width, width)) + gc.param(f"B{t}", (width,), 0.0))
    return gc.Model(output=H, loss=gc.losses.mse(H, T))


def test_equations_that_differ_in_their_nodes_alone_are_brought_to_normal_form_once():
    """Mutation-checked: with the nodes themselves in the key every layer has forms of its own."""
    found = []
    for depth in (4, 12):
        settled.cache_clear()
        model = network(depth)
        assert str(model.derive()).count("\n") > 3 * depth
        found.append(settled.cache_info().misses)
    assert found[0] == found[1] > 10


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
