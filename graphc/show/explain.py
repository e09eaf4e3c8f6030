"""The stages of a model as pages that print: formula, gradient, rewritten, kernels, plan, source."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import sympy

from graphc.ir.affine import Extent
from graphc.ir.node import Node
from graphc.ir.scalar import cost
from graphc.lower.cost import PACKED, product_method
from graphc.lower.expected import Expected
from graphc.lower.kernels import Blocks, Contraction, Kernel, Nest, Pack, Product, Steps, caption_of
from graphc.lower.layout import Count
from graphc.lower.loop_fusion import joined
from graphc.lower.plan import Plan
from graphc.lower.tiers import Choice, method_of, slow_sums, stages_for
from graphc.records import record
from graphc.rewrite.normal import Applied
from graphc.show.derivation import Derivation
from graphc.show.notebook import preformatted

LONGEST = 60  # characters of a formula in a table


@record(frozen=True)
class Page:
    """A text that prints itself, in a notebook too."""

    text: str

    def __str__(self) -> str:
        return self.text

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return preformatted(self.text)


def formula_page(derivation: Derivation) -> Page:
    """What the user declared, in normal form: the forward lines of a derivation."""
    count = sum(line.number is None for line in derivation.lines)
    return Page("\n".join(derivation.rows(derivation.lines[:count])))


def gradient_page(derivation: Derivation, notes: Sequence[str] = ()) -> Page:
    """The derivation of all gradients, and below what does not stand in it."""
    return Page("\n".join([str(derivation), *(f"note: {note}" for note in notes)]))


REWRITTEN = ("rule", "before", "after", "where")


def rewritten_page(applied: Sequence[Applied]) -> Page:
    """The rules that fired: rule, before, after, where; and below, why."""
    if not applied:
        return Page("No rule fired: everything is computed as written.")
    reasons = dict.fromkeys(f"{a.rule}: {a.why}" for a in applied)
    return Page(table(REWRITTEN, rewritten_rows(applied)) + "\n\n" + "\n".join(reasons))


def rewritten_rows(applied: Sequence[Applied]) -> list[tuple[str, str, str, str]]:
    """A row for every rule that fired, each once."""
    rows = [(a.rule, shortened(_plain(a.before)), shortened(_plain(a.after)), str(a.origin or "")) for a in applied]
    return list(dict.fromkeys(rows))


KERNELS = ("", "equation", "shape", "method", "operations")
PLAN = ("buffer", "shape", "bytes", "offset", "kernels", "holds")


def kernels_page(plan: Plan, dtype: str, captions: Mapping[Node, str] | None = None) -> Page:
    """Which kernel computes what, in the order they run: equation, shape, method, operations."""
    return Page(table(KERNELS, kernels_rows(plan, dtype, captions)))


def kernels_rows(plan: Plan, dtype: str, captions: Mapping[Node, str] | None = None) -> list[tuple[str, ...]]:
    """A row for every kernel, in the order they run."""
    rows: list[tuple[str, ...]] = []
    follows = {id(k) for phase in plan.phases for group in joined(phase, plan.buffers) for k in group[1:]}
    for number, whole in enumerate(plan.kernels):
        for kernel in whole.kernels if isinstance(whole, Blocks) else [whole]:
            formula = caption_of(kernel, captions or {})
            how = "in the same loops" if id(kernel) in follows else method(kernel, plan, dtype)
            how = f"in blocks of {whole.size}" if isinstance(whole, Blocks) else how
            rows.append((str(number), shortened(formula), _shape(kernel.out.extents), how, flops(kernel)))
    return rows


def plan_page(plan: Plan, dtype: str, captions: Mapping[Node, str] | None = None) -> Page:
    """Where the values of a step lie: buffer, shape, bytes, offset in the arena, from which kernel to which."""
    return Page(f"{table(PLAN, plan_rows(plan, dtype, captions))}\n\narena: {arena_bytes(plan, dtype)} bytes")


def arena_bytes(plan: Plan, dtype: str) -> str:
    """How large the arena is."""
    return _bytes(plan.arena, 4 if dtype == "float32" else 8, plan.capacity)


def plan_rows(plan: Plan, dtype: str, captions: Mapping[Node, str] | None = None) -> list[tuple[str, ...]]:
    """A row for every buffer, in the order of their use."""
    size = 4 if dtype == "float32" else 8
    rows: list[tuple[str, ...]] = []
    stored = {id(k.out): caption_of(k, captions or {}) for k in plan.kernels if isinstance(k, Nest) and k.part_of}
    for live in sorted(plan.requests, key=lambda live: (live.start, live.end)):
        buffer = live.buffer
        formula = stored.get(id(buffer)) or (captions or {}).get(buffer.node, "") if buffer.node else ""
        where = (_bytes(buffer.size, size, plan.capacity), _bytes(buffer.offset, size, plan.capacity))
        rows.append((buffer.name, _shape(buffer.extents), *where, f"{live.start}-{live.end}", shortened(formula)))
    return rows


@record(frozen=True)
class Taken:
    """What a kernel takes of a multiprocessor: registers a thread, bytes of shared memory a block, and the share of the
    threads that a multiprocessor holds which it can have there."""

    registers: int
    shared: int
    occupancy: float

    @property
    def cells(self) -> tuple[str, str, str]:
        return str(self.registers), f"{self.shared:,}", f"{self.occupancy:.0%}"


def device_page(
    choice: Choice,
    plan: Plan,
    blas: bool,
    memory: int,
    expected: Sequence[Expected],
    taken: Mapping[str, Taken],
    measured: str = "",
    captions: Mapping[Node, str] | None = None,
) -> Page:
    """The tier of a plan on a GPU; what its threads compute side by side, stage by stage; what each stage costs.

    ``taken`` says what kernels take, by name, where a compiler is there; ``measured`` the time of a step, if known.
    """
    rows = []
    for number, groups in enumerate(stages_for(plan, choice.tier, blas)):
        for group in groups:
            way = method_of(group.head, choice.tier, plan.capacity, blas)
            for t, kernel in enumerate(group.kernels):
                formula, how = caption_of(kernel, captions or {}), "same elements" if t else WAYS[way]
                rows.append((str(number), shortened(formula), _shape(kernel.out.extents), how, flops(kernel)))
    head = [f"tier {choice.tier} ({choice.reason})", f"{choice.blocks} x {choice.threads} threads, {memory:,} bytes"]
    notes = [*([choice.note] if choice.note else []), *slow_sums(plan, choice, blas)]
    if not taken:
        notes.append("registers, shared memory and occupancy need the compiler of the extra cuda13")
    page = "\n".join(head) + "\n\n" + table(("stage", "equation", "shape", "method", "operations"), rows)
    page += "\n\n" + cost_table(choice, expected, taken, measured)
    return Page("\n\n".join([page, *(["\n".join(f"note: {n}" for n in notes)] if notes else [])]))


def cost_table(choice: Choice, expected: Sequence[Expected], taken: Mapping[str, Taken], measured: str) -> str:
    """A line a stage: launches, what its kernel takes, bytes, µs; their sum; what was measured."""
    header = ("", "launches", "registers", "shared", "occupancy", "bytes", "µs expected")
    unknown = ("", "", "")
    rows = []
    for e in expected:
        kernel = taken.get(e.title.replace(" ", "_"))
        rows.append((e.title, str(e.launches), *(kernel.cells if kernel else unknown), f"{e.bytes:,}",
                     f"{e.microseconds:.2f}"))  # fmt: skip
    whole = taken.get("train")
    launches, moved = sum(e.launches for e in expected), sum(e.bytes for e in expected)
    total = f"{sum(e.microseconds for e in expected):.2f}"
    rows.append(("a step", str(launches), *(whole.cells if whole else unknown), f"{moved:,}", total))
    lines = [table(header, rows), "the constants behind µs are those of an H100 (graphc.lower.expected.CONSTANTS)"]
    if choice.tier in ("A", "B"):
        lines.append("all stages are one kernel, launched once for many steps")
    return "\n".join([*lines, *([measured] if measured else [])])


WAYS = {
    "elements": "an element a thread",
    "lanes": "partial sums",
    "tiles": "tiles in shared memory",
    "scatter": "a column a thread",
    "matrices": "a matrix a thread",
    "blas": "library product",
    "steps": "step by step",
    "rows": "step by step, rows of its own a block",
}


def source_page(source: str) -> Page:
    """The program that is compiled, formulas beside its loops."""
    return Page(source)


def method(kernel: Kernel, plan: Plan, dtype: str) -> str:
    """How a kernel computes: loops, emitted tiles, or tiles of packed operands."""
    if not isinstance(kernel, Product | Contraction):
        return kernel.method
    name = product_method(kernel, plan.capacity, dtype)
    return f"{kernel.method} ({'packed tiles' if name == PACKED else 'emitted tiles'})"


def flops(kernel: Kernel) -> str:
    """Weighted scalar operations of one run: a number, or a polynomial of the free extents."""
    if isinstance(kernel, Product):
        return polynomial((kernel.m, kernel.n, kernel.k), 2)
    if isinstance(kernel, Contraction):
        return polynomial(kernel.node.extents, 2)
    if isinstance(kernel, Pack):
        return polynomial((kernel.rows, kernel.columns), 1)
    if isinstance(kernel, Steps):
        found = [flops(k) for k in kernel.kernels]
        return f"{kernel.node.scan.length} ({' + '.join(found)})"
    if isinstance(kernel, Blocks):
        return " + ".join(map(flops, kernel.kernels))
    node = kernel.equation
    return polynomial(node.extents, cost(node.body) + (0 if node.elementwise else 1))


def polynomial(extents: Sequence[Extent], factor: int) -> str:
    """factor times the product of the extents: ``64 n``."""
    number = factor
    names = []
    for e in extents:
        if isinstance(e, int):
            number *= e
        else:
            names.append(e)
    return " ".join([f"{number:,}", *names])


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns of text under a header line."""
    widths = [max(len(row[t]) for row in (header, *rows)) for t in range(len(header))]
    lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in (header, *rows)]
    return "\n".join([lines[0], "  ".join("-" * w for w in widths), *lines[1:]])


def _plain(body: sympy.Expr) -> str:
    """A body with u, v, w, .. for its reads."""
    return re.sub(r"\ba(\d+)\b", lambda m: "uvwxyz"[int(m[1])] if int(m[1]) < 6 else m[0], str(body)).replace("**", "^")


def shortened(text: str, most: int = LONGEST) -> str:
    """The text, cut to what a column of a table holds."""
    return text if len(text) <= most else text[: most - 1] + "…"


def _shape(extents: Sequence[Extent]) -> str:
    return "(" + ", ".join(map(str, extents)) + ")" if extents else "scalar"


def _bytes(count: Count, size: int, capacity: Mapping[str, int]) -> str:
    if all(name in capacity for names, _ in count.terms for name in names):
        return f"{count.at(capacity) * size:,}"
    return f"{size}*({count.text()})"
