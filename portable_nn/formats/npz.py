"""NumPy's .npz archives with arrays W1, b1, W2, b2, …, in the convention of `portable_nn.formats.book`."""

import os
import zipfile
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np

from portable_nn.datasets._buffers import as_array, check_real, most_inflated
from portable_nn.errors import FormatError
from portable_nn.formats.book import book_network
from portable_nn.network import Network

__all__ = ["read_arrays", "read_npz"]

COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
HEADER_READERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def read_npz(path: str | os.PathLike[str]) -> Network:
    """Read an .npz of arrays W1, b1, W2, b2, ….

    Nothing is allocated before the sizes that the archive and its arrays promise were found to fit each other
    and the file. Pickled objects are refused.

    Parameters
    ----------
    path : str or path-like
        As `numpy.savez` and `numpy.savez_compressed` write it, of at most 1 GiB uncompressed.

    Returns
    -------
    Network

    Raises
    ------
    FormatError
        If the file cannot be read, or does not hold these arrays alone.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import numpy as np
    >>> from portable_nn.formats.npz import read_npz
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "net.npz")
    ...     np.savez(path, W1=np.eye(2), b1=np.zeros(2))
    ...     read_npz(path).layers
    (Rescaling(0.00392157, 0), Dense(2, 2, 'softmax'))
    """
    return book_network(read_arrays(path), path)


def read_arrays(path: str | os.PathLike[str]) -> dict[str, np.ndarray[Any, Any]]:
    """Read the arrays of an .npz by name, as carefully as `read_npz`.

    Parameters
    ----------
    path : str or path-like

    Returns
    -------
    dict of str to array

    Raises
    ------
    FormatError
        If the file cannot be read, or is not an .npz of arrays of real numbers.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import numpy as np
    >>> from portable_nn.formats.npz import read_arrays
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "data.npz")
    ...     np.savez(path, labels=np.array([7, 2]))
    ...     read_arrays(path)
    {'labels': array([7, 2])}
    """
    try:
        return _read(Path(path))
    except OSError as error:
        raise FormatError(f"{path} cannot be read: {error.strerror or error}") from error
    except Exception as error:  # on damaged bytes zipfile and numpy.lib.format raise a dozen types
        raise FormatError(f"{path} is not an .npz of arrays: {error}; write it anew with numpy.savez") from error


def _read(path: Path) -> dict[str, np.ndarray[Any, Any]]:
    with path.open("rb") as file, zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        size, limit = sum(member.file_size for member in members), most_inflated(path.stat().st_size)
        if size > limit:
            raise ValueError(f"it promises {size} bytes, a file of its length may hold {limit}")
        return {member.filename.removesuffix(".npy"): _read_array(archive, member) for member in members}


def _read_array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray[Any, Any]:
    if member.compress_type not in COMPRESSIONS:
        raise ValueError(f"{member.filename} is compressed in a way that NumPy does not use")
    with archive.open(member) as file:
        shape, fortran, dtype = _read_header(file)
        check_real(dtype.str[1:])
        length = prod(shape) * dtype.itemsize
        if length != member.file_size - file.tell():
            raise ValueError(f"{member.filename} has not the length that shape {shape} takes")
        return as_array(file.read(length), dtype.str, shape, "F" if fortran else "C")


def _read_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = np.lib.format.read_magic(file)
    return HEADER_READERS[version](file)
