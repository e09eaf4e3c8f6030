"""Covering graphs through the CUDA printer, in Python with many threads under observation (:mod:`tests.cuda_races`).

One step of training in one of the tiers: no races, and the numbers of JAX.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

import graphc as gc
from graphc.cuda import selection
from graphc.cuda.machine import Loaded
from graphc.emit.cuda.program import CudaProgram
from graphc.errors import DivergenceError
from graphc.lower.tiers import Tier
from tests.covering.build import Description, build, theirs
from tests.covering.compare import Difference, difference
from tests.covering.search import graphs_of
from tests.covering.text import text_of
from tests.cuda_races import Watched

ETA, PARTS = 0.5, 10
TIERS: tuple[Tier, ...] = ("A", "B", "C")
REFUSED = {"algebra"}  # on CUDA


def some(count: int = 40) -> list[Description]:
    every = [d for d in graphs_of(0) if d["order"] == "first" and len(d["steps"]) < 16 and "others" not in d]
    every = [d for d in every if not REFUSED & {operation for operation, _, _ in d["steps"]}]
    return [d | {"mode": "training", "dtype": "float64"} for d in every][:count]


class Changed(Watched):
    """Edits the text of every kernel first."""

    def __init__(self, change: Callable[[str], str]) -> None:
        super().__init__(threads=5)
        self.change = change

    def load(self, program: CudaProgram) -> dict[str, Loaded]:
        return super().load(replace(program, text=self.change(program.text)))


def trained(description: Description, tier: Tier, other: Watched | None = None) -> Difference | None:
    """What a step has wrong: its loss, its gradients."""
    graph = build(description)
    wanted = theirs(graph)(graph.leaves.values).everything()
    model = gc.Model(loss=graph.loss, dtype="float64")
    data = {str(leaf.name): graph.leaves.values[str(leaf.name)] for leaf in model._core.training_inputs}
    if not data and model._core.random_numbers:  # what is drawn for every row asks how many there are
        return None
    for name in model.params:
        model.params[name] = graph.leaves.values[name]
    options = {"steps": 1, "batch_size": 16, "shuffle": False, "verify": False, "seed": graph.leaves.chance.seed}
    machine = other or Watched(threads=5, blocks=1 if tier == "A" else 2)
    with selection.use(machine, tier):
        run = model.fit(data, optimizer=gc.SGD(ETA), target="cuda", **options)
    assert machine.found == [], text_of(description)
    steps = {f"d{name}": (graph.leaves.values[name] - x) / ETA for name, x in model.params.items()}
    return difference({"loss": np.asarray(run.history["loss"][0])} | steps, wanted, 1e-9)


@pytest.mark.parametrize("part", range(PARTS))
def test_cuda_programs_of_covering_graphs_compute_what_jax_does_without_races(part: int):
    found = [(number, d) for number, d in enumerate(some()) if number % PARTS == part]
    wrong = [(trained(d, TIERS[number % 3]), text_of(d)) for number, d in found]
    assert [f"{what}\n{text}" for what, text in wrong if what] == []


@pytest.mark.parametrize("tier", TIERS)
def test_the_index_of_a_sum_is_none_of_those_around_it(tier: Tier):
    """X @ W with a first axis of extent 1 has the axes j and k: the sum over k wrote to column 1 alone."""
    steps = [["leaf", [], {"kind": "param", "shape": [1, 2, 2], "key": 1}],
             ["leaf", [], {"kind": "input", "shape": ["n", 2], "key": 2}], ["matmul", [1, 0], {}]]  # fmt: skip
    whole = {"mode": "training", "order": "first", "dtype": "float64", "limits": "usual", "threads": 1, "seed": 0}
    assert trained({"steps": steps, "terms": [[2, "squares"]], "rows": 3, **whole}, tier) is None


FAULTS = {"a stride": (r"\*U\((\d+)\)", lambda m: f"*U({int(m[1]) + 1})"), "a sign": (r" \+ ", lambda _: " - ")}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_planted_in_kernels_is_found(fault: str):
    """Every occurrence but those of whole-number bookkeeping: in lines that store a number."""
    pattern, after = FAULTS[fault]
    line = re.compile(r"(?m)^( +\w*\[[^=\n]*\] = )(.*)$")
    change = lambda text: line.sub(lambda m: m[1] + re.sub(pattern, after, m[2]), text)
    assert any(found(d, Changed(change)) and trained(d, "A") is None for d in some(8))


def found(description: Description, machine: Watched) -> bool:
    try:
        return trained(description, "A", machine) is not None
    except (DivergenceError, IndexError, ZeroDivisionError, AssertionError):
        return True
