"""Samples that prove a network: what it makes of them, what rounding may do to that, and what else did.

What differs by `MARGIN` times what `portable_nn.rounding` follows is not rounding.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

import numpy as np

from portable_nn._arrays import each, first_of
from portable_nn._typing import NumPyArray
from portable_nn.activations import PLAIN
from portable_nn.backends import Backend, Forward
from portable_nn.errors import AccuracyError
from portable_nn.layers import Dense, Flatten, Layer, Layers, Rescaling, Shape, Value
from portable_nn.meaning import implied_range
from portable_nn.parts import known, taken_by
from portable_nn.rounding import UNIT, followed

__all__ = ["Verification", "cause", "excess", "expected", "samples_of", "verified"]

SAMPLES = 4

MARGIN = 64

DENORMAL = {"float64": 2.0**-1010, "float32": 2.0**-114, "bfloat16": 2.0**-114, "float16": 2.0**-16}
"""What a number so small may lose, which an activation makes of one that is not: silu of -90."""

MOST_TRIED = 32
"""Layers in which the cause of a difference is looked for."""

LARGEST = 1e38
"""Of samples."""

USUAL = ("identity", "relu", "tanh", "sigmoid", "gelu", "silu", "elu", "softmax")


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

    Examples
    --------
    >>> import portable_nn as pnn
    >>> result = pnn.load("mnist").verify("numpy")
    >>> result.backend, result.dtype, result.samples
    ('numpy', 'float32', 4)
    """

    backend: str
    dtype: str
    samples: int
    max_abs_error: float
    share: float


def verified(layers: Layers, forward: Forward, target: Backend, dtype: str, samples: Any) -> Verification:
    """Compare a forward pass on a backend with the plain loop over layers of NumPy weights in float64.

    Parameters
    ----------
    layers : tuple of layers
    forward : callable
        From arrays of the backend to outputs.
    target : Backend
    dtype : str
        Of the computation.
    samples : array of shape (N, ...), or dict of such
        That float32 holds exactly.

    Returns
    -------
    Verification

    Raises
    ------
    AccuracyError
        If outputs differ by more than rounding may do: with what is known of the cause.
    """
    cast = target.entered(target.cast_to(target.dtype(dtype)))

    def placed(array: NumPyArray) -> Any:
        return cast(target.place(array.astype(np.float32))) if array.dtype.kind == "f" else target.place(array)

    def fetched(array: Any) -> NumPyArray:
        host = target.to_numpy(array)
        return host.astype(np.float64) if host.dtype.kind == "f" else host

    x = each(placed, samples)
    found = each(fetched, forward(x))
    wanted, allowed = expected(layers, each(fetched, x), dtype)
    error, share = excess(found, wanted, allowed)
    if not share <= 1:
        precision = target.float32_precision()
        rounded = dtype == "float32" != precision
        raise AccuracyError(
            f"outputs on {target} in {dtype} differ by up to {error:.1e} from NumPy float64, "
            f"{share:.1f} times what rounding may do"
            + (f": products of float32 are rounded to {precision} there" if rounded else "")
        )
    return Verification(str(target), dtype, len(first_of(samples)), error, share)


def samples_of(layers: Layers, shape: Shape | None, input_range: tuple[float, float] | None) -> Any:
    """Samples that a network may take, the same each time; float32 holds them exactly.

    Parameters
    ----------
    layers : tuple of layers
        Where the first of them rescale features, samples are what that makes normal: of mean 0 and deviation 1.
    shape : tuple of int or None
        Of one sample.
    input_range : tuple of two floats or None
        What is not within it is drawn from it.

    Returns
    -------
    array of shape (4, *shape)
        float64. Of several inputs a dict of such; integers, which may be places in a table, are 0.
    """
    random = np.random.default_rng(0)
    if inputs := taken_by(layers):
        several = {name: _samples_of_input(value, random) for name, value in inputs.items()}
        return several if len(several) > 1 else first_of(several)
    size = SAMPLES, *(shape or (2,))  # of one value, a softmax tells nothing
    first: list[Any] = list(takewhile(lambda layer: isinstance(layer, Rescaling | Flatten), layers))
    found = random.standard_normal(size)
    if any(isinstance(layer, Flatten) for layer in first):
        found = found.reshape(SAMPLES, -1)
    for layer in reversed(first):
        if isinstance(layer, Flatten):
            found = found.reshape(SAMPLES, *layer.sample_shape)
        else:
            found = (found - layer.offset) / np.where(np.asarray(layer.scale) == 0, 1, layer.scale)
    low, high = input_range or implied_range(layers) or (-np.inf, np.inf)
    if np.isfinite(low) or np.isfinite(high):
        within = (low <= found) & (found <= high) & any(isinstance(layer, Rescaling) for layer in first)
        found = np.where(within, found, random.uniform(*_finite(low, high), size=size))
    with np.errstate(over="ignore"):
        return np.asarray(found, dtype=np.float32).astype(np.float64)


def _samples_of_input(value: Value, random: np.random.Generator) -> NumPyArray:
    size = SAMPLES, *(known(value) or ())
    if value.is_floating:
        return random.standard_normal(size).astype(np.float32).astype(np.float64)
    return np.zeros(size, value.dtype)


def _finite(low: float, high: float) -> tuple[float, float]:
    """A part of a range, one end of which may be infinite, that float32 can hold."""
    low = low if np.isfinite(low) else high - max(1.0, abs(high))
    high = high if np.isfinite(high) else low + max(1.0, abs(low))
    return max(low, -LARGEST), min(high, LARGEST)


def expected(layers: Layers, x: Any, dtype: str) -> tuple[Any, Any]:
    """The outputs of layers of NumPy weights in float64, and how far those in a dtype may be off.

    Parameters
    ----------
    layers : tuple of layers
    x : array of shape (N, ...), or dict of such
    dtype : str

    Returns
    -------
    outputs, allowed : arrays of one shape, or dicts of such
    """
    values, error = followed(layers, x, UNIT[dtype])
    known = each(lambda array: np.nan_to_num(array, nan=np.inf, posinf=np.inf), error)
    return values, each(lambda array: MARGIN * array + DENORMAL[dtype], known)


def excess(found: Any, wanted: Any, allowed: Any) -> tuple[float, float]:
    """The largest difference of outputs from the wanted ones, and the largest over what is allowed.

    Parameters
    ----------
    found, wanted, allowed : arrays of one shape, or dicts of such

    Returns
    -------
    error, share : float
        Infinite where not the same values are finite.
    """
    if isinstance(found, dict):
        errors, shares = zip(*(excess(found[name], wanted[name], allowed[name]) for name in wanted), strict=True)
        return max(errors), max(shares)
    if found.shape != wanted.shape:
        return np.inf, np.inf
    finite = np.isfinite(wanted)
    if not np.array_equal(np.where(finite, 0, found), np.where(finite, 0, wanted), equal_nan=True):
        return np.inf, np.inf
    error = np.abs(found[finite] - wanted[finite])
    if not np.isfinite(error).all():
        return np.inf, np.inf
    with np.errstate(over="ignore"):  # of values of all sizes, over what those around 0 are allowed
        share = error / allowed[finite]
    return float(error.max(initial=0)), float(share.max(initial=0))


def cause(layers: Layers, x: Any, wanted: Any) -> str:
    """In words, what one change of the layers gives the wanted outputs; "" where none does.

    Parameters
    ----------
    layers : tuple of layers
    x, wanted : arrays of shape (N, ...), or dicts of such

    Returns
    -------
    str
    """
    for i, layer in enumerate(layers[:MOST_TRIED]):
        for changed, words in _changes(layer):
            found, allowed = expected((*layers[:i], changed, *layers[i + 1 :]), x, "float32")
            if excess(found, wanted, allowed)[1] <= 1:
                return f"layer {i}: {words}"
    return ""


def _changes(layer: Layer) -> Iterator[tuple[Layer, str]]:
    match layer:
        case Dense(weight=weight, bias=bias, activation=name):
            if weight.shape[0] == weight.shape[1]:
                yield Dense(weight.T, bias, name), "its weight is transposed"
            for other in (*USUAL, *sorted(set(PLAIN) - set(USUAL))):
                if other != name:
                    yield layer.with_activation(other), f"its activation is {name}, and was {other}"
