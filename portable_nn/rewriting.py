"""Exact rewriting: passes from a tuple of layers to a tuple of layers that computes the same with less work.

Weights are folded in float64 and rounded once, when they are placed. Each pass looks at neighbours only, so
that passes may be applied in any order; `rewritten` applies those that pay.
"""

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import TypeAlias

import numpy as np

from portable_nn._typing import Array
from portable_nn.activations import BOUNDED_SOFTMAX, BOUNDS, STRICTLY_INCREASING
from portable_nn.layers import Dense, Flatten, Layer, Rescaling

__all__ = ["rewritten", "without_last_activation"]

Layers: TypeAlias = tuple[Layer, ...]

NARROW = 16
"""Units of a layer that stays as it is, a few more being a large part of it."""

LARGEST_EXPONENT = {"bfloat16": 87.3, "float32": 87.3, "float64": 708.3}
"""exp of it and of its negative are finite and normal; float16, whose range folding may leave, is not here."""


def rewritten(layers: Layers, dtype: str, units: int = 1) -> Layers:
    """The layers as they are best run.

    Parameters
    ----------
    layers : tuple of layers
        Of NumPy weights.
    dtype : str
        Of the computation; in float16 no pass that changes the range of values is applied.
    units : int
        Hidden layers get multiples of so many.

    Returns
    -------
    tuple of layers
    """
    layers = without_identities(layers)
    finite = all(np.isfinite(array).all() for layer in layers for array in layer.arrays.values())
    if dtype not in LARGEST_EXPONENT or not finite:
        return layers
    layers = with_tanh_for_sigmoid(with_merged_linear(with_folded_rescaling(layers)))
    layers = with_multiples(layers, units)
    return with_bounded_softmax(layers, LARGEST_EXPONENT[dtype])


def without_last_activation(layers: Layers) -> Layers:
    """Up to the logits: a last activation that keeps the order of one sample's values is left out."""
    last = layers[-1]
    if isinstance(last, Dense) and last.activation in STRICTLY_INCREASING:
        return (*layers[:-1], last.with_activation("identity"))
    return layers


def without_identities(layers: Layers) -> Layers:
    """Without layers that change nothing, but for the last one standing."""
    kept = tuple(layer for layer in layers if not _is_identity(layer))
    return kept or layers[:1]


def with_folded_rescaling(layers: Layers) -> Layers:
    """Each Rescaling folded into the weights after it, or before it where that layer is linear.

    ``(x * scale + offset) @ W + b`` is ``x @ (scale[:, None] * W) + (offset @ W + b)``, so that raw pixels are
    cast and never divided. Not where that could cost accuracy: an offset above 1 would cancel against products
    of its own size, and an extreme scale would bring weights near the ends of float32.
    """
    return _merged_neighbours(layers, _rescaling_folded)


def with_merged_linear(layers: Layers) -> Layers:
    """Each linear layer merged with the Dense after it, where that saves products."""
    return _merged_neighbours(layers, _linear_merged)


def with_tanh_for_sigmoid(layers: Layers) -> Layers:
    """``sigmoid(a) = (1 + tanh(a / 2)) / 2`` between two Dense layers, the halves folded into their weights."""
    return _merged_neighbours(layers, _sigmoid_replaced)


def with_multiples(layers: Layers, units: int) -> Layers:
    """Bounded hidden layers widened to a multiple of so many units, by copies of units, which nothing reads.

    A BLAS computes columns of a product some at a time, and those that are left over cost as much. Zeros for
    copies would turn an infinite input into nan.
    """
    return _merged_neighbours(layers, partial(_widened, units))


def with_bounded_softmax(layers: Layers, largest_exponent: float) -> Layers:
    """A softmax whose logits cannot overflow exp needs no maximum subtracted.

    Interval arithmetic: the activation before lies in [low, high], so logit j lies between ``b[j]`` plus the
    sums over i of the least and of the greatest of ``low * W[i, j]`` and ``high * W[i, j]``.
    """
    if len(layers) < 2:
        return layers
    before, last = layers[-2:]
    if not (isinstance(before, Dense) and isinstance(last, Dense) and last.activation == "softmax"):
        return layers
    if before.activation not in BOUNDS:
        return layers
    ends = np.multiply.outer(BOUNDS[before.activation], _f64(last.weight))
    low, high = ends.min(axis=0).sum(axis=0) + last.bias, ends.max(axis=0).sum(axis=0) + last.bias
    if max(-low.min(), high.max()) + np.log(len(last.bias)) >= largest_exponent:
        return layers
    return (*layers[:-1], last.with_activation(BOUNDED_SOFTMAX))


def _merged_neighbours(layers: Layers, merge: Callable[[Layer, Layer], Layers | None]) -> Layers:
    """Replace two neighbours by what `merge` makes of them, as long as it makes something of any two."""
    for i, (layer, after) in enumerate(pairwise(layers)):
        merged = merge(layer, after)
        if merged is not None:
            return _merged_neighbours((*layers[:i], *merged, *layers[i + 2 :]), merge)
    return layers


def _rescaling_folded(layer: Layer, after: Layer) -> Layers | None:
    match layer, after:
        case Rescaling(scale=scale, offset=offset), Rescaling():
            return (Rescaling(scale * after.scale, offset * after.scale + after.offset),)
        case Rescaling(), Flatten() if not layer.arrays:
            return after, layer
        case Rescaling(), Dense() if np.abs(layer.offset).max() <= 1 and _moderate(layer.scale):
            weight = _f64(after.weight)
            scale, offset = (np.broadcast_to(value, len(weight)) for value in (layer.scale, layer.offset))
            return (Dense(scale[:, None] * weight, offset @ weight + after.bias, after.activation),)
        case Dense(activation="identity"), Rescaling(scale=scale, offset=offset) if _moderate(scale):
            return (Dense(_f64(layer.weight) * scale, _f64(layer.bias) * scale + offset),)
    return None


def _sigmoid_replaced(layer: Layer, after: Layer) -> Layers | None:
    match layer, after:
        case Dense(activation="sigmoid"), Dense():
            weight = _f64(after.weight)
            halved = layer.map(lambda array: _f64(array) / 2).with_activation("tanh")
            return halved, Dense(weight / 2, after.bias + weight.sum(axis=0) / 2, after.activation)
    return None


def _widened(units: int, layer: Layer, after: Layer) -> Layers | None:
    match layer, after:
        case Dense(activation="sigmoid" | "tanh" | "step"), Dense() if len(layer.bias) > NARROW:
            copies = np.arange(-len(layer.bias) % units)
            if len(copies):
                weight, bias = (np.concatenate([a, a[..., copies]], axis=-1) for a in (layer.weight, layer.bias))
                unread = np.zeros((len(copies), len(after.bias)))
                rows = np.concatenate([after.weight, unread])
                return Dense(weight, bias, layer.activation), Dense(rows, after.bias, after.activation)
    return None


def _linear_merged(layer: Layer, after: Layer) -> Layers | None:
    match layer, after:
        case Dense(activation="identity"), Dense():
            n_in, n_between = layer.weight.shape
            n_out = after.weight.shape[1]
            if n_in * n_out <= n_between * (n_in + n_out):
                weight = _f64(after.weight)
                merged = Dense(_f64(layer.weight) @ weight, layer.bias @ weight + after.bias, after.activation)
                return (merged,)
    return None


def _moderate(scale: Array) -> bool:
    return bool(np.all((np.abs(scale) >= 1e-12) & (np.abs(scale) <= 1e12)))


def _is_identity(layer: Layer) -> bool:
    match layer:
        case Rescaling() if not layer.arrays:
            return (layer.scale, layer.offset) == (1.0, 0.0)
        case Flatten(sample_shape=(_,)):
            return True
    return False


def _f64(array: Array) -> Array:
    return array.astype(np.float64)
