"""One contestant in a process of its own: ``python -m tests.benchmarks.child PEER MODE WORKLOAD THREADS``.

It builds, compiles and checks its network, prints one JSON line about that, and then answers each line on standard
input, a number of seconds, with one JSON line of step times. It ends with its input.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import os
import resource
import sys
import time
from collections.abc import Callable
from typing import TypeVar

from tests.benchmarks import NotExpressible, Peer
from tests.benchmarks.contestants import PACKAGE
from tests.benchmarks.workloads import WORKLOADS

T = TypeVar("T")
CALL_SECONDS = 0.020  # a timed call lasts at least this long
PARITY_STEPS = (0, 10, 100)


def main(peer: str, mode: str, workload: str, threads: str) -> None:
    answer = protocol_stream()
    seconds, module = timed(importlib.import_module, f"tests.benchmarks.{peer}_peer")
    try:
        contestant, about = start(lambda: module.Peer(WORKLOADS[workload], mode, int(threads)))
    except NotExpressible as reason:
        answer({"skipped": str(reason)})
        return
    answer({"version": importlib.metadata.version(PACKAGE[peer]), "import_s": seconds, **about})
    steps = 0
    for line in sys.stdin:
        steps = steps or steps_per_call(contestant)
        samples = measure(contestant, steps, float(line))
        answer({"samples": samples, "steps_per_call": steps, "peak_rss_mb": peak_rss_mb()})


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


def start(build: Callable[[], Peer]) -> tuple[Peer, dict]:
    """Build a peer and make its first call (a step, or a chunk), then go on to the last step of the parity check."""
    begin = time.perf_counter()
    contestant = build()
    losses = list(contestant.run(1, keep=True))
    first = time.perf_counter() - begin
    wanted = PARITY_STEPS[-1] + 1
    if getattr(contestant, "restarts", False):
        losses = contestant.run(wanted, keep=True)
    while len(losses) < wanted:
        losses += contestant.run(wanted - len(losses), keep=True)
    return contestant, {"first_step_s": first, "losses": [losses[k] for k in PARITY_STEPS]}


def steps_per_call(contestant: Peer) -> int:
    """The number of steps, in whole chunks, after which a call is long enough to be timed."""
    steps = getattr(contestant, "chunk", 1)
    contestant.run(steps)
    while timed(contestant.run, steps)[0] < CALL_SECONDS:
        steps *= 2
    return steps


def measure(contestant: Peer, steps: int, seconds: float) -> list[float]:
    """Seconds per step, one sample a call, for about ``seconds``; at least three samples."""
    samples: list[float] = []
    end = time.perf_counter() + seconds
    while len(samples) < 3 or time.perf_counter() < end:
        samples.append(timed(contestant.run, steps)[0] / steps)
    return samples


def peak_rss_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main(*sys.argv[1:])
