"""Loop nests that differ in their buffers alone are one function of the program."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import graphc as gc
from graphc.emit import cpu, training
from graphc.emit.definite_assignment import unassigned
from graphc.emit.shared import expanded
from graphc.facade.programs import TrainingGraph, function_text, training_text
from graphc.lower.plan import PlanOptions
from graphc.native import target
from graphc.optim.known import Adam
from tests.text_check import findings_of, recording

DEFINITION = re.compile(r"^def (\w+)\(", re.MULTILINE)
CALL = re.compile(r"^ +(nest_\d+)\(.*\)$", re.MULTILINE)


def network(depth: int, width: int = 64, wider: int = 0) -> gc.Model:
    """Layers of tanh, equal or each wider than the one before."""
    X, T = gc.input("X", ("n", width)), gc.input("T", ("n",), dtype="int64")
    layers = [gc.nn.Dense(width + wider * t, "tanh") for t in range(depth)]
    Z = gc.nn.sequential(width, *layers, gc.nn.Dense(10))(X)
    return gc.Model(output=Z, loss=gc.losses.cross_entropy(Z, T))


def source(depth: int, width: int = 64, rows: int = 64, wider: int = 0) -> str:
    return written(network(depth, width, wider), rows)


def written(model: gc.Model, rows: int = 64) -> str:
    """The text of a training program, which is not compiled."""
    graph = TrainingGraph(model._core.differentiated(), model._core.param_leaves)
    return training_text("m", graph, Adam(1e-3), rows, PlanOptions()).text.text


def without_comments(text: str) -> list[str]:
    return [line for line in text.splitlines() if not line.lstrip().startswith("#")]


def test_ten_equal_layers_have_the_loops_of_three():
    three, ten = source(3), source(10)
    assert DEFINITION.findall(three) == DEFINITION.findall(ten) == ["nest_1", "nest_2", "nest_3", "train"]
    assert three.partition("def train")[0].count("for ") == ten.partition("def train")[0].count("for ")
    assert [CALL.findall(text).count("nest_1") for text in (three, ten)] == [3, 10]


def test_the_residual_of_the_first_layer_is_the_nest_of_the_others():
    """It overwrites what was computed, the others their input. Seen to fail with the order of the formula."""
    X, T = gc.input("X", ("n", 64)), gc.input("T", ("n", 64))
    H = X
    for t in range(4):
        U = H - gc.mean(H, axis=1, keepdims=True)
        H = H + gc.tanh(U @ gc.param(f"W{t}", (64, 64))) @ gc.param(f"V{t}", (64, 64))
    text = written(gc.Model(output=H, loss=gc.mean((H - T) ** 2)))
    element = r"[xA]\d?\[[^\]]*\]"
    assert len(re.findall(rf"^ +{element} = {element} \+ {element}$", text, re.MULTILINE)) == 1
    [nest] = re.findall(rf"^def (nest_\d+)(?:.*\n){{4}} +{element} = {element} \+ {element}$", text, re.MULTILINE)
    assert CALL.findall(text).count(nest) == 4


def test_layers_of_different_widths_share_their_loops_when_they_are_many():
    assert DEFINITION.findall(source(4, wider=16)) == ["train"]
    five, ten = source(5, wider=16), source(10, wider=3)
    assert DEFINITION.findall(five) == DEFINITION.findall(ten) == ["nest_1", "nest_2", "nest_3", "train"]
    assert "range(lo*e0, hi*e0)" in ten and re.search(r"nest_1\(A, \w+, \w+, lo, hi, 91\)", ten)


def test_sums_whose_order_is_the_compilers_keep_their_length():
    """What is added in vector lanes may depend on how many terms a literal promises."""
    x = [gc.input(f"x{t}_", ("n", 64 + t)) for t in range(6)]
    inputs = [one.equation for one in x]
    with recording() as cases:
        function_text("f", [gc.sum(one**2, axis=1).equation for one in x], inputs, PlanOptions())
    assert DEFINITION.findall(cases[0].program.text) == ["call"]


@pytest.mark.parametrize(("width", "wider"), [(8, 0), (64, 0), (64, 3)])
def test_the_program_is_the_one_without_functions(width: int, wider: int, monkeypatch: pytest.MonkeyPatch):
    model = network(10, width, wider)
    monkeypatch.setattr(training, "parts_of", lambda *_: [])  # there are as many as the lines make
    found = written(model)
    monkeypatch.setattr(cpu, "share", lambda text, sizes: [])
    whole = written(model)
    assert "def nest_1(" in found and "nest_1" not in whole
    assert without_comments(expanded(found)) == without_comments(whole)


def test_small_nests_of_few_layers_and_nests_that_occur_once_stand_where_they_are_used():
    assert DEFINITION.findall(source(4, width=4, rows=4)) == DEFINITION.findall(source(1)) == ["train"]


def test_what_is_shared_has_the_findings_of_what_is_written_out():
    x, w = gc.input("x", ("n", 64)), gc.param("w", (64, 64))
    with recording() as cases:
        source(3)
        source(6, wider=3)
        function_text("f", [gc.tanh(gc.tanh(gc.tanh(x @ w) @ w) @ w).equation], [x.equation, w.equation], PlanOptions())
    assert ["def nest_1(" in case.program.text for case in cases] == [True] * 3
    for case in cases:
        assert findings_of(case) == []


def test_a_function_that_reads_what_only_its_neighbours_know_is_found():
    text = source(3)
    assert unassigned(text) == []
    first, second = (text[m.start() : text.index("return 0", m.start())] for m in list(DEFINITION.finditer(text))[:2])
    assert "at2" in second and "at2" not in first
    line = text[: text.index(first)].count("\n") + first[: first.index("x0[at0 + t]")].count("\n") + 1
    found = unassigned(text.replace(first, first.replace("x0[at0 + t]", "x0[at2 + t]", 1)))
    assert len(found) == 1 and found[0].startswith(f"line {line}, x0[at2 + t] = ") and ": at2 is read" in found[0]
    undefined = unassigned(text.replace("def nest_2(", "def other("))
    assert undefined and all("nest_2 is read" in finding for finding in undefined)


def test_a_users_names_are_no_functions_of_the_program():
    x = gc.input("x", ("n", 64))
    w = [gc.param(name, (64, 64)) for name in ("nest_1", "x0", "at0")]
    y = x
    for one in w:
        y = gc.tanh(y @ one)
    text = written(gc.Model(output=y, loss=gc.mean(y)))
    assert DEFINITION.findall(text)[0] == "nest_1_" and expanded(text).count("def ") == 1


def test_every_function_is_compiled_once_and_overwrites_what_it_reads_where_that_is_planned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """One program; its steps are those of the interpreter (verify)."""
    monkeypatch.setenv("GRAPHC_CACHE", str(tmp_path))
    lowered: list[str] = []
    kept = target._to_ir
    noted = lambda function, *rest: lowered.append(function.__name__) or kept(function, *rest)
    monkeypatch.setattr(target, "_to_ir", noted)
    model, rng = network(4), np.random.default_rng(0)
    model.fit(rng.normal(size=(64, 64)), rng.integers(0, 10, 64), optimizer="adam", batch_size=64, steps=3, verify=True)
    text = model.source()
    assert sorted(set(CALL.findall(text))) == ["nest_1", "nest_2", "nest_3"] and sorted(lowered) == [
        "nest_1", "nest_2", "nest_3", "train"
    ]  # fmt: skip
    assert "at1 = at0" in text
