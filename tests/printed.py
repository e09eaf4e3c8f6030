"""Printed formulas and what they stand for: where they come from, and the law that they read back to their numbers."""

from __future__ import annotations

import contextlib
import importlib.util
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest

import graphc as gc
from graphc import nn
from graphc.emit.reference import evaluate_all
from graphc.facade.summary import formula
from graphc.ir.node import Leaf
from graphc.ir.walk import leaves
from graphc.show.derivation import Derivation
from graphc.show.outline import Line
from tests.formula_numbers import value_of

EXAMPLES = Path(__file__).parent.parent / "examples"
ROWS = 3  # of a free extent
Draw = Callable[[Leaf], Any]


def small_numbers(seed: int = 0) -> Draw:
    """Values of leaves: inside the domain of what the models of this library are made of, and of no special form."""
    rng = np.random.default_rng(seed)

    def draw(leaf: Leaf) -> np.ndarray:
        shape = tuple(ROWS if isinstance(e, str) else e for e in leaf.shape)
        if leaf.dtype == "int":
            return rng.integers(0, leaf.bound or 3, shape)
        return np.ones(shape) if leaf.kind == "phase" else rng.uniform(0.1, 0.4, shape)

    return draw


def assert_reads_back(lines: Sequence[Line], draw: Draw | None = None) -> None:
    """Every line, read by a reader that knows nothing of graphc, gives the numbers of the equation that is computed;
    lines of a scan's step those of the step that is done last."""
    nodes = [line.node for line in lines]
    feed = {leaf: (draw or small_numbers())(leaf) for leaf in leaves(nodes) if leaf.kind != "constant"}
    found = {e: n for leaf, a in feed.items() for e, n in zip(leaf.shape, np.shape(a)) if isinstance(e, str)}
    sizes = {"n": ROWS} | found
    with np.errstate(all="ignore"):  # what a condition leaves out may be 0/0
        values = evaluate_all(nodes, feed, sizes)
        names = lines[0].names
        _ = [line.index for line in lines]  # what a scan reads gets its name where it is printed first
        shown = {names.of(node): v for node, v in values.items() if node in names.names} | sizes
        for line in lines:
            known = dict(zip(line.shown.letters, [sizes.get(e, e) for e in line.shown.extents], strict=True))
            left, exact = line.left or line.partial.partition("/")[2], values[line.node]
            found = value_of(left, line.index, shown, exact.shape, known)
            text = f"{left} = {line.index}"
            np.testing.assert_allclose(found, np.squeeze(exact), rtol=1e-9, atol=1e-12, err_msg=text)


# ---------------------------------------------------------------- layers


LAYERS: dict[str, Callable[[], nn.Network]] = {
    "pictures": lambda: nn.sequential(
        (2, 6, 6), nn.Conv2D(4, 3, "tanh", stride=2, padding="same"), nn.MaxPool2D(2, 1), nn.GroupNorm(2), nn.Flatten(),
        nn.Dense(2)),
    "signals": lambda: nn.sequential((2, 3), nn.Conv1D(2, 2, "tanh", padding="causal"), nn.AvgPool1D(2, 1, "same"),
                                        nn.Flatten(), nn.Dense(2)),
    "words": lambda: nn.sequential((3, 4), nn.MultiHeadAttention(2), nn.LayerNorm(), nn.Flatten(), nn.Dense(2)),
    "larger pictures": lambda: nn.sequential(
        (1, 3, 3), nn.Conv2DTranspose(2, 2, "tanh", stride=2), nn.AvgPool2D(2), nn.GlobalAvgPool2D(), nn.Dense(2)),
    "places": lambda: nn.sequential((2, 6), nn.Conv1D(2, 2, "tanh"), nn.MaxPool1D(2, 1), nn.GlobalAvgPool1D(),
                                    nn.Reshape((2, 1)), nn.Flatten(), nn.Dense(2)),
    "blocks": lambda: nn.sequential((2, 4), nn.TransformerBlock(2, 3), nn.RMSNorm(), nn.Residual(nn.Dense(4, "gelu")),
                                    nn.Flatten(), nn.Dense(2)),
    "chances": lambda: nn.sequential(4, nn.GaussianNoise(0.1), nn.Dense(3, "relu"), nn.BatchNorm(), nn.Dropout(0.5),
                                     nn.Dense(2)),
    "labels": lambda: nn.sequential(gc.input("X", ("n", 3), dtype="int64"), nn.Embedding(3, 2), nn.Flatten(),
                                    nn.Dense(2)),
}  # fmt: skip


def derivation_of_layers(name: str) -> Derivation:
    """All gradients of the cross-entropy of a network of :data:`LAYERS`."""
    return gc.derive(gc.losses.cross_entropy(LAYERS[name](), gc.input("T", ("n",), dtype="int64")))


# ---------------------------------------------------------------- examples


class Stopped(BaseException):
    """An example is about to train or to compile."""


def models_of_example(name: str) -> list[gc.Model]:
    """The models that an example makes before it trains one, and those of its functions that say they return one."""
    spec = importlib.util.spec_from_file_location(f"printed_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found: list[gc.Model] = []
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(None):
        patch.setattr(gc.Model, "__init__", _noted(found))
        for owner, words in ((gc.Model, ("fit", "sweep", "report")), (gc, ("compile", "compare"))):
            for word in words:
                patch.setattr(owner, word, _stop)
        for make in [f for f in vars(module).values() if _makes_a_model(f)]:
            make()
        with contextlib.suppress(Stopped):
            module.main()
    return found


def _noted(found: list[gc.Model]) -> Callable[..., None]:
    made = gc.Model.__init__

    def note(self: gc.Model, *args: Any, **options: Any) -> None:
        made(self, *args, **options)
        found.append(self)

    return note


def _stop(*args: Any, **options: Any) -> NoReturn:
    raise Stopped


def _makes_a_model(f: Any) -> bool:
    if not inspect.isfunction(f) or f.__annotations__.get("return") not in ("gc.Model", gc.Model):
        return False
    return all(p.default is not p.empty for p in inspect.signature(f).parameters.values())


def derivations_of(model: gc.Model) -> Iterator[Derivation]:
    """What a model prints: the chain rule of its loss, outputs and metrics."""
    core = model._core
    if core._loss is not None:
        yield model.derive()
    named: Mapping[str, gc.Tensor] = {**core._outputs, **core._metrics}
    yield from (d for x in named.values() if (d := formula(x)).lines)
