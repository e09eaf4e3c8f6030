"""What ``model.graph()`` gives."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from graphc.ir.node import Node
from graphc.records import record
from graphc.show.diagram.boxes import Box, boxes
from graphc.show.diagram.layers import MANY, collapsed
from graphc.show.diagram.svg import svg
from graphc.show.diagram.text import listing
from graphc.show.outline import Line


@record(frozen=True)
class Picture:
    """The graph of a model, forward and backward: print it, save it as SVG, or let a notebook draw it.

    Attributes
    ----------
    title : str
    boxes : sequence of Box
        What is drawn, each after what it reads.
    """

    title: str
    boxes: Sequence[Box]

    def svg(self, marks: Sequence[str] = ()) -> str:
        """The picture as SVG; ``marks`` gives the ids of what each box marks on a page around it."""
        return svg(self.boxes, self.title, marks=marks)

    def save(self, path: str | Path) -> None:
        """Write the SVG, in a folder that is made when it is missing.

        Parameters
        ----------
        path : str or Path
        """
        file = Path(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(self.svg() + "\n", encoding="utf-8")

    def _repr_svg_(self) -> str:
        return self.svg()

    def __str__(self) -> str:
        return f"{self.title}\n{listing(self.boxes)}"

    __repr__ = __str__


def picture(
    title: str,
    lines: Sequence[Line],
    loss: Node | None,
    outputs: Sequence[Line],
    layers: Sequence[Node],
    by_layer: bool | None,
) -> Picture:
    """The picture of the lines of a derivation; ``by_layer`` is decided by the number of boxes when it is None."""
    found = boxes(lines, loss, outputs)
    wanted = len(found) > MANY if by_layer is None else by_layer
    return Picture(title, collapsed(found, layers) if wanted and layers else found)
