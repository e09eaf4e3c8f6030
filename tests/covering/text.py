"""A description as a person would write it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.covering.build import Description

Write = Callable[[list[str], dict[str, Any]], str]
WRITE: dict[str, Write] = {
    "leaf": lambda a, p: f"{p['kind']}({', '.join(map(str, p['shape']))})",
    "labels": lambda a, p: f"{a[0]}[{':, ' * p['axis']}labels({', '.join(map(str, p['shape']))})]",
    "binary": lambda a, p: {"add": f"{a[0]} + {a[1]}", "sub": f"{a[0]} - {a[1]}", "mul": f"{a[0]}*{a[1]}",
                            "div": f"{a[0]}/({a[1]}**2 + 0.5)"}[p["f"]],
    "where": lambda a, p: f"where({a[0]} > {p['above']}, {a[0]}{'/2' if len(a) == 1 else ''}, sin({a[-1]}))",
    "masked": lambda a, p: f"where({p['pattern']} along axis {p['axis']}, {a[0]}, {p['other']})",
    "scalar": lambda a, p: f"{p['f']}({a[0]})", "affine": lambda a, p: f"{a[0]}*{p['times']} + {p['plus']}",
    "square": lambda a, p: f"{a[0]}**2", "matmul": lambda a, p: f"{a[0]} @ {a[1]}",
    "reduce": lambda a, p: f"{p['f']}({a[0]}, axis={p['axis']}{', keepdims=True' if p['keepdims'] else ''})",
    "part": lambda a, p: f"{a[0]}[{':, ' * p['axis']}{':'.join('' if q is None else str(q) for q in p['part'])}]",
    "fixed": lambda a, p: f"{a[0]}[{':, ' * p['axis']}{p['place']}]",
    "pick": lambda a, p: f"{a[0]}[{':, ' * p['axis']}{p['places']}]", "pairs": lambda a, p: f"{a[0]}{p['places']}",
    "expand": lambda a, p: f"{a[0]}[{':, ' * p['axis']}None]",
    "noisy": lambda a, p: f"{a[0]} with noise ({p['kind']})",
    "drawn": lambda a, p: f"random {p['kind']}({', '.join(map(str, p['shape']))})",
    "indexed": lambda a, p: f"{p['kind']}({', '.join(a)})",
}  # fmt: skip


def text_of(description: Description) -> str:
    """One line a step; the loss; the program."""
    lines = []
    for t, (operation, args, options) in enumerate(description["steps"]):
        names = [f"s{a}" for a in args]
        plain = f"{operation}({', '.join([*names, *(f'{k}={v}' for k, v in options.items())])})"
        lines.append(f"s{t} = {WRITE[operation](names, options) if operation in WRITE else plain}")
    loss = " + ".join(f"{closing}(s{t})" for t, closing in description["terms"])
    names = ("mode", "order", "dtype", "limits", "rows", "others", "threads", "seed")
    program = ", ".join(f"{name} {description[name]}" for name in names if name in description)
    return "\n".join([*lines, f"J = {loss}", program])
