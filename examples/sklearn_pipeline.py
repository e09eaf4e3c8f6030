"""A graphc network in a scikit-learn pipeline: the wine data, a search over learning rates, its formulas."""

import sys

from sklearn.datasets import load_wine
from sklearn.model_selection import GridSearchCV, cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from graphc.sklearn import GraphClassifier


def main(epochs: str = "100") -> None:
    wine = load_wine()
    x, y = wine.data, wine.target_names[wine.target]
    x, x_test, y, y_test = train_test_split(x, y, test_size=0.25, stratify=y, random_state=0)
    network = GraphClassifier(hidden=(16,), activation="tanh", epochs=int(epochs), random_state=0)
    pipe = make_pipeline(StandardScaler(), network)

    # Another learning rate compiles nothing anew.
    rates = {"graphclassifier__learning_rate": [1e-5, 1e-3, 0.01]}
    search = GridSearchCV(pipe, rates, cv=3).fit(x, y)
    print(f"best {search.best_params_}")
    print(f"cross-validated accuracy {100 * cross_val_score(search.best_estimator_, x, y, cv=3).mean():.1f} %")
    print(f"test accuracy {100 * search.score(x_test, y_test):.1f} %")

    fitted = search.best_estimator_[-1]
    print(f"{fitted.n_iter_} epochs, classes {', '.join(fitted.classes_)}, loss {fitted.loss_:.4f}")
    print(fitted.model_.derive("W0"))


if __name__ == "__main__":
    main(*sys.argv[1:])
