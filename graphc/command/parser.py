"""The words of the command line, and what each does."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from graphc.command.files import CommandError, model_of
from graphc.command.measuring import Wanted, check, measure
from graphc.errors import GraphcError
from graphc.facade.inspecting import STAGES
from graphc.native.cache import LIMIT, Store, open_store
from graphc.show.latex import STYLES

ABOUT = """\
See what is in a file that declares a model, without writing a program for it.

A file is a Python program with a model at its top level, or a function without arguments that returns one:

    import graphc as gc
    X, T = gc.input("X", ("n", 2)), gc.input("T", ("n", 1))
    W = gc.param("W", (2, 1), gc.normal(1.0))
    model = gc.Model(output=X @ W, loss=gc.mean((X @ W - T)**2))

or a checkpoint that model.save("net.safetensors") wrote. The file is run as an import runs it: what stands under
if __name__ == "__main__": is left out, so that nothing is trained. Only name files that you trust.
"""
EXAMPLES = """\
examples:
  python -m graphc explain net.py                      the derivation: forward, then the chain rule line by line
  python -m graphc explain net.py --stage plan         where the values of a step lie
  python -m graphc report net.py -o net.html           one page with everything, to open in a browser
  python -m graphc bench net.py --rows 10000           how long a step takes here
  python -m graphc cache clear                         forget compiled programs

python -m graphc COMMAND --help tells more of each.
"""
EXPLAIN = """\
Print what the model is and what a stage made of it.

stages:
  formula     the equations, as declared and brought to normal form
  gradient    and the chain rule, line by line, with numbers that stand in the generated program, too
  rewritten   which stability rules fired, where, and why
  kernels     which loops and matrix products compute what, and how many operations they take
  plan        where the values of a step lie in memory, and for how long
  source      the program, as it is compiled
"""
REPORT = """\
Write one HTML page: the graph, the derivation with steps that open, what was rewritten for numerical safety, where the
model is not smooth or may overflow, the plan and the program. It needs nothing else, not even a network.
"""
BENCH = """\
Train and predict on random data, and print how long it takes. Parameters are drawn anew; the file stays as it is.
The first run compiles; later ones find the machine code in the cache (python -m graphc cache).
"""
CACHE = """\
Compiled programs are kept in a folder, so that a model that was seen before starts at once: GRAPHC_CACHE, else the
cache folder of this user. The least recently used go first when it grows above its limit.

  size     where it is, how many programs it holds, how large it is
  clear    remove them; they are compiled again when they are needed
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; the exit status: 0, or 2 when something is wrong with what it was given."""
    parser = _parser()
    given = parser.parse_args(arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal that cannot show Σ shows a question mark
            stream.reconfigure(errors="replace")
    if given.command is None:
        parser.print_help()
        return 0
    try:
        print(given.run(given))
        sys.stdout.flush()
    except (CommandError, GraphcError, OSError) as error:
        if isinstance(error, BrokenPipeError):  # as of: python -m graphc explain net.py | head
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        print(f"graphc {given.command}: {_said(error)}", file=sys.stderr)
        return 2
    return 0


def _said(error: Exception) -> str:
    """An error without the line that called, where that is this file's and no user's."""
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}"
    rows = str(error).splitlines()
    return "\n".join(r for r in rows if isinstance(error, CommandError) or not r.startswith("  at "))


def _parser() -> argparse.ArgumentParser:
    plain = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("python -m graphc", description=ABOUT, epilog=EXAMPLES, formatter_class=plain)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    said = {"explain": EXPLAIN, "report": REPORT, "bench": BENCH, "cache": CACHE}
    short = {"explain": "print formulas", "report": "write an HTML page", "bench": "measure", "cache": "compiled code"}
    made = {
        name: commands.add_parser(name, help=short[name], description=text, formatter_class=plain)
        for name, text in said.items()
    }
    for name in ("explain", "report", "bench"):
        made[name].add_argument("file", help="net.py, or a checkpoint net.safetensors")
        made[name].add_argument("--model", metavar="NAME", help="which one, where the file declares several")
    explain, report, bench, cache = (made[name] for name in said)
    explain.add_argument("--stage", choices=STAGES, default="gradient", help="what to show (gradient)")
    explain.add_argument("--wrt", metavar="W", action="append", help="the gradient of this parameter alone; repeatable")
    explain.add_argument("--latex", choices=STYLES, help="the derivation as LaTeX")
    explain.set_defaults(run=_explain)
    report.add_argument("-o", "--output", metavar="FILE", help="where to write it (the name of the file, .html)")
    report.set_defaults(run=_report)
    bench.add_argument("--rows", type=int, default=Wanted.rows, help="rows of random data (%(default)s)")
    bench.add_argument("--batch-size", type=int, default=Wanted.batch_size, help="rows a step (%(default)s)")
    bench.add_argument("--optimizer", default=Wanted.optimizer, help="such as sgd, momentum, adam (%(default)s)")
    bench.add_argument("--seconds", type=float, default=Wanted.seconds, help="about how long to measure (%(default)s)")
    bench.add_argument("--threads", type=int, help="threads that share a step (chosen by trials)")
    bench.set_defaults(run=_bench)
    cache.add_argument("what", nargs="?", choices=("size", "clear"), default="size", help="size (default) or clear")
    cache.set_defaults(run=_cache)
    return parser


def _explain(given: argparse.Namespace) -> str:
    model = model_of(given.file, given.model)
    if model._core._loss is None:
        if given.stage not in ("gradient", "formula") or given.wrt or given.latex:
            raise CommandError(f"{given.file}: {model.name} has no loss, only formulas\n  hint: gc.Model(loss=J)")
        return str(model)
    derivation = model.derive(*given.wrt or ())
    if given.latex:
        return derivation.latex(given.latex)
    page = derivation if given.wrt else model.explain(given.stage)
    return str(page) if given.stage == "source" else f"{model}\n\n{page}"


def _report(given: argparse.Namespace) -> str:
    model = model_of(given.file, given.model)
    path = Path(given.output or Path(given.file).with_suffix(".html").name)
    if path.is_dir():
        raise CommandError(f"{path}: this is a folder\n  hint: -o {path / 'report.html'}")
    model.report(path)
    return f"{path}: {path.stat().st_size:,} bytes"


def _bench(given: argparse.Namespace) -> str:
    wanted = Wanted(given.rows, given.batch_size, given.optimizer, given.seconds, given.threads)
    check(wanted)
    return measure(model_of(given.file, given.model), wanted)


def _cache(given: argparse.Namespace) -> str:
    store = open_store()
    if store is None:
        raise CommandError("the cache cannot be used\n  hint: GRAPHC_CACHE names another folder")
    programs, size = store.programs, store.size
    if given.what == "clear":
        Store(store.folder, 0).sweep()
        return f"{store.folder}: {programs:,} programs removed, {_megabytes(size - store.size)}"
    return f"{store.folder}: {programs:,} programs, {_megabytes(size)} of at most {_megabytes(LIMIT)}"


def _megabytes(size: int) -> str:
    return f"{size / 2**20:,.1f} MiB"
