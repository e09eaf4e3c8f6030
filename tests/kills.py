"""Runs that are killed at random instants and taken up again: what the last ends with, what was found between."""

from __future__ import annotations

import os
import random
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

import graphc as gc
from graphc.facade.atomic_file import remove_unfinished
from tests import nets

X, T = nets.data(601)
OPTIONS = {"optimizer": gc.Adam(0.01), "batch_size": 8, "threads": 1, "seed": 3}
EPOCHS = 40


@dataclass
class Campaign:
    """What was seen: kills, those before the first checkpoint, within a write, and after the run was over."""

    kills: int = 0
    begun_anew: int = 0
    unfinished: int = 0
    over: int = 0
    steps: list[int] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


def fitted(path: Path | None) -> gc.Model:
    """The network after all epochs; with a path it is kept after every epoch, and goes on from what is there."""
    model = nets.network("float32")
    kept = {} if path is None else {"callbacks": [gc.Checkpoint(path, keep=_keep(path))], "resume": True}
    model.fit(X, T, epochs=EPOCHS, **OPTIONS, **kept)
    return model


def _keep(path: Path) -> int | None:
    return 3 if "{epoch" in path.name else None


def state_of(model: gc.Model) -> bytes:
    """All that a run ends with, in bits."""
    state = model.state
    rules = b"".join(r.values.tobytes() + str(r.step).encode() for r in state.rules.values())
    return model.params.flat.tobytes() + rules + str(state.sampler).encode() + state.totals.values.tobytes()


def campaign(folder: Path, kills: int, seed: int) -> Campaign:
    """Kill runs until there were so many kills, some of them the same run several times over."""
    rng, seen, expected = random.Random(seed), Campaign(), state_of(fitted(None))
    fitted(folder / "first.safetensors")  # whatever takes long only once
    seconds = _seconds(folder)
    while seen.kills < kills:
        place = folder / f"run-{seen.kills}"
        place.mkdir()
        path = place / rng.choice(["model.safetensors", "model-{epoch}.safetensors"])
        for _ in range(rng.randint(1, min(3, kills - seen.kills))):
            _kill_one(path, rng.uniform(0, 1.1 * seconds), seen)
        if state_of(fitted(path)) != expected:
            seen.faults.append(f"{path}: the run does not end as one that was never interrupted")
        seen.faults += [f"{place}: {name} was left" for name in _left_behind(place)]
    return seen


def _left_behind(place: Path) -> list[str]:
    """What a save in a minute would not remove, either: an empty file may be one that is about to be written."""
    for file in place.iterdir():
        os.utime(file, (0, 0))
    remove_unfinished(place)
    return [p.name for p in place.iterdir() if p.suffix != ".safetensors"]


def _seconds(folder: Path) -> float:
    begun = time.perf_counter()
    fitted(folder / "second.safetensors")
    return time.perf_counter() - begun


def _kill_one(path: Path, seconds: float, seen: Campaign) -> None:
    child = os.fork()
    if child == 0:
        try:
            fitted(path)
        finally:
            os._exit(0)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    seen.kills += 1
    seen.over += not os.WIFSIGNALED(status)
    seen.unfinished += any(p.name.endswith(".unfinished") for p in path.parent.iterdir())
    files = sorted(path.parent.glob("*.safetensors"))
    seen.begun_anew += not files
    for file in files:
        try:
            model = gc.Model.load(file)
        except gc.errors.CheckpointError as error:
            seen.faults.append(str(error))
            continue
        [rule] = model.state.rules.values()
        seen.steps.append(rule.step)
        if not np.isfinite(model.params.flat).all():
            seen.faults.append(f"{file}: not finite")
