"""NumPy's .npz archives: a zip of .npy files, one for each array."""

import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from portable_nn.readers.buffers import as_array, most_inflated, reading
from portable_nn.readers.npy import read_header

__all__ = ["read_arrays"]

COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def read_arrays(path: str | os.PathLike[str]) -> dict[str, np.ndarray[Any, Any]]:
    """Read the arrays of an .npz by name.

    Nothing is allocated before the sizes that the archive and its arrays promise were found to fit each other
    and the file. Pickled objects are refused.

    Parameters
    ----------
    path : str or path-like
        As `numpy.savez` and `numpy.savez_compressed` write it, of at most 1 GiB uncompressed.

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
    with reading(path, kind, remedy, Exception):  # on damaged bytes zipfile raises a dozen types
        return _read(Path(path))


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
        header = read_header(file)
        if header.length != member.file_size - file.tell():
            raise ValueError(f"{member.filename} has not the length that shape {header.shape} takes")
        return as_array(file.read(header.length), header.dtype.str, header.shape, header.order)
