"""Laws of the CUDA programs, on random graphs: no races, and the numbers of the interpreter.

The kernels run in Python with many threads under observation (:mod:`tests.cuda_races`), which needs neither a GPU nor
Numba.  Planted once and found: a barrier left out, one between blocks that does not wait, a reduction whose tree
forgets one, a result that overwrites in place what another thread still reads, an index map with the wrong sign.
"""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

import graphc as gc
from graphc.cuda import selection
from graphc.cuda.machine import Loaded
from graphc.emit.cuda.program import CudaProgram
from graphc.lower.tiers import Tier
from graphc.optim import Rule
from tests.cuda_lint import lint
from tests.cuda_races import Watched
from tests.graphs import Plan, build, covering_plans, draw_data, feed_of, reference

ROWS, ETA = 11, 0.1
PLANS = [p for seed in (0, 3) for p in covering_plans(seed)]
TIERS: tuple[Tier, ...] = ("A", "B", "C")


def train(plan: Plan, tier: Tier, watched: Watched | None = None, optimizer: Rule | None = None, **options: object):
    """One step on all rows, watched: graph, data, model, run, races."""
    graph, arrays = build(plan), draw_data(ROWS, plan.seed)
    model = gc.Model(output=graph.head, loss=graph.loss, dtype="float64")
    for p, value in zip(graph.params, graph.values):
        model.params[p.name] = value
    data = {str(leaf.name): getattr(arrays, str(leaf.name)) for leaf in model._core.training_inputs}
    machine = watched or Watched(threads=6, blocks=1 if tier == "A" else 2)
    given = {"steps": 1, "batch_size": 16, "shuffle": False, "verify": False} | options  # races are looked for here
    with selection.use(machine, tier):
        run = model.fit(data, optimizer=optimizer or gc.SGD(ETA), target="cuda", **given)
    return graph, arrays, model, run, machine.found


@pytest.mark.parametrize(("number", "plan"), list(enumerate(PLANS)), ids=str)
def test_a_step_without_races_is_the_interpreter_s(number: int, plan: Plan):
    graph, arrays, model, run, races = train(plan, TIERS[number % 3])
    assert races == []
    feed = feed_of(graph, arrays)
    gradients = reference(gc.grad(graph.loss, graph.params), feed)
    [loss] = reference([graph.loss], feed)
    np.testing.assert_allclose(run.history["loss"][0], loss, rtol=1e-11)
    for p, value, gradient in zip(graph.params, graph.values, gradients):
        near = 1e-11 * max(1.0, float(np.abs(gradient).max(initial=0)))
        np.testing.assert_allclose(model.params[p.name], value - ETA * gradient, atol=near)


@pytest.mark.parametrize("tier", TIERS)
def test_every_part_of_a_run_is_without_races(tier: Tier):
    """Shuffled batches, the last one short; the norm of the gradient; a tolerance; two epochs."""
    rule = gc.Adam(1e-2, clip_norm=0.5)
    options = {"steps": None, "epochs": 2, "batch_size": 8, "shuffle": True, "tol": 1e-12, "seed": 3}
    *_, run, races = train(PLANS[0], tier, None, rule, **options)
    assert races == [] and run.steps == 4


class Careless(Watched):
    """Leaves one barrier out of every kernel."""

    def __init__(self, number: int) -> None:
        super().__init__(threads=6)
        self.number = number

    def load(self, program: CudaProgram) -> dict[str, Loaded]:
        mark = "        cuda.syncthreads()\n        # "
        first, *rest = program.text.split(mark)
        marks = ["        # " if t == self.number else mark for t in range(len(rest))]
        return super().load(replace(program, text=first + "".join(m + part for m, part in zip(marks, rest))))


@pytest.mark.parametrize("number", range(4))
def test_a_barrier_left_out_is_found(number: int):
    assert train(PLANS[0], "A", Careless(number))[-1] != []


class Hasty(Watched):
    """Its blocks tell that they have arrived and do not wait for the others, as on the H100."""

    def load(self, program: CudaProgram) -> dict[str, Loaded]:
        text, count = re.subn(r"while acquire\(S, (U\(\d+\)|\d+)\) < tick:", "if tick < int32(0):", program.text)
        assert count > 2
        return super().load(replace(program, text=text))


def test_blocks_that_do_not_wait_for_one_another_are_found():
    assert train(PLANS[0], "B", Hasty(threads=2, blocks=2))[-1] != []


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("s = M[U(i + j)]*0.5", "a bare float literal: 0.5"),
        ("s = M[i + j]", "an index that is not wrapped: M[i + j]"),
        ("k = i // U(3)", "whole-number arithmetic that is not wrapped: i // U(3)"),
        ("G = cuda.shared.array(n, f)", "a shared array without a literal size: cuda.shared.array(n, f)"),
    ],
)
def test_a_text_that_leaves_the_dialect_is_found(line: str, reason: str):
    assert lint(f"def kernel(M, n):\n    {line}\n") == [reason]
