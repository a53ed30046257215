"""NumPy by hand, as a good user of it writes a forward pass."""

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.networks import Cell
from benchmarks.oracle import ACTIVATIONS
from portable_nn import Rescaling

__all__ = ["natural"]


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
