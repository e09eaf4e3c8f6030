"""A case of ONNX's own tests: one node, its attributes, what goes in and what comes out."""

from __future__ import annotations

import importlib
import pkgutil
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import graphc as gc
from graphc.emit.reference import evaluate
from graphc.ir.node import Leaf
from graphc.rewrite.modes import in_mode
from graphc.rewrite.normal import normal_form


@dataclass(eq=False)
class Case:
    """The node by its operator and attributes; an input or output that the node leaves out is None."""

    name: str
    operator: str
    attributes: dict[str, Any]
    given: list[Any]
    wanted: list[Any]
    feed: dict[Leaf, np.ndarray] = field(default_factory=dict)

    def option(self, name: str, default: Any = None) -> Any:
        """An attribute, words as text."""
        found = self.attributes.get(name, default)
        return found.decode() if isinstance(found, bytes) else found

    def value(self, i: int) -> Any:
        """Input i as a number or an array, for what is known when a network is declared: shapes, axes; else None."""
        return self.given[i] if i < len(self.given) else None

    def x(self, i: int = 0) -> Any:
        """Input i as a Tensor, None where the node has none."""
        return self._declared(i, "float")

    def labels(self, i: int) -> Any:
        """Input i as integer data."""
        return self._declared(i, "int64")

    def all(self) -> list[Any]:
        """Every input as a Tensor."""
        return [self.x(i) for i in range(len(self.given))]

    def _declared(self, i: int, dtype: str) -> Any:
        value = self.value(i)
        if value is None:
            return None
        tensor = gc.input(f"x{i}", np.shape(value), dtype=dtype)
        self.feed[tensor.node] = np.asarray(value).astype(np.float64 if dtype == "float" else np.int64)
        return tensor


def values(case: Case, tensors: Any, training: bool = False) -> list[np.ndarray]:
    """What the interpreter makes of one Tensor or several, in the form that programs are made of."""
    several = tensors if isinstance(tensors, list | tuple) else [tensors]
    roots = in_mode([gc.Tensor(normal_form(t.node)).node for t in several], training)
    return evaluate(roots, case.feed)


def assert_near(case: Case, found: Sequence[np.ndarray]) -> None:
    """Compare with what ONNX gives, which was computed in the type of the result."""
    wanted = [w for w in case.wanted if w is not None]
    assert len(found) >= len(wanted), f"{case.name}: {len(found)} of {len(wanted)} results"
    for ours, theirs in zip(found, wanted):
        theirs = np.asarray(theirs)
        step = _step(theirs.dtype)
        theirs = theirs.astype(np.float64)
        assert np.shape(ours) == theirs.shape, f"{case.name}: {np.shape(ours)} is not {theirs.shape}"
        finite = np.abs(theirs[np.isfinite(theirs)])
        scale = max(1.0, finite.max(initial=0.0)) if case.operator not in EXACT else 0.0
        least = ROUNDED.get(case.name, 8 * step * scale)
        np.testing.assert_allclose(ours, theirs, 32 * step, least, err_msg=case.name)


ROUNDED = {"averagepool_2d_ceil_last_window_starts_on_pad": 1e-4}  # ONNX has its values with four digits
EXACT = frozenset("Max Min Transpose Reshape Concat Split Slice Gather GatherElements ScatterElements Where".split())


def _step(dtype: np.dtype) -> float:
    """The distance from 1 to the next number of a type."""
    if dtype.kind in "iub":
        return 0.0
    return {"float64": 2.0**-44, "float32": 2.0**-23, "float16": 2.0**-10, "bfloat16": 2.0**-7}[dtype.name]


def all_cases() -> list[Case]:
    """ONNX's cases of single nodes: their package makes them, with NumPy.

    Those whose name ends with ``_expanded`` say the same of the functions that an operator is made of.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        numpy_helper = importlib.import_module("onnx").numpy_helper
        folder = importlib.import_module("onnx.backend.test.case.node")
        for module in pkgutil.iter_modules(folder.__path__, folder.__name__ + "."):
            importlib.import_module(module.name)
    return [_read(c, numpy_helper) for c in folder._NodeTestCases if "_expanded" not in c.name]


def _read(test: Any, numpy_helper: Any) -> Case:
    helper = importlib.import_module("onnx").helper
    (node,) = test.model.graph.node
    ((given, wanted),) = test.data_sets
    array = lambda v: numpy_helper.to_array(v) if hasattr(v, "data_type") else v
    full = lambda names, found: [array(next(rest)) if n else None for rest in [iter(found)] for n in names]
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    name = test.name.removeprefix("test_")
    return Case(name, node.op_type, attributes, full(node.input, given), full(node.output, wanted))
