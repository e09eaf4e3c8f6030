"""PyTorch's side of the benchmark of the scalar functions: ``python -m tests.benchmarks.vector_math_torch``.

It answers each line on standard input, ``FUNCTION PRECISION``, with the nanoseconds an element of one block.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable

import torch

from tests.benchmarks.vector_math_cases import arguments, block, passes_per_block, repeated

NAMES = {"power": "pow", "softplus": "softplus", "sigmoid": "sigmoid"}


@functools.cache
def prepared(name: str, precision: str) -> tuple[Callable[[int], None], int]:
    """The function as ``run(passes)``, and how many passes make a block."""
    rows = [torch.from_numpy(row) for row in arguments(name, precision)]
    out = torch.empty_like(rows[0])
    function = torch.ops.aten.softplus.out if name == "softplus" else getattr(torch, NAMES.get(name, name))
    run = repeated(functools.partial(function, *rows, out=out))
    return run, passes_per_block(run)


def main() -> None:
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    print(torch.__version__, flush=True)
    for line in sys.stdin:
        print(block(*prepared(*line.split())), flush=True)


if __name__ == "__main__":
    main()
