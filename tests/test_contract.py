"""Delta contraction: every way an equality mask is solved, against brute force; convolutions against JAX."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import graphc as gc
from graphc.declare.tensor import Tensor
from graphc.derive.gradient import gradient
from graphc.ir import build, contract
from graphc.ir.affine import Affine, Gather, affine, constant, floor_div, index, modulo, substitute
from graphc.ir.build import equation
from graphc.ir.node import Equation, Leaf, Mask, Node, Read
from graphc.ir.scalar import placeholder
from tests.graphs import assert_near, in_jax, reference

A, B = placeholder(0), placeholder(1)
I, J, K = index(0), index(1), index(2)


def leaf(name: str, *shape: int) -> Leaf:
    return Leaf(name, shape, "input")


# ---------------------------------------------------------------- brute force


def value_of(x: Affine, at: Sequence[int], labels: np.ndarray | None = None) -> int:
    """An index map, by the definition of its atoms in Python's whole numbers."""
    total = x.const
    for atom, coef in x.terms:
        if isinstance(atom, int):
            part = at[atom]
        elif isinstance(atom, Gather):
            part = int(labels[tuple(value_of(a, at) for a in atom.at)])
        else:
            inner = value_of(atom.inner, at)
            part = inner // atom.divisor if type(atom).__name__ == "FloorDiv" else inner % atom.divisor
        total += coef * part
    return total


def scatter(maps: Sequence[Affine], extents: Sequence[int], shape: Sequence[int], w: np.ndarray, labels=None):
    """out[p..] = sum_{i..: maps(i..) = p..} w[i..], by a loop over everything."""
    out = np.zeros(shape)
    for at in itertools.product(*map(range, extents)):
        out[tuple(value_of(m, at, labels) for m in maps)] += w[at]
    return out


def pulled_back(maps: Sequence[Affine], extents: Sequence[int], shape: Sequence[int]) -> tuple[Node, Leaf]:
    """The pullback of y[i..] = x[maps(i..)] for a cotangent w, and the leaf of w."""
    x, w = leaf("x", *shape), leaf("w", *extents)
    y = equation(extents, len(extents), "sum", A, [Read(x, tuple(maps))])
    return gradient(y, [x], w)[0], w


LABELS = Leaf("labels", (6,), "input", "int", bound=5)
CASES: dict[str, tuple[str, list[Affine], list[int], list[int]]] = {
    "slice": ("unit", [I + 2], [4], [7]),
    "reverse": ("unit", [-I + 5], [6], [6]),
    "transpose": ("unit unit", [J, I], [3, 4], [4, 3]),
    "window": ("unit", [I + J], [5, 3], [7]),
    "diagonal": ("unit", [I, I], [4], [4, 4]),
    "stride": ("divide", [I * 2 + 1], [3], [7]),
    "stride backwards": ("divide", [-(I * 3) + 8], [3], [9]),
    "strides with a hole": ("divide", [I * 3 + J * 2], [3, 3], [11]),
    "pooling": ("radix unit", [I * 2 + J], [4, 2], [8]),
    "pooling with gaps": ("radix unit", [I * 5 + J], [3, 4], [15]),
    "flatten": ("radix radix unit", [I * 12 + J * 4 + K], [2, 3, 4], [24]),
    "reshape": ("pair unit", [floor_div(I, 3), modulo(I, 3)], [6], [2, 3]),
    "upsample": ("floor unit", [floor_div(I, 2)], [8], [4]),
    "upsample, shifted": ("floor unit", [floor_div(I + 1, 3)], [7], [3]),
    "periodic": ("modulo", [modulo(I, 3)], [7], [3]),
    "periodic window": ("modulo", [modulo(I + J, 4)], [4, 2], [4]),
    "gather": ("", [Affine(0, ((Gather(LABELS, (I,)), 1),))], [6], [5]),
    "gather with an offset": ("", [Affine(1, ((Gather(LABELS, (I,)), 1),))], [6], [6]),
}


@pytest.mark.parametrize("name", CASES)
def test_each_way_to_solve_a_delta_is_taken_and_right(name):
    """Mutation-checked: without the mask c | R, without 0 <= a < extent, or with ceil for floor a case fails."""
    taken, maps, extents, shape = CASES[name]
    contract.branches.clear()
    build.settled.cache_clear()
    bar, w = pulled_back(maps, extents, shape)
    assert contract.branches[: len(taken.split())] == taken.split(), contract.branches
    values = np.random.default_rng(1).normal(size=extents)
    labels = np.array([4, 0, 0, 2, 4, 1])
    found = reference([Tensor(bar)], {Tensor(w): values, Tensor(LABELS): labels})[0]
    assert_near(found, scatter(maps, extents, shape, values, labels), 1e-14, name)


def test_the_branches_reached_above_are_all_there_are():
    reached = {b for taken, *_ in CASES.values() for b in taken.split()}
    assert reached == {"unit", "divide", "radix", "pair", "floor", "modulo"}


@pytest.mark.parametrize("name", ["gather", "diagonal"])
def test_what_no_index_solves_stays_as_an_equality_mask(name):
    """labels[i] = p has no formula for i; p = q, both free, has no bound index."""
    _, maps, extents, shape = CASES[name]
    bar, _ = pulled_back(maps, extents, shape)
    assert isinstance(bar, Equation) and [m.kind for m in bar.masks].count("eq") == 1


@pytest.mark.parametrize("name", ["slice", "window", "pooling", "flatten", "reshape", "upsample", "periodic", "stride"])
def test_no_delta_is_left_where_an_index_solves_it(name):
    _, maps, extents, shape = CASES[name]
    bar, _ = pulled_back(maps, extents, shape)
    assert isinstance(bar, Equation) and not [m for m in bar.masks if m.kind == "eq"]


def test_pooling_flattening_and_upsampling_pull_back_without_a_wasted_loop():
    """Not one element of the iteration space is visited in vain: the bound indices are those of a hand-written loop."""
    sizes = {"pooling": 0, "flatten": 0, "reshape": 0, "transpose": 0, "upsample": 2, "window": 3}
    for name, expected in sizes.items():
        _, maps, extents, shape = CASES[name]
        bar, _ = pulled_back(maps, extents, shape)
        assert isinstance(bar, Equation) or expected == 0
        bound = list(getattr(bar, "bound", ()))
        assert (int(np.prod(bound)) if bound else 0) == expected, name


@st.composite
def quasi_affine(draw, extents: Sequence[int]) -> Affine:
    """A map of the indices with terms, floors and remainders, shifted to begin at 0."""
    x = affine(0, {t: draw(st.integers(-3, 3)) for t in range(len(extents))})
    kind = draw(st.sampled_from(["plain", "plain", "floor", "modulo", "both"]))
    c = draw(st.integers(2, 4))
    if kind in ("floor", "both"):
        x = floor_div(x + draw(st.integers(0, 5)), c, extents) * draw(st.sampled_from([1, 1, 2]))
    if kind == "modulo":
        x = modulo(x, c, extents)
    if kind == "both":
        x = x + modulo(affine(0, {0: 1}), c, extents) * draw(st.sampled_from([1, -1]))
    lowest = min(value_of(x, at) for at in itertools.product(*map(range, extents)))
    return x - lowest


@st.composite
def reads(draw) -> tuple[list[int], list[Affine]]:
    extents = draw(st.lists(st.integers(1, 5), min_size=1, max_size=3))
    return extents, draw(st.lists(quasi_affine(extents), min_size=1, max_size=2))


@settings(max_examples=150)
@given(reads())
def test_the_pullback_of_any_quasi_affine_read_scatters_as_brute_force_does(read):
    """Twice: the second derivative opens floors and remainders that the first left."""
    extents, maps = read
    points = list(itertools.product(*map(range, extents)))
    shape = [max(value_of(m, at) for at in points) + 1 for m in maps]
    bar, w = pulled_back(maps, extents, shape)
    values = np.random.default_rng(0).normal(size=extents)
    assert_near(reference([Tensor(bar)], {Tensor(w): values})[0], scatter(maps, extents, shape, values), 1e-13)
    v = leaf("v", *shape)
    back = gradient(bar, [w], v)[0]
    cotangent = np.random.default_rng(1).normal(size=shape)
    gathered = np.array([cotangent[tuple(value_of(m, at) for m in maps)] for at in points]).reshape(extents)
    assert_near(reference([Tensor(back)], {Tensor(v): cotangent, Tensor(w): values})[0], gathered, 1e-13)


@settings(max_examples=60)
@given(reads(), st.integers(0, 3))
def test_a_sum_under_equality_masks_is_the_sum_by_brute_force(read, shift):
    """out[p] = sum_{i..: map = p + shift} x[i..], the equality given by hand."""
    extents, maps = read
    extent = 6
    moved = [substitute(m, lambda t: index(t + 1)) for m in maps]
    x = leaf("x", *extents)
    masks = [Mask("eq", moved[0] - index(0) - shift)]
    masks += [Mask("ge", constant(3) - m) for m in moved[1:]]
    at = tuple(index(t + 1) for t in range(len(extents)))
    y = equation([extent, *extents], 1, "sum", A, [Read(x, at)], masks)
    values = np.random.default_rng(2).normal(size=extents)
    wanted = np.zeros(extent)
    for p, *place in itertools.product(range(extent), *map(range, extents)):
        holds = value_of(maps[0], place) == p + shift and all(value_of(m, place) <= 3 for m in maps[1:])
        wanted[p] += values[tuple(place)] if holds else 0.0
    assert_near(reference([Tensor(y)], {Tensor(x): values})[0], wanted, 1e-13)


# ---------------------------------------------------------------- convolutions and the like, compiled, against JAX


def conv(x: Leaf, w: Leaf, stride: int, padding: int) -> Node:
    """y[b, o, i] = sum_{c, k} x[b, c, stride*i + k - padding] * w[o, c, k], 0 outside."""
    (batch, channels, length), (out, _, width) = x.shape, w.shape
    count = (length + 2 * padding - width) // stride + 1
    place = K * stride + index(4) - padding
    masks = [Mask("ge", place), Mask("ge", constant(length - 1) - place)]
    operands = [Read(x, (I, index(3), place)), Read(w, (J, index(3), index(4)))]
    return equation([batch, out, count, channels, width], 3, "sum", A * B, operands, masks)


def jax_conv(stride: int, padding: int) -> Callable[..., jax.Array]:
    return lambda x, w: jax.lax.conv_general_dilated(x, w, (stride,), [(padding, padding)])


def indexed(build: Callable[..., Tensor]) -> Callable[[Leaf, Leaf], Node]:
    return lambda x, w: build(Tensor(x), Tensor(w)).node


def notation(x: Tensor, w: Tensor) -> Tensor:
    b, o, c, i, k = gc.indices("b o c i k")
    return gc.define("Y", [b, o, i], gc.sum(x[b, c, i + k] * w[o, c, k], over=(c, k)))


def dilated(x: Tensor, w: Tensor) -> Tensor:
    b, o, c, i, k = gc.indices("b o c i k")
    return gc.define("Y", [b, o, i], gc.sum(x[b, c, i + 2 * k] * w[o, c, k], over=(c, k)))


def pooled(x: Tensor, w: Tensor) -> Tensor:
    b, c = gc.indices("b c")
    i, k = gc.indices("i k", i=6, k=2)
    return gc.define("Y", [b, c, i], gc.mean(x[b, c, 2 * i + k] ** 2, over=k)) * w[0, :, 0][None, :, None]


def max_pooled(x: Tensor, w: Tensor) -> Tensor:
    b, c = gc.indices("b c")
    i, k = gc.indices("i k", i=5, k=3)
    return gc.define("Y", [b, c, i], gc.max(x[b, c, 2 * i + k], over=k)) * w[0, :, 0][None, :, None]


def upsampled(x: Tensor, w: Tensor) -> Tensor:
    b, c = gc.indices("b c")
    i = gc.indices("i", i=24)
    return gc.define("Y", [b, c, i], x[b, c, i // 2] ** 2 * w[0, c, i % 3])


def flattened(x: Tensor, w: Tensor) -> Tensor:
    return gc.tanh(gc.reshape(x, (2, 24))) @ gc.reshape(w, (6, 3))[[0, 1, 2, 3, 4, 5] * 4]


def periodic(x: Tensor, w: Tensor) -> Tensor:
    b, c, i, k = gc.indices("b c i k")
    return gc.define("Y", [b, i], gc.sum(x[b, c, (i + k) % 12] * w[0, c, k] * x[b, c, i], over=(c, k)))


PERIOD = np.arange(12)[:, None] + np.arange(3)
NETS: dict[str, tuple[Callable[[Leaf, Leaf], Node], Callable[..., jax.Array]]] = {
    "convolution": (lambda x, w: conv(x, w, 1, 0), jax_conv(1, 0)),
    "convolution, padded": (lambda x, w: conv(x, w, 1, 1), jax_conv(1, 1)),
    "convolution, stride 2": (lambda x, w: conv(x, w, 2, 0), jax_conv(2, 0)),
    "convolution, stride 2, padded": (lambda x, w: conv(x, w, 2, 2), jax_conv(2, 2)),
    "convolution, stride 3, padded": (lambda x, w: conv(x, w, 3, 1), jax_conv(3, 1)),
    "convolution in index notation": (indexed(notation), jax_conv(1, 0)),
    "dilated convolution": (
        indexed(dilated),
        lambda x, w: jax.lax.conv_general_dilated(x, w, (1,), [(0, 0)], rhs_dilation=(2,)),
    ),
    "mean pooling": (
        indexed(pooled),
        lambda x, w: jax.lax.reduce_window(x**2, 0.0, jax.lax.add, (1, 1, 2), (1, 1, 2), "VALID") / 2 * w[0, :, :1],
    ),
    "max pooling": (
        indexed(max_pooled),
        lambda x, w: jnp.max(x[:, :, np.arange(5)[:, None] * 2 + np.arange(3)], axis=-1) * w[0, :, :1],
    ),
    "upsampling": (indexed(upsampled), lambda x, w: jnp.repeat(x, 2, 2) ** 2 * jnp.tile(w[0], (1, 8))),
    "flattening": (
        indexed(flattened),
        lambda x, w: jnp.tanh(x.reshape(2, 24)) @ jnp.tile(w.reshape(6, 3), (4, 1)),
    ),
    "periodic convolution": (
        indexed(periodic),
        lambda x, w: jnp.einsum("bcik,ck,bci->bi", x[:, :, PERIOD % 12], w[0], x),
    ),
}


def test_convolutions_pooling_and_reshapes_compiled_with_two_derivatives_are_those_of_jax():
    """One program: the values, the gradients by x and w, and a Hessian-vector product by w."""
    rng = np.random.default_rng(0)
    x, w, v = gc.input("x", (2, 2, 12)), gc.input("w", (3, 2, 3)), gc.input("v", (3, 2, 3))
    arrays = [rng.normal(size=t.shape) for t in (x, w, v)]
    outputs = []
    for ours, _ in NETS.values():
        y = Tensor(ours(x.node, w.node))
        loss = gc.sum(gc.sin(y) + y**2 / 3)
        outputs += [y, *gc.grad(loss, [x, w]), gc.hvp(loss, w, v)]

    def theirs(x, w, v):
        wanted = []
        for _, f in NETS.values():
            loss = lambda x, w, f=f: jnp.sum(jnp.sin(f(x, w)) + f(x, w) ** 2 / 3)
            slope = lambda w, loss=loss: jax.grad(loss, 1)(x, w)
            wanted += [f(x, w), *jax.grad(loss, (0, 1))(x, w), jax.jvp(slope, (w,), (v,))[1]]
        return wanted

    wanted = in_jax(theirs)(*arrays)
    labels = [f"{name}: {what}" for name in NETS for what in ("value", "by x", "by w", "second by w")]
    interpreted = reference(outputs, dict(zip((x, w, v), arrays)))
    compiled = gc.compile(outputs, [x, w, v])(*arrays)
    for label, a, b, c in zip(labels, interpreted, compiled, wanted):
        assert_near(a, c, 1e-12, f"interpreter, {label}")
        assert_near(b, c, 1e-12, f"compiled, {label}")
