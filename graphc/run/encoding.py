"""Words in tables as numbers: codes for an embedding or a class, columns of 0 and 1 for everything else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from graphc.declare.origin import located
from graphc.errors import DataError, DomainError, TypeMismatchError, UnknownNameError
from graphc.ir.letters import close_name
from graphc.ir.node import Leaf
from graphc.run.frames import as_table, is_frame, is_missing, is_series, named_columns, numbers

UNNAMED = "words"  # of the one column that an array or list without a name is

Word = str | int | float | bool


class Encoder:
    """What the words in the columns of a table are as numbers; ``model.encoders["X"] = encoder`` keeps it with a model.

    An input of whole numbers gets codes, the places of the words in ``categories``; an input of floats gets a column of
    0 and 1 for each word, where the column of words stood. Columns of numbers stay as they are.

    Parameters
    ----------
    categories : dict of str to list, optional
        Words by column, in the order of their codes; also of columns of numbers that stand for classes. All other
        columns that hold words are found by :meth:`fit`, their words in sorted order.
    unknown : "error" or "code"
        What a word is that was not there: an error that names it, or the code behind the last, in columns of 0 and 1
        zeros. Missing words too.

    Attributes
    ----------
    categories : dict of str to list
        The words of every column of words.
    columns : tuple of str
        All columns, in the order of the table that it was fitted to.

    Examples
    --------
    >>> import graphc as gc
    >>> encoder = gc.Encoder().fit(["red", "green", "red", "blue"])
    >>> encoder.categories["words"], encoder.codes(["green", "red"]).tolist()
    (['blue', 'green', 'red'], [1, 2])
    >>> encoder.onehot(["red"]).tolist(), encoder.words([2])
    ([[0.0, 0.0, 1.0]], ['red'])
    """

    def __init__(self, categories: Mapping[str, Sequence[Word]] | None = None, unknown: str = "error") -> None:
        if unknown not in ("error", "code"):
            raise DomainError(f'Encoder: unknown is {unknown!r:.60}\n  hint: choose "error" or "code"')
        self.given = {name: [_plain(w) for w in words] for name, words in (categories or {}).items()}
        self.unknown = unknown
        self.categories: dict[str, list[Word]] = dict(self.given)
        self.columns: tuple[str, ...] = tuple(self.given)

    def fit(self, table: Any) -> Self:
        """Find the columns of words and their words.

        Parameters
        ----------
        table : data frame, Arrow table, series, array or list of words

        Returns
        -------
        self
        """
        found = _columns(as_table(table))
        for name in self.given:
            if name not in found:
                hint = close_name(name, found)
                raise UnknownNameError(f"Encoder: the table has no column {name!r}\n  hint: {hint}")
        self.columns = tuple(found)
        self.categories = {
            name: self.given.get(name) or _words_of(name, values, self.unknown)
            for name, values in found.items()
            if name in self.given or not _is_numeric(values)
        }
        return self

    @property
    def sizes(self) -> dict[str, int]:
        """How many codes every column of words has."""
        return {name: len(words) + (self.unknown == "code") for name, words in self.categories.items()}

    @property
    def width(self) -> int:
        """How many columns an input of floats has."""
        return sum(len(self.categories[name]) if name in self.categories else 1 for name in self.columns)

    def codes(self, table: Any) -> NDArray:
        """Whole numbers: shape (rows,) for one column, else (rows, columns).

        Parameters
        ----------
        table
            As of :meth:`fit`; the columns of frames are taken by name.
        """
        found = self._found(table, "codes")
        made = [self._codes(name, v) if name in self.categories else numbers(v, name, "codes") for name, v in found]
        return made[0] if len(made) == 1 else np.column_stack(made)

    def onehot(self, table: Any) -> NDArray:
        """Columns of 0 and 1 where there were words: shape (rows, width).

        Parameters
        ----------
        table
            As of :meth:`fit`; the columns of frames are taken by name.
        """
        return np.column_stack([self._expanded(name, v) for name, v in self._found(table, "onehot")])

    def words(self, codes: Any, column: str | None = None) -> list[Word]:
        """The words that some codes stand for, as of predicted classes; None for the code of unknown words.

        Parameters
        ----------
        codes : sequence of int
        column : str, optional
            Needed where several columns hold words.
        """
        name = next(iter(self.categories), None) if column is None and len(self.categories) == 1 else column
        if name not in self.categories:
            hint = f"column= one of {', '.join(map(repr, self.categories))}"
            raise UnknownNameError(f"Encoder: words of which column is asked, {column!r}?\n  hint: {hint}")
        return [*np.array([*self.categories[name], None], dtype=object)[np.asarray(codes, np.int64)]]

    def encoded(self, leaf: Leaf, value: Any) -> Any:
        """What an input reads of a table; arrays of numbers are as they are encoded already."""
        if not (is_frame(value) or is_series(value)) and np.asarray(value).dtype.kind in "fiub":
            return value
        found = self.codes(value) if leaf.dtype == "int" else self.onehot(value)
        return found[:, None] if leaf.dtype == "int" and len(leaf.shape) == 2 and found.ndim == 1 else found

    def told(self) -> dict[str, Any]:
        """For checkpoints: what :meth:`of` reads."""
        return {"columns": list(self.columns), "categories": self.categories, "unknown": self.unknown}

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Encoder:
        """The one that :meth:`told` told of."""
        made = cls(told["categories"], told["unknown"])
        made.columns = tuple(told["columns"])
        return made

    def __repr__(self) -> str:
        return f"<Encoder of {', '.join(f'{name} ({size})' for name, size in self.sizes.items()) or 'no words'}>"

    # ------------------------------------------------------------------ inner steps
    def _found(self, table: Any, what: str) -> list[tuple[str, Any]]:
        """The columns in the order of the fit; of frames by name."""
        table = as_table(table)
        if not self.columns:
            raise DataError(f"Encoder.{what}: it knows no words yet\n  hint: encoder.fit(table), or categories=")
        found = _columns(table)
        if not is_frame(table) and len(found) == len(self.columns):
            return [*zip(self.columns, found.values(), strict=True)]
        missing = [name for name in self.columns if name not in found]
        if missing:
            told = ", ".join(map(repr, missing))
            hint = f"it was fitted to {', '.join(map(repr, self.columns))}"
            raise DataError(f"Encoder.{what}: the table has no column {told}\n  hint: {hint}")
        return [(name, found[name]) for name in self.columns]

    def _codes(self, name: str, values: Any) -> NDArray:
        place: dict[Word | None, int] = {word: t for t, word in enumerate(self.categories[name])}
        words = [None if is_missing(w) else _plain(w) for w in _listed(values)]
        codes = np.array([place.get(w, -1) for w in words], np.int64)
        if self.unknown == "error" and (codes < 0).any():
            row = int(np.argmax(codes < 0))
            known = f"the word {words[row]!r}, which was not there when it was fitted"
            what = "no word" if words[row] is None else known
            hint = f'its words are {_few(self.categories[name])}; unknown="code" gives all others a code of their own'
            raise DataError(f"the column {name!r} holds {what}, in row {row}\n  hint: {hint}")
        return np.where(codes < 0, len(place), codes)

    def _expanded(self, name: str, values: Any) -> NDArray:
        if name not in self.categories:
            return numbers(values, name, "onehot")
        return (self._codes(name, values)[:, None] == np.arange(len(self.categories[name]))).astype(np.float64)


class Encoders(MutableMapping[str, Encoder]):
    """The encoders of a model by input, checked when one is set."""

    def __init__(self, inputs: Sequence[str], kept: dict[str, Encoder]) -> None:
        self.inputs, self.kept = inputs, kept

    def __getitem__(self, name: str) -> Encoder:
        return self.kept[name]

    @located
    def __setitem__(self, name: str, encoder: Encoder) -> None:
        if name not in self.inputs:
            raise UnknownNameError(f"encoders: no input is named {name!r}\n  hint: {close_name(name, self.inputs)}")
        if not isinstance(encoder, Encoder):
            raise TypeMismatchError(f"encoders: {encoder!r:.60} is no Encoder\n  hint: gc.Encoder().fit(frame)")
        self.kept[name] = encoder

    def __delitem__(self, name: str) -> None:
        del self.kept[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.kept)

    def __len__(self) -> int:
        return len(self.kept)

    def __repr__(self) -> str:
        return repr(self.kept)


def _columns(table: Any) -> dict[str, Any]:
    """The columns of a table by name; those of an array by number, one without a name is "words"."""
    if is_frame(table):
        return named_columns(table)
    if is_series(table):
        return {str(getattr(table, "name", None) or UNNAMED): table}
    array = np.asarray(table)
    if array.ndim == 2 and array.shape[1] > 1:
        return {str(t): array[:, t] for t in range(array.shape[1])}
    if array.ndim not in (1, 2):
        raise DataError(f"Encoder: the words have shape {array.shape}\n  hint: give a table, or a list of words")
    return {UNNAMED: array.ravel()}


def _listed(values: Any) -> list[Any]:
    return values.to_pylist() if hasattr(values, "to_pylist") else list(values)


def _is_numeric(values: Any) -> bool:
    return all(is_missing(v) or isinstance(v, int | float | np.number | np.bool_) for v in _listed(values))


def _words_of(name: str, values: Any, unknown: str) -> list[Word]:
    """The different words of a column, sorted."""
    listed = _listed(values)
    gaps = [t for t, v in enumerate(listed) if is_missing(v)]
    if gaps and unknown == "error":
        hint = 'fill it, or unknown="code"'
        raise DataError(f"Encoder: the column {name!r} holds no word in row {gaps[0]}\n  hint: {hint}")
    found = {_plain(v) for v in listed if not is_missing(v)}
    if len({isinstance(w, str) for w in found}) > 1:
        hint = "make words of all: map(str, ..)"
        raise DataError(f"Encoder: the column {name!r} holds words and numbers\n  hint: {hint}")
    return sorted(found)


def _plain(word: Any) -> Word:
    """A word as Python has it, which files can hold."""
    plain = word.item() if isinstance(word, np.generic) else word
    if not isinstance(plain, str | int | float | bool):
        kind = type(word).__name__
        raise TypeMismatchError(f"Encoder: {word!r:.60} is a {kind}, no word\n  hint: make a string of it")
    return plain


def _few(words: Sequence[Word]) -> str:
    shown = ", ".join(map(repr, words[:6]))
    return f"{shown}, .. ({len(words)})" if len(words) > 6 else shown
