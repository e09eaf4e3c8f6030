"""A large batch in blocks of rows: forward and backward over one block after another, while it is in cache.

The batch is divided into at most PARTS parts, whatever the number of threads; a thread takes part after part and goes
through it block by block with memory of its own. The gradient of a part is the sum of its blocks' gradients, each
counted as often as the block has rows, and the parts are added in their order: the bits do not depend on the threads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from graphc.emit.cpu import print_kernels, value_text
from graphc.emit.text import Text, extent, place
from graphc.lower.layout import ALIGN
from graphc.lower.training import PARTS, StepPlan

PARTIALS = "partials"
"""The pointer to what the parts give: gradients, then the scalars, each as the number and what rounding left of it."""

Gather = Callable[[Text, StepPlan, str, str], None]


def print_blocks(
    text: Text,
    step: StepPlan,
    dtype: str,
    scalars: Sequence[str],
    meet: Callable[[Text], None],
    gather: Gather,
) -> None:
    """Gradients and scalars of ``batch_rows`` rows, as if one plan had computed them; every thread has all of them."""
    assert step.batch is not None
    n, total, stride = extent(step.batch), step.layout.total, partial_size(step)
    text.add(f"n_parts = (batch_rows + {n}_cap - 1)//{n}_cap", f"n_parts = n_parts if n_parts < {PARTS} else {PARTS}")
    with text.block("for part_number in range(me, n_parts, team):"):
        text.add(f"part_base = part_number*{stride}", f"fill({PARTIALS}, part_base, f(0.0), {stride})")
        text.add(*(f"sum_{t} = 0.0" for t in range(len(scalars))))
        text.add("part_start = part_number*batch_rows//n_parts", "part_end = (part_number + 1)*batch_rows//n_parts")
        with text.block(f"for part_row in range(part_start, part_end, {n}_cap):"):
            text.add(f"{n} = part_end - part_row if part_end - part_row < {n}_cap else {n}_cap")
            gather(text, step, "at + part_row", n)
            print_kernels(text, step, dtype)
            text.add(f"part_weight = f({n})")
            with text.block(f"for t in range({total}):"):
                text.add(f"{PARTIALS}[part_base + t] = {PARTIALS}[part_base + t] + part_weight*G[t]")
            for t, root in enumerate(scalars):
                text.add(f"sum_{t} = sum_{t} + float({n})*{value_text(step, root)}")
        for t in range(len(scalars)):
            high, low = f"{PARTIALS}[part_base + {total + 2 * t}]", f"{PARTIALS}[part_base + {total + 2 * t + 1}]"
            text.add(f"{high} = f(sum_{t})", f"{low} = f(sum_{t} - float({high}))")
    meet(text)
    _print_sums(text, step, scalars, total, stride)


def _print_sums(text: Text, step: StepPlan, scalars: Sequence[str], total: int, stride: int) -> None:
    """What all parts give, added in their order by every thread for itself."""
    text.add(f"copy(G, 0, {PARTIALS}, 0, {total})")
    with text.block("for part in range(1, n_parts):"), text.block(f"for t in range({total}):"):
        text.add(f"G[t] = G[t] + {PARTIALS}[part*{stride} + t]")
    text.add("part_weight = f(1.0/float(batch_rows))")
    with text.block(f"for t in range({total}):"):
        text.add("G[t] = part_weight*G[t]")
    for t, root in enumerate(scalars):
        b = step.plan.buffers[step.plan.roots[root]]
        text.add("total = 0.0")
        with text.block("for part in range(n_parts):"):
            at = f"part*{stride} + {total + 2 * t}"
            text.add(f"total = total + (float({PARTIALS}[{at}]) + float({PARTIALS}[{at} + 1]))")
        text.add(f"{b.region}[{place(b)}] = f(total/float(batch_rows))")


def partial_size(step: StepPlan) -> int:
    """Elements that a part takes, whole cache lines: the gradients, and two for every root."""
    return step.layout.total + -(-2 * len(step.plan.roots) // ALIGN) * ALIGN
