"""Programs are checked before they are trusted: what the check finds, what it says, what it costs, when it is left out.

The faults of this file are planted in the generators or in their text, and the text then runs in Python, where reading
outside of an array gives some other element, as machine code would give.
"""

from __future__ import annotations

import dataclasses
import importlib
import re
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sympy

import graphc as gc
from graphc.cuda import selection
from graphc.emit import nests
from graphc.emit.expressions import Printer
from graphc.emit.reference import evaluate
from graphc.errors import CompilerError
from graphc.facade import checking, trials
from graphc.facade.agreement import PRECISIONS, judge
from graphc.facade.pipeline import read_graph
from graphc.facade.verifying import verify_program
from graphc.ir.node import Read
from graphc.ir.scalar import equal
from graphc.lower import plan
from graphc.lower.device import Device
from graphc.lower.logsumexp_parts import of_parts
from graphc.lower.tiers import Tier
from tests.covering.plain import Plain, in_python
from tests.cpu_races import Machine, Watched, watching
from tests.cuda_races import Watched as CudaWatched
from tests.test_cuda_laws import Careless as WithoutBarrier
from tests.test_silent_values import built, model_of

pullback = importlib.import_module("graphc.derive.pullback")  # the package gives its function that name
RNG = np.random.default_rng(5)
ROWS = 9


@pytest.fixture(autouse=True)
def _scripts_in_a_folder_of_the_test(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


class Lenient(Watched):
    """An array that gives some element for every place, and forgets the places."""

    def __getitem__(self, at: int) -> Any:
        return self.values[at % self.values.size]

    def __setitem__(self, at: int, value: Any) -> None:
        self.values[at % self.values.size] = value

    def take(self, at: Any) -> Any:
        return self.values[at % self.values.size]

    def put(self, at: Any, values: Any) -> None:
        self.values[at % self.values.size] = values

    def meet(self) -> Any:
        self.log.clear()
        return iter(())


class Careless(Machine):
    """Runs programs as machine code would: nothing stops an index that runs away."""

    kind = Lenient


# ---------------------------------------------------------------- three networks that use most of what is generated


def classifier() -> tuple[gc.Model, dict[str, Any]]:
    X, T = gc.input("X", ("n", 3)), gc.input("T", ("n",), dtype="int64")
    W0, b0 = gc.param("W0", (3, 5), gc.normal(1.0)), gc.param("b0", (5,), gc.normal(1.0))
    W1 = gc.param("W1", (5, 3), gc.normal(1.0))
    Z = gc.tanh(X @ W0 + b0) @ W1
    model = gc.Model(Z, gc.losses.cross_entropy(Z, T), {"accuracy": gc.metrics.accuracy(Z, T)}, dtype="float64")
    return model, {"X": RNG.normal(size=(ROWS, 3)), "T": RNG.integers(0, 3, ROWS)}


def windows() -> tuple[gc.Model, dict[str, Any]]:
    X, K, S = gc.input("X", ("n", 7)), gc.param("K", (3,), gc.normal(1.0)), gc.param("S", (2, 5), gc.normal(1.0))
    n, i, k = gc.indices("n i k")
    C = gc.define("C", [n, i], gc.sum(X[n, i + k] * K[k], over=k))
    P = gc.max(gc.reshape(gc.concatenate([C, C[:, 4:]], axis=1), ("n", 3, 2)), axis=2)
    loss = gc.mean((P @ gc.concatenate([S, S[:1]], axis=0)) ** 2) + gc.sum(gc.logsumexp(C, axis=0) * S[1])
    return gc.Model(P, loss, dtype="float64"), {"X": RNG.normal(size=(ROWS, 7))}


def embedding() -> tuple[gc.Model, dict[str, Any]]:
    I = gc.input("I", ("n", 2), dtype="int64")
    E, v = gc.param("E", (6, 3), gc.normal(1.0)), gc.param("v", (3,), gc.normal(1.0))
    c = E[I] - gc.mean(E[I], axis=0)
    loss = gc.mean(gc.prod(1 + c * v, axis=2) ** 2) + gc.sum(gc.sqrt(gc.mean(c**2, axis=0) + 1))
    return gc.Model(c, loss, dtype="float64"), {"I": RNG.integers(0, 6, (ROWS, 2))}


NETS = {f.__name__: f for f in (classifier, windows, embedding)}


def fit(make: Callable[[], tuple[gc.Model, dict[str, Any]]], machine: Machine, **options: Any) -> Any:
    model, data = make()
    model.initialize(1)
    with watching(machine):
        return model.fit(data, optimizer=gc.Adam(0.01), steps=1, threads=1, **options)


@pytest.mark.parametrize("name", NETS)
def test_programs_without_a_fault_pass(name: str):
    machine = Careless(verify=True)
    assert fit(NETS[name], machine).notes == [] and len(machine.texts) == 1


# ---------------------------------------------------------------- mutants: one change of the text each

MUTANTS = {
    "a row too few": ("classifier", "< last_row else last_row", "< last_row else last_row - 1"),
    "a stride": ("classifier", "A, Z1 + lo*3, 3, hi - lo, 3, 5", "A, Z1 + lo*3, 4, hi - lo, 3, 5"),
    "a transposed factor": ("classifier", "P, W0, 5, 1", "P, W0, 1, 5"),
    "a term too few": ("classifier", "hi - lo, 5, 3, P, b0, 2", "hi - lo, 5, 2, P, b0, 2"),
    "no bias": ("classifier", "hi - lo, 5, 3, P, b0, 2", "hi - lo, 5, 3, P, b0, 0"),
    "a neighbour's bias": ("classifier", "P, b0, 2", "P, W0, 2"),
    "the function left out": ("classifier", "= tanh(A[Z0 + t])", "= A[Z0 + t]"),
    "a tail": ("classifier", "A[t3_inverse + i] = f(1.0)/s", "A[t3_inverse + i] = f(1.0)"),
    "a tail in the loss": ("classifier", " + A[t3_log + i]))", "))"),
    "a tail never written": ("classifier", "A[t3_log + i] = log(s)", "s = log(s)"),
    "a label of the next row": ("classifier", "-j + L[T + i] == 0", "-j + L[T + (i + 1)%n] == 0"),
    "a stale read": ("classifier", "a2 = A[t3_inverse + i]", "a2 = A[t3_inverse]"),
    "a factor 1/n": ("classifier", "c0 = f(1.0)/f(n)", "c0 = f(1.0)"),
    "a derivative": ("classifier", "A[H0 + t]*A[H0 + t])", "A[H0 + t])"),
    "a wrong buffer that lives": ("classifier", "A[t10 + t]*(", "A[δ1 + t]*("),
    "a start": ("classifier", "G[b0 + i] = f(0.0)", "G[b0 + i] = G[b0 + i]"),
    "a row of four left out": ("classifier", " + A[δ0 + (j + 3)*5 + i]", ""),
    "the rest of four rows": ("classifier", "for j in range(n - n%4, n):", "for j in range(n, n):"),
    "a gradient never written": ("classifier", "A, δ1, 3, 1, G, W1, 3", "A, δ1, 3, 1, A, Z1, 3"),
    "a metric": ("classifier", "s = rmin(s, where(equal(", "s = rmax(s, where(equal("),
    "an update": ("classifier", "theta = theta + q_c4*v_mhat", "theta = theta - q_c4*v_mhat"),
    "a state": ("classifier", "v_v = q_c1*g*g", "v_v = q_c1*g"),
    "a mask": ("windows", "if -j + 4 >= 0:", "if -j + 3 >= 0:"),
    "a guard dropped": ("windows", "if j - 5 == 0:", "if j >= 0:"),
    "a place that is fixed": ("windows", "A[C_ + i*5 + 4]", "A[C_ + i*5 + 3]"),
    "an offset of a window": ("windows", "A[X + i*7 + j + k]*P[K_ + k]", "A[X + i*7 + j]*P[K_ + k]"),
    "an accumulation": ("windows", "= A[t17 + i*3 + j] + equal(", "= equal("),
    "an accumulator not reset": ("windows", "s = -INF\n", "s = -INF if j == 0 else s\n"),
    "the smallest instead": ("windows", "s = rmax(s, A[H1", "s = rmin(s, A[H1"),
    "ties of another window": ("windows", "/A[t17 + i*3 + ((j)//2)]", "/A[t17 + i*3]*2"),
    "a window of the wrong row": ("windows", "A[t15 + i*3 + ((j)//2)]", "A[t15 + ((j)//2)]"),
    "a row of a parameter": ("windows", "P[S_ + 1*5 + j]*A[t8_exp", "P[S_ + j]*A[t8_exp"),
    "a label of the wrong column": ("embedding", "P[E + (L[I + i*2 + j])*3 + k]", "P[E + (L[I + i*2])*3 + k]"),
    "a product of all factors": ("embedding", "if -k + l != 0:", "if True:"),
    "a mean over one row less": ("embedding", "for k in range(n):", "for k in range(n - 1):"),
    "a root": ("embedding", "f(0.5)/where(", "f(0.5)*where("),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutant_of_the_text_is_refused(name: str):
    net, before, after = MUTANTS[name]
    changed = []

    def change(text: str) -> str:
        changed.append(before in text)
        return text.replace(before, after, 1)

    with pytest.raises(CompilerError, match="a compiled program computes something else than its formulas"):
        fit(NETS[net], Careless(change, verify=True))
    assert changed[0], "the generated text has changed: write the mutant anew"


# ---------------------------------------------------------------- five faults of code generation, put back


def forget_indices(patch: pytest.MonkeyPatch) -> None:
    """A sum keeps a free index that nothing reads, and a matrix product fills one row of it."""
    patch.setattr("graphc.ir.build._idle_free_indices", lambda draft: set())
    patch.setattr("graphc.ir.verify._idle_indices", lambda y: [])
    patch.setattr("graphc.lower.products._cover", lambda y, used: True)


def forget_a_part_under_a_guard(patch: pytest.MonkeyPatch) -> None:
    """A branch is printed without the second part of a logsumexp."""
    fresh = Printer._fresh

    def half(self: Printer, e: sympy.Expr) -> tuple[str, int]:
        return self.text(e.args[0]) if isinstance(e, of_parts) and not self.share else fresh(self, e)

    patch.setattr(Printer, "_fresh", half)


def forget_a_part_of_a_factor(patch: pytest.MonkeyPatch) -> None:
    """A matrix product reads the first part of a logsumexp alone."""
    lower = plan._Planner._lower_parts

    def half(self: Any, node: Any, whole: bool) -> None:
        lower(self, node, False)
        self.buffers[node] = self.buffers[self.parts[node].top]

    patch.setattr(plan._Planner, "_lower_parts", half)


def forget_the_flat_index(patch: pytest.MonkeyPatch) -> None:
    """A flat loop reads the second part of a logsumexp by the indices of loops that no longer run."""
    operand = nests.NestPrinter._operand

    def stale(self: Any, op: Any, flat: bool) -> str:
        second = isinstance(op, Read) and getattr(op.node, "reducer", "") == "logsumexp"
        return operand(self, op, flat and not second)

    patch.setattr(nests.NestPrinter, "_operand", stale)


def compute_the_largest_anew(patch: pytest.MonkeyPatch) -> None:
    """What a maximum is compared with is computed again, in another order."""

    def anew(y: Any, operands: list, out: Any, at: Any) -> Any:
        value = pullback._add(operands, Read(y, out))
        return equal(y.body, value) / pullback._add(operands, Read(pullback._ties(y), out))

    patch.setattr("graphc.rewrite.fuse.compares", lambda *_: False)
    patch.setattr("graphc.rewrite.fuse._reads_once", lambda *_: True)
    patch.setattr(pullback, "_share_of_largest", anew)


FAULTS = {
    "forgotten_index": forget_indices, "log_partition_of_slices": forget_a_part_under_a_guard,
    "weighted_partition": forget_a_part_of_a_factor, "flattened_partition": forget_the_flat_index,
    "turned_twice": compute_the_largest_anew,
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_put_back_into_the_compiler_is_found(
    name: str, monkeypatch: pytest.MonkeyPatch, printed_programs: list[object]
):
    """With one of a few sets of numbers: whether two products of the same factors differ depends on them."""
    FAULTS[name](monkeypatch)
    b, refused = built.__wrapped__(name), []
    for seed in range(12):
        model, rng = model_of(b), np.random.default_rng(seed)
        for p in b.params:
            model.params[p.name] = rng.normal(size=p.shape)
        before = model.params.flat.copy()
        try:
            with watching(Careless(verify=True)):
                model.fit({}, optimizer=gc.SGD(0.1), steps=1, threads=1)
        except CompilerError as error:
            refused.append(str(error))
            assert np.array_equal(model.params.flat, before)
    assert refused and all("something else than its formulas" in text for text in refused)
    printed_programs.clear()  # their texts are wrong, too


# ---------------------------------------------------------------- on GPUs, whose threads run in Python


@pytest.fixture
def unverified(monkeypatch: pytest.MonkeyPatch) -> None:
    """No verdict is known, and none is kept."""
    monkeypatch.setattr(checking, "is_verified", lambda key: False)
    monkeypatch.setattr("graphc.facade.verifying._keep", lambda key: None)


def fit_on_cuda(name: str, machine: CudaWatched, tier: Tier) -> gc.Model:
    model, data = NETS[name]()
    model.initialize(1)
    with selection.use(machine, tier):
        notes = model.fit(data, optimizer=gc.Adam(0.01), steps=1, target="cuda").notes
        assert [n for n in notes if "seen right" not in n] == []
        inputs = [data[str(leaf.name)] for leaf in model.inputs]
        assert np.isfinite(model.predict(*inputs, target="cuda")).all()
    return model


@pytest.mark.parametrize(("name", "tier"), [("classifier", "A"), ("windows", "B"), ("embedding", "C")])
@pytest.mark.usefixtures("unverified")
def test_cuda_programs_without_a_fault_pass(name: str, tier: Tier):
    fit_on_cuda(name, CudaWatched(threads=6, blocks=1 if tier == "A" else 2), tier)


@pytest.mark.usefixtures("unverified")
@pytest.mark.parametrize(("whole", "rows"), [(trials.WHOLE, 8), (0, 5)])
def test_on_a_gpu_a_whole_batch_is_checked_where_that_is_cheap(monkeypatch, whole: float, rows: int):
    """Blocks that do not wait for one another show when each has rows of its own."""
    seen: list[int] = []
    run = trials.DeviceTrial.run
    monkeypatch.setattr(trials, "WHOLE", whole)
    noted = lambda self, feed: seen.append(trials.lengths_of(feed)) or run(self, feed)
    monkeypatch.setattr(trials.DeviceTrial, "run", noted)
    model, data = classifier()
    with selection.use(CudaWatched(threads=6), "A"):
        model.fit(data, optimizer=gc.Adam(0.01), steps=1, batch_size=8, target="cuda")
    assert seen[0] == rows


def test_a_verdict_of_one_gpu_is_none_of_another(monkeypatch):
    keys: list[str] = []
    monkeypatch.setattr(checking, "is_verified", lambda key: bool(keys.append(key)) or True)
    model, data = classifier()
    for device in (Device(), Device(name="another"), Device(capability=(8, 9))):
        (machine := CudaWatched(threads=6)).device = device
        with selection.use(machine, "A"):
            model.fit(data, optimizer=gc.Adam(0.01), steps=1, target="cuda")
    assert len(set(keys)) == len(keys) == 3


@pytest.mark.parametrize("number", [0, 1, 2, 3, 5])
@pytest.mark.usefixtures("unverified")
def test_a_missing_barrier_is_found(number: int):
    with pytest.raises(CompilerError, match="something else than its formulas"):
        fit_on_cuda("classifier", WithoutBarrier(number), "A")


@pytest.mark.usefixtures("unverified")
def test_a_mutant_of_a_cuda_kernel_is_refused():
    class Changed(CudaWatched):
        def load(self, program: Any) -> Any:
            assert "A_δ1" in program.text
            return super().load(dataclasses.replace(program, text=program.text.replace("math.tanh(", "math.sin(", 1)))

    with pytest.raises(CompilerError, match="J = 1/n Σ_i"):
        fit_on_cuda("classifier", Changed(threads=6), "A")
    model, data = classifier()
    before = model.initialize(1).params.flat.copy()
    with selection.use(Changed(threads=6), "A"), pytest.raises(CompilerError, match="the program gives"):
        model.fit(data, optimizer=gc.Adam(0.01), steps=1, target="cuda")
    assert model.params.flat.tobytes() == before.tobytes()  # nothing was trained, nothing is lost


# ---------------------------------------------------------------- what it says


def test_the_error_names_the_first_wrong_equation_and_a_script_repeats_it():
    model, data = classifier()
    model.initialize(1)
    machine = Careless(lambda text: text.replace("A[H0 + t]*A[H0 + t])", "A[H0 + t])", 1), verify=True)
    with watching(machine), pytest.raises(CompilerError) as caught:
        model.fit(data, optimizer=gc.Adam(0.01, clip_norm=1.0), steps=1, threads=1)
    lines = str(caught.value).splitlines()
    head = "internal defect: a compiled program computes something else than its formulas; ∂J/∂W0 is wrong"
    assert lines[0] == head
    assert lines[1] == "  δ0[i,j] = (Σ_k δ1[i,k]·W1[j,k])·(1 - H0[i,j]²)   (2)"
    assert re.fullmatch(r"  at \[\d, \d\] the program gives -?[\d.e-]+, the formula -?[\d.e-]+", lines[2])
    assert lines[-2:] == [
        "  nothing was trained, nothing is lost",
        "  hint: this is a fault of graphc, please report it; verify=False runs the program as it is",
    ]
    script = next(line for line in lines if "a script that repeats it: " in line).rpartition(": ")[2]
    with watching(machine), pytest.raises(CompilerError, match=re.escape(head)):
        runpy.run_path(script)


def halves(text: str) -> str:
    """What is half of a tangent is none."""
    assert "tanh(" in text
    return text.replace("= tanh(", "= f(0.5)*tanh(")


@pytest.mark.parametrize("who", ["predict", "evaluate", "function"])
def test_faults_of_evaluations_and_functions_are_found_and_repeated(who: str):
    X, W = gc.input("X", ("n", 3)), gc.param("W", (3, 2), gc.normal(1.0))
    H = gc.tanh(X @ W).named("H")
    x = RNG.normal(size=(7, 3))
    model = gc.Model(H, gc.mean(H**2), dtype="float64").initialize(1)
    calls = {
        "predict": lambda: model.predict(x),
        "evaluate": lambda: model.evaluate(x),
        "function": lambda: gc.compile([H, gc.grad(gc.mean(H**2), W)], [X, W])(x, model.params["W"]),
    }
    with in_python(Plain()):
        calls[who]()
    model = gc.Model(H, gc.mean(H**2), dtype="float64").initialize(1)
    place = r"tanh\(.*\n  at \[\d, \d\] the program"
    with in_python(Plain(halves)), pytest.raises(CompilerError, match=place) as caught:
        calls[who]()
    script = re.findall("a script that repeats it: (.*)", str(caught.value))[0]
    with in_python(Plain(halves)), pytest.raises(CompilerError, match="something else than its formulas"):
        runpy.run_path(script)


def test_a_value_that_was_never_written_is_seen():
    """Working memory holds NaN before the run, whatever lay there."""
    machine = Careless(lambda text: text.replace("A[Z0 + i*6 + j] = f(0.0)", "L[0] = 0", 1), verify=True)
    with pytest.raises(CompilerError, match="the program gives nan"):
        fit(windows, machine)


def test_a_fault_of_rewriting_is_told_as_one(monkeypatch: pytest.MonkeyPatch):
    x = gc.param("x", (4,), gc.normal(1.0))
    model = gc.Model(loss=gc.sum(gc.exp(gc.sin(x))), dtype="float64")
    other = read_graph({"loss": gc.sum(gc.exp(gc.cos(x))).node})
    monkeypatch.setattr("graphc.facade.core.read_graph", lambda roots: other)
    with watching(Careless(verify=True)), pytest.raises(CompilerError, match="is what rewriting made of"):
        model.fit({}, steps=1, threads=1)


# ---------------------------------------------------------------- when it is left out


def test_verify_false_runs_the_program_as_it_is():
    machine = Careless(lambda text: text.replace("= tanh(A[Z0 + t])", "= A[Z0 + t]", 1), verify=True)
    assert fit(classifier, machine, verify=False).steps == 1


def test_a_program_is_checked_once_and_its_verdict_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("GRAPHC_CACHE", str(tmp_path / "cache"))
    tried = []
    monkeypatch.setattr(checking, "verify_program", lambda trial, key: tried.append(key) or verify_program(trial, key))
    x, w = gc.input("x", ("n",)), gc.param("w", (), 1.5)
    for _ in range(2):
        model = gc.Model(output=w * x, loss=gc.mean((w * x - 1) ** 2))
        for _ in range(2):
            assert model.fit(np.ones(6, np.float32), optimizer=gc.SGD(0.1), steps=2).notes == []
    assert len(tried) == 1 and (tmp_path / "cache" / f"{tried[0]}.checked").exists()
    assert model.params["w"] < 1.5


# ---------------------------------------------------------------- rounding is no fault


def test_a_formula_that_overflows_where_its_rewriting_does_not_is_checked_by_the_rewriting():
    """BCE as on paper: at logits of 800 the declared formula is NaN, the program is right, and nothing is refused."""
    X, T, w = gc.input("X", ("n", 1)), gc.input("T", ("n", 1)), gc.param("w", (1, 1), 800.0)
    Y = gc.sigmoid(X @ w)
    model = gc.Model(loss=gc.mean(-(T * gc.log(Y) + (1 - T) * gc.log(1 - Y))), dtype="float64")
    with watching(Careless(verify=True)):
        run = model.fit(np.ones((4, 1)), np.zeros((4, 1)), optimizer=gc.SGD(1.0), steps=1, threads=1)
    assert run.notes == [] and run.history["loss"] == [800.0]


def test_a_tie_that_rounding_decides_is_no_fault():
    """0.1 + 0.2 is above 0.3 by the last bit: a program that adds in another way may take either side."""
    a = gc.param("a", (3,), 0.0)
    slope = gc.grad(gc.max(gc.stack([a[2], a[0] + a[1]]), axis=0), a).node
    graphs = [(lambda: [slope], {a.node: np.array([0.1, 0.2, 0.3])})] * 2
    assert evaluate([slope], graphs[0][1])[0].tolist() == [1, 1, 0]
    judged = judge([np.array([0.0, 0.0, 1.0])], graphs, PRECISIONS["float64"])
    assert judged.difference is None and judged.unclear == [0]
    apart = [(lambda: [slope], {a.node: np.array([0.1, 0.2, 0.4])})] * 2
    assert judge([np.array([1.0, 1.0, 0.0])], apart, PRECISIONS["float64"]).difference is not None


def test_a_difference_beyond_rounding_is_one():
    x = gc.param("x", (3,), 0.0)
    feed = {x.node: np.array([1.0, 2.0, 3.0])}
    y = gc.exp(x) + 1
    exact = evaluate([y.node], feed)[0]
    graphs = [(lambda: [y.node], feed)] * 2
    assert judge([exact * (1 + 1e-12)], graphs, PRECISIONS["float64"]).difference is None
    found = judge([exact * (1 + np.array([0, 0, 1e-7]))], graphs, PRECISIONS["float64"]).difference
    assert found is not None and found.at == (2,)
