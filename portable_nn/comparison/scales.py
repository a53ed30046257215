"""The scale of an output: how large what it was added up from is.

An output is a sum, and rounding errs by the size of what was added, not of what came out: a regression's output
near 0 may be the difference of thousands. So the *scale* of an output is the sum of the magnitudes that the last
linear layers add up to it, ``|h| @ |W| + |b|`` for hidden values ``h``, to which the rounding of a product is
relative (Higham, Accuracy and Stability of Numerical Algorithms, section 3.1), times the slope of an activation
after it that is steeper than 1. Each output has its own, for they may be of different units. After an activation
that bounds its values the scale is their own magnitude.
"""

from math import prod
from typing import Any

import numpy as np

from portable_nn._arrays import each
from portable_nn._typing import NumPyArray
from portable_nn.activations import ALONG_AXIS, bounds
from portable_nn.layers import Activation, Dense, Flatten, Graph, Layer, Layers, Normalize, Rescaling
from portable_nn.parts import named, taken_by
from portable_nn.placing import plain
from portable_nn.streams import batches

__all__ = ["is_bounded", "side_by_side", "summed"]

BATCH = 1000

STEP = 2.0**-20
"""Of the scale: where a slope is looked for."""


def summed(layers: Layers, x: Any) -> tuple[NumPyArray, NumPyArray]:
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
    head, tail = _parted(layers)
    as_given = bool(not head and taken_by(tail))
    outputs, scales = [], []
    for values in batches(x, BATCH):
        values = values if as_given else plain(head, values)
        scale = each(np.abs, values)
        for layer in tail:
            values, scale = plain((layer,), values), _scale(layer, values, scale)
        outputs.append(side_by_side(values))
        scales.append(side_by_side(scale))
    return np.concatenate(outputs), np.concatenate(scales)


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
    head, tail = _parted(layers)
    return bool(head) and all(isinstance(layer, Flatten) for layer in tail)


def _parted(layers: Layers) -> tuple[Layers, Layers]:
    """The layers up to the values that the outputs are added up from, and those that add them up."""
    for i, layer in reversed(list(enumerate(layers))):
        match layer:
            case Activation() if bounds(layer.name, layer.parameters):
                return layers[: i + 1], layers[i + 1 :]
            case Dense():
                end = i + (bounds(layer.activation, {}) is not None)
                return layers[:end], layers[end:]
    return (), layers


def _scale(layer: Layer, values: Any, scale: Any) -> Any:
    """The scale of what a layer makes of values of a scale."""
    match layer:
        case Dense(weight=weight, bias=bias, activation=name):
            product = plain((layer.with_activation("identity"),), values)
            return _steepened(Activation(name), product, scale @ np.abs(weight) + np.abs(bias))
        case Rescaling():
            return np.asarray(scale * np.abs(layer.scale) + np.abs(layer.offset))
        case Normalize():
            mean = values.mean(axis=-1, keepdims=True) if layer.centred else 0.0
            root = np.sqrt(np.mean((values - mean) ** 2, axis=-1, keepdims=True) + layer.epsilon)
            widest = (scale + np.max(scale, axis=-1, keepdims=True)) / root
            arrays = layer.arrays
            return np.asarray(widest * np.abs(arrays.get("scale", 1.0)) + np.abs(arrays.get("offset", 0.0)))
        case Activation():
            return _steepened(layer, values, scale)
        case Graph():
            floats = [array for array in named(scale).values() if array.dtype.kind == "f"]
            ends = [np.max(array, axis=tuple(range(1, array.ndim))) for array in floats]
            largest = np.max(ends, axis=0) if ends else np.zeros(1)  # places in a table are of no scale
            return each(
                lambda after: np.abs(after) + largest.reshape(-1, *(1,) * (after.ndim - 1)),
                plain((layer,), values),
            )
    return np.asarray(plain((layer,), scale))


def _steepened(activation: Activation, values: NumPyArray, scale: NumPyArray) -> NumPyArray:
    """The scale after an activation: that before it, times a slope that is steeper than 1."""
    after = plain((activation,), values)
    if activation.name == "identity":
        return scale
    if activation.name in ALONG_AXIS or after.shape != scale.shape:
        return np.asarray(np.abs(after) + np.max(scale, axis=-1, keepdims=True))
    step = STEP * scale
    with np.errstate(all="ignore"):
        ends = [plain((activation,), values + sign * step) for sign in (-1, 1)]
        slope = np.nan_to_num(np.abs(ends[1] - ends[0]) / (2 * step), nan=1.0, posinf=1.0)
    return np.asarray(np.abs(after) * (slope > 1) + scale * np.maximum(slope, 1))
