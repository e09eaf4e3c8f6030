"""A description of a graph, read with graphc and with the twin.

A description is a dict that JSON holds::

    steps   [[operation, [numbers of the steps it reads], {options}], ..]
    terms   [[number of a step, closing, key], ..]    the loss is the sum of the closed terms
    rows    how many rows "n" has;  others, how many "m" has;  dtype, mode, threads, order, limits, seed

Every leaf has a key, which together with the seed decides its values: taking steps away changes no other number.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import graphc as gc
from tests.covering import chance
from tests.covering.chance import Chance
from tests.covering.jaxpr import in_numpy
from tests.covering.libraries import Ours, Twin
from tests.covering.operations import OPERATIONS

Description = dict[str, Any]


class Leaves:
    """The leaves of a graph in the order of their steps: declared (``ours``), and their values.

    ``tag`` stands in their names, so that several graphs go into one program.
    """

    def __init__(self, of: Mapping[str, Any], given: Mapping[str, Any] | None = None, tag: str = "") -> None:
        self.seed, self.given, self.tag = of["seed"], given, tag
        self.extents = {"n": of["rows"], "m": of.get("others", 0)}
        self.chance = Chance(of["seed"], of.get("mode", "training"), of.get("dtype", "float64"))
        self.values: dict[str, np.ndarray] = {}
        self.ours: dict[str, gc.Tensor] = {}

    def float(self, o: Any, kind: str, shape: Sequence[Any], key: int) -> Any:
        """A parameter, an input or a constant array; float32 holds every value."""
        name = f"{kind[0].upper()}{self.tag}{key}"
        if name not in self.values:
            rng = np.random.default_rng([self.seed, key])
            drawn = np.clip(rng.normal(0, 0.7, self.sizes(shape)), -1.5, 1.5)
            self.values[name] = np.round(drawn * 4096) / 4096
        if not isinstance(o, Ours):
            return self.values[name] if self.given is None else self.given[name]
        if kind == "constant":
            return gc.reshape(self.values[name], tuple(shape))  # a Tensor
        if name not in self.ours:
            known = (self.values[name],) if kind == "param" else ()
            self.ours[name] = (gc.param if known else gc.input)(name, tuple(shape), *known)
        return self.ours[name]

    def labels(self, o: Any, shape: Sequence[Any], below: Any, key: int) -> Any:
        """Integer data from 0 to below - 1."""
        name = f"L{self.tag}{key}"
        if name not in self.values:
            rng = np.random.default_rng([self.seed, key])
            self.values[name] = rng.integers(0, *self.sizes([below]), self.sizes(shape))
        if not isinstance(o, Ours):
            return self.values[name]
        if name not in self.ours:
            self.ours[name] = gc.input(name, tuple(shape), dtype="int64")
        return self.ours[name]

    def sizes(self, shape: Sequence[Any]) -> tuple[int, ...]:
        return tuple(self.extents[e] if isinstance(e, str) else e for e in shape)


def _binary(o: Any, leaves: Leaves, args: Sequence[Any], p: Any) -> Any:
    a, b = args
    if p["f"] == "div":
        return a / (b * b + 0.5)
    return a + b if p["f"] == "add" else a - b if p["f"] == "sub" else a * b


def _where(o: Any, leaves: Leaves, args: Sequence[Any], p: Any) -> Any:
    a, b = args[0], args[-1]
    return o.where(a > p["above"], a * 0.5 if len(args) == 1 else a, o.scalar("sin", b))


def _masked(o: Any, leaves: Leaves, args: Sequence[Any], p: Any) -> Any:
    """x where a constant pattern along an axis is 1, else a number."""
    (x,) = args
    pattern = np.array(p["pattern"], dtype=float).reshape([-1 if t == p["axis"] else 1 for t in range(len(x.shape))])
    return o.where(pattern, x, p["other"])


def _leaf(o: Any, leaves: Leaves, args: Sequence[Any], p: Any) -> Any:
    return leaves.float(o, p["kind"], p["shape"], p["key"])


def _labels(o: Any, leaves: Leaves, args: Sequence[Any], p: Any) -> Any:
    (x,) = args
    return o.pick(x, p["axis"], leaves.labels(o, p["shape"], x.shape[p["axis"]], p["key"]))


def _segments(o: Any, leaves: Leaves, args: Sequence[Any], p: Any) -> Any:
    (x,) = args
    return OPERATIONS["segments"](o, p, x, leaves.labels(o, p["shape"], p["count"], p["key"]))


def _reshape(o: Any, leaves: Leaves, args: Sequence[Any], p: Any) -> Any:
    return o.reshape(args[0], tuple(p["shape"]) if isinstance(o, Ours) else leaves.sizes(p["shape"]))


Step = Callable[[Any, Leaves, Sequence[Any], Mapping[str, Any]], Any]
STEPS: dict[str, Step] = {
    "leaf": _leaf, "labels": _labels, "binary": _binary, "where": _where, "masked": _masked, "reshape": _reshape,
    "drawn": chance.drawn, "noisy": chance.noisy,
    "scalar": lambda o, _, a, p: o.scalar(p["f"], a[0]),
    "affine": lambda o, _, a, p: a[0] * p["times"] + p["plus"],
    "square": lambda o, _, a, p: a[0] ** 2,
    "matmul": lambda o, _, a, p: o.matmul(*a),
    "reduce": lambda o, _, a, p: o.reduce(p["f"], a[0], p["axis"], p["keepdims"]),
    "softmax": lambda o, _, a, p: o.softmax(a[0], axis=p["axis"]),
    "cumsum": lambda o, _, a, p: o.cumsum(a[0], axis=p["axis"]),
    "transpose": lambda o, _, a, p: o.transpose(a[0], p["axes"]),
    "part": lambda o, _, a, p: o.part(a[0], p["axis"], p["part"]),
    "fixed": lambda o, _, a, p: o.fixed(a[0], p["axis"], p["place"]),
    "pick": lambda o, _, a, p: o.pick(a[0], p["axis"], p["places"]),
    "pairs": lambda o, _, a, p: o.pairs(a[0], *p["places"]),
    "expand": lambda o, _, a, p: o.expand(a[0], p["axis"]),
    "concatenate": lambda o, _, a, p: o.concatenate(list(a), axis=p["axis"]),
    "stack": lambda o, _, a, p: o.stack(list(a), axis=p["axis"]),
    "indexed": lambda o, leaves, a, p: o.indexed(p["kind"], p["name"] + leaves.tag, *a), "segments": _segments,
} | {
    name: lambda o, _, a, p, f=f: f(o, p, *a) for name, f in OPERATIONS.items() if name != "segments"
}  # fmt: skip


def apply(o: Any, leaves: Leaves, values: Sequence[Any], step: Sequence[Any]) -> Any:
    """The value of one step from those before it."""
    operation, args, options = step
    return STEPS[operation](o, leaves, [values[t] for t in args], options)



CLOSINGS: dict[str, Callable[[Any, Any], Any]] = {
    "sum": lambda o, y: o.reduce("sum", y, None),
    "squares": lambda o, y: o.reduce("mean", y**2, None),
    "waves": lambda o, y: o.reduce("mean", o.scalar("tanh", y) * (1 + 0.3 * o.scalar("sin", y)), None),
    "sines": lambda o, y: o.reduce("sum", o.scalar("sin", y), None),
    "bells": lambda o, y: o.reduce("sum", o.scalar("exp", -y * y), None),
    "root": lambda o, y: o.scalar("sqrt", o.reduce("sum", y**2, None) + 1),
}


def values_of(o: Any, leaves: Leaves, description: Description) -> list[Any]:
    """The values of all steps."""
    values: list[Any] = []
    for step in description["steps"]:
        values.append(apply(o, leaves, values, step))
    return values


def loss_of(o: Any, values: Sequence[Any], description: Description) -> Any:
    """The sum of the closed terms."""
    total = 0.0
    for t, closing in description["terms"]:
        total = total + CLOSINGS[closing](o, values[t])
    return total


@dataclass
class Graph:
    """A description built with graphc: what to compute, for which values."""

    description: Description
    leaves: Leaves
    outputs: list[gc.Tensor]
    base: gc.Tensor
    loss: gc.Tensor
    wrt: list[str] = field(default_factory=list)

    @cached_property
    def gradients(self) -> dict[str, gc.Tensor]:
        """The gradient of the loss for every parameter."""
        return dict(zip(self.wrt, gc.grad(self.loss, self.params)))

    @property
    def roots(self) -> dict[str, gc.Tensor]:
        """The loss and what it is made of."""
        return {"loss": self.loss} | {f"y{t}": y for t, y in enumerate(self.outputs)}

    @property
    def params(self) -> list[gc.Tensor]:
        return [self.leaves.ours[name] for name in self.wrt]

    @property
    def data(self) -> dict[str, np.ndarray]:
        """Values of the inputs."""
        return {name: self.leaves.values[name] for name in self.leaves.ours if name not in self.wrt}


def build(description: Description, tag: str = "") -> Graph:
    """Declare the graph; a loss with second derivatives reads the first ones of ``base``."""
    leaves = Leaves(description, tag=tag)
    values = values_of(Ours(), leaves, description)
    base = loss_of(Ours(), values, description)
    outputs = [values[t] for t in dict.fromkeys(t for t, _ in description["terms"])]
    graph = Graph(description, leaves, outputs, base, base)
    graph.wrt = [name for name, x in leaves.ours.items() if name[0] == "P"]
    graph.loss = base + 0.1 * _second(graph) if description["order"] != "first" else base
    leaves.chance.draw(graph.loss.node)
    return graph


def _second(graph: Graph) -> Any:
    """sum |dJ/dp|^2 for the first parameter p, or the derivative of J along a direction v, whose gradient is H v."""
    if graph.description["order"] == "penalty":
        return gc.sum(gc.grad(graph.base, graph.params[0]) ** 2)
    slopes = zip(graph.wrt, gc.grad(graph.base, graph.params))
    parts = [gc.sum(g * _direction(graph.leaves.values[name])) for name, g in slopes]
    return sum(parts[1:], start=parts[0])


def _direction(x: np.ndarray) -> np.ndarray:
    return 0.25 * (1 + np.arange(x.size) % 3).reshape(x.shape)


@dataclass
class Wanted:
    """What JAX computes: loss, outputs, gradients by name."""

    loss: float
    outputs: list[np.ndarray]
    gradients: dict[str, np.ndarray]

    def everything(self) -> dict[str, np.ndarray]:
        found = {"loss": np.asarray(self.loss)} | {f"y{t}": y for t, y in enumerate(self.outputs)}
        return found | {f"d{name}": g for name, g in self.gradients.items()}


def theirs(graph: Graph, engine: Callable[..., Any] = in_numpy) -> Callable[[Mapping[str, np.ndarray]], Wanted]:
    """JAX's reading of the graph, as a function of the values of the parameters."""
    description, names = graph.description, graph.wrt

    def base(values: list[Any]) -> tuple[Any, list[Any]]:
        given = dict(graph.leaves.values) | dict(zip(names, values))
        leaves = Leaves(description, given, graph.leaves.tag)
        leaves.values, leaves.chance = graph.leaves.values, graph.leaves.chance
        found = values_of(Twin(jnp), leaves, description)
        outputs = [found[t] for t in dict.fromkeys(t for t, _ in description["terms"])]
        return loss_of(Twin(jnp), found, description), outputs

    slope = jax.grad(lambda v: base(v)[0])

    def loss(values: list[Any]) -> tuple[Any, list[Any]]:
        first, outputs = base(values)
        if description["order"] == "penalty":
            first += 0.1 * jnp.sum(slope(values)[0] ** 2)
        elif description["order"] == "hvp":
            along = [jnp.asarray(_direction(graph.leaves.values[name])) for name in names]
            first += 0.1 * jax.jvp(lambda v: base(v)[0], (values,), (along,))[1]
        return first, outputs

    def flat(values: list[Any]) -> list[Any]:
        (total, outputs), gradients = jax.value_and_grad(loss, has_aux=True)(values)
        return [total, *outputs, *gradients]

    run = engine(flat)

    def wanted(values: Mapping[str, np.ndarray]) -> Wanted:
        total, *rest = run([values[name] for name in names])
        count = len(rest) - len(names)
        return Wanted(float(total), rest[:count], dict(zip(names, rest[count:])))

    return wanted
