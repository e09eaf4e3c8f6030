"""Products with a transposed left factor go through their sum in blocks, and have the bits of one pass."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from graphc.native import build
from graphc.native.build import Program
from graphc.primitives.matmul import blocks
from graphc.primitives.matmul.gemm import MANY
from graphc.primitives.matmul.vector_ir import vector_unit
from tests.test_gemm import assert_close, exact, operands, padded

MOST = 210  # rows, and how far the rows of the sum lie apart in A
CALLS = {f"mode_{mode}": f"gemm(A, 3, 1, {MOST}, B, 5, 40, 1, C, 7, 40, m, 40, k, b, 2, {mode})" for mode in range(3)}
CALLS["narrow"] = f"gemm(A, 3, 1, {MOST}, B, 5, 7, 1, C, 7, 7, m, 7, k, b, 2, 0)"
CALLS["literal"] = f"gemm(A, 3, 1, {MOST}, B, 5, 40, 1, C, 7, 40, 200, 40, 96, b, 2, 2)"
CALLS["around"] = f"contract(A, 3, 1, {15 * MOST}, {5 * MOST}, {MOST}, B, 5, 600, 200, 40, C, 7, 40, m, 40, n, 3, k)"
WIDTHS = range(33, 33 + MANY + 3)
CALLS["shared"] = "\n    ".join(
    f"if n == {n}:\n        gemm(A, 3, 1, {MOST}, B, 5, {n}, 1, C, 7, {n}, m, {n}, k, b, 2, 2)" for n in WIDTHS
)
KINDS = ("float32", "float64")


@pytest.fixture(scope="module", params=KINDS)
def programs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Program, Program, str]:
    """In blocks, in one pass."""
    text = "\n".join(f"def {name}(A, B, C, b, m, n, k):\n    {call}\n    return 0\n" for name, call in CALLS.items())
    text = "from graphc.primitives.matmul.gemm import contract, gemm\n" + text
    words = (request.param + "*",) * 4 + ("int64",) * 3
    found = []
    with pytest.MonkeyPatch.context() as patch:
        for registers in (vector_unit()[1], 0):
            patch.setattr(blocks, "REGISTERS", registers)
            folder: Path = tmp_path_factory.mktemp("cache")
            found.append(build.build(text, dict.fromkeys(CALLS, words), name="blocks", folder=folder))
    return *found, request.param


def run(program: Program, entry: str, buffers: list[np.ndarray], m: int, n: int, k: int) -> np.ndarray:
    given = [padded(x, before, x.dtype.name) for x, before in zip(buffers, (3, 5, 7, 2), strict=True)]
    program.call(entry, *(x.ctypes.data for x in given), m, n, k)
    c = buffers[2]
    assert np.all(given[2][:7] == 99) and np.all(given[2][7 + c.size :] == 99), "a store left the result"
    return given[2][7 : 7 + c.size].reshape(c.shape)


@pytest.mark.parametrize("m", [0, 1, 5, 11, 97, 103, 200])
@pytest.mark.parametrize("k", [0, 1, 32, 33, 97])
@pytest.mark.parametrize("name", CALLS)
def test_blocks_have_the_bits_of_one_pass(programs: tuple[Program, Program, str], name: str, m: int, k: int):
    """Planted faults, seen to fail: a block that begins anew; the rows that are left computed twice; a sum without
    terms that is not begun; a second sum around that forgets the first; a shared panel that is always fresh."""
    *pair, kind = programs
    mode = {"mode_1": 1, "mode_2": 2, "literal": 2, "shared": 2}.get(name, 0)
    n = {"narrow": 7, "shared": WIDTHS[-1]}.get(name, 40)
    m, k = (200, 96) if name == "literal" else (m, k)
    times = k % 3 if name == "around" else n
    k = min(k, 5) if name == "around" else k
    a, b, c, bias = operands(m + k, MOST, n, 150 if name == "around" else max(k, 1), kind)
    got, alone = (run(program, name, [a.T.copy(), b, c[:m], bias], m, times, k) for program in pair)
    assert got.tobytes() == alone.tobytes()
    if name != "around":
        assert_close(got, exact(mode, a[:m, :k], b[:k], c[:m], bias).astype(kind), k)
        return
    at = [15 * p + 5 * q + t for p in range(times) for q in range(3) for t in range(k)]
    assert_close(got, exact(0, a[:m, at], b[at], c[:m], bias).astype(kind), len(at))
