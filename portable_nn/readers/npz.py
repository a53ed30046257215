"""NumPy's .npz archives: a zip of .npy files, one for each array."""

import os
from typing import Any

import numpy as np

from portable_nn.readers.buffers import as_array, reading
from portable_nn.readers.npy import read_header
from portable_nn.readers.zips import Archive

__all__ = ["read_arrays"]


def read_arrays(path: str | os.PathLike[str]) -> dict[str, np.ndarray[Any, Any]]:
    """Read the arrays of an .npz by name.

    Nothing is allocated before the sizes that the archive and its arrays promise were found to fit each other
    and the file. Pickled objects are refused.

    Parameters
    ----------
    path : str or path-like
        As `numpy.savez` and `numpy.savez_compressed` write it, of at most 64 MiB more uncompressed than
        the file has.

    Returns
    -------
    dict of str to array
        NumPy, of real dtypes in native byte order.

    Raises
    ------
    FormatError
        If the file cannot be read, or is not an .npz of arrays of real numbers.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import numpy as np
    >>> from portable_nn.readers.npz import read_arrays
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "data.npz")
    ...     np.savez(path, labels=np.array([7, 2]))
    ...     read_arrays(path)
    {'labels': array([7, 2])}
    """
    kind, remedy = "an .npz of arrays of real numbers", "write it anew with numpy.savez"
    with reading(path, kind, remedy, ValueError), open(path, "rb") as file:
        return _read(Archive(file))


def _read(archive: Archive) -> dict[str, np.ndarray[Any, Any]]:
    return {name.removesuffix(".npy"): _read_array(archive, name) for name in archive.names}


def _read_array(archive: Archive, name: str) -> np.ndarray[Any, Any]:
    file = archive.open(name)
    header, data = read_header(file), file.getbuffer()[file.tell() :]
    if header.length != len(data):
        raise ValueError(f"{name} has not the length that shape {header.shape} takes")
    return as_array(data, header.dtype.str, header.shape, header.order)
