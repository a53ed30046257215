"""What rounding makes of the outputs of layers.

It is followed through the layers as it adds up at random: a sum of n products errs by a unit of rounding of the
root of the sum of their squares (Higham and Mary, SIAM J. Sci. Comput. 41, A2815, 2019), an activation by what it
makes of the error of its argument.
"""

from typing import Any

import numpy as np

from portable_nn._arrays import each, first_of
from portable_nn._typing import NumPyArray
from portable_nn.activations import ALONG_AXIS
from portable_nn.layers import Activation, Dense, Flatten, Layer, Layers, Rescaling
from portable_nn.parts import named, taken_by
from portable_nn.placing import plain

__all__ = ["UNIT", "followed"]

UNIT = {"float64": 2.0**-53, "float32": 2.0**-24, "bfloat16": 2.0**-9, "float16": 2.0**-11}
"""Of rounding, half of that in the last place of 1."""


def followed(layers: Layers, x: Any, unit: float) -> tuple[Any, Any]:
    """The outputs of layers of NumPy weights in float64, and the error of each where numbers are rounded.

    Parameters
    ----------
    layers : tuple of layers
    x : array of shape (N, ...), or dict of such
    unit : float
        Of rounding.

    Returns
    -------
    outputs, error : arrays of one shape, or dicts of such

    Examples
    --------
    >>> import numpy as np
    >>> import portable_nn as pnn
    >>> from portable_nn.rounding import UNIT, followed
    >>> layers = pnn.Network([pnn.Dense(np.array([[1000.0], [-1000.0]]))]).layers
    >>> outputs, error = followed(layers, np.array([[1.0, 1.0]]), UNIT["float32"])
    >>> outputs.item(), error.item() / UNIT["float32"]
    (0.0, 2000.0)
    """
    values = x if taken_by(layers) else np.asarray(x, dtype=np.float64)
    error = each(lambda array: unit * np.abs(array), values)
    with np.errstate(all="ignore"):
        for layer in layers:
            values, error = _passed_on(layer, values, error, unit)
    return values, error


def _passed_on(layer: Layer, values: Any, error: Any, unit: float) -> tuple[Any, Any]:
    """What a layer makes of values, and of the error that they have."""
    match layer:
        case Dense(weight=weight, bias=bias, activation=name):
            squares = weight.astype(np.float64) ** 2
            summed = values**2 @ squares + bias.astype(np.float64) ** 2
            values = plain((layer.with_activation("identity"),), values)
            error = np.sqrt(error**2 @ squares + unit**2 * summed)
            return _passed_on(Activation(name), values, error, unit)
        case Rescaling():
            scale, offset = np.asarray(layer.scale, np.float64), np.asarray(layer.offset, np.float64)
            product = values * scale
            error = np.sqrt((error * scale) ** 2 + unit**2 * (product**2 + offset**2))
            return product + offset, error
        case Activation(name="identity"):
            return values, error
        case Activation(name="softmax" | "softmin"):
            after = plain((layer,), values)
            return after, (2 * np.max(error, axis=-1, keepdims=True) + unit) * after
        case Activation(name=name) if name not in ALONG_AXIS:
            return _activated(layer, values, error, unit)
        case Flatten():
            return plain((layer,), values), plain((layer,), error)
    after = plain((layer,), values)
    random = np.random.default_rng(0)
    ends = [plain((layer,), _moved(values, error, random)) for _ in range(2)]
    found = {
        name: np.max([np.abs(1.0 * named(end)[name] - value) for end in ends], axis=0)
        + 4 * unit * _largest(value)
        for name, value in named(after).items()
    }
    return after, found if isinstance(after, dict) else first_of(found)


def _moved(values: Any, error: Any, random: np.random.Generator) -> Any:
    """Values that are off by their error, up or down; integers stay."""
    found = {
        name: value + random.choice([-1.0, 1.0], size=value.shape) * named(error)[name]
        if value.dtype.kind == "f"
        else value
        for name, value in named(values).items()
    }
    return found if isinstance(values, dict) else first_of(found)


def _largest(values: NumPyArray) -> NumPyArray:
    """The largest value of each sample."""
    return np.max(np.abs(values), axis=-1, keepdims=True) if values.ndim > 1 else np.abs(values)


def _activated(
    activation: Activation, values: NumPyArray, error: NumPyArray, unit: float
) -> tuple[NumPyArray, NumPyArray]:
    after = plain((activation,), values)
    ends = [np.abs(plain((activation,), values + sign * error) - after) for sign in (-1, 1)]
    return after, np.fmax(*ends) + unit * np.abs(after)
