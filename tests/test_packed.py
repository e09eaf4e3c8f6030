"""Large products from packed operands: right, with the bits of tiles, and chosen where tiles read badly."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable
from dataclasses import replace

import llvmlite.binding as llvm
import numpy as np
import pytest
from llvmlite import ir

import graphc as gc
from graphc.facade import preparing, programs
from graphc.lower import cost
from graphc.lower.cost import PACKED, TILES, product_method
from graphc.lower.kernels import Product, View
from graphc.lower.layout import Buffer, Count
from graphc.lower.processor import CACHE, LEVEL_2, Processor, by_arithmetic, cuts_of, processor
from graphc.native import build, machine_code, machines, target
from graphc.native.machine_code import linked, optimize
from graphc.primitives import host
from graphc.primitives.matmul import packed_gemm, packed_kernel, packing, vector_ir
from graphc.primitives.matmul.vector_ir import I64, Vectors
from tests.test_stack import in_small_thread

IMPORTS = """
from graphc.primitives.matmul.gemm import gemm
from graphc.primitives.matmul.packed_gemm import packed_gemm
"""
# m, n, k: several blocks of rows, panels and blocks of terms, all ragged; fewer rows than a tile; less than a square
SHAPES = [(805, 101, 1031), (3, 50, 600), (17, 5, 6)]
WAYS = ["NN", "TN", "NT", "TT"]


def call(primitive: str, way: str, shape: tuple[int, int, int], mode: int) -> str:
    m, n, k = shape
    a = f"1, {m}" if way[0] == "T" else f"{k}, 1"
    b = f"1, {k}" if way[1] == "T" else f"{n}, 1"
    return f"{primitive}(A, 3, {a}, B, 5, {b}, C, 7, {n + 2}, m, {n}, {k}, bias, 2, {mode})"


def entry(name: str, line: str) -> str:
    return f"def {name}(A, B, C, bias, m):\n    {line}\n    return 0\n"


@pytest.fixture(scope="module", params=["float32", "float64"])
def program(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[build.Program, str]:
    text, names = IMPORTS, []
    for q, shape in enumerate(SHAPES):
        for way in WAYS:
            for mode in (0, 1, 2):
                for primitive in ("packed_gemm", "gemm") if way == "NN" else ("packed_gemm",):
                    names.append(f"{primitive}_{way}{mode}_{q}")
                    text += entry(names[-1], call(primitive, way, shape, mode))
    words = (request.param + "*",) * 4 + ("int64",)
    folder = tmp_path_factory.mktemp("cache")
    return build.build(text, dict.fromkeys(names, words), name="packed", folder=folder), request.param


def operands(shape: tuple[int, int, int], kind: str) -> tuple[np.ndarray, ...]:
    m, n, k = shape
    rng = np.random.default_rng(m)
    return tuple(rng.normal(size=s).astype(kind) for s in ((m, k), (k, n), (m, n), (n,)))


def run(
    program: tuple[build.Program, str], name: str, way: str, arrays: tuple, rows: slice = slice(None)
) -> np.ndarray:
    """The product of some rows; what stands before, after and between the rows of C must survive."""
    a, b, c, bias = arrays
    a, c = a[rows], c[rows]
    kind = program[1]
    out = np.full((c.shape[0] + 2, c.shape[1] + 2), 99, kind)
    flat = out.reshape(-1)
    view = flat[7 : 7 + c.shape[0] * (c.shape[1] + 2)].reshape(c.shape[0], -1)[:, :-2]
    view[:] = c
    put = lambda x, before: np.concatenate([np.full(before, 99, kind), x.reshape(-1), np.full(64, 99, kind)])
    left, right = (a.T.copy() if way[0] == "T" else a), (b.T.copy() if way[1] == "T" else b)
    buffers = [put(left, 3), put(right, 5), out, put(bias, 2)]
    program[0].call(name, *(x.ctypes.data for x in buffers), a.shape[0])
    found = view.copy()
    view[:] = 99
    assert np.all(out == 99), "a store left the result"
    return found


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("q", range(len(SHAPES)))
def test_packed_products_agree_with_extended_precision(program, q, way):
    arrays = operands(SHAPES[q], program[1])
    a, b, c, bias = (x.astype(np.longdouble) for x in arrays)
    for mode, start in enumerate((0 * c, c, 0 * c + bias)):
        found = run(program, f"packed_gemm_{way}{mode}_{q}", way, arrays)
        bound = np.finfo(program[1]).eps * SHAPES[q][2] * (abs(a) @ abs(b) + abs(start))
        assert np.all(abs(found - (start + a @ b)) <= bound)


@pytest.mark.parametrize("mode", [0, 1, 2])
def test_packed_products_have_the_bits_of_tiles_and_of_any_split_of_the_rows(program, mode):
    """Mutation-checked: a block of terms that begins at 0 instead of at C gives other bits."""
    arrays = operands(SHAPES[0], program[1])
    whole = run(program, f"packed_gemm_NN{mode}_0", "NN", arrays)
    np.testing.assert_array_equal(whole, run(program, f"gemm_NN{mode}_0", "NN", arrays))
    for rows in (slice(0, 5), slice(5, 140), slice(140, 805)):
        np.testing.assert_array_equal(run(program, f"packed_gemm_NN{mode}_0", "NN", arrays, rows), whole[rows])


def test_a_thread_with_half_a_megabyte_of_stack_gets_the_same_bits(program):
    """The blocks of packed operands alone take 1.7 MB of it: without room of its own the process dies (seen)."""
    arrays = operands(SHAPES[0], program[1])
    product = lambda: run(program, "packed_gemm_NN1_0", "NN", arrays).tobytes()
    assert in_small_thread(product) == product()


def compiled(emit: Callable[..., ir.Value], count: int) -> tuple[llvm.ExecutionEngine, Callable[..., int]]:
    """A function of int64 values as machine code, and the engine that must outlive it."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    module = ir.Module()
    function = ir.Function(module, ir.FunctionType(I64, [I64] * count), "size")
    builder = ir.IRBuilder(function.append_basic_block())
    builder.ret(emit(Vectors(builder, ir.FloatType()), *function.args))
    parsed = llvm.parse_assembly(str(module))
    engine = llvm.create_mcjit_compiler(parsed, llvm.Target.from_default_triple().create_target_machine())
    engine.finalize_object()
    word = ctypes.c_int64
    return engine, ctypes.CFUNCTYPE(word, *[word] * count)(engine.get_function_address("size"))


def test_blocks_of_rows_are_few_and_of_about_one_height():
    """Mutation-checked: blocks of the largest height leave a last one of a row, for which B is packed again."""
    most, rows = 384, packed_gemm.tile_shape()[0]
    engine, height = compiled(lambda v, m: packed_gemm.even_parts(v, m, I64(most), rows), 1)
    for m in (1, rows, most - 1, most, most + 1, 525, 1031, 2048, 4001):
        heights = [min(height(m), m - first) for first in range(0, m, height(m))]
        assert max(heights) <= most and len(heights) == -(-m // most)
        assert max(heights) - min(heights) <= rows * len(heights)
    assert height(0) > 0, "a thread without rows"
    engine.close()


def test_a_block_has_fewer_terms_where_that_saves_packing_the_right_factor_again():
    engine, terms = compiled(packed_gemm.best_terms, 2)
    most = packed_gemm.BLOCK_BYTES // 4 // packed_gemm.TERMS
    assert terms(most, 2 * packed_gemm.TERMS) == packed_gemm.TERMS
    assert terms(most + 1, 2 * packed_gemm.TERMS) == packed_gemm.TERMS // 2
    assert terms(4 * most, 100) == 112 and terms(0, 0) > 0
    for m in (1, 97, 276, 471, 1000, 2048):
        for k in (1, 500, 942, 1025, 1954, 5000):
            assert 0 < terms(m, k) <= packed_gemm.TERMS
    engine.close()


STRIDE = 200
RAGGED = [(n % 37 + 1, n, k) for n, k in zip(range(1, STRIDE, 7), range(1, 600, 21), strict=False)]


@pytest.fixture(scope="module")
def ragged(tmp_path_factory: pytest.TempPathFactory) -> build.Program:
    """Entries ``NN`` .. ``TT`` with all extents known when they run: C is the bias plus the product."""
    text = IMPORTS
    for way in WAYS:
        a, b = ("1, 700" if way[0] == "T" else "700, 1"), ("1, 700" if way[1] == "T" else f"{STRIDE}, 1")
        text += f"def {way}(A, B, C, bias, m, n, k):\n"
        text += f"    packed_gemm(A, 0, {a}, B, 0, {b}, C, 0, {STRIDE}, m, n, k, bias, 0, 2)\n    return 0\n"
    words = ("float32*",) * 4 + ("int64",) * 3
    return build.build(text, dict.fromkeys(WAYS, words), name="ragged", folder=tmp_path_factory.mktemp("cache"))


@pytest.mark.parametrize("way", WAYS)
def test_products_of_any_width_agree_with_float64_and_leave_their_neighbours_alone(ragged, way):
    rng = np.random.default_rng(5)
    for m, n, k in [*RAGGED, (0, 50, 30), (9, 50, 0)]:
        lying_a = rng.normal(size=(700, 700)).astype("float32")
        lying_b = rng.normal(size=(700, 700) if way[1] == "T" else (700, STRIDE)).astype("float32")
        bias, out = rng.normal(size=STRIDE).astype("float32"), np.full((m + 1, STRIDE), 99, "float32")
        ragged.call(way, *(x.ctypes.data for x in (lying_a, lying_b, out, bias)), m, n, k)
        a = (lying_a.T if way[0] == "T" else lying_a)[:m, :k].astype(float)
        b = (lying_b.T if way[1] == "T" else lying_b)[:k, :n].astype(float)
        size = np.abs(a) @ np.abs(b) + np.abs(bias[:n])
        assert np.all(np.abs(out[:m, :n] - (a @ b + bias[:n])) <= (k + 1) * 2**-24 * size), (m, n, k)
        assert np.all(out[m:] == 99) and np.all(out[:, n:] == 99)


def product(m: int, n: int, k: int, a_across: bool = False, b_across: bool = False) -> Product:
    one = Count.of(())

    def view(across: bool, rows: int, columns: int) -> View:
        steps = (one, Count.of((rows,))) if across else (Count.of((columns,)), one)
        return View(Buffer("x", "A", (rows, columns)), *steps)

    a, b, c = view(a_across, m, k), view(b_across, k, n), view(False, m, n)
    return Product(None, None, c.buffer, a, b, c, m, n, k, 1)  # type: ignore[arg-type]


@pytest.fixture
def zen(monkeypatch):
    """Products are cut as on Zen 4, whatever this machine is."""
    monkeypatch.setattr(cost, "CUTS", cuts_of(Processor("AuthenticAMD", 2**20, True)))


def test_operands_are_packed_when_the_right_factor_is_large_and_read_badly(zen):
    assert product_method(product(128, 2048, 1024), {}, "float32") == PACKED  # rows two pages apart
    assert product_method(product(512, 1000, 1024), {}, "float32") == PACKED  # many rows, and a level-2 cache full
    assert product_method(product(128, 1000, 1024), {}, "float32") == TILES
    assert product_method(product(512, 400, 320), {}, "float32") == TILES
    assert product_method(product(128, 1000, 3000), {}, "float32") == PACKED  # a panel of 3000 rows
    assert product_method(product(128, 1000, 1024, b_across=True), {}, "float32") == PACKED
    assert product_method(product(2048, 1100, 512, a_across=True), {}, "float32") == PACKED
    assert product_method(product(208, 380, 1452, a_across=True), {}, "float32") == PACKED  # gradient of weights
    assert product_method(product(208, 380, 64, a_across=True), {}, "float32") == TILES  # a small batch
    assert product_method(product(208, 7, 1452, a_across=True), {}, "float32") == TILES  # half a vector of columns
    assert product_method(product(128, 256, 784, b_across=True), {}, "float32") == TILES  # small
    assert product_method(product(1, 2048, 2048), {}, "float32") == TILES
    assert product_method(product(128, 700, 700), {}, "float64") == TILES
    assert product_method(product(128, 1024, 700), {}, "float64") == PACKED


SHAPES_OF_TABLE = [
    (512, 1024, 2048), (1024, 256, 256), (128, 784, 256), (64, 2048, 2048), (64, 256, 256), (1024, 784, 64),
]  # fmt: skip
FAMILIES = {
    ("GenuineIntel", True): [PACKED] * 5 + [TILES],
    ("AuthenticAMD", True): [PACKED, TILES, TILES, PACKED, TILES, TILES],
    ("AuthenticAMD", False): [PACKED] * 5 + [TILES],
}


@pytest.mark.parametrize("vendor, avx512", FAMILIES)
def test_cuts_are_those_that_were_measured_on_the_family_of_the_processor(monkeypatch, vendor: str, avx512: bool):
    """The faster of tiles and packed tiles in the tables of Emerald Rapids, of Zen 4 and of Zen 3. Mutation-checked:
    cuts of the one for the other."""
    monkeypatch.setattr(cost, "CUTS", cuts_of(Processor(vendor, 2**21, avx512)))
    found = [product_method(product(m, n, k), {}, "float32") for m, k, n in SHAPES_OF_TABLE]
    assert found == FAMILIES[vendor, avx512]
    assert cost.CUTS.source == f"measured on {vendor} {'with' if avx512 else 'without'} AVX-512"


def test_cuts_of_a_processor_that_nobody_measured_follow_its_cache():
    """A larger cache leaves more to tiles; with that of Zen 4 the cuts are Zen 4's."""
    unknown = cuts_of(Processor("aarch64", 2**22, False))
    assert unknown == by_arithmetic(2**22) and "by arithmetic" in unknown.source
    assert (unknown.near, unknown.tile_limit, unknown.deep) == (2**21, 2**23, 2**15)
    older = cuts_of(Processor("GenuineIntel", 2**18, False))
    assert (older.near, older.many_rows, older.tile_limit) == (3 * 2**15, 64, 2**19) and "arithmetic" in older.source
    measured = vars(cuts_of(Processor("AuthenticAMD", 2**20, True)))
    assert {**measured, "source": ""} == {**vars(by_arithmetic(2**20)), "source": ""}


def test_the_processor_is_told_by_the_system_or_taken_as_usual(monkeypatch, tmp_path):
    info = tmp_path / "cpuinfo"
    info.write_text("vendor_id\t: GenuineIntel\nflags\t\t: sse avx512f\n\nvendor_id\t: of another core\n")
    monkeypatch.setattr("graphc.lower.processor.INFO", info)
    monkeypatch.setattr("graphc.lower.processor.CACHE", tmp_path / "size")
    assert processor.__wrapped__() == Processor("GenuineIntel", LEVEL_2, True)
    (tmp_path / "size").write_text("512K\n")
    info.unlink()
    there = processor.__wrapped__()
    assert (there.level_2, there.avx512) == (2**19, False)


def test_the_cache_is_that_of_this_machine():
    """Mutation-checked: a name that Python's sysconf does not know, so that each machine had 1 MiB."""
    told = int(CACHE.read_text().strip().removesuffix("K")) * 2**10 if CACHE.exists() else LEVEL_2
    assert processor().level_2 == told


def test_vectors_follow_the_features_that_numba_is_told(monkeypatch):
    """So that programs for an older processor can be tried on a newer one."""
    monkeypatch.setattr(host, "features", host.features.__wrapped__)
    known = host.described()
    monkeypatch.setenv("NUMBA_CPU_FEATURES", "+avx2,+fma,-avx512f")
    assert vector_ir.vector_unit.__wrapped__() == (32, 16)
    assert host.described() != known and "+avx2,-avx512f,+fma" in host.described()
    monkeypatch.setenv("NUMBA_CPU_FEATURES", "+avx512f")
    assert vector_ir.vector_unit.__wrapped__() == (64, 32)


@pytest.mark.skipif(not llvm.get_process_triple().startswith("x86_64"), reason="compiles for an x86-64 level")
@pytest.mark.parametrize("features, wide", [("+avx2,+fma,+avx512f,+avx512vl", True), ("+avx2,+fma,-avx512f", False)])
def test_loops_take_the_widest_vectors_there_are(monkeypatch, features, wide):
    """LLVM prefers those of 32 bytes for this processor. Planted fault, seen to fail: its preference kept."""
    monkeypatch.setattr(host, "features", host.features.__wrapped__)
    monkeypatch.setenv("NUMBA_CPU_FEATURES", features)
    source = "def f(A, n):\n    for t in range(n):\n        A[t] = A[t]*A[t]\n    return 0\n"
    function = build._execute(source, "wide", str)["f"]
    own, _ = target.lower({"f": (function, ("float32*", "int64"))})
    module = linked(own)
    options = {"cpu": "icelake-server", "features": host.wide_flags(), "opt": 3}
    machine = llvm.Target.from_triple(llvm.get_process_triple()).create_target_machine(**options)
    optimize(module, machine)
    assembly = machine.emit_assembly(module)
    assert ("vmulps" in assembly, "%zmm" in assembly) == (True, wide)


@pytest.mark.parametrize("line, wide", [("A[t] = A[t]*A[t]", True), ("A[0] = radd(A[0], A[t])", False)])
def test_units_with_sums_keep_the_vectors_that_llvm_prefers(monkeypatch, line, wide):
    """Planted faults, seen to fail: all units wide, none."""
    loop = f"def f(A, n):\n    for t in range(n):\n        {line}\n    return 0\n"
    source = "from graphc.primitives.names import radd\n" + loop
    own, _ = target.lower({"f": (build._execute(source, "sums", str)["f"], ("float32*", "int64"))})
    asked: list[llvm.TargetMachine] = []
    monkeypatch.setattr(machine_code, "widest", lambda machine: asked.append(machine) or machine)
    machine_code.object_file(tuple(own), *target.target_machines(1))
    assert bool(asked) == wide


def test_a_thread_has_a_machine_for_wide_loops_where_there_are_wide_vectors(monkeypatch):
    [machine] = target.target_machines(1)
    monkeypatch.setattr(host, "wide_flags", host.flags)
    assert machines.widest(machine) is machine
    monkeypatch.setattr(host, "wide_flags", lambda: f"{host.flags()},+sse2")
    assert machines.widest(machine) is machines.widest(machine) is not machine


def test_a_prediction_for_few_rows_packs_nothing_and_has_the_bits_of_one_for_many(monkeypatch, tmp_path):
    """Mutation-checked: always packed, a row of 784-700-700-10 took 390 us instead of 160."""
    monkeypatch.setattr(cost, "CUTS", replace(cost.CUTS, near=0, many_rows=1, many_columns=1))
    monkeypatch.setenv("GRAPHC_CACHE", str(tmp_path))  # else a program that is known is taken, and no text made
    texts, evaluation_text = [], programs.evaluation_text

    def kept(*args: object) -> programs.Lowered:
        texts.append(evaluation_text(*args))
        return texts[-1]

    monkeypatch.setattr(preparing, "evaluation_text", kept)
    rng = np.random.default_rng(2)
    W, b = (rng.normal(size=size) for size in ((40, 50), (50,)))
    z = gc.input("X", ("n", 40)) @ gc.param("W", W.shape, W) + gc.param("b", b.shape, b)
    model = gc.Model(output=gc.tanh(z), loss=gc.mean(z**2), dtype="float64")
    x = rng.normal(size=(cost.FEWER, 40))
    whole = model.predict(x)
    np.testing.assert_allclose(whole, np.tanh(x @ W + b), rtol=1e-13, atol=1e-14)
    np.testing.assert_array_equal(model.predict(x[:-1]), whole[:-1])
    [text] = [lowered.text.text for lowered in texts]
    few, many = text.partition("if n < 32:")[2].partition("else:")[::2]
    assert few.strip().startswith("gemm(") and many.strip().startswith("packed_gemm(")


@pytest.mark.skipif(not llvm.get_process_triple().startswith("x86_64"), reason="compiles for an x86-64 level")
@pytest.mark.parametrize("cpu", ["x86-64-v3", "x86-64-v4", "znver4", "icelake-server"])
def test_no_sum_of_a_packed_tile_is_spilled_inside_the_loop_over_k(monkeypatch, cpu):
    """Nor do tiles of few registers ask for the right factor, nor does any mask whole columns. Planted faults, seen to
    fail: always asked, always masked, terms written out with sixteen registers, all entries of a term loaded
    before its sums."""
    unit, sums = ((32, 16), [8, 12]) if cpu == "x86-64-v3" else ((64, 32), [16, 24])
    for module in (packed_gemm, packed_kernel, packing):
        monkeypatch.setattr(module, "vector_unit", lambda: unit)
    source = IMPORTS + entry("f", call("packed_gemm", "NN", (64, 2048, 2048), 2))
    function = build._execute(source, "spill", target.replace_numbers)["f"]
    own, units = target.lower({"f": (function, ("float32*",) * 4 + ("int64",))})
    module = linked([*own, *(text for part in units.values() for text in part)])
    machine = llvm.Target.from_triple(llvm.get_process_triple()).create_target_machine(cpu=cpu, opt=3)
    optimize(module, machine)
    assembly = machine.emit_assembly(module)
    tile = re.search(r"^graphc_tile_3_\w+:(.*?)^\.Lfunc_end", assembly, flags=re.MULTILINE | re.DOTALL)
    assert tile is not None and tile[1].count("prefetch") == (2 if unit[1] == 32 else 1)
    stores = len(re.findall(r"vmovups\t%[yz]mm\d+, \d*\(%(?!rsp)\w+\)\n", tile[1]))
    assert stores >= max(sums)  # without masks, where no column is missing
    blocks = re.split(r"^\.LBB\w+:", assembly, flags=re.MULTILINE)
    fused = [block for block in blocks if "vfmadd" in block]
    assert max(block.count("vfmadd") for block in fused) == (8 if unit[1] == 32 else 1) * max(sums)
    assert all(any(block.count("vfmadd") % count == 0 for count in sums) for block in fused)
    for inner in (block.partition("\tj")[0] for block in fused):
        assert not any("rsp" in line for line in inner.splitlines() if "mm" in line)
