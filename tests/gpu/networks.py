"""What is trained on the GPU and on the CPU: each case is a network, its data and the options of its fit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np

import graphc as gc
from tests import graphs, nets
from tests.benchmarks import graphc_peer
from tests.benchmarks import workloads as wl
from tests.gpu.field import smaller

STEPS = {"W1": 60, "W2": 40, "W3": 10, "W4": 4, "W5": 10, "W9": 200, "W10": 40}
CLOSE = {"float32": 2e-4, "float64": 1e-10}


@dataclass(frozen=True, eq=False)
class Case:
    """A network and its training.

    Attributes
    ----------
    name : str
    make : callable
        A fresh model.
    data : dict
        Arrays by name of the input.
    options : dict
        Of ``fit``; ``batch_size`` among them.
    tolerance : float
        Largest allowed difference from the CPU, relative to the largest number of the array or to 1.
    losses_only : bool
        Parameters are not compared: a unit of a ReLU network that is zero within rounding may be on or off.
    copies : bool
        Trained by ``sweep``.
    """

    name: str
    make: Callable[[], gc.Model]
    data: Mapping[str, Any]
    options: Mapping[str, Any]
    tolerance: float = CLOSE["float32"]
    losses_only: bool = False
    copies: bool = False

    @property
    def optimizer(self) -> Any:
        return self.options["optimizer"]

    @property
    def batch(self) -> int:
        """Rows of a step."""
        return self.options["batch_size"] or len(self.data["X"])


def workload_case(w: wl.Workload) -> Case:
    """A workload of the benchmarks, for a few steps."""

    def make() -> gc.Model:
        output = graphc_peer.network(w, gc.input("X", ("n", w.sizes[0])))
        return gc.Model(output, graphc_peer.loss(w, output), dtype=w.dtype)

    X, T = wl.data(w)
    options = {"optimizer": graphc_peer.optimizer(w), "steps": STEPS[w.name], "batch_size": w.batch, "seed": 3}
    many = w.copies > 1
    options = {k: v for k, v in options.items() if k != "seed"} | {"seeds": [3]} if many else options
    tolerance = 2e-3 if w.act == "relu" or many else CLOSE[w.dtype]
    return Case(w.name, make, {"X": X, "T": T}, options, tolerance, w.act == "relu" or many, many)


def graph_case(number: int, plan: graphs.Plan) -> Case:
    """A drawn graph: attention, normalisation, embedding, gathers, reductions of all kinds."""

    def make() -> gc.Model:
        graph = graphs.build(plan)
        model = gc.Model(graph.head, graph.loss)
        for leaf, value in zip(graph.params, graph.values):
            model.params[leaf.name] = value.astype("float32")
        return model

    data = vars(graphs.draw_data(101, plan.seed))
    options = {"optimizer": gc.SGD(0.01), "steps": 6, "batch_size": 32, "seed": 1}
    return Case(f"graph {number}: {' '.join(plan.steps)}; {plan.loss}", make, data, options, 1e-3)


def _small(name: str, dtype: str = "float32", **options: Any) -> Case:
    x, t = nets.data(101)
    given = {"optimizer": gc.Adam(0.01), "steps": 40, "batch_size": 32, "seed": 2} | options
    return Case(name, lambda: nets.network(dtype), {"X": x, "T": t}, given, CLOSE[dtype])


def _custom() -> Case:
    swish = gc.function("swish", "z/(1 + exp(-beta*z))", beta=1.7)

    def make() -> gc.Model:
        X, T = gc.input("X", ("n", 3)), gc.input("T", ("n", 2))
        A, B = gc.param("A", (3, 16), gc.normal(0.5)), gc.param("B", (16, 2), gc.normal(0.5))
        Y = swish(X @ A) @ B
        return gc.Model(Y, gc.mean((Y - T) ** 2))

    return replace(_small("custom activation"), make=make)


def option_cases() -> list[Case]:
    """One network under every kind of optimizer and option."""
    weights = np.random.default_rng(4).uniform(0.0, 2.0, 101)
    clipped = replace(gc.SGD(0.5), clip_norm=0.1)
    return [
        _small("Adam, partial batches, metrics"),
        _small("SGD", optimizer=gc.SGD(0.1)),
        _small("Momentum", optimizer=gc.Momentum(0.05, mu=0.9)),
        _small("RMSProp", optimizer=gc.RMSProp(0.005)),
        _small("Adagrad", optimizer=gc.Adagrad(0.05)),
        _small("schedule", optimizer=gc.Adam(gc.schedules.cosine(0.02, steps=40))),
        _small("clip_norm", optimizer=clipped),
        _small("sample_weight", sample_weight=weights),
        _small("tol", optimizer=gc.SGD(0.2), steps=400, tol=0.05, batch_size=101),
        _small("all rows in a step, given order", batch_size=None, shuffle=False),
        _small("float64", "float64"),
        _custom(),
    ]


@cache
def cases(quick: bool, small: bool) -> dict[str, Case]:
    """All cases by name; ``small`` for a machine of one thread."""
    dense = [w for w in wl.WORKLOADS.values() if not w.network]
    in_batches = [w for w in dense if w.n_batches > 1]  # the others are about a CPU's memory
    works = [smaller(w) if small else w for w in in_batches]
    steps = tuple(graphs.SMOOTH) if quick else tuple(graphs.STEPS)
    drawn = graphs.covering_plans(11, steps, tuple(graphs.LOSSES))
    found = [workload_case(w) for w in works] + option_cases() + [graph_case(i, p) for i, p in enumerate(drawn)]
    return {c.name: c for c in found}
