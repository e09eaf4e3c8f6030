"""A regressor in scikit-learn's manner."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import RegressorMixin
from sklearn.utils.validation import validate_data

from graphc.sklearn.base import ACCEPTED, FLOATS, GraphEstimator, Rows
from graphc.sklearn.networks import network_for
from graphc.sklearn.targets import NUMBERS


class GraphRegressor(RegressorMixin, GraphEstimator):
    """A regressor whose network is a graphc model, for use with scikit-learn.

    Scale the target as you scale X (:class:`sklearn.compose.TransformedTargetRegressor`) when its values are large.

    Parameters
    ----------
    hidden, activation, optimizer, epochs, batch_size, network, learning_rate, alpha, early_stopping
        As for :class:`GraphClassifier`; a ``network`` function gives y[n, outputs], or a pair (output, loss).
    loss : str or function
        A name of :mod:`graphc.losses`, or a function of (prediction, target); for a network that declares none.
    validation_fraction, n_iter_no_change, tol, shuffle, warm_start, random_state, threads, target, verbose
        As for :class:`GraphClassifier`.

    Attributes
    ----------
    model_, coefs_, intercepts_, loss_curve_, validation_loss_curve_, loss_, best_loss_, n_iter_, run_
        As for :class:`GraphClassifier`.

    Examples
    --------
    >>> from graphc.sklearn import GraphRegressor
    >>> line = GraphRegressor(hidden=(), optimizer="lbfgs").fit([[0.0], [1], [2]], [1.0, 3, 5])
    >>> line.predict([[10]]).round(3)
    array([21.])
    """

    def __init__(
        self,
        hidden: Any = (100,),
        activation: Any = "relu",
        optimizer: Any = "adam",
        epochs: int = 200,
        batch_size: Any = "auto",
        network: Any = None,
        *,
        loss: Any = "mse",
        learning_rate: float | None = None,
        alpha: float = 0.0,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        tol: float = 1e-4,
        shuffle: bool = True,
        warm_start: bool = False,
        random_state: Any = None,
        threads: int | None = None,
        target: Any = "cpu",
        verbose: bool = False,
    ) -> None:
        self.hidden = hidden
        self.activation = activation
        self.optimizer = optimizer
        self.epochs = epochs
        self.batch_size = batch_size
        self.network = network
        self.loss = loss
        self.learning_rate = learning_rate
        self.alpha = alpha
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.shuffle = shuffle
        self.warm_start = warm_start
        self.random_state = random_state
        self.threads = threads
        self.target = target
        self.verbose = verbose

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train on rows X with targets y.

        Parameters
        ----------
        X : array or sparse matrix of shape (rows, features)
        y : array of shape (rows,) or (rows, outputs)
        sample_weight : array of shape (rows,), optional
            2 counts as that row twice; a row of weight 0 is left out.

        Returns
        -------
        self
        """
        return self._fit(X, y, sample_weight, self._epochs(), not self._continues())

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """One more epoch, over these rows.

        Parameters
        ----------
        X, y, sample_weight
            As for :meth:`fit`.

        Returns
        -------
        self
        """
        return self._fit(X, y, sample_weight, 1, not hasattr(self, "model_"))

    def _fit(self, X: Any, y: Any, sample_weight: Any, epochs: int, begin: bool) -> Self:
        X, y = validate_data(
            self, X, y, reset=begin, dtype=FLOATS, **ACCEPTED, multi_output=True, y_numeric=True
        )
        counted, weights = self._weighted(X, sample_weight)
        X, target = X[counted], y[counted].astype(X.dtype).reshape(len(counted), -1)
        if begin:
            self._columns = y.shape[1:]
            output, loss = network_for(self._shape(), X.shape[1], NUMBERS, target.shape[1])
            self.model_ = self._declared(output, loss, X.dtype.name)
        elif y.shape[1:] != self._columns:
            raise ValueError(f"y has shape {y.shape}, which is not how y was in the first call")
        self._train(Rows({"X": X, "T": target}, weights), epochs, begin)
        return self

    def predict(self, X: Any) -> NDArray:
        """The prediction for every row.

        Parameters
        ----------
        X : array or sparse matrix of shape (rows, features)

        Returns
        -------
        array of shape (rows,) or (rows, outputs), as y was
        """
        found = self._predicted(X)
        return np.reshape(found, (len(found), *self._columns))
