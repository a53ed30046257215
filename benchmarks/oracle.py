"""The answers that every contender must reach: the layers one after the other, in float64."""

from collections.abc import Callable, Iterable

import numpy as np

import portable_nn as pnn
from benchmarks.networks import Block

__all__ = ["ACTIVATIONS", "in_float64"]


def softmax(x: np.ndarray) -> np.ndarray:
    """Of each row."""
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def gelu(x: np.ndarray) -> np.ndarray:
    """Exact, by SciPy."""
    from scipy.special import erf

    return 0.5 * x * (1 + erf(x / 2**0.5))


ACTIVATIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "identity": lambda x: x,
    "relu": lambda x: np.maximum(x, 0),
    "leaky_relu": lambda x: np.maximum(x, 0.01 * x),
    "elu": lambda x: np.where(x > 0, x, np.expm1(x)),
    "gelu": gelu,
    "gelu_tanh": lambda x: 0.5 * x * (1 + np.tanh(0.7978845608028654 * (x + 0.044715 * x * x * x))),
    "silu": lambda x: x / (1 + np.exp(-x)),
    "softplus": lambda x: np.logaddexp(0, x),
    "tanh": np.tanh,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "softmax": softmax,
}


def in_float64(layers: Iterable[pnn.Dense | pnn.Rescaling | Block], x: np.ndarray) -> np.ndarray:
    """The outputs of layers for a batch."""
    z = x.astype(np.float64)
    for layer in layers:
        match layer:
            case pnn.Rescaling():
                z = z * layer.scale + layer.offset
            case Block(first, second):
                before = in_float64((first, second.with_activation("identity")), z)
                z = ACTIVATIONS[second.activation](before + z)
            case _:
                z = ACTIVATIONS[layer.activation](z @ layer.weight.astype(np.float64) + layer.bias)
    return z
