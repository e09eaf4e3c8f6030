"""Pieces of HTML that every section uses; whatever is not markup is escaped here."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape


def text(value: object) -> str:
    """Characters as they are."""
    return escape(str(value))


def code(value: object) -> str:
    """Characters of a formula or a program."""
    return f"<code>{escape(str(value))}</code>"


def table(caption: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table with a caption; cells are HTML. It scrolls by itself, also by keyboard, where it is too wide."""
    head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in header)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    inside = f"<table><caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f'<div class="wide" tabindex="0" role="region" aria-label="{escape(caption)}">{inside}</div>'


def folded(summary: str, inside: str, opened: bool = False) -> str:
    """What opens when one asks for it; ``summary`` is HTML."""
    return f"<details{' open' if opened else ''}><summary>{summary}</summary>{inside}</details>"


def section(name: str, title: str, inside: str) -> str:
    """A part of the page, with its heading."""
    return f'<section id="{name}" aria-labelledby="{name}-h"><h2 id="{name}-h">{escape(title)}</h2>{inside}</section>'
