"""Writes what is printed from the code, pages and the stub for type checkers; ``--check`` names what is old."""

from __future__ import annotations

import inspect
import math
import re
import runpy
import sys
from pathlib import Path
from typing import Any

import graphc
from graphc.ir.scalar import PUBLIC, Scalar
from graphc.primitives.host import features
from graphc.rewrite.rules import Rule
from graphc.rewrite.stable import TABLES
from graphc.words import OPTIONS, WORDS

sys.path.insert(0, str(Path(__file__).parent.parent))
from tests.gallery import ROOMS, Entry  # noqa: E402  the page of models is printed from their tests
from tests.word_errors import worst_errors  # noqa: E402

STUB = Path(graphc.__file__).with_suffix(".pyi")
RULES = Path(__file__).parent / "rules.md"
GALLERY = Path(__file__).parent / "gallery.md"
WORDS_PAGE = Path(__file__).parent / "coming_from.md"
FUNCTIONS = Path(__file__).parent / "functions.md"
EXAMPLE = Path(__file__).parent.parent / "examples" / "report.py"
PICTURE = Path(__file__).parent / "pictures" / "xor.svg"
MEASURED = STUB.parent / "declare" / "measured.py"


def rules_page() -> str:
    """The rule tables of the rewrite stage."""
    lines = [
        "# Rules of stable forms",
        "",
        "Printed from the docstrings of `graphc/rewrite/stable_rules.py` by `docs/generate.py`.  Every rule keeps the",
        "function on its domain; where it enlarges the domain, the reason says so.",
        "`model.explain(\"rewritten\")` lists what fired for a model.",
    ]
    for table in filter(len, TABLES):
        lines += ["", f"## {table.name.capitalize()}", ""]
        lines += ["| rule | before | after | when | why |", "|---|---|---|---|---|"]
        lines += [_row(r) for r in table]
    return "\n".join(lines) + "\n"


def _row(r: Rule) -> str:
    cells = (r.name, f"`{_cell(r.before)}`", f"`{_cell(r.after).rstrip(',')}`", _cell(r.when), _cell(r.why))
    return f"| {' | '.join(cells)} |"


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


def words_page() -> str:
    """The words of other libraries beside those of graphc."""
    lines = [
        f"# Coming from {', '.join([*WORDS][:-1])} or {[*WORDS][-1]}",
        "",
        "What is called the same in both is left out: most functions have NumPy's names.  The errors for unknown names",
        "and options give these hints.  Printed from `graphc/words.py` by `docs/generate.py`.",
    ]
    for library, words in WORDS.items():
        lines += ["", f"## {library}", "", f"| {library} | graphc |", "|---|---|"]
        lines += [f"| `{theirs}` | {_cell(ours)} |" for theirs, ours in words.items()]
    lines += ["", "## Options", "", "| elsewhere | graphc | where a function does not have it |", "|---|---|---|"]
    quoted = lambda word: f"`{word}`" if word else ""
    lines += [f"| `{theirs}` | {quoted(ours)} | {_cell(text)} |" for theirs, (ours, text) in OPTIONS.items()]
    return "\n".join(lines) + "\n"


def gallery_page() -> str:
    """Every model of the gallery: its declaration and what ``print(gc.derive(J).index())`` shows of it."""
    count = sum(len(room.entries) for room in ROOMS)
    lines = [
        "# Gallery",
        "",
        f"{count} models of the literature, each as it is declared and as its gradient is printed",
        "(`print(gc.derive(J).index())`, without the column of source lines).  `tests/gallery` holds them, and beside",
        "each the same mathematics in JAX; `tests/test_gallery.py` compares losses and gradients, interpreted and",
        "compiled, in float64, and evaluates every printed line.  Printed by `docs/generate.py`.",
        "",
    ]
    for room in ROOMS:
        lines += [f"- [{room.title}](#{_anchor(room.title)}): {', '.join(map(_link, room.entries))}"]
    for room in ROOMS:
        lines += ["", f"## {room.title}", ""]
        lines += ["\n\n".join(_shown(entry) for entry in room.entries)]
    return "\n".join(lines) + "\n"


def _shown(entry: Entry) -> str:
    source = entry.source.removesuffix("\nreturn J")
    printed = re.sub(r" +\w+\.py:\d+(?= |$)", "", entry.derivation.index(), flags=re.MULTILINE)
    about = f"{entry.about} ({entry.citation})"
    return f"### {entry.title}\n\n{about}\n\n```python\n{source}\n```\n\n```text\n{printed}\n```"


def functions_page() -> str:
    """The table of functions of one element."""
    lines = [
        "# Functions of one element",
        "",
        "Printed from their declarations (`graphc/ir/functions`) by `docs/generate.py`.  Errors of value and",
        "derivative are the worst ones beside mpmath at 41 to 48 points of sizes up to 20 inside the domain, in units",
        "of the last place, in float64 and float32, by the interpreter, with NumPy's functions on a processor with",
        "AVX-512 (others err by other amounts); for functions of two arguments the worst of both derivatives at 16",
        "points for one, the other being -0.41, 0.66 or 3.72 (a count 1, 2, 3).",
        "",
        "| name | meaning | domain | kinks and jumps | value | derivative |",
        "|---|---|---|---|---|---|",
    ]
    rows = {entry: name for name, entry in reversed(PUBLIC.items()) if name.rpartition(".")[2] == entry.public}
    return "\n".join([*lines, *(_function_row(rows[entry], entry) for entry in reversed(rows))]) + "\n"


def measured() -> dict[str, tuple[float, ...]]:
    """By public name, the errors of functions that miss 4 units of the last place in float64 or 2 in float32."""
    found = {}
    for name, entry in PUBLIC.items():
        if name.rpartition(".")[2] == entry.public and _is_measured(name, entry):
            errors = tuple(round(e, 1) for e in worst_errors(entry))
            if not all(e <= bound for e, bound in zip(errors, (4, 4, 2, 2), strict=True)):
                found[name] = errors
    return found


def measured_module() -> str:
    """What docstrings say of errors."""
    lines = ['"""Worst errors of functions that miss 4 units of the last place in float64 or 2 in float32:', "",
             "of value and slope in float64, then in float32.  Printed by docs/generate.py; all: docs/functions.md.",
             '"""', ""]  # fmt: skip
    lines += ["MEASURED: dict[str, tuple[float, float, float, float]] = {"]
    lines += [f'    "{name}": {errors},' for name, errors in measured().items()]
    return "\n".join([*lines, "}", ""])


def _is_measured(name: str, entry: Scalar) -> bool:
    return not entry.zero_gradient and name not in ("stop_gradient", "nextafter")


def _function_row(name: str, entry: Scalar) -> str:
    errors = [f"{e:.1f}" for e in worst_errors(entry)] if _is_measured(name, entry) else ["", "", "", ""]
    low, high = entry.domain
    left = "(" if entry.open_domain or low == -math.inf else "["
    right = ")" if entry.open_domain or high == math.inf else "]"
    domain = "" if entry.domain == (-math.inf, math.inf) else f"{left}{low:g}, {high:g}{right}"
    breaks = "; ".join(b.text for b in (*entry.kinks, *entry.jumps))
    also = "".join(f", `{n}`" for n in entry.also)
    cells = (f"`{name}`{also}", _cell(entry.doc), domain, breaks, " / ".join(errors[::2]), " / ".join(errors[1::2]))
    return f"| {' | '.join(cells)} |".replace(" /  |", " |").replace("|  / |", "| |")


def _anchor(title: str) -> str:
    """The anchor that Markdown gives to a heading."""
    return re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")


def _link(entry: Entry) -> str:
    return f"[{entry.title}](#{_anchor(entry.title)})"


def stub() -> str:
    """What type checkers and editors read of the public names, which are loaded when they are first used."""
    lines = ['"""The public names for type checkers, printed from the table of __init__.py by docs/generate.py."""', "",
             "from typing import Any", ""]  # fmt: skip
    spaces = graphc._NAMESPACES
    made = set(graphc._elementwise()) - set(graphc._HOME)  # by a table at run time, where no type checker sees them
    for name, home in sorted(graphc._HOME.items(), key=lambda item: item[::-1]):
        package, _, last = f"graphc.{home}".rpartition(".")
        if name not in spaces:
            lines.append(f"from graphc.{home} import {name} as {name}")
        elif name == last:
            lines.append(f"from {package} import {name} as {name}")
        else:
            lines += [f"from {package} import {last} as _{last}", f"{name} = _{last}"]
    lines += ["", "__version__: str", "", *(_signature(name) for name in sorted(made)), ""]
    return "\n".join(lines)


def _signature(name: str) -> str:
    """The function of a name, as a type checker reads it: of numbers, arrays, tensors or indexed expressions."""
    found = inspect.signature(getattr(graphc, name))
    bare = [p.replace(annotation=Any) for p in found.parameters.values()]
    told = str(found.replace(parameters=bare, return_annotation=Any)).replace("typing.Any", "Any")
    return f"def {name}{told}: ..."


def picture() -> str:
    """The graph of the network of the README, as the example declares it."""
    return runpy.run_path(str(EXAMPLE), run_name="example")["network"]().graph().svg() + "\n"


def _compared(page: str, path: Path) -> str:
    """A page as it is compared: errors are those of NumPy's functions, which are others without AVX-512."""
    if features().get("avx512f") or path not in (FUNCTIONS, MEASURED):
        return page
    figures = r"[\d.]+ / [\d.]+" if path == FUNCTIONS else r'(?m)^    "[\w.]+": \(.*\),\n'
    return re.sub(figures, "", page)


def main(check: bool) -> int:
    """Write the pages, or only say which are out of date."""
    old = 0
    pages = ((STUB, stub()), (RULES, rules_page()), (GALLERY, gallery_page()), (WORDS_PAGE, words_page()),
             (FUNCTIONS, functions_page()), (MEASURED, measured_module()), (PICTURE, picture()))  # fmt: skip
    for path, page in pages:
        if not check:
            path.write_text(page, encoding="utf-8")
        elif _compared(path.read_text(encoding="utf-8"), path) != _compared(page, path):
            print(f"{path.name} is out of date: run python docs/generate.py")
            old = 1
    return old


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv))
