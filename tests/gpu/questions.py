"""What is not decided: alternatives, timed one beside the other, with what was expected of them.

A question asks for the time of a step of one network under several values of something that graphc has to choose. Its
figures are µs a step, the least of several fits, each as long as FITS seconds allow; nothing here fails a run.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from graphc.cuda import launching, selection
from graphc.lower import choice
from graphc.lower.tiers import Tier
from tests.gpu.bench import Bench, LeftOut
from tests.gpu.networks import Case

Figures = dict[str, Any]
FITS, SECONDS, FIRST, MOST = 3, 0.3, 64, 20_000


@dataclass(frozen=True)
class Question:
    """Which tier, or which value of a constant of a module.

    Attributes
    ----------
    network, text : str
    values : tuple
        Tiers, or numbers that the constant takes.
    module, name : object, str
        Where the constant stands; left out for tiers.
    tier : Tier, optional
        The tier in which the values are tried.
    """

    network: str
    text: str
    values: tuple
    module: Any = None
    name: str = ""
    tier: Tier | None = None


QUESTIONS: Mapping[str, Question] = {
    f"{q.network}: {q.text}": q
    for q in (
        *(Question(n, "which tier", ("A", "B", "C", "D")) for n in ("W1", "W2", "W3", "W5", "W9")),
        *(Question(n, "steps of a recording", (1, 4, 16, 64), launching, "RECORDED", "C") for n in ("W2", "W3")),
        *(Question(n, "blocks a multiprocessor", (2, 4, 8, 16), choice, "PER_PROCESSOR", "C") for n in ("W3", "W5")),
    )
}


def ask(question: Question, case: Case, bench: Bench) -> Figures:
    """µs a step of every alternative, beside what was expected where it is a tier; the fastest."""
    tiers, times, figures = not question.name, {}, {}
    for value in question.values:
        if tiers and value == "A" and not bench.chosen(case)[1]:
            continue
        with _set(question, value):
            found, expected = _timed(case, value if tiers else question.tier, bench)
        times[str(value)] = found
        figures[str(value)] = f"{found:.2f} µs" + (f" (expected {expected:.2f})" if tiers else "")
    if len(times) < 2:
        raise LeftOut("there is no alternative")
    return figures | {"fastest": min(times, key=lambda v: times[v])}


def _timed(case: Case, tier: Tier | None, bench: Bench) -> tuple[float, float]:
    """µs of a step in the last launch of a fit, which bring no data any more, and what was expected."""
    model = bench.fresh(case)
    model._core._cache.clear()  # the plan depends on what the question sets
    options = dict(case.options) | {"target": "cuda", "verify": False, "epochs": None}
    options.pop("tol", None)
    with selection.use(bench.machine(), tier):
        fit: Callable[[int], Any] = lambda n: model.fit(case.data, **options | {"steps": n})
        fit(2 if bench.emulated else FIRST)
        trainer = model.params.trainer
        steps = 2 if bench.emulated else max(FIRST, min(MOST, int(SECONDS / max(trainer.seconds_per_step, 1e-7))))
        best = float("inf")
        for _ in range(1 if bench.emulated else FITS):
            fit(steps)
            best = min(best, trainer.seconds_per_step)
    return best * 1e6, trainer.plan.choice.microseconds


@contextmanager
def _set(question: Question, value: Any) -> Generator[None, None, None]:
    """While inside, the constant of the question has this value."""
    if not question.name:
        yield
        return
    before = getattr(question.module, question.name)
    setattr(question.module, question.name, value)
    try:
        yield
    finally:
        setattr(question.module, question.name, before)
