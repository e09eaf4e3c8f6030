"""A grid search that trains what differs in learning rate, alpha and seed alone by one sweep a fold."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self

import numpy as np
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, ParameterGrid, ParameterSampler

from graphc.errors import TypeMismatchError
from graphc.native.stack import cores
from graphc.sklearn.base import GraphEstimator
from graphc.sklearn.together import Together


class SweepSearchCV(GridSearchCV):
    """``GridSearchCV``, or ``RandomizedSearchCV``, whose copies of one network are trained side by side.

    Candidates that differ in ``learning_rate``, ``alpha`` and ``random_state`` alone are one :meth:`graphc.Model.sweep`
    a fold, whatever stands before the estimator in a pipeline; those without a penalty, alpha 0, one of their own.
    Scores, results and the best estimator are those of scikit-learn's search, bit for bit. With ``early_stopping``,
    which holds rows out by the seed, every seed has a sweep. Trained one by one, as there, are candidates with
    ``random_state=None``, with an optimizer that uses curvature or a rate that is a schedule, and the best estimator.

    Parameters
    ----------
    estimator : estimator
        One of graphc, or a pipeline or another estimator of estimators that holds such.
    param_grid : dict or list of dicts
        Lists of values by the names of arguments; with ``n_iter`` also distributions of SciPy.
    n_iter : int, optional
        So many combinations drawn at random, as by ``RandomizedSearchCV``, instead of all.
    random_state : int or RandomState, optional
        What they are drawn with.
    n_jobs : int, optional
        Threads that train the copies of a fold; -1 and None take all cores. There are no further processes.
    scoring, refit, cv, verbose, pre_dispatch, error_score, return_train_score
        As for ``GridSearchCV``. The first candidate of a sweep has its time in ``cv_results_``, the others none.

    Raises
    ------
    TypeMismatchError
        By ``fit``, when there is no estimator of graphc.

    Examples
    --------
    >>> from graphc.sklearn import GraphClassifier, SweepSearchCV
    >>> grid = {"learning_rate": [1e-3, 1e-2], "random_state": [0, 1, 2]}
    >>> search = SweepSearchCV(GraphClassifier(hidden=(8,)), grid, cv=5)
    """

    def __init__(
        self,
        estimator: Any,
        param_grid: Any,
        *,
        n_iter: int | None = None,
        random_state: Any = None,
        scoring: Any = None,
        n_jobs: int | None = None,
        refit: Any = True,
        cv: Any = None,
        verbose: int = 0,
        pre_dispatch: Any = "2*n_jobs",
        error_score: Any = np.nan,
        return_train_score: bool = False,
    ) -> None:
        super().__init__(
            estimator, param_grid, scoring=scoring, n_jobs=n_jobs, refit=refit, cv=cv, verbose=verbose,
            pre_dispatch=pre_dispatch, error_score=error_score, return_train_score=return_train_score,
        )  # fmt: skip
        self.n_iter = n_iter
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None, **params: Any) -> Self:
        """Search, then fit the best estimator to all rows.

        Parameters
        ----------
        X : array of shape (rows, features)
        y : array, optional
        **params
            Passed to ``fit`` of the estimator, as ``sample_weight``.

        Returns
        -------
        self
        """
        candidates = self._candidates()
        estimator = clone(self.estimator)
        self._together = [*_trained_together(estimator, candidates, self._threads())]
        grid = [{name: [value] for name, value in candidate.items()} for candidate in candidates]
        try:
            with self._for_now(estimator=estimator, param_grid=grid, n_jobs=None):
                super().fit(X, y, **params)
        finally:
            del self._together
        return self

    def _candidates(self) -> Sequence[Mapping[str, Any]]:
        if self.n_iter is None:
            return list(ParameterGrid(self.param_grid))
        return list(ParameterSampler(self.param_grid, self.n_iter, random_state=self.random_state))

    def _threads(self) -> int | None:
        return cores() if self.n_jobs == -1 else self.n_jobs

    @contextlib.contextmanager
    def _for_now(self, **arguments: Any) -> Iterator[None]:
        """Other arguments for scikit-learn's part of the fit; the user's own are back afterwards."""
        kept = {name: getattr(self, name) for name in arguments}
        vars(self).update(arguments)
        try:
            yield
        finally:
            vars(self).update(kept)

    def _run_search(self, evaluate_candidates: Any, *, callback_ctx: Any = None) -> None:
        """The search proper; the fit of the best estimator comes after it.

        scikit-learn hands over a context where this method names one, and asks for it back.
        """
        context = {} if callback_ctx is None else {"callback_ctx": callback_ctx}
        with contextlib.ExitStack() as stack:
            for together in self._together:
                stack.enter_context(together.search())
            super()._run_search(evaluate_candidates, **context)


def _trained_together(estimator: Any, candidates: Sequence[Mapping[str, Any]], threads: int | None) -> list[Together]:
    """Tell every estimator of graphc within an estimator what it will be as one of the candidates.

    Raises
    ------
    TypeMismatchError
        When there is none.
    """
    found = graph_estimators(estimator)
    if not found:
        hint = "search with GridSearchCV of scikit-learn"
        kind = type(estimator).__name__
        raise TypeMismatchError(f"SweepSearchCV: there is no estimator of graphc in {kind}\n  hint: {hint}")
    copied: Any = clone  # of an estimator, or of values
    made = [copied(estimator).set_params(**copied(dict(candidate), safe=False)) for candidate in candidates]
    within = [graph_estimators(one) for one in made]
    groups = {name: Together([one[name] for one in within if name in one], threads) for name in found}
    for name, own in found.items():
        own._together = groups[name]
    return [*groups.values()]


def graph_estimators(estimator: Any) -> dict[str, GraphEstimator]:
    """Those within an estimator, by the names that parameters have."""
    named = {"": estimator, **estimator.get_params(deep=True)}
    return {name: value for name, value in named.items() if isinstance(value, GraphEstimator)}
