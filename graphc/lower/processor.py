"""What this machine's processor means for matrix products: where tiles that read in place give way to packed ones."""

from __future__ import annotations

import functools
import platform
from dataclasses import replace
from pathlib import Path

from graphc.records import record

INFO = Path("/proc/cpuinfo")
CACHE = Path("/sys/devices/system/cpu/cpu0/cache/index2/size")
LEVEL_2 = 2**20  # bytes, where the system does not tell


@record(frozen=True)
class Processor:
    """Vendor ("AuthenticAMD", "GenuineIntel", or the machine's architecture), bytes of a core's level-2 cache, and
    whether it has AVX-512."""

    vendor: str
    level_2: int
    avx512: bool


@record(frozen=True)
class Cuts:
    """From where products are packed (:func:`graphc.lower.cost.product_method`).

    Attributes
    ----------
    near : int
        Bytes of a right factor that leaves room for the rest in a level-2 cache.
    many_rows, many_columns : int
        Rows that make packing a larger one pay, and columns that make it pay for the left one.
    tile_limit : int
        Bytes of a right factor that tiles of few rows read as it lies, however it lies.
    deep : int
        Bytes of a column of it: a panel of four vectors of 16 columns then takes half of a level-2 cache.
    far : int
        Bytes of both factors, from which a transposed left factor is packed.
    source : str
        Where the numbers come from.
    """

    near: int
    many_rows: int
    many_columns: int
    tile_limit: int
    deep: int
    far: int
    source: str


def by_arithmetic(level_2: int) -> Cuts:
    """Cuts for a processor that nobody measured; with 1 MiB they are those that were measured on Zen 4."""
    half = level_2 // 2
    return Cuts(half, 256, 17, 2 * level_2, half // 64, half, ARITHMETIC)


def of_few_registers(level_2: int) -> Cuts:
    """Cuts for sixteen registers of 32 bytes, whose tiles of four rows read a right factor twice as often as those of
    eight; with 512 KiB they are those that were measured on Zen 3."""
    return replace(by_arithmetic(level_2), near=3 * level_2 // 8, many_rows=64, many_columns=96)


ARITHMETIC = "by arithmetic from the level-2 cache"
FAMILIES = {
    ("AuthenticAMD", True): by_arithmetic(2**20),
    ("AuthenticAMD", False): of_few_registers(2**19),
    ("GenuineIntel", True): Cuts(2**16, 64, 80, 2**20, 2**13, 2**19, ""),
}
"""Vendors, with AVX-512 and without, that were measured: Zen 4 and Zen 3, and Emerald Rapids, where packed tiles take
0.7 to 0.85 of the time of others from 64 rows and more than 64 KiB on (docs/cost_model.md)."""


def cuts_of(p: Processor) -> Cuts:
    """The measured ones of its family, else by arithmetic."""
    found = FAMILIES.get((p.vendor, p.avx512))
    if found is None:
        return of_few_registers(p.level_2) if p.vendor == "GenuineIntel" else by_arithmetic(p.level_2)
    return replace(found, source=f"measured on {p.vendor} {'with' if p.avx512 else 'without'} AVX-512")


@functools.cache
def processor() -> Processor:
    """The one of this machine."""
    told = _told()
    return Processor(told.get("vendor_id", platform.machine()), _level_2(), "avx512f" in told.get("flags", "").split())


def _told() -> dict[str, str]:
    """What the system says of its first core."""
    found: dict[str, str] = {}
    try:
        with INFO.open() as lines:
            for line in lines:
                name, colon, value = line.partition(":")
                if not colon:
                    break
                found[name.strip()] = value.strip()
    except OSError:
        return {}
    return found


def _level_2() -> int:
    try:
        found = int(CACHE.read_text().strip().removesuffix("K")) * 2**10
    except (OSError, ValueError):
        return LEVEL_2
    return found if found > 0 else LEVEL_2
