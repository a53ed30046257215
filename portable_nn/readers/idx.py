"""The IDX format of the MNIST files.

======  =====  ==================================================
offset  bytes  meaning
======  =====  ==================================================
0       2      zero
2       1      type of the values
3       1      number of dimensions, n
4       4 n    the dimensions, unsigned
4 + 4n  rest   the values, the index of the last dimension fastest
======  =====  ==================================================

All numbers are big-endian. The file may be compressed with gzip.
"""

import gzip
import os
import zlib
from collections.abc import Callable
from io import BufferedIOBase, BufferedReader
from math import prod
from typing import Any

import numpy as np

from portable_nn.readers.buffers import MAX_DIMENSIONS, as_array, most_inflated, reading

__all__ = ["open_idx", "read_idx"]

DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
GZIP_MAGIC = b"\x1f\x8b"


def read_idx(path: str | os.PathLike[str]) -> np.ndarray[Any, Any]:
    """Read an IDX file, plain or compressed with gzip.

    Nothing is allocated before the header was found to fit the length of the file. A gzip, whose real length
    shows only at its end, may promise at most 1032 times its own length, and at most 1 GiB.

    Parameters
    ----------
    path : str or path-like

    Returns
    -------
    array
        NumPy, of the file's shape, in native byte order: uint8, int8, int16, int32, float32 or float64.

    Raises
    ------
    FormatError
        If the file cannot be read, or is not exactly one IDX array.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import portable_nn as pnn
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "labels-idx1-ubyte")
    ...     _ = path.write_bytes(bytes([0, 0, 0x08, 1, 0, 0, 0, 3, 7, 2, 1]))
    ...     pnn.datasets.read_idx(path)
    array([7, 2, 1], dtype=uint8)
    """
    return _opened(path, _read)


def open_idx(path: str | os.PathLike[str]) -> np.ndarray[Any, Any]:
    """Map an IDX file into memory, so that it may be larger than that; one compressed with gzip is read.

    Parameters
    ----------
    path : str or path-like

    Returns
    -------
    array
        NumPy, read-only, of the file's shape and byte order: a `numpy.memmap` where the file is plain.

    Raises
    ------
    FormatError
        As in `read_idx`.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import portable_nn as pnn
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "labels-idx1-ubyte")
    ...     _ = path.write_bytes(bytes([0, 0, 0x08, 1, 0, 0, 0, 3, 7, 2, 1]))
    ...     pnn.datasets.open_idx(path).sum()
    np.uint64(10)
    """
    return _opened(path, _map)


def _opened(
    path: str | os.PathLike[str], read: Callable[[BufferedReader], np.ndarray[Any, Any]]
) -> np.ndarray[Any, Any]:
    damage = ValueError, EOFError, zlib.error
    with reading(path, "a whole IDX file", "fetch or write it anew", *damage), open(path, "rb") as file:
        return read(file)


def _map(file: BufferedReader) -> np.ndarray[Any, Any]:
    if file.peek(2).startswith(GZIP_MAGIC):
        return _read(file)
    dtype, shape = _read_header(file)
    _check_rest(file, dtype, shape)
    return np.memmap(file, dtype, "r", file.tell(), shape)


def _read(file: BufferedReader) -> np.ndarray[Any, Any]:
    size = os.fstat(file.fileno()).st_size
    zipped = file.peek(2).startswith(GZIP_MAGIC)
    stream = gzip.GzipFile(fileobj=file) if zipped else file
    dtype, shape = _read_header(stream)
    length = prod(shape) * int(dtype[2:])
    if not zipped:
        _check_rest(file, dtype, shape)
    elif length > most_inflated(size):
        raise ValueError(f"shape {shape} takes {length} bytes, a gzip of {size} may hold {most_inflated(size)}")
    array = as_array(_exactly(length, stream), dtype, shape)
    if stream.read(1):
        raise ValueError(f"more bytes follow the {length} that shape {shape} takes")
    return array


def _check_rest(file: BufferedReader, dtype: str, shape: tuple[int, ...]) -> None:
    length, rest = prod(shape) * int(dtype[2:]), os.fstat(file.fileno()).st_size - file.tell()
    if length != rest:
        raise ValueError(f"shape {shape} takes {length} bytes, {rest} follow the header")


def _read_header(stream: BufferedIOBase) -> tuple[str, tuple[int, ...]]:
    magic = _exactly(4, stream)
    zeros, code, dimensions = magic[:2], magic[2], magic[3]
    if zeros != b"\0\0" or code not in DTYPES or not 1 <= dimensions <= MAX_DIMENSIONS:
        codes = ", ".join(f"{code:02x}" for code in DTYPES)
        raise ValueError(
            f"it starts with {magic.hex(' ')}, wanted 00 00, a type among {codes}, and 01 to "
            f"{MAX_DIMENSIONS:02x} dimensions"
        )
    shape = np.frombuffer(_exactly(4 * dimensions, stream), ">u4")
    return DTYPES[code], tuple(shape.tolist())


def _exactly(n: int, stream: BufferedIOBase) -> bytes:
    data = stream.read(n)
    if len(data) < n:
        raise EOFError(f"it ends {n - len(data)} bytes early")
    return data
