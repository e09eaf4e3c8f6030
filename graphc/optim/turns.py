"""Rules made of others: updates from several batches, in some of the steps, with a running mean of the parameters.

Each is a change of the lines of the rule, so that what is printed is what is computed, on every target. Half a step
stands in every quotient, so that rounding decides nothing::

    gc.SGD(0.1).accumulated(4)        collected <- where(mod(k - 0.5, every) < 1, 0, collected) + g
                                      turn      <- floor((k - 0.5)/every) + 1
                                      theta     <- where(mod(k + 0.5, every) < 1, theta - eta*(collected/every), theta)
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from graphc.errors import DomainError

AVERAGE, COLLECTED, DUE, TURN = "average", "collected", "due", "turn"
MOST_OF = 16  # steps of a round: each is a term of a line
_FULL = "mod(k + 0.5, every) < 1"
_START = f"where(k <= 1, theta, {AVERAGE})"  # before the first update it is theta, so that it is never nothing


def accumulated_lines(lines: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """The lines of a rule that acts in the last of ``every`` steps, on the mean of their gradients."""
    first = [
        (COLLECTED, f"where(mod(k - 0.5, every) < 1, 0, {COLLECTED}) + g"),
        (TURN, "floor((k - 0.5)/every) + 1"),
    ]
    return first + _guarded([(t, _word("g", f"({COLLECTED}/every)", f)) for t, f in lines], _FULL)


def in_turn_lines(lines: Sequence[tuple[str, str]], which: Sequence[int], of: int) -> list[tuple[str, str]]:
    """The lines of a rule that acts in some of every ``of`` steps, and rests in the others."""
    count = " + ".join(f"floor((k - {w - 0.5})/{of}) + 1" for w in which)
    due = " + ".join(f"where(mod(k - {w - 0.5}, {of}) < 1, 1, 0)" for w in which)
    return [(DUE, due), (TURN, f"max(1, {count})"), *_guarded(lines, f"{DUE} > 0.5")]


def averaged_line(lines: Sequence[tuple[str, str]]) -> tuple[str, str]:
    """The line that keeps the running mean of theta; it rests where theta does."""
    mean = f"where({{}} <= 1, theta, share*{AVERAGE} + (1 - share)*theta)"
    targets = dict.fromkeys(t for t, _ in lines)
    if TURN not in targets:
        return AVERAGE, mean.format("k")
    due = _FULL if COLLECTED in targets else f"{DUE} > 0.5"
    return AVERAGE, f"where({due}, {mean.format(TURN)}, {_START})"


def check_turns(which: Sequence[int], of: int) -> None:
    """Refuse turns that are none of every ``of`` steps.

    Raises
    ------
    DomainError
        Naming them.
    """
    whole = all(isinstance(n, int) and not isinstance(n, bool) for n in (*which, of))
    if not whole or not which or len({*which}) < len(which) or not 1 <= min(which) <= max(which) <= of <= MOST_OF:
        raise DomainError(
            f"in_turn: the turns {', '.join(map(str, which)) or 'none'} of={of} are no different steps of a round\n"
            f"  hint: whole numbers from 1 to of, which is at most {MOST_OF}: in_turn(1, of=2), then in_turn(2, of=2)"
        )


def _guarded(lines: Sequence[tuple[str, str]], due: str) -> list[tuple[str, str]]:
    """Lines that keep theta and the states as they are where they are not due; k is the number of the turn."""
    moved = [(target, _word("k", TURN, formula)) for target, formula in lines]
    kept = {"theta", *_read_before(moved)}
    rest = lambda target: _START if target == AVERAGE else target
    return [(t, f"where({due}, {f}, {rest(t)})" if t in kept else f) for t, f in moved]


def _read_before(lines: Sequence[tuple[str, str]]) -> set[str]:
    """The states: names that are read before they are assigned."""
    states, assigned = set(), set()
    for target, formula in lines:
        states |= {*re.findall(r"\b[^\W\d]\w*", formula)} - assigned
        assigned.add(target)
    return states & {target for target, _ in lines}


def _word(old: str, new: str, formula: str) -> str:
    return re.sub(rf"\b{old}\b", new, formula)
