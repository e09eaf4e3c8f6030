"""What ``print`` says of a Tensor and of a Model."""

from __future__ import annotations

import math
from collections.abc import Sequence

from graphc.declare.names import node_text, shape_text
from graphc.declare.tensor import Tensor
from graphc.facade.core import Core
from graphc.facade.pipeline import Differentiated, pre_activations, read_graph
from graphc.ir.node import Equation, Leaf, Node
from graphc.ir.walk import sources, topological
from graphc.rewrite.modes import in_mode
from graphc.run.data import describe
from graphc.show.derivation import Derivation
from graphc.show.explain import Page, shortened, table
from graphc.show.outline import Line

MOST, LAST = 14, 8  # lines of a Tensor that are shown whole; of a longer one, those at the end
KINDS = {"input": "an input", "param": "a parameter", "constant": "a constant",
         "random": "a random tensor", "state": "a state", "phase": "1 in training, else 0",
         "step": "a value of one step of a scan"}  # fmt: skip


def formula(x: Tensor, name: str = "Y") -> Derivation:
    """The equations that a tensor is made of, in normal form, one a line."""
    graph = read_graph({"value": in_training(x).node})
    root = graph.roots["value"]
    layers = pre_activations([n for n in topological([root]) if isinstance(n, Equation)])
    forward = Differentiated(root, {}, {z: z for z in layers}, graph.roots)
    return Derivation(graph, forward, [], x.name or name)


def in_training(x: Tensor) -> Tensor:
    """What a tensor is in training."""
    return Tensor(in_mode([x.node], training=True)[0], x.name)


def tensor_text(x: Tensor) -> str:
    """Name, shape and equations of a tensor; of many equations the last few."""
    kind = KINDS[x.node.kind] if isinstance(x.node, Leaf) else "a Tensor"
    numbers = " of integers" if x.dtype == "int" else ""
    head = f"{x.name}: {kind}" if x.name and kind != KINDS["constant"] else kind
    head = f"{head} of shape {shape_text(x.shape)}{numbers}" if x.shape else f"{head}, a scalar{numbers}"
    if isinstance(x.node, Leaf) or isinstance(x.equation, Leaf):
        return head if isinstance(x.node, Leaf) else f"{head}, which is {node_text(x.equation)}"
    rows = str(formula(x)).splitlines()
    if len(rows) > MOST:
        rows = [f".. {len(rows) - LAST} lines before", *rows[-LAST:]]
    return "\n".join([head, *rows])


def model_page(model: Core) -> Page:
    """Size, inputs, equations with their shapes and parameters, loss, metrics, and whether it is trained."""
    sizes = {leaf: math.prod(int(extent) for extent in leaf.shape) for leaf in model.param_leaves}
    loss = [] if model._loss is None else formula(model._loss, model.loss_name).lines
    called = {line.node: line.names.of(line.node) for line in loss}
    equation = lambda x: in_training(x).equation
    outputs = {n: x.name or called.get(equation(x), "Y" if n == "output" else n) for n, x in model._outputs.items()}
    rows = [("inputs", ", ".join(describe(leaf) for leaf in model.all_inputs) or "none")]
    rows += [("output", ", ".join(_output(n, outputs[n], x) for n, x in model._outputs.items()))] if outputs else []
    rows += [("states", ", ".join(describe(leaf) for leaf in model.updates))] if model.updates else []
    rows += [("loss", model.loss_name)] if loss else []
    rows += [("metrics", ", ".join(model.metrics.measures))] if model.metrics.measures else []
    head = f"{model.name}: {_many(sum(sizes.values()), 'parameter')}, {model.dtype}, {_trained(model)}"
    facts = [head, *(f"{title:8} {text}" for title, text in rows)]
    lines = [line for n, x in model._outputs.items() for line in formula(x, outputs[n]).lines] + loss
    equations = [("equation", "shape", "parameters"), *_equations(lines, sizes)]
    equations += [_update(leaf, update) for leaf, update in model.updates.items()]
    return Page("\n".join([*facts, *(["", table(equations[0], equations[1:])] if lines else [])]))


def _update(leaf: Leaf, update: Node) -> tuple[str, str, str]:
    """``mean0[i] <- 0.99 mean0[i] + ..`` of a state."""
    line = formula(Tensor(update), str(leaf.name)).lines[-1]
    left = f"{leaf.name}{''.join(line.left.partition('[')[1:])}"
    return shortened(f"{left} ← {line.index}"), shape_text(leaf.shape) if leaf.shape else "scalar", ""


def _output(key: str, name: str, x: Tensor) -> str:
    """``Y (n, 1)``, or with the key that ``predict`` gives it under where that is another name."""
    return f"{name if key in ('output', name) else f'{key} = {name}'} {shape_text(x.shape)}"


def _trained(model: Core) -> str:
    steps = max((state.step for state in model.state.rules.values()), default=0)
    return f"trained for {_many(steps, 'step')}" if steps else "not trained yet"


def _equations(lines: Sequence[Line], sizes: dict[Leaf, int]) -> list[tuple[str, str, str]]:
    """A row for every equation, once, with the parameters that no earlier one reads."""
    left, found = dict(sizes), {}
    for line in lines:
        text = shortened(f"{line.left} = {line.index}")
        if text not in found:
            found[text] = shape_text(line.node.shape) if line.node.shape else "scalar", _taken(line, left)
    return [(text, *rest) for text, rest in found.items()]


def _taken(line: Line, left: dict[Leaf, int]) -> str:
    """The parameters that an equation reads, in order of declaration, which are taken out of ``left``."""
    nodes: Sequence[Node] = [line.node, *line.shown.inlined]
    read = {s for n in nodes for s in sources(n)}
    return ", ".join(f"{leaf.name} {left.pop(leaf):,}" for leaf in [leaf for leaf in left if leaf in read])


def _many(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"

