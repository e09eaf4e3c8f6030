"""A classifier in scikit-learn's manner."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.validation import validate_data

from graphc.sklearn.base import ACCEPTED, FLOATS, GraphEstimator, Rows
from graphc.sklearn.networks import network_for
from graphc.sklearn.targets import BINARY, LABELS, classes_in, kind_of, targets_of


class GraphClassifier(ClassifierMixin, GraphEstimator):
    """A classifier whose network is a graphc model, for use with scikit-learn.

    Two classes have one output, sigmoid(z), and the loss ``bce_with_logits``; more have softmax(z) and
    ``cross_entropy``; a 0/1 matrix y, several labels a row, has a sigmoid a column. It trains in the precision of X:
    float32 for float32 data, else float64, which takes about twice as long.

    Parameters
    ----------
    hidden : tuple of int
        Sizes of the hidden layers; () for logistic regression.
    activation : str or function
        Of the hidden layers: a name of :mod:`graphc.activations`, or a function of a Tensor.
    optimizer : str or optimizer
        ``"adam"``, ``gc.SGD(0.1)``, ``gc.LBFGS()``, your own :func:`graphc.rule`.
    epochs : int
        Passes over the data in one ``fit``; at most so many with ``early_stopping``.
    batch_size : int, None or "auto"
        Rows a step; None takes all rows, "auto" 200 for update rules and all for optimizers with curvature.
    network : list of layers or function, optional
        Instead of ``hidden`` and ``activation``: hidden layers such as ``[gc.nn.Dense(64, "tanh")]``; or a function
        ``f(X)``, with further arguments ``outputs`` and ``T`` where it names them, of Tensors X[n, n_features_in_] and
        T. It gives the Tensor z[n, outputs] from which output and loss are made, or a pair (output, loss).
    learning_rate : float, optional
        Of the optimizer, else its own default. Another one compiles nothing anew.
    alpha : float
        The loss gets alpha/2 times the sum of all squared weights. Another one compiles nothing anew, but for 0.
    class_weight : dict or "balanced", optional
        Weights of the classes, as everywhere in scikit-learn; they multiply ``sample_weight``.
    early_stopping : bool
        Keep ``validation_fraction`` of the rows out, the classes in equal shares; stop when their loss has not improved
        by ``tol`` for ``n_iter_no_change`` epochs; keep the best parameters.
    validation_fraction, n_iter_no_change, tol : float, int, float
        See ``early_stopping``.
    shuffle : bool
        Whether every epoch takes the rows in a new order.
    warm_start : bool
        Whether ``fit`` goes on from the parameters of the last one.
    random_state : int, RandomState, optional
        Of initial weights, order of rows, held out rows. A number is the ``seed`` of ``model_.fit``.
    threads, target, verbose : int, str, bool
        As ``threads``, ``target`` and ``progress`` of :meth:`graphc.Model.fit`.

    Attributes
    ----------
    model_ : graphc.Model
        ``print(clf.model_.derive())`` shows its gradient, ``clf.model_.source()`` the program.
    classes_ : array of shape (classes,)
        For several labels a row, the numbers of the columns.
    coefs_, intercepts_ : lists of arrays
        Weights (shape (inputs, outputs)) and biases of the layers.
    loss_curve_, validation_loss_curve_ : lists of float
        An entry an epoch; the second with ``early_stopping``.
    loss_, best_loss_, n_iter_ : float, float, int
        The last loss, the least, the number of epochs.
    run_ : Run
        What the last fit did.
    n_features_in_, feature_names_in_
        As everywhere in scikit-learn.

    Examples
    --------
    >>> from graphc.sklearn import GraphClassifier
    >>> clf = GraphClassifier(hidden=(8,), activation="tanh", learning_rate=0.05, random_state=0)
    >>> clf.fit([[0.0, 0], [0, 1], [1, 0], [1, 1]], ["no", "yes", "yes", "no"]).predict([[1, 0]])
    array(['yes'], dtype='<U3')
    """

    classes_: NDArray

    def __init__(
        self,
        hidden: Any = (100,),
        activation: Any = "relu",
        optimizer: Any = "adam",
        epochs: int = 200,
        batch_size: Any = "auto",
        network: Any = None,
        *,
        learning_rate: float | None = None,
        alpha: float = 0.0,
        class_weight: Any = None,
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
        self.learning_rate = learning_rate
        self.alpha = alpha
        self.class_weight = class_weight
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
        tags.classifier_tags.multi_label = True
        return tags

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train on rows X with classes y.

        Parameters
        ----------
        X : array or sparse matrix of shape (rows, features)
        y : array of shape (rows,) or (rows, labels)
            Numbers or strings that name classes, or a 0/1 matrix of labels.
        sample_weight : array of shape (rows,), optional
            2 counts as that row twice; a row of weight 0 is left out.

        Returns
        -------
        self
        """
        return self._fit(X, y, None, sample_weight, self._epochs(), not self._continues())

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Self:
        """One more epoch, over these rows.

        Parameters
        ----------
        X, y, sample_weight
            As for :meth:`fit`.
        classes : array, optional
            All classes that will ever be seen; needed in the first call where y does not hold them all.

        Returns
        -------
        self
        """
        return self._fit(X, y, classes, sample_weight, 1, not hasattr(self, "model_"))

    def _fit(self, X: Any, y: Any, classes: Any, sample_weight: Any, epochs: int, begin: bool) -> Self:
        X, y = validate_data(self, X, y, reset=begin, dtype=FLOATS, **ACCEPTED, multi_output=True)
        counted, weights = self._weighted(X, sample_weight)
        X, y = X[counted], y[counted]
        found, labels = classes_in(y)
        if begin:
            self.classes_ = found if classes is None else np.unique(np.asarray(classes))
            self._kind, self._outputs = kind_of(self.classes_, labels)
        elif classes is not None and not np.array_equal(np.unique(np.asarray(classes)), self.classes_):
            raise ValueError(f"classes={classes!r:.60} are not those of the first call, {self.classes_.tolist()!r:.60}")
        if labels != (self._kind == LABELS) or labels and len(found) != self._outputs:
            raise ValueError(f"y has shape {y.shape}, which is not how y was in the first call")
        if begin:
            output, loss = network_for(self._shape(), X.shape[1], self._kind, self._outputs)
            self.model_ = self._declared(output, loss, X.dtype.name)
        if self.class_weight is not None:
            by_class = compute_sample_weight(self.class_weight, y).astype(X.dtype)
            weights = by_class if weights is None else weights * by_class
        target = targets_of(self._kind, self.classes_, y, X.dtype)
        self._train(Rows({"X": X, "T": target}, weights, None if labels else y), epochs, begin)
        return self

    def predict_proba(self, X: Any) -> NDArray:
        """The probability of every class, or of every label.

        Parameters
        ----------
        X : array or sparse matrix of shape (rows, features)

        Returns
        -------
        array of shape (rows, classes)
        """
        p = self._predicted(X)
        if self._kind != BINARY:
            return p
        return np.hstack([1 - p, p]) if len(self.classes_) == 2 else np.ones_like(p)

    def predict_log_proba(self, X: Any) -> NDArray:
        """The logarithm of :meth:`predict_proba`.

        Parameters
        ----------
        X : array or sparse matrix of shape (rows, features)
        """
        with np.errstate(divide="ignore"):
            return np.log(self.predict_proba(X))

    def predict(self, X: Any) -> NDArray:
        """The most probable class, or a 0/1 matrix of the labels that are more probable than not.

        Parameters
        ----------
        X : array or sparse matrix of shape (rows, features)

        Returns
        -------
        array of shape (rows,) or (rows, labels)
        """
        p = self.predict_proba(X)
        return (p > 0.5).astype(int) if self._kind == LABELS else self.classes_[p.argmax(axis=1)]
