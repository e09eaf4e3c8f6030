"""A search for races in the text of CUDA kernels, without a GPU: every thread in Python, every access on record.

Threads of a block wait for one another at ``cuda.syncthreads``; blocks meet at the barrier of the text itself.  Two
accesses of one place by two threads, one of them a write, with no barrier between them, are a race, unless both write
the same value.
"""

from __future__ import annotations

import math
import threading
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import lru_cache
from types import CodeType, SimpleNamespace
from typing import Any

from numpy.typing import ArrayLike

from graphc.cuda.arrays import DeviceArray
from graphc.cuda.emulator import Emulator, host
from graphc.cuda.machine import Arguments, Loaded
from graphc.emit.cuda.program import CudaProgram
from tests.cuda_lint import lint

_me = threading.local()


class Place:
    """Where a thread stands: its block, its number, barriers of its block and of the grid that it has passed."""

    def __init__(self, block: int, thread: int) -> None:
        self.block, self.thread, self.syncs, self.meetings = block, thread, 0, 0


class Tracked:
    """Memory that knows who touched it last; ``free`` words are for flags and barriers, written by anybody."""

    def __init__(self, name: str, values: Sequence[Any], found: list[str], free: bool = False) -> None:
        self.name, self.values, self.found, self.free = name, list(values), found, free
        self.log: dict[int, list[tuple[int, int, int, int, bool, Any]]] = defaultdict(list)
        self.lock = threading.Lock()

    def __getitem__(self, at: int) -> Any:
        self._note(at, False, self.values[at])
        return self.values[at]

    def __setitem__(self, at: int, value: Any) -> None:
        self._note(at, True, value)
        self.values[at] = value

    def _note(self, at: int, write: bool, value: Any) -> None:
        if self.free:
            return
        p = _me.place
        with self.lock:
            others = [o for o in self.log[at] if o[3] >= p.meetings - 1]
            for block, thread, syncs, meetings, wrote, other in others:
                same = (block, thread) == (p.block, p.thread)
                together = syncs == p.syncs if block == p.block else meetings == p.meetings
                harmless = write and wrote and value == other
                if not same and together and (write or wrote) and not harmless:
                    verb = {True: "writes", False: "reads"}
                    ours = f"thread {p.thread} of block {p.block} {verb[write]}"
                    theirs = f"thread {thread} of block {block} {verb[wrote]}"
                    self.found.append(f"{self.name}[{at}]: {ours} what {theirs}")
            entry = (p.block, p.thread, p.syncs, p.meetings, write, value)
            self.log[at] = [o for o in others if o[:2] != entry[:2] or o[2] == p.syncs] + [entry]


class _Block:
    """What the threads of a block share."""

    def __init__(self, number: int, threads: int, found: list[str]) -> None:
        self.number, self.found = number, found
        self.barrier = threading.Barrier(threads, timeout=60)
        self.arrays: dict[int, Tracked] = {}
        self.places = [Place(number, t) for t in range(threads)]
        self.lock = threading.Lock()

    def array(self, count: int, sizes: Mapping[str, int]) -> Tracked:
        """The next shared array of the text: the same for every thread."""
        with self.lock:
            number = _me.arrays = getattr(_me, "arrays", -1) + 1
            size = count or sizes["dynamic"]
            return self.arrays.setdefault(number, Tracked(f"shared {number}", [math.nan] * size, self.found))


def run(program: CudaProgram, kernel: str, arguments: Mapping[str, Any], threads: int, blocks: int = 1) -> list[str]:
    """Run a kernel and return the races found; arrays of ``arguments`` (lists) are changed in place."""
    found: list[str] = []
    facts = program.kernel(kernel)
    kinds = dict(facts.arguments)
    memory = {n: _tracked(n, arguments[n], kinds[n], found) for n in kinds}
    everyone = [_Block(b, threads, found) for b in range(blocks)]
    function = _namespace(program.text, threads, blocks, facts.shared // 8)[kernel]
    failures: list[Exception] = []

    def work(block: _Block, thread: int) -> None:
        _me.block, _me.place, _me.arrays = block, block.places[thread], -1
        try:
            function(*(memory[n] for n, _ in facts.arguments))
        except Exception as error:  # noqa: BLE001  raised again by the test's own thread
            failures.append(error)
            block.barrier.abort()

    team = [threading.Thread(target=work, args=(b, t), daemon=True) for b in everyone for t in range(threads)]
    for member in team:
        member.start()
    for member in team:
        member.join(120)
    if failures:
        raise failures[0]
    for n, values in memory.items():
        if isinstance(values, Tracked):
            arguments[n][:] = values.values
    return found


def _tracked(name: str, value: Any, kind: str, found: list[str]) -> Any:
    return Tracked(name, value, found, free=kind == "int32[]") if isinstance(value, list) else value


def _namespace(text: str, threads: int, blocks: int, dynamic: int) -> dict[str, Any]:
    cuda = _Cuda(threads, blocks, dynamic)
    names: dict[str, Any] = {
        "cuda": cuda, "arrive": cuda.arrive, "acquire": cuda.acquire, "math": math, "U": lambda x: int(x) & 0xFFFFFFFF,
        "uint64": lambda x: int(x) & 0xFFFFFFFFFFFFFFFF, "int32": int, "float32": float, "float64": float,
    }  # fmt: skip
    names["uint32"] = names["U"]
    exec(_code(text), names)  # noqa: S102  text of our own emitter
    return names


@lru_cache(maxsize=64)
def _code(text: str) -> CodeType:
    """A program is launched hundreds of times."""
    return compile(text, "<kernels>", "exec")


class _Cuda:
    """The names of ``cuda`` for a thread in Python."""

    def __init__(self, threads: int, blocks: int, dynamic: int) -> None:
        self.blockDim, self.gridDim = SimpleNamespace(x=threads), SimpleNamespace(x=blocks)
        self.shared = SimpleNamespace(array=lambda count, dtype: _me.block.array(count, {"dynamic": dynamic}))
        self.lock = threading.Lock()
        self.counter: int | None = None  # the word that counts arrivals

    @property
    def threadIdx(self) -> SimpleNamespace:
        return SimpleNamespace(x=_me.place.thread)

    @property
    def blockIdx(self) -> SimpleNamespace:
        return SimpleNamespace(x=_me.place.block)

    def syncthreads(self) -> None:
        block: _Block = _me.block
        block.barrier.wait()
        _me.place.syncs += 1
        _me.place.meetings = getattr(block, "meetings", 0)
        block.barrier.wait()

    def arrive(self, words: Tracked, at: int) -> None:
        with self.lock:
            words.values[at] += 1
        self.counter = at

    def acquire(self, words: Tracked, at: int) -> int:
        """The word; who sees that all blocks have arrived has met them: to arrive alone is not to meet."""
        time.sleep(0)
        seen = words.values[at]
        if at == self.counter:
            _me.block.meetings = seen // self.gridDim.x
        return seen


class Watched(Emulator):
    """A machine whose kernels run with many threads under observation: races, tiers, what came from the host."""

    def __init__(self, threads: int, blocks: int = 1, memory: int = 1 << 36) -> None:
        super().__init__(memory=memory)
        self.threads, self.blocks, self.found, self.launches = threads, blocks, [], 0
        self.tiers, self.sent, self.uploaded = set(), 0, 0

    def load(self, program: CudaProgram) -> dict[str, Loaded]:
        assert lint(program.text) == []
        self.tiers.add(program.tier)
        return {k.name: Loaded(k, program, self.blocks) for k in program.kernels}

    def upload(self, target: DeviceArray, values: ArrayLike) -> None:
        self.uploaded += 1
        super().upload(target, values)

    def send(self, target: DeviceArray, values: ArrayLike) -> None:
        self.sent += 1
        super().send(target, values)

    def launch(self, loaded: Loaded, blocks: int, arguments: Arguments) -> None:
        wanted = {"copies": blocks, "one": 1}.get(loaded.kernel.grid, self.blocks)  # more than a small network asks for
        self._do(lambda: self._run(loaded, wanted, arguments))

    def _run(self, loaded: Loaded, blocks: int, arguments: Arguments) -> None:
        self.launches += 1
        given = {n: arguments[n] for n, _ in loaded.kernel.arguments}
        lists = {n: host(x).tolist() if isinstance(x, DeviceArray) else x for n, x in given.items()}
        self.found += run(loaded.handle, loaded.kernel.name, lists, min(self.threads, loaded.kernel.threads), blocks)
        for n, x in given.items():
            if isinstance(x, DeviceArray):
                host(x)[:] = lists[n]
