"""From the bytes of a file to an array, how many bytes a file may ask for, and what is said of one that fails."""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from math import prod
from typing import Any, Literal

import numpy as np

from portable_nn.errors import FormatError

__all__ = [
    "MAX_BYTES",
    "MAX_DIMENSIONS",
    "REAL",
    "Budget",
    "as_array",
    "check_kind",
    "check_names",
    "check_shape",
    "check_stays",
    "most_inflated",
    "reading",
]

MAX_BYTES = 2**30
"""The most that a compressed or pickled file may hold, all its arrays together: 1 GiB."""

MAX_EXTRA = 2**26
"""The most bytes of memory that a file may take besides its own size: 64 MiB."""

MAX_NAMES = 2**22  # characters of all features, outputs or classes together

MAX_DIMENSIONS = 64  # of a NumPy array

REAL = ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8")


@contextmanager
def reading(path: str | os.PathLike[str], kind: str, remedy: str, *damage: type[Exception]) -> Iterator[None]:
    """Raise a `FormatError` where the system refuses a file, and where it turns out to be no `kind`.

    Parameters
    ----------
    path : str or path-like
    kind : str
        What the file should be, with its article.
    remedy : str
        What to do if it is not.
    *damage : exception types
        What is raised then.

    Raises
    ------
    FormatError
        In place of an `OSError`, and of what is raised on damage; for what flows, which would be waited for.
    """
    check_stays(path)
    try:
        yield
    except FormatError:
        raise
    except OSError as error:
        raise FormatError(f"{path} cannot be read: {error.strerror or error}") from error
    except damage as error:
        raise FormatError(f"{path} is not {kind}: {error}; {remedy}") from error


def check_stays(path: str | os.PathLike[str]) -> None:
    """Raise a `FormatError` for a pipe, a device or a socket: files are opened again and again."""
    if os.path.exists(path) and not (os.path.isfile(path) or os.path.isdir(path)):
        raise FormatError(f"{path} is no regular file, and is opened again and again: copy it to one")


class Budget:
    """How many bytes may still be made of a file: no more than `MAX_EXTRA` besides its own size.

    Parameters
    ----------
    size : int
        The length of the file in bytes.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.left: int = size + MAX_EXTRA

    def spend(self, n: int) -> None:
        """Count `n` bytes before they are made, or raise a `ValueError` where they are too many."""
        self.left -= n
        if self.left < 0:
            raise ValueError(
                f"it promises more than {self.size + MAX_EXTRA} bytes, the most for its length of {self.size}"
            )

    def spend_on(self, array: np.ndarray[Any, Any]) -> None:
        """Count an array as a layer holds it, of its own and floating, with the bias that it may have to make."""
        width = array.itemsize if array.dtype.kind == "f" else 8
        self.spend(width * (array.size + max(array.shape, default=0)))


def most_inflated(size: int) -> int:
    """Return the most bytes that `size` bytes of DEFLATE may give: it never expands more than 1032 to 1."""
    return min(1032 * size, MAX_BYTES)


def check_kind(dtype: str) -> None:
    """Raise a `ValueError` unless `dtype`, written as in `REAL`, is one of real numbers."""
    if dtype not in REAL:
        raise ValueError(f"an array has dtype {dtype!r}, wanted one of {', '.join(REAL)}: cast it")


def check_names(names: Iterable[str]) -> None:
    """Raise a `ValueError` where names are too long together: a file may name one long string many times."""
    if sum(map(len, names)) > MAX_NAMES:
        raise ValueError(f"its names have more than {MAX_NAMES} characters together")


def check_shape(shape: Sequence[object]) -> None:
    """Raise a `ValueError` unless `shape` is one of an array, before anyone multiplies its lengths."""
    if len(shape) > MAX_DIMENSIONS or not all(isinstance(n, int) and 0 <= n < 2**63 for n in shape):
        raise ValueError(f"an array has a shape that is not one of at most {MAX_DIMENSIONS} lengths")


def as_array(
    data: bytes | bytearray | memoryview, dtype: str, shape: Sequence[int], order: Literal["C", "F"] = "C"
) -> np.ndarray[Any, Any]:
    """Return `data` as a writable array of native byte order; `dtype` starts with its own, as in ``">f4"``.

    Bytes that can be written to are the array's from then on, where they are in that order.

    Raises
    ------
    ValueError
        If the dtype is not one of real numbers, or the shape no shape, or `data` has not its length.
    """
    check_kind(dtype[1:])
    check_shape(shape)
    length = prod(shape) * int(dtype[2:])
    if length != len(data):
        raise ValueError(f"an array of shape {shape} and dtype {dtype!r} takes {length} bytes, {len(data)} came")
    array = np.frombuffer(data, dtype).reshape(shape, order=order)
    return array.astype(array.dtype.newbyteorder("="), copy=not array.flags.writeable)
