"""Random graphs through the whole path: fit, threads, derivation, plan.  Part of ``make fuzz``."""

from __future__ import annotations

import numpy as np
import pytest

import graphc as gc
from graphc.run.history import Run
from tests.graphs import Graph, Plan, build, covering_plans, draw_data, feed_of, reference

ROWS, ETA = 13, 0.1


def one_step(graph: Graph, arrays: object, threads: int) -> tuple[gc.Model, Run]:
    """The model after one step of gradient descent on all rows."""
    model = gc.Model(output=graph.head, loss=graph.loss, dtype="float64")
    for p, value in zip(graph.params, graph.values):
        model.params[p.name] = value
    data = {str(leaf.name): getattr(arrays, str(leaf.name)) for leaf in model._core.training_inputs}
    run = model.fit(data, optimizer=gc.SGD(ETA), steps=1, batch_size=16, shuffle=False, threads=threads)
    return model, run


@pytest.mark.fuzz
@pytest.mark.parametrize("plan", [p for seed in range(6) for p in covering_plans(seed)], ids=str)
def test_a_training_step_is_the_interpreter_s_for_any_number_of_threads(plan: Plan):
    graph, arrays = build(plan), draw_data(ROWS, plan.seed)
    feed = feed_of(graph, arrays)
    gradients = reference(gc.grad(graph.loss, graph.params), feed)
    [loss] = reference([graph.loss], feed)
    bits = set()
    for threads in (1, 3):
        model, run = one_step(graph, arrays, threads)
        bits.add(model.params.flat.tobytes())
        np.testing.assert_allclose(run.history["loss"][0], loss, rtol=1e-11)
        for p, value, gradient in zip(graph.params, graph.values, gradients):
            near = 1e-11 * max(1.0, float(np.abs(gradient).max(initial=0)))
            np.testing.assert_allclose(model.params[p.name], value - ETA * gradient, atol=near)
    assert len(bits) == 1
    assert "∂J/∂" in str(model.derive()) and "arena" in str(model.explain("plan"))
