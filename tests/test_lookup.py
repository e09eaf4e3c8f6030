"""Programs found by what was declared: which declarations share one, and that nothing is derived to find it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import sympy

import graphc as gc
from graphc.emit.expressions import Printer
from graphc.facade import lookup, preparing, programs
from graphc.lower.plan import PlanOptions
from graphc.native import cache
from graphc.native.build import statistics
from tests import nets

ROOT = Path(__file__).parents[1]


def key(scale: float | Fraction = 0.5, name: str = "W", power: int = 2, constant: float = 2.0, extent: int = 3) -> str:
    X, W = gc.input("X", ("n", extent)), gc.param(name, (extent, 1), 0.0)
    J = gc.mean((scale * (X + np.array([constant, 1.0, 1.0])[:extent]) @ W) ** power)
    model = gc.Model(loss=J)
    return lookup.declared(model._core.raw_roots, model._core.param_leaves, "f").key


OTHERS = {
    "a number in its last digit": {"scale": float(np.nextafter(0.5, 1))},
    "a number by less than a double shows": {"scale": Fraction(1, 2) + Fraction(1, 10**30)},
    "a name": {"name": "V"},
    "a body": {"power": 3},
    "a constant array": {"constant": float(np.nextafter(2.0, 3))},
    "an extent": {"extent": 2},
}


@pytest.mark.parametrize("change", OTHERS.values(), ids=OTHERS)
def test_declarations_that_differ_have_keys_of_their_own(change):
    """Mutation-checked: bodies whose numbers are rounded to 15 digits, or to a double, share a key."""
    assert key() == key() != key(**change)


def code(source: str) -> list[str]:
    """A program without its comments, in which derived equations have numbers of the process."""
    return [line for line in source.splitlines() if not line.lstrip().startswith("#")]


def test_other_constants_of_the_same_shapes_take_the_same_program():
    """Mutation-checked: constants that keep the numbers of the process make each declaration compile anew."""
    theta = gc.param("theta", (3,), 1.0)
    found = []
    for first, second in (([1.0, 2.0, 3.0], [0.5, 1.5, 2.5]), ([7.0, 8.0, 9.0], [4.0, 5.0, 6.0])):
        model = gc.Model(loss=gc.sum(theta**2 * np.array(first)) + gc.sum(theta * np.array(second)))
        graph = programs.TrainingGraph(model._core.differentiated(), model._core.param_leaves)
        lowered = programs.training_text("m", graph, gc.SGD(0.1), 8, PlanOptions())
        found.append(code(lowered.text.text))
    assert found[0] == found[1] and "K_1" in "".join(found[0])


def test_rules_that_print_other_programs_have_keys_of_their_own():
    rules = [gc.SGD(0.1), gc.SGD(0.1, clip_norm=1.0), gc.Momentum(0.1), gc.SGD(gc.schedules.cosine(0.1, 5))]
    keys = {preparing.rule_key(rule) for rule in rules}
    assert len(keys) == len(rules) and preparing.rule_key(gc.SGD(0.3)) in keys


def test_a_key_changes_with_the_sources_and_with_what_machine_code_depends_on(monkeypatch):
    before = key()
    monkeypatch.setattr(lookup, "_surroundings", lambda: ["other sources"])
    assert key() != before


SECOND = """
import json
import numpy as np
import graphc as gc
from graphc.lower.plan import PlanOptions
from graphc.facade import functions, programs
import graphc.model as module
from tests import nets

def refuse(*args, **options):
    raise AssertionError("derived again")

module.read_graph = module.differentiate = programs.plan_step = functions.read_graph = functions.function_text = refuse
X, T = nets.data(101)
model = nets.network("float32")
run = model.fit(X, T, optimizer="adam", batch_size=8, epochs=2)
x, w, v = gc.input("x", ("n", 3)), gc.param("w", (3,), 0.0), gc.input("v", ("m",))
f = gc.compile([gc.tanh(x*np.array([1.0, 2.0, 3.0]) @ w), x[:, None]*v[None, :, None]], [w, x], "float32")
made = [y.tolist() for y in f([0.1, 0.2, 0.3], X[:2], v=[1.0, 2.0, 4.0, 8.0])]
print(json.dumps([run.history["loss"], model.predict(X).tolist(), model.evaluate(X, T), run.threads, made]))
"""
FIRST = "\n".join(line for line in SECOND.splitlines() if not line.endswith("= refuse"))


def answer(script: str, folder: Path) -> list:
    environment = os.environ | {"GRAPHC_CACHE": str(folder), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list]:
    """A cache after another process trained, predicted and evaluated, and what that process answered."""
    folder = tmp_path_factory.mktemp("cache")
    return folder, answer(FIRST, folder)


def test_a_function_found_by_its_declaration_still_shows_its_text(tmp_path, monkeypatch):
    monkeypatch.setenv("GRAPHC_CACHE", str(tmp_path))
    x, w = gc.input("x", ("n", 3)), gc.param("w", (3,), 0.0)
    first, second = (gc.compile(gc.tanh(x @ w), [x]) for _ in range(2))
    assert len([*tmp_path.glob("*" + cache.FACTS)]) == 1 and "tanh" in first.source == second.source


def test_functions_with_other_arguments_outputs_or_precision_have_programs_of_their_own(tmp_path, monkeypatch):
    """Mutation-checked: without the order of the arguments in the declaration the second function takes w for x."""
    monkeypatch.setenv("GRAPHC_CACHE", str(tmp_path))
    x, w = gc.input("x", ("n", 3)), gc.param("w", (3,), 0.0)
    rows, y = np.eye(3)[:2], x @ w
    for found in (gc.compile(y, [x, w])(rows, [1, 2, 3]), gc.compile(y, [w, x])([1, 2, 3], rows),
                  gc.compile(y, x)(rows, w=[1, 2, 3]), *gc.compile([y, x], [x, w])(rows, [1, 2, 3])[:1],
                  gc.compile(y, [x, w], "float32")(rows, [1, 2, 3])):  # fmt: skip
        np.testing.assert_array_equal(found, [1, 2])
    assert len([*tmp_path.glob("*" + cache.FACTS)]) == 5


def trained() -> gc.Model:
    model = nets.network("float32")
    model.fit(*nets.data(101), optimizer="adam", batch_size=8, epochs=2)
    return model


def test_a_second_process_gets_the_same_bits_and_derives_nothing(filled):
    """Mutation-checked: with the order of two inputs exchanged in the facts, the numbers differ."""
    folder, first = filled
    assert answer(SECOND, folder) == first


def test_a_program_found_by_its_declaration_still_shows_its_text(filled, tmp_path, monkeypatch):
    for file in filled[0].glob("*" + cache.CODE):
        shutil.copy2(file, tmp_path)
    monkeypatch.setenv("GRAPHC_CACHE", str(tmp_path))
    before = statistics["compiled"]
    first, second = trained(), trained()
    assert "lowered" in vars(first._core.last_compiled) and "lowered" not in vars(second._core.last_compiled)
    assert statistics["compiled"] == before, "the first one's text is what the other process compiled"
    assert code(first.source()) == code(second.source()) and second.source() == str(second.explain("source"))


def test_facts_whose_machine_code_is_gone_or_that_are_damaged_are_made_anew(filled, tmp_path, monkeypatch):
    for file in filled[0].glob("*" + cache.FACTS):
        shutil.copy2(file, tmp_path)
    monkeypatch.setenv("GRAPHC_CACHE", str(tmp_path))
    wanted = filled[1][0]
    assert trained().last_run.history["loss"] == wanted
    [code] = tmp_path.glob("*" + cache.CODE)
    assert code.name in [file.name for file in filled[0].iterdir()]
    facts = {file: file.read_bytes() for file in tmp_path.glob("*" + cache.FACTS)}
    for file, content in facts.items():
        file.write_bytes(content[:-1] + b"?")
    with pytest.warns(cache.CacheWarning, match="damaged"):
        assert trained().last_run.history["loss"] == wanted
    assert [file.read_bytes() == content for file, content in facts.items()].count(True) == 1


# ---------------------------------------------------------------- numbers of formulas


def penalised(weight: float, slope: float, bound: float) -> gc.Model:
    x, t = gc.input("x", ("n", 4)), gc.input("t", ("n", 3))
    w = gc.param("w", (4, 3), np.linspace(-1, 1, 12).reshape(4, 3))
    y = gc.clip(gc.leaky_relu(x @ w, slope), -bound, bound)
    penalty = weight * gc.sum(abs(w)) + 0.07 * gc.sum(w**2)
    return gc.Model(output=y, loss=gc.mean((y - t) ** 2) + penalty, dtype="float64")


def expected(weight: float, slope: float, bound: float, x: np.ndarray, t: np.ndarray) -> tuple[float, np.ndarray]:
    """Loss and output, by NumPy."""
    w = np.linspace(-1, 1, 12).reshape(4, 3)
    z = x @ w
    y = np.clip(np.where(z > 0, z, slope * z), -bound, bound)
    return float(np.mean((y - t) ** 2) + weight * np.abs(w).sum() + 0.07 * (w**2).sum()), y


def test_models_that_differ_in_numbers_of_their_formulas_share_their_programs(tmp_path, monkeypatch):
    """A grid over a penalty compiles once; every copy reads numbers of its own, the last those that the cache has."""
    monkeypatch.setenv("GRAPHC_CACHE", str(tmp_path))
    rng = np.random.default_rng(3)
    x, t = rng.normal(size=(20, 4)), rng.normal(size=(20, 3))
    grid = [(0.013, 0.17, 0.31), (0.29, 0.011, 1.7), (0.0021, 0.33, 0.87)]
    compiled = []
    for numbers in [*grid, grid[0]]:
        before, model = statistics["compiled"], penalised(*numbers)
        loss, output = expected(*numbers, x, t)
        np.testing.assert_allclose(model.predict(x), output, rtol=1e-13)
        run = model.fit(x, t, optimizer=gc.SGD(0.0), steps=1)
        np.testing.assert_allclose(run.history["loss"], [loss], rtol=1e-13)
        compiled.append(statistics["compiled"] - before)
    assert compiled == [2, 0, 0, 0]


def test_constants_are_kept_with_their_numbers():
    leaves = [gc.input("x", (3,)).node, gc.param("K", (2,)).node]
    constants = lookup.Constants(((leaves[1], 16),), 32, (0.1, 1 / 3, float("inf")))
    told = json.loads(json.dumps(constants.as_json({leaf: t for t, leaf in enumerate(leaves)})))
    assert lookup.Constants.from_json(told, leaves) == constants
    packed = lookup.Constants((), 16, (0.1, 1e300)).packed("float32")
    assert packed[16:].tolist() == [np.float32(0.1), np.inf]


def test_the_order_of_a_sum_does_not_depend_on_its_numbers():
    a, b = sympy.symbols("a b", real=True)

    def text(p: int, q: int) -> str:
        body = sympy.Rational(p, 100) * a + sympy.Rational(q, 100) * b**2
        return Printer({a: "a", b: "b"}, given=lambda value: "k").print(body)

    assert text(7, 9) == text(9, 7) == text(9, 107)
    terms = lambda p, q: (sympy.Rational(p, 100) * a + sympy.Rational(q, 100) * b**2).args
    assert [t.has(b) for t in terms(7, 9)] != [t.has(b) for t in terms(9, 7)], "SymPy's order depends on them"


def test_small_numbers_and_exponents_stand_in_the_text():
    a = sympy.Symbol("a", real=True)
    body = 2 * a**2 + a ** sympy.Rational(7, 5) / 3 + sympy.Rational(11, 10)
    text = Printer({a: "a"}, given=lambda value: f"<{float(value)}>").print(body)
    assert all(part in text for part in ("<1.1>", "power(a, f(1.4))", "f(2.0)*a*a", "f(0.3333333333333333)"))
    assert text.count("<") == 1
