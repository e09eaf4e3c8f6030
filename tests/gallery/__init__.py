"""Models of the literature, each declared with graphc and written again in JAX; docs/gallery.md shows them."""

from __future__ import annotations

from tests.gallery import factors, learning, matching, networks, physics, regression, sequences
from tests.gallery.entry import Entry

ROOMS = [m.ROOM for m in (regression, matching, factors, networks, sequences, physics, learning)]
ENTRIES: list[Entry] = [entry for room in ROOMS for entry in room.entries]
