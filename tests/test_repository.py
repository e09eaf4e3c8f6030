"""The promises of the repository itself: structure contracts, a cheap import, the public names, the strict mode."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import graphc as gc
from graphc.ir.scalar import PUBLIC

ROOT = Path(__file__).parent.parent
LINT = "from importlinter.cli import lint_imports_command; lint_imports_command()"


def python(*arguments: str, cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run this interpreter in ``cwd``, with ``cwd`` first on its path."""
    env = os.environ | {"PYTHONPATH": str(cwd)} | environment
    return subprocess.run([sys.executable, *arguments], cwd=cwd, env=env, capture_output=True, text=True, timeout=300)


@pytest.fixture
def package_copy(tmp_path: Path) -> Path:
    """A folder with a copy of the package and of its contracts."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.copytree(ROOT / "graphc", tmp_path / "graphc", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    return python("-c", LINT, "--no-cache", cwd=folder, NO_COLOR="1", COLUMNS="200")


def test_the_structure_contracts_hold(package_copy):
    result = lint(package_copy)
    assert result.returncode == 0, result.stdout
    assert "3 kept, 0 broken" in result.stdout


STAGES = "A stage imports only from the stages before it BROKEN"
CIRCLES = "No circle of files, nor of folders within a folder BROKEN"
MACHINE = "Only primitives, native, cuda and interop import numba or llvmlite BROKEN"


@pytest.mark.parametrize(
    ("module", "statement", "broken"),
    [
        ("ir/__init__.py", "from graphc import derive", STAGES),
        ("derive/__init__.py", "import graphc.rewrite", STAGES),
        ("lower/__init__.py", "def f():\n    import graphc.emit", STAGES),
        ("stray.py", "", STAGES),
        ("ir/affine.py", "if False:\n    from graphc.ir.build import equation", CIRCLES),
        ("facade/core.py", "def f():\n    from graphc.facade.fitting import fit", CIRCLES),
        ("emit/__init__.py", "def f():\n    import numba.core", MACHINE),
        ("primitives/memory.py", "def f():\n    import numba.core", MACHINE),
        ("show/__init__.py", "from llvmlite import ir", MACHINE),
    ],
)
def test_a_planted_import_breaks_a_structure_contract(package_copy, module, statement, broken):
    with (package_copy / "graphc" / module).open("a") as file:
        file.write(f"\n{statement}\n")
    result = lint(package_copy)
    assert result.returncode == 1, result.stdout
    assert broken in result.stdout
    assert (MACHINE in result.stdout) == (broken == MACHINE)


def test_a_model_offers_what_a_person_asks_of_it_and_no_more():
    public = [name for name in dir(gc.Model) if not name.startswith("_")]
    assert len(public) <= 25 and {"fit", "sweep", "predict", "evaluate", "derive", "save", "params"} <= set(public)
    X, W = gc.input("X", ("n", 2)), gc.param("W", (2, 1))
    assert [name for name in dir(gc.Model(output=X @ W)) if not name.startswith("_")] == public


def test_importing_graphc_loads_little_and_neither_sympy_nor_numba():
    """What is loaded, not how long it takes: a busy machine must not fail it."""
    code = """
import sys
before = set(sys.modules)
import graphc
loaded = set(sys.modules) - before
print(len(loaded), sorted({"numba", "llvmlite", "numpy", "scipy", "sympy"} & set(sys.modules)))
"""
    count, heavy = python("-c", code).stdout.split(maxsplit=1)
    assert heavy.strip() == "[]" and int(count) < 60


def test_every_public_name_loads():
    assert [name for name in gc.__all__ if not _loads(name)] == []


def _loads(name: str) -> bool:
    try:
        return getattr(gc, name) is getattr(gc, name)
    except (AttributeError, ImportError):
        return False


def test_there_are_at_most_161_public_names_beside_the_functions_of_one_element_and_dir_lists_them():
    assert len(gc.__all__) == len(set(gc.__all__))
    of_one_element = {*PUBLIC, "divmod", "frexp", "modf"}  # those with two results
    assert len(set(gc.__all__) - of_one_element) <= 161
    assert set(gc.__all__) < set(dir(gc))


def test_an_unknown_public_name_is_an_error_with_a_suggestion():
    with pytest.raises(AttributeError, match=r"^module 'graphc' has no attribute 'tahn'; did you mean graphc\.tanh\?$"):
        gc.tahn  # noqa: B018
    with pytest.raises(AttributeError, match=r"'zzzzqq'; dir\(graphc\) lists the public names$"):
        gc.zzzzqq  # noqa: B018


def test_the_folder_derive_does_not_hide_the_function_derive():
    code = "import graphc, graphc.derive, graphc.ir; print('derive' in vars(graphc), 'ir' in vars(graphc))"
    assert python("-c", code).stdout.split() == ["False", "True"]


USER = """
import graphc as gc

x = gc.input("X", ("n", 2))
reveal_type(x.sum(axis=0))
reveal_type((x > 0) & ~(x % 2 < 1))
reveal_type(gc.std(x @ x.T, axis=0))
reveal_type(gc.nn.Dense(3))
gc.losses.mse(gc.sigmoid(x), x).mean(axes=0)
"""


def test_type_checkers_know_the_public_names(tmp_path):
    """The stub beside the package is what they read; a program with one wrong argument has one error.

    Mutation-checked: without the stub nothing is known.
    """
    (tmp_path / "user.py").write_text(USER)
    (tmp_path / "pyrightconfig.json").write_text(f'{{"extraPaths": ["{ROOT}"], "typeCheckingMode": "standard"}}')
    result = python("-m", "basedpyright", "--project", str(tmp_path), "--pythonpath", sys.executable)
    known = re.findall(r'Type of ".*" is "(.*)"', result.stdout)
    assert known == ["Tensor", "Tensor", "Tensor", "Dense"], result.stdout
    assert 'No parameter named "axes"' in result.stdout and "1 error," in result.stdout


SKIPPING = """
import pytest
def test_passes(): pass
def test_skips(): pytest.skip("no such machine")
@pytest.mark.xfail(reason="known")
def test_is_known_to_fail(): assert False
"""


@pytest.fixture
def skipping_suite(tmp_path: Path) -> Path:
    """A test folder under the conftest of this one, with one skip, one skipped file and one expected failure."""
    shutil.copy(ROOT / "tests" / "conftest.py", tmp_path)
    (tmp_path / "test_a.py").write_text(SKIPPING)
    (tmp_path / "test_b.py").write_text("import pytest\npytest.importorskip('no_such_package')\n")
    return tmp_path


def run_pytest(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    options = ("-p", "no:cacheprovider", "--continue-on-collection-errors")
    return python("-m", "pytest", *options, cwd=folder, **environment)


def test_a_skip_is_only_a_skip_in_a_plain_run(skipping_suite):
    result = run_pytest(skipping_suite, GRAPHC_STRICT="")
    assert result.returncode == 0, result.stdout
    assert "1 passed, 2 skipped, 1 xfailed" in result.stdout


def test_a_skip_is_a_failure_in_strict_mode(skipping_suite):
    result = run_pytest(skipping_suite, GRAPHC_STRICT="1")
    assert result.returncode != 0
    assert "GRAPHC_STRICT=1 accepts no skip: Skipped: no such machine" in result.stdout
    assert "GRAPHC_STRICT=1 accepts no skip: Skipped: could not import 'no_such_package'" in result.stdout
    assert "skipped" not in result.stdout.splitlines()[-1]


def test_make_gpu_test_says_what_this_machine_has_and_lacks(tmp_path):
    files = f"--json {tmp_path}/gpu.json --markdown {tmp_path}/gpu.md"
    command = ["make", "gpu-test", f"GPU_PYTHON={sys.executable}", f"ARGS=--sections libraries {files}"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert all(f"\n| {name} | " in result.stdout for name in ("driver", "GPU", "packages", "cublasLt")), result.stderr
    assert (result.returncode == 0) is ("There is no usable GPU" not in result.stderr)


def test_the_pinned_versions_cover_every_declared_dependency():
    files = ("constraints.txt", "tests/cuda_constraints.txt", "docs/constraints.txt")
    pins = [(ROOT / name).read_text() for name in files]
    pinned = set(re.findall(r"^([\w.-]+)==", "\n".join(pins), re.MULTILINE))
    declared = {re.match(r"[\w-]+", r)[0] for r in _requirements() if not r.startswith(("graphc", "torch", "pytensor"))}
    assert declared <= pinned


def _requirements() -> list[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return [*project["dependencies"], *sum(project["optional-dependencies"].values(), [])]


def test_pages_printed_from_the_code_are_up_to_date():
    """In a process of its own: what was derived before changes the order of lines.

    Mutation-checked: a model that is changed is seen.
    """
    result = python("docs/generate.py", "--check")
    assert (result.returncode, result.stdout) == (0, ""), result.stderr
