"""Normalization as files hold it: statistics, and what is added to a variance before its root is taken."""

from collections.abc import Mapping
from math import inf
from typing import Any

import numpy as np

from portable_nn._typing import Array, NumPyArray
from portable_nn.errors import NetworkError
from portable_nn.layers import Layers, standardized

__all__ = [
    "batch_normalization", "check_epsilon", "keras_batch_normalization", "keras_deviation", "machine_epsilon",
]  # fmt: skip

SMALLEST = 1e-7

KERAS = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}
"""By Keras's names of statistics, PyTorch's."""


def batch_normalization(arrays: Mapping[str, Array], epsilon: float) -> Layers:
    """Layers for a BatchNorm1d that does not train.

    Parameters
    ----------
    arrays : mapping of str to array
        ``running_mean``, ``running_var``, and ``weight`` and ``bias`` where it has them.
    epsilon : float

    Returns
    -------
    tuple of Rescaling

    Raises
    ------
    NetworkError
        If statistics are not there, or shapes do not fit, or a variance and epsilon are 0.

    Examples
    --------
    >>> import numpy as np
    >>> from portable_nn.formats.normalization import batch_normalization
    >>> batch_normalization({"running_mean": np.zeros(2), "running_var": np.ones(2)}, 1e-5)
    (Rescaling(<2 values>, <2 values>),)
    """
    if not {"running_mean", "running_var"} <= arrays.keys():
        raise NetworkError("without running statistics its outputs depend on the batch: track them")
    mean, variance = arrays["running_mean"], arrays["running_var"]
    if any(array.shape != (mean.size,) or array.dtype.kind != "f" for array in (mean, variance)):
        raise NetworkError("its running statistics are not one number for each feature")
    weight, bias = arrays.get("weight", np.ones_like(mean)), arrays.get("bias", np.zeros_like(mean))
    if any(array.shape != mean.shape or array.dtype.kind != "f" for array in (weight, bias)):
        raise NetworkError("its weight and bias are not one number for each feature")
    with np.errstate(all="ignore"):  # what is not finite then, a layer refuses
        deviation = np.sqrt(variance.astype(np.float64) + epsilon).astype(_wide(variance.dtype))
        return standardized(mean, deviation, weight, bias)


def keras_batch_normalization(arrays: Mapping[str, Array], epsilon: float) -> Layers:
    """`batch_normalization` of a BatchNormalization of Keras's, by its names of arrays.

    Examples
    --------
    >>> import numpy as np
    >>> from portable_nn.formats.normalization import keras_batch_normalization
    >>> keras_batch_normalization({"moving_mean": np.zeros(2), "moving_variance": np.ones(2)}, 1e-3)
    (Rescaling(<2 values>, <2 values>),)
    """
    return batch_normalization({KERAS[name]: array for name, array in arrays.items()}, epsilon)


def machine_epsilon(dtype: np.dtype[Any]) -> float:
    """What PyTorch's RMSNorm adds by default: the machine epsilon of what it computes in, float32 at least.

    Parameters
    ----------
    dtype : numpy.dtype
        Of the weights.

    Returns
    -------
    float

    Examples
    --------
    >>> import numpy as np
    >>> from portable_nn.formats.normalization import machine_epsilon
    >>> machine_epsilon(np.dtype("float16")) == 2**-23
    True
    """
    return float(np.finfo(_wide(dtype)).eps)


def keras_deviation(variance: NumPyArray) -> NumPyArray:
    """What Keras's Normalization divides by: at least its `backend.epsilon()`; nan where there is no variance.

    Parameters
    ----------
    variance : array

    Returns
    -------
    array of the same shape
        Of the same dtype, of float32 at least.

    Examples
    --------
    >>> import numpy as np
    >>> from portable_nn.formats.normalization import keras_deviation
    >>> keras_deviation(np.array([4.0, 0.0]))
    array([2.e+00, 1.e-07])
    """
    with np.errstate(all="ignore"):
        return np.maximum(np.sqrt(variance.astype(np.float64)), SMALLEST).astype(_wide(variance.dtype))


def _wide(dtype: np.dtype[Any]) -> np.dtype[Any]:
    return np.result_type(dtype, np.float32)


def check_epsilon(epsilon: float | None, taken: bool) -> None:
    """Raise a `NetworkError` unless what was given as `epsilon` can be added, and something adds it."""
    if epsilon is None:
        return
    if not taken:
        raise NetworkError("nothing in the file adds epsilon= to a variance: leave it out")
    try:
        fits = 0 <= float(epsilon) < inf
    except (TypeError, ValueError):
        fits = False
    if not fits:
        raise NetworkError(f"epsilon= takes a number that is not negative, such as 0.001, got {epsilon!r:.80}")
