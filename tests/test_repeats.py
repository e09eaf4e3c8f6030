"""Statements that repeat at other places are compiled once, as a loop over these places, with the same bits."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest

import graphc as gc
from graphc.emit import parts
from graphc.native import build, repeats, target
from graphc.native.trees import Listed

ENTRIES = {"step": ("float64*", "int64*", "int64", "int64")}
PLACES = {"A": [0, 8, 3, 17, 40, 11], "B": [50, 42, 61, 20, 33, 5], "D": [7, 1, 70, 70, 9, 64]}
TURN = """
        nest(X, A{t}, B{t}, n)
        lo = 2*me//2
        hi = lo + 2
        for i in range(lo, hi):
            copy(X, D{t} + 2*i, X, A{t} + i, 2)
        if me == {t} % n:
            X[B{t} + 3] = 0.5
            for i in range(2):
                X[A{t} + i*2] = 0.0
"""
HEAD = """
def nest(x, a, b, n):
    for i in range(n):
        x[a + i] = 0.5*x[a + i] + x[b + i]*x[b + i]
    return 0
def step(X, C, n, me):
    noalias()
    done = 0
    while done < n:
        copy(X, 80, X, A0, 1)"""
TAIL = """
        for i in range(n):
            X[i] = X[i] + 0.25*X[i + A2]
        done = done + 1
    return done
"""


def text(numbers: list[int]) -> str:
    """A program in two parts, whose turns are those of ``numbers``."""
    places = "".join(f"{name}{t} = {x}\n" for name, xs in PLACES.items() for t, x in enumerate(xs))
    return f"{places}{parts.PARTS} = 2\n{HEAD}{''.join(TURN.format(t=t) for t in numbers)}{TAIL}"


MORE = """
        nest(X, D{t}, A{t}, n)
        X[D{t} + 1] = 1.5
        nest(X, B{t}, D{t}, n)
        X[D{t} + 2] = 2.5
        copy(X, B{t}, X, D{t}, 1)
        hi = hi + 1
"""


def of_long_turns(last: int) -> str:
    """Two turns of eleven statements, and so many lines of those of a third."""
    lines = [(TURN + MORE).format(t=t).strip("\n").split("\n") for t in (4, 1, 2)]
    lines[2] = lines[2][:last]
    return text([]).replace(TAIL, "\n" + "\n".join(line for turn in lines for line in turn) + TAIL)


IMPORTS = "from graphc.primitives.names import copy, noalias\n"


def entry(source: str) -> tuple[ast.FunctionDef, dict]:
    tree = ast.parse(source)
    names = {s.targets[0].id: s.value.value for s in tree.body
             if isinstance(s, ast.Assign) and isinstance(s.targets[0], ast.Name) and isinstance(s.value, ast.Constant)}
    return build.functions_of(tree)[[*build.functions_of(tree)][-1]], names


def loops(tree: ast.AST) -> list[tuple[int, int]]:
    """How often the loops that stand for repeats turn, and how many statements a turn has."""
    found = [s for s in ast.walk(tree) if isinstance(s, ast.For) and " " in getattr(s.target, "id", "")]
    return [(ast.literal_eval(s.iter.args[0]), len(s.body)) for s in found if isinstance(s.iter, ast.Call)]


def test_what_repeats_is_a_loop_over_the_places_in_their_order():
    tree, names = entry(text([0, 1, 2, 3, 4, 5]))
    found = repeats.rolled(tree, names)
    assert loops(found) == [(6, 5)]
    lists = [node.numbers for node in ast.walk(found) if isinstance(node, Listed)]
    assert lists.count(tuple(PLACES["A"])) == 3 and (0, 1, 2, 3, 4, 5) in lists
    assert loops(tree) == []


@pytest.mark.parametrize(("last", "found"), [(12, (2, 11)), (13, (3, 9)), (15, (3, 11)), (16, (3, 11))])
def test_the_last_turn_may_end_early_where_it_saves_something(last: int, found: tuple[int, int]):
    """Seven, eight, ten and eleven statements of it; what an early end leaves out is one statement, a choice."""
    tree, names = entry(of_long_turns(last))
    rolled = repeats.rolled(tree, names)
    assert loops(rolled) == [found]
    early = [s for s in ast.walk(rolled) if isinstance(s, ast.If) and isinstance(s.test, ast.Compare)
             and isinstance(s.test.left, ast.Name) and s.test.left.id == "turn 0"]  # fmt: skip
    assert [len(s.body) for s in early] == {13: [3], 15: [1]}.get(last, [])


def test_little_that_repeats_stays_as_it_is():
    tree, names = entry(text([0, 1]))
    assert repeats.LEAST > 5 and repeats.rolled(tree, names) is tree


@pytest.mark.parametrize(
    "line", ["X[A{t}] = 0.5*X[B{t}]", "nest(X, A{t}, B{t}, {t} + 3)", "x = 0.5", "if n > {t}:\n            break"]
)
def test_what_reads_elements_differs_in_other_numbers_or_leaves_the_loop_does_not_repeat(line: str):
    lines = "".join(f"\n        {line.format(t=t)}" for t in range(12))
    tree, names = entry(text([]).replace(TAIL, lines + TAIL))
    assert repeats.rolled(tree, names) is tree


@pytest.mark.parametrize("me", [0, 1])
@pytest.mark.parametrize("source", [text([3, 0, 1, 4, 2, 5]), of_long_turns(13), of_long_turns(15)], ids=[*"abc"])
def test_a_program_with_repeats_computes_what_its_text_says(
    me: int, source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Beside Python, which runs the same text, and bit by bit beside the same program without loops. Planted faults,
    seen to fail: places in the order of names; the places of the second turn for those of the first; a last turn that
    is whole."""
    monkeypatch.setattr(target, "_of_byte_code", None)
    results = []
    for least in (repeats.LEAST, 10**6):
        monkeypatch.setattr(repeats, "LEAST", least)
        x = np.random.default_rng(0).normal(size=96)
        program = build.build(IMPORTS + source, ENTRIES, name="repeats", folder=tmp_path / str(least))
        assert program.call("step", x.ctypes.data, 0, 3, me) == 3
        results.append(x)
    python = np.random.default_rng(0).normal(size=96)

    def copy(target: np.ndarray, at: int, given: np.ndarray, begin: int, count: int) -> None:
        target[at : at + count] = given[begin : begin + count].copy()

    names: dict = {"copy": copy, "noalias": lambda: None}
    exec(source, names)  # noqa: S102  the text of this file
    names["step"](python, None, 3, me)
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_allclose(results[0], python, rtol=1e-12)


def network(depth: int) -> gc.Model:
    """A dense network of equal layers, whose step is worth parts."""
    X, T = gc.input("X", ("n", 32)), gc.input("T", ("n", 32))
    H = X
    for t in range(depth):
        H = gc.tanh(H @ gc.param(f"W{t}", (32, 32)) + gc.param(f"B{t}", (32,), 0.0))
    return gc.Model(output=H, loss=gc.losses.mse(H, T))


def test_the_entry_of_equal_layers_does_not_grow_with_their_number():
    """In the tree that is lowered; seen to fail without the loops, 1.7 times as many nodes."""
    sizes = []
    for depth in (12, 24):
        model = network(depth)
        tree, names = entry(str(model.source(optimizer="adam", batch_size=32)))
        assert names[parts.PARTS] > 1
        sizes.append(len([*ast.walk(repeats.rolled(tree, names))]))
    assert sizes[0] == sizes[1]


def test_equal_layers_train_with_the_bits_of_a_program_without_loops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """By two threads, in batches of which the last is smaller."""
    monkeypatch.setattr(target, "_of_byte_code", None)
    rng, found = np.random.default_rng(0), []
    x, t = rng.normal(size=(80, 32)), rng.normal(size=(80, 32))
    for least in (repeats.LEAST, 10**6):
        monkeypatch.setattr(repeats, "LEAST", least)
        monkeypatch.setenv("GRAPHC_CACHE", str(tmp_path / str(least)))
        model = network(6)
        run = model.fit(x, t, optimizer="adam", steps=6, batch_size=32, threads=2, seed=1)
        found.append([*run.history["loss"], *(model.params[n].tobytes() for n in model.params)])
    assert found[0] == found[1]
