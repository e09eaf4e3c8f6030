"""Loops that are printed as one: neighbours over the same indices, and derivatives beside their function."""

from __future__ import annotations

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import graphc as gc
from graphc.emit.shared import expanded
from graphc.facade.programs import TrainingGraph, training_text
from graphc.ir.affine import index
from graphc.ir.build import equation
from graphc.ir.node import Equation, Indicator, Mask, Read
from graphc.ir.scalar import placeholder, where
from graphc.lower.kernels import Nest
from graphc.lower.layout import Buffer, Count
from graphc.lower.loop_fusion import guarded, joined
from graphc.lower.plan import PlanOptions
from graphc.optim.known import SGD

RNG = np.random.default_rng(11)
X = RNG.normal(size=(37, 6)).astype("float32")
T = RNG.normal(size=(37, 1)).astype("float32")
V, W, U = (RNG.normal(size=s).astype("float32") * 0.5 for s in ((6, 5), (5, 5), (5, 1)))


def ours(z):
    return z * gc.sigmoid(1.7 * z) + gc.sin(z) ** 2 / 10


def theirs(z):
    return z * jax.nn.sigmoid(1.7 * z) + jnp.sin(z) ** 2 / 10


def network(act=ours) -> gc.Model:
    x, t = gc.input("X", ("n", 6)), gc.input("T", ("n", 1))
    v, w, u = gc.param("V", (6, 5), V), gc.param("W", (5, 5), W), gc.param("U", (5, 1), U)
    return gc.Model(loss=gc.mean((act(act(x @ v) @ w) @ u - t) ** 2))


def kernels(model: gc.Model) -> list:
    graph = TrainingGraph(model._core.differentiated(), model._core.param_leaves)
    return training_text("m", graph, SGD(0.1), 64, PlanOptions()).step.plan


def calls(source: str, name: str) -> int:
    code = re.sub(r"#.*", "", source.partition("def train")[2])
    return len(re.findall(rf"\b{name}\(", code))


def test_a_derivative_that_shares_functions_is_computed_with_them_and_stored():
    model = network()
    model.fit(X, T, optimizer=gc.SGD(0.1), steps=1, batch_size=None)
    source = expanded(model.source())
    assert (calls(source, "sin"), calls(source, "cos"), calls(source, "sigmoid")) == (2, 2, 4)
    assert len(re.findall(r"# part of δ[01]\[i,j\]   \(\d\)\n +for t", source)) == 2


def test_a_sum_over_rows_reads_the_activation_that_the_forward_pass_has_stored():
    """The layer of one input is no product: its gradients contain tanh(x*v[k] + b[k]), which four loops computed."""
    x, b = gc.input("X", ("n", 1)), gc.param("b", (5,), V[0])
    u = gc.tanh(gc.tanh(x @ gc.param("V", (1, 5), V[:1]) + b) @ gc.param("W", (5, 5), W)) @ gc.param("U", (5, 1), U)
    model = gc.Model(output=u, loss=gc.mean((u.d(x, 2) - 1) ** 2), dtype="float64")
    model.fit(X[:, :1], optimizer=gc.SGD(0.1), steps=1, batch_size=None)
    assert calls(expanded(model.source()), "tanh") == 2

    def loss(params):
        own = lambda x: (jnp.tanh(jnp.tanh(x * params["V"][0] + params["b"]) @ params["W"]) @ params["U"])[0]
        return jnp.mean((jax.vmap(jax.grad(jax.grad(own)))(X[:, 0].astype("float64")) - 1) ** 2)

    with jax.enable_x64(True):
        arrays = {"V": V[:1], "b": V[0], "W": W, "U": U}
        before = {name: jnp.asarray(value, "float64") for name, value in arrays.items()}
        for name, slope in jax.grad(loss)(before).items():
            np.testing.assert_allclose(model.params[name], before[name] - 0.1 * slope, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("act", [gc.relu, gc.tanh, gc.sigmoid], ids=["relu", "tanh", "sigmoid"])
def test_a_derivative_in_terms_of_the_output_is_not_stored(act):
    assert not [k for k in kernels(network(act)).kernels if isinstance(k, Nest) and k.part_of is not None]


def test_the_gradients_of_joint_loops_are_those_of_jax():
    """Mutation-checked: the slope of the other layer gives other parameters."""
    model = network()
    model.fit(X, T, optimizer=gc.SGD(0.1), steps=1, batch_size=None, shuffle=False)

    def loss(p):
        return jnp.mean((theirs(theirs(X @ p["V"]) @ p["W"]) @ p["U"] - T) ** 2)

    start = {"V": V, "W": W, "U": U}
    gradient = jax.grad(loss)(start)
    for name, before in start.items():
        np.testing.assert_allclose(model.params[name], before - 0.1 * np.asarray(gradient[name]), rtol=2e-5, atol=1e-6)


def test_joined_kernels_are_neighbours_of_one_phase_and_depend_on_the_same_element_only():
    plan = kernels(network())
    groups = [g for phase in plan.phases for g in joined(phase, plan.buffers)]
    assert [k for g in groups for k in g] == plan.kernels
    assert max(map(len, groups)) == 2
    for first, second in (g for g in groups if len(g) == 2):
        assert (first.phase, first.order, first.share) == (second.phase, second.order, second.share)


def test_a_test_of_indices_guards_what_may_not_be_there_and_not_one_number():
    """Mutation-checked: every choice by a test guards; none does."""
    x, c, d = gc.input("x", (3,)).node, gc.input("c", ()).node, gc.input("d", ()).node
    one, two, three = map(placeholder, range(3))
    after = Indicator(Mask("ge", index(0) - 1))
    body = where(one, two, three)
    for read, found in ((Read(x, (index(0) - 1,)), True), (Read(c, ()), False)):
        nest = equation((3,), 1, "sum", body, [after, read, Read(d, ())])
        assert isinstance(nest, Equation) and guarded(nest) is found
        assert not guarded(equation((3,), 1, "sum", one + two, [after, Read(x, (index(0),))]))


def test_a_loop_that_reads_another_element_of_its_neighbour_stands_alone():
    """exp(z)[i] and exp(z)[2 - i] have the same indices, but the second loop needs all of the first."""
    z = gc.tanh(gc.input("x", (3,)))
    straight, reverse = gc.exp(z), gc.exp(z[::-1])
    nodes = [t.node for t in (z, straight, reverse)]
    first, same, other = (Nest(y, Buffer(f"b{t}", "A", y.shape), "map", (0,)) for t, y in enumerate(nodes))
    buffers = {nest.node: nest.out for nest in (first, same, other)} | {z.node.reads[0].node: Buffer("x", "x", (3,))}
    first.out.offset, same.out.offset, other.out.offset = (Count((((), n),)) for n in (0, 16, 32))
    assert joined([first, same], buffers) == [(first, same)]
    assert joined([first, other], buffers) == [(first,), (other,)]
    assert joined([first, same, other], buffers) == [(first, same), (other,)]
    same.out.offset = first.out.offset  # now it overwrites what the other reads at another place
    assert joined([other, same], buffers) == [(other,), (same,)]
