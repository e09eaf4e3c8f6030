"""Matrix products in compiled code: tiles, matrix-vector paths, BLAS by symbol, transposition."""

from __future__ import annotations

import llvmlite.binding as llvm
import numpy as np
import pytest

from graphc.native import blas_library, build, target
from graphc.native.build import Program
from graphc.native.machine_code import linked, optimize
from graphc.primitives.matmul import gemm
from tests.covering import plain

# m, n, k as literals; ragged widths, single rows, columns and terms, several panels.
SHAPES = [
    (1, 1, 1), (1, 16, 30), (1, 1, 16), (1, 40, 1), (32, 1, 16), (30, 16, 1), (32, 16, 30), (13, 33, 5), (6, 10, 12),
    (7, 100, 3), (17, 65, 9), (4, 2, 70), (3, 130, 2), (23, 1, 5),
]  # fmt: skip
KINDS = ("float32", "float64")
IMPORTS = """
from graphc.primitives.matmul.blas import blas_gemm
from graphc.primitives.matmul.dots import contract_dots
from graphc.primitives.matmul.gemm import gemm
from graphc.primitives.matmul.lines import contract_lines
from graphc.primitives.matmul.transpose import transpose
"""


ADDED = "gemm(A, 3, 12, 1, B, 5, 10, 1, C, 7, 10, m, 10, 12, b, 2, 1)"

GENERIC = {
    "free_rows": "gemm(A, 3, 37, 1, B, 5, 40, 1, C, 7, 40, m, 40, 37, b, 2, 2)",
    "narrow_rows": "gemm(A, 3, 37, 1, B, 5, 10, 1, C, 7, 10, m, 10, 37, b, 2, 2)",
    "added_rows": "gemm(A, 3, 37, 1, B, 5, 10, 1, C, 7, 10, m, 10, 37, b, 2, 1)",
    "wide_rows": "gemm(A, 3, 37, 1, B, 5, 100, 1, C, 7, 100, m, 100, 37, b, 2, 0)",
    "free_terms": "gemm(A, 3, 1, 19, B, 5, 40, 1, C, 7, 40, 19, 40, k, b, 2, 1)",
    "free_columns": "gemm(A, 3, 37, 1, B, 5, 200, 1, C, 7, 200, 11, n, 37, b, 2, 2)",
    "free_dots": "gemm(A, 3, 37, 1, B, 5, 1, 1, C, 7, 1, m, 1, 37, b, 2, 2)",
    "free_length": "gemm(A, 3, 200, 1, B, 5, 1, 1, C, 7, 1, m, 1, k, b, 2, 0)",
    "turned": "gemm(A, 3, 37, 1, B, 5, 1, 37, C, 7, 12, m, 12, 37, b, 2, 0)",
    "blas": "blas_gemm(A, 3, 37, 1, B, 5, 40, 1, C, 7, 40, m, 40, 37, b, 2, 2)",
    "blas_turned": "blas_gemm(A, 3, 1, 19, B, 5, 1, 23, C, 7, 40, 19, 40, 23, b, 2, 1)",
    "transposed": "transpose(C, 7, A, 3, m, k, n)",
    "seldom": "; ".join([ADDED] * gemm.OFTEN),
    "often": "; ".join([ADDED] * (gemm.OFTEN + 1)),
}


# a factor of several rows, lines that begin anywhere, several sums; ragged widths, narrow ones, whole vectors
SIZES_OF_LINES = [(7, 9, 10, 0), ("m", 4, 24, 1), (16, 8, 8, 1), (6, 5, 3, 0), (1, 2, 37, 0)]
LINES = {
    f"lines_{t}": f"contract_lines(A, 3, 60, 30, 10, 2, B, 5, 90, 31, {n + 1}, 7, C, 7, {(n + 2) * lines}, {n + 2}, "
    f"{m}, {lines}, {n}, k, 3, 5, {mode})"
    for t, (m, lines, n, mode) in enumerate(SIZES_OF_LINES)
}
DOTS = {
    f"dots_{t}": f"contract_dots(A, 3, 11, 90, 31, B, 5, 13, 80, 29, C, 7, 1, {m + 2}, {m}, {n}, k, 3, {k}, {t % 2})"
    for t, (m, n, k) in enumerate([(5, 2, 24), (7, 1, 10), (1, 5, 3), (3, 4, 150), (13, 2, 17)])
}


def site(name: str, call: str) -> str:
    """An entry with one product in it; the operands begin at offsets 3, 5, 7 and 2."""
    return f"def {name}(A, B, C, b, m, n, k):\n    {call}\n    return 0\n"


def sources() -> tuple[str, list[str]]:
    """One entry for each literal shape and way to store A and mode, and for run-time extents."""
    parts, names = [IMPORTS], []
    for q, (m, n, k) in enumerate(SHAPES):
        mode = q % 3
        for word, strides in (("rows", f"{k}, 1"), ("columns", f"1, {m}")):
            names.append(f"{word}_{q}")
            call = f"gemm(A, 3, {strides}, B, 5, {n}, 1, C, 7, {n}, {m}, {n}, {k}, b, 2, {mode})"
            parts.append(site(names[-1], call))
    parts += [site(name, call) for name, call in (GENERIC | LINES | DOTS).items()]
    return "\n".join(parts), [*names, *GENERIC, *LINES, *DOTS]


@pytest.fixture(scope="module", params=KINDS)
def tiles(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Program, str]:
    source, names = sources()
    words = (request.param + "*",) * 4 + ("int64",) * 3
    folder = tmp_path_factory.mktemp("cache")
    return build.build(source, dict.fromkeys(names, words), name="tiles", folder=folder), request.param


def run(tiles: tuple[Program, str], entry: str, a: np.ndarray, b: np.ndarray, c: np.ndarray, bias: np.ndarray,
        m: int = 0, n: int = 0, k: int = 0) -> np.ndarray:  # fmt: skip
    """Call an entry on flat buffers with guards around each operand; the guards must survive."""
    program, kind = tiles
    buffers = [padded(x, before, kind) for x, before in ((a, 3), (b, 5), (c, 7), (bias, 2))]
    program.call(entry, *(x.ctypes.data for x in buffers), m, n, k)
    out = buffers[2]
    assert np.all(out[:7] == 99) and np.all(out[7 + c.size :] == 99), "a store left the result"
    return out[7 : 7 + c.size].reshape(c.shape)


def padded(x: np.ndarray, before: int, kind: str) -> np.ndarray:
    out = np.full(before + x.size + 64, 99, dtype=kind)
    out[before : before + x.size] = x.reshape(-1)
    return out


def operands(seed: int, m: int, n: int, k: int, kind: str) -> tuple[np.ndarray, ...]:
    random = np.random.default_rng(seed)
    return tuple(random.normal(size=shape).astype(kind) for shape in ((m, k), (k, n), (m, n), (n,)))


def exact(mode: int, a: np.ndarray, b: np.ndarray, c: np.ndarray, bias: np.ndarray) -> np.ndarray:
    start = (np.zeros_like(c), c, np.broadcast_to(bias, c.shape))[mode]
    return start.astype(np.longdouble) + a.astype(np.longdouble) @ b.astype(np.longdouble)


def assert_close(found: np.ndarray, expected: np.ndarray, k: int) -> None:
    bound = 4 * np.finfo(found.dtype).eps * (k + 4) * max(1.0, float(np.abs(expected).max(initial=0)))
    assert np.abs(found - expected).max(initial=0) <= bound


def test_products_of_literal_shapes_agree_with_extended_precision(tiles):
    for q, (m, n, k) in enumerate(SHAPES):
        a, b, c, bias = operands(q, m, n, k, tiles[1])
        expected = exact(q % 3, a, b, c, bias)
        assert_close(run(tiles, f"rows_{q}", a, b, c, bias), expected, k)
        assert_close(run(tiles, f"columns_{q}", a.T.copy(), b, c, bias), expected, k)


def test_products_whose_panels_are_shared_have_the_same_bits(tiles, tmp_path, monkeypatch):
    """Seen to fail when the last vector of a panel had all its lanes."""
    kind = tiles[1]
    monkeypatch.setattr(gemm, "MANY", -1)
    calls = {name: GENERIC[name] for name in ("free_rows", "wide_rows", "free_terms")}
    source = "\n".join([IMPORTS, *(site(name, call) for name, call in calls.items())])
    names = dict.fromkeys(calls, (f"{kind}*",) * 4 + ("int64",) * 3)
    shared = build.build(source, names, name="panels", folder=tmp_path)
    for name, n, last in (("free_rows", 40, 37), ("wide_rows", 100, 37), ("free_terms", 40, 0)):
        for rows in (1, 5, 19, 30):
            m, k = (rows, last) if last else (19, rows)
            a, b, c, bias = operands(rows, m, n, k, kind)
            left = a if last else a.T.copy()
            found = [run((program, kind), name, left, b, c, bias, m, n, k) for program in (shared, tiles[0])]
            assert np.array_equal(*found) and not np.array_equal(found[0], c)


def test_products_of_one_kind_stand_alone_when_they_are_many_and_give_the_same(tiles):
    a, b, c, bias = operands(4, 6, 10, 12, tiles[1])
    for entry, times in (("seldom", gemm.OFTEN), ("often", gemm.OFTEN + 1)):
        assert_close(run(tiles, entry, a, b, c, bias, m=6), exact(1, times * a, b, c, bias), times * 12)


def lowered(calls: list[str]) -> str:
    """The functions of products in the unoptimised module of one entry with these calls."""
    source = IMPORTS + site("calls", "; ".join(calls))
    function = build._execute(source, "calls", target.replace_numbers)["calls"]
    own, units = target.lower({"calls": (function, ("float32*",) * 4 + ("int64",) * 3)})
    inside = [f.name for f in linked(own).functions if "gemm_" in f.name and not f.is_declaration]
    return " ".join([*(f"{name}: inside" for name in inside), *(f"{name}: alone" for name in units)])


def test_a_small_product_stands_alone_from_the_ninth_on_and_a_large_one_at_once():
    """Else the time to compile grows with the number of layers; called at once, small products lose a tenth."""
    name, large = "graphc_gemm_12_1_10_1_10_1_x_10_12_f32", ADDED.replace("10", "128")
    assert lowered([ADDED] * gemm.OFTEN) == f"{name}: inside"
    assert lowered([ADDED] * (gemm.OFTEN + 1)) == f"{name}: alone"
    assert lowered([large]).endswith(": alone") and lowered([large, large]) == lowered([large])
    other = ADDED.replace("12, b", "11, b")
    assert lowered([ADDED, other]) == f"{name}: inside {name.replace('_12_f32', '_11_f32')}: inside"


@pytest.mark.parametrize(("columns", "where"), [(7, "inside"), (64, "alone")])
def test_how_many_rows_a_product_sums_over_counts_where_they_are_not_known(columns: int, where: str):
    """The gradient of a weight: its literal size alone is that of one row. Seen to fail where only that counts."""
    gradient = f"gemm(A, 3, 1, 12, B, 5, {columns}, 1, C, 7, {columns}, m, {columns}, k, b, 2, 0)"
    assert lowered([gradient]) == f"graphc_gemm_1_12_{columns}_1_{columns}_0_x_{columns}_x_f32: {where}"


def test_run_time_extents_give_the_same_products(tiles):
    for m in (0, 1, 7, 8, 29):
        a, b, c, bias = operands(m, m, 40, 37, tiles[1])
        assert_close(run(tiles, "free_rows", a, b, c, bias, m=m), exact(2, a, b, c, bias), 37)
    for k in (0, 1, 2, 50):
        a, b, c, bias = operands(k, 19, 40, k, tiles[1])
        assert_close(run(tiles, "free_terms", a.T.copy(), b, c, bias, k=k), exact(1, a, b, c, bias), k)
    for n in (1, 15, 16, 17, 100, 200):
        a, b, c, bias = operands(n, 11, 200, 37, tiles[1])
        found = run(tiles, "free_columns", a, b, c, bias, n=n)
        assert_close(found[:, :n], exact(2, a, b, c, bias)[:, :n], 37)
        assert np.array_equal(found[:, n:], c[:, n:])


def test_matrix_vector_products_sum_in_lanes(tiles):
    a, b, c, bias = operands(1, 21, 1, 37, tiles[1])
    assert_close(run(tiles, "free_dots", a, b, c, bias, m=21), exact(2, a, b, c, bias), 37)
    wide, tall, c, bias = operands(2, 9, 1, 200, tiles[1])
    for k in (0, 1, 5, 16, 99):
        found = run(tiles, "free_length", wide, tall, c, bias, m=9, k=k)
        assert_close(found, exact(0, wide[:, :k], tall[:k], c, bias), k)


def test_a_transposed_right_operand_works_without_packing(tiles):
    a, b, c, bias = operands(3, 10, 12, 37, tiles[1])
    assert_close(run(tiles, "turned", a, b.T.copy(), c, bias, m=10), exact(0, a, b, c, bias), 37)


ROWS = [("free_rows", 40, 2), ("narrow_rows", 10, 2), ("added_rows", 10, 1), ("wide_rows", 100, 0), ("free_dots", 1, 2)]


@pytest.mark.parametrize("entry, width, mode", ROWS)
def test_every_number_of_rows_left_over_gives_the_product(tiles, entry, width, mode):
    """Planted fault, seen to fail: a last block that overlaps the one before it while it adds to C."""
    for m in range(34):
        a, b, c, bias = operands(m, m, width, 37, tiles[1])
        assert_close(run(tiles, entry, a, b, c, bias, m=m), exact(mode, a, b, c, bias), 37)


@pytest.mark.parametrize("entry, width, mode", ROWS)
def test_a_row_has_the_same_bits_however_the_rows_are_split(tiles, entry, width, mode):
    a, b, c, bias = operands(4, 29, width, 37, tiles[1])
    whole = run(tiles, entry, a, b, c, bias, m=29)
    for cut in range(1, 29):
        top = run(tiles, entry, a[:cut], b, c[:cut], bias, m=cut)
        rest = run(tiles, entry, a[cut:], b, c[cut:], bias, m=29 - cut)
        assert np.array_equal(np.concatenate([top, rest]), whole)


def test_a_literal_row_count_gives_the_bits_of_a_run_time_one(tiles):
    a, b, c, bias = operands(5, 19, 40, 6, tiles[1])
    first = run(tiles, "free_terms", a.T.copy(), b, c, bias, k=6)
    wide = np.zeros((19, 37), tiles[1])
    wide[:, :6] = a
    tall = np.zeros((37, 40), tiles[1])
    tall[:6] = b
    zero = np.zeros(40, tiles[1])
    second = run(tiles, "free_rows", wide, tall, np.zeros_like(c), zero, m=19)
    start = run(tiles, "free_terms", a.T.copy(), b, np.zeros_like(c), bias, k=6)
    assert np.array_equal(second, start) and not np.array_equal(first, start)


def test_blas_takes_the_same_arguments_and_gives_the_same_products(tiles):
    with blas_library.one_thread():
        a, b, c, bias = operands(6, 29, 40, 37, tiles[1])
        assert_close(run(tiles, "blas", a, b, c, bias, m=29), exact(2, a, b, c, bias), 37)
        a, b, c, bias = operands(7, 19, 40, 23, tiles[1])
        found = run(tiles, "blas_turned", a.T.copy(), b.T.copy(), c, bias)
        assert_close(found, exact(1, a, b, c, bias), 23)


def test_one_thread_restores_the_threads_of_blas():
    count = blas_library._lookup(name.format("get") for name in blas_library._THREADS)
    if count is None:
        pytest.skip("this BLAS has no thread setting")
    before = count()
    with blas_library.one_thread():
        assert count() == 1
    assert count() == before


def test_transposition_moves_every_element(tiles):
    for m, k, n in ((1, 1, 1), (8, 8, 8), (5, 40, 40), (33, 17, 17), (16, 24, 24), (16, 11, 24), (5, 8, 9)):
        a = np.random.default_rng(m).normal(size=(m, n)).astype(tiles[1])
        found = run(tiles, "transposed", a, a, np.zeros((k, m)), a, m=m, n=n, k=k)
        assert np.array_equal(found, a[:, :k].T)


@pytest.mark.skipif(not llvm.get_process_triple().startswith("x86_64"), reason="compiles for an x86-64 level")
@pytest.mark.parametrize(
    "cpu, unit, n, sums",
    [
        ("x86-64-v3", (32, 16), 112, {12, 2}),
        ("x86-64-v3", (32, 16), 20, {12, 3}),
        ("x86-64-v4", (64, 32), 112, {16, 12, 4, 3}),
    ],
)
def test_no_sum_of_a_tile_is_spilled_inside_the_loop_over_k(monkeypatch, cpu, unit, n, sums):
    """Planted faults, seen to fail: 12 rows in a block of two vectors on 16 registers; a panel of the last four of
    twenty columns, whose loop loads nine values for eight sums."""
    monkeypatch.setattr(gemm, "vector_unit", lambda: unit)
    source = IMPORTS + site("f", f"gemm(A, 0, 64, 1, B, 0, {n}, 1, C, 0, {n}, m, {n}, 64, b, 0, 2)")
    function = build._execute(source, "spill", target.replace_numbers)["f"]
    own, units = target.lower({"f": (function, ("float32*",) * 4 + ("int64",) * 3)})
    module = linked([*own, *(text for part in units.values() for text in part)])
    machine = llvm.Target.from_triple(llvm.get_process_triple()).create_target_machine(cpu=cpu, opt=3)
    optimize(module, machine)
    loops = fused_loops(machine.emit_assembly(module))
    assert {loop.count("vfmadd") for loop in loops} == sums
    assert not any("rsp" in line for loop in loops for line in loop.splitlines() if "mm" in line)


def fused_loops(assembly: str) -> list[str]:
    """The text of every innermost loop that multiplies and adds: from a label to the first jump back to it."""
    lines, found = assembly.splitlines(), []
    labels = {line.split(":")[0]: number for number, line in enumerate(lines) if line.startswith(".LBB")}
    for number, line in enumerate(lines):
        target = labels.get(line.split()[-1]) if line.strip().startswith("j") else None
        if target is not None and target < number:
            body = lines[target : number + 1]
            if sum(other.startswith(".LBB") for other in body) == 1 and "vfmadd" in "".join(body):
                found.append("\n".join(body))
    return found


@pytest.mark.parametrize("name", [*LINES, *DOTS])
def test_lines_and_dot_products_are_those_of_plain_python(tiles, name):
    """Mutation-checked: the last line of an odd number left out."""
    program, kind = tiles
    rng, m, k = np.random.default_rng(0), 10, 2
    a, b, c = (rng.normal(size=2000).astype(kind) for _ in range(3))
    wanted = c.astype(float).tolist()
    call = (LINES | DOTS)[name]
    exec(call, {"A": a.astype(float), "B": b.astype(float), "C": wanted, "m": m, "k": k, **plain.NAMES})  # noqa: S102
    program.call(name, *(x.ctypes.data for x in (a, b, c, c)), m, 0, k)
    np.testing.assert_allclose(c, wanted, rtol=0, atol=3000 * np.finfo(kind).eps)
