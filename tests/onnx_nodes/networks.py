"""Operators of networks: windows, norms, losses, recurrent layers, attention, in graphc's words."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import graphc as gc
from tests.onnx_nodes.case import Case
from tests.onnx_nodes.elementwise import Operator

# ---------------------------------------------------------------- windows


def padding(case: Case, lengths: Sequence[int], width: Sequence[int]) -> Any:
    """The places around each axis. The larger half of "same" comes first where it is SAME_LOWER, which no other
    library has."""
    how, n = case.option("auto_pad", "NOTSET"), len(width)
    if how == "SAME_UPPER":
        return "same"
    if how == "SAME_LOWER":
        strides, dilations = case.option("strides", [1] * n), case.option("dilations", [1] * n)
        steps = zip(lengths, width, strides, dilations)
        total = [max((-(-e // s) - 1) * s + d * (k - 1) + 1 - e, 0) for e, k, s, d in steps]
        return [(t - t // 2, t // 2) for t in total]
    pads = case.option("pads", [0] * (2 * n))
    return list(zip(pads[:n], pads[n:]))


def pool_options(case: Case, lengths: Sequence[int]) -> dict[str, Any]:
    width = case.option("kernel_shape")
    return {
        "window": width, "stride": case.option("strides", [1] * len(width)), "padding": padding(case, lengths, width),
        "dilation": case.option("dilations", 1), "ceil_mode": bool(case.option("ceil_mode", 0)),
    }  # fmt: skip


def max_pool(case: Case) -> Any:
    x = case.x()
    return gc.max_pool(x, **pool_options(case, x.shape[2:]))


def avg_pool(case: Case) -> Any:
    x = case.x()
    include = bool(case.option("count_include_pad", 0))
    return gc.avg_pool(x, count_include_pad=include, **pool_options(case, x.shape[2:]))


def lp_pool(case: Case) -> Any:
    """(sum |x|**p)**(1/p) of every window: the sum is the mean, padding counted, times the number of elements."""
    x, p, width = case.x(), case.option("p", 2), case.option("kernel_shape")
    mean = gc.avg_pool(gc.abs(x) ** p, count_include_pad=True, **pool_options(case, x.shape[2:]))
    return (mean * math.prod(width)) ** (1 / p)


def conv(case: Case) -> Any:
    x, w, bias = case.x(0), case.x(1), case.x(2)
    n = w.ndim - 2
    kernel = gc.transpose(w, (*range(2, w.ndim), 1, 0))
    return {1: gc.conv1d, 2: gc.conv2d, 3: gc.conv3d}[n](
        x, kernel, bias, stride=case.option("strides", 1), padding=padding(case, x.shape[2:], w.shape[2:]),
        dilation=case.option("dilations", 1), groups=case.option("group", 1),
    )  # fmt: skip


def conv_transpose(case: Case) -> Any:
    x, w, bias = case.x(0), case.x(1), case.x(2)
    n = w.ndim - 2
    kernel = gc.transpose(w, (*range(2, w.ndim), 0, 1))
    strides, more = case.option("strides", [1] * n), case.option("output_padding", [0] * n)
    if (shape := case.option("output_shape")) is not None:
        more = [e - (i - 1) * s - k for e, i, s, k in zip(shape, x.shape[2:], strides, w.shape[2:])]
    return {1: gc.conv1d_transpose, 2: gc.conv2d_transpose, 3: gc.conv3d_transpose}[n](
        x, kernel, bias, stride=strides, padding=padding(case, x.shape[2:], w.shape[2:]), output_padding=more,
        dilation=case.option("dilations", 1), groups=case.option("group", 1),
    )  # fmt: skip


# ---------------------------------------------------------------- norms


def batch_norm(case: Case) -> Any:
    """The states as data; what they become is the running mean of both."""
    x, scale, shift, mean, var = case.all()
    y = gc.batch_norm(x, mean, var, scale, shift, axis=1, eps=case.option("epsilon", 1e-5))
    away, keep = (0, *range(2, x.ndim)), case.option("momentum", 0.9)
    follow = lambda old, new: keep * old + (1 - keep) * new
    return [y, follow(mean, gc.mean(x, away)), follow(var, gc.var(x, away))]


def layer_norm(case: Case) -> Any:
    x, eps = case.x(), case.option("epsilon", 1e-5)
    axes = tuple(range(case.option("axis", -1) % x.ndim, x.ndim))
    spread = gc.sqrt(gc.var(x, axes, keepdims=True) + eps)
    return [gc.layer_norm(x, axes, case.x(1), case.x(2), eps), gc.mean(x, axes, keepdims=True), 1 / spread]


def rms_norm(case: Case) -> Any:
    x = case.x()
    axes = tuple(range(case.option("axis", -1) % x.ndim, x.ndim))
    return gc.rms_norm(x, axes, case.x(1), case.option("epsilon", 1e-5))


def group_norm(case: Case) -> Any:
    x = case.x()
    groups = case.option("num_groups", x.shape[1])  # none: each channel alone, instance norm
    return gc.group_norm(x, groups, case.x(1), case.x(2), case.option("epsilon", 1e-5))


def lp_norm(case: Case) -> Any:
    x, axis = case.x(), case.option("axis", -1)
    size = gc.norm(x, case.option("p", 2), axis, keepdims=True)
    return gc.where(size > 0, x / size, 0)


def mean_variance(case: Case) -> Any:
    x, axes = case.x(), tuple(case.option("axes", (0, 2, 3)))
    return (x - gc.mean(x, axes, keepdims=True)) / (gc.std(x, axes, keepdims=True) + 1e-9)


def local_response(case: Case) -> Any:
    """x/(bias + alpha/size sum of x² over neighbouring channels)**beta."""
    x, size = case.x(), case.option("size")
    before = (size - 1) // 2
    squares = gc.pad(x**2, [(0, 0), (before, size - 1 - before), *[(0, 0)] * (x.ndim - 2)])
    total = gc.sum(gc.stack([squares[:, k : k + x.shape[1]] for k in range(size)]), axis=0)
    return x / (case.option("bias", 1.0) + case.option("alpha", 1e-4) / size * total) ** case.option("beta", 0.75)


def along(function: Callable[..., Any]) -> Operator:
    return lambda case: function(case.x(), case.option("axis", -1))


# ---------------------------------------------------------------- losses


def loss_options(case: Case) -> dict[str, Any]:
    reduce = case.option("reduction", "mean")
    return {
        "reduce": None if reduce == "none" else reduce, "class_weight": case.x(2),
        "ignore_index": case.option("ignore_index"),
    }  # fmt: skip


def cross_entropy(case: Case) -> Any:
    z = gc.moveaxis(case.x(), 1, -1)
    loss = gc.losses.cross_entropy(z, case.labels(1), **loss_options(case))
    return [loss, gc.log_softmax(case.x(), 1)]


def nll(case: Case) -> Any:
    return gc.losses.nll(gc.moveaxis(case.x(), 1, -1), case.labels(1), **loss_options(case))


# ---------------------------------------------------------------- recurrent layers


def recurrent(layer: Callable[..., Any], gates: str, ours: str) -> Operator:
    """A layer both ways; ``gates`` are ONNX's in their order, and what they are in ``ours``."""

    def operator(case: Case) -> Any:
        x = case.x()
        x = x if case.option("layout", 0) else gc.swapaxes(x, 0, 1)  # (n, steps, width)
        ways = {"forward": [False], "reverse": [True], "bidirectional": [False, True]}[
            case.option("direction", "forward")
        ]
        every = [way_of(case, layer, gates, ours, d, x, reverse) for d, reverse in enumerate(ways)]
        return results(case, every, ways)

    return operator


def way_of(case: Case, layer: Any, gates: str, ours: str, d: int, x: Any, reverse: bool) -> list[Any]:
    """The states after every step, (n, steps, units), and those at the end."""
    units, w, r, b = case.option("hidden_size"), case.x(1)[d], case.x(2)[d], case.x(3)
    part = {g: slice(units * t, units * (t + 1)) for t, g in enumerate(gates)}
    bias = lambda g, of: 0.0 if b is None else b[d, of * len(gates) * units :][part[g]]
    weights: list[Any] = []
    for g in ours:
        apart = g == "h" and layer is gru and case.option("linear_before_reset", 0)
        weights += [w[part[g]].T, r[part[g]].T, bias(g, 0) if apart else bias(g, 0) + bias(g, 1)]
    if layer is gru and case.option("linear_before_reset", 0):
        weights.append(bias("h", 1))
    built = layer(case, d, units)
    begin = [case.x(i)[d] if case.value(i) is not None else np.zeros((1, units)) for i in (5, 6)[: built.states]]

    def step(state: Any, now: Any) -> tuple[Any, Any]:
        after = built.step(state, now, weights)
        return after, after[0] if built.states > 1 else after

    last, every = gc.scan(step, tuple(begin) if built.states > 1 else begin[0], x, axis=1, reverse=reverse)
    return [every, *(last if built.states > 1 else [last])]


def results(case: Case, every: list[list[Any]], ways: list[bool]) -> list[Any]:
    """Y and what is there at the end, as the node gives them: those that it names."""
    rows_first = case.option("layout", 0)
    joined = gc.stack([way[0] for way in every], axis=2)  # (n, steps, ways, units)
    y = joined if rows_first else gc.transpose(joined, (1, 2, 0, 3))
    ends = [gc.stack([way[i] for way in every], axis=1 if rows_first else 0) for i in range(1, len(every[0]))]
    return [tensor for tensor, wanted in zip([y, *ends], case.wanted) if wanted is not None]


def rnn(case: Case, d: int, units: int) -> Any:
    return gc.nn.RNN(units)


def gru(case: Case, d: int, units: int) -> Any:
    return gc.nn.GRU(units, reset_after=bool(case.option("linear_before_reset", 0)))


def lstm(case: Case, d: int, units: int) -> Any:
    return gc.nn.LSTM(units) if case.value(7) is None else Peepholes(case.x(7)[d], units)


class Peepholes:
    """Gates that see the cell (Gers and Schmidhuber 2000), as a step of one's own."""

    states = 2

    def __init__(self, p: Any, units: int) -> None:
        self.i, self.o, self.f = (p[units * t : units * (t + 1)] for t in range(3))

    def step(self, state: Any, x: Any, params: Sequence[Any]) -> Any:
        h, c = state
        i, f, g, o = (x @ w + h @ u + b for w, u, b in zip(params[::3], params[1::3], params[2::3]))
        c = gc.sigmoid(f + self.f * c) * c + gc.sigmoid(i + self.i * c) * gc.tanh(g)
        return gc.sigmoid(o + self.o * c) * gc.tanh(c), c


# ---------------------------------------------------------------- attention


def heads(x: Any, count: int | None) -> Any:
    """(n, places, heads*width) as (n, heads, places, width); four axes stay."""
    if x.ndim == 4:
        return x
    return gc.swapaxes(gc.reshape(x, (x.shape[0], x.shape[1], count, -1)), 1, 2)


def attention(case: Case) -> Any:
    q = heads(case.x(0), case.option("q_num_heads"))
    k, v = (heads(case.x(i), case.option("kv_num_heads")) for i in (1, 2))
    past = 0
    if case.value(4) is not None:
        past = case.x(4).shape[2]
        k, v = gc.concatenate([case.x(4), k], axis=2), gc.concatenate([case.x(5), v], axis=2)
    present = [k, v]
    each = q.shape[1] // k.shape[1]
    k, v = gc.repeat(k, each, axis=1), gc.repeat(v, each, axis=1)
    seen, bias = masks(case, q.shape[2], k.shape[2], past)
    if case.option("softcap", 0.0) == 0.0 and len(case.wanted) < 4:
        y = gc.attention(q, k, v, mask=seen, scale=case.option("scale"), bias=bias)
    else:
        y, scores = by_hand(case, q, k, v, seen, bias)
        present.append(scores)
    if case.x(0).ndim == 3:
        y = gc.reshape(gc.swapaxes(y, 1, 2), (y.shape[0], y.shape[2], -1))
    return [t for t, wanted in zip([y, *present], [*case.wanted, None, None, None]) if wanted is not None]


def masks(case: Case, queries: int, keys: int, past: int) -> tuple[Any, Any]:
    """Which keys a query sees, and what is added to scores."""
    given, bias = case.value(3), None
    seen = near(case, queries, keys, past)
    if given is not None:
        short = [(0, 0)] * (given.ndim - 1) + [(0, keys - given.shape[-1])]
        given = np.pad(given, short, constant_values=False if given.dtype == bool else -np.inf)
        whole = given if given.dtype == bool else np.isfinite(given.astype(np.float64))
        bias = None if given.dtype == bool else np.where(whole, given.astype(np.float64), 0.0)
        seen = seen & whole
    return (None if seen.all() else seen), bias


def near(case: Case, queries: int, keys: int, past: int) -> np.ndarray:
    """Which keys are there, not later than a query where it is causal, and within a window around it."""
    there, first = case.value(6), np.asarray(past)
    key = np.arange(keys)
    seen = np.ones((queries, keys), bool)
    if there is not None:
        first = (there - queries).reshape(-1, 1, 1, 1)
        seen = seen & (key < there.reshape(-1, 1, 1, 1))
    distance = np.arange(queries)[:, None] + first - key
    left, right = case.option("left_window_size", -1), case.option("right_window_size", -1)
    for limit, ahead in ((left, distance), (right, -distance), (0 if case.option("is_causal", 0) else -1, -distance)):
        seen = seen & (ahead <= limit) if limit >= 0 else seen
    return seen


def by_hand(case: Case, q: Any, k: Any, v: Any, seen: Any, bias: Any) -> tuple[Any, Any]:
    """With the scores before and after what ONNX's modes name."""
    scale, cap = case.option("scale") or 1 / math.sqrt(q.shape[-1]), case.option("softcap", 0.0)
    stages = [scale * (q @ gc.swapaxes(k, -1, -2))]
    stages.append(cap * gc.tanh(stages[-1] / cap) if cap else stages[-1])
    full = stages[-1] if bias is None else stages[-1] + bias
    stages.append(full if seen is None else gc.where(seen, full, -np.inf))
    stages.append(gc.softmax(full) if seen is None else gc.softmax(full, where=seen))
    return stages[-1] @ v, stages[case.option("qk_matmul_output_mode", 0)]


def rotary(case: Case) -> Any:
    """Pairs of elements turned by an angle that grows with the place (Su et al. 2021)."""
    x = case.x() if case.x().ndim == 4 else heads(case.x(), case.option("num_heads"))
    width = case.option("rotary_embedding_dim", 0) or x.shape[-1]
    cos, sin = case.x(1), case.x(2)
    if case.value(3) is not None:
        cos, sin = gc.embedding(case.labels(3), cos), gc.embedding(case.labels(3), sin)
    cos, sin = cos[:, None], sin[:, None]
    turned, rest = x[..., :width], x[..., width:] if width < x.shape[-1] else None
    if case.option("interleaved", 0):
        a, b = turned[..., ::2], turned[..., 1::2]
        y = gc.reshape(gc.stack([a * cos - b * sin, a * sin + b * cos], axis=-1), turned.shape)
    else:
        a, b = turned[..., : width // 2], turned[..., width // 2 :]
        y = gc.concatenate([a * cos - b * sin, a * sin + b * cos], axis=-1)
    y = y if rest is None else gc.concatenate([y, rest], axis=-1)
    return y if case.x().ndim == 4 else gc.reshape(gc.swapaxes(y, 1, 2), case.x().shape)


def global_max(case: Case) -> Any:
    x = case.x()
    return gc.max(x, tuple(range(2, x.ndim)), keepdims=True)


NETWORKS: dict[str, Operator] = {
    "Attention": attention, "AveragePool": avg_pool, "BatchNormalization": batch_norm, "Conv": conv,
    "ConvTranspose": conv_transpose, "GRU": recurrent(gru, "zrh", "zrh"),
    "GlobalAveragePool": lambda case: gc.global_avg_pool(case.x(), keepdims=True), "GlobalMaxPool": global_max,
    "GroupNormalization": group_norm, "InstanceNormalization": group_norm, "LRN": local_response,
    "LSTM": recurrent(lstm, "iofc", "ifco"), "LayerNormalization": layer_norm, "LogSoftmax": along(gc.log_softmax),
    "LpNormalization": lp_norm, "LpPool": lp_pool, "MaxPool": max_pool, "MeanVarianceNormalization": mean_variance,
    "NegativeLogLikelihoodLoss": nll, "RMSNormalization": rms_norm, "RNN": recurrent(rnn, "h", "h"),
    "RotaryEmbedding": rotary, "Softmax": along(gc.softmax), "SoftmaxCrossEntropyLoss": cross_entropy,
}  # fmt: skip
