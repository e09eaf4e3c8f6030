"""Writes the pages of the reference from the table of public names; ``conf.py`` calls it, git does not keep them."""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path

import graphc

SKLEARN = "sklearn"  # a namespace of its own, which needs scikit-learn
REQUESTS = "set_fit_request, set_partial_fit_request, set_score_request"  # made by scikit-learn
OPTIONS = (":inherited-members: Exception, dict", f":exclude-members: {REQUESTS}")


def write(folder: Path) -> None:
    """A page a part of the package, and an index of all names; pages that did not change are left alone."""
    parts = {
        "model": ("Models, derivatives, compiled functions", _homes("model", "facade.", "run.")),
        "declaring": ("Declaring: tensors and what they can do", _homes("declare.")),
        "elementwise": ("Functions of one element", [("", graphc._elementwise())]),
        "optimizers": ("Optimizers", _homes("optim")),
    }
    pages = {file: _page(title, "", "graphc", sections) for file, (title, sections) in parts.items()}
    for space in sorted([*graphc._NAMESPACES, SKLEARN]):
        module = importlib.import_module(f"graphc.{space}") if space == SKLEARN else getattr(graphc, space)
        names = [n for n in sorted(module.__all__) if not _stands_alone(module, n)]
        pages[space] = _page(f"gc.{space}", _first(module), f"graphc.{space}", [("", names)])
    pages["index"] = _index([*pages])
    folder.mkdir(exist_ok=True)
    for file, text in pages.items():
        path = folder / f"{file}.rst"
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def _homes(*starts: str) -> list[tuple[str, list[str]]]:
    """(title, names) of the modules of the table whose names begin so."""
    return [
        (_first(importlib.import_module(f"graphc.{home}")), names.split())
        for home, names in graphc._NAMES.items()
        if home.startswith(starts)
    ]


def _stands_alone(module: object, name: str) -> bool:
    """Whether a class of a namespace is a name of graphc too, where it is described."""
    found = getattr(module, name)
    return inspect.isclass(found) and getattr(graphc, name, None) is found


def _first(module: object) -> str:
    """What the docstring of a module begins with."""
    return inspect.getdoc(module).partition("\n\n")[0].replace("\n", " ").rstrip(".:")


def _page(title: str, text: str, module: str, sections: list[tuple[str, list[str]]]) -> str:
    lines = [title, "=" * len(title), "", text, ""]
    for heading, names in sections:
        lines += [heading, "-" * len(heading), ""] if heading and len(sections) > 1 else []
        lines += sum((_entry(f"{module}.{name}", _object(module, name)) for name in names), [])
    return "\n".join(lines)


def _object(module: str, name: str) -> object:
    home = graphc if module == "graphc" else importlib.import_module(module) if SKLEARN in module else None
    return getattr(home or getattr(graphc, module.partition(".")[2]), name)


def _entry(path: str, found: object) -> list[str]:
    if inspect.isclass(found):
        return [f".. autoclass:: {path}", "   :members:", f"   {OPTIONS[SKLEARN in path]}", ""]
    return [f".. {'autofunction' if inspect.isroutine(found) else 'autodata'}:: {path}", ""]


def _index(files: list[str]) -> str:
    text = "Printed from the docstrings of the public names; ``help(gc.softmax)`` shows the same."
    return "\n".join(["Reference", "=========", "", text, "", ".. toctree::", "", *(f"   {f}" for f in files), ""])
