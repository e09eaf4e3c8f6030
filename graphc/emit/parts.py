"""In how many parts an entry is compiled, side by side."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from graphc.lower.kernels import Kernel, work_of

PARTS = "PARTS"
"""The constant of a text that says so."""

LINES, MOST = 30, 8
"""Lines of a part, at least; the most parts."""

WORK = 100_000
"""Operations of a step beside which calls of its parts cost nothing."""

EXTENT = 64
"""A free extent whose capacity nobody knows, for an estimate."""


def parts_of(lines: Sequence[str], kernels: Sequence[Kernel], capacity: Mapping[str, int]) -> list[tuple[str, str]]:
    """The constant for the lines of an entry, a step of which is some kernels; none where it stays whole."""
    parts = min(MOST, len(lines) // LINES)
    extents = defaultdict(lambda: EXTENT, capacity)
    if parts < 2 or sum(work_of(k, extents) for k in kernels) < WORK:
        return []
    return [(PARTS, str(parts))]
