"""NumPy by hand, as a good user of it writes a forward pass."""

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.networks import Cell
from portable_nn import Rescaling

__all__ = ["ACTIVATIONS", "natural"]


def softmax(x: np.ndarray) -> np.ndarray:
    """Of each row."""
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


ACTIVATIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "identity": lambda x: x,
    "relu": lambda x: np.maximum(x, 0),
    "leaky_relu": lambda x: np.maximum(x, 0.01 * x),
    "elu": lambda x: np.where(x > 0, x, np.expm1(x)),
    "gelu": lambda x: 0.5 * x * (1 + np.tanh(0.7978845608028654 * (x + 0.044715 * x * x * x))),
    "silu": lambda x: x / (1 + np.exp(-x)),
    "softplus": lambda x: np.logaddexp(0, x),
    "tanh": np.tanh,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "softmax": softmax,
}


def natural(cell: Cell) -> Callable[[], Any]:
    """``activation(x @ W + b)``, layer by layer, with pixels as floats before."""
    x, dtype = cell.x, cell.dtype
    scales = [layer.scale for layer in cell.layers if isinstance(layer, Rescaling)]
    dense = [
        (layer.weight, layer.bias, ACTIVATIONS[layer.activation])
        for layer in cell.layers
        if not isinstance(layer, Rescaling)
    ]

    def call() -> np.ndarray:
        z = x
        for scale in scales:
            z = z.astype(dtype) * scale
        for weight, bias, activation in dense:
            z = activation(z @ weight + bias)
        return z

    return call
