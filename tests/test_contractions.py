"""Matrix products found in equations of any rank: what is found, how it is divided, and that the numbers are right."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import graphc as gc
from graphc.emit.reference import evaluate
from graphc.facade.functions import function_text
from graphc.facade.pipeline import read_graph
from graphc.ir.node import Equation
from graphc.lower.kernels import Contraction, Kernel, Pack
from graphc.lower.plan import PlanOptions
from tests.covering.plain import LIMITS, Plain, in_python
from tests.test_cpu_races import same_bits

n, i, j, k, t, s, h, d, c, o, y, x, p, q = gc.indices("n i j k t s h d c o y x p q")
y5, x4, p9 = gc.indices("y5 x4 p9", y5=5, x4=4, p9=9)
X = gc.input("X", ("n", 8, 40))
Y = gc.input("Y", ("n", 8, 40))
H = gc.input("H", ("n", 4, 8, 10))
V = gc.input("V", ("n", 3, 12, 13))
G = gc.input("G", ("n", 5, 9, 10))
S = gc.input("S", ("n", 5, 4, 13))
R = gc.input("R", ("n", 4, 7, 10))
F = gc.input("F", ("n", 16, 5, 8))
W = gc.param("W", (40, 24), 0.0)
Q = gc.param("Q", (4, 3, 3), 0.0)
M = gc.param("M", (3, 3, 3, 5), 0.0)
N = gc.input("N", ("n", 5, 5, 4))
E = gc.param("E", (16, 4, 3, 3), 0.0)
U = gc.param("U", (24, 40), 0.0)
B = gc.param("B", (4, 10, 24), 0.0)
K = gc.param("K", (5, 3, 4, 4), 0.0)
D = gc.param("D", (3, 4, 4), 0.0)
L = gc.param("L", (13, 3, 8), 0.0)
v = gc.param("v", (40,), 0.0)
LEAVES = [X, Y, H, V, G, S, R, F, N, W, U, B, K, D, L, E, Q, M, v]


def heads(a: gc.Tensor) -> gc.Tensor:
    return gc.transpose(gc.reshape(a, ("n", 8, 4, 10)), (0, 2, 1, 3))


def define(indices: list[gc.Index], value: gc.Tensor) -> gc.Tensor:
    return gc.define("Z", indices, value)


# what is declared; loops around a tile, sums inside it, and what is copied before, or how the tile is; None where loops
# are left
TABLE: dict[str, tuple[Callable[[], gc.Tensor], tuple[int, int, str] | None]] = {
    "rows of rows": (lambda: X @ W, (0, 1, "")),
    "a scaled product": (lambda: define([n, t, j], gc.sum(3 * X[n, t, k] * W[k, j], over=k)), (0, 1, "")),
    "a transposed factor": (lambda: define([n, t, j], gc.sum(X[n, t, k] * U[j, k], over=k)), (0, 1, "transposed")),
    "scores of heads": (lambda: heads(X) @ gc.transpose(heads(Y), (0, 1, 3, 2)), (2, 1, "copied")),
    "values of heads": (lambda: gc.transpose(heads(X), (0, 1, 3, 2)) @ heads(Y), (2, 1, "")),
    "heads put together": (lambda: gc.reshape(gc.transpose(H, (0, 2, 1, 3)), ("n", 8, 40)) @ W, (1, 2, "")),
    "rows with all rows": (lambda: define([n, t, s], gc.sum(X[n, t, k] * X[n, s, k], over=k)), (1, 1, "copied")),
    "a gradient of weights": (lambda: define([i, j], gc.sum(X[n, t, i] * Y[n, t, j], over=(n, t))), (0, 1, "")),
    "two sums": (lambda: define([n, t, j], gc.sum(X[n, t, 10 * h + d] * B[h, d, j], over=(h, d))), (0, 1, "")),
    "a sum over heads": (
        lambda: define([n, t, j], gc.sum(H[n, h, t, d] * B[h, d, j], over=(h, d))), (1, 2, "")),
    "a convolution": (
        lambda: define([n, o, y, x], gc.sum(V[n, c, y + p, x + q] * K[o, c, p, q], over=(c, p, q))), (1, 3, "lines")),
    "a dilated convolution": (
        lambda: define([n, o, y, x], gc.sum(V[n, c, y + 2*p, x + 2*q] * K[o, c, p, q], over=(c, p, q))),
        (1, 3, "lines")),
    "a strided convolution": (
        lambda: define([n, o, y5, x4], gc.sum(V[n, c, 2*y5 + p, 3*x4 + q] * K[o, c, p, q], over=(c, p, q))),
        (2, 1, "copied")),
    "a gradient of a kernel": (
        lambda: define([o, c, p, q], gc.sum(V[n, c, y + p, x + q] * G[n, o, y, x], over=(n, y, x))), (3, 3, "dots")),
    "a gradient of a long kernel": (
        lambda: define([o, c, p9], gc.sum(V[n, c, y + p9, x] * S[n, o, y, x], over=(n, y, x))), (2, 2, "dots")),
    "a gradient of an input in parts": (
        lambda: gc.grad(gc.sum(gc.sum(R[n, c, y + p, x + q] * E[o, c, p, q], over=(c, p, q)) * F[n, o, y, x],
                               over=(n, o, y, x)), R), (3, 1, "lines added")),
    "a gradient of an input": (
        lambda: gc.grad(gc.sum(gc.sum(V[n, c, y + p, x + q] * K[o, c, p, q], over=(c, p, q)) * G[n, o, y, x],
                               over=(n, o, y, x)), V), (1, 3, "lines")),
    "a padded convolution": (
        lambda: define([n, o, y, x], gc.sum(gc.pad(V, ((0, 0), (0, 0), (1, 2), (2, 1)))[n, c, y + p, x + q]
                                            * K[o, c, p, q], over=(c, p, q))), (1, 3, "lines")),
    "channels last": (lambda: define([n, y, o], gc.sum(V[n, c, y, x] * L[x, c, o], over=(c, x))), (1, 2, "")),
    "dot products": (lambda: X @ v, (0, 1, "")),
    "a depthwise convolution": (
        lambda: define([n, c, y, x], gc.sum(V[n, c, y + p, x + q] * D[c, p, q], over=(p, q))), None),
    "a padded depthwise convolution": (
        lambda: define([n, c, y, x], gc.sum(gc.pad(V, ((0, 0), (0, 0), (1, 2), (2, 1)))[n, c, y + p, x + q]
                                            * D[c, p, q], over=(p, q))), None),
    "a gradient of a depthwise kernel": (
        lambda: gc.grad(gc.sum(gc.sum(R[n, c, y + p, x + q] * Q[c, p, q], over=(p, q)) ** 2, over=(n, c, y, x)), Q),
        (2, 3, "dots")),
    "a gradient of a strided input": (
        lambda: gc.grad(gc.sum(gc.sum(V[n, c, 2*y5 + p, 3*x4 + q] * K[o, c, p, q], over=(c, p, q)) * N[n, o, y5, x4],
                               over=(n, o, y5, x4)), V), None),
    "a gradient of a strided, padded input": (
        lambda: gc.grad(gc.sum(gc.conv2d(V, M, stride=2, padding=((1, 1), (1, 1))) ** 2), V), None),
    "pairs of rows": (lambda: define([n, t], gc.sum(X[n, t, k] * Y[n, t, k], over=k)), None),
    "masked": (lambda: define([n, t, j], gc.sum(gc.where(k <= j, X[n, t, k] * W[k, j], 0), over=k)), None),
}  # fmt: skip


@cache
def declared() -> dict[str, gc.Tensor]:
    return {name: make() for name, (make, _) in TABLE.items()}


def plan_of(z: gc.Tensor) -> list[Kernel]:
    root = read_graph({"z": z.node}).roots["z"]
    return function_text("f", [root], [a.node for a in LEAVES], PlanOptions("float64")).plan.kernels


@pytest.mark.parametrize("name", TABLE)
def test_a_product_is_found_with_its_loops_sums_and_copies(name):
    """Mutation-checked: without joining of axes, without splitting, without the copy."""
    *before, kernel = plan_of(declared()[name])
    if not isinstance(kernel, Contraction):
        assert TABLE[name][1] is None
        return
    copies = {"transposed" if isinstance(one, Pack) else "copied" for one in before if one.out is kernel.b}
    copies -= {"copied"} if isinstance(kernel.b.node, Equation) and kernel.b.node.masks else set()
    assert len(kernel.copies) == (name == "a gradient of an input" or copies == {"copied"})
    t = kernel.tiles
    kind = {"lines": t.lines.extent != 1, "added": t.adds, "dots": t.dots}
    assert (len(t.loops), len(t.terms), " ".join([*copies, *(w for w in kind if kind[w])])) == TABLE[name][1]


def test_products_of_any_rank_give_the_numbers_of_the_interpreter():
    """One program; its rows are not what its memory holds. Mutation-checked: one stride of every axis doubled."""
    rng, rows = np.random.default_rng(0), 5
    values = {a: rng.normal(size=[rows if e == "n" else e for e in a.shape]) for a in LEAVES}
    found = gc.compile(outputs=list(declared().values()), inputs=LEAVES)(*values.values())
    exact = evaluate([z.node for z in declared().values()], {a.node: value for a, value in values.items()})
    for name, one, other in zip(TABLE, found, exact, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-12 * np.abs(other).max(), err_msg=name)


def attention_and_convolution() -> tuple[gc.Model, dict[gc.Tensor, np.ndarray]]:
    """A small network of both: rows of (4, 6), two heads, then a convolution over the whole."""
    rng, z = np.random.default_rng(1), gc.input("z", ("n", 4, 6))
    shapes = {"Q": (6, 6), "R": (6, 6), "E": (6, 6), "C": (3, 2, 3)}
    params = {name: gc.param(name, shape, 0.0) for name, shape in shapes.items()}
    split = lambda a: gc.transpose(gc.reshape(a, ("n", 4, 2, 3)), (0, 2, 1, 3))
    scores = split(z @ params["Q"]) @ gc.transpose(split(z @ params["R"]), (0, 1, 3, 2))
    mixed = gc.transpose(gc.softmax(scores / 3, axis=-1) @ split(z), (0, 2, 1, 3))
    mixed = gc.reshape(mixed, ("n", 4, 6)) @ params["E"]
    out = gc.define("O", [n, o, y, x], gc.sum(mixed[n, y + p, x + q] * params["C"][o, p, q], over=(p, q)))
    model = gc.Model(output=out, loss=gc.mean(gc.tanh(out) ** 2), dtype="float64")
    return model, {params[name]: rng.normal(size=shape) for name, shape in shapes.items()}


def loss_in_jax(values: dict[str, jax.Array], z: jax.Array) -> jax.Array:
    split = lambda a: a.reshape(-1, 4, 2, 3).transpose(0, 2, 1, 3)
    scores = split(z @ values["Q"]) @ split(z @ values["R"]).transpose(0, 1, 3, 2)
    mixed = (jax.nn.softmax(scores / 3) @ split(z)).transpose(0, 2, 1, 3).reshape(-1, 4, 6) @ values["E"]
    out = jax.lax.conv_general_dilated(mixed[:, None], values["C"][:, None], (1, 1), "VALID")
    return jnp.mean(jnp.tanh(out) ** 2)


@pytest.mark.parametrize("how", ["usual", "divided", "packed"])
def test_any_number_of_threads_trains_with_the_same_bits_and_the_gradients_of_jax(how, monkeypatch):
    """Texts in plain Python, races on record. Mutation-checked: loops undivided, rows*times forgotten."""
    for name, value in LIMITS[how].items():
        monkeypatch.setattr(f"graphc.{name}", value)
    model, values = attention_and_convolution()
    z = np.random.default_rng(2).normal(size=(11, 4, 6))
    same_bits(model, {"z": z}, values, optimizer=gc.SGD(1.0), steps=1, batch_size=11, shuffle=False, progress=False)
    start = {p.name: value for p, value in values.items()}
    with jax.enable_x64(True):
        slope = jax.grad(loss_in_jax)(start, jnp.array(z))
    for name, before in start.items():
        np.testing.assert_allclose(before - model.params[name], slope[name], rtol=0, atol=1e-12)
    found = [kernel for kernel in model.explain("kernels").text.split("\n") if "matrix product" in kernel]
    assert len(found) >= (12 if how != "usual" else 1)


def convolution_and_pooling() -> tuple[gc.Model, dict[gc.Tensor, np.ndarray]]:
    """A small network of both: one channel of 26 x 26, 8 of 24 x 24, 12 x 12 when pooled, 16 of 8 x 8."""
    rng, z = np.random.default_rng(3), gc.input("z", ("n", 1, 26, 26))
    shapes = {"A": (3, 3, 1, 8), "a": (8,), "C": (5, 5, 8, 16)}
    params = {name: gc.param(name, shape, 0.0) for name, shape in shapes.items()}
    pooled = gc.max_pool(gc.tanh(gc.conv2d(z, params["A"], params["a"])), 2)
    out = gc.conv2d(pooled, params["C"])
    model = gc.Model(output=out, loss=gc.mean(gc.tanh(out) ** 2), dtype="float64")
    return model, {params[name]: rng.normal(size=shape) / 4 for name, shape in shapes.items()}


def loss_of_pictures(values: dict[str, jax.Array], z: jax.Array) -> jax.Array:
    conv = lambda x, k: jax.lax.conv_general_dilated(x, k, (1, 1), "VALID", dimension_numbers=("NCHW", "HWIO", "NCHW"))
    h = jnp.tanh(conv(z, values["A"]) + values["a"][:, None, None])
    h = jax.lax.reduce_window(h, -jnp.inf, jax.lax.max, (1, 1, 2, 2), (1, 1, 2, 2), "VALID")
    return jnp.mean(jnp.tanh(conv(h, values["C"])) ** 2)


@pytest.mark.parametrize("compiled", [False, True])
def test_a_network_of_pictures_has_the_gradients_of_jax_by_any_number_of_threads(compiled):
    """Compiled, and as text in plain Python with races on record. Mutation-checked: lines a step too far apart, parts
    that are set instead of added, a window without its last turn."""
    model, values = convolution_and_pooling()
    z = np.random.default_rng(4).normal(size=(5 if compiled else 2, 1, 26, 26))
    options = {"optimizer": gc.SGD(1.0), "steps": 1, "batch_size": len(z), "shuffle": False, "progress": False}
    start = {p.name: value for p, value in values.items()}
    if compiled:
        after = set()
        for team in (1, 2, 3):
            for name, value in start.items():
                model.params[name] = value
            model.fit({"z": z}, threads=team, **options)
            after.add(model.params.flat.tobytes())
        assert len(after) == 1
        text = str(model.source())
        assert all(word in text for word in ("contract_lines(", "contract_dots(", "fill(A, ", "wide()", "s = rmax(s, "))
    else:
        same_bits(model, {"z": z}, values, **options)
    with jax.enable_x64(True):
        slope = jax.grad(loss_of_pictures)(start, jnp.array(z))
    for name, before in start.items():
        np.testing.assert_allclose(before - model.params[name], slope[name], rtol=0, atol=1e-12)


def test_sums_over_few_rows_at_a_time_begin_with_0_in_every_line(monkeypatch: pytest.MonkeyPatch):
    """The step is compared with the interpreter. Planted fault, seen to fail: the first line alone."""
    monkeypatch.setattr("graphc.emit.contractions.CACHED", 64)
    rng = np.random.default_rng(0)
    X, T, W = gc.input("X", ("n", 4, 8)), gc.input("T", ("n", 2, 4, 4)), gc.param("W", (8, 2, 4))
    Y = gc.einsum("ntm,mhd->nhtd", X, W)
    model = gc.Model(Y, loss=gc.mean((gc.tanh(Y) - T) ** 2))
    with in_python(Plain(), "divided"):
        model.fit(rng.normal(size=(16, 4, 8)), rng.normal(size=(16, 2, 4, 4)), optimizer="sgd", steps=1, batch_size=16)
    text = model.source("sgd", 16)
    assert "for row_0 in range(0, n, 1):" in text and "contract_lines(" in text


def test_every_factor_that_a_mask_keeps_inside_has_zeros_around():
    """Planted fault, seen to fail: the first factor alone, so that the other one is read before its beginning."""
    X, W = gc.input("X", ("n", 2)), gc.param("W", (1, 2))
    f = gc.compile(gc.sum(gc.avg_pool((X * W)[:, None, :], 3, stride=1, padding=1) ** 2), dtype="float64")
    reads = re.findall(r"\*x1_W\[([^\]]*)\]", f.source)
    assert not any("- 1" in place for place in reads), f.source


def test_a_convolution_with_full_padding_and_one_of_few_terms_are_those_of_numpy():
    """What is added at f - m + padding lost the padding (an error of 22, or the end of the process), and a literal sum
    shorter than a part did not compile. Both planted again, and seen to fail."""
    rng, made = np.random.default_rng(0), []
    cases = [(8, 16, 7, 4, 3), (16, 16, 40, 5, 1)]
    for t, (c, o, length, k, p) in enumerate(cases):
        x, w = rng.normal(size=(3, c, length)), rng.normal(size=(k, c, o))
        wide = np.pad(x, ((0, 0), (0, 0), (p, p)))
        exact = np.einsum("nctk,kco->not", np.lib.stride_tricks.sliding_window_view(wide, k, axis=2), w)
        K, X = gc.param(f"K{t}", w.shape), gc.input(f"X{t}", ("n", *x.shape[1:]))  # so the kernel is the left factor
        made.append((gc.conv1d(X, K, padding=p), (X, K), (x, w), exact))
    ys, leaves, data, wanted = zip(*made, strict=True)
    f = gc.compile([*ys], [leaf for pair in leaves for leaf in pair], dtype="float64", verify=False)
    for found, exact in zip(f(*(x for pair in data for x in pair)), wanted, strict=True):
        np.testing.assert_allclose(found, exact, rtol=0, atol=1e-12)
