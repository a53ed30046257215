"""Estimators around a network, for scikit-learn's tools: pipelines, scorers, calibration, inspection.

The network is trained already. So `fit` trains nothing: it checks that the data are such as the network takes,
and `predict` works without it. Arrays of other libraries go through as they are where scikit-learn lets them
(``sklearn.set_config(array_api_dispatch=True)``); elsewhere they become NumPy's, as in all of scikit-learn.
"""

from math import prod
from typing import Any, Self

import numpy as np
from array_api_compat import device
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_array, validate_data

from portable_nn import backends
from portable_nn._arrays import as_array, namespace
from portable_nn._typing import Array, NumPyArray
from portable_nn.errors import NetworkError, ShapeError
from portable_nn.labels import check_labels
from portable_nn.meaning import last_activation
from portable_nn.network import Network, check_network

__all__ = ["NetworkClassifier", "NetworkRegressor"]


class _Estimator(BaseEstimator):  # type: ignore[misc]
    """What both have: the network, and the samples that it takes."""

    def __init__(self, net: Network) -> None:
        self.net = net

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        tags.array_api_support = True
        return tags

    def _check_fit(self, X: Any, y: Any, **options: Any) -> tuple[Array, Array]:  # noqa: N803
        net = check_network(self.net)
        _check_values(X)
        _check_values(y)
        X, y = validate_data(self, X, y, **options)  # noqa: N806
        if net.input_shape is not None and X.shape[1] != prod(net.input_shape):
            raise ShapeError(
                f"X has {X.shape[1]} features, the network takes {prod(net.input_shape)}: give those that it was "
                "trained on"
            )
        names, wanted = getattr(self, "feature_names_in_", None), net.meaning.inputs
        if names is not None and wanted is not None and tuple(names) != wanted:
            raise ShapeError(
                f"X has features {', '.join(names[:5])} …, the network takes {', '.join(wanted[:5])} …: "
                "give those it was trained on, in their order"
            )
        return X, y

    def _samples(self, X: Any) -> Array:  # noqa: N803
        net = check_network(self.net)
        _check_values(X)
        seen = hasattr(self, "n_features_in_")
        found = validate_data(self, X, reset=False) if seen else check_array(as_array(X, net.meaning.inputs))
        if net.input_shape is None or len(net.input_shape) == 1:
            return found
        if found.shape[1] != prod(net.input_shape):
            raise ShapeError(f"X has {found.shape[1]} features, the network takes {prod(net.input_shape)}")
        return namespace(found).reshape(found, (-1, *net.input_shape))


class NetworkClassifier(ClassifierMixin, _Estimator):  # type: ignore[misc]
    """A trained network as a classifier of scikit-learn.

    Parameters
    ----------
    net : Network
        One that gives each sample one label: `net.classes` are these, without any the indices of the outputs.

    Attributes
    ----------
    classes_ : array
        The labels, sorted, as everywhere in scikit-learn: columns of `predict_proba` stand in this order, which
        may be another than that of the outputs.
    n_features_in_ : int
        Features of the data that `fit` saw.
    feature_names_in_ : array of str
        Their names, where `fit` saw a DataFrame.

    Examples
    --------
    >>> import numpy as np
    >>> import portable_nn as pnn
    >>> from portable_nn.sklearn import NetworkClassifier
    >>> net = pnn.Network([pnn.Dense(np.eye(2), None, "softmax")], classes=["cat", "dog"])
    >>> NetworkClassifier(net).predict([[0.0, 1.0], [3.0, 2.0]])
    array(['dog', 'cat'], dtype='<U3')
    """

    @property
    def classes_(self) -> NumPyArray:
        """The labels, sorted."""
        return np.sort(self._labels())

    def _labels(self) -> NumPyArray:
        """The labels, in the order of the outputs."""
        net = _classifying(self.net)
        if net.classes is None and net.output_shape is None:
            raise NetworkError("the network gives as many outputs as features come: net.described(classes=[...])")
        return np.asarray(net.classes or range(max(2, prod(net.output_shape or ()))))

    def fit(self, X: Any, y: Any) -> Self:  # noqa: N803
        """Check that data suit the network, which is not trained.

        Parameters
        ----------
        X : array or DataFrame of shape (N, n)
        y : array of shape (N,)
            Labels, each one of `classes_`.

        Returns
        -------
        NetworkClassifier
            Itself.

        Raises
        ------
        ShapeError
            If features or labels are not those of the network.
        """
        X, y = self._check_fit(X, y)  # noqa: N806
        check_classification_targets(y)
        labels = self._labels().tolist()
        strange = sorted(set(_to_numpy(y).tolist()) - set(labels), key=repr)
        if strange:
            raise ShapeError(
                f"labels {strange[:5]} are none of the network's classes {labels[:5]}: "
                "net.described(classes=[...]) names them, in the order of its outputs"
            )
        return self

    def predict(self, X: Any) -> Array:  # noqa: N803
        """The label of each sample.

        Parameters
        ----------
        X : array of shape (N, n)

        Returns
        -------
        array of shape (N,)
            Integers of the library of `X`; strings, which only NumPy has, in NumPy.
        """
        x = self._samples(X)
        found = _classifying(self.net).predict(x)
        labels = self._labels()
        return labels[_to_numpy(found)] if labels.dtype.kind == "U" else found

    @available_if(lambda self: _gives_probabilities(self.net))  # type: ignore[untyped-decorator]
    def predict_proba(self, X: Any) -> Array:  # noqa: N803
        """The probability of each class; where the last activation is a softmax, or one sigmoid.

        Parameters
        ----------
        X : array of shape (N, n)

        Returns
        -------
        array of shape (N, n_classes)
        """
        x = self._samples(X)
        xp, found = namespace(x), _classifying(self.net)(x)
        if last_activation(self.net.layers) == "log_softmax":
            found = xp.exp(found)
        return self._sorted(xp.concat([1 - found, found], axis=-1) if found.shape[-1] == 1 else found)

    def decision_function(self, X: Any) -> Array:  # noqa: N803
        """The outputs before the last activation.

        Parameters
        ----------
        X : array of shape (N, n)

        Returns
        -------
        array of shape (N, n_classes), or (N,)
            Of two classes, by how much the second is ahead.
        """
        x = self._samples(X)
        xp, found = namespace(x), _classifying(self.net).logits(x)
        if found.shape[-1] == 1:
            found = xp.concat([xp.zeros_like(found), found], axis=-1)
        found = self._sorted(found)
        return found[:, 1] - found[:, 0] if found.shape[-1] == 2 else found

    def _sorted(self, columns: Array) -> Array:
        """Columns of outputs, in the order of `classes_`."""
        if self.net.classes is None:
            return columns
        order = np.argsort(self._labels())
        xp = namespace(columns)
        return xp.take(columns, xp.asarray(order, device=device(columns)), axis=-1)


class NetworkRegressor(RegressorMixin, _Estimator):  # type: ignore[misc]
    """A trained network as a regressor of scikit-learn.

    Parameters
    ----------
    net : Network
        One whose outputs are values.

    Attributes
    ----------
    n_features_in_ : int
        Features of the data that `fit` saw.
    feature_names_in_ : array of str
        Their names, where `fit` saw a DataFrame.

    Examples
    --------
    >>> import numpy as np
    >>> import portable_nn as pnn
    >>> from portable_nn.sklearn import NetworkRegressor
    >>> net = pnn.Network([pnn.Dense(np.array([[2.0], [1.0]]))])
    >>> NetworkRegressor(net).predict([[1.0, 0.0], [1.0, 3.0]])
    array([2., 5.])
    """

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def fit(self, X: Any, y: Any) -> Self:  # noqa: N803
        """Check that data suit the network, which is not trained.

        Parameters
        ----------
        X : array or DataFrame of shape (N, n)
        y : array of shape (N,) or (N, n_outputs)

        Returns
        -------
        NetworkRegressor
            Itself.

        Raises
        ------
        ShapeError
            If features or targets are not as many as those of the network.
        """
        X, y = self._check_fit(X, y, multi_output=True, y_numeric=True)  # noqa: N806
        targets, shape = prod(y.shape[1:]), _regressing(self.net).output_shape
        if shape is not None and targets != prod(shape):
            raise ShapeError(f"y has {targets} targets, the network gives {prod(shape)}")
        return self

    def predict(self, X: Any) -> Array:  # noqa: N803
        """The values of each sample.

        Parameters
        ----------
        X : array of shape (N, n)

        Returns
        -------
        array of shape (N,) where there is one output, or (N, n_outputs)
            Of the library of `X`.
        """
        x = self._samples(X)
        found = _regressing(self.net)(x)
        return found[:, 0] if found.shape[-1] == 1 else found


def _check_values(X: Any) -> None:  # noqa: N803
    """Raise an `InputError` for arrays whose masks scikit-learn drops, or of dtypes that it calls strings."""
    if isinstance(X, np.ndarray) or hasattr(X, "__dask_graph__"):
        namespace(X)


def _classifying(net: object) -> Network:
    """The network, where each sample has one label."""
    net = check_network(net)
    if net.task == "multilabel":
        raise NetworkError("the network gives several labels to each sample, and a classifier gives one")
    check_labels(net.layers, net.meaning, net.output_shape, "NetworkRegressor(net)")
    return net


def _regressing(net: object) -> Network:
    """The network, where outputs are values."""
    net = check_network(net)
    if net.task in ("classification", "multilabel"):
        raise NetworkError(
            f"the network's task is {net.task}: use NetworkClassifier, or, where its outputs are values, "
            'net.described(task="regression")'
        )
    return net


def _gives_probabilities(net: object) -> bool:
    net = check_network(net)
    name = last_activation(net.layers)
    return name in ("softmax", "log_softmax") or (name == "sigmoid" and net.output_shape == (1,))


def _to_numpy(array: Array) -> NumPyArray:
    return backends.of(array, namespace(array)).to_numpy(array)
