"""scikit-learn estimators whose network is a graphc model: ``from graphc.sklearn import GraphClassifier``.

The one room that imports scikit-learn, which the extra ``sklearn`` installs; it uses graphc as any user does.
"""

import importlib.util

from graphc.errors import MissingExtraError
from graphc.native.gc_pause import importing

if importlib.util.find_spec("sklearn") is None:
    raise MissingExtraError("graphc.sklearn needs scikit-learn\n  hint: pip install 'graphc[sklearn]'")

with importing():
    from graphc.sklearn.classifier import GraphClassifier
    from graphc.sklearn.regressor import GraphRegressor
    from graphc.sklearn.search import SweepSearchCV
    from graphc.sklearn.transformer import GraphTransformer

__all__ = ["GraphClassifier", "GraphRegressor", "GraphTransformer", "SweepSearchCV"]
