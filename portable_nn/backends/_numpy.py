"""NumPy: the default, and with float64 the reference that others are measured against."""

from typing import final

import numpy as np

from portable_nn._typing import Array, DType
from portable_nn.backends._base import Backend
from portable_nn.layers import Dense, Layer

TALL = 256


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
        """The bias added in place, and a tall weight held by columns."""
        new = layer.map(_by_columns)
        return new.adding_in_place() if isinstance(new, Dense) else new


def _by_columns(array: Array) -> Array:
    """A tall matrix in Fortran's order: one sample times it takes a third less time, a batch no more."""
    return np.asfortranarray(array) if array.ndim == 2 and len(array) >= TALL else array
