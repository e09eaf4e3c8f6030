"""Writes the pages that are printed from the code: ``python docs/generate.py``; a test checks them."""

from __future__ import annotations

from pathlib import Path

from graphc.rewrite.rules import Rule
from graphc.rewrite.stable import TABLES

RULES = Path(__file__).parent / "rules.md"


def rules_page() -> str:
    """The rule tables of the rewrite stage."""
    lines = [
        "# Rules of stable forms",
        "",
        "Printed from the docstrings of `graphc/rewrite/stable_rules.py` by `docs/generate.py`.  Every rule keeps the",
        "function on its domain; where it enlarges the domain, the reason says so.",
        "`model.explain(\"rewritten\")` lists what fired for a model.",
    ]
    for table in TABLES:
        lines += ["", f"## {table.name.capitalize()}", ""]
        lines += ["| rule | before | after | when | why |", "|---|---|---|---|---|"]
        lines += [_row(r) for r in table]
    return "\n".join(lines) + "\n"


def _row(r: Rule) -> str:
    cells = (r.name, f"`{_cell(r.before)}`", f"`{_cell(r.after).rstrip(',')}`", _cell(r.when), _cell(r.why))
    return f"| {' | '.join(cells)} |"


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


if __name__ == "__main__":
    RULES.write_text(rules_page(), encoding="utf-8")
