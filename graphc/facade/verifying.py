"""A program is not trusted before it was checked: it runs once on a few rows, beside the formulas as declared.

Losses, metrics, outputs, gradients and the update are compared with the NumPy interpreter, which evaluates the graph
without any rewriting (:mod:`graphc.facade.unrewritten`).  Working memory holds NaN before, so that what is read before
it was written is seen.  Nothing of the model changes.  The verdict is kept beside the program in the cache, under the
key of the declaration.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from graphc.errors import CompilerError
from graphc.facade.agreement import Difference, Feed, Judgement, judge
from graphc.facade.defect import report_on
from graphc.facade.trial import Trial
from graphc.ir.affine import Extent
from graphc.ir.node import Equation, Leaf, Node
from graphc.ir.walk import topological
from graphc.lower.lengths import Lengths, by_extent, has_rows, inner_extents, length
from graphc.native import cache
from graphc.run.sources import Rows

AT_ONCE = 4  # rows that loops take at a time
ROWS = AT_ONCE + 1  # of every free extent at most: a turn of such a loop, and its rest
TRIES = 3  # sets of parameters, when the first say nothing
CHEAP = 100_000  # numbers that go into a program which is run for two numbers of rows
LARGEST = 20_000_000  # elements of an equation that the interpreter may have to hold


def is_verified(key: str) -> bool:
    """Whether a program was found right before, in this process or another."""
    store = cache.open_store()
    return store is not None and store.get(key, cache.VERDICT) is not None


def verify_program(trial: Trial, key: str) -> str:
    """Check a program and keep the verdict under a key; returns what could not be checked, in words.

    Raises
    ------
    CompilerError
        When a result is not what its formula gives.
    """
    if is_too_large(trial):
        return "not checked against its formulas, which are too large for the interpreter"
    unclear: Sequence[int] = ()
    for feed in _feeds(trial.feed):
        judged = _judge(trial, feed)
        wrong = judged.difference and (trial.results[judged.difference.place], judged.difference)
        wrong = wrong or trial.afterwards(feed)
        if wrong:
            _refuse(trial, feed, *wrong)
        unclear = judged.unclear
        if not unclear:
            _other_rows(trial, feed)
            _keep(key)
            return ""
    names = ", ".join(trial.results[t] for t in unclear)
    return f"not checked against its formulas: rounding or overflow decides {names}"


def _other_rows(trial: Trial, feed: Feed) -> None:
    """A program that never has more than four rows shows the rest of its loops with three, where that is cheap."""
    if trial.least >= AT_ONCE or sum(x.size for x in feed.values()) > CHEAP:
        return
    kept = inner_extents(leaf for leaf in feed if leaf.kind == "random")  # what is drawn depends on their size
    less = {leaf: _one_less(leaf, x, kept) for leaf, x in feed.items()}
    if all(less[leaf].shape == x.shape for leaf, x in feed.items()):
        return
    judged = _judge(trial, less)
    if judged.difference is not None:
        _refuse(trial, less, trial.results[judged.difference.place], judged.difference)


def _one_less(leaf: Leaf, x: NDArray, kept: Sequence[str]) -> NDArray:
    part = tuple(slice(n - 1) if isinstance(e, str) and n == AT_ONCE and e not in kept else slice(n)
                 for e, n in zip(leaf.shape, x.shape, strict=True))  # fmt: skip
    return np.asarray(x[part], order="C")


def _keep(key: str) -> None:
    store = cache.open_store()
    if store is not None:
        store.put(key, b"checked", cache.VERDICT)


def _judge(trial: Trial, feed: Feed) -> Judgement:
    graphs = [(trial.declared, trial.given(feed)), (trial.rewritten, feed)]
    return judge(trial.run(feed), graphs, trial.precision, trial.known if feed is trial.feed else None)


def _feeds(feed: Feed) -> Iterator[Feed]:
    """The feed, then others with parameters of moderate size."""
    yield feed
    rng = np.random.default_rng(1)
    for _ in range(TRIES - 1):
        drawn = {w: rng.normal(0, 0.5, x.shape).astype(x.dtype) for w, x in feed.items() if w.kind == "param"}
        yield {**feed, **drawn}


def is_too_large(trial: Trial) -> bool:
    """Whether an equation has more elements than the interpreter may hold."""
    sizes = {e: n for leaf, x in trial.feed.items() for e, n in zip(leaf.shape, x.shape, strict=True)}
    equations = [n for n in topological([*trial.declared(), *trial.rewritten()]) if isinstance(n, Equation)]
    return any(len(y.reads) != 2 and _elements(y.extents, sizes) > LARGEST for y in equations)


def _elements(extents: Sequence[Extent], sizes: Mapping[Extent, int]) -> float:
    return float(np.prod([e if isinstance(e, int) else sizes.get(e, ROWS) for e in extents], dtype=np.float64))


def work_of_interpreter(nodes: Sequence[Node], feed: Feed) -> float:
    """Elements of the iteration spaces of all equations; those of products count little."""
    sizes = {e: n for leaf, x in feed.items() for e, n in zip(leaf.shape, x.shape, strict=True)}
    equations = [n for n in topological(nodes) if isinstance(n, Equation)]
    return sum(_elements(y.extents, sizes) / (20 if len(y.reads) == 2 and y.bound else 1) for y in equations)


def few_rows(arrays: Mapping[Leaf, Any], most: Lengths = ROWS) -> dict[Leaf, NDArray]:
    """At most ``most`` rows of everything that has rows, spread over all of them, and of inner extents as many; on the
    host."""
    spread = lambda rows, count: sorted({int(row) for row in np.linspace(0, rows - 1, count)})
    chosen = {e: spread(rows, length(most, e)) for e, rows in by_extent(arrays).items()}
    hosted: dict[Leaf, Any] = {
        leaf: x if isinstance(x, np.ndarray | Rows) else x.numpy() for leaf, x in arrays.items()
    }
    return {leaf: _some(x, leaf.shape, chosen) if has_rows(leaf) else x for leaf, x in hosted.items()}


def _some(x: Any, shape: Sequence[Extent], chosen: Mapping[str, Sequence[int]]) -> NDArray:
    """The rows that are chosen of every free extent."""
    found = np.asarray(x[chosen[str(shape[0])]], order="C")
    for axis, e in enumerate(shape[1:], 1):
        found = np.take(found, chosen[e], axis) if isinstance(e, str) else found
    return found


def _refuse(trial: Trial, feed: Feed, name: str, difference: Difference) -> NoReturn:
    """Tell what differs, where, and how to repeat it."""
    report = report_on(trial, feed, difference)
    place = f"at [{', '.join(map(str, report.at))}] " if report.at else ""
    script = trial.script(feed)
    lines = [
        f"internal defect: a compiled program computes something else than its formulas; {name} is wrong",
        *([f"  {report.formula}"] if report.formula else []),
        f"  {place}the program gives {report.found:.9g}, the formula {report.exact:.9g}",
        *([f"  at {report.origin}"] if report.origin else []),
        *([f"  a script that repeats it: {script}"] if script else []),
        "  nothing was trained, nothing is lost",
        "  hint: this is a fault of graphc, please report it; verify=False runs the program as it is",
    ]
    raise CompilerError("\n".join(lines))
