"""How far outputs may be from the reference, and samples that show whether they are.

An output is a sum, and rounding errs by the size of what was added, not of what came out: a regression's output
near 0 may be the difference of thousands. So the *scale* of an output is the sum of the magnitudes that the last
linear layers add up to it, ``|h| @ |W| + |b|`` for hidden values ``h``, to which the rounding of a product is
relative (Higham, Accuracy and Stability of Numerical Algorithms, section 3.1), times the slope of an activation
after it that is steeper than 1. Each output has its own, for they may be of different units. After an activation
that bounds its values the scale is their own magnitude.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from portable_nn._typing import NumPyArray
from portable_nn.activations import ALONG_AXIS, PLAIN, bounds
from portable_nn.layers import Activation, Dense, Flatten, Graph, Layer, Layers, Normalize, Rescaling, Shape
from portable_nn.meaning import implied_range
from portable_nn.metrics import ATOL, RTOL
from portable_nn.placing import plain

__all__ = ["Verification", "cause", "excess", "is_bounded", "samples_of", "summed"]

BATCH = 1000

SAMPLES = 4

MOST_TRIED = 32
"""Layers in which the cause of a difference is looked for."""

STEP = 2.0**-20
"""Of the scale: where a slope is looked for."""


@dataclass(frozen=True)
class Verification:
    """What a backend made of samples whose outputs are known.

    Attributes
    ----------
    backend : str
        Library and device.
    dtype : str
        Of the computation.
    samples : int
        How many were tried.
    max_abs_error : float
        The largest difference from the outputs in NumPy float64.
    share : float
        The largest difference over the one that is allowed: at most 1.
    """

    backend: str
    dtype: str
    samples: int
    max_abs_error: float
    share: float


def samples_of(layers: Layers, shape: Shape | None, input_range: tuple[float, float] | None) -> NumPyArray:
    """Samples that a network may take, the same each time; float32 holds them exactly.

    Parameters
    ----------
    layers : tuple of layers
        The first of them tell what features look like, where they rescale them.
    shape : tuple of int or None
        Of one sample.
    input_range : tuple of two floats or None

    Returns
    -------
    array of shape (4, *shape)
        float64.
    """
    random = np.random.default_rng(0)
    size = SAMPLES, *(shape or (1,))
    input_range = input_range or implied_range(layers)
    if input_range is not None:
        found = random.uniform(*input_range, size=size)
    else:
        found = random.standard_normal(size)
        for layer in reversed(list(_first_rescalings(layers))):
            found = (found - layer.offset) / np.where(np.asarray(layer.scale) == 0, 1, layer.scale)
    with np.errstate(over="ignore"):
        return np.asarray(found, dtype=np.float32).astype(np.float64)


def summed(layers: Layers, x: NumPyArray) -> tuple[NumPyArray, NumPyArray]:
    """The outputs of layers of NumPy weights in float64, and the scale of each.

    Parameters
    ----------
    layers : tuple of layers
    x : array of shape (N, ...)

    Returns
    -------
    outputs, scale : arrays of the same shape
    """
    head, tail = _parted(layers)
    outputs, scales = [], []
    for start in range(0, len(x), BATCH):
        values = plain(head, x[start : start + BATCH])
        scale = np.abs(values)
        for layer in tail:
            values, scale = plain((layer,), values), _scale(layer, values, scale)
        outputs.append(values)
        scales.append(scale)
    return np.concatenate(outputs), np.concatenate(scales)


def is_bounded(layers: Layers) -> bool:
    """Whether a last activation bounds the outputs, as those of probabilities are."""
    head, tail = _parted(layers)
    return bool(head) and all(isinstance(layer, Flatten) for layer in tail)


def excess(found: NumPyArray, wanted: NumPyArray, scale: NumPyArray, dtype: str) -> tuple[float, float]:
    """The largest difference of outputs in a dtype from the wanted ones, and of it over what is allowed.

    Parameters
    ----------
    found, wanted, scale : arrays of one shape
    dtype : str

    Returns
    -------
    error, share : float
        Infinite where not the same values are finite.
    """
    if found.shape != wanted.shape:
        return np.inf, np.inf
    finite = np.isfinite(wanted)
    if not np.array_equal(np.where(finite, 0, found), np.where(finite, 0, wanted), equal_nan=True):
        return np.inf, np.inf
    error = np.abs(found - wanted)[finite]
    allowed = (ATOL[dtype] + RTOL[dtype] * scale)[finite]
    if not np.isfinite(error).all():
        return np.inf, np.inf
    return float(error.max(initial=0)), float((error / allowed).max(initial=0))


def cause(layers: Layers, x: NumPyArray, wanted: NumPyArray) -> str:
    """In words, what one change of the layers gives the wanted outputs; "" where none does.

    Parameters
    ----------
    layers : tuple of layers
    x, wanted : arrays of shape (N, ...)

    Returns
    -------
    str
    """
    for i, layer in enumerate(layers[:MOST_TRIED]):
        for changed, words in _changes(layer):
            with np.errstate(all="ignore"):
                found, scale = summed((*layers[:i], changed, *layers[i + 1 :]), x)
            if excess(found, wanted, scale, "float32")[1] <= 1:
                return f"layer {i}: {words}"
    return ""


def _changes(layer: Layer) -> Iterator[tuple[Layer, str]]:
    match layer:
        case Dense(weight=weight, bias=bias, activation=name):
            if weight.shape[0] == weight.shape[1]:
                yield Dense(weight.T, bias, name), "its weight is transposed"
            for other in PLAIN:
                if other != name:
                    yield layer.with_activation(other), f"its activation is {name}, and was {other}"


def _first_rescalings(layers: Layers) -> Iterator[Rescaling]:
    for layer in layers:
        if not isinstance(layer, Rescaling):
            return
        yield layer


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


def _scale(layer: Layer, values: NumPyArray, scale: NumPyArray) -> NumPyArray:
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
            after = plain((layer,), values)
            largest = np.max(scale, axis=tuple(range(1, scale.ndim)))
            return np.asarray(np.abs(after) + largest.reshape(-1, *(1,) * (after.ndim - 1)))
    return plain((layer,), scale)


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
