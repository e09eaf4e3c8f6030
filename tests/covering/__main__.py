"""``python -m tests.covering``: the long search of ``make fuzz``.

Seeds count on from run to run: the next one stands in the file that ``--counter`` names.  ``--seed 7 --graphs 300``
repeats block 7; ``--seed 7 --only 12`` its graph 12 alone.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

from tests.covering.build import Description
from tests.covering.search import BLOCK, SLOW, Result, examine, graphs_of, keep, report


def main() -> int:
    given = _arguments()
    first = given.seed if given.seed is not None else _count_on(given.counter, -(-given.graphs // BLOCK))
    print(f"make fuzz SEED={first} GRAPHS={given.graphs}", flush=True)
    started, found = time.perf_counter(), Counter[str]()
    for result in _results(given, first):
        place, failure, description = result
        found[failure.kind if failure else "right"] += 1
        report(result, lambda text: print(text, flush=True))
        if failure is not None and failure.kind != SLOW:
            keep(place, failure, description)
    seconds = time.perf_counter() - started
    print(f"{found.total()} graphs in {seconds:.0f} s: {', '.join(f'{n} {kind}' for kind, n in found.most_common())}")
    return int(any(kind not in ("right", SLOW) for kind in found))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.covering", description=__doc__)
    parser.add_argument("--seed", type=int, help="the first block; left out, the one after the last run's")
    parser.add_argument("--graphs", type=int, default=10_000)
    parser.add_argument("--only", type=int, help="one graph of the first block")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="begin no further block after so long")
    parser.add_argument("--counter", type=Path, default=Path(".venv/fuzz-seed"))
    return parser.parse_args()


def _count_on(counter: Path, blocks: int) -> int:
    """The first block of this run; block 0 is that of ``make test``."""
    first = int(counter.read_text()) if counter.exists() else 1
    counter.parent.mkdir(exist_ok=True)
    counter.write_text(str(first + blocks))
    return first


def _results(given: argparse.Namespace, first: int) -> Iterator[Result]:
    if given.only is not None:
        yield examine(f"block {first}, graph {given.only}", graphs_of(first, given.only + 1)[-1])
        return
    began = time.perf_counter()
    for at in range(0, given.graphs, BLOCK):
        if time.perf_counter() - began > given.seconds:
            return
        seed = first + at // BLOCK
        graphs: list[Description] = graphs_of(seed, min(BLOCK, given.graphs - at))
        # a new pool for each: one with max_tasks_per_child may wait for ever when all its processes end at once
        with ProcessPoolExecutor(given.jobs, get_context("spawn")) as pool:
            waiting = [pool.submit(examine, f"block {seed}, graph {k}", d) for k, d in enumerate(graphs)]
            yield from (done.result() for done in as_completed(waiting))


if __name__ == "__main__":
    sys.exit(main())
