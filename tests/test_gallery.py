"""Models of the literature: their losses, gradients and printed derivations, interpreted and compiled, beside JAX."""

from __future__ import annotations

import inspect
import re

import numpy as np
import pytest

import graphc as gc
from graphc.declare.tensor import Tensor
from tests.covering.plain import Plain, in_python
from tests.gallery import ENTRIES, ROOMS, Entry
from tests.graphs import reference
from tests.printed import assert_reads_back

MOST_LINES, WIDTH = 15, 100
TOLERANCE = 1e-11  # of the largest element of a gradient; what is measured is below 1e-14 but for a few
EVERY = 4  # one model of so many is compiled

everyone = pytest.mark.parametrize("entry", ENTRIES, ids=lambda e: e.name)


def assert_exact(found: np.ndarray, exact: np.ndarray, label: str) -> None:
    assert np.shape(found) == np.shape(exact), label
    scale = np.max(np.abs(exact))
    assert scale > 1e-9, f"{label}: nothing but zeros tells nothing"
    assert np.max(np.abs(found - exact)) <= TOLERANCE * scale, (label, np.max(np.abs(found - exact)) / scale)


def labels_of(entry: Entry) -> list[str]:
    return [f"{entry.name}: {x}" for x in ("loss", *(f"dJ/d{p.name}" for p in entry.params))]


def test_there_are_many_models_each_short_and_written_twice():
    assert len(ENTRIES) >= 70 and len({e.name for e in ENTRIES}) == len({e.title for e in ENTRIES}) == len(ENTRIES)
    assert [e.name for e in ENTRIES if len(e.source.splitlines()) > MOST_LINES] == []
    assert [e.name for e in ENTRIES if not re.search(r" \d{4}$", e.citation)] == []
    assert [e.name for e in ENTRIES if "jnp" in e.source or "gc." in inspect.getsource(e.twin)] == []
    assert sum(len(room.entries) for room in ROOMS) == len(ENTRIES)


@everyone
def test_loss_and_gradients_are_those_of_jax(entry):
    """Mutation-checked: a derivative of logsumexp without its denominator, and labels one too small, are seen."""
    feed = {Tensor(leaf): a for leaf, a in zip(entry.leaves, entry.arrays().values(), strict=True)}
    found = reference([entry.loss, *entry.slopes], feed)
    for y, exact, label in zip(found, entry.exact, labels_of(entry), strict=True):
        assert_exact(y, exact, label)


@everyone
def test_the_program_of_loss_and_gradients_computes_what_jax_does(entry):
    """Its text, run as plain Python, without the check of programs, which would find the same."""
    with in_python(Plain(divides=True)) as machine:
        f = gc.compile([entry.loss, *entry.slopes], [Tensor(leaf) for leaf in entry.leaves], "float64", verify=False)
        found = f(*entry.arrays().values())
    assert len(machine.texts) == 1
    for y, exact, label in zip(found, entry.exact, labels_of(entry), strict=True):
        assert_exact(y, exact, label)


COMPILED = [pytest.param(t, marks=[] if t == 0 else pytest.mark.fuzz) for t in range(EVERY)]


@pytest.mark.parametrize("first", COMPILED)
def test_compiled_losses_and_gradients_are_those_of_jax(first):
    """Many models in one program; ``make fuzz`` compiles them all. Mutation-checked: a scattering loop that overwrites
    is seen."""
    batch = ENTRIES[first::EVERY]
    outputs = [y for e in batch for y in (e.loss, *e.slopes)]
    f = gc.compile(outputs, inputs=[Tensor(leaf) for e in batch for leaf in e.leaves], dtype="float64")
    found = f(*(a for e in batch for a in e.arrays().values()))
    exact = [x for e in batch for x in e.exact]
    for y, x, label in zip(found, exact, [x for e in batch for x in labels_of(e)], strict=True):
        assert_exact(y, x, label)


@everyone
def test_every_line_of_a_derivation_reads_back_to_the_numbers_it_stands_for(entry):
    """Mutation-checked: conditions of sums that are not printed are seen."""
    arrays = entry.arrays()
    assert_reads_back(entry.derivation.lines, lambda leaf: arrays[str(leaf.name)])


@everyone
def test_a_derivation_fits_the_page_and_has_no_kronecker_delta_of_its_own(entry):
    d = entry.derivation
    texts = [str(d), d.index(), d.matrix(), d.lecture(), *(d.latex(s) for s in ("index", "matrix", "lecture"))]
    assert all(texts)
    assert max(len(row) for text in texts[:2] for row in text.splitlines()) < WIDTH
    assert [p.name for p in entry.params if f"∂J/∂{p.name}" not in texts[1]] == []
    chosen = re.search(r"gc\.(equal|trace|diagonal)|\[(\w), \2\]", entry.source)  # [i = j] or S[i, i] by the user
    assert chosen or not re.search(r"\[[a-z]=[a-z]\]", texts[1])
