"""The metrics of a model: which roots its programs compute for them, and what is reported."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphc.declare.measures import MEASURES, OF_COLUMNS, Measure, finished
from graphc.declare.origin import fail
from graphc.declare.tensor import Tensor
from graphc.errors import NameClashError, TypeMismatchError
from graphc.facade.arguments import scalar
from graphc.ir.node import Node

Given = Mapping[str, Tensor] | Sequence[Tensor] | None


class Metrics:
    """Named metrics, each a mean over rows or a measure made of several.

    Attributes
    ----------
    measures : dict of str to Measure
        By the name that is reported.
    scalars : dict of str to Tensor
        What every program computes: the means over rows, parts of measures as ``name:part``.
    columns : dict of str to Tensor
        What evaluation computes besides, for measures of all rows: an output of the program each, ``output:..``.
    """

    def __init__(self, given: Given) -> None:
        self.measures: dict[str, Measure] = {}
        self.scalars: dict[str, Tensor] = {}
        self.columns: dict[str, Tensor] = {}
        for name, tensor in _by_name(given).items():
            known = isinstance(tensor, Tensor) and MEASURES.get(tensor)
            self._add(name, tensor, known or Measure(name))

    def _add(self, name: str, tensor: Tensor, measure: Measure) -> None:
        self.measures[name] = measure
        self.columns |= {column_name(name, part): t for part, t in measure.columns.items()}
        if measure.parts:
            self.scalars |= {f"{name}:{part}": t for part, t in measure.parts.items()}
        elif not measure.columns or measure.kind == "r2":
            self.scalars[name] = scalar(f"the metric {name}", tensor)

    @classmethod
    def of_roots(cls, told: Mapping[str, Mapping[str, Any]], roots: Mapping[str, Tensor]) -> Metrics:
        """Those that :meth:`told` told of, with the tensors of a file."""
        metrics = cls(None)
        for name, entry in told.items():
            parts = {part: roots[f"{name}:{part}"] for part in entry["parts"]}
            columns = {part: roots[column_name(name, part)] for part in entry["columns"]}
            metrics._add(name, roots.get(name), Measure(entry["name"], entry["kind"], parts, columns))  # pyright: ignore
        return metrics

    def told(self) -> dict[str, dict[str, Any]]:
        """For checkpoints: what :meth:`of_roots` reads."""
        return {
            name: {"name": m.name, "kind": m.kind, "parts": [*m.parts], "columns": [*m.columns]}
            for name, m in self.measures.items()
        }

    @property
    def summed(self) -> list[str]:
        """Roots that evaluation adds up over the rows: not those of which it knows better by columns."""
        return [root for root in self.scalars if root not in self.measures or not self.measures[root].columns]

    @property
    def nodes(self) -> list[Node]:
        """Everything that is computed for them."""
        return [t.node for t in (*self.scalars.values(), *self.columns.values())]

    @property
    def in_training(self) -> list[str]:
        """Names in the history of training, in the order they were given."""
        return [name for name, m in self.measures.items() if m.parts or name in self.scalars]

    @property
    def numbers(self) -> list[str]:
        """Names of those that are one number, of which validation keeps a history."""
        return [name for name, m in self.measures.items() if m.kind != "confusion"]

    def report(self, means: Mapping[str, Any], columns: Mapping[str, NDArray] | None = None) -> dict[str, Any]:
        """What is told: loss and metrics from the means over rows, and from columns where all rows are there."""
        found = {"loss": means["loss"]} if "loss" in means else {}
        for name, m in self.measures.items():
            if m.columns and columns is not None:
                own = {part: np.asarray(columns[column_name(name, part)]) for part in m.columns}
                found[name] = OF_COLUMNS[m.kind](own)
            elif m.parts:
                found[name] = finished(m.kind, {part: means[f"{name}:{part}"] for part in m.parts})
            elif name in self.scalars:
                found[name] = means[name]
        return found


def column_name(name: str, part: str) -> str:
    """The root of a column; what a user may write in a name of a metric is made fit for a program."""
    return f"output:{''.join(c if c.isalnum() and c.isascii() else f'_{ord(c):x}_' for c in name)}__{part}"


def _by_name(given: Given) -> dict[str, Tensor]:
    if given is None or isinstance(given, Mapping):
        return {str(name): tensor for name, tensor in (given or {}).items()}
    if isinstance(given, Tensor) or not isinstance(given, Iterable):
        fail(TypeMismatchError, f"Model: metrics is {given!r:.60}", "give a list of gc.metrics, or a dict by name.")
    found: dict[str, Tensor] = {}
    for tensor in given:
        known = isinstance(tensor, Tensor) and (MEASURES[tensor].name if tensor in MEASURES else tensor.name)
        if not known:
            hint = "give a dict: metrics={'accuracy': ..}."
            fail(TypeMismatchError, f"Model: the metric {tensor!r:.60} has no name", hint)
        if known in found:
            fail(NameClashError, f"Model: two metrics are named {known}", "give a dict: metrics={'first': ..}.")
        found[str(known)] = tensor
    return found
