"""Which tiers have been seen right on which generation of GPUs: the table that ``make gpu-test`` writes.

A tier that was never seen right on a machine is not chosen there by itself.
"""

from __future__ import annotations

import functools
import json
from dataclasses import asdict
from pathlib import Path

from graphc.records import record

TABLE = Path(__file__).with_name("verified_tiers.json")


@record(frozen=True)
class Seen:
    """All checks of numerics of a tier passed on a GPU.

    Attributes
    ----------
    capability : (int, int)
        The version of the GPU's instruction set.
    tier : str
    gpu, driver, packages, date : str
        Where and when.
    figures : str
        How near to the CPU.
    """

    capability: tuple[int, int]
    tier: str
    gpu: str
    driver: str
    packages: str
    date: str
    figures: str


@functools.cache
def seen(path: Path = TABLE) -> tuple[Seen, ...]:
    """The lines of the table."""
    return tuple(Seen(**line | {"capability": tuple(line["capability"])}) for line in json.loads(path.read_text()))


def tiers_seen(capability: tuple[int, int]) -> set[str]:
    """The tiers that were seen right on a GPU of this capability."""
    return {line.tier for line in seen() if line.capability == capability}


def is_known(capability: tuple[int, int]) -> bool:
    """Whether any tier was seen right on such a GPU."""
    return bool(tiers_seen(capability))


def tiers_seen_anywhere() -> set[str]:
    """The tiers that were seen right on some GPU."""
    return {line.tier for line in seen()}


def write(found: list[Seen], failed: set[tuple[tuple[int, int], str]], path: Path = TABLE) -> None:
    """Put new lines in the place of old ones of the same capability and tier; what has failed goes."""
    new = {(line.capability, line.tier): line for line in [*seen(path), *found]}
    kept = [line for key, line in sorted(new.items()) if key not in failed]
    path.write_text("[\n" + ",\n".join("  " + json.dumps(asdict(line)) for line in kept) + "\n]\n")
    seen.cache_clear()
