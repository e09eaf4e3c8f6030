"""The text around kernels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def module_text(title: str, dtype: str, constants: Mapping[str, int], body: Sequence[str]) -> str:
    """The module: docstring, constants, kernels. The names ``cuda``, ``U``, ``float32``, .. are given to it."""
    big = {"float32": 2.0**23, "float64": 2.0**52}[dtype]
    lines = [f'"""{title}"""', f"f = {dtype}", "INF = f(math.inf)", f"BIG = {big!r}"]
    lines += [f"{name} = {value}" for name, value in constants.items()]
    return "\n".join([*lines, "", "", *body]) + "\n"
