"""``fit(.., resume=..)``: a run goes on from the last good checkpoint, as if it had never been interrupted."""

from __future__ import annotations

import glob
import re
from collections.abc import Mapping
from dataclasses import field, replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from graphc.errors import CheckpointError, DomainError
from graphc.facade.checkpoint import read, restore_state
from graphc.facade.core import Core
from graphc.facade.options import Options
from graphc.facade.trusted import as_json, reading, whole
from graphc.records import record
from graphc.run.history import Run
from graphc.run.keeping import Checkpoint

OVER = ("early stopping", "callback")  # a run that a callback had stopped when its last checkpoint was written
_MADE_BY = "\n  hint: runs are kept by callbacks=[gc.Checkpoint(path)] of model.fit"


@record
class TakenUp:
    """What a fit begins with: its options, what is said about the checkpoint, what its callbacks remembered."""

    options: Options
    notes: list[str] = field(default_factory=list)
    about: Mapping[str, Any] = field(default_factory=dict)
    tensors: Mapping[str, NDArray] = field(default_factory=dict)

    @property
    def over(self) -> bool:
        """Whether there is nothing left to do."""
        return self.about.get("stopped") in OVER

    def begin(self, model: Core, run: Run, public: Any) -> None:
        """Begin all callbacks, and give them back what they remembered; files are theirs by kind and order."""
        told = [(t, entry) for t, entry in enumerate(self.about.get("callbacks", ()))]
        for c in self.options.callbacks:
            c.begin(run, public)
            own = next(((t, entry) for t, entry in told if entry["kind"] == type(c).__name__), None)
            if own is not None:
                told.remove(own)
                arrays = {n: self.tensors[f"callback/{own[0]}/{n}"].copy() for n in own[1]["arrays"]}
                c.load_state_dict({**own[1]["state"], **arrays})
        for name, value in self.about.get("hyper", {}).items():
            run.hyper[name] = value


@record
class Part:
    """What a fit is of a run: all of it, or one of several fits in turn, ``before`` which there were so many steps.

    Callbacks begin with the first of them and end with the last: ``begins`` and ``ends`` tell whether this is it.
    """

    run: Run
    taken_up: TakenUp
    before: int = 0
    begins: bool = True
    ends: bool = True

    @property
    def options(self) -> Options:
        """The options of the fit."""
        return self.taken_up.options

    def begin(self, model: Core, public: Any) -> None:
        """Before the first step."""
        model.running = self.run, self.options.callbacks
        if self.begins:
            self.taken_up.begin(model, self.run, public)

    def end(self, model: Core, public: Any) -> None:
        """After the last step."""
        model.running = None
        for c in self.options.callbacks if self.ends else ():
            c.end(self.run, public)


def whole_run(model: Core, options: Options) -> Part:
    """A fit that is a run of its own."""
    run = model.last_run = Run(record=options.record)
    return Part(run, take_up(model, options, run))


def take_up(model: Core, options: Options, run: Run) -> TakenUp:
    """Bring a model to where the last good checkpoint left it, and a run to its number of steps.

    Raises
    ------
    CheckpointError
        When there is none, or it is of another model.
    """
    if options.resume is False or options.resume is None:
        return TakenUp(options)
    places, must = _places(options)
    path, metadata, tensors, notes = _newest(places)
    if metadata is None:
        if must or notes:
            found = "; ".join(notes) or "there is none"
            raise CheckpointError(f"fit: no good checkpoint in {places}: {found}{_MADE_BY}")
        return TakenUp(options, [f"resume: no checkpoint in {places} yet, begun at the start"])
    with reading(path):
        _check_model(model, path, metadata, tensors)
        about = metadata["run"]
        epochs, steps = whole(about["epochs"]), whole(about["steps"])
        latest, best = dict(about["latest"]), dict(about["best"])
        restore_state(model, metadata, tensors)
    run.epochs, run.steps = epochs, steps
    run.resumed, run.latest, run.best = steps, latest, best
    if about["stopped"] in OVER:
        run.stopped = about["stopped"]
    notes.append(f"resume: {path}, after {run.epochs} epochs")
    return TakenUp(replace(options, seed=None), notes, about, tensors)


def _places(options: Options) -> tuple[str, bool]:
    """Where checkpoints are looked for, and whether there must be one."""
    if options.resume is not True:
        return str(options.resume), True
    for c in options.callbacks:
        if isinstance(c, Checkpoint):
            return c.path, False
    raise DomainError(
        "fit: resume=True but no Checkpoint is among the callbacks\n"
        "  hint: callbacks=[gc.Checkpoint('model-{epoch}.safetensors')], or name a file: resume='model.safetensors'"
    )


def _files(place: str) -> list[Path]:
    """A file, those of a folder, or all that a path with fields in braces stands for."""
    if Path(place).is_dir():
        return sorted(Path(place).glob("*.safetensors"))
    pattern = re.sub(r"\{[^}]*\}", "*", glob.escape(place))
    return [Path(found) for found in sorted(glob.glob(pattern))]


Found = tuple[Path, dict[str, Any] | None, dict[str, NDArray], list[str]]


def _newest(place: str) -> Found:
    """The good checkpoint with the most steps; what is damaged is passed over, and told."""
    notes: list[str] = []
    steps = {path: _steps_of(path, notes) for path in _files(place)}
    for path in sorted((p for p, n in steps.items() if n is not None), key=lambda p: steps[p] or 0, reverse=True):
        try:
            return path, *read(path), notes
        except CheckpointError as error:
            notes.append(f"passed over: {str(error).partition(chr(10))[0]}")
    return Path(place), None, {}, notes


def _steps_of(path: Path, notes: list[str]) -> int | None:
    """The steps that a checkpoint tells of, by its first lines; None where there is no run in it."""
    try:
        with safe_open(str(path), framework="numpy") as file:
            about = as_json((file.metadata() or {}).get("graphc", "{}"))
        return whole(about["run"]["steps"])
    except KeyError:
        notes.append(f"passed over: {path} tells of no run that was going on")
    except (SafetensorError, OSError, RecursionError, ValueError, TypeError) as error:
        notes.append(f"passed over: {path} is damaged ({error})")
    return None


def _check_model(model: Core, path: Path, metadata: Mapping[str, Any], tensors: Mapping[str, NDArray]) -> None:
    found = {n.removeprefix("param/"): a.shape for n, a in tensors.items() if n.startswith("param/")}
    own = {n: model.params.shape(n) for n in model.params}
    if metadata["dtype"] != model.dtype:
        message = f"{path}: the run is in {metadata['dtype']}, {model.name} in {model.dtype}"
        raise CheckpointError(f"{message}\n  hint: declare the model with dtype='{metadata['dtype']}'")
    differ = [n for n in dict.fromkeys([*own, *found]) if own.get(n) != found.get(n)]
    if differ:
        told = ", ".join(f"{n} {found.get(n, 'absent')} in the file, {own.get(n, 'absent')} declared" for n in differ)
        raise CheckpointError(f"{path}: the run is of another model ({told})\n  hint: resume the model that it is of")
