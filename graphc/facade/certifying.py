"""``certificate``: what of a whole model is smooth, defined, and within the range of its numbers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from graphc.derive.certificate import LARGEST, ORDER, Finding, examine
from graphc.errors import DomainError, UnknownNameError
from graphc.facade.core import Core
from graphc.facade.deriving import captions
from graphc.facade.summary import formula
from graphc.ir.letters import close_name
from graphc.ir.node import Equation, Leaf, Node, Read
from graphc.ir.text import equation_text, node_name
from graphc.ir.walk import topological
from graphc.records import record
from graphc.show.explain import shortened

Ranges = Mapping[str, Any] | None
LONGEST = 90  # characters of an equation
_SAYS = {"kink": "kinked at", "infinite slope": "infinite slope at", "jump": "jumps at", "zero gradient": "flat:",
         "pole": "not defined:", "domain": "not defined:"}  # fmt: skip


@record(frozen=True)
class Entry:
    """What holds of one equation.

    Attributes
    ----------
    equation : str
    verdict : "smooth", "kinked", "jumps" or "domain"
    reasons : tuple of str
        Where, and which subgradient is taken there.
    bounds : pair of float
        Its values lie between them.
    overflows : dict of tuple of str by precision
        Parts of it that may leave the range of "float32", "float64".
    gradient : bool
        Whether it belongs to the gradient, of which only overflow is told.
    """

    equation: str
    verdict: str
    reasons: tuple[str, ...]
    bounds: tuple[float, float]
    overflows: Mapping[str, tuple[str, ...]]
    gradient: bool = False


@record(frozen=True)
class Certificate:
    """Differentiability and range of a whole model; print it.

    Intervals ignore that two occurrences of a value move together: a finding may be a false alarm, "smooth" and "no
    overflow" are none.

    Attributes
    ----------
    verdict : str
        The worst of the equations of outputs and loss (metrics are not derived): "smooth", "kinked" (continuous, with
        a subgradient where it is not smooth), "jumps"
        or "domain" (it may be undefined).
    equations : tuple of Entry
        Outputs, loss and metrics, then the gradient.
    ranges : dict of pairs by name
        Between what inputs and parameters were taken to lie.
    rows : int
        The largest number of rows.
    """

    verdict: str
    equations: tuple[Entry, ...]
    ranges: Mapping[str, tuple[float, float]]
    rows: int

    @property
    def smooth(self) -> bool:
        """Whether every equation has all derivatives everywhere in the ranges."""
        return self.verdict == "smooth"

    def overflows(self, dtype: str = "float32") -> list[str]:
        """The parts that may leave the range of a precision, with their equations; empty: none can."""
        if dtype not in LARGEST:
            raise DomainError(f"certificate: dtype is {dtype!r}\n  hint: choose 'float32' or 'float64'")
        given = [name for name, (low, high) in self.ranges.items() if max(abs(low), abs(high)) > LARGEST[dtype]]
        return [*given, *(f"{part} in {e.equation}" for e in self.equations for part in e.overflows[dtype])]

    def __str__(self) -> str:
        given = ", ".join(f"{name} in [{low:g}, {high:g}]" for name, (low, high) in self.ranges.items())
        lines = [f"{self.verdict}, for {given or 'no inputs'}, up to {self.rows:,} rows"]
        for e in self.equations:
            if e.gradient and not any(e.overflows.values()):
                continue
            lines.append(f"  {e.equation}")
            lines.append(f"      {e.verdict}, in [{e.bounds[0]:.4g}, {e.bounds[1]:.4g}]")
            lines += [f"      {reason}" for reason in e.reasons]
            lines += [f"      {name} may overflow: {', '.join(parts)}" for name, parts in e.overflows.items() if parts]
        lines += [f"  no overflow in {name}" for name in LARGEST if not self.overflows(name)]
        return "\n".join(lines)

    __repr__ = __str__


def certificate(core: Core, bound: float, ranges: Ranges, rows: int) -> Certificate:
    """What :meth:`graphc.Model.certificate` gives."""
    leaves = [*core.all_inputs, *core.kept_leaves]
    known = _ranges(leaves, bound, ranges or {})
    if not isinstance(rows, int | np.integer) or isinstance(rows, bool) or rows < 1:
        raise DomainError(f"certificate: rows is {rows!r:.60}\n  hint: give a whole number of at least 1")
    forward, texts = list(core.graph.roots.values()), _texts(core)
    found = examine(forward, known, int(rows))
    entries = [_entry(f, False, texts) for f in found]
    of_metrics = {*core.metric_names, *core.metrics.columns}
    read = set(topological([r for n, r in core.graph.roots.items() if n not in of_metrics]))
    verdict = max((f.verdict for f in found if f.node in read), key=ORDER.index, default="smooth")
    if core._loss is not None and core.param_leaves:
        derived = core.differentiated()
        own = set(topological(forward))
        every = examine([derived.loss, *derived.gradients.values()], known, int(rows))
        entries += [_entry(f, True, texts) for f in every if f.node not in own]
    return Certificate(verdict, tuple(entries), {str(leaf.name): r for leaf, r in known.items()}, int(rows))


def _texts(core: Core) -> dict[Node, str]:
    """What a derivation calls the equations, where it shows them."""
    lines = [line for name, x in core._outputs.items() for line in formula(x, name).lines]
    found: dict[Node, str] = {line.node: f"{line.left} = {line.index}" for line in lines}
    if core._loss is not None and core.param_leaves:
        found |= captions(core)
    return {node: shortened(text, LONGEST) for node, text in found.items() if not text.startswith("part of")}


def _entry(f: Finding, gradient: bool, texts: Mapping[Node, str]) -> Entry:
    said = [] if gradient else [f"{_SAYS[h.kind]} {_named(str(h.subexpr), f.node, texts)}: "
                                f"{_named(h.text, f.node, texts)}" for h in f.hazards]  # fmt: skip
    lost = {name: tuple(_named(p, f.node, texts) for p in parts) for name, parts in f.overflows.items()}
    text = texts.get(f.node) or shortened(equation_text(f.node), LONGEST)
    return Entry(text, "smooth" if gradient else f.verdict, tuple(dict.fromkeys(said)), f.bounds, lost, gradient)


def _named(text: str, y: Equation, texts: Mapping[Node, str]) -> str:
    """A part of a body, with the names of what is read."""

    def name(j: int) -> str:
        op = y.operands[j] if j < len(y.operands) else None
        if isinstance(op, Read):
            return re.split(r"[\[ ]", texts[op.node], maxsplit=1)[0] if op.node in texts else node_name(op.node)
        return "[..]" if op is not None else f"a{j}"

    return re.sub(r"\ba(\d+)\b", lambda m: name(int(m[1])), text)


def _ranges(leaves: list[Leaf], bound: Any, given: Mapping[str, Any]) -> dict[Leaf, tuple[float, float]]:
    """Of every input and parameter: as given, else from -bound to bound."""
    wide = _pair("bound", (-bound, bound) if isinstance(bound, int | float) else bound)
    names = {str(leaf.name): leaf for leaf in leaves}
    for name in given:
        if name not in names:
            hint = close_name(str(name), names)
            raise UnknownNameError(f"certificate: no input or parameter is named {name!r}\n  hint: {hint}")
    return {leaf: _pair(name, given[name]) if name in given else wide for name, leaf in names.items()}


def _pair(name: str, value: Any) -> tuple[float, float]:
    try:
        low, high = (float(v) for v in value)
    except (TypeError, ValueError):
        low, high = np.nan, np.nan
    if not (np.isfinite(low) and np.isfinite(high) and low <= high):
        raise DomainError(f"certificate: the range of {name} is {value!r:.60}\n  hint: give two numbers (low, high)")
    return low, high
