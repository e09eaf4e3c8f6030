"""Curves of a run as SVG: loss and metrics with their validation values, light and dark."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

WIDE, HIGH, LEFT, BELOW, TOP = 640, 220, 64, 34, 12
MOST = 400  # points of a curve
TICKS = 4


def charts(history: Mapping[str, Sequence[float]], units: Mapping[str, str]) -> str:
    """A chart for every quantity, its validation values dashed in the same one."""
    names = [n for n in history if not n.startswith("val_") and history[n]]
    return "".join(_chart(n, {k: history[k] for k in (n, f"val_{n}") if k in history}, units[n]) for n in names)


def _chart(name: str, curves: Mapping[str, Sequence[float]], unit: str) -> str:
    finite = [v for values in curves.values() for v in values if math.isfinite(v)]
    if not finite:
        return f"<p>{escape(name)}: no finite value.</p>"
    low, high = min(finite), max(finite)
    logarithmic = low > 0 and high >= 10 * low
    scale = (lambda v: math.log10(v)) if logarithmic else (lambda v: v)
    bottom, span = scale(low), scale(high) - scale(low) or 1.0
    longest = max(len(values) for values in curves.values())

    def at(t: int, v: float) -> str:
        x = LEFT + (WIDE - LEFT - 10) * (t / max(longest - 1, 1))
        y = TOP + (HIGH - TOP - BELOW) * (1 - (scale(v) - bottom) / span)
        return f"{x:.1f},{y:.1f}"

    rows = []
    for step in range(TICKS + 1):
        level = bottom + span * step / TICKS
        y = TOP + (HIGH - TOP - BELOW) * (1 - step / TICKS)
        label = f"{10**level if logarithmic else level:.3g}"
        rows.append(f'<path class="grid" d="M{LEFT},{y:.1f} H{WIDE - 10}"/>')
        rows.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{label}</text>')
    for key, values in curves.items():
        points = [at(t, v) for t, v in _thinned(values) if math.isfinite(v)]
        kind = "curve val" if key.startswith("val_") else "curve"
        drawn = f'<polyline class="{kind}" points="{" ".join(points)}"/>'
        x, y = points[0].split(",") if points else ("0", "0")
        rows.append(drawn if len(points) > 1 else f'<circle class="{kind}" cx="{x}" cy="{y}" r="3"/>')
    scaled = ", logarithmic" if logarithmic else ""
    rows.append(f'<text x="{LEFT}" y="{HIGH - 8}">{escape(unit)} 1</text>')
    rows.append(f'<text x="{WIDE - 10}" y="{HIGH - 8}" text-anchor="end">{longest}{scaled}</text>')
    said = "; ".join(_said(key, values, unit) for key, values in curves.items())
    legend = " (dashed: validation)" if len(curves) > 1 else ""
    return (
        f'<figure><figcaption>{escape(name)}{legend}: {escape(said)}</figcaption>'
        f'<svg class="chart" viewBox="0 0 {WIDE} {HIGH}" role="img" aria-label="{escape(said)}">{"".join(rows)}</svg>'
        "</figure>"
    )


def _thinned(values: Sequence[float]) -> list[tuple[int, float]]:
    """At most so many points, the last one among them."""
    step = max(1, math.ceil(len(values) / MOST))
    kept = [(t, float(v)) for t, v in enumerate(values) if t % step == 0 or t == len(values) - 1]
    return kept


def _said(name: str, values: Sequence[float], unit: str) -> str:
    return f"{name} from {values[0]:.4g} in {unit} 1 to {values[-1]:.4g} in {unit} {len(values)}"
