"""What is found once for layers that are alike: the work of a deep network beyond its first layers."""

from __future__ import annotations

import graphc as gc
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
