"""What the estimators share: arguments checked, rows and weights made ready, a model declared and trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from graphc.declare.tensor import Tensor
from graphc.errors import DataError, DomainError, TypeMismatchError
from graphc.facade.sweeping import Sweep
from graphc.model import Model
from graphc.optim import Curvature, Groups, optimizer_named
from graphc.records import record
from graphc.run.history import Run
from graphc.run.steering import EarlyStopping
from graphc.sklearn.networks import Shape, penalty_of
from graphc.sklearn.together import Candidate, Together, is_factor

FLOATS = (np.float64, np.float32)
ACCEPTED: dict[str, Any] = {"order": "C", "accept_sparse": "csr"}
MOST_ROWS = 200  # of a batch whose size is "auto", as in scikit-learn


@record
class Rows:
    """What a fit is made of: the inputs of the loss by name (X may be sparse), a weight a row, classes to divide by."""

    arrays: dict[str, Any]
    weights: NDArray | None = None
    strata: NDArray | None = None

    def chosen(self, rows: NDArray) -> Rows:
        """Some of them."""
        picked = [None if a is None else a[rows] for a in (self.weights, self.strata)]
        return Rows({name: a[rows] for name, a in self.arrays.items()}, *picked)


class GraphEstimator(BaseEstimator):
    """Base of the estimators, which have the arguments of :class:`graphc.sklearn.GraphClassifier` in common."""

    hidden: Any
    activation: Any
    optimizer: Any
    epochs: int
    batch_size: Any
    network: Any
    learning_rate: float | None
    alpha: float
    early_stopping: bool
    validation_fraction: float
    n_iter_no_change: int
    tol: float
    shuffle: bool
    warm_start: bool
    random_state: Any
    threads: int | None
    target: Any
    verbose: bool
    loss: Any = None

    _penalty: str | None = None  # the input that holds alpha, in a model that has one
    _together: Together | None = None  # with the candidates of a search, handed on to clones until they are fitted

    model_: Model
    loss_curve_: list[float]
    n_iter_: int
    n_features_in_: int

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def __sklearn_clone__(self) -> Self:
        twin: Any = super().__sklearn_clone__()
        if self._together is not None:
            twin._together = self._together
        return twin

    # ------------------------------------------------------------------ data
    def _predicted(self, X: Any) -> NDArray:
        """What the model gives for rows X, in the precision that it was trained in."""
        check_is_fitted(self, "model_")
        X = validate_data(self, X, reset=False, dtype=self.model_.dtype, **ACCEPTED)
        return self.model_.predict(X, target=self.target)

    def _weighted(self, X: Any, sample_weight: Any) -> tuple[NDArray, NDArray | None]:
        """The rows that count, and their weights; None for all rows alike."""
        if sample_weight is None:
            return np.arange(X.shape[0]), None
        weights = _check_sample_weight(sample_weight, X, dtype=X.dtype)
        if (weights < 0).any() or not weights.any():
            raise DataError("sample_weight holds negative or only zero weights\n  hint: give weights of at least 0")
        counted = np.flatnonzero(weights)
        return counted, weights[counted]

    # ------------------------------------------------------------------ training
    def _shape(self) -> Shape:
        return Shape(self.hidden, self.activation, self.network, self.loss, self._factor())

    def _factor(self) -> float:
        """``alpha``, checked."""
        if not is_factor(self.alpha):
            raise DomainError(f"alpha is {self.alpha!r:.60}\n  hint: give a number of at least 0")
        return float(self.alpha)

    def _declared(self, output: Tensor, loss: Tensor, dtype: Any) -> Model:
        """The model of an output and a loss."""
        self._penalty = penalty_of(loss)
        return Model(output=output, loss=loss, dtype=dtype)

    def _with_penalty(self, arrays: Mapping[str, Any], alpha: Any) -> dict[str, Any]:
        """The data of the model: the rows and, where the loss has it, alpha."""
        return {**arrays, **({self._penalty: alpha} if self._penalty else {})}

    def optimizer_given(self) -> Any:
        """The optimizer, with the learning rate where one is given."""
        optimizer = optimizer_named(self.optimizer)
        if self.learning_rate is None:
            return optimizer
        if isinstance(optimizer, Curvature):
            hint = "leave learning_rate out"
            raise DomainError(f"learning_rate is given, but {optimizer.name} finds its steps itself\n  hint: {hint}")
        if isinstance(optimizer, Groups):
            return optimizer.with_rate(self.learning_rate)
        return optimizer.with_(eta=self.learning_rate)

    def _seed(self) -> int:
        """``random_state`` itself where it is a number, so that ``model.fit(seed=..)`` repeats the run."""
        if isinstance(self.random_state, Integral) and not isinstance(self.random_state, bool):
            if self.random_state < 0:
                raise DomainError(f"random_state is {self.random_state}\n  hint: give a number of at least 0")
            return int(self.random_state)
        return int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))

    def _batch(self, optimizer: Any) -> Any:
        """Rows of a step. "auto" is the same number for small data and large, so that they share a program."""
        if isinstance(self.batch_size, str) and self.batch_size == "auto":
            return None if isinstance(optimizer, Curvature) else MOST_ROWS
        return self.batch_size

    def _train(self, rows: Rows, epochs: int, begin: bool) -> None:
        """Train ``model_``: from new parameters, or from where it stands."""
        together = vars(self).pop("_together", None)
        found = together.fitted(self, rows, epochs) if together is not None and begin else None
        if found is not None:
            self.model_, run = found
            self._note(run, begin)
            return
        seed, optimizer = self._seed(), self.optimizer_given()
        alpha = self._factor()
        rows, options = self._stopped_early(rows, seed, alpha)
        run = self.model_.fit(
            self._with_penalty(rows.arrays, alpha), optimizer=optimizer, epochs=epochs,
            batch_size=self._batch(optimizer), seed=seed if begin else None, sample_weight=rows.weights,
            shuffle=self.shuffle, threads=self.threads, target=self.target, progress=bool(self.verbose), **options,
        )  # fmt: skip
        self._note(run, begin)

    def swept(self, rows: Rows, epochs: int, candidates: Sequence[Candidate], threads: int | None) -> Sweep:
        """Copies of ``model_`` with these learning rates, seeds and alphas, each as a fit alone trains it."""
        rates, seeds, alphas = (list(column) for column in zip(*candidates, strict=True))
        optimizer: Any = optimizer_named(self.optimizer)
        rows, options = self._stopped_early(rows, seeds[0], None)  # all have one seed where that matters
        return self.model_.sweep(
            self._with_penalty(rows.arrays, alphas), optimizer=optimizer.with_(eta=np.array(rates)), seeds=seeds,
            paired=True, epochs=epochs, batch_size=self._batch(optimizer), sample_weight=rows.weights,
            shuffle=self.shuffle, threads=threads or self.threads, target=self.target, progress=bool(self.verbose),
            **options,
        )  # fmt: skip

    def _stopped_early(self, rows: Rows, seed: int, alpha: float | None) -> tuple[Rows, dict[str, Any]]:
        """Rows to train on and the options of early stopping, where it is asked for; without alpha copies have their
        own."""
        if not self.early_stopping:
            return rows, {}
        rows, held_out = self._divided(rows, seed)
        stop = EarlyStopping("val_loss", int(self.n_iter_no_change), float(self.tol))
        data = held_out.arrays if alpha is None else self._with_penalty(held_out.arrays, alpha)
        own = {} if held_out.weights is None else {"sample_weight": held_out.weights}
        return rows, {"validation": {**data, **own}, "callbacks": [stop]}

    def _divided(self, rows: Rows, seed: int) -> tuple[Rows, Rows]:
        """Rows to train on and rows to stop by, the classes in equal shares."""
        count, share = rows.arrays["X"].shape[0], self.validation_fraction
        if isinstance(share, bool) or not isinstance(share, Real) or not 0 < float(share) < 1:
            raise DomainError(f"validation_fraction is {share!r:.60}\n  hint: give a fraction between 0 and 1")
        kept, out = train_test_split(
            np.arange(count), test_size=float(share), random_state=seed % 2**32, stratify=rows.strata
        )
        return rows.chosen(np.sort(kept)), rows.chosen(np.sort(out))

    def _note(self, run: Run, begin: bool) -> None:
        curves = {"loss_curve_": "loss", "validation_loss_curve_": "val_loss"}
        for attribute, name in curves.items():
            if name in run.history:
                before = [] if begin else getattr(self, attribute, [])
                setattr(self, attribute, before + list(run.history[name]))
            elif begin:
                self.__dict__.pop(attribute, None)
        self.n_iter_ = len(self.loss_curve_)
        self.run_ = run

    def _epochs(self) -> int:
        if isinstance(self.epochs, bool) or not isinstance(self.epochs, Integral):
            raise TypeMismatchError(f"epochs is {self.epochs!r:.60}\n  hint: give a whole number of at least 1")
        return int(self.epochs)

    def _continues(self) -> bool:
        return bool(self.warm_start) and hasattr(self, "model_")

    # ------------------------------------------------------------------ what was learnt
    @property
    def coefs_(self) -> list[NDArray]:
        """The weights: every parameter of two axes or more, in order of declaration."""
        return [value for value in self._learnt().values() if value.ndim > 1]

    @property
    def intercepts_(self) -> list[NDArray]:
        """The biases: every parameter of one axis, in order of declaration."""
        return [value for value in self._learnt().values() if value.ndim == 1]

    @property
    def loss_(self) -> float:
        """The loss, as the mean over the last epoch."""
        return self._loss_curve()[-1]

    @property
    def best_loss_(self) -> float:
        """The least loss of an epoch."""
        return min(self._loss_curve())

    def _loss_curve(self) -> list[float]:
        if not hasattr(self, "loss_curve_"):
            raise AttributeError(f"this {type(self).__name__} is not fitted yet: call fit")
        return self.loss_curve_

    def _learnt(self) -> Mapping[str, NDArray]:
        if not hasattr(self, "model_"):
            raise AttributeError(f"this {type(self).__name__} is not fitted yet: call fit")
        return self.model_.params
