"""From the bytes of a file to an array, and how many bytes a file may ask for."""

from collections.abc import Sequence
from math import prod
from typing import Any, Literal

import numpy as np

__all__ = ["MAX_BYTES", "MAX_DIMENSIONS", "REAL", "as_array", "check_real", "check_shape", "most_inflated"]

MAX_BYTES = 2**30
"""The most that a compressed or pickled file may hold, all its arrays together: 1 GiB."""

MAX_DIMENSIONS = 64  # of a NumPy array

REAL = ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8")


def most_inflated(size: int) -> int:
    """Return the most bytes that `size` bytes of DEFLATE may give: it never expands more than 1032 to 1."""
    return min(1032 * size, MAX_BYTES)


def check_real(dtype: str) -> None:
    """Raise a `ValueError` unless `dtype`, written as in `REAL`, is one of real numbers."""
    if dtype not in REAL:
        raise ValueError(f"an array has dtype {dtype!r}, wanted one of {', '.join(REAL)}: cast it")


def check_shape(shape: Sequence[object]) -> None:
    """Raise a `ValueError` unless `shape` is one of an array, before anyone multiplies its lengths."""
    if len(shape) > MAX_DIMENSIONS or not all(isinstance(n, int) and 0 <= n < 2**63 for n in shape):
        raise ValueError(f"an array has a shape that is not one of at most {MAX_DIMENSIONS} lengths")


def as_array(
    data: bytes | bytearray, dtype: str, shape: Sequence[int], order: Literal["C", "F"] = "C"
) -> np.ndarray[Any, Any]:
    """Return `data` as a writable array of native byte order; `dtype` starts with its own, as in ``">f4"``.

    Raises
    ------
    ValueError
        If the dtype is not one of real numbers, or the shape no shape, or `data` has not its length.
    """
    check_real(dtype[1:])
    check_shape(shape)
    length = prod(shape) * int(dtype[2:])
    if length != len(data):
        raise ValueError(f"an array of shape {shape} and dtype {dtype!r} takes {length} bytes, {len(data)} came")
    array = np.frombuffer(data, dtype).reshape(shape, order=order)
    return array.astype(array.dtype.newbyteorder("="))
