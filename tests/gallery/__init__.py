"""Models of the literature, each declared with graphc and written again in JAX; docs/gallery.md shows them."""

from __future__ import annotations

from tests.gallery import (
    factors,
    learning,
    likelihoods,
    matching,
    networks,
    physics,
    regression,
    relations,
    sequences,
    shapes,
)
from tests.gallery.entry import Entry

SUBJECTS = (regression, likelihoods, matching, relations, factors, networks, sequences, shapes, physics, learning)
ROOMS = [m.ROOM for m in SUBJECTS]
ENTRIES: list[Entry] = [entry for room in ROOMS for entry in room.entries]
