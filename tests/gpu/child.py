"""One contestant in a process of its own: ``python -m tests.gpu.child PEER MODE WORKLOAD gpu|cpu``.

It builds and checks its network, prints one JSON line about that, and then answers each line on standard input, a
number of seconds, with one JSON line of step times.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any

from tests.benchmarks import NotExpressible
from tests.benchmarks.child import first_step, measure, parity_losses, protocol_stream, timed
from tests.gpu.field import find

CALL_SECONDS = {"gpu": 0.1, "cpu": 0.02}  # a timed call lasts at least this long
LONG_CALL = {"gpu": 0.5, "cpu": 0.05}  # one of graphc, whose call is a whole fit


def main(peer: str, mode: str, workload: str, device: str) -> None:
    answer, w = protocol_stream(), find(workload, small=device == "cpu")
    module = importlib.import_module(f"tests.gpu.{peer}_gpu")
    try:
        contestant, about = first_step(lambda: module.Peer(w, mode, device))
    except NotExpressible as reason:
        answer({"skipped": str(reason)})
        return
    about |= {"version": importlib.import_module(peer).__version__} | getattr(contestant, "facts", {})
    answer(about | {"losses": parity_losses(contestant, about["losses"], w.parity)})
    long_enough = (LONG_CALL if peer == "graphc" else CALL_SECONDS)[device]
    steps = 0
    for line in sys.stdin:
        steps = steps or steps_per_call(contestant, long_enough)
        answer({"samples": measure(contestant, steps, float(line)), "steps_per_call": steps})


def steps_per_call(contestant: Any, long_enough: float) -> int:
    """The number of steps, in whole chunks, after which a call is long enough; it has been made once."""
    steps = getattr(contestant, "chunk", 1)
    contestant.run(steps)
    while (seconds := timed(contestant.run, steps)[0]) < long_enough:
        steps *= max(2, min(64, int(long_enough / max(seconds, 1e-6))))
    return steps


if __name__ == "__main__":
    main(*sys.argv[1:])
