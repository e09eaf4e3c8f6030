"""Scalar functions as a GPU computes them, against the references of the scalar table."""

from __future__ import annotations

import numpy as np
import pytest

from graphc.cuda.emulator import Emulator
from graphc.emit.cuda.functions import TEMPLATES, CudaPrinter
from graphc.emit.cuda.module import module_text
from graphc.emit.cuda.program import CudaKernel, CudaProgram
from graphc.ir.scalar import FUNCTIONS, placeholder

POINTS = np.array([
    0.0, 1e-9, -1e-9, 0.3, -0.3, 0.5, -0.5, 0.99, -0.99, 1.5, 2.5, -2.5, 7.0, -7.0, 80.0, -80.0, 600.0, -600.0,
    np.inf, -np.inf, np.nan,
])  # fmt: skip
SECOND = 0.7
NAMES = [name for name in FUNCTIONS if name != "stop_gradient"]


def text_of(name: str) -> tuple[list[str], str]:
    """The template, or what the printer makes of the formula: lines before it, and the value."""
    entry = FUNCTIONS[name]
    if name in TEMPLATES:
        return [], TEMPLATES[name].format("x", "y", "z")
    slots = [placeholder(j) for j in range(entry.arity)]
    printer = CudaPrinter(dict(zip(slots, "xyz")))
    text = printer.print(entry(*slots))
    return printer.lines, text


@pytest.fixture(scope="module")
def values() -> dict[str, np.ndarray]:
    """Every function at every point, by one kernel on the emulator; further arguments are 0.7."""
    lines = ["def table(X, Y):", f"    y = f({SECOND})", "    z = f(-2.0)"]
    for t, name in enumerate(NAMES):
        before, text = text_of(name)
        lines += [f"    for e_ in range(U({len(POINTS)})):", "        e = U(e_)", "        x = X[e]"]
        lines += [*(f"        {line}" for line in before), f"        Y[U(U({t * len(POINTS)}) + e)] = {text}"]
    kernel = CudaKernel("table", (("X", "float64*"), ("Y", "float64*")), 32)
    program = CudaProgram("functions", module_text("functions", "float64", {}, lines), "float64", "A", (kernel,))
    machine = Emulator()
    x, y = machine.array(len(POINTS), np.float64), machine.array(len(NAMES) * len(POINTS), np.float64)
    machine.upload(x, POINTS)
    machine.launch(machine.load(program)["table"], 1, {"X": x, "Y": y})
    return dict(zip(NAMES, y.numpy().reshape(len(NAMES), len(POINTS))))


@pytest.mark.parametrize("name", NAMES)
def test_a_function_is_the_one_of_the_table(name: str, values: dict[str, np.ndarray]):
    entry = FUNCTIONS[name]
    others = [np.full_like(POINTS, v) for v in (SECOND, -2.0)][: entry.arity - 1]
    with np.errstate(all="ignore"):
        wanted = entry.numpy(POINTS, *others)
    small = {"bce": 1e-15, "mod": 1e-13}.get(name, 1e-300)
    if name == "mod":  # a multiple of 0.7, but for rounding, may have the remainder 0 or 0.7
        wanted = np.where(abs(wanted - SECOND) < 1e-9, values[name], wanted)
    room = 1e-11 if "gamma" in name else 2e-14  # sums that cancel, in another order
    np.testing.assert_allclose(values[name], wanted, rtol=room, atol=small)


def test_every_function_of_the_table_has_a_form_for_gpus():
    assert {name for name, f in FUNCTIONS.items() if not f.cuda and not f.formula} == {"stop_gradient"}
