"""Covering graphs as machine code: several of them in one program, beside JAX.

A function of the losses, outputs and gradients in single precision; a model whose loss is the sum of all losses,
trained by one thread, by two, and in a sweep; the same evaluated.  Three programs are compiled in a plain run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import pytest

import graphc as gc
from graphc.ir.node import Leaf
from tests.covering.build import Graph, build, theirs
from tests.covering.compare import difference
from tests.covering.search import graphs_of

ROWS, ETA, MANY, PARTS, SEED = 13, 0.5, 8, 4, 6
ALWAYS = 3  # a part with random tensors
parts = pytest.mark.parametrize(
    "part", [pytest.param(p, marks=[] if p == ALWAYS else pytest.mark.fuzz) for p in range(PARTS)]
)


def graphs(part: int, mode: str = "evaluation") -> list[Graph]:
    """Some graphs with as many rows each, whose names differ, and whose random tensors are counted together."""
    small = [d for d in graphs_of(0) if d["order"] == "first" and len(d["steps"]) < 16 and "others" not in d]
    some = small[part * MANY : (part + 1) * MANY]
    assert len(some) == MANY
    whole = {"mode": mode, "dtype": "float64"}
    several = [build({**d, **whole, "rows": ROWS if d["rows"] else 0}, f"g{t}_") for t, d in enumerate(some)]
    first = 0
    for graph in several:
        graph.leaves.chance.seed = SEED
        first = graph.leaves.chance.draw(graph.loss.node, first)
    return several


def values_of(several: list[Graph]) -> dict[str, np.ndarray]:
    return {name: x for g in several for name, x in g.leaves.values.items()}


def data_of(several: list[Graph], inputs: Iterable[Leaf]) -> dict[str, np.ndarray]:
    return {str(leaf.name): values_of(several)[str(leaf.name)] for leaf in inputs}


def wanted(graph: Graph, noise: float = 0.0) -> dict[str, np.ndarray]:
    """What JAX computes, where every number that goes in is off by some share of itself."""
    rng, values = np.random.default_rng(1), graph.leaves.values
    moved = {n: x * (1 + noise * rng.normal(size=x.shape)) if x.dtype.kind == "f" else x for n, x in values.items()}
    return theirs(graph)(moved).everything()


def near(graph: Graph, name: str) -> float:
    """How far single precision may be off: its own rounding, and what a change of the input by that much does."""
    right, moved = wanted(graph)[name], wanted(graph, 3e-7)[name]
    return 2e-5 + 10 * float(np.abs(right - moved).max(initial=0)) / max(1.0, float(np.abs(right).max(initial=0)))


@parts
def test_a_function_of_several_graphs_computes_what_jax_does(part: int):
    several = graphs(part)
    roots = [g.roots | {f"d{name}": slope for name, slope in g.gradients.items()} for g in several]
    leaves = [x for g in several for x in g.leaves.ours.values()]
    f = gc.compile([y for r in roots for y in r.values()], leaves, dtype="float32")
    found = iter(f(*data_of(several, [x.node for x in leaves]).values()))
    for graph, names in zip(several, roots):
        right = wanted(graph)
        for name in names:
            assert difference({name: next(found)}, right, near(graph, name)) is None, graph.description


def model_of(several: list[Graph]) -> gc.Model:
    losses = {f"loss{t}": g.loss for t, g in enumerate(several)}
    total = sum(list(losses.values())[1:], start=several[0].loss)
    model = gc.Model(loss=total, metrics=losses, dtype="float64")
    for name in model.params:
        model.params[name] = values_of(several)[name]
    return model


OPTIONS = {"steps": 1, "batch_size": 16, "shuffle": False}


@parts
def test_a_model_of_several_graphs_takes_the_step_that_jax_does(part: int):
    """By any number of threads with the same bits, and as a copy in a sweep."""
    several = graphs(part, "training")
    inputs = model_of(several)._core.training_inputs
    fitted = [model_of(several) for _ in range(2)]
    for threads, model in enumerate(fitted, 1):
        run = model.fit(data_of(several, inputs), optimizer=gc.SGD(ETA), threads=threads, seed=SEED, **OPTIONS)
        assert_right(several, {name: run.history[name][0] for name in model._core.metric_names}, dict(model.params))
    assert fitted[0].params.flat.tobytes() == fitted[1].params.flat.tobytes()
    sweep = model_of(several).sweep(
        data_of(several, inputs), optimizer=gc.SGD(np.array([ETA, ETA / 4])), threads=2, seeds=[SEED], **OPTIONS
    )
    assert all(np.array_equal(x, fitted[0].params[name]) for name, x in sweep.parameters(0).items())


def assert_right(several: list[Graph], losses: dict[str, float], after: dict[str, np.ndarray]) -> None:
    for t, graph in enumerate(several):
        found = {f"d{n}": (graph.leaves.values[n] - x) / ETA for n, x in after.items() if n in graph.wrt}
        found["loss"] = np.asarray(losses[f"loss{t}"])
        assert difference(found, wanted(graph), 1e-9) is None, graph.description


@parts
def test_a_model_of_several_graphs_is_evaluated_as_jax_does(part: int):
    several = graphs(part)
    model = model_of(several)
    found = model.evaluate(data_of(several, model._core.training_inputs))
    for t, graph in enumerate(several):
        assert difference({"loss": np.asarray(found[f"loss{t}"])}, wanted(graph), 1e-9) is None, graph.description


def test_the_tolerance_of_single_precision_is_narrow():
    """A wrong value of one part in a thousand is a difference."""
    graph = graphs(ALWAYS)[0]
    check: Callable[[float], object] = lambda x: difference({"loss": np.asarray(x)}, wanted(graph), near(graph, "loss"))
    right = float(wanted(graph)["loss"])
    assert check(right) is None and check(right + 1e-3 * max(1.0, abs(right))) is not None
