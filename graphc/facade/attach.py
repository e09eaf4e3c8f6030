"""Methods of later stages that sit on objects of earlier ones, in one table; loaded when they are asked for."""

from __future__ import annotations

import importlib
import inspect
from typing import Any

from graphc.declare.entries import entry
from graphc.declare.functions import Function
from graphc.declare.tensor import Tensor
from graphc.facade import pickling  # noqa: F401  makes nodes and derivations fit to be pickled
from graphc.facade.state import Parameters
from graphc.optim import Rule
from graphc.run.history import Run
from graphc.show.derivation import Derivation

METHODS = (
    (Run, "plot", "drawing.plot_run"),
    (Run, "curve", "drawing.curve"),
    (Run, "animate", "deciding.animate"),
    (Run, "_repr_html_", "drawing.html_of_run"),
    (Function, "plot", "drawing.draw_function"),
    (Function, "_repr_html_", "drawing.html_of_function"),
    (Tensor, "_repr_latex_", "drawing.latex_of"),
    (Tensor, "d", "directional.derivative"),
    (Tensor, "__str__", "summary.tensor_text"),
    (Parameters, "on_device", "devices.on_device"),
)


class _Method:
    """Stands where a method is until somebody asks for it, also to read its documentation."""

    def __init__(self, owner: type, name: str, home: str) -> None:
        self._owner, self._name, self._home = owner, name, home

    def __get__(self, value: Any, owner: type | None = None) -> Any:
        module, _, function = self._home.partition(".")
        method = getattr(importlib.import_module(f"graphc.facade.{module}"), function)
        if not self._name.startswith("_"):
            inspect.unwrap(method).__name__ = self._name  # errors call it what users do
            method = entry(method)
        setattr(self._owner, self._name, method)
        return method.__get__(value, owner)


for owner, name, home in METHODS:
    setattr(owner, name, _Method(owner, name, home))

for owner in (Tensor, Function, Derivation, Rule, Run):  # what public functions give
    entry(owner)
