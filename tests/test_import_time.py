"""Importing graphc is cheap, and a cached program needs no compiler."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import graphc
from graphc.facade import averaging, functions, preparing, programs
from graphc.late import late
from graphc.native.gc_pause import AT_ONCE, at_rest, importing

ROOT = Path(__file__).parents[1]

IMPORT = """
import json, sys, time
import numpy
begin = time.perf_counter()
import graphc
seconds = time.perf_counter() - begin
print(json.dumps([seconds, sorted({name.partition(".")[0] for name in sys.modules})]))
"""

YOUNG = """
import gc, json
import graphc
graphc.tanh, graphc.Model
young = [len(gc.get_objects(n)) for n in (0, 1, 2)]
gc.freeze()
frozen = gc.get_freeze_count()
graphc.nn, graphc.callbacks, graphc.compare
print(json.dumps([young, frozen, gc.get_freeze_count()]))
"""

COLLECTED = """
import gc, json
seen = []
gc.callbacks.append(lambda phase, about: seen.append(phase))
import graphc.sklearn
print(json.dumps(seen))
"""

FIT = """
import json, sys
from tests import nets
from graphc.native.build import statistics
X, T = nets.data(101)
model = nets.network("float32")
run = model.fit(X, T, optimizer="adam", batch_size=8, epochs=2)
model.predict(X), model.evaluate(X, T)
print(json.dumps([run.compile_seconds, statistics, sorted(sys.modules)]))
"""


class Told(Exception):
    """Far enough."""


def refuse(*_: object) -> None:
    raise Told


def output_of(script: str) -> list:
    result = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    return json.loads(result.stdout)


def test_importing_graphc_loads_neither_sympy_nor_numba():
    seconds, packages = output_of(IMPORT)
    print(f"import graphc: {1e3 * seconds:.1f} ms beyond NumPy")
    assert "graphc" in packages
    assert not {"sympy", "numba", "llvmlite", "scipy", "safetensors", "rich"} & set(packages)


def test_no_collection_of_young_objects_walks_through_what_was_imported():
    """What a user froze stays frozen. Mutation-checked: with at_rest alone there are 80,000 young ones."""
    (first, second, old), frozen, still = output_of(YOUNG)
    assert first + second < 5_000 < old
    assert frozen > 50_000 and abs(still - frozen) < 1_000


def test_collections_that_rest_are_made_up_for(monkeypatch: pytest.MonkeyPatch):
    """Those of old objects are due after some programs, whatever one of them makes. Planted faults, seen to fail: to
    freeze where nothing is imported, which counts from 0 again; a rest that counts for nothing."""
    seen: list[int] = []
    note = lambda phase, about: seen.append(about["generation"]) if phase == "start" else None
    gc.callbacks.append(note)
    try:
        gc.collect()
        frozen = []
        monkeypatch.setattr(gc, "freeze", lambda: frozen.append(True))
        with importing():
            pass
        assert not frozen
        seen.clear()
        with at_rest():
            kept = [[] for _ in range(200_000)]
            assert not seen
        assert seen == [1] * AT_ONCE
        with at_rest():
            kept = kept[:10]
        assert seen.count(1) == AT_ONCE
    finally:
        gc.callbacks.remove(note)


def test_no_collection_comes_while_a_program_is_derived_planned_and_printed(monkeypatch: pytest.MonkeyPatch):
    """One of all objects took 0.2 s of the first step of four transformer blocks. Planted fault, seen to fail: a rest
    that begins with the text."""
    seen: list[bool] = []
    text_of, function_text = preparing.training_text, functions.function_text
    monkeypatch.setattr(preparing, "training_text", lambda *args: seen.append(gc.isenabled()) or text_of(*args))
    monkeypatch.setattr(functions, "function_text", lambda *args: seen.append(gc.isenabled()) or function_text(*args))
    monkeypatch.setattr(programs, "build_text", refuse)
    monkeypatch.setattr(functions, "build_text", refuse)
    X = graphc.input("X", ("n", 3))
    Y = graphc.tanh(X @ graphc.param("W", (3, 2), init=0.5)) + 0.3717
    for work in (lambda: graphc.Model(Y, graphc.sum(Y**2)).fit(np.ones((4, 3)), steps=1), lambda: graphc.compile(Y)):
        with pytest.raises(Told):
            work()
    assert seen == [False, False] and gc.isenabled()


def test_importing_the_estimators_runs_no_collections():
    """Mutation-checked: without ``importing`` there are 519, each called at its start and its end."""
    assert len(output_of(COLLECTED)) < 20


SELDOM = (
    "numba", "rich", "scipy", "statistics", "concurrent.futures", "graphc.facade.landscape",
    "graphc.facade.reporting", "graphc.facade.comparing", "graphc.show.plots", "graphc.primitives.matmul.packed_gemm",
)  # fmt: skip


def seldom_needed(modules: list[str]) -> list[str]:
    return [name for name in SELDOM if name in modules]


def test_the_first_fit_of_all_loads_neither_numba_nor_what_it_does_not_show(tmp_path: Path, monkeypatch):
    """Numba takes 0.11 s. Planted fault, seen to fail: a plain import of concurrent.futures."""
    monkeypatch.setenv("GRAPHC_CACHE", str(tmp_path))
    _, statistics, modules = output_of(FIT)
    assert statistics["compiled"] == 3
    assert not seldom_needed(modules)


def test_a_second_process_fits_predicts_and_evaluates_without_numba():
    """Mutation-checked: an import of numba in graphc.native.loader is caught, and one of SciPy in run.descent."""
    output_of(FIT)
    seconds, statistics, modules = output_of(FIT)
    print(f"a cached program was ready after {1e3 * seconds:.1f} ms")
    assert statistics == {"compiled": 0, "loaded_from_cache": 3, "native_calls": 3}
    assert not seldom_needed(modules)


def test_what_stands_for_a_module_keeps_nothing_of_it(monkeypatch: pytest.MonkeyPatch):
    """Whoever replaces a function for a while gets it, and the old one afterwards. Seen to fail where it was kept."""
    stands = late("graphc.facade.averaging")
    with monkeypatch.context() as replaced:
        replaced.setattr(averaging, "averaged", len)
        assert stands.averaged is len
    assert stands.averaged is averaging.averaged
