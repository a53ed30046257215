"""What layers do with the arrays that they are given."""

from typing import Any, TypeAlias

import array_api_compat
import numpy as np

from portable_nn._arrays import as_array, namespace
from portable_nn._typing import Array
from portable_nn.errors import NetworkError

Shape: TypeAlias = tuple[int, ...]


def weights(layer: str, name: str, array: Array) -> Array:
    """The array itself; from NumPy, lists and tables a floating, read-only copy without nan."""
    array = as_array(array)
    xp = namespace(array)
    if not array_api_compat.is_numpy_array(array):
        if not xp.isdtype(array.dtype, "real floating"):
            raise NetworkError(f"{layer}: {name} must be floating, got dtype {array.dtype}: cast it first")
        return array
    if array.dtype.kind not in "biuf":
        raise NetworkError(f"{layer}: {name} must be real numbers, got dtype {array.dtype}")
    floating = array.dtype.kind == "f"
    copy = np.array(array, dtype=array.dtype.newbyteorder("=") if floating else np.float64, order="C")
    if np.isnan(copy).any():
        raise NetworkError(
            f"{layer}: {name} has {np.isnan(copy).sum()} nan of {copy.size} values: was training stable?"
        )
    copy.setflags(write=False)
    return copy


def replaced(layer: Any, **fields: Any) -> Any:
    """A copy of a frozen layer with other fields, unchecked."""
    new = object.__new__(type(layer))
    for name, value in (layer.__dict__ | fields).items():
        object.__setattr__(new, name, value)
    return new
