"""Names that mean something in formulas and programs: index letters, and identifiers that must not clash with them."""

from __future__ import annotations

import difflib
import keyword
from collections.abc import Collection, Sequence

from graphc.ir.affine import Extent
from graphc.ir.scalar import FUNCTIONS

LETTERS = "ijklmpqrvwxyz"
# what generated programs use themselves: pointers, counters, temporaries, type and function names come on top
_MEMORY = "atomic_load atomic_store copy fill meet noalias nonfinite radd rmax rmin rpeak"
PRIMITIVES = [*_MEMORY.split(), "blas_gemm", "gemm", "permuted", "power", "transpose"]
_POINTERS = "A C F G H K L P Q R S"
_LOCALS = "INF f g s t top top_64 shift scale rows row n_steps number done status epoch epochs at weight peak"
_THREADS = "me team tick lo hi first last first_row last_row verdict"
RESERVED = frozenset(
    [
        *_POINTERS.split(),
        *_LOCALS.split(),
        *PRIMITIVES,
        *FUNCTIONS,
        "theta",
        "norm_g",
        "k_step",
        "math",
        "float",
        "range",
    ]
)


def index_letters(extents: Sequence[Extent], wanted: Sequence[str] = ()) -> list[str]:
    """A letter for every index: the wanted ones, then n for an extent N, then i, j, k, .. in order.

    No letter is the name of a free extent, and none is given twice.
    """
    taken = {e for e in extents if isinstance(e, str)} | set(wanted)
    names = list(wanted)
    for e in extents[len(names) :]:
        lower = e.lower() if isinstance(e, str) and len(e) == 1 and e.isupper() else ""
        free = lower if lower and lower not in taken else next(x for x in _letters() if x not in taken)
        names.append(free)
        taken.add(free)
    return names


def _letters():
    yield from LETTERS
    n = 0
    while True:
        yield f"i{n}"
        n += 1


def safe_name(name: str, taken: Collection[str] = ()) -> str:
    """The name itself, with underscores added while it would clash in a program."""
    single = name in LETTERS or (len(name) > 1 and name[0] in "iauc" and name[1:].isdigit())
    while name in RESERVED or name in taken or single or keyword.iskeyword(name):
        name, single = name + "_", False
    return name


def close_name(name: str, known: Collection[str]) -> str:
    """``did you mean 'W0'?`` or the list of what there is."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"did you mean {close[0]!r}?" if close else f"known are {', '.join(sorted(known)) or 'none'}"
