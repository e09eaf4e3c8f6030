"""What machine code must hold where blocks wait for one another, read with NVIDIA's disassembler; needs no GPU."""

from __future__ import annotations

import importlib.util
import re
import subprocess
from pathlib import Path

_LABEL = re.compile(r"^(\.L_\w+):")
_JUMP = re.compile(r"\bBRA\b.*\((\.L_\w+)\)")
_ARRIVAL = re.compile(r"\b(?:RED|REDG|ATOMG|ATOM)\.")
_STRONG = re.compile(r"\bLDG?\.\S*STRONG\.(?:GPU|SYS)")
NEAR = 16  # instructions of a loop that waits, at most


def disassembled(code: bytes, folder: Path) -> list[str]:
    """The instructions of a kernel, a line each, with labels."""
    file = folder / "kernel.cubin"
    file.write_bytes(code)
    found = importlib.util.find_spec("nvidia")
    assert found is not None and found.submodule_search_locations is not None
    tool = next(t for root in found.submodule_search_locations for t in Path(root).rglob("nvdisasm"))
    listed = subprocess.run([tool, "-c", file], capture_output=True, text=True, check=True).stdout.splitlines()
    return [line for line in map(str.strip, listed) if _LABEL.match(line) or line.startswith("/*")]


def arrivals_without_wait(lines: list[str]) -> list[str]:
    """Additions to a word of all blocks that no loop with a strong load follows before the next one."""
    places = [t for t, line in enumerate(lines) if _ARRIVAL.search(line)]
    waits = _waiting_loops(lines)
    ends = [*places[1:], len(lines)]
    return [lines[t] for t, end in zip(places, ends, strict=True) if not any(t < w < end for w in waits)]


def _waiting_loops(lines: list[str]) -> list[int]:
    """Where loops begin that read a word of all blocks again and again."""
    labels = {m[1]: t for t, line in enumerate(lines) if (m := _LABEL.match(line))}
    found = []
    for t, line in enumerate(lines):
        jump = _JUMP.search(line)
        start = labels.get(jump[1], t) if jump else t
        if start < t <= start + NEAR and any(_STRONG.search(x) for x in lines[start:t]):
            found.append(start)
    return found


def careless_assembly(llvm: str) -> list[str]:
    """Inline assembly that touches memory and that the compiler may move or drop."""
    found = re.findall(r'asm\s+(sideeffect )?"([^"]*)", "([^"]*)"', llvm)
    careless = [text for effect, text, clobbers in found if not effect or "~{memory}" not in clobbers]
    return [text for text in careless if re.search(r"\b(?:ld|st|red|atom)\b", text)]
