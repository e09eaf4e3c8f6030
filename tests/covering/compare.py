"""A graph through a program of graphc, beside JAX and beside the NumPy interpreter."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import graphc as gc
from graphc.emit.reference import evaluate
from graphc.errors import GraphcError
from graphc.ir.node import Leaf, Node
from tests.covering.build import Description, Graph, build, theirs
from tests.covering.plain import Plain, in_python

ETA = 0.5
NEAR = {"float64": 1e-9, "float32": 2e-6}  # programs in plain Python round to single precision only what they hand back
Values = dict[str, np.ndarray]
WHO = "interpreter: "
REFUSED = "but nothing that it reads has that extent"  # everything cancels, and what is left is a number of rows
KINDS = ("wrong", "wrong equations")  # what a program computes; what the interpreter says of loss and gradients
ERRORS = (GraphcError, ArithmeticError, AssertionError, AttributeError, LookupError, NameError, RuntimeError, TypeError,
          ValueError)  # fmt: skip


@dataclass(frozen=True)
class Failure:
    """``kind`` is what shrinking must keep: "wrong" or the class of an error; ``text`` says what and by how much."""

    kind: str
    text: str


def check(description: Description, machine: Plain | None = None) -> Failure | None:
    """What is wrong with a graph; None when nothing is, or when its own numbers are not well defined."""
    built = _caught(lambda: build(description))
    if isinstance(built, Failure):
        return built
    jax = theirs(built)
    wanted = jax(built.leaves.values).everything()
    if not all(np.isfinite(x).all() and np.abs(x).max(initial=0) < 1e5 for x in wanted.values()):
        return None
    found = _caught(lambda: _compare(built, wanted, machine or Plain(seed=description["seed"])))
    if found is None or isinstance(found, Failure):
        return None if found is None or REFUSED in found.text else found
    text, gap = found
    return None if _sensitive(jax, built.leaves.values, wanted, gap) else Failure(KINDS[text.startswith(WHO)], text)


def _caught(run: Callable[[], Any]) -> Any:
    """What ``run`` gives, or its error as a failure."""
    try:
        with np.errstate(all="ignore"):
            return run()
    except ERRORS as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{place.filename.rpartition('/')[2]}:{place.name}"
        return Failure(f"{type(error).__name__} in {where}", (str(error).splitlines() or [""])[0][:200])


def _compare(graph: Graph, wanted: Values, machine: Plain) -> Difference | None:
    dtype = graph.description["dtype"]
    with in_python(machine, graph.description.get("limits", "usual")):
        found, nodes = RUNS[graph.description["mode"]](graph, dtype)
    return difference(found, wanted, NEAR[dtype]) or difference(_interpreted(graph, nodes), wanted, 1e-9, WHO)


Difference = tuple[str, float]  # what differs, and by how much


def difference(found: Mapping[str, Any], wanted: Mapping[str, Any], near: float, who: str = "") -> Difference | None:
    """The first value that differs by more than ``near`` of its largest element, or of 1; and by how much."""
    for name, x in found.items():
        y = np.asarray(wanted[name])
        scale = max(1.0, float(np.abs(y).max(initial=0)))
        if np.shape(x) != y.shape:
            return f"{who}{name} has shape {np.shape(x)}, not {y.shape}", np.inf
        gap = np.abs(np.asarray(x, dtype=np.float64) - y)
        if not float(gap.max(initial=0)) <= near * scale:  # NaN is a difference
            at = tuple(int(q) for q in np.unravel_index(int(np.argmax(np.where(np.isnan(gap), np.inf, gap))), y.shape))
            return f"{who}{name}{list(at)} is {np.asarray(x)[at]:.9g}, not {y[at]:.9g}", float(gap[at] / scale)
    return None


def _sensitive(jax: Any, values: Values, wanted: Values, gap: float) -> bool:
    """Whether JAX's own numbers move by a share of the gap when the parameters move by some units of the last place."""
    rng = np.random.default_rng(0)
    for size in (1e-13, 1e-11):
        moved = {n: x * (1 + size * rng.normal(size=x.shape)) if x.dtype.kind == "f" else x for n, x in values.items()}
        if difference(jax(moved).everything(), wanted, min(gap, 1.0) / 20):
            return True
    return False


def _interpreted(graph: Graph, gradients: Mapping[str, Node]) -> Values:
    """What the reference interpreter says of the graph as it was declared, and of gradients."""
    leaves = graph.leaves
    roots = {name: x.node for name, x in graph.roots.items()} | {f"d{name}": node for name, node in gradients.items()}
    feed = {x.node: leaves.values[n] for n, x in leaves.ours.items()}
    feed |= leaves.chance.feed(list(roots.values()))
    return dict(zip(roots, evaluate(list(roots.values()), feed)))


# ---------------------------------------------------------------- programs: their values, and their gradients as nodes

Ran = tuple[Values, dict[str, Node]]


def _verified(graph: Graph) -> bool:
    """Every fifth graph is checked by graphc itself, too, which must not find what is not there."""
    return graph.description["seed"] % 5 == 0


def _function(graph: Graph, dtype: str) -> Ran:
    """Loss, outputs and gradients by one compiled function; now and then it is given what is random."""
    leaves, gradients = graph.leaves, graph.gradients
    roots = graph.roots | {f"d{name}": g for name, g in gradients.items()}
    chance = leaves.chance
    inputs = leaves.ours | ({n: gc.Tensor(leaf) for n, leaf in chance.leaves.items()} if chance.given else {})
    f = gc.compile(list(roots.values()), list(inputs.values()), dtype=dtype, verify=_verified(graph))
    found = dict(zip(roots, f(*((leaves.values | chance.values)[n] for n in inputs))))
    return found, {name: g.node for name, g in gradients.items()}


def _model(graph: Graph, dtype: str, **more: Any) -> gc.Model:
    model = gc.Model(loss=graph.loss, dtype=dtype, **more)
    for name in model.params:
        model.params[name] = graph.leaves.values[name]
    return model


def _data(graph: Graph, inputs: Sequence[Leaf]) -> dict[str, np.ndarray]:
    return {str(leaf.name): graph.leaves.values[str(leaf.name)] for leaf in inputs}


def _training(graph: Graph, dtype: str) -> Ran:
    """One step of gradient descent, which tells the gradients; the derivation prints."""
    model = _model(graph, dtype)
    options = {"steps": 1, "batch_size": 16, "shuffle": False, "threads": graph.description["threads"]}
    options |= {"verify": _verified(graph), "seed": graph.leaves.seed}
    run = model.fit(_data(graph, model._core.training_inputs), optimizer=gc.SGD(ETA), **options)
    assert str(model.derive())
    return {"loss": np.asarray(run.history["loss"][0])} | _steps(graph, dict(model.params), ETA), _derived(model)


def _derived(model: gc.Model) -> dict[str, Node]:
    """The gradients that a training program computes."""
    return {str(leaf.name): node for leaf, node in model._core.differentiated().gradients.items()}


def _steps(graph: Graph, after: Mapping[str, np.ndarray], eta: float) -> Values:
    """The gradients that a step took."""
    return {f"d{n}": (graph.leaves.values[n] - np.asarray(x, dtype=np.float64)) / eta for n, x in after.items()}


def _sweep(graph: Graph, dtype: str) -> Ran:
    """Two copies with two learning rates, of which the last tells the gradients."""
    model = _model(graph, dtype)
    rates = np.array([ETA / 4, ETA])
    options = {"steps": 1, "batch_size": 16, "shuffle": False, "threads": graph.description["threads"]}
    options |= {"verify": _verified(graph), "seeds": [graph.leaves.seed]}
    sweep = model.sweep(_data(graph, model._core.training_inputs), optimizer=gc.SGD(rates), **options)
    return {"loss": np.asarray(sweep.losses[1])} | _steps(graph, sweep.parameters(1), ETA), _derived(model)


def _evaluation(graph: Graph, dtype: str) -> Ran:
    """Predictions, and the loss over all rows."""
    outputs = {name: y for name, y in graph.roots.items() if name != "loss"}
    model = _model(graph, dtype, output=outputs, metrics={"base": graph.base})
    verify = _verified(graph)
    found = model.evaluate(_data(graph, model._core.training_inputs), verify=verify)
    return {"loss": np.asarray(found["loss"])} | model.predict(_data(graph, model.inputs), verify=verify), {}


RUNS: dict[str, Callable[[Graph, str], Ran]] = {
    "function": _function, "training": _training, "sweep": _sweep, "evaluation": _evaluation,
    "two extents": _function,
}  # fmt: skip
