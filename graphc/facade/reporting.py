"""One page about a model: what every stage made of it, tied together by ids."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from graphc.declare.names import shape_text
from graphc.facade.atomic_file import write_whole
from graphc.facade.certifying import Certificate, certificate
from graphc.facade.core import Core
from graphc.facade.deriving import captions, derivation
from graphc.facade.inspecting import lowered
from graphc.facade.picturing import graph, others
from graphc.ir.node import Leaf, Origin
from graphc.run.history import Run
from graphc.show import explain as pages
from graphc.show.diagram.boxes import Box
from graphc.show.outline import Line, Outline
from graphc.show.page.curves import charts
from graphc.show.page.document import Part, document
from graphc.show.page.listings import declared, program, symbols
from graphc.show.page.steps import derivation as derivation_list
from graphc.show.page.tags import code, folded, table, text

MANY_LINES = 400  # steps are explained up to so many lines


def report(core: Core, path: Path) -> None:
    """What :meth:`graphc.Model.report` does."""
    write_whole(path, page(core).encode())


def page(core: Core) -> str:
    """The page as HTML."""
    out: Outline | None = None
    lines: list[Line] = []
    if core._loss is not None:
        shown = derivation(core, ())
        out, lines = shown.outline, list(shown.lines)
    lines += others(core, lines)
    picture = graph(core)
    leaves = [*core.all_inputs, *core.param_leaves]
    listing, places = declared([n.origin for n in (*leaves, *(x.node for x in lines)) if n.origin])
    source, loops = _source(core, lines, picture.boxes)
    belongs = _Marks(lines, picture.boxes, places, loops)
    explained = len(lines) <= MANY_LINES
    steps = derivation_list(out, lines, core.graph.applied, belongs.of_lines(), explained)
    parts = [
        Part("graph", "Graph", _graph(picture.svg(belongs.of_boxes()))),
        Part("derivation", "Derivation", _lead(out) + steps),
        Part("declaration", "Declaration", symbols(_leaves(leaves)) + listing),
        Part("stability", "Stability", _rewrites(core)),
        Part("certificate", "Certificate", _certificate(certificate(core, 10.0, None, 100_000))),
        Part("training", "Training and metrics", _training(core.last_run)),
    ]
    if out is not None:
        parts += [
            Part("memory", "Plan and memory", _plan(core), "print(model.explain('plan'))."),
            Part("program", "Generated program", source, "print(model.source())."),
        ]
    count = sum(math.prod(int(e) for e in leaf.shape) for leaf in core.param_leaves)
    lead = f"{count:,} parameters, {core.dtype}, {sum(x.number is None for x in lines)} equations forward"
    return document(f"{core.name}: report", lead, parts)


class _Marks:
    """Which ids belong together: a line of the derivation, its box, the line that declares it, its loops."""

    def __init__(
        self, lines: Sequence[Line], boxes: Sequence[Box], places: Mapping[Origin, str], loops: Mapping[int, str]
    ) -> None:
        self.lines, self.boxes, self.places, self.loops = lines, boxes, places, loops
        self.line = {x.node: t for t, x in enumerate(lines)}

    def own(self, t: int) -> list[str]:
        """What belongs to a line beside itself and its box."""
        origin = self.lines[t].origin
        found = [self.places.get(origin, "") if origin else "", self.loops.get(t, "")]
        return [x for x in found if x]

    def of_boxes(self) -> list[str]:
        """For every box."""
        found = []
        for box in self.boxes:
            held = [self.line[x.node] for x in box.lines if x.node in self.line]
            declared_at = [self.places[x.origin] for x in box.leaves if x.origin and x.origin in self.places]
            every = [y for t in held for y in (f"f-{t}", *self.own(t))] + declared_at
            found.append(" ".join(dict.fromkeys(every)))
        return found

    def of_lines(self) -> dict[int, str]:
        """For every line, its box among them."""
        box = {self.line[x.node]: b for b, each in enumerate(self.boxes) for x in each.lines if x.node in self.line}
        return {
            t: " ".join([*([f"g-{box[t]}"] if t in box else []), *self.own(t)]) for t in range(len(self.lines))
        }


def _source(core: Core, lines: Sequence[Line], boxes: Sequence[Box]) -> tuple[str, dict[int, str]]:
    """The program that trains, and for every line the id of the loops that compute it."""
    if core._loss is None:
        return "", {}
    text_of = captions(core)
    known = {text_of[x.node]: t for t, x in enumerate(lines) if x.node in text_of}
    box = {x.node: b for b, each in enumerate(boxes) for x in each.lines}
    marks = {c: [f"f-{t}", *([f"g-{box[lines[t].node]}"] if lines[t].node in box else [])] for c, t in known.items()}
    shown, ids = program(lowered(core).text.shown, marks)
    return f"<p>One call trains; formulas stand above the loops that compute them.</p>{shown}", {
        known[c]: i for c, i in ids.items() if c in known
    }


def _graph(svg: str) -> str:
    return (
        "<p>Forward goes down on the left, derivatives go up on the right, each beside what it is the derivative of."
        " Point at a box, or reach it with Tab: its formula, the line that declares it and its loop are marked and"
        " shown below. Enter leads to the steps.</p>"
        f'<div class="wide" tabindex="0" role="region" aria-label="Picture of the graph">{svg}</div>'
        '<div id="shown" aria-live="polite">Nothing is marked.</div>'
    )


def _lead(out: Outline | None) -> str:
    if out is None:
        return "<p>The model has no loss: these are its outputs.</p>"
    return "<p>Every line opens: which rule made it, of what. Numbers in parentheses stand in the program, too.</p>"


def _leaves(leaves: Sequence[Leaf]) -> list[tuple[object, ...]]:
    found = []
    for leaf in leaves:
        kind = "parameter" if leaf.kind == "param" else "input" + (" of integers" if leaf.dtype == "int" else "")
        fixed = [e for e in leaf.shape if isinstance(e, int)]
        free = [e for e in leaf.shape if isinstance(e, str)]
        number = " ".join([f"{math.prod(fixed):,}", *free])
        found.append((leaf.name, kind, shape_text(leaf.shape) if leaf.shape else "scalar", number))
    return found


def _rewrites(core: Core) -> str:
    applied = core.graph.applied
    if not applied:
        return "<p>No rule fired: everything is computed as written.</p>"
    rows = [[code(cell) if t < 3 else text(cell) for t, cell in enumerate(row)]
            for row in pages.rewritten_rows(applied)]  # fmt: skip
    why = "".join(f"<li>{code(rule)}: {text(reason)}</li>" for rule, reason in {a.rule: a.why for a in applied}.items())
    return table("Formulas that are computed in another way than written", pages.REWRITTEN, rows) + f"<ul>{why}</ul>"


def _certificate(found: Certificate) -> str:
    ranges = ", ".join(f"{name} in [{low:g}, {high:g}]" for name, (low, high) in found.ranges.items())
    rows = []
    for e in found.equations:
        over = "; ".join(f"{dtype}: {', '.join(parts)}" for dtype, parts in e.overflows.items() if parts)
        inner = re.match(r"t\d+\[", e.equation) and e.verdict == "smooth"  # a part of an equation, without a name
        if (e.gradient or inner) and not over:
            continue
        kind = "" if e.verdict == "smooth" else ' class="bad"'
        bounds = f"[{e.bounds[0]:.4g}, {e.bounds[1]:.4g}]"
        lost = f'<span class="bad">{text(over)}</span>' if over else "none"
        rows.append([code(e.equation), f"<span{kind}>{text(e.verdict)}</span>", text("; ".join(e.reasons)),
                     code(bounds), lost])  # fmt: skip
    said = {
        "smooth": "every equation has all derivatives everywhere",
        "kinked": "continuous, with the subgradients below where it is not smooth",
        "jumps": "it jumps",
        "domain": "it may be undefined",
    }[found.verdict]
    head = f"<p><strong>{text(found.verdict)}</strong>: {said}, for up to {found.rows:,} rows.</p>"
    header = ("equation", "verdict", "where", "values", "may overflow")
    return f"{head}{table('By interval arithmetic', header, rows)}{folded('Ranges that are assumed', text(ranges))}"


def _training(run: Run | None) -> str:
    if run is None:
        return "<p>Not trained yet.</p>"
    rows = [[text(name), f"{value:.6g}"] for name, value in run.latest.items()]
    units = {name: run.unit(name) for name in run.history}
    said = f"{run.steps:,} steps, {run.epochs:,} epochs, seed {run.seed}, on {run.target}: {run.stopped}."
    notes = "".join(f"<p>Note: {text(note)}</p>" for note in run.notes)
    last = table("Means over the last epoch", ("quantity", "value"), rows) if rows else ""
    return f"<p>{text(said)}</p>{notes}{last}{charts(run.history, units)}"


def _plan(core: Core) -> str:
    plan, shown = lowered(core).step.plan, captions(core)
    kernels = [[code(c) for c in row] for row in pages.kernels_rows(plan, core.dtype, shown)]
    buffers = [[code(c) for c in row] for row in pages.plan_rows(plan, core.dtype, shown)]
    return (
        f"<p>One arena of {pages.arena_bytes(plan, core.dtype)} bytes holds all values of a step.</p>"
        + folded("Kernels", table("Kernels, in the order they run", ("number", *pages.KERNELS[1:]), kernels))
        + folded("Buffers", table("Buffers, in the order of use", pages.PLAN, buffers))
    )
