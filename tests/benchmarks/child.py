"""One contestant in a process of its own: ``python -m tests.benchmarks.child PEER MODE WORKLOAD THREADS [first]``.

It builds, compiles and checks its network, prints one JSON line about that, and then answers each line on standard
input, a number of seconds, with one JSON line of step times. It ends with its input; with ``first``, after its first
step. Making the data is counted neither in its times nor in its growth of memory.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from tests.benchmarks import NotExpressible, Peer
from tests.benchmarks.drawn import find
from tests.benchmarks.workloads import data

T = TypeVar("T")
CALL_SECONDS = 0.020  # a timed call lasts at least this long
WARM_CALLS = 8


def main(peer: str, mode: str, workload: str, threads: str, until: str = "") -> None:
    answer = protocol_stream()
    w = find(workload)
    data_seconds, _ = timed(data, w)
    import_seconds, module = timed(importlib.import_module, f"tests.benchmarks.{peer}_peer")
    before = resident_mb("VmRSS")
    try:
        contestant, about = first_step(lambda: module.Peer(w, mode, int(threads)))
    except NotExpressible as reason:
        answer({"skipped": str(reason)})
        return
    about |= {"import_s": import_seconds, "data_s": data_seconds, "imported_rss_mb": before}
    about |= {"first_step_peak_mb": resident_mb("VmHWM"), "version": importlib.import_module(peer).__version__}
    if until == "first":
        answer(about)
        return
    answer(about | {"losses": parity_losses(contestant, about["losses"], w.parity)})
    serve(contestant, w.scan, answer)


def serve(contestant: Peer, least: int, answer: Callable[[dict], None]) -> None:
    """Answer every request for step times."""
    steps = 0
    for line in sys.stdin:
        steps = steps or steps_per_call(contestant, least)
        samples = measure(contestant, steps, float(line))
        answer({"samples": samples, "steps_per_call": steps, "peak_rss_mb": resident_mb("VmHWM")})


def protocol_stream() -> Callable[[dict], None]:
    """The real standard output; whatever else is printed in this process goes to standard error."""
    stream = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def answer(message: dict) -> None:
        print(json.dumps(message), file=stream, flush=True)

    return answer


def timed(call: Callable[..., T], *args: object) -> tuple[float, T]:
    """``(seconds, result)`` of one call."""
    begin = time.perf_counter()
    result = call(*args)
    return time.perf_counter() - begin, result


def first_step(build: Callable[[], Peer]) -> tuple[Peer, dict]:
    """Build a peer and make its first call, a step or a chunk; ``at_s`` is a clock that all processes share."""
    built, contestant = timed(build)
    called, losses = timed(contestant.run, 1, True)
    return contestant, {"first_step_s": built + called, "at_s": time.monotonic(), "losses": list(losses)}


def parity_losses(contestant: Peer, losses: list[float], steps: tuple[int, ...]) -> list[float]:
    """The losses after the given numbers of steps, of which the first call gave ``losses``."""
    wanted = steps[-1] + 1
    if getattr(contestant, "restarts", False):
        losses = contestant.run(wanted, keep=True)
    while len(losses) < wanted:
        losses += contestant.run(wanted - len(losses), keep=True)
    return [losses[k] for k in steps]


def steps_per_call(contestant: Peer, least: int) -> int:
    """The number of steps, in whole chunks, after which a call is long enough to be timed.

    It is at least ``least``, for everybody: what a call costs beside its steps is spread over as many. One longer call
    follows, in which who chooses a number of threads by measuring can do so.
    """
    chunk = getattr(contestant, "chunk", 1)
    steps = -(-least // chunk) * chunk
    contestant.run(steps)
    while timed(contestant.run, steps)[0] < CALL_SECONDS:
        steps *= 2
    contestant.run(WARM_CALLS * steps)
    return steps


def measure(contestant: Peer, steps: int, seconds: float) -> list[float]:
    """Seconds per step, one sample a call, for about ``seconds``; at least three samples."""
    samples: list[float] = []
    end = time.perf_counter() + seconds
    while len(samples) < 3 or time.perf_counter() < end:
        samples.append(timed(contestant.run, steps)[0] / steps)
    return samples


def resident_mb(field: str) -> float:
    """Memory of this process: ``VmRSS`` now, ``VmHWM`` at its peak."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{field}:"))


if __name__ == "__main__":
    main(*sys.argv[1:])
