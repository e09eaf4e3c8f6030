"""A process that does checks: ``python -m tests.gpu.worker [--emulated] [--quick]``.

Each line of standard input is the name of a check, each line of standard output what came of it, as JSON. The parent
starts another one when it dies, hangs or says that its GPU is sick. With ``--once NAME`` it does one check and ends
with status 1 when that failed.
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any

from graphc.errors import DeviceError
from tests.benchmarks.child import protocol_stream
from tests.gpu.bench import Bench, LeftOut, Wrong
from tests.gpu.checks import checks


def outcome(name: str, bench: Bench, quick: bool) -> dict[str, Any]:
    """Status, text and figures of a check; ``sick`` when the machine can do no more."""
    began = time.perf_counter()
    try:
        figures = checks(quick, bench.emulated)[name].act(bench)
        found: dict[str, Any] = {"status": "ok", "figures": figures}
    except LeftOut as reason:
        found = {"status": "left out", "text": str(reason)}
    except Wrong as reason:
        found = {"status": "failed", "text": str(reason)}
    except Exception as error:  # noqa: BLE001  whatever goes wrong is the result, and the next check has its turn
        text = " ".join(f"{type(error).__name__}: {error}".split())
        found = {"status": "failed", "text": text, "sick": isinstance(error, DeviceError)}
    return found | {"seconds": time.perf_counter() - began}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.gpu.worker")
    parser.add_argument("--emulated", action="store_true")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--once", metavar="NAME")
    options = parser.parse_args()
    answer, bench = protocol_stream(), Bench(options.emulated)
    if options.once:
        found = outcome(options.once, bench, options.quick)
        answer(found)
        return 0 if found["status"] != "failed" else 1
    for line in sys.stdin:
        answer(outcome(line.rstrip("\n"), bench, options.quick))
    return 0


if __name__ == "__main__":
    sys.exit(main())
