"""What it takes to check a program, and what the check says when it is wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from graphc.emit.reference import Values
from graphc.facade.agreement import Difference, Feed, Precision
from graphc.ir.node import Node, Origin
from graphc.records import record


@record(frozen=True)
class Report:
    """The first wrong value: its equation in one line, place, what the program has there and what it should have."""

    formula: str
    at: tuple[int, ...]
    found: float
    exact: float
    origin: Origin | None = None


class Trial:
    """What it takes to check a program; the kinds of programs fill it in.

    Attributes
    ----------
    results : list of str
        What each result is called in an error.
    feed : dict of Leaf to array
        Few rows of data and the parameters at hand, in the types of the program.
    least : int
        Rows that fixed places of the data need.
    known : Values, optional
        The results for ``feed`` in the precision of the program, as declared, where they were evaluated before.
    """

    results: Sequence[str]
    feed: Feed
    precision: Precision
    least = 1
    known: Values | None = None

    def run(self, feed: Feed) -> Sequence[NDArray | None]:
        """The results of the program; None for one that it does not tell, as the loss of a step that overflowed."""
        raise NotImplementedError

    def declared(self) -> Sequence[Node]:
        """The nodes of the results before any rewriting."""
        raise NotImplementedError

    def rewritten(self) -> Sequence[Node]:
        """The nodes of the results as the program was made of them."""
        raise NotImplementedError

    def given(self, feed: Feed) -> Feed:
        """What the interpreter is fed for the declared nodes: rows that count twice stand there twice."""
        return feed

    def afterwards(self, feed: Feed) -> tuple[str, Difference] | None:
        """What else the program did wrong, and how it is called."""
        return None

    def first_wrong(self, feed: Feed) -> Report | None:
        """The first stored value that is not that of its equation, by a program that shares no memory."""
        return None

    def captions(self) -> Mapping[Node, str]:
        """The formulas of a derivation, with their numbers."""
        return {}

    def script(self, feed: Feed) -> Any:
        """The path of a script that repeats the difference, if one can be written."""
        return None
