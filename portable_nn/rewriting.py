"""Exact rewriting: passes from a tuple of layers to a tuple of layers that computes the same with less work.

Weights are folded in float64 and rounded once, when they are placed. What it guarantees, as do the layers as they
were given: follow the size of the terms that make each number, |x| through |W| and |b|, so that nothing cancels,
and its error, which an activation passes on as far as it varies over it. Then a sum of n terms adds n + 4 units
of rounding of its size at most, and an activation 8 units of its argument and of its value, where nothing
overflows. So a fold is made only where all numbers that come of it are 0 or normal in the dtype of the
computation. float16, whose range folds would leave, keeps its layers.
"""

from collections.abc import Callable

import numpy as np

from portable_nn._typing import Array, Plain
from portable_nn.activations import BOUNDED_SOFTMAX, ERFC_GATE, bounds, is_strictly_increasing
from portable_nn.layers import IDENTITY, Activation, Dense, Flatten, Layer, Layers, Normalize, Rescaling, fused

__all__ = ["parted", "rewritten", "with_gated_gelu", "without_identities"]

NORMAL = {
    "bfloat16": (2.0**-126, 2.0**127),
    "float32": (2.0**-126, 2.0**127),
    "float64": (2.0**-1022, 2.0**1023),
}
"""The smallest and the largest number that a weight may become; float16 has none: folds leave its range."""

GELU_SCALE = -(0.5**0.5)
"""gelu of x is ``GELU_SCALE * z * erfc(z)`` for ``z = GELU_SCALE * x``."""

LARGEST_EXPONENT = {"bfloat16": 87.3, "float32": 87.3, "float64": 708.3}
"""exp of it and of its negative are finite and normal."""


def rewritten(layers: Layers, dtype: str) -> Layers:
    """The layers as they are best run.

    Parameters
    ----------
    layers : tuple of layers
        Of NumPy weights.
    dtype : str
        Of the computation; in float16 no pass that changes the range of values is applied.

    Returns
    -------
    tuple of layers

    Examples
    --------
    >>> import portable_nn as pnn
    >>> from portable_nn.rewriting import rewritten
    >>> net = pnn.load("mnist")
    >>> len(net.layers), len(rewritten(net.layers, "float32"))
    (4, 3)
    """
    layers = fused(without_identities(layers))
    if dtype not in NORMAL:
        return layers
    layers = fused(with_folded_rescaling(layers, dtype))
    return with_bounded_softmax(with_merged_linear(layers, dtype), dtype)


def parted(layers: Layers) -> tuple[Layers, tuple[Activation, ...]]:
    """The layers up to the logits, and the last activation if it keeps the order of one sample's values."""
    layers = without_identities(layers)
    match layers[-1]:
        case Dense(activation=name) as last if name != "identity" and is_strictly_increasing(name, {}):
            return (*layers[:-1], last.with_activation("identity")), (Activation("identity").with_name(name),)
        case Activation() as last if is_strictly_increasing(last.name, last.parameters):
            return layers[:-1] or IDENTITY, (last,)
    return layers, ()


def without_identities(layers: Layers) -> Layers:
    """Without layers that change nothing, but where only views would be left of the caller's array."""
    kept = tuple(layer for layer in layers if not _is_identity(layer))
    return layers if all(isinstance(layer, Flatten) for layer in kept) else kept


def with_folded_rescaling(layers: Layers, dtype: str) -> Layers:
    """Each Rescaling folded into the layer after it, or before it where that layer passes scales on.

    ``(x * scale + offset) @ W + b`` is ``x @ (scale[:, None] * W) + (offset @ W + b)``, so that raw pixels are
    cast and never divided. Not where an offset above 1 would cancel against products of its own size.
    """

    def folded(layer: Layer, after: Layer) -> Layers | None:
        match layer, after:
            case Rescaling(), Flatten() if not layer.arrays:
                return after, layer
            case Rescaling(), Rescaling() if _is_gentle(layer):
                scale, offset = _f64(layer.scale), _f64(layer.offset)
                new = scale * after.scale, offset * after.scale + after.offset
                return (_rescaling(*new),) if _fit(new, dtype) else None
            case Rescaling(), Dense() if _is_gentle(layer):
                weight = _f64(after.weight)
                scale, offset = (np.broadcast_to(value, len(weight)) for value in (layer.scale, layer.offset))
                return _dense(scale[:, None] * weight, offset @ weight + after.bias, after.activation, dtype)
            case Normalize(), Dense() if layer.arrays:
                affine = folded(_rescaling(*_affine(layer)), after)
                return affine and (Normalize(epsilon=layer.epsilon, centred=layer.centred), *affine)
            case Normalize(), Rescaling() if layer.arrays or after.arrays:
                scale, offset = (value * after.scale for value in _affine(layer))
                offset = offset + after.offset
                return (
                    (Normalize(scale, offset, layer.epsilon, layer.centred),)
                    if _fit((scale, offset), dtype)
                    else None
                )
            case Dense(), Rescaling() if _passes_on(layer.activation, after):
                scale = _f64(after.scale)
                bias = _f64(layer.bias) * scale + after.offset
                return _dense(_f64(layer.weight) * scale, bias, layer.activation, dtype)
        return None

    return _merged_neighbours(layers, folded)


def with_merged_linear(layers: Layers, dtype: str) -> Layers:
    """Each linear layer merged with the Dense after it, where that saves products."""

    def merged(layer: Layer, after: Layer) -> Layers | None:
        match layer, after:
            case Dense(activation="identity"), Dense():
                n_in, n_between = layer.weight.shape
                n_out = after.weight.shape[1]
                if n_in * n_out <= n_between * (n_in + n_out):
                    weight = _f64(after.weight)
                    bias = layer.bias @ weight + after.bias
                    return _dense(_f64(layer.weight) @ weight, bias, after.activation, dtype)
        return None

    return _merged_neighbours(layers, merged)


def with_bounded_softmax(layers: Layers, dtype: str) -> Layers:
    """A softmax whose logits cannot overflow exp needs no maximum subtracted.

    Interval arithmetic: the activation before lies in [low, high], so logit j lies between ``b[j]`` plus the
    sums over i of the least and of the greatest of ``low * W[i, j]`` and ``high * W[i, j]``.
    """
    if len(layers) < 2:
        return layers
    before, last = layers[-2:]
    if not (isinstance(before, Dense) and isinstance(last, Dense) and last.activation == "softmax"):
        return layers
    interval = bounds(before.activation, {})
    if interval is None:
        return layers
    with np.errstate(over="ignore", invalid="ignore"):  # infinite weights
        ends = np.multiply.outer(interval, _f64(last.weight))
        low, high = ends.min(axis=0).sum(axis=0) + last.bias, ends.max(axis=0).sum(axis=0) + last.bias
    if max(-low.min(), high.max()) + np.log(len(last.bias)) < LARGEST_EXPONENT[dtype]:
        return (*layers[:-1], last.with_activation(BOUNDED_SOFTMAX))
    return layers


def with_gated_gelu(layers: Layers, dtype: str) -> Layers:
    """Each gelu between two products as ``z * erfc(z)``, with its factors in the weights of both.

    Not in bfloat16: in the lower tail the relative error of gelu is that of its argument times ``x**2``, and
    weights are rounded anew.
    """

    def folded(layer: Layer, after: Layer) -> Layers | None:
        match layer, after:
            case Dense(activation="gelu"), Dense():
                arrays = layer.weight, layer.bias, after.weight
                weight, bias, after_gate = (_gated(array, dtype) for array in arrays)
                if _fit((weight, bias, after_gate), dtype):
                    gate = Dense(weight, bias).with_activation(ERFC_GATE)
                    return gate, Dense(after_gate, after.bias, after.activation)
        return None

    return _merged_neighbours(layers, folded) if dtype in ("float32", "float64") else layers


def _gated(array: Array, dtype: str) -> Array:
    """Times `GELU_SCALE`, rounded once, to the wider of its own dtype and the computation's."""
    return (GELU_SCALE * _f64(array)).astype(np.result_type(array, dtype))


def _merged_neighbours(layers: Layers, merge: Callable[[Layer, Layer], Layers | None]) -> Layers:
    """Replace two neighbours by what `merge` makes of them, as long as it makes something of any two."""
    done: list[Layer] = []
    for layer in layers:
        done.append(layer)
        with np.errstate(over="ignore", invalid="ignore"):  # what does not fit is not taken
            while len(done) > 1 and (merged := merge(*done[-2:])) and not _vanish(*done[-2:]):
                done[-2:] = merged
    return tuple(done)


def _vanish(*layers: Layer) -> bool:
    """Whether a product of their numbers may be too small for float64, of which 0 would be left."""
    least = 1.0
    for layer in layers:
        plain = (value for value in layer.options.values() if isinstance(value, float))
        sizes = [np.abs(value) for value in (*layer.arrays.values(), *plain)]
        least *= min((np.min(size, where=size > 0, initial=1.0) for size in sizes), default=1.0)
    return least < NORMAL["float64"][0]


def _dense(weight: Array, bias: Array, activation: Plain, dtype: str) -> Layers | None:
    """One layer of weights that were folded, none where they do not fit the dtype."""
    return (Dense(weight, bias, activation),) if _fit((weight, bias), dtype) else None


def _rescaling(scale: Array, offset: Array) -> Rescaling:
    both = np.broadcast_arrays(scale, offset)
    return Rescaling(*map(float, both)) if both[0].ndim == 0 else Rescaling(*both)


def _fit(arrays: tuple[Array, ...], dtype: str) -> bool:
    """Whether all numbers are 0, or normal ones of the dtype."""
    smallest, largest = NORMAL[dtype]
    sizes = [np.abs(array) for array in arrays]
    return all(np.all((size == 0) | ((size >= smallest) & (size <= largest))) for size in sizes)


def _affine(layer: Normalize) -> tuple[Array, Array]:
    (n,) = layer.input_shape or (1,)
    scale, offset = layer.scale, layer.offset
    return _f64(np.ones(n) if scale is None else scale), _f64(np.zeros(n) if offset is None else offset)


def _is_gentle(layer: Rescaling) -> bool:
    """Whether folding it into what follows costs no accuracy: its offset cancels against nothing large."""
    scale = np.abs(layer.scale)
    return bool(np.all(np.abs(layer.offset) <= 1) and np.all((scale >= 1e-12) & (scale <= 1e12)))


def _passes_on(activation: str, after: Rescaling) -> bool:
    """Whether an activation gives the same once the scale after it is taken before it."""
    if activation in ("relu", "leaky_relu"):
        return bool(np.all(np.asarray(after.scale) > 0) and np.all(np.asarray(after.offset) == 0))
    return activation == "identity"


def _is_identity(layer: Layer) -> bool:
    match layer:
        case Rescaling() if not layer.arrays:
            return (layer.scale, layer.offset) == (1.0, 0.0)
        case Flatten(sample_shape=(_,)) | Activation(name="identity"):
            return True
    return False


def _f64(array: Array) -> Array:
    return np.asarray(array, dtype=np.float64)
