"""Callbacks that write down how a run goes, an entry an epoch: tables, lines of JSON, events for TensorBoard."""

from __future__ import annotations

import io
import json
import math
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from graphc.errors import DataError
from graphc.late import late
from graphc.run.callback import Callback
from graphc.run.event_file import EventFile

if TYPE_CHECKING:
    from graphc.run.history import Run

csv = late("csv")


def entry(run: Run, seconds: float) -> dict[str, float]:
    """What a log tells of an epoch: its number, steps and seconds so far, the learning rate, the quantities of the
    history."""
    rate = {"eta": run.hyper["eta"]} if "eta" in run.hyper else {}
    return {"epoch": run.epochs, "step": run.steps, "seconds": round(seconds, 6), **rate, **run.latest}


class _Lines(Callback):
    """A text file with a line an epoch, each on the disk within a tenth of a second of the end of its epoch."""

    def __init__(self, path: str | Path, append: bool = False) -> None:
        self.path, self.append = Path(path), append

    def begin(self, run: Run, model: Any) -> None:
        self.started = time.perf_counter()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        old = self.path.read_text("utf-8") if (self.append or run.resumed) and self.path.exists() else ""
        kept = self.kept(old, run.epochs) if run.resumed else [old]
        self.file: IO[str] = self.path.open("w", encoding="utf-8", newline="")
        self.file.writelines(kept)
        self.file.flush()

    def kept(self, old: str, epochs: int) -> Iterator[str]:
        """What stays of the lines of a run that is taken up again after so many epochs."""
        raise NotImplementedError

    def line(self, values: dict[str, float]) -> str:
        """An entry as text."""
        raise NotImplementedError

    def epoch_end(self, run: Run, model: Any) -> bool | None:
        self.file.write(self.line(entry(run, time.perf_counter() - self.started)))
        self.file.flush()
        return None

    def end(self, run: Run, model: Any) -> None:
        self.file.close()


class CSVLogger(_Lines):
    """Write a table of the run, a line an epoch: epoch, step, seconds, eta, loss and metrics, ``val_..`` of both.

    Numbers are written so that reading gives their very bits. A run that is taken up again (``fit(.., resume=..)``)
    continues the table after the epoch of its checkpoint.

    Parameters
    ----------
    path : str or Path
        Replaced, unless a run is taken up again.
    append : bool
        Write below what the file holds.

    Examples
    --------
    >>> import graphc as gc
    >>> callbacks = [gc.callbacks.CSVLogger("log.csv")]
    """

    def begin(self, run: Run, model: Any) -> None:
        self.columns: Sequence[str] | None = None
        super().begin(run, model)
        if self.file.tell():
            with self.path.open(encoding="utf-8", newline="") as file:
                self.columns = next(csv.reader(file), None)

    def kept(self, old: str, epochs: int) -> Iterator[str]:
        rows = list(csv.reader(io.StringIO(old)))
        if rows and "epoch" in rows[0]:
            at, width = rows[0].index("epoch"), len(rows[0])
            whole = [r for r in rows[1:] if len(r) == width and r[at].isdigit()]  # the last may be cut off
            yield from map(_csv, [rows[0], *(r for r in whole if int(r[at]) <= epochs)])

    def line(self, values: dict[str, float]) -> str:
        head = ""
        if self.columns is None:
            self.columns = [*values]
            head = _csv(self.columns)
        if set(values) != set(self.columns):
            raise DataError(
                f"CSVLogger: {self.path} has the columns {', '.join(self.columns)}, this run {', '.join(values)}\n"
                f"  hint: write to another file, or leave out append"
            )
        return head + _csv([values[name] for name in self.columns])


def _csv(row: Sequence[Any]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(row)
    return text.getvalue()


class JSONLogger(_Lines):
    """Write the run as lines of JSON, an object an epoch: epoch, step, seconds, eta, loss and metrics.

    What is not finite is ``null``, which every reader of JSON takes. A run that is taken up again continues the file
    after the epoch of its checkpoint.

    Parameters
    ----------
    path : str or Path
        Replaced, unless a run is taken up again.
    append : bool
        Write below what the file holds.
    """

    def kept(self, old: str, epochs: int) -> Iterator[str]:
        for line in old.splitlines(keepends=True):
            if line.endswith("}\n") and json.loads(line).get("epoch", 0) <= epochs:
                yield line

    def line(self, values: dict[str, float]) -> str:
        finite = {name: value if math.isfinite(value) else None for name, value in values.items()}
        return json.dumps(finite, allow_nan=False) + "\n"


class TensorBoard(Callback):
    """Write events that TensorBoard draws while the run goes on: ``tensorboard --logdir logs``.

    A quantity and its value on the validation data are two curves in one chart: the folders ``train`` and
    ``validation``. Nothing needs to be installed for writing.

    Parameters
    ----------
    log_dir : str or Path
        The folder; a folder in it for each run makes runs comparable.
    """

    def __init__(self, log_dir: str | Path = "logs") -> None:
        self.log_dir = Path(log_dir)

    def begin(self, run: Run, model: Any) -> None:
        self.first = run.epochs + 1 if run.resumed else None
        self.files: dict[str, EventFile] = {}

    def epoch_end(self, run: Run, model: Any) -> bool | None:
        parts: dict[str, dict[str, float]] = {"train": {}, "validation": {}}
        for name, value in run.latest.items():
            held_out = name.startswith("val_")
            parts["validation" if held_out else "train"][name.removeprefix("val_")] = value
        if "eta" in run.hyper:
            parts["train"]["eta"] = run.hyper["eta"]
        for folder, values in parts.items():
            if values:
                self._file(folder).add(values, run.epochs)
        return None

    def _file(self, folder: str) -> EventFile:
        if folder not in self.files:
            self.files[folder] = EventFile(self.log_dir / folder, self.first)
        return self.files[folder]

    def end(self, run: Run, model: Any) -> None:
        for file in self.files.values():
            file.close()
