"""NumPy: the default, and with float64 the reference that others are measured against."""

import operator
from typing import final

import numpy as np

from portable_nn._typing import Array, DType
from portable_nn.backends._base import Backend
from portable_nn.layers import Dense, Layer, Operator

TALL = 256
"""Rows from which a weight is held by columns too."""

ROWS, BYTES = 1024, 2**19
"""How much of a bias repeated is held at most."""


@final
class NumPy(Backend):
    """NumPy on the CPU."""

    name = "numpy"
    namespace = "array_api_compat.numpy"
    package = "numpy"
    install = "numpy"

    def device_name(self) -> str:
        """Nothing: there is one device."""
        return ""

    def dtype_name(self, dtype: DType) -> str:
        """In whatever byte order."""
        return super().dtype_name(np.dtype(dtype).newbyteorder("="))

    def prepared(self, layer: Layer) -> Layer:
        """Products that suit one sample and many, biases added in place."""
        if not isinstance(layer, Dense):
            return layer
        multiply = _product(layer.weight) if len(layer.weight) >= TALL else operator.matmul
        return layer.with_operators(multiply, _sum(layer.bias))


def _product(weight: Array) -> Operator:
    """The product by a weight: in Fortran's order one sample takes a third less time, a batch some more."""
    by_columns = np.asfortranarray(weight)

    def multiply(x: Array, weight: Array) -> Array:
        return x @ (by_columns if x.size == len(by_columns) else weight)

    return multiply


def _sum(bias: Array) -> Operator:
    """The sum with a bias: a batch adds one that lies there repeated in less than half the time."""
    repeated = np.tile(bias, (min(ROWS, BYTES // bias.nbytes), 1))

    def add(product: Array, bias: Array) -> Array:
        product += repeated[: len(product)] if product.ndim == 2 and len(product) <= len(repeated) else bias
        return product

    return add
