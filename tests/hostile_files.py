"""Files of models that were made to crash, to hang, to reach outside of an array or to bring code with them.

    FILES[name](good)       the bytes of a file, made of those of a good one

What stands in a file is damaged by an edit of the header, or of what is told of a model in it; the checksum is
made anew, since whoever writes a file can write that, too.
"""

from __future__ import annotations

import copy
import json
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
from safetensors.numpy import load, save

from graphc.facade.checkpoint import _digest

Edit = Callable[[Any], Any]
PARAMETER, EQUATION = "the first parameter", "the first equation"
CODE = "x = 1\n__import__('os').abort()\n#"


def header_of(good: bytes) -> tuple[dict[str, Any], bytes]:
    (size,) = struct.unpack("<Q", good[:8])
    return json.loads(good[8 : 8 + size]), good[8 + size :]


def packed(header: bytes | dict[str, Any], content: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + content


def header(edit: Callable[[dict[str, Any]], bytes | dict[str, Any]]) -> Callable[[bytes], bytes]:
    """A file whose header is another one."""
    return lambda good: packed(edit(header_of(good)[0]), header_of(good)[1])


def first(**entries: Any) -> Callable[[bytes], bytes]:
    """A file whose first tensor is described otherwise."""
    return header(lambda h: h | {"param/B0": h["param/B0"] | entries})


def signed(good: bytes, text: str, tensors: dict[str, np.ndarray]) -> bytes:
    return save(tensors, {"graphc": text, "digest": _digest(text, tensors)})


def text(instead: str) -> Callable[[bytes], bytes]:
    """A file that tells something else, with the right checksum."""
    return lambda good: signed(good, instead, load(good))


def told(edit: Edit, where: str = "") -> Callable[[bytes], bytes]:
    """A file that tells of a model what an edit makes of it, with the right checksum."""

    def make(good: bytes) -> bytes:
        about = json.loads(header_of(good)[0]["__metadata__"]["graphc"])
        kinds = {PARAMETER: "param", EQUATION: "equation"}
        part = next(n for n in about["nodes"] if n["kind"] == kinds[where]) if where else about
        edit(part)
        return signed(good, json.dumps(about), load(good))

    return make


def node(where: str, **entries: Any) -> Callable[[bytes], bytes]:
    return told(lambda part: part.update(copy.deepcopy(entries)), where)


def read(place: int, value: Any) -> Callable[[bytes], bytes]:
    """Another number (0) or other terms (1) in the last index map of the first equation's first operand."""
    return told(lambda part: part["operands"][0]["at"][-1].__setitem__(place, value), EQUATION)


def arrays(**entries: np.ndarray) -> Callable[[bytes], bytes]:
    """A file with other arrays, with the right checksum."""

    def make(good: bytes) -> bytes:
        held = {name.replace("/", "_"): name for name in load(good)}
        tensors = load(good) | {held[name]: array for name, array in entries.items()}
        return signed(good, header_of(good)[0]["__metadata__"]["graphc"], tensors)

    return make


FILES: dict[str, Callable[[bytes], bytes]] = {
    # the file
    "empty": lambda good: b"",
    "two bytes": lambda good: b"\1\2",
    "a header of 2**63 bytes": lambda good: struct.pack("<Q", 2**63) + b"{}",
    "a header larger than the file": lambda good: struct.pack("<Q", 10**6) + b"{}",
    "a header of blanks": lambda good: packed(b" " * 10**6),
    "a header of another encoding": lambda good: packed(b'{"\xff\xfe": 1}'),
    "a deep header": lambda good: packed(b'{"a":' + b"[" * 10**5 + b"]" * 10**5 + b"}"),
    "a list as header": lambda good: packed(b"[1, 2]"),
    "a hundred thousand tensors": lambda good: packed(
        {f"t{i}": {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]} for i in range(10**5)}
    ),
    "more content": lambda good: good + b"\0" * 100,
    "less content": lambda good: good[:-4],
    "a negative offset": first(data_offsets=[-4, 12]),
    "overlapping tensors": first(data_offsets=[0, 12]),
    "an offset behind the end": first(data_offsets=[0, 10**9]),
    "offsets that turn round": first(data_offsets=[16, 0]),
    "offsets that overflow": first(data_offsets=[2**64 - 16, 2**64 - 1]),
    "an unknown type": first(dtype="F99"),
    "a type that NumPy lacks": first(dtype="F8_E4M3", shape=[16]),
    "a shape that overflows": first(shape=[2**63, 2**63]),
    "a negative shape": first(shape=[-1]),
    "numbers as texts": header(lambda h: h | {"__metadata__": {"graphc": 5}}),
    # what it tells, with the right checksum
    "a deep text": text("[" * 10**5 + "]" * 10**5),
    "a list": text("[]"),
    "nothing": text("null"),
    "no JSON": text("{"),
    "a number of 10,000 digits": text('{"format": ' + "9" * 10**4 + "}"),
    "another precision": told(lambda h: h.update(dtype="object")),
    "a path as name": told(lambda h: h.update(name="../../x")),
    "roots as a list": told(lambda h: h.update(roots=[1])),
    "a root that is not there": told(lambda h: h["roots"].update(loss=10**9)),
    "a root before the first": told(lambda h: h["roots"].update(loss=-1)),
    "nodes as text": told(lambda h: h.update(nodes="abc")),
    "columns as a number": told(lambda h: h.update(columns=5)),
    "a place behind the data": told(lambda h: h["sampler"].update(position=10**6)),
    "a place before the data": told(lambda h: h["sampler"].update(position=-5)),
    "rules as nothing": told(lambda h: h.update(rules=None)),
    "a step before the first": told(lambda h: h["rules"][0].update(step=-(10**30))),
    "parameters of whole numbers": arrays(param_B0=np.arange(4)),
    "parameters of another shape": arrays(param_B0=np.zeros(5, np.float32)),
    "a body that hangs": node(EQUATION, body="a0**exp(exp(exp(100)))"),
    "a body of half a megabyte": node(EQUATION, body="(" * 500_000),
    "a body as nothing": node(EQUATION, body=None),
    "a negative extent": node(EQUATION, extents=[-3, -3, -3]),
    "an extent beyond any memory": node(EQUATION, extents=[10**30, 4, 3]),
    "code as an extent": node(EQUATION, extents=[CODE, 4, 3]),
    "code as a reducer": node(EQUATION, reducer="os.system"),
    "code as the name of an equation": node(EQUATION, name=CODE),
    "code as the name of a parameter": node(PARAMETER, name=CODE),
    "code as a file": node(EQUATION, origin=[CODE, 1]),
    "more free indices than there are": node(EQUATION, free=99),
    "an index map one too far": read(0, 1),
    "an index map before the first": read(0, -1),
    "an index map with a stride": read(1, [[0, 2]]),
    "an index map of a distance beyond any memory": read(0, 2**63 - 1),
    "an index map with a stride beyond any memory": read(1, [[0, 2**62]]),
    "an index map by numbers that are not whole": read(1, [[{"gather": 0, "at": [[0, []], [0, []]]}, 1]]),
    "a sum over more than there is": told(lambda part: part["extents"].__setitem__(-1, 5), EQUATION),
    "a result that is larger than what it reads": told(lambda part: part["extents"].__setitem__(1, 5), EQUATION),
    "an equation that reads itself": told(lambda part: part["operands"][0].update(read=10**6), EQUATION),
    "an equation that reads from the end": told(lambda part: part["operands"][0].update(read=-1), EQUATION),
    "an unknown kind": node(PARAMETER, kind="evil"),
    "a shape of 10**24 elements": node(PARAMETER, shape=[10**12, 10**12]),
    "an unknown distribution": node(PARAMETER, drawn=["evil", 5]),
    "an update of a parameter": node(PARAMETER, update=3),
    "a constraint that hangs": node(PARAMETER, constraint=["c", "exp(exp(exp(100)))**theta", 0]),
}
