"""Products of a few rows by wide weights on NumPy, some columns of the weights at a time.

OpenBLAS packs the weights of a product, which for a few rows takes up to six times as long as the product itself.
Of a small product it packs nothing.
"""

import numpy as np

from portable_nn._typing import Array
from portable_nn.backends._base import Forward
from portable_nn.backends._numpy_columns import COLUMNS, SMALL, Product
from portable_nn.threads import of_blas

__all__ = ["in_panels", "pays"]

ROWS = 12
"""Of more, by one thread, to pack the weights is a small part; threads that share a product share that too."""

LARGEST = 2**25
"""Rows times bytes of weights. Of larger weights, whose rows lie in as many pages, panels are slow to read."""


def pays(rows: int, weights: int) -> bool:
    """Whether a layer of so many weights, the most, is better computed so."""
    return rows <= ROWS and rows * weights > SMALL and rows * of_blas() <= ROWS


def in_panels(steps: tuple[Forward, ...]) -> Forward:
    """The forward pass of a few samples."""
    weights = [step.keywords["b"] if isinstance(step, Product) else np.empty((1, 0)) for step in steps]

    def forward(x: Array) -> Array:
        for step, weight in zip(steps, weights, strict=True):
            inputs, units = weight.shape
            columns = SMALL // (inputs * len(x)) // COLUMNS * COLUMNS if units else 0
            if not 0 < columns < units or len(x) * weight.nbytes > LARGEST:
                x = step(x)
                continue
            found = np.empty((len(x), units), weight.dtype)
            for start in range(0, units, columns):
                panel = slice(start, start + columns)
                np.matmul(x, weight[:, panel], found[:, panel])
            x = found
        return x

    return forward
