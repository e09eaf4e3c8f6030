"""What is run to check a compiled function: its outputs for few elements of every free extent."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from graphc.facade import programs
from graphc.facade.agreement import PRECISIONS, Feed
from graphc.facade.defect import first_wrong_value, function_script
from graphc.facade.functions import CompiledFunction, FunctionFacts, facts_of_function
from graphc.facade.trial import Report, Trial
from graphc.facade.trials import fitted, least_of, sizes_of
from graphc.facade.unrewritten import unrewritten
from graphc.facade.verifying import ROWS
from graphc.ir.affine import Extent
from graphc.ir.node import Leaf, Node
from graphc.ir.walk import leaves
from graphc.native.build import Program
from graphc.run.index_limits import label_limits, rows_needed


class FunctionTrial(Trial):
    """Outputs of a compiled function for its first arguments, at most ``ROWS`` of every free extent.

    ``call`` runs a program with the facts of its plan: results, and the working memory, which held NaN before.
    """

    def __init__(
        self,
        compiled: CompiledFunction,
        outputs: Sequence[Node],
        arguments: Mapping[Leaf, NDArray],
        dtype: str,
        call: Callable[[Program, FunctionFacts, Feed], tuple[list[NDArray], NDArray]],
    ) -> None:
        self.compiled, self.plain, self.call = compiled, unrewritten(outputs), call
        self.outputs = outputs
        self.least = least_of(rows_needed(outputs))
        most = max(ROWS, self.least)
        self.feed, self.precision = _cut(arguments, label_limits(outputs), most), PRECISIONS[dtype]
        self.feed = {leaf: _without_infinities(x) for leaf, x in self.feed.items()} | self._left_out()
        self.results = [n.name or f"output {t}" for t, n in enumerate(outputs)]

    def _left_out(self) -> dict[Leaf, NDArray]:
        """1 for what the program does not depend on and was not given: the declared nodes read it all the same."""
        sizes = sizes_of(self.feed)
        missing = [x for x in leaves(self.plain) if x.kind != "constant" and x not in self.feed]
        shapes = {x: [e if isinstance(e, int) else sizes.get(e, 1) for e in x.shape] for x in missing}
        return {
            x: np.zeros(shape, np.int64) if x.dtype == "int" else np.ones(shape, self.precision.dtype)
            for x, shape in shapes.items()
        }

    def run(self, feed: Feed) -> list[NDArray]:
        return self.call(self.compiled.program, self.compiled.facts, feed)[0]

    def declared(self) -> list[Node]:
        return self.plain

    def rewritten(self) -> Sequence[Node]:
        return self.compiled.rewritten()

    def first_wrong(self, feed: Feed) -> Report | None:
        made = self.compiled.lower(apart=True)
        facts, program = facts_of_function(made), programs.build_text(made.text)
        _, arena = self.call(program, facts, feed)
        return first_wrong_value(made.plan, arena, sizes_of(feed), self.rewritten(), feed)

    def script(self, feed: Feed) -> Path | None:
        return function_script(self.outputs, feed, self.precision.dtype)


def _without_infinities(x: NDArray) -> NDArray:
    """1 for NaN and infinity, of which nothing could be compared."""
    return x if np.isfinite(x).all() else np.where(np.isfinite(x), x, x.dtype.type(1))


def _cut(
    arguments: Mapping[Leaf, NDArray], limits: Mapping[Leaf, Collection[Extent]], most: int
) -> dict[Leaf, NDArray]:
    """At most so many elements along every free extent."""
    parts = {leaf: tuple(slice(most) if isinstance(e, str) else slice(None) for e in leaf.shape) for leaf in arguments}
    return fitted({leaf: np.asarray(x[parts[leaf]], order="C") for leaf, x in arguments.items()}, limits)
