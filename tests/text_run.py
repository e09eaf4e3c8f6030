"""Runs the text of a CPU program on whole iteration spaces at once, to see what it reads and writes.

A loop is an axis, and its index an array (:mod:`tests.text_values`).  Where bounds of inner loops, or sizes of
primitives, depend on an index, its turns run one after the other.  Threads run in turn from one meeting to the next.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Generator, Iterable, Mapping, Sequence

import numpy as np

from tests.text_memory import Place, Region
from tests.text_values import BLOCKS, FLOAT, Axis, Memory, UnknownText, Value, Values, along, both, negated

Signal = str | None
STEP = "now"  # the index of a loop over the steps of a scan


@functools.lru_cache(4)
def parsed(text: str) -> ast.Module:
    """The tree of a text, which is run several times."""
    return ast.parse(text)


class Machine(Memory):
    """Runs a program: all threads, one after the other, from meeting to meeting."""

    def __init__(self, text: str, entry: str, regions: Mapping[str, Region]) -> None:
        super().__init__(text, regions)
        tree = parsed(text)
        self.function = next(n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == entry)
        self.known: dict[str, Value] = {"INF": FLOAT}
        for node in tree.body:
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant | ast.BinOp | ast.UnaryOp):
                self.known[node.targets[0].id] = ast.literal_eval(node.value)

    def run(self, scalars: Mapping[str, int], team: int = 1) -> None:
        """One call of all threads."""
        threads = [Thread(self, {**self.known, **scalars, "me": me, "team": team}, me) for me in range(team)]
        running = [thread.run(self.function.body) for thread in threads]
        while True:
            met = [next(thread, None) for thread in running]
            if met == [None] * team:
                return
            if None in met:
                raise UnknownText("not all threads meet")
            self.now.interval = self.clock


class Thread(Values):
    """One thread goes through the statements."""

    # ------------------------------------------------------------------ statements
    def run(self, body: Sequence[ast.stmt]) -> Generator[int, None, Signal]:
        """Statements outside of vector loops; pauses where threads meet."""
        for s in body:
            self.machine.begin_nest()
            self.moment = self.machine.clock
            signal = yield from self._statement(s)
            self.machine.clock = max(self.machine.clock, self.moment + 2)
            if signal:
                return signal
        return None

    def _statement(self, s: ast.stmt) -> Generator[int, None, Signal]:
        if isinstance(s, ast.Return | ast.Break):
            return "return" if isinstance(s, ast.Return) else "break"
        if isinstance(s, ast.Expr) and isinstance(s.value, ast.Call) and s.value.func.id == "meet":
            yield self.value(s.value.args[2])
        elif isinstance(s, ast.While):
            return (yield from self._while(s))
        elif isinstance(s, ast.If):
            return (yield from self._if(s))
        elif isinstance(s, ast.For) and _one_by_one(s):
            for turn in self._range(s):
                self.names[s.target.id] = turn
                yield from self.run(s.body)
        else:
            self.do([s])
        return None

    def _while(self, s: ast.While) -> Generator[int, None, Signal]:
        number = 0
        while self.value(s.test):
            number += 1
            self.machine.begin_step(number)
            signal = yield from self.run(s.body)
            if signal:
                return signal if signal == "return" else None
        return None

    def _if(self, s: ast.If) -> Generator[int, None, Signal]:
        test = self.value(s.test)
        if test is FLOAT:  # looked through, without effect
            kept, self.trial = dict(self.names), True
            self.do([x for x in s.body if not isinstance(x, ast.Break)])
            self.names, self.trial = kept, False
            test = False
        return (yield from self.run(s.body if test else s.orelse))

    def do(self, body: Iterable[ast.stmt]) -> None:
        """Statements on all values of the indices of the loops around them."""
        for s in body:
            if isinstance(s, ast.Assign):
                self._assign(s)
            elif isinstance(s, ast.For):
                self._loop(s)
                continue
            elif isinstance(s, ast.If):
                self._both(s)
            elif isinstance(s, ast.Expr):
                self.value(s.value)
            else:
                raise UnknownText(ast.unparse(s))
            self.moment += 2

    def _assign(self, s: ast.Assign) -> None:
        value, target = self.value(s.value), s.targets[0]
        if isinstance(target, ast.Subscript):
            self.moment += 1
            self._store(target, value)
            self.moment -= 1
            return
        assert isinstance(target, ast.Name)
        old = self.names.get(target.id)
        if self.mask is not True and value is not FLOAT and old is not None and old is not FLOAT:
            value = np.where(self.mask, value, old)
        self.names[target.id] = value
        for region in self.machine.regions.values():
            if target.id in region.moving:  # the part of a buffer that this step takes
                number, size = region.moving[target.id]
                whole = next(p for p in region.places.values() if p.number == number)
                size = whole.start + whole.size - value if size is None else size
                part = region.places[target.id] = Place(target.id, value, size, number)
                if not whole.start <= value <= whole.start + whole.size - size:
                    self.machine.report(s.lineno, part, 0, f"lies outside of {whole.name}")

    def _both(self, s: ast.If) -> None:
        test, before = self.value(s.test), self.mask
        for holds, body in ((test, s.body), (negated(test), s.orelse)):
            self.mask = before if holds is FLOAT else both(before, holds)
            if np.any(self.mask):
                self.do(body)
        self.mask = before

    # ------------------------------------------------------------------ loops
    def _range(self, s: ast.For) -> range:
        assert isinstance(s.iter, ast.Call)
        bounds = [self.value(a) for a in s.iter.args]
        if not all(isinstance(b, int) for b in bounds):
            raise UnknownText(ast.unparse(s.iter))
        return range(*bounds)

    def _loop(self, s: ast.For) -> None:
        turns, start = self._range(s), self.moment
        length, turn = len(turns), self._ticks(s.body)
        if length:
            axis = len(self.axes)
            self.names[s.target.id] = along(axis, np.array(turns))
            self.axes.append(Axis(length, turn))
            self.do(s.body)
            self.axes.pop()
            self._leave(axis)
        self.moment = start + length * turn
        self.machine.clock = max(self.machine.clock, self.moment)

    def _leave(self, axis: int) -> None:
        """After a loop, its names have the values of the last turn."""
        for name, value in self.names.items():
            if isinstance(value, np.ndarray) and value.shape[axis] > 1:
                self.names[name] = value.take([-1], axis)

    def _ticks(self, body: Sequence[ast.stmt]) -> int:
        return sum(self._ticks_of(s) for s in body)

    def _ticks_of(self, s: ast.stmt) -> int:
        if isinstance(s, ast.For):
            return len(self._range(s)) * self._ticks(s.body)
        return 2 + (self._ticks(s.body) + self._ticks(s.orelse) if isinstance(s, ast.If) else 0)


@functools.lru_cache(4096)
def _one_by_one(s: ast.For) -> bool:
    """True for a loop over steps, and when inner loops, or primitives, depend on this loop's index, or names that they
    need are assigned inside."""
    if s.target.id == STEP:
        return True
    nodes = [n for n in ast.walk(s) if type(n) in (ast.Name, ast.For, ast.Call)]
    moved = {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    sizes = [a for n in nodes if isinstance(n, ast.For) and n is not s for a in n.iter.args]
    calls = [n for n in nodes if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)]
    sizes += [a for n in calls if n.func.id in BLOCKS for a in n.args]
    sizes += [n.args[-1] for n in calls if n.func.id in ("copy", "fill")]
    sizes += [n.args[3] for n in calls if n.func.id.startswith("random_")]
    return any(isinstance(n, ast.Name) and n.id in moved for a in sizes for n in ast.walk(a))
