"""The package as users get it: built, installed into empty environments, and tried with several Pythons and versions.

    python -m tests.versions wheel           builds wheel and sdist, installs each, trains XOR and prints its gradient
    python -m tests.versions matrix          the same wheel, and quick tests, with each Python found, and with the
                                             lowest versions that are declared, pinned and newest

Environments lie in build/versions. At the end stands a line a try: how long it took, what its tests said, the versions.
A Python that is not installed is told there, too, and skipped; any is found by its name on the path:
PATH=/opt/python3.14/bin:$PATH make test-matrix.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PLACE, BUILT = ROOT / "build" / "versions", ROOT / "dist"
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
# The first NumPy that is built for a Python is the lowest there.
LOWEST = {f"3.{minor}": [f"numpy=={first}.*"] for minor, first in ((11, "2.0"), (12, "2.0"), (13, "2.1"), (14, "2.3"))}
LOWEST_ANYWHERE = ["sympy==1.13.0"]
QUICK = [f"test_{name}.py" for name in "checkpoint formula hostile cache_damage stack build".split()]
TOOLS = ["pytest", "hypothesis", "pytest-xdist"]


@dataclass(frozen=True)
class Try:
    """A Python, and how the versions of what graphc needs are chosen."""

    python: str
    chosen: str

    @property
    def name(self) -> str:
        return f"py{self.python}-{self.chosen}"

    @property
    def constraints(self) -> list[str]:
        """Arguments of pip."""
        if self.chosen == "pinned":
            return ["-c", str(ROOT / "constraints.txt")]
        return [] if self.chosen == "newest" else [*LOWEST.get(self.python, []), *LOWEST_ANYWHERE]


def run(command: Sequence[str | Path], **options: object) -> None:
    print("$", *(str(c).removeprefix(f"{ROOT}/") for c in command), flush=True)
    subprocess.run([str(c) for c in command], check=True, **options)  # type: ignore[call-overload]


def interpreter(version: str) -> str | None:
    """A Python of that version: on the path, or of pyenv."""
    known = [shutil.which(f"python{version}"), *map(str, Path.home().glob(f".pyenv/versions/{version}.*/bin/python3"))]
    if version == f"{sys.version_info.major}.{sys.version_info.minor}":
        known.insert(0, sys.executable)
    return next((p for p in known if p and _works(p, version)), None)


def _works(python: str, version: str) -> bool:
    """Whether it is that version and can make environments; the name alone may be a shim that fails."""
    code = "import sys, venv, ensurepip; print('%d.%d' % sys.version_info[:2])"
    found = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
    return found.returncode == 0 and found.stdout.strip() == version


def pip(python: Path, *arguments: str) -> None:
    quiet = ["--quiet", "--disable-pip-version-check", "--timeout", "60", "--retries", "5", "--prefer-binary"]
    run([python, "-m", "pip", "install", *quiet, *arguments])


def environment(name: str, python: str) -> Path:
    """The interpreter of an empty environment."""
    run([python, "-m", "venv", "--clear", PLACE / name])
    return PLACE / name / "bin" / "python"


def build() -> tuple[Path, Path]:
    """Wheel and sdist, made anew; the wheel is built from the sdist, as a packager would."""
    shutil.rmtree(BUILT, ignore_errors=True)
    python = environment("build", sys.executable)
    pip(python, "build")
    run([python, "-m", "build", "--outdir", BUILT, ROOT])
    [wheel], [sdist] = BUILT.glob("*.whl"), BUILT.glob("*.tar.gz")
    return wheel, sdist


def check_contents(wheel: Path, sdist: Path) -> None:
    """What must be in them, and what must not."""
    with zipfile.ZipFile(wheel) as file:
        inside = set(file.namelist())
    sources = {str(p.relative_to(ROOT)) for p in (ROOT / "graphc").rglob("*") if p.suffix in (".py", ".pyi", ".typed")}
    sources |= {"graphc/py.typed", "graphc/__init__.pyi"}
    missing, foreign = sources - inside, {n for n in inside if not n.startswith(("graphc/", "graphc-"))}
    with tarfile.open(sdist) as file:
        packed = {n.partition("/")[2] for n in file.getnames()}
    missing |= {"pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "Makefile", "tests/nets.py"} - packed
    if missing or foreign:
        sys.exit(f"missing: {sorted(missing)}; foreign: {sorted(foreign)}")


def smoke(python: Path, cache: Path) -> None:
    """Train XOR and print its gradient, as a user who has nothing but the package; with warnings as errors."""
    folder = cache / "work"
    folder.mkdir(parents=True, exist_ok=True)
    kept = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"GRAPHC_CACHE": str(cache / "code")}
    run([python, "-W", "error", ROOT / "tests" / "typing" / "user.py"], cwd=folder, env=kept)
    told = "import graphc, pathlib, sys; assert pathlib.Path(sys.prefix) in pathlib.Path(graphc.__file__).parents"
    run([python, "-c", told], cwd=folder, env=kept)


def wheel() -> None:
    made, source = build()
    check_contents(made, source)
    for name, package in (("wheel", made), ("sdist", source)):
        python = environment(name, sys.executable)
        pip(python, "-c", str(ROOT / "constraints.txt"), str(package))
        smoke(python, PLACE / name / "cache")
    print(f"{made.name} and {source.name}: built, installed, used")


def missing() -> list[str]:
    """The Pythons that are not here."""
    return [v for v in PYTHONS if interpreter(v) is None]


def tries() -> Iterator[Try]:
    """The pinned versions with every Python, the lowest and the newest with the first and the last that are there."""
    there = [v for v in PYTHONS if v not in missing()]
    yield from (Try(v, "pinned") for v in there)
    yield from (Try(v, chosen) for chosen in ("lowest", "newest") for v in dict.fromkeys((there[0], there[-1])))


def attempt(one: Try, package: Path) -> str:
    """What became of one try, in words."""
    python = environment(one.name, str(interpreter(one.python)))
    cache = PLACE / one.name / "cache"
    try:
        pip(python, *one.constraints, str(package))
        smoke(python, cache)
        pip(python, *(one.constraints if one.chosen == "pinned" else []), *TOOLS)
        shutil.copytree(ROOT / "tests", cache / "work" / "tests", dirs_exist_ok=True)
        shutil.copy(ROOT / "pyproject.toml", cache / "work")
        passed = quick_tests(python, cache)
    except subprocess.CalledProcessError as error:
        return f"FAILED: {' '.join(map(str, error.cmd))[:200]}"
    names = "numpy, sympy, numba, scipy"
    code = f"import {names}; print(*(m.__name__ + ' ' + m.__version__ for m in ({names})))"
    versions = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    return f"{passed}; {versions}"


def quick_tests(python: Path, cache: Path) -> str:
    """How many passed, in pytest's words; what else it says is printed."""
    told = cache / "work" / "pytest.log"
    command = [python, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", *(f"tests/{t}" for t in QUICK)]
    try:
        with told.open("w") as log:
            environment_of = os.environ | {"GRAPHC_CACHE": str(cache / "code"), "PYTHONPATH": ""}
            run(command, cwd=cache / "work", env=environment_of, stdout=log, stderr=subprocess.STDOUT)
    finally:
        print(told.read_text(errors="replace"), flush=True)
    return told.read_text().strip().splitlines()[-1].strip("= ")


def timed(one: Try, package: Path) -> str:
    """What became of a try, and how long it took."""
    started = time.perf_counter()
    said = attempt(one, package)
    return f"{said}; {time.perf_counter() - started:.0f} s in all"


def matrix(only: str) -> None:
    made, source = build()
    check_contents(made, source)
    found = {one.name: timed(one, made) for one in tries() if only in one.name}
    print()
    for name, said in [*found.items(), *((f"py{v}", "skipped: not installed here") for v in missing())]:
        print(f"{name:20s} {said}")
    if not found or any(said.startswith("FAILED") for said in found.values()):
        sys.exit(1)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["wheel", "matrix"])
    parser.add_argument("--only", default="", help="part of the name of a try, such as py3.12 or lowest")
    given = parser.parse_args()
    wheel() if given.what == "wheel" else matrix(given.only)
