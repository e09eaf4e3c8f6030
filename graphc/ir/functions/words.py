"""Words: formulas in known functions, one line each."""

from __future__ import annotations

import sympy as sp

from graphc.ir.functions.smooth import sigmoid
from graphc.ir.scalar_table import word

word("silu", lambda x: x * sigmoid(x), "x*sigmoid(x) (Hendrycks and Gimpel 2016).", activation=True, aliases=("swish",))
word(
    "gelu",
    lambda x: x * (1 + sp.erf(x / sp.sqrt(2))) / 2,
    "x*(1 + erf(x/sqrt(2)))/2, the exact form (Hendrycks and Gimpel 2016).",
    activation=True,
)
