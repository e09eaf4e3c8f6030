"""Random dense graphs, each written once and read twice: with the functions of graphc, and with those of JAX.

A graph is a list of steps on a matrix h[n, d], a head h @ W + b with three columns, and a loss. Every step is a
function of a library ``o`` (:data:`OURS` or :data:`JAX`), of h and of a :class:`Weights` that declares the parameters
it needs or hands out their values, so that both libraries compute the very same thing and JAX differentiates alone.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import strategies as st

import graphc as gc
from graphc.declare.operators import cumsum
from graphc.declare.tensor import Tensor
from graphc.emit.reference import evaluate

QUICK = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
COLUMNS, CLASSES = 4, 3
JAX = SimpleNamespace(
    **{name: getattr(jnp, name) for name in
       "exp log sqrt tanh sin cos log1p expm1 sum mean max min prod where abs maximum minimum reshape transpose "
       "concatenate stack cumsum".split()},
    **{name: getattr(jax.nn, name) for name in "sigmoid relu leaky_relu elu silu softplus softmax".split()},
    logsumexp=jax.nn.logsumexp, gelu=lambda x: jax.nn.gelu(x, approximate=False), erf=jax.scipy.special.erf,
)  # fmt: skip
OURS = SimpleNamespace(**{name: getattr(gc, name, None) for name in vars(JAX)} | {"cumsum": cumsum})


def in_jax(f: Callable[..., Any]) -> Callable[..., Any]:
    """f, computed by JAX in float64; each program runs once, so it is compiled without optimisation."""

    def run(*args: Any) -> Any:
        with jax.enable_x64(True):
            return jax.tree.map(np.asarray, jax.jit(f, compiler_options=QUICK)(*args))

    return run


@dataclass
class Weights:
    """Parameters in the order the steps ask for them: declared by us, or values that were drawn before."""

    values: list[Any] = field(default_factory=list)
    rng: np.random.Generator | None = None
    tag: str = ""
    declared: list[Tensor] = field(default_factory=list)
    used: int = 0

    def __call__(self, *shape: int) -> Any:
        self.used += 1
        if self.rng is None:
            return self.values[self.used - 1]
        self.values.append(self.rng.normal(0, 0.6, shape))
        self.declared.append(gc.param(f"W{self.tag}{self.used}", shape, 0.0))
        return self.declared[-1]


# ---------------------------------------------------------------- steps


def dense(activation: str) -> Callable[..., Any]:
    """H = f(h W + b)."""

    def step(o: Any, h: Any, w: Weights, data: Any) -> Any:
        return getattr(o, activation)(h @ w(h.shape[-1], COLUMNS) + w(COLUMNS))

    return step


def residual(o, h, w, data):
    return h + o.tanh(h @ w(h.shape[-1], h.shape[-1])) / 2


def gate(o, h, w, data):
    return h * o.sigmoid(h @ w(h.shape[-1], h.shape[-1])) + data.X @ w(COLUMNS, h.shape[-1])


def normalise_layer(o, h, w, data):
    centred = h - o.mean(h, axis=1, keepdims=True)
    return centred / o.sqrt(o.mean(centred**2, axis=1, keepdims=True) + 0.1) * w(h.shape[-1])


def normalise_batch(o, h, w, data):
    return (h - o.mean(h, axis=0)) / o.sqrt(o.mean(h**2, axis=0) + 1) + w(1, h.shape[-1])


def attend(o, h, w, data):
    return o.softmax(h @ w(h.shape[-1], h.shape[-1]), axis=-1) * h


def attend_rows(o, h, w, data):
    return o.softmax(h * w(h.shape[-1]), axis=0) * h


def extremes(o, h, w, data):
    return o.concatenate([o.max(h, axis=1, keepdims=True), h * w(1), -o.min(h, axis=1, keepdims=True)], axis=1)


def extremes_of_columns(o, h, w, data):
    return h * w(h.shape[-1]) - o.max(h, axis=0) + o.min(h, axis=0)


def product(o, h, w, data):
    return h + o.prod(1 + h * w(h.shape[-1]) / 4, axis=1, keepdims=True)


def log_sum_exp(o, h, w, data):
    return h - o.logsumexp(h * w(1, h.shape[-1]), axis=1, keepdims=True)


def choose(o, h, w, data):
    return o.where(h > w(1), o.sin(h), h * w(h.shape[-1]))


def compare(o, h, w, data):
    return o.maximum(h, w(h.shape[-1])) + o.minimum(h / 2, o.cos(h))


def slices(o, h, w, data):
    return h[:, ::-1] * h[:, 0:1] + h[:, -1][:, None] * w(h.shape[-1])


def embed(o, h, w, data):
    return h + w(CLASSES, h.shape[-1])[data.L]


def fold(o, h, w, data):
    cube = o.reshape(o.tanh(h @ w(h.shape[-1], 6)), (-1, 2, 3))
    return o.reshape(o.transpose(cube, (0, 2, 1)) * w(2), (-1, 6))


def running(o, h, w, data):
    return o.cumsum(h * w(h.shape[-1]), axis=1) / 2


def functions(o, h, w, data):
    return o.erf(h) + o.log1p(h**2) * w(1) + o.expm1(-o.abs(h)) - o.log(1 + o.exp(h)) / 3


def tied(o, h, w, data):
    m = w(COLUMNS, h.shape[-1])
    return o.tanh(h @ m.T) @ m


ACTIVATIONS = "tanh sigmoid relu leaky_relu elu gelu silu softplus softmax".split()
SMOOTH = {f.__name__: f for f in (residual, gate, normalise_layer, normalise_batch, attend, attend_rows, product,
                                  log_sum_exp, slices, embed, fold, running, tied)}  # fmt: skip
SMOOTH |= {name: dense(name) for name in ("tanh", "sigmoid", "gelu", "silu", "softplus", "softmax")}
STEPS = SMOOTH | {f.__name__: f for f in (extremes, extremes_of_columns, choose, compare, functions)}
STEPS |= {name: dense(name) for name in ACTIVATIONS}

# ---------------------------------------------------------------- losses, as JAX reads them

LOSSES: dict[str, Callable[..., Any]] = {
    "mse": lambda z, d: jnp.mean((z - d.T) ** 2),
    "mae": lambda z, d: jnp.mean(jnp.abs(z - d.T)),
    "huber": lambda z, d: jnp.mean(jnp.where(jnp.abs(z - d.T) <= 1, (z - d.T) ** 2 / 2, jnp.abs(z - d.T) - 0.5)),
    "bce": lambda z, d: -jnp.mean(d.U * jax.nn.log_sigmoid(z) + (1 - d.U) * jax.nn.log_sigmoid(-z)),
    "bce_with_logits": lambda z, d: -jnp.mean(d.U * jax.nn.log_sigmoid(z) + (1 - d.U) * jax.nn.log_sigmoid(-z)),
    "cross_entropy": lambda z, d: -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(z), d.L[:, None], 1)),
    "soft cross_entropy": lambda z, d: -jnp.mean(jnp.sum(jax.nn.softmax(d.T) * jax.nn.log_softmax(z), axis=1)),
    "hinge": lambda z, d: jnp.mean(jax.nn.relu(1 - jnp.where(d.U > 0.5, 1, -1) * z)),
    "norm": lambda z, d: jnp.sqrt(jnp.sum(z**2) + 1) + jnp.sum(jnp.mean(z, axis=0) ** 3),
}


def our_loss(name: str, z: Tensor, d: Any) -> Tensor:
    """The loss of that name, with the functions of graphc."""
    if name == "norm":
        return gc.sqrt(gc.sum(z**2) + 1) + gc.sum(gc.mean(z, axis=0) ** 3)
    if name == "soft cross_entropy":
        return gc.losses.cross_entropy(z, gc.softmax(d.T))
    if name == "bce":
        return gc.losses.bce(gc.sigmoid(z), d.U)
    targets = {"mse": d.T, "mae": d.T, "huber": d.T, "cross_entropy": d.L, "hinge": gc.where(d.U > 0.5, 1, -1)}
    return getattr(gc.losses, name)(z, targets.get(name, d.U))


# ---------------------------------------------------------------- graphs


@dataclass(frozen=True)
class Plan:
    """Which steps, which loss, which numbers."""

    steps: tuple[str, ...]
    loss: str
    seed: int


@dataclass
class Graph:
    """A plan built with graphc, and what JAX needs to compute the same."""

    plan: Plan
    data: Any
    weights: Weights
    head: Tensor
    loss: Tensor

    @property
    def params(self) -> list[Tensor]:
        return self.weights.declared

    @property
    def values(self) -> list[np.ndarray]:
        return self.weights.values

    def jax_loss(self, arrays: Any) -> Callable[[list[Any]], Any]:
        """loss(values of the parameters) for given data, in JAX."""

        def loss(values: list[Any]) -> Any:
            data = SimpleNamespace(**{k: jnp.asarray(v) for k, v in vars(arrays).items()})
            return LOSSES[self.plan.loss](apply_steps(JAX, self.plan, Weights(list(values)), data), data)

        return loss


def apply_steps(o: Any, plan: Plan, w: Weights, data: Any) -> Any:
    """The steps and the head."""
    h = data.X
    for name in plan.steps:
        h = STEPS[name](o, h, w, data)
    return h @ w(h.shape[-1], CLASSES) + w(CLASSES)


def declare_data() -> Any:
    """X[n, 4], targets T[n, 3] and U[n, 3] in [0, 1], labels L[n]."""
    return SimpleNamespace(
        X=gc.input("X", ("n", COLUMNS)), T=gc.input("T", ("n", CLASSES)), U=gc.input("U", ("n", CLASSES)),
        L=gc.input("L", ("n",), dtype="int64"),
    )  # fmt: skip


def draw_data(rows: int, seed: int = 0) -> Any:
    """Arrays for :func:`declare_data`."""
    rng = np.random.default_rng(seed)
    return SimpleNamespace(
        X=rng.normal(size=(rows, COLUMNS)), T=rng.normal(size=(rows, CLASSES)), U=rng.uniform(size=(rows, CLASSES)),
        L=rng.integers(0, CLASSES, rows),
    )  # fmt: skip


_tags = itertools.count()


def build(plan: Plan, data: Any = None) -> Graph:
    """Declare the graph of a plan; parameters have names of their own, so that many graphs share one program."""
    data = declare_data() if data is None else data
    weights = Weights(rng=np.random.default_rng(plan.seed), tag=f"{next(_tags)}_")
    head = apply_steps(OURS, plan, weights, data)
    return Graph(plan, data, weights, head, our_loss(plan.loss, head, data))


def plans(steps: Sequence[str] = tuple(STEPS), losses: Sequence[str] = tuple(LOSSES)) -> st.SearchStrategy[Plan]:
    """Plans of one to four steps."""
    some = st.lists(st.sampled_from(list(steps)), min_size=1, max_size=4).map(tuple)
    return st.builds(Plan, some, st.sampled_from(list(losses)), st.integers(0, 99))


def covering_plans(seed: int, steps: Sequence[str] = tuple(STEPS), losses: Sequence[str] = tuple(LOSSES)) -> list[Plan]:
    """A few plans in which every step and every loss occurs."""
    rng = np.random.default_rng(seed)
    names = [str(s) for s in rng.permutation(list(steps))]
    parts = [tuple(names[t : t + 3]) for t in range(0, len(names), 3)]
    return [Plan(part, losses[t % len(losses)], seed + t) for t, part in enumerate(parts)]


def reference(outputs: Sequence[Tensor], feed: dict[Tensor, Any], dtype: Any = np.float64) -> list[np.ndarray]:
    """Values of tensors by the NumPy interpreter."""
    return evaluate([y.node for y in outputs], {x.node: v for x, v in feed.items()}, dtype=dtype)


def feed_of(graph: Graph, arrays: Any, extra: dict[Tensor, Any] | None = None) -> dict[Tensor, Any]:
    """All that the tensors of a graph may read."""
    data = {getattr(graph.data, name): value for name, value in vars(arrays).items()}
    return data | dict(zip(graph.params, graph.values)) | (extra or {})


def assert_near(found: Any, wanted: Any, tolerance: float, label: Any = "") -> None:
    """Every element within ``tolerance`` of the largest element of ``wanted``, or of 1 when that is larger."""
    wanted = np.asarray(wanted)
    assert np.shape(found) == wanted.shape, (label, np.shape(found), wanted.shape)
    scale = max(1.0, float(np.max(np.abs(wanted), initial=0.0)))
    worst = float(np.max(np.abs(found - wanted), initial=0.0))
    assert worst <= tolerance * scale, (label, worst / scale)
