"""NumPy's .npy format: a header, in words a Python dict of dtype, order and shape, then the values."""

import os
from io import BytesIO
from math import prod
from pathlib import Path
from typing import IO, Any, Literal, NamedTuple

import numpy as np

from portable_nn.readers.buffers import MAX_BYTES, as_array, check_kind, check_shape, reading
from portable_nn.readers.records import array_of

__all__ = ["Header", "array_in", "open_npy", "read_header", "read_npy"]

HEADERS = {
    (1, 0): (2, np.lib.format.read_array_header_1_0),
    (2, 0): (4, np.lib.format.read_array_header_2_0),
}
"""By version, the bytes that hold the length of a header, and what reads both."""

MAX_HEADER = 10_000  # bytes, as NumPy has it


class Header(NamedTuple):
    """What a .npy file says of its values."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    order: Literal["C", "F"]

    @property
    def length(self) -> int:
        """The bytes that the values take."""
        return prod(self.shape) * self.dtype.itemsize


def open_npy(path: str | os.PathLike[str]) -> np.ndarray[Any, Any]:
    """Map a .npy file into memory, so that it may be larger than that.

    Parameters
    ----------
    path : str or path-like

    Returns
    -------
    array
        A read-only `numpy.memmap` of the file's dtype and byte order.

    Raises
    ------
    FormatError
        If the file cannot be read, or is not exactly one array of real numbers or booleans.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import numpy as np
    >>> from portable_nn.readers.npy import open_npy
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "x.npy")
    ...     np.save(path, np.arange(4))
    ...     int(open_npy(path).sum())
    6
    """
    kind, remedy = "a .npy file of real numbers", "write it anew with numpy.save"
    with reading(path, kind, remedy, ValueError), open(path, "rb") as file:
        header = read_header(file)
        length, start = os.fstat(file.fileno()).st_size, file.tell()
        if header.length != length - start:
            raise ValueError(f"shape {header.shape} takes {header.length} bytes, {length - start} follow")
        return np.memmap(file, header.dtype, "r", start, header.shape, header.order)


def read_npy(path: str | os.PathLike[str]) -> np.ndarray[Any, Any]:
    """Read a .npy file whole: one of numbers, booleans or strings.

    Parameters
    ----------
    path : str or path-like
        Of a file of at most 1 GiB.

    Returns
    -------
    array
        Read-only.

    Raises
    ------
    FormatError
        If the file cannot be read, or is not exactly one such array.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import numpy as np
    >>> from portable_nn.readers.npy import read_npy
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "y.npy")
    ...     np.save(path, ["cat", "dog"])
    ...     read_npy(path)
    array(['cat', 'dog'], dtype='<U3')
    """
    kind, remedy = "a .npy file of numbers or strings", "write it anew with numpy.save"
    with reading(path, kind, remedy, ValueError):
        size = os.path.getsize(path)
        if size > MAX_BYTES:
            raise ValueError(f"it has {size} bytes, the limit is {MAX_BYTES}")
        file = BytesIO(Path(path).read_bytes())
        return array_in(file, read_header(file, "U"))


def array_in(file: BytesIO, header: Header) -> np.ndarray[Any, Any]:
    """The array of numbers or strings of a file in memory, which is at the first value: it shares its bytes.

    Raises
    ------
    ValueError
        If the values are not as many as the header says.
    """
    data = file.getbuffer()[file.tell() :]
    if header.dtype.kind == "U":
        return array_of(data, header.dtype, header.shape, header.order)
    return as_array(data, header.dtype.str, header.shape, header.order)


def read_header(file: IO[bytes], others: str = "") -> Header:
    """Read a header; the file is then at the first value.

    Parameters
    ----------
    file : binary file
    others : str
        Kinds of dtypes that are welcome besides: ``"U"`` for strings, ``"O"`` for pickled objects.

    Raises
    ------
    ValueError
        If it is none, or that of an array of another kind.
    """
    version = np.lib.format.read_magic(file)
    if version not in HEADERS:
        raise ValueError(f"its header is of version {version}, which arrays of real numbers do not need")
    width, read = HEADERS[version]
    prefix = file.read(width)
    length = int.from_bytes(prefix, "little")
    if length > MAX_HEADER:
        raise ValueError(f"its header takes {length} bytes, the limit is {MAX_HEADER}")
    words = file.read(length)
    try:
        shape, fortran, dtype = read(BytesIO(prefix + words))
    except Exception as error:  # a dozen types: NumPy has Python's own parser read the words
        raise ValueError(f"its header cannot be read: {error}") from error
    if dtype.kind not in "b" + others:
        check_kind(dtype.str[1:])
    check_shape(shape)
    return Header(dtype, shape, "F" if fortran else "C")
