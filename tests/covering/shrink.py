"""A description that fails, made small: steps cut away or passed by, extents and options reduced."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tests.covering.build import Description, Leaves, values_of
from tests.covering.libraries import Twin

Fails = Callable[[Description], bool]


def shrink(description: Description, fails: Fails, budget: int = 400) -> Description:
    """The smallest description found that still fails; ``budget`` limits how often that is asked."""
    best, asked = pruned(description), set()
    if not fails(best):
        return description
    while True:
        for candidate in _candidates(best):
            text = repr(candidate)
            if text in asked or budget <= 0:
                continue
            asked.add(text)
            budget -= 1
            if fails(candidate):
                best = candidate
                break
        else:
            return best


def pruned(description: Description) -> Description:
    """Without the steps that no term needs."""
    steps, needed = description["steps"], {t for t, _ in description["terms"]}
    for t in reversed(range(len(steps))):
        needed |= set(steps[t][1]) if t in needed else set()
    number = {t: new for new, t in enumerate(sorted(needed))}
    kept = [[steps[t][0], [number[a] for a in steps[t][1]], steps[t][2]] for t in sorted(needed)]
    return {**description, "steps": kept, "terms": [[number[t], c] for t, c in description["terms"]]}


def _candidates(d: Description) -> Iterator[Description]:
    yield from _fewer_terms(d)
    yield from _simpler_program(d)
    yield from _cut(d)
    yield from _bypassed(d)
    yield from _smaller(d)
    yield from _simpler_steps(d)


def _fewer_terms(d: Description) -> Iterator[Description]:
    for t in range(len(d["terms"])):
        if len(d["terms"]) > 1:
            yield pruned({**d, "terms": d["terms"][:t] + d["terms"][t + 1 :]})


def _simpler_program(d: Description) -> Iterator[Description]:
    simple = {"order": ["first"], "threads": [1], "dtype": ["float64"], "mode": ["function", "training"],
              "limits": ["usual"]}  # fmt: skip
    for name, values in simple.items():
        now = d.get(name, values[0])
        for value in values[: values.index(now)] if now in values else values:
            yield {**d, name: value}
    for name in ("rows", "others"):
        for rows in range(1, d.get(name, 0)):
            yield {**d, name: rows}


def _cut(d: Description) -> Iterator[Description]:
    """A step that reads others becomes a leaf of its shape."""
    shapes = _shapes(d)
    for t in reversed(range(len(d["steps"]))):
        if d["steps"][t][1] and shapes is not None:
            yield pruned(_with(d, t, ["leaf", [], _leaf(shapes[t], 1000 + t)]))


def _leaf(shape: list[Any], key: int) -> dict[str, Any]:
    return {"kind": "input" if any(isinstance(e, str) for e in shape) else "param", "shape": shape, "key": key}


def _shapes(d: Description) -> list[list[Any]] | None:
    """The shape of every step; rows are told from other extents by computing with one row more."""
    found = []
    for more in ({}, {"rows": d["rows"] + 1}, {"others": d.get("others", 0) + 1}):
        try:
            with np.errstate(all="ignore"):
                values = values_of(Twin(np), Leaves({**d, **more}), d)
        except (ValueError, IndexError):
            return None
        found.append([np.shape(v) for v in values])
    return [["n" if b != a else "m" if c != a else a for a, b, c in zip(*step)] for step in zip(*found)]


def _bypassed(d: Description) -> Iterator[Description]:
    """What reads a step reads one of its arguments instead."""
    for t in reversed(range(len(d["steps"]))):
        for a in dict.fromkeys(d["steps"][t][1]):
            steps = [[s[0], [a if x == t else x for x in s[1]], s[2]] for s in d["steps"]]
            terms = [[a if x == t else x, c] for x, c in d["terms"]]
            yield pruned({**d, "steps": steps, "terms": terms})


def _smaller(d: Description) -> Iterator[Description]:
    """An extent reduced wherever it stands, then one axis of one leaf."""
    extents = {e for s in d["steps"] for e in s[2].get("shape", ()) if isinstance(e, int) and e > 1}
    for e in sorted(extents, reverse=True):
        for less in [q for q in (1, 2, 3, e // 2, e - 1) if 0 < q < e]:
            changed = copy.deepcopy(d)
            for s in changed["steps"]:
                if "shape" in s[2]:
                    s[2]["shape"] = [less if x == e else x for x in s[2]["shape"]]
            yield changed
    for t, s in enumerate(d["steps"]):
        shape = s[2].get("shape", [])
        for axis, e in enumerate(shape):
            for less in [q for q in (1, 2, 3) if isinstance(e, int) and q < e]:
                yield _with(d, t, [s[0], s[1], {**s[2], "shape": [*shape[:axis], less, *shape[axis + 1 :]]}])


def _simpler_steps(d: Description) -> Iterator[Description]:
    for t, s in enumerate(d["steps"]):
        if s[0] == "scalar" and s[2]["f"] not in ("sin", "exp"):
            yield _with(d, t, ["scalar", s[1], {"f": "sin"}])
        if s[0] == "leaf" and s[2]["kind"] == "constant":
            yield _with(d, t, ["leaf", [], {**s[2], "kind": "param"}])
        if s[0] == "binary" and s[2]["f"] in ("div", "sub"):
            yield _with(d, t, ["binary", s[1], {"f": "mul"}])
        for name in ("places", "pattern"):
            if s[0] in ("pick", "masked") and len(s[2].get(name, ())) > 1:
                yield _with(d, t, [s[0], s[1], {**s[2], name: s[2][name][:-1]}])
    for t, (y, closing) in enumerate(d["terms"]):
        if closing not in ("sum", "squares"):
            yield {**d, "terms": [*d["terms"][:t], [y, "squares"], *d["terms"][t + 1 :]]}
            yield {**d, "terms": [*d["terms"][:t], [y, "sum"], *d["terms"][t + 1 :]]}


def _with(d: Description, t: int, step: list[Any]) -> Description:
    return {**d, "steps": [*d["steps"][:t], step, *d["steps"][t + 1 :]]}
