"""scikit-learn's networks and linear models, with the scalers and PCA before them and the target's after them.

A live estimator and one that a file records are matched by the same functions: of both, the name of the class and
the attributes are looked at, and nothing of scikit-learn is imported.
"""

import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from portable_nn.errors import FormatError
from portable_nn.formats.estimators import INVERSES, PREDICTORS, TRANSFORMERS, Step, class_and_fields
from portable_nn.formats.given import check_live
from portable_nn.layers import Layer, fused
from portable_nn.network import Network
from portable_nn.readers.buffers import Budget, check_names
from portable_nn.readers.joblib import read_joblib

__all__ = ["from_sklearn", "is_estimator", "read_sklearn", "sklearn_network"]

LARGEST = 2**62  # bytes of a live estimator
MOST_STEPS = 1000  # a file may name one pipeline many times within another


def from_sklearn(estimator: object) -> Network:
    """Build the network of a fitted estimator of scikit-learn.

    Parameters
    ----------
    estimator : MLPClassifier, MLPRegressor, LogisticRegression, LinearRegression, Ridge, Lasso, ElasticNet
        Or a Pipeline of StandardScaler, MinMaxScaler, MaxAbsScaler, RobustScaler, PCA or FunctionTransformer
        that ends in one of these; or a TransformedTargetRegressor, GridSearchCV or RandomizedSearchCV of them.

    Returns
    -------
    Network
        With weights of the estimator's dtype. Its outputs are the probabilities of `predict_proba`, of two
        classes that of the second alone, or what `predict` gives of a regressor, in shape (N, n_outputs) also
        where n_outputs is 1. `classes` are those of the estimator, `inputs` its `feature_names_in_`.

    Raises
    ------
    InputError
        If it is no estimator.
    FormatError
        If it is not fitted, or has a step without a counterpart here.

    Examples
    --------
    >>> from sklearn.linear_model import LinearRegression
    >>> import portable_nn as pnn
    >>> pnn.from_sklearn(LinearRegression().fit([[0.0], [1.0]], [1.0, 3.0])).layers
    (Dense(1, 1, 'identity'),)
    """
    check_live(estimator, "from_sklearn", "a fitted estimator")
    return sklearn_network(estimator, "the estimator")


def read_sklearn(path: str | os.PathLike[str]) -> Network:
    """Read an estimator that pickle or joblib wrote, without scikit-learn and without unpickling.

    Parameters
    ----------
    path : str or path-like
        As `pickle.dump` and `joblib.dump` write it, compressed or not.

    Returns
    -------
    Network
        As `from_sklearn` gives it.

    Raises
    ------
    FormatError
        If the file cannot be read, or holds no estimator with a counterpart here.

    Examples
    --------
    >>> import pathlib, pickle, tempfile
    >>> from sklearn.linear_model import LinearRegression
    >>> from portable_nn.formats.sklearn import read_sklearn
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "line.pkl")
    ...     _ = path.write_bytes(pickle.dumps(LinearRegression().fit([[0.0], [1.0]], [1.0, 3.0])))
    ...     read_sklearn(path).layers
    (Dense(1, 1, 'identity'),)
    """
    return sklearn_network(read_joblib(path), path, Budget(os.path.getsize(path)))


def is_estimator(thing: object) -> bool:
    """Whether it is an estimator of scikit-learn's, alive or recorded."""
    return class_and_fields(thing)[0].startswith("sklearn.")


def sklearn_network(estimator: object, source: object, budget: Budget | None = None) -> Network:
    """The network of an estimator, alive or recorded; `source` is what messages name as its origin.

    The budget of a file bounds the weights, since it may name one array many times.

    Raises
    ------
    FormatError
        As `from_sklearn`.
    """
    try:
        with np.errstate(all="ignore"):  # a scale of 0 in a damaged file
            return _network(list(_steps(estimator, budget or Budget(LARGEST))))
    except (TypeError, ValueError) as error:
        raise FormatError(f"{source}: {error}") from error


def _network(steps: Sequence[Step]) -> Network:
    layers: list[Layer] = []
    facts: dict[str, Any] | None = None
    for step in steps:
        if step.inverted and step.kind in INVERSES:
            layers += INVERSES[step.kind](step)
        elif not step.inverted and facts is None and step.kind in TRANSFORMERS:
            layers += TRANSFORMERS[step.kind](step)
        elif not step.inverted and facts is None and step.kind in PREDICTORS:
            last, facts = PREDICTORS[step.kind](step)
            layers += last
        else:
            raise FormatError(_without_counterpart(step, after=facts is not None, last=step is steps[-1]))
    if facts is None:
        raise FormatError(f"it ends in no network: end it in one of {', '.join(PREDICTORS)}")
    return Network(fused(layers), inputs=_names(steps[0]), **facts)


def _without_counterpart(step: Step, *, after: bool, last: bool) -> str:
    if step.inverted:
        known, remedy = [*INVERSES], "convert regressor_ alone and undo the target's transformation yourself"
    elif after:
        known, remedy = [*PREDICTORS], "one of them ends a pipeline"
    elif last:
        known, remedy = [*PREDICTORS], "fit one of them instead"
    else:
        known, remedy = [*TRANSFORMERS, *PREDICTORS], "do its work beforehand and convert the other steps alone"
    return f"{step} has no counterpart here, those that have are {', '.join(known)}: {remedy}"


def _steps(estimator: object, budget: Budget) -> Iterator[Step]:
    """The steps in the order in which data go through them, with pipelines and the like opened."""
    waiting = [(estimator, "", False)]
    for _ in range(MOST_STEPS):
        if not waiting:
            return
        if len(waiting) > MOST_STEPS:
            break
        thing, name, inverted = waiting.pop()
        if thing is None or (isinstance(thing, str) and thing == "passthrough"):
            continue
        step = _step(thing, name, inverted, budget)
        match step.kind:
            case "Pipeline":
                inner = [(each, f"step {label[:80]!r}", inverted) for label, each in _pairs(step)]
                waiting += inner if inverted else inner[::-1]
            case "TransformedTargetRegressor" if not inverted:
                waiting += [(step["transformer_"], "transformer_", True), (step["regressor_"], name, False)]
            case "GridSearchCV" | "RandomizedSearchCV" if not inverted:
                waiting.append((step["best_estimator_"], name, False))
            case _:
                yield step
    raise FormatError(f"it has more than {MOST_STEPS} steps")


def _pairs(pipeline: Step) -> list[tuple[str, object]]:
    pairs = pipeline["steps"]
    if not isinstance(pairs, list) or len(pairs) > MOST_STEPS:
        raise FormatError(f"{pipeline}: steps must be a list of at most {MOST_STEPS}")
    for pair in pairs:
        match pair:
            case [str(), _]:
                pass
            case _:
                raise FormatError(f"{pipeline}: steps must be pairs of a name and an estimator")
    return pairs


def _step(thing: object, name: str, inverted: bool, budget: Budget) -> Step:
    full, fields = class_and_fields(thing)
    first, *_, last = full.split(".")
    return Step(name, last if first == "sklearn" else full, fields, inverted, budget)


def _names(step: Step) -> tuple[str, ...] | None:
    """The names of the features that the first step was fitted on."""
    names = step.fields.get("feature_names_in_")
    if not isinstance(names, np.ndarray) or not all(isinstance(name, str) for name in names.flat):
        return None
    check_names(names.flat)
    return tuple(names.tolist())
