"""What a run has seen right, for the table by which graphc chooses tiers (:mod:`graphc.lower.verified_tiers`)."""

from __future__ import annotations

import datetime
import importlib.metadata
import re
from pathlib import Path
from typing import Any

from graphc.cuda import libraries
from graphc.lower import verified_tiers

Line = dict[str, Any]
_TIER = re.compile(r"\btier ([ABCD])\b")
ENOUGH = 4  # networks that a tier must have trained right


def tiers_of(lines: list[Line]) -> dict[str, tuple[list[Line], list[Line]]]:
    """For every tier the checks that passed and those that failed: numerics, bits and sanitizer name it."""
    found: dict[str, tuple[list[Line], list[Line]]] = {}
    for line in lines:
        tier = _TIER.search(line["name"])
        if tier and line["status"] in ("ok", "failed"):
            found.setdefault(tier[1], ([], []))[line["status"] == "failed"].append(line)
    return found


def note(lines: list[Line], gpu: str, path: Path = verified_tiers.TABLE) -> list[str]:
    """Write the tiers that were right, take out those that were wrong; returns a sentence for each."""
    capability, right, wrong, said = libraries.capability(0), [], set(), []
    for tier, (passed, failed) in sorted(tiers_of(lines).items()):
        trained = [x for x in passed if x["section"] == "numerics"]
        if failed:
            wrong.add((capability, tier))
            said.append(f"tier {tier}: wrong in {len(failed)} checks, taken out of the table")
        elif len(trained) >= ENOUGH:
            right.append(_line(capability, tier, gpu, trained))
            said.append(f"tier {tier}: right in {len(passed)} checks, in the table")
    verified_tiers.write(right, wrong, path)
    return said


def _line(capability: tuple[int, int], tier: str, gpu: str, trained: list[Line]) -> verified_tiers.Seen:
    worst = max(float(x["figures"]["losses"]) for x in trained)
    cuda = "CUDA {}.{}".format(*libraries.driver_version())
    packages = f"numba-cuda {importlib.metadata.version('numba-cuda')}"
    figures = f"losses of {len(trained)} trainings within {worst:.0e} of the CPU's"
    return verified_tiers.Seen(capability, tier, gpu, cuda, packages, datetime.date.today().isoformat(), figures)
