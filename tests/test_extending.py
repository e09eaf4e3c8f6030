"""The changes that CONTRIBUTING describes, made from outside the package: a scalar function, a layer, an optimizer and
a stability rule are declared in this file alone, and used."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import numpy as np
import pytest
import sympy as sp

import graphc as gc
from graphc.cuda import selection
from graphc.derive.differentiability import hazards
from graphc.emit.cuda.functions import CudaPrinter
from graphc.emit.reference import evaluate
from graphc.errors import UnknownNameError
from graphc.ir import scalar_table as table
from graphc.ir.functions import declaring
from graphc.ir.scalar import FUNCTIONS, placeholder
from graphc.native import cache
from graphc.optim import OPTIMIZERS
from graphc.rewrite import stable_rules
from graphc.rewrite.rules import TRIGGERS, rule
from graphc.rewrite.stable import TABLES
from tests.covering import plain

x = sp.Symbol("x", real=True)
POINTS = np.array([-3.0, -1.0, 0.0, 0.5, 2.0, 40.0])


def declare() -> type:
    """A word, and a function of two arguments with a derivative, a printed form and a formula that computes it."""
    declaring.word("wiggle", lambda z, a=2: z + sp.sin(a * z) / a, "z + sin(a*z)/a.", activation=True, aliases=("wig",))

    @declaring.function(
        "bell",
        numpy=lambda z, s: np.exp(-((z / s) ** 2)),
        interval=declaring.within(0.0, 1.0),
        unicode="⌒({0}; {1})",
        latex=r"\mathcal{{B}}\left({0}; {1}\right)",
        formula=lambda z, s: sp.exp(-((z / s) ** 2)),
        arguments="z s",
        defaults=(1.0,),
        public="bell",
        doc="exp(-(z/s)**2).",
        explained={"s": "The width."},
        fades=True,
        cost=25,
    )
    class bell(sp.Function):
        is_real = is_nonnegative = True
        nargs = 2

        def fdiff(self, argindex: int = 1) -> sp.Expr:
            z, s = self.args
            return (-2 * z / s**2 if argindex == 1 else 2 * z**2 / s**3) * self

    return bell


@pytest.fixture(scope="module")
def bell() -> Iterator[type]:
    """Everything declared; afterwards the tables are what they were."""
    tables = [table.FUNCTIONS, table.BY_CLASS, table.WORDS, table.PUBLIC, OPTIMIZERS]
    before, rules = [dict(t) for t in tables], [list(t.rules) for t in TABLES]
    made = declare()

    @rule(stable_rules.LOGARITHMS, of=sp.log, triggers=[made])
    def log_of_bell(e: sp.log) -> sp.Expr | None:
        """log(bell(z, s))  ->  -(z/s)**2

        The bell underflows where its logarithm does not."""
        return -((e.args[0].args[0] / e.args[0].args[1]) ** 2) if isinstance(e.args[0], made) else None

    OPTIMIZERS["signed"] = lambda eta=0.1: gc.rule("signed", "theta <- theta - eta*sign(g)", eta=eta)
    yield made
    for t, kept in zip(tables, before):
        t.clear()
        t.update(kept)
    for t, kept in zip(TABLES, rules):
        t.rules[:] = kept
    TRIGGERS.discard(made)
    table.classes.cache_clear()
    for name in ("wiggle", "bell"):
        for module in (gc, sys.modules["graphc.declare.pointwise"]):
            vars(module).pop(name, None)


class Scale(gc.nn.Layer):
    """A layer of an own parameter."""

    def declare(self, x: gc.Tensor) -> list[gc.Tensor]:
        return [gc.param("scale", x.shape[-1:], 1.0)]

    def apply(self, x: gc.Tensor, params: list[gc.Tensor]) -> gc.Tensor:
        return x * params[0]


def value(y: gc.Tensor, leaf: gc.Tensor, at: np.ndarray) -> np.ndarray:
    return evaluate([y.equation], {leaf.node: at})[0]


def test_a_word_is_known_by_name_in_tensors_formulas_layers_and_documentation(bell):
    z = gc.input("Z", ("n",))
    np.testing.assert_allclose(value(gc.wiggle(z), z, POINTS), POINTS + np.sin(2 * POINTS) / 2, rtol=1e-15)
    np.testing.assert_allclose(value(gc.wiggle(z, a=3), z, POINTS), POINTS + np.sin(3 * POINTS) / 3, rtol=1e-15)
    assert gc.function("f", "wig(z)").expr == gc.wiggle(sp.Symbol("z", real=True))
    assert {"wiggle", "bell"} <= set(gc.__all__) & set(dir(gc)) and "wiggle" in dir(gc.activations)
    assert gc.nn.Dense(3, "wiggle")(gc.input("X", ("n", 2))).shape == ("n", 3)
    assert gc.bell.__doc__.startswith("exp(-(z/s)**2).\n\nParameters\n----------\nz : Tensor")
    with pytest.raises(UnknownNameError, match="did you mean 'wiggle'"):
        gc.nn.Dense(3, "wigle")(gc.input("X", ("n", 2)))


def test_a_function_prints_as_it_says_and_is_bounded_and_derived(bell):
    z = gc.input("Z", ("n",))
    J = gc.sum(gc.bell(z, 2) * gc.param("w", (), 1.0))
    shown = gc.derive(J, "w")
    assert "⌒(Z[i]; 2)" in shown.index() and r"\mathcal{B}\left(Z_{i}; 2\right)" in shown.latex()
    assert hazards(bell(x, 1)) == ((0.0, 1.0), [])
    found = value(gc.grad(gc.sum(gc.bell(z, 2)), z), z, POINTS)
    np.testing.assert_allclose(found, -POINTS / 2 * np.exp(-((POINTS / 2) ** 2)), rtol=1e-15)
    w = gc.param("w", (), 2.0)
    slope = gc.grad(gc.bell(1.5, w), w)
    np.testing.assert_allclose(evaluate([slope.equation], {w.node: np.array(2.0)})[0], 0.5625 * np.exp(-0.5625))


def test_a_rule_keeps_the_logarithm_of_a_function_finite(bell):
    z = gc.input("Z", ("n",))
    np.testing.assert_allclose(value(gc.log(gc.bell(z)), z, POINTS), -(POINTS**2), rtol=1e-15)


def test_a_function_without_machine_code_is_compiled_from_its_formula(bell):
    """One program of both; its text holds names alone, so the cache asks for the formulas, too."""
    z = gc.input("Z", ("n",))
    y = gc.bell(z, 1.7)
    found = gc.compile([y, gc.grad(gc.sum(y), z), gc.wiggle(z)], [z], dtype="float64")(POINTS)
    b = np.exp(-((POINTS / 1.7) ** 2))
    np.testing.assert_allclose(found[0], b, rtol=1e-12)
    np.testing.assert_allclose(found[1], -2 * POINTS / 1.7**2 * b, rtol=1e-12)
    np.testing.assert_allclose(found[2], POINTS + np.sin(2 * POINTS) / 2, rtol=1e-15)
    assert cache.declared_outside() == ["bell: exp(-a0**2/a1**2)"]


def test_a_function_without_a_template_is_printed_for_gpus_from_its_formula(bell):
    a, s = placeholder(0), placeholder(1)
    assert CudaPrinter({a: "a", s: "s"}).print(bell(a, s)) == "math.exp(-a*a/(s*s))"
    z = gc.input("Z", ("n",))
    with selection.use():
        found = gc.Model(gc.bell(z, 1.7), dtype="float64").predict(POINTS, target="cuda")
    np.testing.assert_allclose(found, np.exp(-((POINTS / 1.7) ** 2)), rtol=1e-12)


def test_a_layer_and_an_optimizer_are_used_by_a_model(bell, monkeypatch):
    monkeypatch.setitem(plain.NAMES, "bell", lambda z, s: float(FUNCTIONS["bell"].numpy(z, s)))
    net = gc.nn.sequential(2, Scale(), gc.nn.Dense(1, gc.bell, bias=False))
    assert [p.name for p in net.params] == ["scale", "W0"]
    assert net(gc.input("U", ("n", 2))).node.rank == 2 and len(gc.nn.sequential(net(net.input)).params) == 2
    T = gc.input("T", ("n", 1))
    model = gc.Model(net, gc.mean((net - T) ** 2), dtype="float64")
    with plain.in_python(plain.Plain(divides=True)):
        before = {name: np.array(v) for name, v in model.initialize(seed=1).params.items()}
        X, t = np.array([[0.5, 1.0], [0.2, -0.3]]), np.ones((2, 1))
        model.fit(X, t, optimizer="signed", steps=1, batch_size=None)
    for name, old in before.items():
        np.testing.assert_allclose(abs(np.asarray(model.params[name]) - old), 0.1, rtol=1e-12)
