"""A layered layout (Sugiyama, Tagawa and Toda 1981): ranks by longest paths, order by barycentres, then coordinates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from graphlib import CycleError, TopologicalSorter

from graphc.records import record

SWEEPS = 12
THREAD = 10.0  # width of a place where an edge passes through a row
FOLLOWS = 0.01  # how much a thing that is tied to one other pulls, beside the rest
Edge = tuple[int, int]  # what lies above, what lies below


def ranks(count: int, edges: Sequence[Edge], pairs: Mapping[int, int]) -> list[int]:
    """The row of every vertex, from 0 at the top: as low as what lies below allows, both of a pair in one row.

    Pairs that would make a circle are not kept in one row.
    """
    try:
        depth = _depths(count, edges, pairs)
    except CycleError:
        depth = _depths(count, edges, {})
    deepest = max(depth, default=0)
    return [deepest - d for d in depth]


def _depths(count: int, edges: Sequence[Edge], pairs: Mapping[int, int]) -> list[int]:
    """The length of the longest way down from every vertex."""
    of = [pairs.get(v, v) for v in range(count)]
    below: dict[int, set[int]] = {of[v]: set() for v in range(count)}
    for a, b in edges:
        below[of[a]].add(of[b])
    depth: dict[int, int] = {}
    for v in TopologicalSorter(below).static_order():
        depth[v] = 1 + max((depth[b] for b in below[v]), default=-1)
    return [depth[v] for v in of]


@record
class Placed:
    """Middles of the vertices along the rows; and for every edge the middles where it passes through rows between."""

    x: dict[int, float]
    through: dict[Edge, list[float]]

    @property
    def extent(self) -> tuple[float, float]:
        """Least and largest place where an edge passes through."""
        every = [x for way in self.through.values() for x in way]
        return min(every, default=0.0), max(every, default=0.0)


def arrange(
    rank: Mapping[int, int], edges: Sequence[Edge], widths: Mapping[int, float], first: Sequence[int], gap: float
) -> Placed:
    """Order and coordinates of the vertices of ``rank``; ``first`` is the order to begin with."""
    rows: dict[int, list[int]] = {}
    for v in first:
        rows.setdefault(rank[v], []).append(v)
    wide, chains, links = dict(widths), {}, []
    for a, b in dict.fromkeys(edges):
        chain = [a]
        for row in range(rank[a] + 1, rank[b]):
            thread = -1 - len(wide)
            wide[thread] = THREAD
            rows.setdefault(row, []).append(thread)
            chain.append(thread)
        chains[a, b] = chain[1:]
        links += zip(chain, [*chain[1:], b], strict=True)
    neighbours: dict[int, list[int]] = {v: [] for v in wide}
    row_of = {v: r for r, row in rows.items() for v in row}
    for a, b in links:
        neighbours[a].append(b)
        neighbours[b].append(a)
    _order(rows, row_of, neighbours)
    x = _coordinates(rows, row_of, neighbours, wide, gap)
    return Placed({v: x[v] for v in rank}, {e: [x[t] for t in chain] for e, chain in chains.items()})


def _order(rows: dict[int, list[int]], row_of: Mapping[int, int], neighbours: Mapping[int, Sequence[int]]) -> None:
    """Sweeps down and up: each row sorted by the mean place of its neighbours in the row before; the best is kept."""
    for r, row in rows.items():  # what comes from above and goes on below stands in the middle
        inner = [v for v in row if {row_of[u] > r for u in neighbours[v]} == {True, False}]
        outer = [v for v in row if v not in inner]
        row[:] = [*outer[: len(outer) // 2], *inner, *outer[len(outer) // 2 :]]
    best, fewest = {r: list(row) for r, row in rows.items()}, crossings(rows, row_of, neighbours)
    for sweep in range(SWEEPS):
        step = 1 if sweep % 2 == 0 else -1
        for r in sorted(rows)[::step]:
            place = {v: t for t, v in enumerate(rows.get(r - step, ()))}
            here = {v: t for t, v in enumerate(rows[r])}

            def middle(v: int, r: int = r, place: dict = place, here: dict = here, step: int = step) -> float:
                tied = [place[u] for u in neighbours[v] if row_of[u] == r - step]
                return sum(tied) / len(tied) if tied else here[v]

            rows[r].sort(key=middle)
        found = crossings(rows, row_of, neighbours)
        if found < fewest:
            best, fewest = {r: list(row) for r, row in rows.items()}, found
    rows.update(best)


def crossings(rows: Mapping[int, Sequence[int]], row_of: Mapping[int, int], neighbours: Mapping) -> int:
    """How many pairs of edges cross between neighbouring rows."""
    total = 0
    for r, row in rows.items():
        place = {v: t for t, v in enumerate(rows.get(r + 1, ()))}
        ends = [sorted(place[u] for u in neighbours[v] if row_of[u] == r + 1) for v in row]
        flat = [e for each in ends for e in each]
        total += sum(a > b for t, a in enumerate(flat) for b in flat[t + 1 :])
    return total


def _coordinates(
    rows: Mapping[int, Sequence[int]],
    row_of: Mapping[int, int],
    neighbours: Mapping[int, Sequence[int]],
    wide: Mapping[int, float],
    gap: float,
) -> dict[int, float]:
    """Rows drawn, in turns, to the mean of their neighbours, without changing order or touching.

    Neighbours that are tied to nothing else, such as a bias, follow and do not draw.
    """
    x: dict[int, float] = {}
    for row in rows.values():
        x |= dict(zip(row, spread([0.0] * len(row), [wide[v] for v in row], gap, [1.0] * len(row)), strict=True))
    for sweep in range(2 * SWEEPS):
        for r in sorted(rows, reverse=sweep % 2 == 1):
            row = rows[r]
            tied = [[u for u in neighbours[v] if len(neighbours[u]) > 1] or neighbours[v] for v in row]
            wanted = [sum(x[u] for u in us) / len(us) if us else x[v] for v, us in zip(row, tied, strict=True)]
            pull = [1.0 if len(neighbours[v]) > 1 else FOLLOWS for v in row]
            x |= dict(zip(row, spread(wanted, [wide[v] for v in row], gap, pull), strict=True))
    return x


def spread(wanted: Sequence[float], widths: Sequence[float], gap: float, pull: Sequence[float]) -> list[float]:
    """The middles nearest to ``wanted`` of things in this order that keep a gap: pooled adjacent violators.

    Least squares, where each counts as much as it pulls.
    """
    offsets = [0.0]
    for a, b in zip(widths, widths[1:], strict=False):
        offsets.append(offsets[-1] + (a + b) / 2 + gap)
    pools: list[tuple[float, float, int]] = []  # sum, weight, how many
    for w, o, p in zip(wanted, offsets, pull, strict=False):
        pools.append((p * (w - o), p, 1))
        while len(pools) > 1 and pools[-2][0] / pools[-2][1] > pools[-1][0] / pools[-1][1]:
            a, b = pools.pop(), pools.pop()
            pools.append((a[0] + b[0], a[1] + b[1], a[2] + b[2]))
    flat = [total / weight for total, weight, number in pools for _ in range(number)]
    return [f + o for f, o in zip(flat, offsets, strict=False)]
