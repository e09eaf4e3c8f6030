"""Names that mean something in formulas and programs: index letters, and identifiers that must not clash with them."""

from __future__ import annotations

import difflib
import keyword
import re
from collections.abc import Collection, Sequence

from graphc.ir.affine import Extent
from graphc.ir.scalar import FUNCTIONS

LETTERS = "ijklmpqrvwxyz"
# what generated programs use themselves: pointers, counters, temporaries, type and function names come on top
_MEMORY = "atomic_load atomic_store copy fill meet noalias nonfinite radd rmax rmin rlargest rtop"
_DRAWS = "random_bernoulli random_normal random_uniform"
_PRODUCTS = "blas_gemm contract contract_dots contract_lines gemm packed_gemm transpose"
PRIMITIVES = [*_MEMORY.split(), *_DRAWS.split(), *_PRODUCTS.split(), "permuted", "power", "wide", "chains"]
_POINTERS = "A C F G H K L P Q R S"
_COUNTERS = (
    "rows row n_steps number done status epoch epochs at weight first last first_row last_row me team tick lo hi"
    " batch_rows n_parts part part_number part_base part_start part_row part_end part_weight partials total"
    " row_0 n_rows block block_end"
)
_VALUES = "INF PARTS f g s t now theta top steep shift scale peak norm_g k_step math float int64 range"
RESERVED = frozenset([*f"{_POINTERS} {_COUNTERS} {_VALUES}".split(), *PRIMITIVES])


def index_letters(extents: Sequence[Extent], wanted: Sequence[str] = (), names: Collection[str] = ()) -> list[str]:
    """A letter for every index: the wanted ones, then n for an extent N, then i, j, k, .. in order.

    No letter is the name of a free extent or one of ``names``, a wanted one is another then, and none is given twice.
    """
    taken = {e for e in extents if isinstance(e, str)} | set(names)
    kept = [x if x not in taken else "" for x in wanted]
    taken |= set(kept)
    found = []
    for t, e in enumerate(extents):
        if t < len(kept) and kept[t]:
            found.append(kept[t])
            continue
        lower = e.lower() if isinstance(e, str) and len(e) == 1 and e.isupper() else ""
        free = lower if lower and lower not in taken else next(x for x in _letters() if x not in taken)
        found.append(free)
        taken.add(free)
    return found


def _letters():
    yield from LETTERS
    n = 0
    while True:
        yield f"i{n}"
        n += 1


# reads, temporaries, hoisted factors, numbers; hyper-parameters, states and constants of an update
_TEMPORARY = re.compile(r"[iauck]\d+|a\d+_log|u\d+_\d+|[hvq]_\w+")


def safe_name(name: str, taken: Collection[str] = ()) -> str:
    """The name itself, with underscores added while it would clash in a program."""
    reserved = name in LETTERS or name in RESERVED or name in FUNCTIONS or keyword.iskeyword(name)
    clashes = reserved or _TEMPORARY.fullmatch(name) is not None
    name = f"{name}_" if clashes else name
    while name in taken:
        name += "_"
    return name


def close_name(name: str, known: Collection[str]) -> str:
    """``did you mean 'W0'?`` or the list of what there is."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"did you mean {close[0]!r}?" if close else f"known are {', '.join(sorted(known)) or 'none'}"
