"""The scale of an output: how large what it was made of is.

Rounding errs by the size of what was added and multiplied, not of what came out: a regression's output near 0 may
be the difference of thousands. So the *scale* of an output is the error that rounding makes of it, as
`portable_nn.rounding` follows that, in units of rounding. Each output has its own, for they may be of different
units.
"""

from math import prod
from typing import Any

import numpy as np

from portable_nn._typing import NumPyArray
from portable_nn.activations import bounds
from portable_nn.layers import Activation, Dense, Flatten, Layers
from portable_nn.rounding import UNIT, followed
from portable_nn.streams import batches

__all__ = ["is_bounded", "scaled", "side_by_side"]

BATCH = 1000


def scaled(layers: Layers, x: Any) -> tuple[NumPyArray, NumPyArray]:
    """The outputs of layers of NumPy weights in float64, and the scale of each.

    Parameters
    ----------
    layers : tuple of layers
    x : array of shape (N, ...), or dict of such

    Returns
    -------
    outputs, scale : arrays of the same shape
        Of several outputs all side by side, as `side_by_side` has them.
    """
    unit = UNIT["float32"]
    pairs = [map(side_by_side, followed(layers, part, unit)) for part in batches(x, BATCH)]
    outputs, errors = map(np.concatenate, zip(*pairs, strict=True))
    return outputs, np.nan_to_num(errors / unit)


def side_by_side(outputs: Any) -> NumPyArray:
    """One array of outputs as it is; of several by name one, with all values of a sample in its row.

    Examples
    --------
    >>> import numpy as np
    >>> from portable_nn.comparison.scales import side_by_side
    >>> side_by_side({"mean": np.array([[1.0, 2.0]]), "count": np.array([3])})
    array([[1., 2., 3.]])
    """
    if not isinstance(outputs, dict):
        return outputs  # type: ignore[no-any-return]
    return np.concatenate(
        [array.reshape(len(array), prod(array.shape[1:])) for array in outputs.values()], axis=1
    )


def is_bounded(layers: Layers) -> bool:
    """Whether a last activation bounds the outputs, as those of probabilities are."""
    match next((layer for layer in reversed(layers) if not isinstance(layer, Flatten)), None):
        case Dense(activation=name):
            return bounds(name, {}) is not None
        case Activation() as last:
            return bounds(last.name, last.parameters) is not None
    return False
