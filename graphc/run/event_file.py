"""Files of events that TensorBoard reads: records with checksums around messages of Protocol Buffers.

A record is the length of its message in eight bytes, a checksum of those, the message, a checksum of it; all little
endian. The checksum is CRC-32C (RFC 3720, B.4), turned and shifted, so that one of data with checksums in them is not
special: https://github.com/tensorflow/tensorflow/blob/master/tensorflow/core/lib/io/record_writer.h. Of event.proto and
summary.proto only the fields that are written here are known.
"""

from __future__ import annotations

import math
import os
import struct
import time
from collections.abc import Mapping
from pathlib import Path

from graphc.late import late

socket = late("socket")

MASK = 0xA282EAD8
STARTED = 1  # SessionLog.START: what was written before for this step and later ones is void


def _table() -> list[int]:
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    return table


_TABLE = _table()


def crc32c(data: bytes) -> int:
    """CRC-32C of some bytes."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ _TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def masked(data: bytes) -> bytes:
    """The checksum as records hold it."""
    crc = crc32c(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + MASK) & 0xFFFFFFFF)


def record(message: bytes) -> bytes:
    """A message with its length and checksums."""
    length = struct.pack("<Q", len(message))
    return length + masked(length) + message + masked(message)


def _varint(value: int) -> bytes:
    groups = bytearray()
    while value > 0x7F:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    groups.append(value)
    return bytes(groups)


def _part(number: int, content: bytes) -> bytes:
    """A field of bytes: a text, or a message in the message."""
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _event(what: bytes, step: int = 0) -> bytes:
    return b"\x09" + struct.pack("<d", time.time()) + b"\x10" + _varint(step) + what


def scalars(values: Mapping[str, float], step: int) -> bytes:
    """The event of some numbers at a step."""
    entries = (_part(1, _part(1, tag.encode()) + b"\x15" + _float(value)) for tag, value in values.items())
    return _event(_part(5, b"".join(entries)), step)


def _float(value: float) -> bytes:
    """Four bytes; what float32 cannot hold is infinite, as a cast would give."""
    try:
        return struct.pack("<f", value)
    except OverflowError:
        return struct.pack("<f", math.copysign(math.inf, value))


class EventFile:
    """A new file in a folder; every event is on its way to the disk when ``add`` returns.

    ``first`` is the step that a run goes on with which was taken up again: what an older file tells of that step and
    later ones is void.
    """

    def __init__(self, folder: Path, first: int | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        name = f"events.out.tfevents.{time.time_ns()}.{socket.gethostname()}.{os.getpid()}"  # read in order of names
        self._file = (folder / name).open("xb")
        self._write(_event(_part(3, b"brain.Event:2")))
        if first is not None:
            self._write(_event(_part(7, b"\x08" + _varint(STARTED)), first))

    def add(self, values: Mapping[str, float], step: int) -> None:
        """Numbers by name at a step."""
        self._write(scalars(values, step))

    def _write(self, message: bytes) -> None:
        self._file.write(record(message))
        self._file.flush()

    def close(self) -> None:
        """The last event was added."""
        self._file.close()
