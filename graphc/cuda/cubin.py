"""What a kernel takes of a GPU: read from the linker's log, from the machine code (ELF) and from the assembly (PTX)."""

from __future__ import annotations

import re
import struct
from dataclasses import asdict

from graphc.records import record

RESERVED = 1024  # bytes that the system takes of the shared memory of a block, from capability 9.0 on

_DOUBLE = re.compile(r"^\s*(?:@!?%\w+ )?(?!ld|st|mov)\w+\.[\w.:]*f64", re.M)
_DIVISION = re.compile(r"^\s*(?:@!?%\w+ )?(?:div|rem)\.[su]64", re.M)


@record(frozen=True)
class Report:
    """What one kernel takes.

    Attributes
    ----------
    registers : int
        Registers a thread.
    shared : int
        Bytes of shared memory a block, static and dynamic.
    dynamic : int
        The part of ``shared`` whose size is given at launch.
    stack, spilled : int
        Bytes a thread: of its stack frame, and moved between registers and memory for want of registers.
    doubles : int
        Instructions in double precision, conversions included; loads, stores and moves are not counted.
    divisions : int
        64-bit integer divisions, each a loop of about 70 instructions.
    size : int
        Bytes of machine code with its tables.
    """

    registers: int
    shared: int
    dynamic: int
    stack: int
    spilled: int
    doubles: int
    divisions: int
    size: int

    def asdict(self) -> dict[str, int]:
        """The numbers by name."""
        return asdict(self)


def report(log: str, ptx: str, cubin: bytes, entry: str, dynamic: int, capability: tuple[int, int]) -> Report:
    """Collect the numbers. nvJitLink's log leaves static shared memory out, so that comes from the machine code."""
    reserved = RESERVED if capability >= (9, 0) else 0
    static = max(0, sections(cubin).get(f".nv.shared.{entry}", 0) - reserved)
    return Report(
        registers=max(_numbers(r"Used (\d+) registers", log), default=0),
        shared=static + dynamic,
        dynamic=dynamic,
        stack=max(_numbers(r"(\d+) bytes stack frame", log), default=0),
        spilled=sum(_numbers(r"(\d+) bytes spill (?:stores|loads)", log)),
        doubles=len(_DOUBLE.findall(ptx)),
        divisions=len(_DIVISION.findall(ptx)),
        size=len(cubin),
    )


def _numbers(pattern: str, text: str) -> list[int]:
    return [int(found) for found in re.findall(pattern, text)]


def sections(image: bytes) -> dict[str, int]:
    """Size in bytes of every section of an ELF64 file, by name (System V ABI, chapter 4)."""
    if image[:6] != b"\x7fELF\x02\x01":
        raise ValueError("not a little-endian ELF64 file")
    (offset,) = struct.unpack_from("<Q", image, 40)
    size, count, names = struct.unpack_from("<HHH", image, 58)
    headers = [struct.unpack_from("<IIQQQQ", image, offset + k * size) for k in range(count)]
    strings = headers[names][4]
    return {_string(image, strings + header[0]): header[5] for header in headers}


def _string(image: bytes, start: int) -> str:
    return image[start : image.index(b"\0", start)].decode()
