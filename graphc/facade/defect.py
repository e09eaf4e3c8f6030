"""When a program differs from its formulas: the first equation that is wrong, and a script that shows it again."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphc.emit.reference import evaluate, evaluate_all
from graphc.facade.agreement import Difference, Feed, near
from graphc.facade.checkpoint import save
from graphc.facade.core import Core
from graphc.facade.measured import Metrics
from graphc.facade.state import Parameters, State
from graphc.facade.trial import Report, Trial
from graphc.ir.node import Equation, Leaf, Node
from graphc.ir.text import equation_text
from graphc.lower.kernels import Contraction, Nest, Product, caption_of
from graphc.lower.layout import Buffer
from graphc.lower.lengths import Lengths
from graphc.lower.plan import Plan
from graphc.lower.training import layout_parameters
from graphc.optim import AnyRule, Groups
from graphc.records import record
from graphc.run.frames import Columns

APART = {"float32": 1e-3, "float64": 1e-8}  # relative to the largest element: such a stored value is called wrong


def report_on(trial: Trial, feed: Feed, difference: Difference) -> Report:
    """Where a difference of a result comes from: a stored value, or rewriting, or nothing more than the result."""
    found = trial.first_wrong(feed)
    if found is not None:
        return found
    declared, rewritten = trial.declared(), trial.rewritten()
    if difference.place >= len(declared):
        return Report("", difference.at, difference.found, difference.exact)
    node, plain = rewritten[difference.place], declared[difference.place]
    formula = trial.captions().get(node) or text_of(node)
    if not _same(evaluate([node], feed)[0], evaluate([plain], trial.given(feed))[0]):
        formula += f"\n  is what rewriting made of {text_of(plain)}"
    return Report(formula, difference.at, difference.found, difference.exact, node.origin or plain.origin)


def text_of(node: Node) -> str:
    """An equation in one line, or the name of a leaf."""
    return equation_text(node) if isinstance(node, Equation) else str(node.name)


def _same(a: NDArray, b: NDArray) -> bool:
    return not a.size or near(a, b, APART["float32"])


# ---------------------------------------------------------------- stored values


def first_wrong_value(
    plan: Plan,
    arena: NDArray,
    sizes: Mapping[str, int],
    roots: Sequence[Node],
    feed: Feed,
    captions: Mapping[Node, str] | None = None,
) -> Report | None:
    """The first kernel whose result is not the value of its equation.

    Parameters
    ----------
    plan
        One whose buffers share no memory.
    arena
        What the program left there.
    sizes
        The run-time sizes of the free extents.
    captions
        The formulas of a derivation, with their numbers.
    """
    values, capacity = evaluate_all(roots, feed), dict(sizes) | plan.capacity
    for kernel in plan.kernels:
        node = kernel.node
        if node not in values or kernel.out.region != "A" or not isinstance(kernel, Contraction | Nest | Product):
            continue
        if isinstance(kernel, Nest) and kernel.terms is not None and kernel.log is None:
            continue  # the inverse of a sum of exponentials is no value of the graph; what reads it is
        found = _stored(arena, kernel.out, sizes, capacity)
        if isinstance(kernel, Nest) and kernel.log is not None:
            found = found + _stored(arena, kernel.log, sizes, capacity)
        if found.shape != values[node].shape:  # of a batch in blocks of rows only the last block is there
            continue
        at = _wrong(found, values[node], APART[str(arena.dtype)])
        if at is not None:
            formula = caption_of(kernel, captions or {})
            return Report(formula, at, float(found[at]), float(values[node][at]), node.origin)
    return None


def _stored(arena: NDArray, buffer: Buffer, sizes: Mapping[str, int], capacity: Mapping[str, int]) -> NDArray:
    """The value of a buffer, in float64."""
    start = buffer.offset.at(capacity)
    shape = [e if isinstance(e, int) else capacity[e] for e in buffer.extents]
    whole = arena[start : start + int(np.prod(shape, dtype=np.int64))].reshape(shape)
    return whole[tuple(slice(e if isinstance(e, int) else sizes[e]) for e in buffer.extents)].astype(np.float64)


def _wrong(found: NDArray, exact: NDArray, apart: float) -> tuple[int, ...] | None:
    """The place of the worst element, where it is wrong."""
    if not exact.size or not np.isfinite(exact).all():
        return None
    gap = np.where(np.isnan(found), np.inf, np.abs(found - exact))
    if gap.max() <= apart * np.abs(exact).max():
        return None
    return tuple(int(i) for i in np.unravel_index(int(np.argmax(gap)), exact.shape))


# ---------------------------------------------------------------- a script

HEAD = '''"""Something that graphc computes wrongly. Run it where graphc is installed."""

from pathlib import Path

import numpy as np

import graphc as gc

here = Path(__file__).parent
model = gc.Model.load(here / "model.safetensors")
arrays = np.load(here / "data.npz")
data = {name[2:]: arrays[name] for name in arrays.files if name.startswith("x_")}
for name in model.params:
    model.params[name] = arrays[f"w_{name}"]
'''
TRAINING = """optimizer = {optimizer}
model.fit(data, optimizer=optimizer, steps=1, batch_size={batch}, shuffle=False{options})
"""
FUNCTION = """f = gc.compile(list(model.outputs.values()), dtype={dtype!r})
f(**{{name[2:]: arrays[name] for name in arrays.files}})
"""


@record
class Stored:
    """What a file of a model takes of a function: its outputs, and the parameters among its arguments."""

    raw_roots: dict[str, Node]
    params: Parameters
    state: State
    dtype: str
    subnormals: bool = False
    name: str = "function"
    _form: str = "list"
    metrics: Metrics = field(default_factory=lambda: Metrics(None))
    columns: Columns = field(default_factory=Columns)
    running: None = None


def training_script(model: Core, rule: AnyRule, feed: Feed, batch: Lengths) -> Path | None:
    """Write declaration, parameters, rows, and a script that takes one step of them; None where that is impossible."""
    options = ', sample_weight=arrays["weights"]' if model.weight_leaf in feed else ""
    options += ", seed=0" if model.random_numbers else ""
    size = batch if isinstance(batch, int) else dict(batch)
    text = TRAINING.format(optimizer=_optimizer(rule), batch=size, options=options)
    return _write(model, feed, text, model.weight_leaf)


def _optimizer(rule: AnyRule) -> str:
    """The expression that makes a rule, or rules for groups of parameters, with the values of the first step."""
    if isinstance(rule, Groups):
        return f"{{{', '.join(f'{names!r}: {_optimizer(part) if part else None}' for names, part in rule)}}}"
    values = rule.values_at(1)
    hyper = ", ".join(f"{n}={float(values[n])!r}" for n in rule.hyper)
    extra = {n: getattr(rule, n) for n in ("clip_value", "clip_norm", "decay") if getattr(rule, n) is not None}
    extras = f".with_({', '.join(f'{n}={v!r}' for n, v in extra.items())})" if extra else ""
    return f"gc.rule({rule.name!r}, {rule.text!r}, {hyper}){extras}"


def evaluation_script(model: Core, feed: Feed, outputs: bool) -> Path | None:
    """The same for ``predict`` or ``evaluate``."""
    return _write(model, feed, f"model.{'predict' if outputs else 'evaluate'}(data)\n")


def function_script(outputs: Sequence[Node], feed: Feed, dtype: str) -> Path | None:
    """The same for a compiled function; None also where its arguments have several free extents, as no model has, or
    are random tensors."""
    if len({e for leaf in feed for e in leaf.shape if isinstance(e, str)}) > 1:
        return None
    if any(leaf.kind == "random" for leaf in feed):
        return None
    params = Parameters(layout_parameters([leaf for leaf in feed if leaf.kind in ("param", "state")]), dtype)
    roots = {f"output:y{t}": node for t, node in enumerate(outputs)}
    stored = Stored(roots, params, State(params.held.size, dtype), dtype)
    return _write(stored, feed, FUNCTION.format(dtype=dtype))


def _write(model: Any, feed: Feed, call: str, weights: Leaf | None = None) -> Path | None:
    arrays: dict[str, Any] = {
        "weights" if leaf is weights else f"{'w' if leaf.kind in ('param', 'state') else 'x'}_{leaf.name}": x
        for leaf, x in feed.items()
        if leaf.kind != "random"  # the first step of seed 0, as the script's, draws them
    }
    try:
        folder = Path(tempfile.mkdtemp(prefix="graphc-defect-"))
        save(model, folder / "model.safetensors")
        np.savez(folder / "data.npz", **arrays)
        (folder / "repeat.py").write_text(HEAD + call, encoding="utf-8")
    except OSError:
        return None
    return folder / "repeat.py"
