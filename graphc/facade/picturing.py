"""The graph of a model as a picture: lines of its derivation, and of outputs that the loss does not read."""

from __future__ import annotations

from graphc.facade.core import Core
from graphc.facade.deriving import derivation
from graphc.facade.summary import formula
from graphc.ir.node import Node
from graphc.show.diagram.picture import Picture, picture
from graphc.show.outline import Line


def graph(core: Core, by_layer: bool | None = None) -> Picture:
    """What :meth:`graphc.Model.graph` gives."""
    lines: list[Line] = []
    layers: list[Node] = []
    loss: Node | None = None
    if core._loss is not None:
        shown = derivation(core, ())
        lines, layers, loss = shown.lines, shown.outline.names.layers, shown.outline.loss
    return picture(f"{core.name}: forward and backward" if lines else core.name, lines, loss, others(core, lines),
                   layers or _layers(core), by_layer)  # fmt: skip


def others(core: Core, lines: list[Line]) -> list[Line]:
    """The lines of outputs that do not stand in those of the loss, each once."""
    known: set[Node] = {line.node for line in lines}
    found = []
    for name, x in core._outputs.items():
        for line in formula(x, x.name or ("Y" if name == "output" else name)).lines:
            if line.node not in known:
                known.add(line.node)
                found.append(line)
    return found


def _layers(core: Core) -> list[Node]:
    return list(dict.fromkeys(z for name, x in core._outputs.items() for z in formula(x, name).outline.names.layers))
