"""Convolutions and pooling on drawn shapes, strides, paddings, dilations and groups: values and derivatives of JAX."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import graphc as gc
from graphc.errors import GraphcError
from graphc.ir import build, contract
from graphc.show.mathml import mathml
from tests import graphs
from tests.nets import text_of

RNG = np.random.default_rng


@dataclass(frozen=True)
class Case:
    """One drawn convolution: the shapes, and the options of both libraries."""

    x: tuple[int, ...]
    kernel: tuple[int, ...]
    options: dict[str, Any]

    @property
    def axes(self) -> int:
        return len(self.kernel) - 2

    def layout(self) -> tuple[str, str, str]:
        places = "HWD"[: self.axes]
        shown = f"NC{places}" if self.options["channels"] == "first" else f"N{places}C"
        return shown, f"{places}IO", shown

    def jax(self, x: Any, kernel: Any) -> Any:
        o = self.options
        pads = o["padding"].upper() if isinstance(o["padding"], str) else [(p, p) for p in o["padding"]]
        return jax.lax.conv_general_dilated(
            x, kernel, o["stride"], pads, rhs_dilation=o["dilation"], dimension_numbers=self.layout(),
            feature_group_count=o["groups"], precision="highest",
        )  # fmt: skip


def drawn(seed: int, volume: bool = False) -> Case:
    rng = RNG(seed)
    axes, groups = int(rng.integers(1, 3)), int(rng.choice([1, 1, 2, 3]))
    axes = 3 if volume else axes
    width = tuple(int(k) for k in rng.integers(1, 4, axes))
    dilation = tuple(int(d) for d in rng.integers(1, 3, axes))
    length = tuple(int(rng.integers(d * (k - 1) + 1, 8)) for k, d in zip(width, dilation))
    each = int(rng.integers(1, 3))
    padding = ["valid", "same", tuple(int(p) for p in rng.integers(0, 3, axes))][int(rng.integers(0, 3))]
    channels = str(rng.choice(["first", "first", "last"]))
    x = (2, groups * each, *length) if channels == "first" else (2, *length, groups * each)
    kernel = (*width, each, groups * int(rng.integers(1, 3)))
    stride = tuple(int(s) for s in rng.integers(1, 4, axes))
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups, "channels": channels}
    return Case(x, kernel, options)


CASES = [*(drawn(seed) for seed in range(12)), drawn(12, volume=True)]
CONV = {1: gc.conv1d, 2: gc.conv2d, 3: gc.conv3d}


def loss_of(o: Any, y: Any) -> Any:
    return o.sum(o.sin(y) + y**2 / 3)


def derivatives(ours: Any, x: np.ndarray, w: np.ndarray) -> list[np.ndarray]:
    """The value, the gradients by x and by w, and the derivative of (gradient by w)² by x: second order."""
    X, W = gc.input("X", ("n", *x.shape[1:])), gc.param("W", w.shape)
    y = ours(X, W)
    gx, gw = gc.grad(loss_of(gc, y), [X, W])
    return graphs.reference([y, gx, gw, gc.grad(gc.sum(gw**2), X)], {X: x, W: w})


def derivatives_in_jax(theirs: Any) -> Any:
    def run(x: Any, w: Any) -> Any:
        slope = jax.grad(lambda x, w: loss_of(jnp, theirs(x, w)), (0, 1))
        return theirs(x, w), *slope(x, w), jax.grad(lambda x: jnp.sum(slope(x, w)[1] ** 2))(x)

    return run


def assert_derivatives(found: list[np.ndarray], wanted: Any, label: Any) -> None:
    for what, a, b, tolerance in zip(("value", "by x", "by w", "second"), found, wanted, (1e-13, 1e-12, 1e-12, 1e-9)):
        assert np.shape(a) == np.shape(b), (label, what, np.shape(a), np.shape(b))
        graphs.assert_near(a, b, tolerance, (label, what))


def transposed_in_jax(case: Case, more: tuple[int, ...]) -> Any:
    """The transpose of the linear map that the convolution with the same options is, which JAX makes of it."""

    def run(y: Any, w: Any) -> Any:
        places = [t for t, c in enumerate(case.layout()[0]) if c in "HWD"]
        shape = list(y.shape)
        shape[case.layout()[0].index("C")] = w.shape[-1] * case.options["groups"]
        for a, t in enumerate(places):
            span, s = case.options["dilation"][a] * (w.shape[a] - 1) + 1, case.options["stride"][a]
            cut = case.options["padding"]
            full = (y.shape[t] - 1) * s + span
            same = y.shape[t] * s
            shape[t] = same if cut == "same" else full if cut == "valid" else full - 2 * cut[a] + more[a]
        forward = lambda x: case.jax(x, jnp.swapaxes(w, -1, -2))  # a kernel (.., out/groups, in) of ours
        return jax.linear_transpose(forward, jnp.zeros(shape))(y)[0]

    return run


def transposed(seed: int, volume: bool = False) -> tuple[Case, tuple[int, ...]]:
    """A drawn convolution as the transposed one from its result, with places at the end that no window reaches."""
    case = drawn(seed, volume)
    rng = RNG(seed)
    count = tuple(int(i) for i in rng.integers(2, 5, case.axes))
    channels = case.kernel[-1]
    x = (2, channels, *count) if case.options["channels"] == "first" else (2, *count, channels)
    more = tuple(int(rng.integers(0, s)) for s in case.options["stride"])
    padding = case.options["padding"]
    if not isinstance(padding, str):
        spans = [d * (k - 1) for d, k in zip(case.options["dilation"], case.kernel)]
        padding = tuple(min(p, span // 2) for p, span in zip(padding, spans))
    options = case.options | {"padding": padding}
    kernel = (*case.kernel[:-2], case.kernel[-1], case.kernel[-2])
    return Case(x, kernel, options), (0,) * case.axes if isinstance(padding, str) else more


TRANSPOSED = [*(transposed(seed) for seed in range(30, 37)), transposed(37, volume=True)]
BACK = {1: gc.conv1d_transpose, 2: gc.conv2d_transpose, 3: gc.conv3d_transpose}


def largest(x: Any, width: Any, steps: Any, apart: Any) -> Any:
    """The largest of slices, one for each element of a window: JAX has no derivative of its own with a dilation."""
    counts = [(n - d * (k - 1) - 1) // s + 1 for n, k, s, d in zip(x.shape[2:], width, steps, apart)]
    spans = [[slice(d * k, d * k + s * (c - 1) + 1, s) for k in range(w)]
             for w, s, d, c in zip(width, steps, apart, counts)]  # fmt: skip
    return jnp.max(jnp.stack([x[:, :, *parts] for parts in itertools.product(*spans)]), axis=0)


def pools(name: str, options: dict[str, Any]) -> Any:
    """A pooling of JAX's reduce_window over the last axes; the padding never counts but when it is asked to."""
    width, axes = options["window"], len(options["window"])
    steps = (1, 1, *options.get("stride", width))
    pads = options.get("padding", "valid")
    pads = pads.upper() if isinstance(pads, str) else [(0, 0), (0, 0), *pads]
    apart = (1, 1, *options.get("dilation", (1,) * axes))

    def run(x: Any, _: Any) -> Any:
        around = [(0, 0), (0, 0), *beyond] if (beyond := options.get("beyond")) else pads
        add = lambda y: jax.lax.reduce_window(y, 0.0, jax.lax.add, (1, 1, *width), steps, around, None, apart)
        if name == "max_pool" and "dilation" in options:
            return largest(x, width, steps[2:], apart[2:])
        if name == "max_pool":
            return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 1, *width), steps, around, None, apart)
        if options.get("ceil_mode") and options.get("count_include_pad"):  # what lies beyond the padding counts never
            padded = [(0, 0), (0, 0), *((0, b - p) for (_, b), (_, p) in zip(around[2:], pads[2:]))]
            ones = jnp.ones([n + a + b for n, (a, b) in zip(x.shape, pads)])
            return add(x) / jax.lax.reduce_window(ones, 0.0, jax.lax.add, (1, 1, *width), steps, padded, None, apart)
        return add(x) / (np.prod(width) if options.get("count_include_pad") else add(jnp.ones(x.shape)))

    return run, axes


POOLS = [
    ("max_pool", {"window": (2, 2)}),
    ("max_pool", {"window": (3, 2), "stride": (2, 1), "padding": "same"}),
    ("max_pool", {"window": (2,), "stride": (3,), "padding": [(1, 0)]}),
    ("avg_pool", {"window": (2, 3), "stride": (2, 2)}),
    ("avg_pool", {"window": (3,), "stride": (2,), "padding": "same"}),
    ("avg_pool", {"window": (3, 2), "padding": [(1, 2), (1, 0)]}),
    ("avg_pool", {"window": (3, 2), "stride": (1, 2), "padding": [(1, 1), (0, 1)], "count_include_pad": True}),
    ("max_pool", {"window": (2, 3), "stride": (1, 2), "dilation": (3, 2)}),
    ("avg_pool", {"window": (3, 2), "stride": (2, 1), "dilation": (2, 3), "padding": [(2, 1), (1, 2)]}),
    ("max_pool", {"window": (2, 2), "stride": (2, 4), "ceil_mode": True, "beyond": [(0, 1), (0, 0)]}),
    ("avg_pool", {"window": (3, 3), "stride": (3, 2), "ceil_mode": True, "beyond": [(0, 1), (0, 1)]}),
    ("avg_pool", {"window": (2, 3), "stride": (4, 2), "padding": [(1, 1), (1, 0)], "count_include_pad": True,
                  "ceil_mode": True, "beyond": [(1, 1), (1, 1)]}),
]


def arrays_of(case: Case, seed: int) -> tuple[np.ndarray, np.ndarray]:
    return RNG(seed).normal(size=case.x), RNG(seed + 100).normal(size=case.kernel)


def words() -> dict[str, tuple[Any, Any, tuple[np.ndarray, np.ndarray]]]:
    """Ours, JAX's and the data of every case."""
    found: dict[str, Any] = {}
    for t, case in enumerate(CASES):
        conv = CONV[case.axes]
        ours = lambda X, W, f=conv, c=case: f(X, W, **c.options)
        found[f"{t} {case}"] = ours, case.jax, arrays_of(case, t)
    for t, (case, more) in enumerate(TRANSPOSED):
        conv = BACK[case.axes]
        ours = lambda X, W, f=conv, c=case, m=more: f(X, W, output_padding=m, **c.options)
        found[f"transposed {t} {case} {more}"] = ours, transposed_in_jax(case, more), arrays_of(case, t)
    for name, options in POOLS:
        theirs, axes = pools(name, options)
        own = {key: value for key, value in options.items() if key != "beyond"}
        ours = lambda X, W, n=name, o=own: getattr(gc, n)(X, **o) * gc.sum(W)
        scaled = lambda x, w, f=theirs: f(x, w) * jnp.sum(w)
        x, w = RNG(0).normal(size=(2, 2, *(5, 6)[:axes])), RNG(1).normal(size=(2,))
        found[f"{name} {options}"] = ours, scaled, (x, w)
    return found


def test_windows_of_drawn_shapes_have_the_derivatives_of_jax():
    """In one program of JAX. Mutation-checked: a place that forgets the dilation, a group that reads the channels of
    another, "same" with its larger half before, padding that counts in a mean, what lies beyond it that does."""
    cases = words()
    both = lambda data: [derivatives_in_jax(f)(*arrays) for (_, f, _), arrays in zip(cases.values(), data)]
    contract.branches.clear()
    build.settled.cache_clear()
    wanted = graphs.in_jax(both)([arrays for _, _, arrays in cases.values()])
    for (name, (ours, _, arrays)), one in zip(cases.items(), wanted, strict=True):
        assert_derivatives(derivatives(ours, *arrays), one, name)
    assert {"unit", "divide", "radix"} <= set(contract.branches)


def test_channels_may_stand_last_and_the_length_may_be_free():
    x, k = RNG(0).normal(size=(2, 3, 7)), RNG(1).normal(size=(3, 3, 2))
    first, last, K = gc.input("X", ("n", 3, "m")), gc.input("U", ("n", 7, 3)), gc.param("K", (3, 3, 2))
    fixed = gc.input("V", ("n", 3, 7))
    found = graphs.reference(
        [
            gc.conv1d(first, K, padding="same"), gc.conv1d(first, K, padding="causal"),
            gc.avg_pool(first, 3, 1, "same"), gc.avg_pool(first, 3, 1, "same", count_include_pad=True),
            gc.swapaxes(gc.max_pool(last, 2, channels="last"), 1, 2), gc.global_avg_pool(last, channels="last"),
        ],
        {first: x, last: x.swapaxes(1, 2), K: k},
    )  # fmt: skip
    words = [gc.conv1d(fixed, K, padding="same"), gc.conv1d(gc.pad(fixed, ((0, 0), (0, 0), (2, 0))), K),
             gc.avg_pool(fixed, 3, 1, "same"), gc.avg_pool(fixed, 3, 1, "same", count_include_pad=True),
             gc.max_pool(fixed, 2), gc.mean(fixed, axis=2)]  # fmt: skip
    for a, b in zip(found, graphs.reference(words, {fixed: x, K: k}), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-14)


X = gc.input("X", ("n", 3, 8, 8))
U = gc.input("U", ("n", 3, "m"))
K = gc.param("K", (3, 3, 3, 4))
K1 = gc.param("K1", (3, 3, 4))


def test_convolution_and_pooling_print_as_on_paper():
    """Mutation-checked: a mask that stays where it always holds is seen."""
    H = gc.max_pool(gc.relu(gc.conv2d(X, K, gc.param("b", (4,)))), 2)
    lines = [line.rstrip() for line in str(gc.derive(gc.mean(H**2)).index()).splitlines()]
    text = "\n".join(line.partition("  test_windows")[0].rstrip() for line in lines)
    assert "Z0[i,j,k,l] = Σ_{m,p,q} X[i,m,k+p,l+q]·K[p,q,m,j] + b[j]" in text
    assert "M0[i,j,k,l] = max_{m,p} H0[i,j,2k+m,2l+p]" in text
    assert "∂J/∂K[p,q,m,j] = Σ_{i,k,l} X[i,m,p+k,q+l]·δ0[i,j,k,l]" in text
    pooled = gc.derive(gc.mean(H**2)).matrix()
    assert "\n = M0[i,j,⌊k/2⌋,⌊l/2⌋]·[H0[i,j,k,l] = M0[i,j,⌊k/2⌋,⌊l/2⌋]]" in pooled  # a long line is not cut
    flat = str(gc.derive(gc.sum(gc.reshape(gc.conv2d(X, K), ("n", -1)) @ gc.param("W", (144, 1))), K))
    assert "[i,⌊k/36⌋,(⌊k/6⌋ mod 6),(k mod 6)]" in flat
    same = str(gc.derive(gc.mean(gc.conv2d(X, K, stride=2, padding="same") ** 2), K))
    assert "Σ_{p,q,r: 7 ≥ 2l+q, 7 ≥ 2m+r} X[i,p,2l+q,2m+r]·K[q,r,p,k]" in same


b = gc.param("b", (4,))
SIGNS = [
    (lambda: gc.conv2d(X, K, b), "K * X + b"),
    (lambda: gc.conv2d(X, K, padding=[(2, 1), (0, 1)]), "K * X"),
    (lambda: gc.conv2d(gc.input("I", ("n", 8, 8, 3)), K, b, padding="same", channels="last"), "K * I + b"),
    (lambda: gc.conv1d(gc.input("S", ("n", 3, 7)), K1, padding="causal"), "K1 * S"),
    (lambda: gc.conv1d(gc.input("V", ("n", 1, 9)), gc.param("F", (2, 1, 4)), b), "F * V + b"),
    (lambda: gc.conv2d(X, K, stride=2), None),
    (lambda: gc.conv2d(X, K, dilation=2), None),
    (lambda: gc.conv2d(X, K[:, :, :1, :3], groups=3), None),
    (lambda: gc.conv2d_transpose(X, K), None),
    (lambda: gc.conv2d(X, K) + gc.param("c", (6,)), None),  # a number for each column of a picture
]  # fmt: skip


@pytest.mark.parametrize(("make", "text"), SIGNS)
def test_a_convolution_has_a_sign_of_its_own(make: Any, text: str | None):
    """Mutation-checked: a stride that is not looked at, a bias along another axis."""
    page = gc.derive(gc.mean(gc.tanh(make())))
    assert ("<mo>∗</mo>" in mathml(page.latex("matrix"))) is (text is not None)
    lines = [line.matrix for line in page.lines if line.left.startswith("Z0")]
    assert lines == [text]
    assert text is None or f"Z0 = {text}" in str(page.matrix()) and r" \ast " in page.latex("matrix")


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: gc.conv2d(gc.input("I", ("n", 8, 8)), K),
         "conv2d: axis 0 of I[n, 8, 8] has n channels but axis 2 of the kernel K[3, 3, 3, 4] is for 3\n"
         '  hint: channels="last" says that the channels are the last axis; groups= divides them.'),
        (lambda: gc.conv2d(gc.input("I", ("n", 8)), K),
         "conv2d: I[n, 8] has 2 axes\n"
         "  hint: give (n, channels, height, width); x[:, None] adds an axis of one channel."),
        (lambda: gc.conv2d(X, K1), "conv2d: the kernel K1[3, 3, 4] has 3 axes\n"
         "  hint: give 4 axes of known extent, (height, width, in/groups, out)."),
        (lambda: gc.conv2d(X, K, groups=3), "conv2d: axis 1 of X[n, 3, 8, 8] has 3 channels but axis 2 of the kernel "
         "K[3, 3, 3, 4] is for 9 in 3 groups\n"
         '  hint: channels="last" says that the channels are the last axis; groups= divides them.'),
        (lambda: gc.conv2d(X, K[:, :, :1], groups=3), "conv2d: the 4 channels of axis 3 of the kernel the (3, 3, 1, 4) "
         "tensor of test_windows.py:LINE are not 3 groups\n"
         "  hint: the number of groups divides both numbers of channels."),
        (lambda: gc.conv2d(X, K, gc.param("b", (3,))),
         "conv2d: the bias is b[3] for the 4 channels that the kernel K[3, 3, 3, 4] gives\n"
         "  hint: give it the shape (4,)."),
        (lambda: gc.conv2d(X, K, dilation=4),
         "conv2d: a window of 9 does not fit axis 2 of X[n, 3, 8, 8] with extent 8\n"
         '  hint: take a smaller window, or padding="same".'),
        (lambda: gc.conv2d(X, K, stride=0),
         "conv2d: the stride is 0\n  hint: give a whole number or 2 of them, at least 1."),
        (lambda: gc.conv2d(X, K, padding="full"), "conv2d: the padding is 'full'\n"
         '  hint: give "valid", "same", a number, or one or a pair (before, after) for each of the 2 axes.'),
        (lambda: gc.conv2d(X, K, channels="NHWC"), "conv2d: channels='NHWC'\n"
         '  hint: it is "first", (n, channels, height, width), or "last", (n, height, width, channels).'),
        (lambda: gc.conv1d(U, K1), "conv1d: axis 2 of U[n, 3, m] has the free extent m: how many windows there are is "
         'not known\n  hint: take stride=1 and padding="same", or give the axis a known extent.'),
        (lambda: gc.conv1d_transpose(U, gc.param("F", (2, 3, 2))), "conv1d_transpose: axis 2 of U[n, 3, m] has the "
         "free extent m\n  hint: a transposed convolution runs along axes of known extent."),
        (lambda: gc.conv2d_transpose(X, gc.param("F", (2, 2, 3, 2)), padding=5),
         "conv2d_transpose: nothing is left of axis 2 of X[n, 3, 8, 8]: 9 places less the padding\n"
         "  hint: take less padding."),
        (lambda: gc.max_pool(X, 2, padding=2), "max_pool: 2 places of padding on axis 2 of X[n, 3, 8, 8] for a window "
         "of 2\n  hint: the padding is less than the window, or windows would lie in it alone."),
        (lambda: gc.max_pool(gc.param("L", (3, 1)), 2, padding=1, dilation=2),
         "max_pool: 1 places of padding on axis 1 of L[3, 1] for a window of 2 with dilation 2\n"
         "  hint: the padding is less than the window, or windows would lie in it alone."),
        (lambda: gc.conv3d(X[:, 0], K), "conv3d: the (n, 8, 8) tensor of test_windows.py:LINE has 3 axes\n"
         "  hint: give (n, channels, depth, height, width); x[:, None] adds an axis of one channel."),
        (lambda: gc.global_avg_pool(gc.input("I", ("n",))), "global_avg_pool: I[n] has 1 axes\n"
         "  hint: give (n, channels, length); x[:, None] adds an axis of one channel."),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_by_its_name(make: Any, text: str):
    with pytest.raises(GraphcError) as caught:
        make()
    assert re.sub(r"py:\d+", "py:LINE", text_of(caught)) == text
