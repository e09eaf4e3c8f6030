"""Every LaTeX formula that is printed is one that KaTeX takes, in strict mode: what notebooks and web pages show.

Not part of a plain run: ``make katex``, where node and npm are found; KaTeX (its version: the Makefile) lies in an
environment of its own. Mutation-checked: a free extent printed as it is named.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import graphc as gc
from graphc.facade.summary import formula
from graphc.ir.scalar import FUNCTIONS, PUBLIC
from graphc.optim.known import OPTIMIZERS
from graphc.show.derivation import Derivation
from graphc.show.latex import STYLES
from tests.gallery import ENTRIES
from tests.printed import EXAMPLES, LAYERS, derivation_of_layers, derivations_of, models_of_example
from tests.test_reading_back import WITHOUT_MODEL, formulas_of, smallest

NODE, MODULES = shutil.which("node"), os.environ.get("NODE_PATH", "")
pytestmark = [
    pytest.mark.katex,
    pytest.mark.skipif(NODE is None, reason="node is not found"),
    pytest.mark.skipif(not (Path(MODULES) / "katex").is_dir(), reason="katex is not installed: make katex"),
]


def complaints(texts: dict[str, str]) -> list[str]:
    """What KaTeX says against the texts, each with its name and the text."""
    command = [str(NODE), str(Path(__file__).with_name("katex_check.js"))]
    bare = [re.sub(r"^\$+|\$+$", "", tex.strip()) for tex in texts.values()]
    ran = subprocess.run(command, input=json.dumps(bare), capture_output=True, text=True, check=True)
    said = json.loads(ran.stdout)
    assert len(said) == len(texts) > 0
    return [f"{name}: {error}\n{tex}" for (name, tex), error in zip(texts.items(), said, strict=True) if error]


def in_all_styles(name: str, d: Derivation) -> Iterator[tuple[str, str]]:
    for style in STYLES if d.outline.gradients else STYLES[:2]:  # a formula alone has no chain rule
        yield f"{name}, {style}", d.latex(style)


def test_derivations_of_the_gallery():
    assert complaints(dict(x for e in ENTRIES for x in in_all_styles(e.name, e.derivation))) == []


def test_derivations_of_gradients():
    def latex(e):
        return in_all_styles(e.name, gc.derive(gc.sum(gc.grad(e.loss, smallest(e)) ** 2)))

    assert complaints(dict(x for e in ENTRIES[::4] for x in latex(e))) == []


def test_layers_and_examples():
    found = [x for name in LAYERS for x in in_all_styles(name, derivation_of_layers(name))]
    for name in sorted({f.stem for f in EXAMPLES.glob("*.py")} - WITHOUT_MODEL):
        for t, model in enumerate(models_of_example(name)):
            for s, d in enumerate(derivations_of(model)):
                found += in_all_styles(f"{name} {t} {s}", d)
    assert complaints(dict(found)) == []


def test_functions_and_their_derivatives():
    found = {}
    for name in PUBLIC:
        for t, y in enumerate(formulas_of(name)):
            if (d := formula(y)).lines:
                found |= dict(in_all_styles(f"{name} {t}", d))
    found |= {f"template of {n}": f.latex.format(*"xyzuvw"[: f.arity]) for n, f in FUNCTIONS.items() if f.arity <= 6}
    assert complaints(found) == []


def test_optimizers_and_schedules():
    made = {name: make(0.1) for name, make in OPTIMIZERS.items()}
    found = {name: rule.latex() for name, rule in made.items()}
    found["a schedule"] = gc.schedules.exponential(0.1, 0.9).latex()
    assert complaints(found) == []


@pytest.mark.parametrize("names", [["é", "données", "größe"], ["Wq_1", "x__y", "hidden_w_2"], ["α", "Δ3", "δ0"]])
def test_names_of_the_user(names):
    a, b, c = names
    X, w = gc.input(b, (c, 3)), gc.param(a, (3, 2), 1.0)
    J = gc.mean(gc.tanh(X @ w).named("Ĥ") ** 2)
    found = dict(in_all_styles(str(names), gc.derive(J)))
    found |= {str(x): x._repr_latex_() for x in (X, w, J)}
    assert complaints(found) == []


def test_what_katex_does_not_take_is_seen():
    assert len(complaints({"two subscripts": "a_i_j", "a letter": r"\mathrm{é}", "right": r"\frac{1}{2}"})) == 2
