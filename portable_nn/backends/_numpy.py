"""NumPy: the default, and with float64 the reference that others are measured against."""

import operator
from typing import final

import numpy as np

from portable_nn._typing import Array, DType, Namespace
from portable_nn.activations import FUNCTIONS
from portable_nn.backends._base import Backend
from portable_nn.layers import Dense, Layer, Operator

TALL = 256
"""Rows from which a weight is held by columns too."""

REPEATS = 50
"""How often a bias is repeated for batches that are multiples of it."""


def _tanh(x: Array, *, xp: Namespace) -> Array:
    """Hyperbolic tangent, in place."""
    return xp.tanh(x, out=x)


ACTIVATIONS = FUNCTIONS | {"tanh": _tanh}


@final
class NumPy(Backend):
    """NumPy on the CPU."""

    name = "numpy"
    namespace = "array_api_compat.numpy"
    package = "numpy"
    install = "numpy"
    units = 4  # OpenBLAS multiplies by 49 to 51 columns no faster than by 52, by 31 more slowly than by 32

    def device_name(self) -> str:
        """Nothing: there is one device."""
        return ""

    def dtype_name(self, dtype: DType) -> str:
        """In whatever byte order."""
        return super().dtype_name(np.dtype(dtype).newbyteorder("="))

    def prepared(self, layer: Layer) -> Layer:
        """Products that suit one sample and many; the bias is added, and tanh taken, in place."""
        if not isinstance(layer, Dense):
            return layer
        multiply = _product(layer.weight) if len(layer.weight) >= TALL else operator.matmul
        return layer.computed_by(multiply, _sum(layer.bias), ACTIVATIONS)


def _product(weight: Array) -> Operator:
    """The product by a weight: in Fortran's order one sample takes a quarter less time, a batch some more."""
    by_columns = np.asfortranarray(weight)

    def multiply(x: Array, weight: Array) -> Array:
        return x @ (by_columns if x.size == len(by_columns) else weight)

    return multiply


def _sum(bias: Array) -> Operator:
    """The sum with a bias: in long rows, of many samples, a batch takes less than half the time."""
    repeated = np.tile(bias, REPEATS)

    def add(product: Array, bias: Array) -> Array:
        if product.ndim == 2 and len(product) % REPEATS == 0:
            rows = product.reshape(-1, len(repeated), copy=False)
            rows += repeated
        else:
            product += bias
        return product

    return add
