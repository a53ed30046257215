"""NumPy by hand, as a good user of it writes a forward pass."""

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.networks import Block, Cell
from benchmarks.oracle import ACTIVATIONS
from portable_nn import Dense, Rescaling

__all__ = ["natural"]


def natural(cell: Cell) -> Callable[[], Any]:
    """``activation(x @ W + b)``, layer by layer, with pixels as floats before; or of blocks."""
    if cell.architecture.residual:
        return of_blocks(cell)
    x, dtype = cell.x, cell.dtype
    scales = [layer.scale for layer in cell.layers if isinstance(layer, Rescaling)]
    dense = [parts(layer) for layer in cell.layers if isinstance(layer, Dense)]

    def call() -> np.ndarray:
        z = x
        for scale in scales:
            z = z.astype(dtype) * scale
        for weight, bias, activation in dense:
            z = activation(z @ weight + bias)
        return z

    return call


def of_blocks(cell: Cell) -> Callable[[], Any]:
    """Between the first layer and the last, ``activation(z + (activation(z @ W1 + b1) @ W2 + b2))``."""
    x = cell.x
    (w, b, f), (v, c, g) = (
        parts(layer) for layer in (cell.layers[0], cell.layers[-1]) if isinstance(layer, Dense)
    )
    blocks = [[parts(each) for each in layer] for layer in cell.layers if isinstance(layer, Block)]

    def call() -> np.ndarray:
        z = f(x @ w + b)
        for (w1, b1, f1), (w2, b2, f2) in blocks:
            z = f2(z + (f1(z @ w1 + b1) @ w2 + b2))
        return g(z @ v + c)

    return call


def parts(layer: Dense) -> tuple[np.ndarray, np.ndarray, Callable[[np.ndarray], np.ndarray]]:
    """Weight, bias and activation."""
    return layer.weight, layer.bias, ACTIVATIONS[layer.activation]
