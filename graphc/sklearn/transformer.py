"""A transformer in scikit-learn's manner: the code of an autoencoder, or any embedding that a function declares."""

from __future__ import annotations

from numbers import Integral
from typing import Any, Self

from numpy.typing import NDArray
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_array, check_is_fitted, validate_data

from graphc.errors import DomainError, ShapeError
from graphc.model import Model
from graphc.sklearn.base import ACCEPTED, FLOATS, GraphEstimator, Rows
from graphc.sklearn.networks import autoencoder


def _has_decoder(estimator: Any) -> bool:
    return not callable(estimator.network)


class GraphTransformer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, GraphEstimator):
    """An autoencoder whose network is a graphc model, for use with scikit-learn.

    X goes through hidden layers to ``n_components`` numbers, the code, and through the same layers in reverse order
    back to X; ``transform`` gives the code.

    Parameters
    ----------
    n_components : int
        Columns of the code.
    hidden, activation, optimizer, epochs, batch_size, learning_rate, alpha, early_stopping
        As for :class:`GraphClassifier`.
    network : list of layers or function, optional
        Hidden layers of the encoder; or a function ``f(X)``, with a further argument ``outputs`` (n_components) where
        it names it, that gives a pair (code[n, n_components], loss).
    loss : str or function
        Of (reconstruction, X): a name of :mod:`graphc.losses`, or a function.
    validation_fraction, n_iter_no_change, tol, shuffle, warm_start, random_state, threads, target, verbose
        As for :class:`GraphClassifier`.

    Attributes
    ----------
    model_ : graphc.Model
        Its output is the code.
    decoder_ : graphc.Model
        From codes to rows; None for a ``network`` function.
    coefs_, intercepts_, loss_curve_, validation_loss_curve_, loss_, best_loss_, n_iter_, run_
        As for :class:`GraphClassifier`.

    Examples
    --------
    >>> import numpy as np
    >>> from graphc.sklearn import GraphTransformer
    >>> x = np.outer(np.linspace(-1, 1, 20), [1.0, 2.0, -1.0])
    >>> GraphTransformer(n_components=1, hidden=(), optimizer="lbfgs", random_state=0).fit_transform(x).shape
    (20, 1)
    """

    decoder_: Model | None

    def __init__(
        self,
        n_components: int = 2,
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
        self.n_components = n_components
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
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Train on rows X.

        Parameters
        ----------
        X : array or sparse matrix of shape (rows, features)
        y : None
            There for pipelines.
        sample_weight : array of shape (rows,), optional
            2 counts as that row twice; a row of weight 0 is left out.

        Returns
        -------
        self
        """
        return self._fit(X, sample_weight, self._epochs(), not self._continues())

    def partial_fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """One more epoch, over these rows.

        Parameters
        ----------
        X, y, sample_weight
            As for :meth:`fit`.

        Returns
        -------
        self
        """
        return self._fit(X, sample_weight, 1, not hasattr(self, "model_"))

    def _fit(self, X: Any, sample_weight: Any, epochs: int, begin: bool) -> Self:
        X = validate_data(self, X, reset=begin, dtype=FLOATS, **ACCEPTED)
        counted, weights = self._weighted(X, sample_weight)
        if begin:
            self._declare(X.shape[1], X.dtype.name)
        self._train(Rows({"X": X[counted]}, weights), epochs, begin)
        if self.decoder_ is not None:
            learnt = self.model_.params
            self.decoder_.params = {name: learnt[name] for name in self.decoder_.params}
        return self

    def _declare(self, features: int, dtype: Any) -> None:
        count = self.n_components
        if isinstance(count, bool) or not isinstance(count, Integral) or count < 1:
            raise DomainError(f"n_components is {count!r:.60}\n  hint: give a whole number of at least 1")
        code, loss, decoded = autoencoder(self._shape(), features, int(count))
        if len(code.shape) != 2 or code.shape[0] != "n":
            raise ShapeError(f"network: the code has shape {code.shape}\n  hint: give one of shape (\"n\", columns)")
        self.model_ = self._declared(code, loss, dtype)
        self.decoder_ = None if decoded is None else Model(output=decoded, dtype=dtype)
        self._n_features_out = int(code.shape[1])

    def transform(self, X: Any) -> NDArray:
        """The code of every row.

        Parameters
        ----------
        X : array or sparse matrix of shape (rows, features)

        Returns
        -------
        array of shape (rows, n_components)
        """
        return self._predicted(X)

    @available_if(_has_decoder)
    def inverse_transform(self, X: Any) -> NDArray:
        """What the decoder makes of codes.

        Parameters
        ----------
        X : array of shape (rows, n_components)

        Returns
        -------
        array of shape (rows, features)
        """
        check_is_fitted(self, "model_")
        assert self.decoder_ is not None
        codes = check_array(X, dtype=self.model_.dtype, order="C")
        return self.decoder_.predict(codes, target=self.target)
