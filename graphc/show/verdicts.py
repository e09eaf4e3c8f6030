"""Too small, good, too large: what a sweep says about each value of its first hyper-parameter, such as eta.

Copies are compared that share everything else (seed, other hyper-parameters) and so began at the same loss. The *level*
of a copy is the largest mean of the loss among the last twentieth of its epochs, so that a copy that swings up and down
is judged by where it swings to. The *fall* is the way from the loss before training to the lowest level of the group.

too large    it diverged; or no copy of the group fell at all; or it made less than nine tenths of the fall, and its
             value is above that of the copy with the lowest level
too small    it made less than nine tenths of the fall, and its value is below that of the copy with the lowest level
good         it made nine tenths of the fall or more
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

from graphc.records import record

TOO_SMALL, GOOD, TOO_LARGE, UNKNOWN = "too small", "good", "too large", ""
SHARE = 0.9  # of the fall
TAIL = 20  # one part in so many of the epochs decides the level


@record(frozen=True)
class Ended:
    """How one copy ended: its value, what it shares with its group, the loss before training, the means of epochs."""

    value: float
    group: tuple
    initial: float
    curve: Sequence[float]
    stopped: str

    @property
    def level(self) -> float:
        """See the module."""
        if self.stopped == "diverged" or not self.curve:
            return inf
        return max(self.curve[-max(1, len(self.curve) // TAIL) :])


def verdicts(copies: Sequence[Ended]) -> list[str]:
    """A verdict for every copy; "" for one that was interrupted."""
    groups: dict[tuple, list[Ended]] = {}
    for copy in copies:
        if copy.stopped != "interrupted":
            groups.setdefault(copy.group, []).append(copy)
    lowest = {group: min(members, key=lambda m: m.level) for group, members in groups.items()}
    return [UNKNOWN if c.stopped == "interrupted" else _verdict(c, lowest[c.group]) for c in copies]


def _verdict(copy: Ended, lowest: Ended) -> str:
    fall = copy.initial - lowest.level
    if copy.level == inf or not fall > 0:
        return TOO_LARGE
    if copy.initial - copy.level >= SHARE * fall:
        return GOOD
    return TOO_SMALL if copy.value < lowest.value else TOO_LARGE
